"""Keyrings that are old, harmed, foreign or in the wrong place, and a host's memory likewise.

Whatever is wrong with a file, the program says so in one document with a code, a sentence and a
hint, and with the exit code of its family: 6 where a key is not to be had, 8 where the host's
memory cannot be believed. The store's head stays where it was, and no passphrase, key or value is
in what was said.
"""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest

from ledger.sealing.keyring_file import read_keyring
from tests.faults.killing import CLOSE
from tests.faults.running import Host

PASSPHRASES = {
    "first": "seven herons cross the lake",
    "second": "eight herons cross the lake",
    "third": "nine auditors count the owls",
    "fourth": "two otters share one stone",
}
CANARY = "canary-c0de"
VALUES = json.dumps({"User": "ann", "Password": CANARY}).encode()
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
GET = ("credential", "get", "payroll", "--as", "user:ann")
SET = ("credential", "set", "payroll", "--owner", "user:bob", "--values", "-")
ADD = ("key", "slot", "add", "passphrase", "--argon2-memory", "19")
CHANGE = ("key", "passphrase", "--argon2-memory", "19", "--new-passphrase-file")
DAMAGED = {"keyring-damaged", "keyring-newer"}


@pytest.fixture(scope="module")
def base(nursery, tmp_path_factory):
    """A ledger with credentials, two operators' slots, an auditor's, and older copies of files."""
    host = Host(nursery, tmp_path_factory.mktemp("keyrings") / "base")
    for name, text in PASSPHRASES.items():
        (host.home / name).touch(mode=0o600)
        (host.home / name).write_text(text)
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    host.ok("credential", "set", "payroll", "--owner", "user:ann", "--values", "-", stdin=VALUES)
    keep(host, "one-slot")
    host.ok(*ADD, "--label", "ben", "--new-passphrase-file", "first")
    keep(host, "two-slots")
    auditor = ("--auditor", "--auditor-file", "auditor/keyring")
    host.ok(*ADD, "--label", "cleo", "--new-passphrase-file", "third", *auditor)
    return host


@pytest.fixture
def host(base, tmp_path):
    return base.copy(tmp_path / "host")


def keep(host, name):
    """A copy of the keyring as it is now."""
    (host.home / name).mkdir()
    shutil.copy2(host.keyring, host.home / name / "keyring")


def with_passphrase(name, keyring=None):
    """The environment of somebody who has this passphrase, and perhaps another file."""
    told = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": name}
    return {**told, "CREDLEDGER_KEYRING": keyring} if keyring else told


def refused(host, exit_code, codes, *arguments, **how):
    """A refusal that changed nothing and told nothing."""
    before, keyring = host.position(), host.keyring.read_bytes()
    ended = host.run(*arguments, **how)
    assert ended.code == exit_code, ended
    assert ended.error["code"] in codes, ended
    assert ended.error["message"], ended
    assert ended.error["hint"], ended
    assert ended.out == b""
    key = (host.home / "secret" / "key").read_bytes()
    secret = [CANARY.encode(), key, key.hex().encode()]
    secret += [text.encode() for text in PASSPHRASES.values()]
    assert not [one for one in secret if one in ended.both]
    assert b"Traceback" not in ended.both
    assert host.position() == before
    assert host.keyring.read_bytes() == keyring
    return ended


def points(size, count):
    """So many places spread over a file, its ends among them."""
    return sorted({round(number * (size - 1) / (count - 1)) for number in range(count)})


def test_a_keyring_cut_short_at_any_length_is_damaged(host):
    """Nothing opens, at the ends of its parts as little as within them."""
    content = host.keyring.read_bytes()
    magic = content.index(b"\n") + 1
    lengths = {
        0,
        1,
        magic - 1,
        magic,
        magic + 31,
        magic + 32,
        magic + 33,
        *points(len(content), 14),
    }
    for length in sorted(lengths):
        host.keyring.write_bytes(content[:length])
        refused(host, 6, {"keyring-damaged"}, "status")
    host.keyring.write_bytes(content)
    assert host.ok(*GET)["fields"]["Password"] == CANARY


def test_a_keyring_with_any_byte_altered_is_damaged(host):
    """One bit in any of fifty places is enough, for a reader as for whoever would change it."""
    content = host.keyring.read_bytes()
    for number, place in enumerate(points(len(content), 50)):
        altered = bytearray(content)
        altered[place] ^= 1 << number % 8
        host.keyring.write_bytes(altered)
        command = (GET, ("key", "slot", "list"), ("key", "slot", "export-auditor", "3", "out"))
        refused(host, 6, DAMAGED, *command[number % 3])
    assert not (host.home / "out").exists()
    host.keyring.write_bytes(content)
    assert host.ok(*GET)["fields"]["Password"] == CANARY


def test_a_keyring_with_something_behind_its_end_is_damaged(host):
    """Nothing rides along."""
    content = host.keyring.read_bytes()
    for more in (b"\n", b"\0", content):
        host.keyring.write_bytes(content + more)
        refused(host, 6, {"keyring-damaged"}, "status")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
def test_a_keyring_that_others_may_use_is_refused(host, mode):
    """As long as they may, and a key file likewise."""
    for path, code in ((host.keyring, "keyring"), (host.home / "secret" / "key", "key-file")):
        path.chmod(mode)
        refused(host, 6, {f"{code}-too-open"}, *GET)
        path.chmod(0o600)
    assert host.ok("status")


def test_what_is_no_keyring_is_not_taken_for_one(host):
    """Nothing, a folder, another file, an empty file."""
    host.keyring.with_name("empty").touch(mode=0o600)
    for place, code in (
        ("nowhere", "keyring-missing"),
        ("keys", "keyring-missing"),
        ("secret/key", "keyring-damaged"),
        ("keys/empty", "keyring-damaged"),
        ("keys/keyring.memory", "keyring-damaged"),
    ):
        refused(host, 6, {code}, *GET, environment={"CREDLEDGER_KEYRING": place})


def test_a_keyring_in_the_databases_folder_is_refused_under_any_name(host):
    """Through links to the file and to the folder, and in a folder below."""
    below = host.store.parent / "below"
    below.mkdir()
    for place in (host.store.with_name("keyring"), below / "keyring"):
        shutil.copy2(host.keyring, place)
    (host.home / "to-file").symlink_to(host.store.with_name("keyring"))
    (host.home / "to-folder").symlink_to(host.store.parent)
    for place in ("store/keyring", "store/below/keyring", "to-file", "to-folder/keyring"):
        environment = {"CREDLEDGER_KEYRING": place}
        refused(host, 6, {"keyring-beside-store"}, *GET, environment=environment)


def test_a_link_to_a_keyring_is_that_keyring(host):
    """It is read and changed through the link, which stays one."""
    link = host.home / "link"
    link.symlink_to(host.keyring)
    through = {"CREDLEDGER_KEYRING": "link"}
    host.ok(*ADD, "--label", "dora", "--new-passphrase-file", "second", environment=through)
    assert link.is_symlink()
    assert host.ok("status", environment=with_passphrase("second"))
    assert host.keyring.stat().st_mode & 0o777 == 0o600


def test_another_ledgers_keyring_opens_nothing_here(nursery, host, tmp_path):
    """Neither with this ledger's key nor with its own."""
    other = Host(nursery, tmp_path / "other")
    other.ok("init", "--label", "eve")
    place = {"CREDLEDGER_KEYRING": str(other.keyring)}
    own = {**place, "CREDLEDGER_KEY_FILE": str(other.home / "secret" / "key")}
    refused(host, 6, {"wrong-key-file"}, *GET, environment=place)
    refused(host, 6, {"keyring-foreign"}, *GET, environment=own)
    refused(host, 6, {"keyring-foreign"}, *SET, stdin=VALUES, environment=own)
    host.is_whole()


def test_a_wrong_passphrase_key_file_or_slot_is_exit_6(host):
    """And says which of them it was."""
    host.home.joinpath("short").write_bytes(b"x" * 31)
    host.home.joinpath("short").chmod(0o600)
    refused(host, 6, {"wrong-passphrase"}, *GET, environment=with_passphrase("fourth"))
    refused(host, 6, {"wrong-passphrase"}, *GET, environment=with_passphrase("third"))
    refused(host, 6, {"wrong-key-file"}, *GET, environment={"CREDLEDGER_KEY_FILE": "short"})
    refused(host, 6, {"key-file-missing"}, *GET, environment={"CREDLEDGER_KEY_FILE": "nowhere"})
    refused(host, 6, {"no-such-slot"}, *GET, "--slot", "9")
    refused(host, 6, {"no-passphrase-file"}, *GET, environment=with_passphrase("nowhere"))
    refused(host, 6, {"no-passphrase"}, *GET, environment={"CREDLEDGER_KEY_FILE": ""})


def test_an_older_copy_of_an_operators_keyring_opens_but_gives_no_number_twice(host):
    """It holds the keys still; slots are added on the host that knows them all."""
    stale = {"CREDLEDGER_KEYRING": "one-slot/keyring"}
    assert host.ok(*GET, environment=stale)["fields"]["Password"] == CANARY
    dora = ("--label", "dora", "--new-passphrase-file", "second")
    refused(host, 5, {"slot-number-taken"}, *ADD, *dora, environment=stale)
    assert host.ok("status", environment=stale)
    assert [slot["label"] for slot in host.ok("key", "slot", "list")] == ["ann", "ben", "cleo"]
    host.is_whole()


def test_a_removed_slot_opens_no_older_copy(host):
    """The log's word counts, not the file's."""
    stale = with_passphrase("first", "two-slots/keyring")
    assert host.ok("status", environment=stale)
    host.ok("key", "slot", "remove", "2", "--mislaid", "--yes")
    for command in (GET, SET, ("credential", "list"), ("key", "slot", "list")):
        refused(host, 6, {"slot-removed"}, *command, stdin=VALUES, environment=stale)
    refused(host, 6, {"wrong-passphrase"}, *GET, environment=with_passphrase("first"))
    host.is_whole()


def test_an_older_copy_that_differs_from_the_log_is_named_and_can_be_mended(host):
    """A slot removed elsewhere goes out of it under a new root; nothing is recorded twice."""
    stale = {"CREDLEDGER_KEYRING": "two-slots/keyring"}
    host.ok("key", "slot", "remove", "2", "--mislaid", "--yes")
    before = host.position()
    found = [one["code"] for one in host.ok("doctor", environment=stale)["findings"]]
    assert {"slot-still-in-file", "slot-not-in-file", "single-slot"} <= set(found)
    remove = ("key", "slot", "remove", "2", "--mislaid", "--yes")
    said = host.run(*remove, as_json=False, environment=stale)
    assert said.code == 0, said
    assert b"removed before" in said.out
    assert host.position() == before
    assert [slot.id for slot in read_keyring(host.home / "two-slots" / "keyring").slots] == [1]
    host.fails(5, "slot-removed-already", *remove, environment=stale)
    refused(
        host,
        6,
        {"wrong-passphrase"},
        *GET,
        environment=with_passphrase("first", "two-slots/keyring"),
    )
    assert host.ok(*GET, environment=stale)["fields"]["Password"] == CANARY


REFUSED_BY_THE_LOG = """
from ledger.errors import Conflict
from ledger.usecases import slots
from tools.cli.main import run

def refuse(*_):
    raise Conflict("slot-number-taken", "Another host was faster.")

slots.KeyringEvent.decide = refuse
print(run([*{arguments}, "--json"]))
"""


def test_what_the_log_refuses_is_taken_back_from_the_file(host):
    """The keyring holds what it held; only its generation grew."""
    before, kept = host.position(), read_keyring(host.keyring)
    for arguments in (
        (*ADD, "--label", "dora", "--new-passphrase-file", "second"),
        (*CHANGE, "second", "--passphrase-file", "first"),
    ):
        script = REFUSED_BY_THE_LOG.replace("{arguments}", repr(arguments))
        ended = host.run("refused", script=script)
        assert ended.error["code"] == "slot-number-taken"
        assert host.position() == before
        assert read_keyring(host.keyring).slots == kept.slots
        assert not answers(host, "second", None)
    assert answers(host, "first", None)
    assert not [one for one in host.ok("doctor")["findings"] if "slot-" in one["code"]]


def test_an_older_copy_opens_with_the_older_passphrase_only(host):
    """A change of passphrase does not reach copies, as it says."""
    keep(host, "before")
    change = ("key", "passphrase", "--argon2-memory", "19", "--new-passphrase-file", "second")
    ended = host.run(*change, environment=with_passphrase("first"))
    assert b"old passphrase" in ended.err
    assert host.ok("status", environment=with_passphrase("first", "before/keyring"))
    for name, place in (("second", "before/keyring"), ("first", None)):
        how = with_passphrase(name, place)
        refused(host, 6, {"wrong-passphrase"}, *GET, environment=how)
    assert host.ok("status", environment=with_passphrase("second"))


def test_an_auditors_keyring_answers_questions_and_does_nothing_else(host):
    """A stale file as a new one; removed, it answers nothing."""
    stale = with_passphrase("third", "auditor/keyring")
    host.ok("key", "slot", "export-auditor", "3", "newer/keyring")
    for place in ("auditor/keyring", "newer/keyring"):
        how = with_passphrase("third", place)
        assert [row["application"] for row in host.ok("app", "list", environment=how)] == [
            "payroll"
        ]
        assert isinstance(host.ok("audit", "access", environment=how), list)
        for command in (GET, SET, ("app", "delete", "payroll", "--yes"), (*ADD, "--label", "x")):
            refused(host, 4, {"operator-needed"}, *command, stdin=VALUES, environment=how)
    host.ok("key", "slot", "remove", "3", "--mislaid", "--yes")
    for command in (("app", "list"), ("audit", "access"), GET):
        codes = {"slot-removed"} if command != GET else {"operator-needed"}
        refused(host, 6 if command != GET else 4, codes, *command, environment=stale)
    host.is_whole()


EXPORT = ("key", "slot", "export-auditor", "3")


def answers(host, name, place):
    """Whether this passphrase opens this auditor's file."""
    ended = host.run("app", "list", environment=with_passphrase(name, place))
    assert ended.code == 0 or ended.error["code"] == "wrong-passphrase", ended
    return ended.code == 0


def test_an_auditors_changed_passphrase_is_recorded_and_not_undone_by_an_export(host):
    """The operator needs the auditor's present file; the old passphrase opens no new one."""
    keep_auditor(host, "before")
    before = host.position()
    host.ok(*CHANGE, "fourth", environment=with_passphrase("third", "auditor/keyring"))
    assert host.topics(before) == ["audit.passphrase-changed"]
    told = refused(host, 5, {"auditor-passphrase-changed"}, *EXPORT, "new/keyring")
    assert "--from" in told.error["hint"]
    assert not (host.home / "new").exists()
    refused(host, 5, {"auditor-file-older"}, *EXPORT, "new/keyring", "--from", "before/keyring")
    host.ok(*EXPORT, "new/keyring", "--from", "auditor/keyring")
    host.ok(*EXPORT, "newer/keyring")
    for place in ("new/keyring", "newer/keyring"):
        assert answers(host, "fourth", place)
        assert not answers(host, "third", place)
    host.ok(*CHANGE, "second", environment=with_passphrase("fourth", "newer/keyring"))
    refused(host, 5, {"auditor-passphrase-changed"}, *EXPORT, "newest/keyring")
    host.ok(*EXPORT, "newest/keyring", "--from", "newer/keyring")
    assert answers(host, "second", "newest/keyring")
    assert not answers(host, "fourth", "newest/keyring")
    host.is_whole()


def test_an_auditors_change_that_was_not_recorded_is_taken_from_the_present_file(host, tmp_path):
    """Killed between file and log: whoever brings the file is believed, and that is recorded."""
    as_cleo = with_passphrase("third", "auditor/keyring")
    met = 0
    for number in range(1, 60, CLOSE):
        one = host.copy(tmp_path / str(number))
        before = one.position()
        ended = one.run(*CHANGE, "fourth", environment=as_cleo, kill_at=number)
        if ended.code == 0:
            break
        assert one.ok("log", "verify")["ok"]
        assert answers(one, "third", "auditor/keyring") != answers(one, "fourth", "auditor/keyring")
        changed = answers(one, "fourth", "auditor/keyring")
        recorded = "audit.passphrase-changed" in one.topics(before)
        assert changed or not recorded
        one.ok(*EXPORT, "new/keyring", "--from", "auditor/keyring")
        if changed and not recorded:
            met += 1
            one.ok(*CHANGE, "second", environment=with_passphrase("fourth", "auditor/keyring"))
            one.ok(*EXPORT, "newer/keyring", "--from", "auditor/keyring")
            assert answers(one, "second", "newer/keyring")
        assert answers(one, "fourth", "new/keyring") == changed
        assert answers(one, "third", "new/keyring") != changed
    assert met


def test_only_the_auditors_own_file_is_taken_for_it(nursery, host, tmp_path):
    """An operator's, another auditor's, another ledger's, a damaged one and none are refused."""
    host.ok(
        *ADD,
        "--label",
        "dan",
        "--new-passphrase-file",
        "second",
        "--auditor",
        "--auditor-file",
        "dan/keyring",
    )
    other = Host(nursery, tmp_path / "other")
    (other.home / "third").touch(mode=0o600)
    (other.home / "third").write_text(PASSPHRASES["third"])
    other.ok("init", "--label", "eve")
    for label in ("fay", "gil"):
        other.ok(
            *ADD,
            "--label",
            label,
            "--new-passphrase-file",
            "third",
            "--auditor",
            "--auditor-file",
            f"{label}/keyring",
        )
    (host.home / "half").touch(mode=0o600)
    (host.home / "half").write_bytes((host.home / "auditor" / "keyring").read_bytes()[:900])
    before = host.position()
    for place, code, name in (
        ("keys/keyring", 2, "not-this-auditors-file"),
        ("dan/keyring", 2, "not-this-auditors-file"),
        (str(other.home / "gil" / "keyring"), 2, "not-this-auditors-file"),
        ("half", 6, "keyring-damaged"),
        ("nowhere", 6, "keyring-missing"),
    ):
        refused(host, code, {name}, *EXPORT, "new/keyring", "--from", place)
    assert not (host.home / "new").exists()
    assert host.position() == before


def test_each_file_of_an_auditor_is_of_a_higher_generation(host):
    """Whoever finds two knows which is the newer one."""
    seen = [generation(host, "auditor/keyring")]
    for number, name in enumerate(("fourth", "second", "fourth")):
        place = "auditor/keyring" if number == 0 else f"a{number - 1}/keyring"
        old = ("third", "fourth", "second")[number]
        for _ in range(3):
            host.ok(*CHANGE, old, environment=with_passphrase(old, place))
        host.ok(*CHANGE, name, environment=with_passphrase(old, place))
        seen.append(generation(host, place))
        host.ok(*EXPORT, f"a{number}/keyring", "--from", place)
        seen.append(generation(host, f"a{number}/keyring"))
    host.ok(*EXPORT, "last/keyring")
    seen.append(generation(host, "last/keyring"))
    assert seen == sorted(set(seen))


def keep_auditor(host, name):
    (host.home / name).mkdir()
    shutil.copy2(host.home / "auditor" / "keyring", host.home / name / "keyring")


def generation(host, place):
    return read_keyring(host.home / place).generation


def test_a_damaged_memory_stops_the_host_until_a_new_one_is_accepted(host):
    """Forgetting is what somebody who rolls a database back would wish."""
    content = host.memory.read_bytes()
    half = len(content) // 2
    for harmed in (b"x" * 100, content[:half], b"\0" * len(content), content[100:]):
        host.memory.write_bytes(harmed)
        refused(host, 8, {"memory-unreadable"}, *GET)
        refused(host, 8, {"memory-unreadable"}, "app", "list")
        told = host.run("log", "verify")
        assert told.code == 8
        checks = json.loads(told.out)["checks"]
        assert [check["ok"] for check in checks if check["name"] == "host-memory"] == [False]
    before = host.position()
    assert host.ok("log", "verify", "--accept-new-memory")["ok"]
    assert host.position() == before + 1
    assert host.ok(*GET)["fields"]["Password"] == CANARY
    host.is_whole()


def test_a_memory_that_can_be_read_is_not_given_up_with_a_damaged_one(host):
    """An older log takes the word that is meant for it, which tells what is given up."""
    accept = ("log", "verify", "--accept-new-memory")
    assert host.ok(*accept)["ok"]
    older = shutil.copytree(host.store.parent, host.home / "older")
    host.ok(*GET)
    shutil.rmtree(host.store.parent)
    older.rename(host.store.parent)
    position = host.position()
    for _ in range(2):
        assert "accept-rollback" in host.fails(8, "rolled-back", *accept).error["hint"]
    assert host.position() == position
    other = host.copy(host.home.with_name("other"))
    other.memory.unlink()
    for _ in range(3):
        other.environment["CREDLEDGER_STORE"] = host.environment["CREDLEDGER_STORE"]
        other.ok(*GET)
    assert "accept-rollback" in host.fails(8, "forked", *accept).error["hint"]
    host.ok("log", "accept-rollback", "--yes", "--reason", "the older one")
    assert host.ok(*accept)["ok"]
    host.is_whole()


def test_a_memory_that_says_something_else_is_not_believed(host):
    """Every column is under the memory's own code."""
    for column in ("size", "recorded_at", "epoch"):
        content = host.memory.read_bytes()
        connection = sqlite3.connect(host.memory)
        with connection:
            connection.execute(f"UPDATE head SET {column} = {column} + 1")
        connection.close()
        refused(host, 8, {"memory-unreadable"}, *GET)
        host.memory.write_bytes(content)
        assert host.ok(*GET)


def test_a_deleted_or_foreign_memory_is_a_host_that_has_none(nursery, host, tmp_path):
    """The log is walked from its beginning once, and remembered again."""
    other = Host(nursery, tmp_path / "other")
    other.ok("init", "--label", "eve")
    host.memory.unlink()
    assert host.ok(*GET)["fields"]["Password"] == CANARY
    assert host.memory.exists()
    shutil.copy2(other.memory, host.memory)
    assert host.ok(*GET)["fields"]["Password"] == CANARY
    host.is_whole()
    verified = {check["name"]: check["detail"] for check in host.ok("log", "verify")["checks"]}
    assert str(host.position()) in verified["host-memory"]


def test_a_store_put_back_is_refused_whichever_keyring_remembers_it(host):
    """The memory beside the keyring in use is the one that counts."""
    older = host.home / "older.db"
    shutil.copy2(host.store, older)
    host.ok(*GET)
    for suffix in ("", "-wal", "-shm"):
        host.store.with_name(host.store.name + suffix).unlink(missing_ok=True)
    older.replace(host.store)
    refused(host, 8, {"rolled-back"}, *GET)
    refused(host, 8, {"rolled-back"}, *SET, stdin=VALUES)
    assert host.run("log", "verify").code == 8
