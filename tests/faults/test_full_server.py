"""A database server whose disk fills up: nothing is recorded in part, nothing released unrecorded.

The server's files lie on a small file system that is really full (`small_server`). Where a table
cannot grow, the server refuses the statement: `store-full`, exit 7, and the change is not there.
Where its write-ahead log cannot grow, the server itself goes down in the middle of a commit, and
nobody can say `store-full` and mean that nothing was recorded. In both cases whatever was open goes
on by itself once there is room and the server runs.
"""

from __future__ import annotations

import json
import shutil
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
from tests.faults.running import Host, settle_in
from tests.faults.test_backup_faults import small
from tools.exits import exit_code

CANARY = "canary-7d31"
LARGE = CANARY + "x" * 60_000
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(CANARY)}
LARGE_PAIR = {**PAIR, "Windows Password": FieldValue(LARGE)}
ALICE = parse_claim("user:alice")
CHANGES_MAX = 400
SOME_PAGES = 512 * 1024
ROOM_FIRST = 64 * 1024
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
    recorded = {one["position"] for one in ledger.views.accesses.newest(limit=0)}
    assert recorded == set(range(size + 1, after + 1))
    assert answered <= recorded
    unanswered = recorded - answered - {after}
    assert len(unanswered) <= (refused == "commit-unconfirmed")
    require_whole(house, ledger)
    ledger.close()


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


def test_a_rotation_that_finds_no_room_is_finished_by_the_next(server, house, full):
    """Its epoch may have begun; every credential opens all the while, under whichever key."""
    ledger = house.open()
    owners = [parse_claim(f"user:u{number}") for number in range(20)]
    for owner in owners:
        ledger.set_credentials(Acting(), "CRM", owner, LARGE_PAIR)
    room, begun = 0, []
    while True:
        full(but_bytes=room)
        try:
            outcome = ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
        except Unavailable as error:
            assert error.code == "store-full"
        else:
            break
        finally:
            server.make_room()
        begun.append(ledger.key_history().is_rotating)
        other = house.open()
        for owner in owners:
            got = other.retrieve(Caller(owner), "CRM")
            assert got.fields["Windows Password"].reveal() == LARGE
        other.close()
        room = 2 * room or ROOM_FIRST
    assert any(begun), begun  # some room sufficed for the new epoch and not for what rests on it
    assert (outcome.epoch, outcome.destroyed) == (2, (1,))
    for owner in owners:
        assert ledger.retrieve(Caller(owner), "CRM").fields["Windows Password"].reveal() == LARGE
    require_whole(house, ledger)
    ledger.close()


def filled(nursery, server, home) -> Host:
    """A ledger with some large credentials, and an archive of it."""
    host = Host(nursery, home, server=server)
    host.create_database()
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    values = json.dumps({"User": "ann", "Password": LARGE}).encode()
    for name in ("ann", "bob", "eve", "joe", "sue", "tom"):
        owner = ("--owner", f"user:{name}", "--values", "-")
        host.ok("credential", "set", "payroll", *owner, stdin=values)
    assert host.run(script=small("backup", "create", "archive"), as_json=False).code == 0
    (host.home / "safe").mkdir()
    return host


def test_a_key_backup_that_could_not_be_recorded_is_gone_on_with(nursery, server, full, tmp_path):
    """What lies there is the keyring or nothing, and it is recorded once."""
    host = filled(nursery, server, tmp_path / "host")
    change = ("credential", "set", "payroll", "--owner", "user:ann", "--values", "-")
    values = json.dumps({"User": "ann", "Password": LARGE}).encode()
    full()
    while host.run(*change, stdin=values).code == 0:
        pass  # what room is left in the tables' own pages
    position, refused = host.position(), 0
    for number in range(CHANGES_MAX):
        ended = host.run("key", "backup", f"safe/{number}")
        if ended.code != 0:
            assert (ended.code, ended.error["code"]) == (7, "store-full"), ended
            refused = number
            break
    else:
        raise AssertionError("the server was never full")
    assert host.topics(position) == ["key.backed-up"] * refused
    left = host.home / "safe" / str(refused)
    assert not left.exists() or left.read_bytes() == host.keyring.read_bytes()
    server.make_room()
    host.ok("key", "backup", f"safe/{refused}")
    assert host.topics(position) == ["key.backed-up"] * (refused + 1)
    host.is_whole()
    host.drop_database()


def test_a_restore_that_finds_no_room_goes_on_with_room(nursery, server, full, tmp_path):
    """What is there is a shorter log that holds, and the same command brings the rest."""
    host = filled(nursery, server, tmp_path / "host")
    position = host.position() - 1
    new = Host(nursery, tmp_path / "new", server=server)
    new.create_database()
    for name in ("secret", "keys"):
        shutil.copytree(host.home / name, new.home / name)
    settle_in(new.keyring)
    new.environment["CREDLEDGER_KEY_FILE"] = str(new.home / "secret" / "key")
    restore = ("backup", "restore", str(host.home / "archive"))
    room, refused = 0, []
    assert new.position() == 0
    while True:
        full(but_bytes=room)
        ended = new.run(*restore)
        server.make_room()
        assert CANARY.encode() not in ended.both
        if ended.code == 0:
            break
        assert (ended.code, ended.error["code"]) == (7, "store-full"), ended
        refused.append(new.position())
        room = 2 * room or ROOM_FIRST
    assert max(refused) > min(refused)
    assert ended.json["position"] == position
    got = new.ok("credential", "get", "payroll", "--as", "user:eve")
    assert got["fields"]["Password"] == LARGE
    new.is_whole()
    assert new.topics().count("backup.restored") == 1
    for one in (host, new):
        one.drop_database()
