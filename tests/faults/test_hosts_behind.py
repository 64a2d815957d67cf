"""Each host tells which epochs its keyring holds, so that another can say that it is behind."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from ledger.aggregates.hosts import HostForgotten, HostSeen, fold_hosts
from ledger.claims import parse_claim
from ledger.errors import Conflict, KeyUnavailable, NotFound, Refused
from ledger.log.host_file import host_path
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.usecases.hosts import LOOK_AGAIN_US, Herald
from ledger.values import FieldValue
from tests.faults.hosts import with_auditor
from tests.faults.killing import killed_everywhere
from tests.ledger.recording import recorded

ALICE = Caller(parse_claim("user:alice"))
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
SEEN = "host.seen"


@pytest.fixture
def hosts(house, tmp_path):
    """The host that the ledger was founded on, and one that was given a copy of the keyring."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    ledger.set_credentials(Acting(), "CRM", None, PAIR)
    ledger.close()
    keyring = tmp_path / "other" / "keyring"
    keyring.parent.mkdir()
    shutil.copy2(house.keyring_path, keyring)
    return house, dataclasses.replace(house, keyring_path=keyring, opened=[])


def hand_over(giving, given):
    """Copy the newer keyring, as `doctor` asks for."""
    shutil.copy2(giving.keyring_path, given.keyring_path)


def topics(house, after=0):
    with house.store().reading() as reading:
        return [row.topic for row in reading.rows_after(after, 1000)]


def read_once(house):
    """What one command does that reads for somebody."""
    ledger = house.open()
    position = ledger.retrieve(ALICE, "CRM").position
    ledger.close()
    return position


def rotate(house):
    ledger = house.open()
    ledger.rotate(Acting(), without_backup=True)
    ledger.close()


def told(house):
    """(number, newest epoch, state) of each host, as this one sees it."""
    ledger = house.open()
    current = ledger.status().epoch
    seen = [(one.number, one.newest, one.state(current)) for one in ledger.hosts.seen()]
    ledger.close()
    return seen


def test_a_host_tells_beside_the_first_thing_that_it_records(hosts):
    """In the same commit, after it, and once in an epoch; whoever founded it follows then."""
    founded, other = hosts
    size = len(topics(other))
    assert told(other) == []
    assert len(topics(other)) == size  # a look tells nothing
    assert read_once(other) == size + 1
    assert topics(other, size) == ["access.granted", SEEN]
    with other.store().reading() as reading:
        assert [one.size for one in reading.commits_after(size, 10)] == [size + 2]
    read_once(other)
    read_once(founded)
    read_once(founded)
    assert topics(other, size).count(SEEN) == 2
    assert told(founded) == told(other) == [(1, 2, "ready"), (2, 2, "ready")]
    assert verify_log(founded.store()).ok


def test_what_appends_nothing_tells_nothing(hosts):
    """Neither a change that was made before nor one that is refused."""
    _, other = hosts
    size = len(topics(other))
    ledger = other.open()
    assert not ledger.grant(Acting(), "CRM", "member", "user:alice").changed
    with pytest.raises(NotFound):
        ledger.grant(Acting(), "Nothing", "member", "user:alice")
    ledger.close()
    assert len(topics(other)) == size


def test_what_was_told_costs_the_next_records_nothing(hosts, monkeypatch):
    """They do not even look what the log knows of hosts."""
    _, other = hosts
    looks = []
    due = Herald._is_due
    monkeypatch.setattr(Herald, "_is_due", lambda *asked: looks.append(1) or due(*asked))
    ledger = other.open()
    for _ in range(5):
        ledger.retrieve(ALICE, "CRM")
    ledger.close()
    assert len(looks) == 2  # one told it, and one saw that it is told


def test_a_host_alone_tells_nothing(hosts):
    """There is nobody to tell."""
    founded, _ = hosts
    read_once(founded)
    for _ in range(3):
        rotate(founded)
        read_once(founded)
    assert SEEN not in topics(founded)
    assert told(founded) == []


def test_a_rotation_leaves_the_others_behind_until_they_are_given_the_file(hosts):
    """The host that rotated knows it at once; the other's next record says that it is mended."""
    founded, other = hosts
    read_once(other)
    rotate(founded)
    assert told(founded) == [(1, 2, "behind"), (2, 3, "ready")]
    read_once(other)  # in the new epoch, with the same file: nothing new to tell
    assert told(founded) == told(other) == [(1, 2, "behind"), (2, 3, "ready")]
    hand_over(founded, other)
    assert told(founded)[0] == (1, 2, "behind")
    size = len(topics(other))
    read_once(other)
    assert topics(other, size) == ["access.granted", SEEN]
    assert told(founded) == [(1, 3, "ready"), (2, 3, "ready")]
    rotate(other)
    assert told(other) == [(1, 4, "ready"), (2, 3, "behind")]


def test_a_host_two_rotations_behind_is_called_stopped(hosts):
    founded, other = hosts
    read_once(other)
    rotate(founded)
    rotate(founded)
    assert told(founded) == [(1, 2, "stopped"), (2, 4, "ready")]
    with pytest.raises(KeyUnavailable) as caught:
        other.open()
    assert caught.value.code == "keyring-behind"
    hand_over(founded, other)
    read_once(other)
    assert told(founded) == [(1, 4, "ready"), (2, 4, "ready")]


def test_an_epoch_that_the_log_did_not_choose_is_not_held(hosts):
    """A host that made one of its own when another was first is behind like any other."""
    founded, other = hosts
    read_once(other)
    loser = other.open()
    with loser._held.changing(lambda: loser._writer.look(loser._desk.key_history)) as (file, _):
        after = file.held.with_next_epoch(loser._desk.random)
        file.write(after.keyring, after.root)
    loser.retrieve(ALICE, "CRM")
    assert told(founded) == [(1, 2, "ready")]
    rotate(founded)
    loser.retrieve(ALICE, "CRM")
    loser.close()
    assert told(founded) == [(1, 2, "behind"), (2, 3, "ready")]


def test_a_process_that_runs_tells_of_a_file_that_was_given_to_it(hosts):
    """It looks at the file once a minute, beside what it records, and not for every record."""
    founded, other = hosts
    running = other.open()
    running.retrieve(ALICE, "CRM")
    rotate(founded)
    hand_over(founded, other)
    running.retrieve(ALICE, "CRM")
    assert told(founded)[0] == (1, 2, "behind")
    other.clock.offset_us += LOOK_AGAIN_US
    running.retrieve(ALICE, "CRM")
    assert told(founded)[0] == (1, 3, "ready")
    size = len(topics(founded))
    other.clock.offset_us += LOOK_AGAIN_US
    for _ in range(3):
        running.retrieve(ALICE, "CRM")
    running.close()
    assert topics(founded, size) == ["access.granted"] * 3


def test_a_forgotten_host_is_no_longer_named_until_it_is_seen_again(hosts):
    founded, other = hosts
    read_once(other)
    rotate(founded)
    ledger = founded.open()
    with pytest.raises(NotFound) as caught:
        ledger.hosts.forget(Acting(), 3)
    assert caught.value.code == "no-such-host"
    position = ledger.hosts.forget(Acting(reason="taken down"), 1)
    assert ledger.head().size == position
    with pytest.raises(Conflict) as conflict:
        ledger.hosts.forget(Acting(), 1)
    assert conflict.value.code == "host-forgotten-already"
    (change,) = [one for one in ledger.views.changes() if one["event"] == "host.forgotten"]
    assert change["reason"] == "taken down"
    ledger.close()
    assert told(founded) == [(2, 3, "ready")]
    read_once(other)
    assert told(founded) == [(1, 2, "behind"), (2, 3, "ready")]


def test_an_auditor_neither_tells_nor_forgets(hosts):
    """Nothing but an auditor's questions is signed with an auditor's key."""
    founded, other = hosts
    read_once(other)
    place, unlocked = with_auditor(founded)
    auditor = dataclasses.replace(founded, keyring_path=place).open_with(unlocked)
    size = auditor.head().size
    auditor.record_query(Acting(), "access", 0)
    with pytest.raises(Refused) as caught:
        auditor.hosts.forget(Acting(), 1)
    assert caught.value.code == "operator-needed"
    assert len(auditor.hosts.seen()) == 2
    assert topics(founded, size) == ["audit.queried"]
    auditor.close()
    assert not host_path(place).exists()


def test_a_copy_of_the_whole_folder_is_another_host(hosts, tmp_path):
    """Its file is the other's, to the byte, but for where it lies."""
    founded, _ = hosts
    shutil.copytree(founded.keyring_path.parent, tmp_path / "copied")
    copy = dataclasses.replace(founded, keyring_path=tmp_path / "copied" / "keyring", opened=[])
    before = host_path(founded.keyring_path).read_bytes()
    assert host_path(copy.keyring_path).read_bytes() == before
    read_once(copy)
    read_once(founded)
    assert [number for number, _, _ in told(founded)] == [1, 2]
    assert host_path(founded.keyring_path).read_bytes() == before
    assert host_path(copy.keyring_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff" * 9,
        b"[" * 900,
        b'{"format": 2}',
        b'{"format": 1, "ledger": "%(ledger)s", "inode": %(inode)d}',
        b'{"format": 1, "ledger": "%(ledger)s", "inode": %(inode)d, "host": 7, "founder": true}',
        b'{"format": 1, "ledger": "%(ledger)s", "inode": %(inode)d, "host": "00", "founder": true}',
        b'{"format": 1, "ledger": "00", "inode": %(inode)d, "host": "%(host)s", "founder": true}',
    ],
)
def test_a_host_whose_file_is_none_is_a_new_one(sqlite_house, content):
    """Nothing rests on the file, so nothing is refused for it."""
    path = host_path(sqlite_house.keyring_path)
    known = json.loads(path.read_bytes())
    path.write_bytes(b"")
    filling = {
        b"ledger": known["ledger"].encode(),
        b"host": known["host"].encode(),
        b"inode": path.stat().st_ino,
    }
    path.write_bytes(content % filling if b"%(" in content else content)
    ledger = sqlite_house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.close()
    assert topics(sqlite_house)[-1] == SEEN
    made = json.loads(path.read_bytes())
    assert made["host"] != known["host"]
    assert (made["ledger"], made["founder"]) == (known["ledger"], False)
    ledger = sqlite_house.open()
    assert ledger.hosts.this.id.hex() == made["host"]
    ledger.close()


def test_a_host_that_cannot_keep_its_number_tells_nothing_and_works(sqlite_house):
    path = host_path(sqlite_house.keyring_path)
    path.unlink()
    path.mkdir()
    (path / "something").touch()
    ledger = sqlite_house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    assert ledger.hosts.this is None
    assert ledger.hosts.seen() == ()
    ledger.close()
    assert topics(sqlite_house)[-1] == "application.created"


def test_the_fold_of_hosts_ignores_what_tells_of_none():
    one, two = bytes(16), bytes([1]) * 16
    hosts = fold_hosts({}, recorded(HostSeen(one, 2, 1), 1, 1))
    assert fold_hosts(hosts, recorded(HostForgotten(two), 2, 1)) is hosts
    hosts = fold_hosts(hosts, recorded(HostSeen(two, 3, 5), 3, 1))
    hosts = fold_hosts(hosts, recorded(HostForgotten(one), 4, 1))
    hosts = fold_hosts(hosts, recorded(HostSeen(one, 3, 6), 5, 1))
    told = [(seen.number, seen.newest, seen.is_forgotten) for seen in hosts.values()]
    assert told == [(1, 3, False), (2, 3, False)]


def another(base, home):
    """The base's ledger on a host that was given the keyring alone."""
    host = base.copy(home)
    host_path(host.keyring).unlink(missing_ok=True)
    host.memory.unlink()
    return host


GET = ("credential", "get", "Reports", "--as", "service:nightly")


def test_a_host_killed_while_it_tells_is_seen_once(base, tmp_path):
    """With what it recorded or not at all; the next record tells it, and nothing is in two."""
    position = base.position()
    bare = another(base, tmp_path / "bare")
    whole = ["access.granted", SEEN]
    numbers = set()
    for host, _ in killed_everywhere(bare, tmp_path, *GET):
        assert host.topics(position) in ([], whole)
        host.ok(*GET)
        assert host.topics(position).count(SEEN) == 1
        (seen,) = host.ok("key", "host", "list")
        numbers.add(seen["this"])
        host.is_whole()
    assert numbers == {True}


def test_a_list_without_hosts_says_why(base, tmp_path):
    """Beside the empty table, and not in an answer for programs."""
    host = base.copy(tmp_path / "host")
    asked = ("key", "host", "list")
    told = host.run(*asked, as_json=False)
    assert (told.code, told.out.count(b"\n")) == (0, 1)
    assert b"No host has told" in told.err
    told = host.run(*asked)
    assert (told.json, told.err) == ([], b"")


def test_doctor_names_the_hosts_behind_and_what_mends_it(on_both, tmp_path):
    """The command line: a host that stays behind is named until it is mended or forgotten."""
    first = on_both.copy(tmp_path / "first")
    second = another(on_both, tmp_path / "second")
    second.environment["CREDLEDGER_STORE"] = first.environment["CREDLEDGER_STORE"]

    def behind(host):
        findings = host.ok("doctor")["findings"]
        return [one for one in findings if one["code"] == "host-behind"]

    second.ok(*GET)
    assert behind(first) == behind(second) == []
    first.ok("key", "rotate", "--without-backup")
    (finding,) = behind(first)
    assert finding["severity"] == "warning"
    assert "one more rotation" in finding["message"]
    assert "key host forget 1" in finding["mend"]
    codes = [one["code"] for one in second.ok("doctor")["findings"]]
    assert "next-epoch-missing" in codes
    assert "host-behind" not in codes
    listed = {one["host"]: (one["state"], one["this"]) for one in first.ok("key", "host", "list")}
    assert listed == {1: ("behind", False), 2: ("ready", True)}
    shutil.copy2(first.keyring, second.keyring)
    second.ok(*GET)
    assert behind(first) == []
    first.ok("key", "rotate", "--without-backup")
    first.ok("key", "rotate", "--without-backup")
    (finding,) = behind(first)
    assert "cannot open the ledger" in finding["message"]
    assert first.ok("key", "host", "forget", "1") == {"host": 1, "position": first.position()}
    assert behind(first) == []
    first.fails(5, "host-forgotten-already", "key", "host", "forget", "1")
    first.fails(3, "no-such-host", "key", "host", "forget", "9")
    assert {one["host"] for one in first.ok("key", "host", "list")} == {2}
    first.is_whole()
    for host in (first, second):
        host.settle()
        host.drop_database()
