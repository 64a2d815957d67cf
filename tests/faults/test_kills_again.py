"""Commands killed again and again on one host, later and later, until they are done.

In a file a command is killed at its first boundary, then at its second, and so on, with nothing
mended in between, until its work is in the log; and once more, on a fresh copy, at its last commit
or one boundary that lies after that. On a server the boundaries are those that `killing` spreads.
What the command does is then there once and as a whole, and the log and all views hold.

What a host has to accept before it goes on is of another kind: see `accepted`.
"""

from __future__ import annotations

import itertools
import zlib

import pytest

from tests.commands import all_commands
from tests.faults.accepted import ACCEPTANCES
from tests.faults.killing import STEP, killed_everywhere, moments_of, spread, untouched
from tests.faults.running import KILLED
from tests.faults.writes import ELSEWHERE, READS, VALUES, WRITES

ROLE = "writer_of_killed_migrations"
NEXT = ("app", "grant", "payroll", "administrator", "user:next")


def moments(host, tmp_path, *arguments):
    """Where to kill it: everywhere in a file, here and there on a server."""
    if host.server is None:
        return itertools.count(1, STEP)
    return moments_of(host, tmp_path, *arguments, stdin=VALUES)


def test_every_command_that_writes_is_tried_somewhere():
    """All commands there are: those killed here, those killed elsewhere, and those that read."""
    there = all_commands()
    assert there == {*WRITES, *ELSEWHERE, *READS}
    assert len(there) == len(WRITES) + len(ELSEWHERE) + len(READS)


@pytest.mark.parametrize("name", WRITES)
def test_a_command_killed_again_and_again_is_done_once(on_both, tmp_path, name):
    """Killed later and later it leaves nothing, until it is done as a whole or runs untouched."""
    write = WRITES[name]
    host = on_both.copy(tmp_path / "host")
    if write.before:
        host.ok(*write.before, stdin=VALUES)
        host.settle()
    position = host.position()
    for moment in moments(host, tmp_path, *write.arguments):
        ended = host.run(*write.arguments, stdin=VALUES, kill_at=moment)
        if ended.code == 0 and host.server is None:
            break
        assert ended.code == KILLED, ended
        host.settle()
        done = host.position() > position
        assert done or not ended.out or not write.topics
        if done:
            break
    else:
        host.ok(*write.arguments, stdin=VALUES)
    require_done_once(host, position, write)
    host.drop_database()


@pytest.mark.parametrize("name", [name for name, write in WRITES.items() if write.topics][::STEP])
def test_a_command_killed_after_its_commit_is_done_once(base, tmp_path, name):
    """At one boundary that lies between its commit and its end."""
    write = WRITES[name]
    host = base.copy(tmp_path / "host")
    if write.before:
        host.ok(*write.before, stdin=VALUES)
    position = host.position()
    met = untouched(host, tmp_path, *write.arguments, stdin=VALUES)
    committed = max(number for number, name in enumerate(met, 1) if name == "after COMMIT")
    later = range(committed, len(met) + 1)
    (moment,) = spread(later, 1, zlib.crc32(" ".join(write.arguments).encode()) / 2**32)
    assert host.run(*write.arguments, stdin=VALUES, kill_at=moment).code == KILLED
    require_done_once(host, position, write)


def require_done_once(host, position, write):
    """All of it and nothing more, and the next command works."""
    assert host.topics(position) == list(write.topics)
    host.is_whole()
    host.ok(*NEXT)
    host.is_whole()


@pytest.mark.parametrize("name", ACCEPTANCES)
def test_what_was_being_accepted_stops_the_host_until_it_is(on_both, tmp_path, name):
    """Killed anywhere, the host is stopped as before or goes on; answered, it goes on."""
    acceptance = ACCEPTANCES[name]
    host = acceptance.stopped(on_both, tmp_path / "host")
    assert host.run("status").error["code"] in acceptance.codes
    position = on_both.position()
    goes_on = False
    for moment in moments(host, tmp_path, *acceptance.arguments):
        ended = host.run(*acceptance.arguments, kill_at=moment)
        assert ended.code in {KILLED, 0}, ended
        host.settle()
        looked = host.run("status")
        goes_on = looked.code == 0
        assert goes_on or (looked.code, looked.error["code"] in acceptance.codes) == (8, True)
        assert goes_on or not ended.out
        if goes_on:
            break
    assert goes_on or host.ok(*acceptance.arguments)
    assert set(host.topics(position)) == {acceptance.topic}
    host.is_whole()
    host.ok(*NEXT)
    host.is_whole()
    host.drop_database()


@pytest.fixture
def writer(bare):
    """Options that give a role of the server its rights; none where there is no server."""
    if bare.server is None:
        yield ()
        return
    bare.server.execute(f"CREATE ROLE {ROLE}")
    yield ("--writer", ROLE)
    bare.server.execute(f"DROP ROLE {ROLE}")


def test_a_store_whose_tables_were_being_made_is_made_by_the_next_run(bare, writer, tmp_path):
    """The next migration goes on, and a ledger can be founded there."""
    migrate = ("store", "migrate", *writer)
    for host, _ in killed_everywhere(bare, tmp_path, *migrate):
        host.ok(*migrate)
        host.ok("init", "--label", "ann")
        assert host.is_whole()["size"] == 2
