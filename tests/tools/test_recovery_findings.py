"""What `doctor` says of keys and backups, and that each finding goes once it is mended."""

from __future__ import annotations

import os
import shutil

import pytest

import tools.doctor.recovery_findings
from ledger.log.transaction import EPOCH_EVENTS_MAX
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import key_file
from ledger.usecases.rotation import Rotation
from tests.tools.conftest import auditor_of
from tests.tools.test_backups import worked  # noqa: F401 # a fixture
from tests.tools.test_retention import later  # noqa: F401 # a fixture
from tools.doctor.recovery_findings import SEALED_WARNED
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session


def found(cli) -> list[str]:
    server = {"role-too-wide", "no-standby", "single-slot"}
    answer = cli.ok("doctor")
    assert all(one["severity"] == "warning" and one["mend"] for one in answer["findings"])
    return [one["code"] for one in answer["findings"] if one["code"] not in server]


def of_keys(cli) -> list[str]:
    return [code for code in found(cli) if "key-backup" in code]


def test_backups_are_asked_for_until_they_are_made_tried_and_kept_apart(worked):  # noqa: F811
    assert found(worked) == ["no-database-backup", "no-key-backup"]
    worked.ok("backup", "create", str(worked.archives / "one"))
    assert found(worked) == ["no-drill", "no-key-backup"]
    worked.ok("backup", "drill")
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "keyring"))
    assert found(worked) == []
    worked.ok("credential", "get", "payroll", "--as", "user:ann")
    assert found(worked) == []
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    assert found(worked) == ["database-backup-old"]
    worked.ok("backup", "create", str(worked.archives / "two"), "--since-backup")
    assert found(worked) == []


def test_an_auditor_is_told_that_keys_and_backups_were_not_looked_at(worked):  # noqa: F811
    """No backup was ever made here: nothing that is said may sound as if all were well."""
    note = "Slots, keys and backups were not looked at"
    auditor = auditor_of(worked)
    told = auditor("doctor", json_wanted=False)
    assert (told.code, note in told.err) == (0, True)
    assert b"Nothing is wrong." not in told.out
    assert note in auditor("doctor").err
    assert note not in worked("doctor").err


def test_a_key_backup_that_lies_with_a_database_backup_is_named(worked):  # noqa: F811
    """Somebody put an archive into its folder, which came to light when it was restored."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    made = worked.ok("key", "backup", str(safe / "keyring"))
    taken = worked.archives / "one"
    worked.ok("backup", "create", str(taken))
    assert "key-backup-with-database" not in found(worked)
    for part in taken.iterdir():
        part.rename(safe / part.name)
    (safe / "keyring").rename(worked.home.parent / "aside")
    worked.environment["CREDLEDGER_STORE"] = worked.empty()
    worked.ok("backup", "restore", str(safe))
    assert "key-backup-with-database" in found(worked)
    worked.ok("key", "backup", "attest-replaced", str(made["position"]))
    assert "key-backup-with-database" not in found(worked)


def test_a_key_backup_to_which_an_archive_was_carried_is_named_and_counts_for_no_rotation(
    worked,  # noqa: F811
):
    """A copy of an archive in a folder of its own, in the folder of the key backup."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("backup", "create", str(worked.archives / "one"))
    worked.ok("key", "backup", str(safe / "keyring"))
    shutil.move(worked.archives / "one", safe / "one")
    assert "key-backup-with-database" in found(worked)
    again = ("backup", "create", str(safe / "one"), "--since-backup")
    worked.fails(4, "backup-beside-key-backup", *again)
    worked.fails(4, "key-backup-needed", "key", "rotate")
    shutil.move(safe / "one", worked.archives / "one")
    assert "key-backup-with-database" not in found(worked)
    worked.ok("key", "rotate")


def test_a_key_backup_beside_the_keyring_is_named_and_counts_for_no_rotation(
    worked,  # noqa: F811
):
    """As where a keyring is put into the folder of its copies later on."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("backup", "create", str(worked.archives / "one"))
    worked.ok("key", "backup", str(safe / "copy"))
    before = worked.environment["CREDLEDGER_KEYRING"]
    shutil.copytree(worked.home / "keys", safe, dirs_exist_ok=True)
    worked.environment["CREDLEDGER_KEYRING"] = str(safe / "keyring")
    assert "key-backup-with-keyring" in found(worked)
    worked.fails(4, "key-backup-needed", "key", "rotate")
    worked.environment["CREDLEDGER_KEYRING"] = before
    assert "key-backup-with-keyring" not in found(worked)
    worked.ok("key", "rotate")


def test_a_keyring_and_a_store_that_came_to_lie_with_an_archive_are_named(worked):  # noqa: F811
    """Nothing is archived there, but a restore in a hurry may put them there."""
    taken = worked.archives / "one"
    worked.ok("backup", "create", str(taken))
    before = dict(worked.environment)
    for place in (taken, taken / "below", worked.archives):
        shutil.copytree(worked.home / "keys", place, dirs_exist_ok=True)
        worked.environment["CREDLEDGER_KEYRING"] = str(place / "keyring")
        assert "keyring-with-archive" in found(worked)
        for left in place.glob("keyring*"):
            left.unlink()
    worked.environment.update(before)
    for place in (taken, taken / "below", worked.archives):
        worked.environment["CREDLEDGER_STORE"] = f"sqlite://{place}/ledger.db"
        worked.ok("backup", "restore", str(taken))
        assert "archive-with-store" in found(worked)
        for left in place.glob("ledger.db*"):
            left.unlink()
    worked.environment["CREDLEDGER_STORE"] = worked.empty()
    worked.ok("backup", "restore", str(taken))
    assert not {"keyring-with-archive", "archive-with-store"} & set(found(worked))


def test_a_month_without_an_access_key_is_an_error_that_a_rotation_ends(payroll, later):  # noqa: F811
    """Month 121 of an epoch: nothing is handed out, and `doctor` ends with what reads end with."""
    payroll.set("payroll", "user:ann", User="ann", Password="p-1")
    get = ("credential", "get", "payroll", "--as", "user:ann", "--accept-clock")
    later(3_590)
    payroll.ok(*get)
    later(90)
    error = payroll.fails(6, "access-key-missing", *get)
    assert "credledger key rotate" in error["hint"]
    answer = payroll("doctor", "--accept-clock")
    (finding,) = [one for one in answer.json["findings"] if one["severity"] == "error"]
    assert (answer.code, finding["code"]) == (6, "access-key-missing")
    assert "credledger key rotate" in finding["mend"]
    payroll.ok("key", "rotate", "--without-backup", "--accept-clock")
    payroll.ok(*get)
    assert "access-key-missing" not in found(payroll)


def test_a_clock_far_ahead_is_an_error_until_somebody_says_that_it_is_right(payroll, later):  # noqa: F811
    """After a long rest nothing is recorded, so nothing is handed out; `doctor` says so."""
    payroll.set("payroll", "user:ann", User="ann", Password="p-1")
    later(30)
    assert "clock-ahead" not in found(payroll)
    later(2)
    get = ("credential", "get", "payroll", "--as", "user:ann")
    payroll.fails(7, "clock-ahead", *get)
    answer = payroll("doctor")
    (finding,) = [one for one in answer.json["findings"] if one["severity"] == "error"]
    assert (answer.code, finding["code"]) == (7, "clock-ahead")
    mend = finding["mend"].split("credledger ")[1].split()
    payroll.ok(*mend)
    assert "clock-ahead" not in found(payroll)
    payroll.ok(*get)


def test_what_was_cut_off_is_named_with_the_command_that_finishes_it(
    worked,  # noqa: F811
    monkeypatch,
):
    class Cut(BaseException):
        pass

    def cut(*_):
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(Rotation, "_reseal", cut)
        with pytest.raises(Cut):
            worked("key", "rotate", "--without-backup")
    assert "rotation-unfinished" in found(worked)
    worked.ok("key", "rotate")
    assert "rotation-unfinished" not in found(worked)


def test_an_epoch_that_has_sealed_much_is_named(worked, monkeypatch):  # noqa: F811
    """From the very number on, counted after the event that started the epoch."""
    sealed = worked.ok("status")["position"] - 1
    monkeypatch.setattr(tools.doctor.recovery_findings, "SEALED_WARNED", sealed + 1)
    assert "epoch-much-used" not in found(worked)
    monkeypatch.setattr(tools.doctor.recovery_findings, "SEALED_WARNED", sealed)
    assert "epoch-much-used" in found(worked)
    worked.ok("key", "rotate", "--without-backup")
    assert "epoch-much-used" not in found(worked)


def test_the_warning_comes_long_before_the_refusal_and_that_before_the_bound():
    """Which is 2^32 messages under one key with random nonces, by NIST SP 800-38D, section 8.3."""
    assert 4 * SEALED_WARNED <= EPOCH_EVENTS_MAX <= (1 << 32) // 2


def test_a_keyring_that_cannot_rotate_is_named(worked):  # noqa: F811
    """A copy from before another host's rotation."""
    keyring = worked.home / "keys" / "keyring"
    older = keyring.read_bytes()
    worked.ok("key", "rotate", "--without-backup")
    newer = keyring.read_bytes()
    keyring.write_bytes(older)
    assert "next-epoch-missing" in found(worked)
    worked.fails(6, "next-epoch-missing", "key", "rotate", "--without-backup")
    keyring.write_bytes(newer)
    assert "next-epoch-missing" not in found(worked)


def test_an_epoch_that_the_log_did_not_choose_is_no_next_one(worked):  # noqa: F811
    """Two hosts added one each; the file of the one that was second does not count as ready."""
    keyring = worked.home / "keys" / "keyring"
    unlocked = read_keyring(keyring).unlock(key_file((worked.home / "secret" / "key").read_bytes()))
    older = unlocked.with_next_epoch(os.urandom).keyring.to_bytes()
    worked.ok("key", "rotate", "--without-backup")
    keyring.write_bytes(older)
    assert "next-epoch-missing" in found(worked)


def test_a_policy_that_is_due_is_named_unless_a_hold_forbids_it(worked, monkeypatch):  # noqa: F811
    class Planned:
        months = (202601, 202602)
        holds: tuple[str, ...] = ()

    given = Given(
        store=worked.environment["CREDLEDGER_STORE"],
        keyring=worked.environment["CREDLEDGER_KEYRING"],
        key_file=worked.environment["CREDLEDGER_KEY_FILE"],
    )
    with open_session(decide(given, {}), StandardInput()) as session:
        monkeypatch.setattr(session.ledger.retention, "planned", Planned)
        codes = [one.code for one in tools.doctor.recovery_findings.recovery_findings(session)]
        assert codes.count("retention-due") == 1
        monkeypatch.setattr(Planned, "holds", ("case-7",))
        codes = [one.code for one in tools.doctor.recovery_findings.recovery_findings(session)]
        assert "retention-due" not in codes


def test_a_key_backup_from_a_host_that_is_behind_is_told_and_does_not_count(worked):  # noqa: F811
    """Who makes it is told at once, and `doctor` says it on every host."""
    keyring = worked.home / "keys" / "keyring"
    older = keyring.read_bytes()
    worked.ok("key", "rotate", "--without-backup")
    newer = keyring.read_bytes()
    safe = worked.home.parent / "safe"
    safe.mkdir()
    keyring.write_bytes(older)
    made = worked("key", "backup", str(safe / "stale"))
    assert (made.code, "not enough: it lacks epoch 3" in made.err) == (0, True)
    keyring.write_bytes(newer)
    told = [one for one in worked.ok("doctor")["findings"] if one["code"] == "no-key-backup"]
    assert ["epoch 3" in one["message"] for one in told] == [True]
    made = worked("key", "backup", str(safe / "whole"))
    assert (made.code, "not enough" in made.err) == (0, False)
    assert "no-key-backup" not in found(worked)


def test_key_backups_that_no_live_slot_opens_are_named_and_so_are_older_ones(worked):  # noqa: F811
    """The emergency sheet's own recipe for a lost passphrase leaves none that opens."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "one"))
    worked.ok("backup", "create", str(worked.archives / "one"))
    worked.ok("backup", "drill")
    assert found(worked) == []
    again = str(worked.home / "secret" / "again")
    add = worked("key", "slot", "add", "key-file", "--new-key-file", again, "--label", "again")
    assert (add.code, "Make a new key backup" in add.err) == (0, True)
    assert of_keys(worked) == ["key-backup-old"]
    (named,) = (one for one in worked.ok("doctor")["findings"] if one["code"] == "key-backup-old")
    assert f"slot {add.json['slot']} (again)" in named["message"]
    first = {slot["id"] for slot in worked.ok("key", "slot", "list")} - {add.json["slot"]}
    worked.environment["CREDLEDGER_KEY_FILE"] = again
    for slot in sorted(first):
        removed = worked("key", "slot", "remove", str(slot), "--mislaid", "--yes")
        assert (removed.code, "Make a new key backup" in removed.err) == (0, True)
    assert of_keys(worked) == ["key-backup-opens-nothing"]
    worked.ok("backup", "create", str(worked.archives / "two"))
    told = worked.fails(4, "key-backup-needed", "key", "rotate")
    assert "a slot that is still there" in told["hint"]
    worked.ok("key", "backup", str(safe / "two"))
    assert found(worked) == []
    listed = worked.ok("key", "backup", "list")
    assert [one["slots"] for one in listed] == [sorted(first), [add.json["slot"]]]
    worked.ok("key", "rotate")


def test_no_host_is_told_to_copy_a_keyring_over_one_that_holds_more(worked):  # noqa: F811
    """One added a slot, the other rotated: each file has what the other lacks."""
    mends = lambda: {one["code"]: one["mend"] for one in worked.ok("doctor")["findings"]}
    keyring = worked.home / "keys" / "keyring"
    rotated = keyring.read_bytes()
    spare = ("key", "slot", "add", "key-file", "--new-key-file")
    slot = worked.ok(*spare, str(worked.home / "secret" / "eva"), "--label", "eva")["slot"]
    with_eva = keyring.read_bytes()
    keyring.write_bytes(rotated)
    worked.ok("key", "rotate", "--without-backup")
    rotated = keyring.read_bytes()
    advice = mends()["slot-not-in-file"]
    assert "shows epoch 3 as next" in advice
    assert f"else `credledger key slot remove {slot} --mislaid`" in advice
    keyring.write_bytes(with_eva)
    copy = "Copy the newer keyring from the host that rotated last"
    assert mends()["next-epoch-missing"].startswith("Copy the newer keyring")
    fay = (*spare, str(worked.home / "secret" / "fay"), "--label", "fay")
    worked.fails(6, "keyring-not-newest", *fay)
    keyring.write_bytes(rotated)
    remove = ("key", "slot", "remove", str(slot), "--mislaid", "--yes")
    worked.ok(*remove)
    assert worked.ok(*fay)["slot"] == slot + 1
    assert "slot-not-in-file" not in mends()
    keyring.write_bytes(with_eva)
    assert mends()["slot-still-in-file"].startswith(copy)
    assert mends()["slot-not-in-file"].startswith(copy)


def test_a_removed_slot_in_a_keyring_with_the_next_epoch_is_removed_there(worked):  # noqa: F811
    """Nothing needs to be copied for that."""
    keyring = worked.home / "keys" / "keyring"
    spare = str(worked.home / "secret" / "eva")
    slot = str(
        worked.ok("key", "slot", "add", "key-file", "--new-key-file", spare, "--label", "eva")[
            "slot"
        ]
    )
    with_eva = keyring.read_bytes()
    worked.ok("key", "slot", "remove", slot, "--mislaid", "--yes")
    keyring.write_bytes(with_eva)
    (told,) = (
        one for one in worked.ok("doctor")["findings"] if one["code"] == "slot-still-in-file"
    )
    assert told["mend"] == f"credledger key slot remove {slot} --mislaid"
    worked.ok("key", "slot", "remove", slot, "--mislaid", "--yes")
    assert "slot-still-in-file" not in found(worked)
