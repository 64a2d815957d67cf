"""Disks that fill up: nothing is recorded in part, nothing is lost, and with room all goes on.

A disk is full from the start, or from some boundary of a command on (see `running`), so that each
file that a command writes meets it: store, journal, keyring, the host's memory, an auditor's file.
A refusal is exit 7 with a code of its own and has recorded nothing. Where only the host's memory of
what was recorded could not be kept, the command has done its work, exit 0, and says so beside it.
"""

from __future__ import annotations

import itertools
import json

import pytest

from tests.faults.accepted import ACCEPTANCES, with_harmed_memory
from tests.faults.killing import CLOSE, PASSPHRASES, STEP
from tests.faults.running import FULL_BYTES, Host
from tests.faults.writes import WRITES

BOUNDARIES_MAX = 200
BATCH = 500
CANARY = "canary-55d0"
VALUES = json.dumps({"User": "ann", "Password": CANARY}).encode()
LARGE = json.dumps({"User": "ann", "Password": CANARY + "x" * 60_000}).encode()
SET = ("credential", "set", "payroll", "--owner", "user:bob", "--values", "-")
ACCEPT = ("log", "verify", "--accept-new-memory")
GET = ("credential", "get", "payroll", "--as", "user:ann")
EXEC = ("exec", "payroll", "--as", "user:ann", "--", "sh", "-c", 'echo "$PASSWORD"')
NEXT = ("app", "grant", "payroll", "administrator", "user:next")
UNRECORDED = {
    "store-full",
    "store-unreachable",
    "store-not-writable",
    "keyring-not-writable",
    "key-file-not-writable",
}
STILL_FULL = """
import sqlite3
from ledger.log.memory import HostMemory
from tools.cli.main import run

def full(self):
    raise sqlite3.OperationalError("database or disk is full")

remember = HostMemory.remember

def without_room(self, *what):
    self._opened = full.__get__(self)
    remember(self, *what)

HostMemory.remember = without_room
run(["doctor", "--json"])
"""
UNREMEMBERED = b"memory of the ledger, beside the keyring, cannot be written"


@pytest.fixture(scope="module")
def base(base, tmp_path_factory):
    """The ledger that commands are killed at too, with credentials of a person."""
    host = base.copy(tmp_path_factory.mktemp("full") / "base")
    host.ok("credential", "set", "payroll", "--owner", "user:ann", "--values", "-", stdin=VALUES)
    return host


def full_everywhere(base, tmp_path, *arguments, step=STEP, **how):
    """A fresh copy for each boundary, the command's end when the disk was full from there on."""
    for number in itertools.count(1, step):
        host = base.copy(tmp_path / str(number))
        ended = host.run(*arguments, full_at=number, **how)
        if len(host.boundaries()) < number:
            assert ended.code == 0, ended
            assert number > 5, "hardly any boundary was met"
            return
        assert number < BOUNDARIES_MAX
        yield host, ended


def require_honest(ended, recorded):
    """Done and recorded, or refused with a code that tells which; nothing secret was said."""
    assert PASSPHRASES["first"].encode() not in ended.both
    assert b"Traceback" not in ended.both
    if ended.code == 0:
        assert recorded
        return
    assert ended.code == 7, ended
    assert ended.error["message"]
    assert ended.error["hint"]
    assert CANARY.encode() not in ended.both
    assert not recorded, ended
    assert ended.error["code"] in UNRECORDED, ended


@pytest.mark.parametrize(
    ("arguments", "topics"),
    [(SET, ["credential.set"]), (GET, ["access.granted"]), (EXEC, ["access.granted"])],
    ids=["set", "get", "exec"],
)
def test_a_disk_that_fills_up_leaves_a_command_done_or_undone(base, tmp_path, arguments, topics):
    """No value is released without its record, and with room the same command works."""
    position = base.position()
    codes = set()
    for host, ended in full_everywhere(base, tmp_path, *arguments, stdin=VALUES):
        recorded = host.topics(position)
        assert recorded in ([], topics)
        require_honest(ended, bool(recorded))
        codes.add(ended.code)
        host.is_whole()
        assert host.run(*arguments, stdin=VALUES).code == 0
        assert host.topics(position) == recorded + topics
    assert codes == {0, 7}


@pytest.mark.parametrize("name", WRITES)
def test_a_disk_that_is_full_later_and_later_leaves_a_change_undone_until_it_is_done(
    base, tmp_path, name
):
    """Each time nothing of it is there; then it is, once and as a whole, and all goes on."""
    write = WRITES[name]
    host = base.copy(tmp_path / "host")
    if write.before:
        host.ok(*write.before, stdin=VALUES)
    position = host.position()
    for number in itertools.count(1, STEP):
        ended = host.run(*write.arguments, stdin=VALUES, full_at=number)
        recorded = host.position() > position if write.topics else ended.code == 0
        require_honest(ended, recorded)
        if ended.code == 0:
            break
    assert number > 1
    assert host.topics(position) == list(write.topics)
    host.is_whole()
    host.ok(*NEXT)
    host.is_whole()


def test_an_answer_that_has_no_room_is_said_to_lack_its_end(base, tmp_path):
    """Once, with the record of the question in the log, and without a traceback."""
    grown = base.copy(tmp_path / "grown")
    for number in range(5):
        grown.ok("app", "create", f"Application {number}", "--kind", "group")
    position, cut_off = grown.position(), 0
    for host, ended in full_everywhere(grown, tmp_path, "audit", "changes"):
        recorded = host.topics(position)
        assert recorded in ([], ["audit.queried"])
        assert ended.code == 7, ended
        assert b"Traceback" not in ended.both
        if recorded:
            cut_off += 1
            assert ended.error["code"] == "system-refused"
            assert "What was recorded stands" in ended.error["hint"]
            assert 0 < len(ended.out) <= FULL_BYTES
        else:
            assert ended.error["code"] in UNRECORDED
    assert cut_off


def test_a_file_of_applications_is_applied_on_a_full_disk_as_a_whole_or_not_at_all(base, tmp_path):
    """With room the next run does it, or finds it done."""
    apply = ("app", "apply", "applications.toml")
    done, position = base.copy(tmp_path / "done"), base.position()
    done.ok(*apply)
    all_topics, codes = done.topics(position), set()
    for host, ended in full_everywhere(base, tmp_path, *apply):
        recorded = host.topics(position)
        assert recorded in ([], all_topics)
        require_honest(ended, bool(recorded))
        codes.add(ended.code)
        host.ok(*apply)
        assert host.topics(position) == all_topics
        host.is_whole()
    assert codes == {0, 7}


def test_a_slot_removed_on_a_full_disk_is_gone_or_is_removed_by_the_next_run(base, tmp_path):
    """The others still open; it opens nothing once the removal was answered."""
    remove = ("key", "slot", "remove", "2", "--mislaid", "--yes")
    position, codes = base.position(), set()
    for host, ended in full_everywhere(base, tmp_path, *remove):
        recorded = host.topics(position)
        assert recorded in ([], ["slot.removed"])
        require_honest(ended, bool(recorded))
        codes.add(ended.code)
        assert host.run(*remove).code == (5 if recorded else 0)
        assert host.topics(position) == ["slot.removed"]
        assert not entered(host, "first")
        host.is_whole()
    assert codes == {0, 7}


@pytest.mark.parametrize("name", ACCEPTANCES)
def test_what_could_not_be_accepted_on_a_full_disk_stops_the_host_as_before(base, tmp_path, name):
    """A refusal has changed nothing that a host goes by; with room it is accepted."""
    acceptance = ACCEPTANCES[name]
    host = acceptance.stopped(base, tmp_path / "host")
    position, refused = base.position(), 0
    for number in itertools.count(1, STEP):
        ended = host.run(*acceptance.arguments, full_at=number)
        if ended.code == 0:
            break
        refused += 1
        assert (ended.code, ended.error["code"] in {*UNRECORDED, "memory-not-writable"}) == (
            7,
            True,
        )
        looked = host.run("status")
        if looked.code != 0:
            assert (looked.code, looked.error["code"] in acceptance.codes) == (8, True), looked
    assert refused
    host.ok("status")
    assert set(host.topics(position)) == {acceptance.topic}
    host.is_whole()


def test_tables_that_had_no_room_are_made_by_the_next_migration(nursery, tmp_path):
    """Nothing needs to be cleared away before."""
    bare = Host(nursery, tmp_path / "bare")
    codes = set()
    for host, ended in full_everywhere(bare, tmp_path, "store", "migrate"):
        codes.add(ended.code)
        assert ended.code == 0 or (ended.code, ended.error["code"] in UNRECORDED) == (7, True)
        host.ok("store", "migrate")
        host.ok("init", "--label", "ann")
        assert host.is_whole()["size"] == 2
    assert 7 in codes


def test_a_change_that_only_the_memory_missed_is_done_and_says_so(base, tmp_path):
    """Run again because it had failed, it would be made twice; `doctor` finds what is wrong."""
    missed = 0
    for one, ended in full_everywhere(base, tmp_path, *SET, stdin=VALUES):
        if UNREMEMBERED not in ended.err:
            continue
        missed += 1
        assert (ended.code, ended.json["version"]) == (0, 1)
        assert b"What was recorded stands" in ended.err
        assert "memory-not-writable" in found_by_doctor(one, script=STILL_FULL)
        assert "memory-not-writable" not in found_by_doctor(one)
        assert one.ok(*SET, stdin=VALUES)["version"] == 2
    assert missed


def test_a_memory_is_not_replaced_by_one_that_could_not_be_written(base, tmp_path):
    """Accepting a new memory on a full disk leaves the damaged one, which stops the host."""
    for host, ended in full_everywhere(
        with_harmed_memory(base, tmp_path / "harmed"), tmp_path, *ACCEPT
    ):
        assert ended.code in {0, 7}, ended
        if ended.code == 7 and ended.error["code"] == "memory-not-writable":
            host.fails(8, "memory-unreadable", "status")
        if host.run("status").code != 0:
            host.ok(*ACCEPT)
        assert host.ok(*GET)


def test_a_disk_that_fills_up_during_init_does_not_stop_the_next(nursery, tmp_path):
    """What was made already is used once there is room."""
    bare = Host(nursery, tmp_path / "bare")
    key = bare.home / "secret" / "key"
    key.parent.mkdir()
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    for host, ended in full_everywhere(bare, tmp_path, "init", "--label", "ann"):
        founded = host.position() > 0
        require_honest(ended, founded)
        if not founded:
            host.ok("init", "--label", "ann")
        assert host.is_whole()["size"] == 2


def test_a_key_file_on_a_full_disk_is_whole_or_absent(nursery, tmp_path):
    """With room the next init makes it, or uses it."""
    bare = Host(nursery, tmp_path / "bare")
    for host, ended in full_everywhere(bare, tmp_path, "init", "--label", "ann"):
        key = host.home / "secret" / "key"
        assert not key.exists() or len(key.read_bytes()) == 32
        founded = host.position() > 0
        require_honest(ended, founded)
        if not founded:
            host.ok("init", "--label", "ann")
        assert [one.name for one in key.parent.iterdir()] == ["key"]


def test_a_keyring_whose_disk_is_full_stays_as_it_was(base, tmp_path):
    """A slot that could not be added whole opens nothing; those that were there still open."""
    add = ("key", "slot", "add", "passphrase", "--argon2-memory", "19")
    dora = ("--label", "dora", "--new-passphrase-file", "second")
    keyring, position = base.keyring.read_bytes(), base.position()
    codes = set()
    for host, ended in full_everywhere(base, tmp_path, *add, *dora, step=CLOSE):
        recorded = host.topics(position)
        require_honest(ended, bool(recorded))
        if ended.code != 0:
            codes.add(ended.error["code"])
        if ended.code != 0 and ended.error["code"] == "keyring-not-writable":
            assert host.keyring.read_bytes() == keyring
            host.ok(*add, *dora)
            recorded = host.topics(position)
        assert entered(host, "first")
        assert entered(host, "second") == bool(recorded)
        host.is_whole()
    assert {"keyring-not-writable", "store-unreachable"} <= codes


ROTATE = ("key", "rotate", "--without-backup")
DESTROY = (*ROTATE, "--destroy-previous", "--yes")


@pytest.mark.parametrize("rotate", [ROTATE, DESTROY], ids=["rotate", "destroy"])
def test_a_rotation_on_a_full_disk_is_finished_by_the_next_run(base, tmp_path, rotate):
    """Every credential opens after it, wherever it stopped, and the epoch is started once."""
    codes = set()
    for host, ended in full_everywhere(base, tmp_path, *rotate):
        assert ended.code in {0, 7}, ended
        assert CANARY.encode() not in ended.both
        assert b"Traceback" not in ended.both
        require_opens(host)
        host.is_whole()
        found = host.topics()
        if ended.code == 7:
            assert ended.error["hint"]
            codes.add(ended.error["code"])
            host.ok(*rotate)
        # Where nothing was unfinished, the next run is another rotation.
        destroying = found.count("keys.destroying") > found.count("keys.destroyed")
        another = ended.code == 7 and "epoch.resealed" in found and not destroying
        status, started = host.ok("key", "status"), host.topics().count("epoch.started")
        assert status["epoch"] == started == host.topics().count("epoch.resealed") + 1
        assert started == 2 + another
        secrets = [one["secrets"] for one in status["epochs"][: started - 1]]
        assert set(secrets) == {"destroyed" if rotate is DESTROY else "held"}
        require_opens(host)
        host.is_whole()
    assert codes >= {"keyring-not-writable", "store-unreachable"}, codes


def require_opens(host):
    """Each credential of the ledger, by its own reader."""
    got = host.ok(*GET)
    assert got["fields"]["Password"] == CANARY
    assert host.ok("credential", "get", "Reports", "--as", "service:nightly")["complete"]


def test_a_passphrase_changed_on_a_full_disk_is_the_old_one_or_the_new_one(base, tmp_path):
    """Whichever it is, it opens, and the other one does not."""
    how = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": "first"}
    change = ("key", "passphrase", "--argon2-memory", "19", "--new-passphrase-file")
    for host, ended in full_everywhere(base, tmp_path, *change, "second", environment=how):
        assert ended.code in {0, 7}
        assert entered(host, "first") != entered(host, "second")
        assert host.ok("log", "verify")["ok"]


def test_an_auditors_file_on_a_full_disk_is_whole_or_absent(base, tmp_path):
    """Half a keyring is never left where an auditor would look for one."""
    export = ("key", "slot", "export-auditor", "3", "auditor/keyring")
    as_cleo = {
        "CREDLEDGER_KEY_FILE": "",
        "CREDLEDGER_PASSPHRASE_FILE": "third",
        "CREDLEDGER_KEYRING": "auditor/keyring",
    }
    for host, ended in full_everywhere(base, tmp_path, *export):
        assert ended.code in {0, 7}
        if not (host.home / "auditor" / "keyring").exists():
            assert ended.error["code"] in {*UNRECORDED, "auditor-file-not-written"}
            host.ok(*export)
        assert host.ok("credential", "list", environment=as_cleo)
        host.is_whole()


@pytest.mark.parametrize("content_bytes", [2_000, 30_000, 34_000, 60_000])
def test_nothing_is_released_where_the_record_does_not_fit(base, tmp_path, content_bytes):
    """Values of which no record can be kept stay in the ledger."""
    host = base.copy(tmp_path / "host")
    position = host.position()
    ended = host.run(*GET, file_bytes_max=content_bytes)
    require_honest(ended, bool(host.topics(position)))
    host.is_whole()
    assert CANARY.encode() in host.run(*GET).out


def test_an_answer_on_a_full_disk_has_a_whole_receipt_or_says_that_it_has_none(base, tmp_path):
    """What was recorded is answered; what has no room for a receipt before that is not recorded."""
    position = base.position()
    for host, ended in full_everywhere(base, tmp_path, *GET, "--receipt", "receipt.json"):
        recorded, receipt = bool(host.topics(position)), host.home / "receipt.json"
        if ended.code == 7 and ended.error["code"] == "receipt-not-writable":
            assert not recorded
        else:
            require_honest(ended, recorded)
        if receipt.exists():
            assert host.ok("log", "proof", "--check", "receipt.json")["position"] == position + 1
        elif ended.code == 0:
            assert b"there is no receipt" in ended.err
        host.is_whole()


def test_a_store_without_room_says_that_it_is_full(base, tmp_path):
    """SQLite's own word becomes `store-full`, and nothing is recorded."""
    host = base.copy(tmp_path / "host")
    position = host.position()
    for pages in range(4):
        ended = host.fails(7, "store-full", *SET, stdin=LARGE, store_pages_max=pages)
        assert CANARY.encode() not in ended.both
        assert host.topics(position) == []
        host.is_whole()
    assert host.ok(*SET, stdin=LARGE)["version"] == 1
    assert host.ok("status")["position"] == position + 1


def lines(count):
    return "".join(
        json.dumps(
            {
                "application": "payroll",
                "owner": f"user:p{number}",
                "fields": {"User": f"p{number}", "Password": f"{CANARY}-{number}"},
            }
        )
        + "\n"
        for number in range(count)
    )


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"store_pages_max": 10}, "store-full"),
        ({"store_pages_max": 400}, "store-full"),
        ({"file_bytes_max": 1_500_000}, "store-unreachable"),
    ],
)
def test_an_import_that_fills_the_disk_keeps_whole_batches_and_resumes(base, tmp_path, limit, code):
    """What fitted is there, no part of the next batch, and the next run does the rest."""
    count = 5 * BATCH
    host = base.copy(tmp_path / "host")
    (host.home / "people.jsonl").write_text(lines(count))
    position = host.position()
    ended = host.fails(7, code, "credential", "import", "people.jsonl", **limit)
    assert CANARY.encode() not in ended.both
    there = host.position() - position
    assert there < count
    assert there % BATCH == 0
    host.is_whole()
    answer = host.ok("credential", "import", "people.jsonl")
    assert (answer["imported"], answer["unchanged"]) == (count - there, there)
    host.is_whole()


def entered(host, passphrase_file):
    how = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": passphrase_file}
    ended = host.run("credential", "list", environment=how)
    assert ended.code in {0, 6}, ended
    return ended.code == 0


def found_by_doctor(host, **how):
    return [finding["code"] for finding in host.ok("doctor", **how)["findings"]]
