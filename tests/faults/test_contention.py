"""Several processes at one ledger: none loses what it wrote, none starves, none waits for ever.

The writers are processes of their own, forked by a nursery, that open the ledger as any program
would. They begin together, when the last of them has opened it, and each does a bounded number of
things.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.claims import parse_claim
from ledger.errors import Unavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.faults.running import ROOT, Host, until
from tools.exits import exit_code

OPENING = """
import sys
from pathlib import Path
from ledger.claims import parse_claim
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from tests.conftest import House
house = House(Path(sys.argv[1]), Path(sys.argv[2]), store_url=sys.argv[5] or None)
name, count = sys.argv[3], int(sys.argv[4])
ledger = house.open()
print("open", flush=True)
sys.stdin.readline()
"""
GRANTS = """
for number in range(count):
    outcome = ledger.grant(Acting(), "CRM", "member", f"group:{name}-{number}")
    print(outcome.position, outcome.version, flush=True)
ledger.close()
"""
READS = """
for number in range(count):
    print(ledger.retrieve(Caller(parse_claim("user:alice")), "CRM").position, flush=True)
ledger.close()
"""
HOLDS = """
with house.store().writing():
    print("held", flush=True)
    sys.stdin.readline()
"""
HOLDS_AGAIN_AND_AGAIN = """
store = house.store()
while True:
    with store.writing():
        print("held", flush=True)
        sys.stdin.readline()
"""
GRANTS_AND_TELLS_EACH_PAUSE = (
    """
import os, time
pause = time.sleep
told = os.open(house.keyring_path.with_name("pauses"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def telling(seconds):
    os.write(told, b".")
    pause(seconds)

time.sleep = telling
"""
    + GRANTS
)
OVERWRITES = """
for number in range(count):
    values = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(name)}
    outcome = ledger.set_credentials(Acting(), "CRM", None, values)
    print(outcome.position, outcome.version, flush=True)
ledger.close()
"""

FORKS = """
import os, signal, threading
forking, failures = threading.Event(), []
def write():
    while not forking.is_set() and not failures:
        try:
            found = ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
            os.write(1, b"%d\\n" % found.position)
        except Exception as error:
            failures.append(error)
writing = [threading.Thread(target=write) for _ in range(2)]
for thread in writing:
    thread.start()
children = []
for child in range(count):
    ledger.grant(Acting(), "CRM", "member", f"group:p-{child}")
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 1
        try:
            for number in range(5):
                ledger.grant(Acting(), "CRM", "member", f"group:{child}-{number}")
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
forking.set()
for thread in writing:
    thread.join()
assert not failures, failures
assert ended == [0] * count, ended
ledger.close()
"""


class Worker:
    """One process that has the ledger open and waits for the word to begin."""

    def __init__(self, nursery, house, script, name="w", count=0):
        place = Path(tempfile.mkdtemp(dir=house.keyring_path.parents[1]))
        said, told = place / "said", place / "told"
        os.mkfifo(said)
        os.mkfifo(told)
        words = [str(house.store_path), str(house.keyring_path), name, str(count)]
        words = ["worker", *words, house.store_url or ""]
        self.process = nursery.start(
            script=f"import sys\nsys.argv = {words!r}\n" + OPENING + script,
            environment=dict(os.environ),
            folder=ROOT,
            streams=[said, told, place / "errors", place / "boundaries"],
        )
        self._said, self._told = said.open("w"), told.open()

    def begin(self):
        self._said.write("go\n")
        self._said.flush()

    def line(self):
        return self._told.readline().strip()

    def printed(self):
        """The lines that it printed, once it has ended well."""
        self._said.close()
        lines = self._told.read().splitlines()
        ended = self.process.wait()
        assert ended.code == 0, ended
        return lines

    def rows(self):
        """The same as numbers."""
        return [tuple(int(word) for word in line.split()) for line in self.printed()]

    def end(self):
        if self.process.running():
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._said.close()
        self._told.close()


@contextmanager
def together(nursery, house, *scripts, count):
    """Workers that have all opened the ledger before the first begins."""
    workers = []
    try:
        for number, script in enumerate(scripts):
            workers.append(Worker(nursery, house, script, f"w{number}", count))
        for worker in workers:
            assert worker.line() == "open"
        for worker in workers:
            worker.begin()
        yield workers
    finally:
        for worker in workers:
            worker.end()


def fill(house):
    """A group application with credentials and a member."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    values = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
    ledger.set_credentials(Acting(), "CRM", None, values)
    ledger.close()


@pytest.fixture
def shared(prepared):
    return prepared(fill)


def require_dense(house):
    """Positions and every stream's versions count from 1 without a gap; the log verifies."""
    store = house.store()
    versions = defaultdict(list)
    with store.reading() as reading:
        rows = reading.rows_after(0, 10_000)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        versions[row.stream].append(row.version)
    for found in versions.values():
        assert found == list(range(1, len(found) + 1))
    assert all(later.recorded_at > earlier.recorded_at for earlier, later in pairwise(rows))
    assert verify_log(store).ok
    store.close()
    ledger = house.open()
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()


def test_two_processes_that_change_one_application_lose_nothing(shared, nursery):
    """All grants of both are there, each at a version of its own."""
    with together(nursery, shared, GRANTS, GRANTS, count=50) as workers:
        rows = [row for worker in workers for row in worker.rows()]
    assert sorted(version for _, version in rows) == list(range(2, 102))
    ledger = shared.open()
    members = {str(claim) for claim in ledger.application("CRM").members}
    ledger.close()
    wanted = {f"group:w{worker}-{number}" for worker in range(2) for number in range(50)}
    assert members == wanted | {"user:alice"}
    require_dense(shared)


def test_two_processes_that_set_one_mapping_count_its_versions_on(shared, nursery):
    """No version is given twice, and the last one is what is read."""
    script = "from ledger.values import FieldValue\n" + OVERWRITES
    with together(nursery, shared, script, script, count=25) as workers:
        rows = [worker.rows() for worker in workers]
    last = max(row for some in rows for row in some)
    assert sorted(version for some in rows for _, version in some) == list(range(2, 52))
    assert last[1] == 51
    ledger = shared.open()
    found = ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
    ledger.close()
    assert found.version == 51
    assert (
        found.fields["Windows Password"].reveal()
        == f"w{[last in some for some in rows].index(True)}"
    )
    require_dense(shared)


def test_commands_that_run_at_once_all_succeed(nursery, tmp_path):
    """Twenty commands started together, each a process: all are done, none is refused."""
    host = Host(nursery, tmp_path / "host")
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "CRM", "--kind", "group")
    grant = ("app", "grant", "CRM", "member")
    started = [host.start(*grant, f"group:g{number}") for number in range(20)]
    ended = [process.wait() for process in started]
    assert [one.code for one in ended] == [0] * 20, ended
    assert sorted(one.json["version"] for one in ended) == list(range(2, 22))
    assert len(host.ok("app", "show", "CRM")["members"]) == 20
    host.is_whole()


def test_processes_that_read_at_once_all_finish(shared, nursery):
    """Each read is recorded at a position of its own, and nobody is kept from his."""
    with together(nursery, shared, *[READS] * 4, count=30) as workers:
        positions = [[row[0] for row in worker.rows()] for worker in workers]
    assert len({position for some in positions for position in some}) == 120
    assert all(len(some) == 30 for some in positions)
    require_dense(shared)


def test_readers_finish_while_an_application_is_changed(shared, nursery):
    """Decisions and changes interleave, and every access is decided at its own position."""
    with together(nursery, shared, READS, READS, GRANTS, count=30) as workers:
        rows = [worker.rows() for worker in workers]
    assert [len(some) for some in rows] == [30, 30, 30]
    require_dense(shared)


TURNS = 20


def someone_is_next(house):
    """A question: does another wait as the next for the lock, which is held from now on?

    On a server he has marked the locked row as his. In a file he looks at a lock, pauses, and looks
    again: between two pauses that begin from now on lies one look, and all that others hold now is
    the lock itself, so whatever makes him the next he has taken then.
    """
    if house.on_server:
        schema = house.store_url.rsplit("=", 1)[1]
        marked = (
            "SELECT 1 FROM pg_locks WHERE locktype = 'tuple' AND granted"
            f" AND relation = '{schema}.ledger'::regclass"
        )
        return lambda: house.sql(marked)
    pauses = house.keyring_path.with_name("pauses")
    seen = pauses.stat().st_size
    return lambda: pauses.stat().st_size >= seen + 2


def test_one_that_takes_the_lock_again_and_again_starves_nobody(shared, nursery):
    """Each time it lets go for the next one and asks again at once, the next one is served first.

    What is counted are turns, and a turn ends only when the other one waits: so a slow machine
    changes nothing. In a file the one that waits is served first for certain. A server wakes him
    while the other has yet to ask; there he may lose that race nine times out of ten.
    """
    turns_max = 10 * TURNS if shared.on_server else TURNS
    shared.keyring_path.with_name("pauses").touch()
    looking = shared.store()

    def position():
        with looking.reading() as reading:
            return reading.last_position()

    last, turns = position() + TURNS, 0
    scripts = (HOLDS_AGAIN_AND_AGAIN, GRANTS_AND_TELLS_EACH_PAUSE)
    with together(nursery, shared, *scripts, count=TURNS) as (greedy, other):
        assert greedy.line() == "held"
        while position() < last:
            is_next = someone_is_next(shared)
            until(is_next)
            greedy.begin()
            turns += 1
            assert turns <= turns_max
            assert greedy.line() == "held"
        assert [version for _, version in other.rows()] == list(range(2, 2 + TURNS))
    assert turns > 0
    require_dense(shared)


def test_a_lock_held_too_long_is_unavailable(shared, nursery):
    """Whoever waits gets `store-locked`, exit 7, and has changed nothing; then all goes on."""
    shared.store_settings = {"lock_timeout_s": 0.2}
    ledger = shared.open()
    before = ledger.status().position
    with together(nursery, shared, HOLDS, count=0) as (holder,):
        assert holder.line() == "held"
        for refused in (
            lambda: ledger.grant(Acting(), "CRM", "member", "user:bob"),
            lambda: ledger.retrieve(Caller(parse_claim("user:alice")), "CRM"),
        ):
            with pytest.raises(Unavailable) as caught:
                refused()
            assert caught.value.code == "store-locked"
            assert caught.value.hint
            assert exit_code(caught.value.family) == 7
        assert ledger.status().position == before
        holder.begin()
        assert holder.rows() == []
    assert ledger.grant(Acting(), "CRM", "member", "user:bob").position == before + 1
    ledger.close()
    require_dense(shared)


def test_a_killed_holder_of_the_lock_lets_the_next_one_in(shared, nursery):
    """The lock dies with its process, and what that one had not committed is gone."""
    ledger = shared.open()
    before = ledger.status().position
    with (
        together(nursery, shared, HOLDS, count=0) as (holder,),
        together(nursery, shared, GRANTS, count=1) as (waiting,),
    ):
        assert holder.line() == "held"
        holder.process.kill()
        assert waiting.rows() == [(before + 1, 2)]
    ledger.close()
    require_dense(shared)


def test_a_process_that_forks_while_it_writes_loses_nothing(shared, nursery):
    """Children and parent go on with the ledger they share, each with what is its own."""
    with together(nursery, shared, FORKS, count=8) as (forking,):
        positions = [row[0] for row in forking.rows()]
    assert len(set(positions)) == len(positions) > 0
    ledger = shared.open()
    assert len(ledger.application("CRM").members) == 1 + 8 + 8 * 5
    recorded = {one["position"] for one in ledger.views.accesses.newest(outcome="granted", limit=0)}
    ledger.close()
    assert set(positions) == recorded
    require_dense(shared)
