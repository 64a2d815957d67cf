"""Database backups from before keys were destroyed: what is said of them, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.sealing.keyring_file import read_keyring
from tests.tools.test_backups import create, lose, topics, work, worked  # noqa: F401 # a fixture
from tests.tools.test_recovery_findings import found
from tests.tools.test_restored_keys import password
from tests.tools.test_terminal import typed


def destroy(cli):
    cli.safe = cli.home.parent / "safe"
    cli.safe.mkdir()
    cli.made = create(cli, "before")
    cli.copies = [cli.ok("key", "backup", str(cli.safe / name)) for name in ("one", "two")]
    cli.rotated = cli("key", "rotate", "--destroy-previous", "--yes", json_wanted=False)
    assert cli.rotated.code == 0, cli.rotated.err


@pytest.fixture
def destroyed(begun):
    """Both backups, as a rotation asks for them, and then the keys of epoch 1 destroyed."""
    return begun(work, destroy)


def attest(cli, copy: dict) -> tuple[str, ...]:
    return ("key", "backup", "attest-replaced", str(copy["position"]))


def test_a_new_database_backup_is_the_first_thing_asked_for(destroyed):
    first, *rest = destroyed.rotated.err.splitlines()
    resealed = topics(destroyed).index("epoch.resealed") + 1
    assert first.startswith("First of all run `credledger backup create DIR`")
    assert f"archives up to position {resealed - 1} rest" in first
    assert "Once there are new backups of database and keyring, destroy it" in "\n".join(rest)
    assert "database-backup-on-destroyed-keys" in found(destroyed)
    create(destroyed, "after")
    assert "database-backup-on-destroyed-keys" not in found(destroyed)


def test_what_would_be_gone_is_told_before_it_is_asked_for(worked):  # noqa: F811
    """The same number as afterwards; who says no has changed nothing."""
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    worked.ok("key", "rotate", "--without-backup")
    worked.set("payroll", "user:ann", User="ann", Password="p-3")
    size = len(topics(worked))
    words = ("key", "rotate", "--without-backup", "--destroy-previous")
    asked = "can never be restored then: 2. Destroy the keys of values of epoch 1, 2 for good?"
    code, shown = typed(words, ["n"], worked.environment)
    assert (code, asked in " ".join(shown.split())) == (2, True), shown
    assert len(topics(worked)) == size
    error = worked.fails(2, "not-confirmed", *words)
    assert "--yes" in error["hint"]
    code, shown = typed(words, ["y"], worked.environment)
    assert code == 0, shown
    assert "values that are gone with them: 2." in " ".join(shown.split())


def test_the_position_is_told_to_programs(worked):  # noqa: F811
    answer = worked.ok("key", "rotate", "--without-backup")
    assert answer["backup_needed_from"] is None
    worked.ok("key", "rotate", "--without-backup")
    answer = worked.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    last = len(topics(worked)) - topics(worked)[::-1].index("epoch.resealed")
    assert answer["backup_needed_from"] == last


def test_the_last_key_backup_on_which_the_newest_archive_rests_is_not_attested_away(destroyed):
    one, two = destroyed.copies
    destroyed.ok(*attest(destroyed, one))
    error = destroyed.fails(4, "database-backup-rests-on-it", *attest(destroyed, two))
    assert "credledger backup create DIR" in error["hint"]
    create(destroyed, "after")
    destroyed.ok(*attest(destroyed, two))


def test_without_a_database_backup_nothing_rests_on_a_key_backup(worked):  # noqa: F811
    safe = worked.home.parent / "safe"
    safe.mkdir()
    copy = worked.ok("key", "backup", str(safe / "one"))
    worked.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    worked.ok(*attest(worked, copy))


def test_a_drill_fails_on_an_archive_whose_values_nobody_can_open(destroyed):
    error = destroyed.fails(6, "archive-values-lost", "backup", "drill")
    assert "1 of the credentials" in error["message"]
    assert "backup.drilled" not in topics(destroyed)
    create(destroyed, "after")
    assert destroyed.ok("backup", "drill")["ok"]


def test_a_restore_says_what_is_lost_and_which_key_backup_brings_it_back(destroyed):
    lose(destroyed)
    answer = destroyed.ok("backup", "restore", destroyed.made["directory"])
    assert answer["lost"] == [{"epoch": 1, "mappings": 1}]
    assert answer["still_in"] == []
    get = ("credential", "get", "payroll", "--as", "user:ann")
    destroyed.fails(6, "key-destroyed", *get)
    answer = destroyed("doctor")
    assert answer.code == 6
    (finding,) = [one for one in answer.json["findings"] if one["code"] == "values-lost"]
    assert finding["severity"] == "error"
    assert "credledger key restore" in finding["mend"]
    before = (destroyed.home / "keys" / "keyring").read_bytes()
    restored = destroyed.ok("key", "restore", str(destroyed.safe / "one"))
    assert password(destroyed) == "p-1"
    assert Path(restored["kept"]).read_bytes() == before
    destroyed.ok("key", "rotate", "--without-backup")
    assert password(destroyed) == "p-1"


def test_a_restore_takes_the_key_backup_though_the_keyring_is_further_on(destroyed):
    """What the keyring holds of the branch that is given up is kept aside."""
    before = (destroyed.home / "keys" / "keyring").read_bytes()
    lose(destroyed)
    key_backup = ("--key-backup", str(destroyed.safe / "one"))
    answer = destroyed.ok("backup", "restore", destroyed.made["directory"], *key_backup)
    assert answer["lost"] == []
    assert Path(answer["keyring"]["kept"]).read_bytes() == before
    assert password(destroyed) == "p-1"


def test_no_epoch_begins_while_a_key_backup_may_bring_values_back(destroyed):
    """It would lack the epochs that are made now, and the log would need both."""
    lose(destroyed)
    destroyed.ok("backup", "restore", destroyed.made["directory"])
    size = len(topics(destroyed))
    error = destroyed.fails(6, "values-lost", "key", "rotate", "--without-backup")
    assert "credledger key restore" in error["hint"]
    assert len(topics(destroyed)) == size
    destroyed.ok("key", "restore", str(destroyed.safe / "one"))
    destroyed.ok("key", "rotate", "--without-backup")
    assert password(destroyed) == "p-1"


def test_what_is_lost_is_told_to_people_with_the_key_backups_that_hold_it(worked):  # noqa: F811
    """They are named as far as the archive's own log tells of them."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "one"))
    made = create(worked, "before")
    worked.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    lose(worked)
    answer = worked("backup", "restore", made["directory"], json_wanted=False)
    assert answer.code == 0, answer.err
    assert "LOST: 1 credentials rest on epoch 1" in answer.err
    assert str(safe / "one") in answer.err
    worked.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
    worked.ok("key", "rotate", "--without-backup")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    assert password(worked) == "p-2"
    assert "values-lost" not in [one["code"] for one in worked.ok("doctor")["findings"]]


def test_a_slot_is_removed_at_once_though_no_epoch_begins_yet(worked):  # noqa: F811
    """It ends in log and file; keys are rotated by the same command once values are back."""
    passphrase = worked.home / "bobs"
    passphrase.touch(mode=0o600)
    passphrase.write_text("two otters share one stone")
    worked.ok(
        "key", "slot", "add", "passphrase", "--label", "bob",
        "--new-passphrase-file", str(passphrase), "--argon2-memory", "19",
    )  # fmt: skip
    destroy(worked)
    lose(worked)
    worked.ok("backup", "restore", worked.made["directory"])
    remove = ("key", "slot", "remove", "2", "--without-backup", "--yes")
    error = worked.fails(6, "values-lost", *remove)
    assert "run the command again" in error["hint"]
    assert [slot["label"] for slot in worked.ok("key", "slot", "list")] == ["alice"]
    assert worked.ok("key", "status")["epoch"] == 1
    worked.ok("key", "restore", str(worked.safe / "one"))
    assert worked.ok(*remove)["epoch"] == 3
    assert [slot.label for slot in read_keyring(worked.home / "keys" / "keyring").slots] == [
        "alice"
    ]
    assert password(worked) == "p-1"
