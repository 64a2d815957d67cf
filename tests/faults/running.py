"""The command line as processes of their own, cheaply, and killed wherever a test wishes.

A *nursery* is one process that has loaded the program and forks for each command, so a command
costs the fork and its own work instead of a new interpreter. A child differs from the real thing
in its start only: it has a pid, standard streams and limits of its own, and ends by itself or by
a signal. The nursery stays the parent and reaps, so a pid is never another process's while a test
holds it.

    test ── {"arguments", "environment", "kill_at", ...} ──▶ nursery ── fork ──▶ child
         ◀── {"pid"}, then {"status"} once it has ended ──

With `kill_at` = n the child kills itself (SIGKILL) at its n-th *boundary*: just after a call that
changes what a disk holds. Those are fsync, rename, unlink, mkdir, the making of a file, each commit
of SQLite, and each inserting statement when it is met first. Before such a call the disk is as the
one before left it, but for a file's content, which is written just before its fsync: that is a
boundary too, and so is the moment before one program replaces another. What SQLite does inside one
commit is not reached that way; processes killed from outside, at moments of their own, come upon
it.

Where the ledger is on a PostgreSQL server, what is said over the line is a boundary too: before
anything of a statement is sent, and once its answer has come or, within a pipeline, once it is
sent. Half-way to the next boundary (`kill_at` = n + 0.5) is while something is waited for: how
often that happens differs from run to run, so it has no number. A server goes on with what it has
heard after the client is gone; `settle` waits until it has done.

A full disk needs no rights either. `file_bytes_max` lets the kernel refuse what would make a file
longer (RLIMIT_FSIZE), from the start; with `full_at` = n it does so from the n-th boundary on.
`store_pages_max` lets SQLite itself find no room in a database of so many pages more.

What looks at a ledger between commands is asked within the test's own process, which costs less
still and changes nothing.

Nothing here sleeps for a time hoped to be long enough: a condition is asked again and again until
a deadline.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import itertools
import json
import os
import pkgutil
import resource
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg

import ledger
import projections
import tools
from ledger.log.host_file import host_path
from ledger.sealing.slots import Argon2Cost
from tests.contracts.postgres_server import PostgresServer
from tests.derived import derive_once
from tests.prepared import settle_in
from tests.tools.conftest import Cli

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30
FULL_BYTES = 2000
"""Room for what a command says to standard error, and for little else."""
KILLED = -signal.SIGKILL
_WRITING = ("INSERT", "CREATE")
_FIELD = ("--field", "Password:password")
_LAST_POSITION = "SELECT coalesce(max(position), 0) FROM credledger.log"


@dataclass
class Ended:
    """What one process left; `code` is negative where a signal ended it."""

    code: int
    out: bytes
    err: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err.splitlines()[-1])["error"]

    @property
    def both(self) -> bytes:
        return self.out + self.err


@dataclass
class Process:
    """One command that runs."""

    nursery: Nursery
    pid: int
    descriptor: int
    out: Path
    err: Path
    ended: Ended | None = None

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.ended is None
        signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def running(self) -> bool:
        return self.ended is None and not select.select([self.descriptor], [], [], 0)[0]

    def wait(self, seconds: float = DEADLINE_S) -> Ended:
        """What it left, once it has ended."""
        if self.ended is None:
            if not select.select([self.descriptor], [], [], seconds)[0]:
                self.kill()
                self.ended = self._collected()
                raise AssertionError(f"still running after {seconds} s: {self.ended}")
            self.ended = self._collected()
        return self.ended

    def _collected(self) -> Ended:
        os.close(self.descriptor)
        code = self.nursery.ask({"wait": self.pid})["status"]
        out = b"" if self.out.is_fifo() else self.out.read_bytes()  # who has its end reads it
        return Ended(code, out, self.err.read_bytes())


class Nursery:
    """The process that forks commands; to be used in a `with`."""

    def __init__(self, *before: str) -> None:
        """`before` are the words of a program that becomes the nursery once it has done its own."""
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """The root folder as its commands see it."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*self._before, sys.executable, "-m", "tests.faults.running"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate(timeout=DEADLINE_S)

    def start(
        self,
        *arguments: str,
        environment: dict[str, str],
        folder: Path,
        streams: list[Path],
        kill_at: float | None = None,
        full_at: int | None = None,
        file_bytes_max: int | None = None,
        store_pages_max: int | None = None,
        script: str | None = None,
    ) -> Process:
        """Begin a command, or a script in its place; see the module for kills and full disks.

        The streams are its standard ones, each a file or a named pipe, and where it tells its
        boundaries.
        """
        pid = self.ask(
            {
                "arguments": arguments,
                "environment": environment,
                "folder": str(folder),
                "streams": [str(path) for path in streams],
                "kill_at": kill_at,
                "full_at": full_at,
                "file_bytes_max": file_bytes_max,
                "store_pages_max": store_pages_max,
                "script": script,
            }
        )["pid"]
        return Process(self, pid, os.pidfd_open(pid), streams[1], streams[2])

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass
class Host:
    """A folder with a ledger, its keyring and what unlocks it."""

    nursery: Nursery
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    server: PostgresServer | None = None
    """Where the ledger is in a database of its own, which is named after the host."""
    _numbers: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.streams.mkdir(parents=True, exist_ok=True)
        self.database = f"host_{uuid.uuid4().hex[:12]}"
        self.environment = {
            "CREDLEDGER_STORE": self._store_url(),
            "CREDLEDGER_KEYRING": str(self.keyring),
            "CREDLEDGER_KEY_FILE": str(self.home / "secret" / "key"),
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            **self.environment,
        }

    @property
    def streams(self) -> Path:
        return self.home / "streams"

    @property
    def store(self) -> Path:
        return self.home / "store" / "ledger.db"

    @property
    def keyring(self) -> Path:
        return self.home / "keys" / "keyring"

    @property
    def memory(self) -> Path:
        return self.home / "keys" / "keyring.memory"

    def copy(self, home: Path) -> Host:
        """The same ledger in another folder, as a new host would have it."""
        shutil.copytree(self.home, home, ignore=shutil.ignore_patterns("streams"))
        copied = Host(self.nursery, home, server=self.server)
        if host_path(copied.keyring).exists():
            settle_in(copied.keyring)
        copied.create_database(self.database)
        return copied

    def create_database(self, template: str = "template1") -> None:
        """Make what a server needs before there is a ledger; nothing where that is a file."""
        if self.server is not None:
            made = f"CREATE DATABASE {self.database} TEMPLATE {template}"
            # By files: the other strategy writes each page to the write-ahead log as well.
            self.server.execute(f"{made} STRATEGY FILE_COPY")

    def drop_database(self) -> None:
        """Take its room away again, where the ledger is on a server."""
        if self.server is not None:
            self.server.execute(f"DROP DATABASE {self.database} WITH (FORCE)")

    def settle(self) -> None:
        """Wait until the server has done with what it heard of processes that are gone."""
        if self.server is not None:
            server, session = self.server, f"application_name = '{self.database}'"
            until(lambda: not server.execute(f"SELECT 1 FROM pg_stat_activity WHERE {session}"))

    def start(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: dict[str, str] | None = None,
        as_json: bool = True,
        **how: Any,
    ) -> Process:
        """Begin a command of this host, or a script in its place; see `Nursery.start`."""
        said = list(arguments)
        if as_json:
            said.insert(said.index("--") if "--" in said else len(said), "--json")
        number = next(self._numbers)
        streams = [self.streams / f"{number}.{name}" for name in ("in", "out", "err", "boundaries")]
        streams[0].write_bytes(stdin)
        for path in streams[1:3]:
            path.touch()  # it may be killed before it makes them
        told = {**self.environment, **(environment or {})}
        return self.nursery.start(*said, environment=told, folder=self.home, streams=streams, **how)

    def run(self, *arguments: str, **how: Any) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, **how).wait()

    def ok(self, *arguments: str, **how: Any) -> Any:
        """The JSON of a command that must succeed."""
        ended = self.run(*arguments, **how)
        assert ended.code == 0, ended
        return ended.json

    def fails(self, code: int, name: str, *arguments: str, **how: Any) -> Ended:
        """A command that must fail like this, in one document with a sentence and a hint."""
        ended = self.run(*arguments, **how)
        assert (ended.code, ended.error["code"]) == (code, name), ended
        assert ended.error["message"], ended
        assert ended.error["hint"], ended
        assert b"Traceback" not in ended.both
        return ended

    def ask(self, *arguments: str) -> Any:
        """The JSON of a command that must succeed and only looks, run within this process."""
        cli = Cli(self.home)
        cli.environment = self.environment
        return cli.ok(*arguments)

    def is_whole(self) -> dict[str, Any]:
        """The log holds against its signatures, and every view is its fold; nothing was mended."""
        verified = self.ask("log", "verify", "--views")
        assert verified["ok"], verified
        return verified

    def position(self) -> int:
        """The last committed position, read past the program."""
        if self.server is not None:
            return self._position_on_server()
        if not self.store.exists():
            return 0
        connection = sqlite3.connect(self.store, timeout=DEADLINE_S)
        try:
            return connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
        finally:
            connection.close()

    def _position_on_server(self) -> int:
        assert self.server is not None
        with psycopg.connect(self.server.dsn(database=self.database)) as connection:
            try:
                row = connection.execute(_LAST_POSITION).fetchone()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return 0
        assert row is not None
        return row[0]

    def _store_url(self) -> str:
        if self.server is None:
            return f"sqlite://{self.store}"
        named = f"&application_name={self.database}"
        return self.server.dsn(database=self.database) + named

    def topics(self, after: int = 0) -> list[str]:
        """What the log holds after a position."""
        rows = self.ask("log", "events", "--after", str(after), "--limit", "0")
        return [row["topic"] for row in rows]

    def boundaries(self) -> list[str]:
        """Where the newest command that counted them was at each of its boundaries."""
        newest = max(self.streams.glob("*.boundaries"), key=lambda path: int(path.stem))
        return newest.read_text().splitlines()


def until(condition: Any, seconds: float = DEADLINE_S) -> Any:
    """The condition's first true answer; fails at the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition never held"
        pause.wait(0.001)
    return answer


class _Boundaries:
    """Counts the boundaries of this process; the chosen one is its last, or a full disk."""

    def __init__(self, chosen: float, trace: str, *, deadly: bool) -> None:
        self._left = chosen
        self._deadly = deadly
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def reach(self, name: str) -> None:
        if self._left <= 0:
            return
        os.write(self._trace, name.encode() + b"\n")
        self._left -= 1
        if self._left <= 0 and self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._left <= 0:
            _limit_files(FULL_BYTES)

    def wait(self) -> None:
        """Be on the way to the next boundary, with something said and nothing heard."""
        if 0 < self._left < 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        for name in ("fsync", "replace", "rename", "unlink", "mkdir", "execvpe"):
            setattr(os, name, self._wrapped(getattr(os, name), name))
        opening = os.open

        def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            made = flags & os.O_CREAT and not os.path.exists(path)  # noqa: PTH110 # of any kind
            descriptor = opening(path, flags, *rest, **named)
            if made:
                self.reach("after making a file")
            return descriptor

        os.open = open_
        sqlite3.connect = self._connecting(sqlite3.connect)
        self._listen_in()

    def _listen_in(self) -> None:
        """Have the driver of PostgreSQL tell what it says and hears."""
        boundaries = self
        wait, execute = psycopg.Connection.wait, psycopg.Cursor.execute
        said = ["nothing"]

        def executing(cursor: Any, query: Any, *rest: Any, **named: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else str(query)
            said[0] = " ".join(text.replace(";", " ").split()[:3])
            return execute(cursor, query, *rest, **named)

        def told(conversation: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            try:
                wanted = next(conversation)
                while True:
                    boundaries.wait()
                    wanted = conversation.send((yield wanted))
            except StopIteration as end:
                return end.value

        def waiting(connection: Any, conversation: Any, *rest: Any, **named: Any) -> Any:
            boundaries.reach(f"before sending {said[0]}")
            answer = wait(connection, told(conversation), *rest, **named)
            boundaries.reach(f"after {said[0]}")
            return answer

        psycopg.Connection.wait = waiting
        psycopg.Cursor.execute = executing

    def _wrapped(self, call: Any, name: str) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if name in {"fsync", "execvpe"}:
                self.reach(f"before {name}")
            answer = call(*arguments, **named)
            self.reach(f"after {name}")
            return answer

        return wrapped

    def _connecting(self, connect: Any) -> Any:
        boundaries = self
        met: set[str] = set()

        def ran(sql: str) -> None:
            if sql == "COMMIT" or (sql.startswith(_WRITING) and sql not in met):
                met.add(sql)
                boundaries.reach(f"after {' '.join(sql.split()[:3])}")

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *rest: Any) -> Any:
                answer = super().execute(sql, *rest)
                ran(sql)
                return answer

            def executemany(self, sql: str, *rest: Any) -> Any:
                answer = super().executemany(sql, *rest)
                ran(sql)
                return answer

            def executescript(self, sql: str) -> Any:
                answer = super().executescript(sql)
                boundaries.reach("after a script")
                return answer

            def __exit__(self, *error: object) -> Any:
                answer = super().__exit__(*error)
                boundaries.reach("after commit")
                return answer

        return lambda *arguments, **named: connect(*arguments, factory=Watched, **named)


def _limit_files(content_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (content_bytes, content_bytes))


def _limit_pages(more: int) -> None:
    connect = sqlite3.connect

    def limited(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **named)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more}")
        return connection

    sqlite3.connect = limited


def _become_command(request: dict[str, Any]) -> None:
    stdin, out, err, boundaries = request["streams"]
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for descriptor, path, flags in ((0, stdin, os.O_RDONLY), (1, out, writing), (2, err, writing)):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        mode = "r" if number == 0 else "w"
        setattr(sys, stream, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if request["file_bytes_max"] is not None:
        _limit_files(request["file_bytes_max"])
    if request["store_pages_max"] is not None:
        _limit_pages(request["store_pages_max"])
    chosen = request["kill_at"] or request["full_at"]
    if chosen is not None:
        _Boundaries(chosen, boundaries, deadly=request["kill_at"] is not None).install()
    from tools.cli.main import run

    code = 1
    try:
        if request["script"] is None:
            code = run(request["arguments"])
        else:
            exec(request["script"], {})
            code = 0
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def load_everything(remembered: Path) -> None:
    """Import the whole program, so that no child has to: each one would pay for it anew.

    A new passphrase's key takes the least work that is allowed, as nothing here is about guessing,
    and the children remember for one another in that folder what they derived.
    """
    import cryptography.hazmat.backends.openssl.backend  # noqa: F401 # the first key's making does

    for package in (ledger, projections, tools):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith("tools.bench"):
                importlib.import_module(module.name)
    tools.people.holdings.Argon2Cost = functools.partial(Argon2Cost, iterations=2, lanes=1)
    derive_once(remembered)
    _live_once()
    gc.collect()
    gc.freeze()  # what all children share stays shared


def _live_once() -> None:
    """Have a ledger that is gone again, so that what any process makes first is made already.

    Decoders, statements and templates are made when they are met first, which is half the work of
    a short command. They hold nothing of a ledger, and nothing stays open: a fork must not share
    a connection or a lock.
    """
    with tempfile.TemporaryDirectory() as folder:
        cli = Cli(Path(folder))
        cli.ok("init", "--label", "ann")
        cli.ok("app", "create", "payroll", "--kind", "group", "--member", "service:a", *_FIELD)
        for _ in range(2):  # the second time meets what the first one has left
            cli.set("payroll", None, Password="never kept")
            cli.ok("credential", "get", "payroll", "--as", "service:a")
            cli.ok("log", "verify", "--views")
            cli.ok("log", "events", "--limit", "0")
            cli.ok("key", "slot", "list")
            cli.ok("doctor")
            cli("--help", json_wanted=False)
    assert threading.active_count() == 1


def _serve(remembered: Path) -> None:
    load_everything(remembered)
    requests = open(0, "rb", closefd=False)  # noqa: SIM115 # ends with the process
    answers = os.dup(1)
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        if "wait" in request:
            status = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            answer = {"status": status}
        else:
            pid = os.fork()
            if pid == 0:
                os.close(answers)
                _become_command(request)
            answer = {"pid": pid}
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        _serve(Path(place))
