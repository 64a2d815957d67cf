"""A database server whose disk fills up: nothing is recorded in part, nothing released unrecorded.

The server's files lie on a small file system that is really full (`small_server`). Where a table
cannot grow, the server refuses the statement: `store-full`, exit 7, and the change is not there.
Where its write-ahead log cannot grow, the server itself goes down in the middle of a commit, and
nobody can say `store-full` and mean that nothing was recorded. In both cases whatever was open goes
on by itself once there is room and the server runs.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.claims import parse_claim
from ledger.errors import Unavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import new_house
from tests.contracts.small_server import small_server
from tests.faults.running import Host, Nursery
from tools.cli.exits import exit_code

CANARY = "canary-7d31"
LARGE = CANARY + "x" * 60_000
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(CANARY)}
LARGE_PAIR = {**PAIR, "Windows Password": FieldValue(LARGE)}
ALICE = parse_claim("user:alice")
CHANGES_MAX = 400
SOME_PAGES = 512 * 1024
FIELDS = ("--field", "User:user-name", "--field", "Password:password")


@pytest.fixture(scope="module")
def server():
    with small_server() as started:
        yield started


@pytest.fixture
def full(server):
    """Fills the server up; it runs and has room when the test has ended, however it did."""
    yield server.fill
    if server.is_filled:
        server.restart()


@pytest.fixture
def house(server, tmp_path):
    """A ledger on that server with one owner's credentials."""
    made = new_house(tmp_path)
    made.store_url = f"{server.dsn()}&ledger=ledger_{tmp_path.name[-20:].strip('_')}"
    made.found()
    ledger = made.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ALICE, PAIR)
    ledger.close()
    yield made
    made.close()


def tried(action):
    """The position of what was done, or the error that it met."""
    try:
        return action().position
    except Unavailable as error:
        assert exit_code(error.family) == 7
        assert CANARY not in f"{error}{error.hint}"
        return error


def require_whole(house, ledger):
    """The log verifies, each access is decided again alike, and each view is its fold."""
    assert verify_log(house.store()).ok
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    assert all(view["same"] for view in ledger.views.rebuild())


def test_a_change_that_finds_no_room_is_refused_as_a_whole(server, house, full):
    """What was answered is there and nothing else; with room the same open ledger goes on."""
    ledger = house.open()
    size = ledger.head().size
    full()
    told = []
    while sum(isinstance(one, Unavailable) for one in told) < 3:
        assert len(told) < CHANGES_MAX
        owner = parse_claim(f"user:u{len(told)}")
        told.append(
            tried(lambda owner=owner: ledger.set_credentials(Acting(), "CRM", owner, LARGE_PAIR))
        )
        told.append(tried(lambda: ledger.retrieve(Caller(ALICE), "CRM")))
    refusals = [one.code for one in told if isinstance(one, Unavailable)]
    answered = [one for one in told if not isinstance(one, Unavailable)]
    assert set(refusals) == {"store-full"}
    assert answered == list(range(size + 1, size + 1 + len(answered)))
    assert ledger.head().size == size + len(answered)
    server.make_room()
    assert ledger.set_credentials(Acting(), "CRM", ALICE, LARGE_PAIR).version == 2
    assert ledger.retrieve(Caller(ALICE), "CRM").fields["Windows Password"].reveal() == LARGE
    require_whole(house, ledger)
    ledger.close()


def test_a_server_without_room_for_its_write_ahead_log_loses_nothing_and_lies_to_nobody(
    server, house, full
):
    """Nobody is told that nothing was recorded; the same ledger goes on once the server is back."""
    ledger = house.open()
    size = ledger.head().size
    read = lambda: tried(lambda: ledger.retrieve(Caller(ALICE), "CRM"))
    with ThreadPoolExecutor(3) as readers:
        told = [one.result() for one in [readers.submit(read) for _ in range(9)]]
    full(but_bytes=SOME_PAGES)  # a table can still grow, the write-ahead log cannot
    while not isinstance(told[-1], Unavailable):
        assert len(told) < CHANGES_MAX
        server.execute("SELECT pg_switch_wal()")
        told.append(read())
    # Where the server meets it first is its own affair: at a row, at the commit, or elsewhere.
    refused = told[-1].code
    assert refused in {"commit-unconfirmed", "store-full", "store-unreachable"}
    server.restart()
    answered = set(told[:-1])
    after = read()
    recorded = {one["position"] for one in ledger.views.access(limit=0)}
    assert recorded == set(range(size + 1, after + 1))
    assert answered <= recorded
    unanswered = recorded - answered - {after}
    assert len(unanswered) <= (refused == "commit-unconfirmed")
    require_whole(house, ledger)
    ledger.close()


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as started:
        yield started


def test_commands_on_a_full_server_say_so_and_work_again_with_room(nursery, server, full, tmp_path):
    """`init`, a change and a retrieval: exit 7 or done, no value without a record."""
    founded, bare = (Host(nursery, tmp_path / name, server=server) for name in ("host", "bare"))
    for host in (founded, bare):
        host.create_database()
    founded.ok("init", "--label", "ann")
    founded.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    change = ("credential", "set", "payroll", "--owner", "user:ann", "--values", "-")
    values = json.dumps({"User": "ann", "Password": LARGE}).encode()
    founded.ok(*change, stdin=values)
    assert bare.position() == 0  # a database's first session writes a file, or is turned away
    full()
    position, done = founded.position(), 0
    while (ended := founded.run(*change, stdin=values)).code == 0:
        done += 1
        assert done < CHANGES_MAX
    assert (ended.code, ended.error["code"]) == (7, "store-full")
    assert CANARY.encode() not in ended.both
    assert founded.position() == position + done
    got = founded.run("credential", "get", "payroll", "--as", "user:ann")
    assert founded.position() == position + done + (got.code == 0)
    assert got.code == 0 or (got.error["code"] == "store-full" and not got.out)
    bare.fails(7, "store-full", "init", "--label", "ben")
    server.make_room()
    assert founded.ok(*change, stdin=values)["version"] == done + 2
    founded.is_whole()
    bare.ok("init", "--label", "ben")
    assert bare.is_whole()["size"] == 2
    for host in (founded, bare):
        host.drop_database()
