"""A rotation begins where both backups are there, or where somebody has said that it may."""

from __future__ import annotations

import os

import pytest

from ledger.aggregates.backups import FULL, BackupCreated
from ledger.aggregates.event import from_payload
from ledger.aggregates.key_backups import KeyBackedUp
from ledger.aggregates.keys import SlotRemoved
from ledger.claims import parse_claim
from ledger.errors import NotFound, Refused
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring, update_keyring_file
from ledger.sealing.slots import AUDITOR, OPERATOR, key_file, passphrase
from ledger.usecases.acting import Acting
from ledger.usecases.slots import KeyringEvent
from ledger.values import FieldValue
from tests.conftest import CHEAP, PASSPHRASE
from tests.faults.test_hosts_at_once import another_host
from tests.ledger.test_rotation import rotate

BENS, CYS = key_file(bytes(range(32))), key_file(bytes(range(1, 33)))
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
    event = BackupCreated(
        FULL, head.size, head.root, bytes(32), 1000, "/media/tape", base_elsewhere=False
    )
    ledger.backups.record(Acting(), event)


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

    def looked(desk, writer, keyring):
        found = look(desk, writer, keyring)
        filled.set_credentials(Acting(), "CRM", ALICE.claim, VALUES)
        return found

    monkeypatch.setattr(rotation, "lacking", looked)
    with pytest.raises(Refused, match="since the last backup"):
        filled.rotate(Acting())
    monkeypatch.undo()
    assert filled.status().epoch == 1
    back_up_database(filled)
    assert filled.rotate(Acting()).epoch == 2


def test_a_key_backup_that_is_attested_replaced_meanwhile_is_none(filled, tmp_path, monkeypatch):
    """What was found before the lock is asked for again under it."""
    from ledger.usecases import rotation

    back_up_keyring(filled, tmp_path)
    back_up_database(filled)
    look, copies = rotation.lacking, filled.key_backups

    def looked(desk, writer, keyring):
        found = look(desk, writer, keyring)
        copies.attest_replaced(Acting(), copies.history().newest().position)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(rotation, "lacking", looked)
        with pytest.raises(Refused) as caught:
            filled.rotate(Acting())
    assert (caught.value.code, filled.status().epoch) == ("key-backup-needed", 1)
    back_up_keyring(filled, tmp_path)
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


def test_a_key_backup_of_a_keyring_without_the_next_epoch_is_none(house, tmp_path):
    """It was made since the epoch began, and yet what the rotation starts is not in it."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    behind = another_host(house, tmp_path / "other")
    rotate(ledger)
    back_up_database(ledger)
    stale = behind.open()
    (tmp_path / "stale").mkdir()
    made = stale.key_backups.create(Acting(), tmp_path / "stale" / "keyring", ())
    stale.close()
    assert made.lacks_next
    assert refused(ledger) == "key-backup-needed"
    (tmp_path / "whole").mkdir()
    made = ledger.key_backups.create(Acting(), tmp_path / "whole" / "keyring", ())
    assert not made.lacks_next
    assert ledger.rotate(Acting()).epoch == 3
    ledger.close()


def test_a_next_epoch_that_the_log_did_not_choose_is_in_no_key_backup(house, tmp_path):
    """Two hosts made one each; a backup of the one that was second does not hold it."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    behind = another_host(house, tmp_path / "other")
    rotate(ledger)
    back_up_database(ledger)
    second = behind.open()
    held = read_keyring(behind.keyring_path).unlock(passphrase(PASSPHRASE))
    after = held.with_next_epoch(os.urandom)
    update_keyring_file(behind.keyring_path, held, lambda _: (after.keyring, after.root, None))
    (tmp_path / "stale").mkdir()
    assert second.key_backups.create(Acting(), tmp_path / "stale" / "keyring", ()).lacks_next
    second.close()
    assert [epoch for epoch, _ in ledger.key_backups.history().newest().epochs] == [1, 2]
    assert refused(ledger) == "key-backup-needed"
    ledger.close()


def test_a_key_backup_that_no_live_slot_opens_is_none(house, tmp_path):
    """The slots in it are recorded, and the log says which of them were removed since."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.add_slot(Acting(), label="ben", holding=BENS, opens=OPERATOR, cost=CHEAP)
    back_up_keyring(ledger, tmp_path)
    back_up_database(ledger)
    assert ledger.key_backups.history().newest().slots == (1, 2)
    ledger.add_slot(Acting(), label="cy", holding=CYS, opens=OPERATOR, cost=CHEAP)
    ledger.close()
    ledger = house.open_with(read_keyring(house.keyring_path).unlock(CYS))
    ledger.remove_slot(Acting(), 1, mislaid=True)
    assert ledger.key_backups.history().sufficing() != ()
    ledger.remove_slot(Acting(), 2, mislaid=True)
    back_up_database(ledger)
    assert refused(ledger) == "key-backup-needed"
    back_up_keyring(ledger, tmp_path)
    assert ledger.rotate(Acting()).epoch == 2
    ledger.close()


def test_a_slot_that_was_mislaid_is_rotated_past_with_backups_only(house, tmp_path):
    """Its removal was finished, so a later one without the word for it starts rotations anew."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.add_slot(Acting(), label="ben", holding=BENS, opens=OPERATOR, cost=CHEAP)
    ended = ledger.remove_slot(Acting(), 2, mislaid=True).position
    for code, back_up in (
        ("database-backup-needed", back_up_database),
        ("key-backup-needed", lambda ledger: back_up_keyring(ledger, tmp_path)),
    ):
        size = ledger.head().size
        with pytest.raises(Refused) as caught:
            ledger.remove_slot(Acting(), 2, mislaid=False)
        assert (caught.value.code, ledger.head().size) == (code, size)
        back_up(ledger)
    removal = ledger.remove_slot(Acting(), 2, mislaid=False)
    assert (removal.position, removal.rotated_to) == (ended, 3)
    ledger.close()


def test_a_slot_that_cannot_be_removed_is_told_of_before_any_backup(house):
    """Nobody makes two backups to be told that there is no such slot."""
    ledger = house.open()
    with pytest.raises(NotFound) as caught:
        ledger.remove_slot(Acting(), 9, mislaid=False)
    assert caught.value.code == "no-such-slot"
    with pytest.raises(Refused) as refusal:
        ledger.remove_slot(Acting(), 1, mislaid=False)
    assert refusal.value.code == "own-slot"
    ledger.close()


def test_a_removal_recorded_before_it_told_of_mislaid_slots_was_none_of_these():
    """What was cut off then is gone on with as it was."""
    event = from_payload(SlotRemoved.TOPIC, {"v": 1, "slot": 2})
    assert event == SlotRemoved(2, mislaid=False)


def test_a_slot_that_was_never_recorded_opens_no_key_backup(house, tmp_path, monkeypatch):
    """A kill left it in the file; somebody else's of the same number may be recorded later."""
    ledger = house.open()
    monkeypatch.setattr(ledger._writer, "run", lambda request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ledger.add_slot(Acting(), label="ben", holding=BENS, opens=OPERATOR, cost=CHEAP)
    monkeypatch.undo()
    assert [slot.id for slot in read_keyring(house.keyring_path).slots] == [1, 2]
    back_up_keyring(ledger, tmp_path)
    assert ledger.key_backups.history().newest().slots == (1,)
    ledger.close()


def test_a_key_backup_recorded_without_slots_opens_by_the_slot_that_made_it(house):
    """Events of schema 1 tell of none, and who made a backup had unlocked with one."""
    old = {"path": "/media/k", "digest": bytes(32), "epochs": ((1, True), (2, True))}
    event = from_payload(KeyBackedUp.TOPIC, {"v": 1, **old, "generation": 1})
    assert event == KeyBackedUp(**old, generation=1, slots=None)
    ledger = house.open()
    ledger.add_slot(Acting(), label="ben", holding=BENS, opens=OPERATOR, cost=CHEAP)
    ledger._writer.run(KeyringEvent(ledger._desk, Acting(), event))
    history = ledger.key_backups.history()
    assert (history.newest().slots, history.slots_without()) == ((1,), (2,))
    assert history.sufficing() == history.made
    ledger.close()
    ledger = house.open_with(read_keyring(house.keyring_path).unlock(BENS))
    ledger.remove_slot(Acting(), 1, mislaid=True)
    history = ledger.key_backups.history()
    assert (history.sufficing(), history.newest_with(2)) == ((), None)
    ledger.close()


def test_a_slot_that_changed_since_is_in_no_key_backup_as_it_is(house, tmp_path):
    """Added, or given another passphrase; an auditor's opens no key backup."""
    ledger = house.open()
    missing = lambda: ledger.key_backups.history().slots_without()
    assert missing() == (1,)
    back_up_keyring(ledger, tmp_path)
    assert missing() == ()
    ledger.change_passphrase(Acting(), passphrase(PASSPHRASE), BENS, CHEAP)
    assert missing() == (1,)
    ledger.add_slot(Acting(), label="cy", holding=CYS, opens=OPERATOR, cost=CHEAP)
    cleo = tmp_path / "cleo" / "keyring"
    ledger.add_slot(
        Acting(), label="cleo", holding=CYS, opens=AUDITOR, auditor_file=cleo, cost=CHEAP
    )
    assert missing() == (1, 2)
    back_up_keyring(ledger, tmp_path)
    assert missing() == ()
    assert ledger.key_backups.history().newest().slots == (1, 2)
    ledger.remove_slot(Acting(), 2, mislaid=True)
    ledger.remove_slot(Acting(), 3, mislaid=True)
    assert missing() == ()
    ledger.close()
