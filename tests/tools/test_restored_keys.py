"""What becomes of a ledger whose database comes back older than its keyring, or not alone."""

from __future__ import annotations

import pytest

from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import key_file
from tests.tools.test_backups import create, lose, topics, work, worked  # noqa: F401 # a fixture

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
