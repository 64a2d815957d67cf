"""What becomes of a ledger whose database comes back older than its keyring, or not alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import tools.wiring
from ledger.log.memory import HostMemory, memory_path
from ledger.sealing.epochs import DAY_US
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import key_file
from ledger.usecases.rotation import Rotation
from tests.ledger.archive.conftest import Forger
from tests.tools.conftest import auditor_of
from tests.tools.test_backups import (  # noqa: F401 # a fixture
    RIGHT,
    create,
    lose,
    topics,
    work,
    worked,
)

OTHERS = "two otters share one stone"


def go_ahead(cli):
    cli.safe = cli.home.parent / "safe"
    cli.safe.mkdir()
    passphrase = cli.home / "bobs"
    passphrase.touch(mode=0o600)
    passphrase.write_text(OTHERS)
    cli.ok(
        "key", "slot", "add", "passphrase", "--label", "bob",
        "--new-passphrase-file", str(passphrase), "--argon2-memory", "19",
    )  # fmt: skip
    cli.made = create(cli, "one")
    cli.ok("key", "backup", str(cli.safe / "before"))
    cli.ok("key", "slot", "remove", "2", "--yes")
    cli.ok("key", "backup", str(cli.safe / "after"))


@pytest.fixture
def ahead(begun):
    """Its keyring is two epochs ahead of its newest archive, by the removal of bob's slot."""
    return begun(work, go_ahead)


def password(cli) -> str:
    return cli.ok("credential", "get", "payroll", "--as", "user:ann")["fields"]["Password"]


def held(cli) -> list[int]:
    holding = key_file((cli.home / "secret" / "key").read_bytes())
    unlocked = read_keyring(cli.home / "keys" / "keyring").unlock(holding)
    return [keys.epoch for keys in unlocked.epochs]


def is_empty(cli) -> bool:
    """Whether there is not a row in the store; a host with a memory calls that a rollback."""
    error = cli("status").error
    return error["code"] == "no-ledger" or error["position"] == 1


def forget(cli) -> None:
    (cli.home / "keys" / "keyring.memory").unlink()


@pytest.mark.parametrize("remembers", [True, False])
def test_a_keyring_ahead_of_the_archive_goes_on_with_it(ahead, remembers):
    """It is recorded, so that the ledger opens from then on, and surplus keys are kept."""
    if not remembers:
        forget(ahead)
    lose(ahead)
    answer = ahead.ok("backup", "restore", ahead.made["directory"])
    assert answer["revived"] == [{"slot": 2, "label": "bob"}]
    assert topics(ahead)[ahead.made["position"] :] == ["rollback.accepted", "backup.restored"]
    assert password(ahead) == "p-1"
    forget(ahead)
    assert password(ahead) == "p-1"
    assert held(ahead) == [1, 2, 3, 4]
    ahead.ok("key", "slot", "remove", "2", "--without-backup", "--yes")
    assert password(ahead) == "p-1"
    assert ahead.ok("key", "status")["epoch"] == 3
    assert ahead.ok("log", "verify", "--views")["ok"]


def test_a_process_that_runs_is_told_of_a_restored_log_that_is_shorter(worked):  # noqa: F811
    """By the host's memory, which nobody makes like that without the keyring."""
    made = create(worked, "one")
    for number in range(8):
        worked.set("payroll", "user:ann", User="ann", Password=f"q-{number}")
    keyring = worked.home / "keys" / "keyring"
    unlocked = read_keyring(keyring).unlock(key_file((worked.home / "secret" / "key").read_bytes()))
    key = unlocked.stream_names().memory_key()
    memory = HostMemory(memory_path(keyring), unlocked.ledger_id, key)
    known = memory.recall()
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    newer = memory.newer(known.size)
    assert newer.is_of_another
    assert newer.head.size == worked.ok("status")["position"] < known.size
    assert memory.newer(newer.head.size) is None


def test_slots_that_live_again_are_told_to_people(ahead):
    lose(ahead)
    answer = ahead("backup", "restore", ahead.made["directory"], json_wanted=False)
    assert answer.code == 0, answer.err
    assert "Slot 2 (bob)" in answer.err
    assert "credledger key slot remove 2" in answer.err


def test_an_older_copy_of_the_store_is_accepted_with_a_keyring_ahead_of_it(ahead):
    """Not without being asked: a host that remembers nothing is told that the store is older."""
    url = ahead.environment["CREDLEDGER_STORE"]
    lose(ahead)
    ahead.ok("backup", "restore", ahead.made["directory"])
    older = ahead.environment["CREDLEDGER_STORE"]
    # Removing the slot here would make keys of its own, which are not those of the other branch.
    for _ in range(4):
        ahead.ok("key", "rotate", "--without-backup")
    newest = ahead.ok("key", "status")["epoch"]
    assert newest == 5
    ahead.environment["CREDLEDGER_STORE"] = url
    ahead.fails(8, "rolled-back", "status")
    forget(ahead)
    error = ahead.fails(6, "keyring-ahead", "status")
    assert "credledger log accept-rollback" in error["hint"]
    answer = ahead.ok("log", "accept-rollback", "--reason", "the first again", "--yes")
    assert answer["revived"] == []
    forget(ahead)
    assert password(ahead) == "p-1"
    assert older != url


def test_a_keyring_that_lacks_an_epoch_is_refused_before_the_first_row(worked):  # noqa: F811
    """And told of the recorded key backup that holds it, as far as it can read."""
    keyring = worked.home / "keys" / "keyring"
    first = keyring.read_bytes()
    worked.ok("key", "rotate", "--without-backup")
    second, safe = keyring.read_bytes(), worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "second"))
    worked.ok("key", "rotate", "--without-backup")
    made = create(worked, "one")
    keyring.write_bytes(first)
    forget(worked)
    lose(worked)
    error = worked.fails(6, "keyring-behind", "backup", "restore", made["directory"])
    assert "epoch 3" in error["message"]
    assert "Give, with `--key-backup`, the key backup recorded at position" in error["hint"]
    assert str(safe / "second") in error["hint"]
    assert is_empty(worked)
    keyring.write_bytes(second)
    assert worked.ok("backup", "restore", made["directory"])["revived"] == []


@pytest.mark.parametrize("told", [(), (2,), (1,)])
def test_a_manifest_that_leaves_rows_of_the_keyring_out_keeps_nobody_from_restoring(worked, told):  # noqa: F811
    """What it says of them is for an early refusal alone; the rows are the log's."""
    worked.ok("key", "rotate", "--without-backup")
    made = create(worked, "one")
    forger = Forger(Path(made["directory"]))
    assert set(told) < set(forger.manifest.keyring)
    forger.rewrite(keyring=told)
    lose(worked)
    assert worked.ok("backup", "restore", made["directory"])["position"] == made["position"]
    assert password(worked) == "p-1"
    assert worked.ok("log", "verify", "--views")["ok"]


def test_a_slot_that_the_archive_does_not_know_is_refused_before_the_first_row(ahead):
    passphrase = ahead.home / "carols"
    passphrase.touch(mode=0o600)
    passphrase.write_text("four carols for one owl")
    ahead.ok(
        "key", "slot", "add", "passphrase", "--label", "carol",
        "--new-passphrase-file", str(passphrase), "--argon2-memory", "19",
    )  # fmt: skip
    lose(ahead)
    key = ahead.environment.pop("CREDLEDGER_KEY_FILE")
    ahead.environment["CREDLEDGER_PASSPHRASE_FILE"] = str(passphrase)
    ahead.fails(6, "slot-removed", "backup", "restore", ahead.made["directory"])
    ahead.environment["CREDLEDGER_KEY_FILE"] = key
    del ahead.environment["CREDLEDGER_PASSPHRASE_FILE"]
    assert is_empty(ahead)
    assert ahead.ok("backup", "restore", ahead.made["directory"])["ok"]


def test_keys_of_another_branch_are_refused_before_the_first_row(worked):  # noqa: F811
    """Two hosts went on from one keyring, and each made an epoch 3 of its own."""
    keyring = worked.home / "keys" / "keyring"
    before = keyring.read_bytes()
    made = create(worked, "one")
    worked.ok("key", "rotate", "--without-backup")
    theirs = keyring.read_bytes()
    lose(worked)
    keyring.write_bytes(before)
    worked.ok("backup", "restore", made["directory"])
    worked.ok("key", "rotate", "--without-backup")
    worked.ok("key", "rotate", "--without-backup")
    other = create(worked, "other")
    keyring.write_bytes(theirs)
    lose(worked)
    worked.fails(6, "keyring-foreign", "backup", "restore", other["directory"])
    assert is_empty(worked)


def test_a_rotation_goes_past_an_epoch_whose_key_of_values_is_destroyed(worked):  # noqa: F811
    """The restored log has not seen that epoch begin and end, and its keyring has."""
    made = create(worked, "one")
    for options in ((), ("--destroy-previous", "--yes")):
        worked.ok("key", "rotate", "--without-backup", *options)
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    worked.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
    answer = worked("doctor")
    assert (answer.code, answer.json["findings"][0]["code"]) == (6, "value-key-missing")
    rotated = worked.ok("key", "rotate", "--without-backup")
    assert (rotated["from"], rotated["to"]) == (1, 3)
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    assert password(worked) == "p-2"
    assert worked("doctor").code == 0
    assert worked.ok("log", "verify", "--views")["ok"]


def test_keys_that_are_destroyed_are_not_committed_to(worked):  # noqa: F811
    """A keyring of before their destruction is no foreign one to the log that goes on."""
    made = create(worked, "one")
    keyring = worked.home / "keys" / "keyring"
    worked.ok("key", "rotate", "--without-backup")
    worked.ok("key", "rotate", "--without-backup")
    before = keyring.read_bytes()
    worked.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    worked.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
    rotated = worked.ok("key", "rotate", "--without-backup")
    assert (rotated["from"], rotated["to"]) == (1, 3)
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    newest = keyring.read_bytes()
    keyring.write_bytes(before)
    worked.fails(6, "keyring-behind", "status")
    keyring.write_bytes(newest)
    assert password(worked) == "p-2"


def test_a_key_backup_tells_of_no_keys_that_make_way_for_others(worked):  # noqa: F811
    """The log comes to epochs of these numbers, and what the backup has of them opens nothing."""
    made = create(worked, "one")
    for options in ((), (), ("--destroy-previous", "--yes"), ()):
        worked.ok("key", "rotate", "--without-backup", *options)
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    assert held(worked) == [1, 2, 3, 4, 5, 6]
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "before"))
    (listed,) = worked.ok("key", "backup", "list")
    assert listed["epochs"] == [1, 2]
    worked.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
    worked.ok("key", "rotate", "--without-backup")
    told = {one["epoch"]: one["in_backups"] for one in worked.ok("key", "status")["epochs"]}
    assert told == {1: 0, 2: 0, 3: 0, 4: 0}


def test_an_auditor_with_keys_that_made_way_is_told_to_ask_for_a_new_export(worked):  # noqa: F811
    """An auditor has no other host's keyring to copy, and no key backup to restore.

    Until then it answers what the epochs before open, as any that is behind.
    """
    made = create(worked, "one")
    for options in ((), (), ("--destroy-previous", "--yes")):
        worked.ok("key", "rotate", "--without-backup", *options)
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    auditor = auditor_of(worked)
    worked.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
    worked.ok("key", "rotate", "--without-backup")
    error = auditor.fails(6, "keyring-behind", "status")
    assert error["hint"] == "Ask an operator for a new export of this auditor's keyring."
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    assert password(worked) == "p-2"
    size = worked.ok("status")["position"]
    for _ in range(2):
        answer = auditor("audit", "access")
        assert answer.code == 0, answer.err
        assert "ask an operator for a new export" in answer.err
        assert [one["outcome"] for one in answer.json] == ["unreadable", "granted"]
        assert answer.json[0]["detail"] == "key-missing"
    assert worked.ok("status")["position"] == size


@pytest.mark.parametrize("remembers", [True, False])
def test_keys_that_were_replaced_further_on_are_replaced_again(worked, remembers):  # noqa: F811
    """The archive commits to the lost ones, and each word of advice leads on from there."""
    keyring = worked.home / "keys" / "keyring"
    older = keyring.read_bytes()
    worked.ok("key", "rotate", "--without-backup")
    keyring.write_bytes(older)
    made = create(worked, "one")
    worked.ok("key", "replace-next", "--yes")
    worked.ok("key", "rotate", "--without-backup")
    assert held(worked) == [1, 2, 3, 4]
    if not remembers:
        forget(worked)
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    assert topics(worked)[made["position"] :] == ["rollback.accepted", "backup.restored"]
    (finding,) = [
        one for one in worked("doctor").json["findings"] if one["code"] == "next-epoch-missing"
    ]
    assert "credledger key replace-next" in finding["mend"]
    error = worked.fails(6, "next-epoch-missing", "key", "rotate", "--without-backup")
    assert "credledger key replace-next" in error["hint"]
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "before"))
    assert worked.ok("key", "backup", "list")[-1]["epochs"] == [1, 2]
    worked.ok("key", "replace-next", "--yes")
    worked.ok("key", "rotate", "--without-backup")
    assert password(worked) == "p-1"
    assert worked.ok("log", "verify", "--views")["ok"]


def test_a_keyring_that_holds_more_than_the_backup_stays(worked):  # noqa: F811
    """The backup holds what is destroyed since, and not the epoch that the keyring holds ready."""
    keyring, safe = worked.home / "keys" / "keyring", worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "older"))
    worked.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    before = keyring.read_bytes()
    worked.fails(5, "keyring-holds-more", "key", "restore", str(safe / "older"))
    assert keyring.read_bytes() == before
    worked.ok("key", "rotate", "--without-backup")


@pytest.mark.parametrize("begun_before", [False, True])
def test_a_rotation_goes_past_an_epoch_whose_keys_of_access_records_are_erased(
    worked,  # noqa: F811
    monkeypatch,
    begun_before,
):
    """An epoch counts its months from the one it begins in, and it begins later this time.

    Where one has begun like that already, `doctor` says so, and the next rotation ends it.
    """
    passed = [0]
    monkeypatch.setattr(
        tools.wiring, "clock", lambda: time.time_ns() // 1000 + passed[0] * 25 * DAY_US
    )
    made = create(worked, "one")
    worked.ok("key", "retention", "set", "--access-older-than", "31")
    worked.ok("key", "rotate", "--without-backup")
    for _ in range(4):
        passed[0] += 1
        worked.ok("credential", "get", "payroll", "--as", "user:ann", RIGHT)
    assert worked.ok("key", "retention", "apply", "--yes", RIGHT)["keys"]
    lose(worked)
    worked.ok("backup", "restore", made["directory"], RIGHT)
    if begun_before:
        with monkeypatch.context() as patched:
            patched.setattr(Rotation, "_serves", lambda *_: True)
            worked.ok("key", "rotate", "--without-backup", RIGHT)
        worked.fails(6, "key-destroyed", "credential", "get", "payroll", "--as", "user:ann", RIGHT)
        answer = worked("doctor", RIGHT)
        assert (answer.code, answer.json["findings"][0]["code"]) == (6, "access-key-missing")
    worked.ok("key", "rotate", "--without-backup", RIGHT)
    got = worked.ok("credential", "get", "payroll", "--as", "user:ann", RIGHT)
    assert got["fields"]["Password"] == "p-1"
    assert worked("doctor", RIGHT).code == 0
    assert not worked.ok("audit", "recheck", RIGHT)["wrong"]
