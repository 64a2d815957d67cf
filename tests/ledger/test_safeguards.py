"""A rotation begins where both backups are there, or where somebody has said that it may."""

from __future__ import annotations

import pytest

from ledger.aggregates.backups import FULL, BackupCreated
from ledger.claims import parse_claim
from ledger.errors import NotFound, Refused
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.ledger.test_rotation import rotate

ALICE = Caller(parse_claim("user:alice"))
VALUES = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


def fill(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ALICE.claim, VALUES)
    ledger.close()


@pytest.fixture
def filled(prepared):
    ledger = prepared(fill).open()
    yield ledger
    ledger.close()


def back_up_database(ledger) -> None:
    head = ledger.head()
    event = BackupCreated(FULL, head.size, head.root, bytes(32), 1000, "/media/tape")
    ledger.record_backup(Acting(), event)


def back_up_keyring(ledger, tmp_path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir(exist_ok=True)
    number = len(list(folder.iterdir()))
    ledger.key_backups.create(Acting(), folder / f"keyring{number}", ())


def refused(ledger) -> str:
    size = ledger.head().size
    with pytest.raises(Refused) as caught:
        ledger.rotate(Acting())
    assert ledger.head().size == size
    assert ledger.status().epoch + 1 == len(ledger._held.unlocked.epochs)
    return caught.value.code


def test_both_backups_are_asked_for_after_every_rotation(filled, tmp_path):
    """Nothing is changed before they are there, neither in the file nor in the log."""
    assert refused(filled) == "database-backup-needed"
    back_up_database(filled)
    assert refused(filled) == "key-backup-needed"
    back_up_keyring(filled, tmp_path)
    assert filled.rotate(Acting()).epoch == 2
    assert refused(filled) == "database-backup-needed"
    back_up_database(filled)
    assert refused(filled) == "key-backup-needed"
    back_up_keyring(filled, tmp_path)
    assert filled.rotate(Acting()).epoch == 3


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda ledger: ledger.set_credentials(Acting(), "CRM", ALICE.claim, VALUES), True),
        (lambda ledger: ledger.grant(Acting(), "CRM", "administrator", "user:ada"), True),
        (lambda ledger: ledger.role_grant(Acting(), "full-control", "user:ada"), True),
        (lambda ledger: ledger.retrieve(ALICE, "CRM"), False),
        (lambda ledger: ledger.record_query(Acting(), "access", 1), False),
    ],
)
def test_changes_after_the_backup_count_and_reads_do_not(filled, tmp_path, change, counts):
    back_up_keyring(filled, tmp_path)
    back_up_database(filled)
    change(filled)
    if counts:
        assert refused(filled) == "database-backup-needed"
    else:
        assert filled.rotate(Acting()).epoch == 2


def test_a_change_between_the_look_and_the_lock_is_seen(filled, tmp_path, monkeypatch):
    """What was appended since the log was looked through is looked at under the lock."""
    from ledger.usecases import rotation

    back_up_keyring(filled, tmp_path)
    back_up_database(filled)
    look = rotation.lacking

    def looked(desk, writer):
        found = look(desk, writer)
        filled.set_credentials(Acting(), "CRM", ALICE.claim, VALUES)
        return found

    monkeypatch.setattr(rotation, "lacking", looked)
    with pytest.raises(Refused, match="since the last backup"):
        filled.rotate(Acting())
    monkeypatch.undo()
    assert filled.status().epoch == 1
    back_up_database(filled)
    assert filled.rotate(Acting()).epoch == 2


def test_a_backup_that_was_replaced_is_none(filled, tmp_path):
    back_up_keyring(filled, tmp_path)
    back_up_database(filled)
    position = filled.key_backups.history().newest().position
    filled.key_backups.attest_replaced(Acting(), position)
    assert refused(filled) == "key-backup-needed"
    with pytest.raises(NotFound):
        filled.key_backups.attest_replaced(Acting(), position + 100)


def test_who_goes_on_without_is_recorded(filled):
    """The log says which backups were lacking, and who said so."""
    rotate(filled)
    changes = filled.views.changes()
    waived = [one for one in changes if one["event"] == "backup.waived"]
    assert [one["reason"] for one in waived] == ["yearly"]
    assert waived[0]["detail"] == {"lacking": ("database", "keyring")}


def test_an_unfinished_rotation_needs_no_further_backup(filled, monkeypatch):
    """Finishing is never refused: mappings would rest on two epochs for ever."""
    from ledger.usecases.rotation import Rotation

    class Cut(BaseException):
        pass

    def cut(*_):
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(Rotation, "_reseal", cut)
        with pytest.raises(Cut):
            rotate(filled)
    assert filled.rotate(Acting()).epoch == 2
