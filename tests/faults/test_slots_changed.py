"""Slots added and removed on two hosts at once, and changes of them that are cut off."""

from __future__ import annotations

import pytest

from ledger.errors import Conflict, LedgerError, NotFound
from ledger.log.verification import verify_log
from ledger.sealing.slots import new_passphrase
from ledger.usecases.acting import Acting
from tests.conftest import CHEAP
from tests.faults.hosts import SECOND, copied, with_auditor, with_second_slot


def test_a_slot_removed_on_two_hosts_is_removed_once_and_the_ledger_lives(house):
    with_second_slot(house)
    other = copied(house, "other")
    first, second = house.open(), other.open()
    ended = first.remove_slot(Acting(), 2, mislaid=True)
    size = first.head().size
    assert second.remove_slot(Acting(), 2, mislaid=True).position == ended.position
    assert second.head().size == size
    first.create_application(Acting(), "CRM", kind="individual")
    first.close()
    second.close()
    assert verify_log(house.store()).ok


def test_a_removal_that_was_cut_off_after_the_file_can_be_finished(house, monkeypatch):
    with_second_slot(house)
    ledger = house.open()
    run = ledger._writer.run
    monkeypatch.setattr(ledger._writer, "run", lambda request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ledger.remove_slot(Acting(), 2, mislaid=True)
    monkeypatch.setattr(ledger._writer, "run", run)
    ledger.close()
    again = house.open()
    again.remove_slot(Acting(), 2, mislaid=True)
    assert 2 in again.key_history().removed
    again.close()
    assert verify_log(house.store()).ok


def test_a_slot_that_never_was_cannot_be_removed(house, ledger):
    with pytest.raises(NotFound):
        ledger.remove_slot(Acting(), 9, mislaid=True)


def test_two_hosts_do_not_give_one_number_to_two_slots(house):
    other = copied(house, "other")
    with_second_slot(house)
    late = other.open()
    with pytest.raises(Conflict):
        late.add_slot(
            Acting(), label="eva", opens="operator", holding=new_passphrase(SECOND), cost=CHEAP
        )
    late.close()
    assert verify_log(house.store()).ok


def test_an_auditors_file_is_written_only_once_its_export_is_recorded(house, monkeypatch):
    _, unlocked = with_auditor(house)
    ledger = house.open()
    monkeypatch.setattr(ledger._writer, "run", lambda request: 1 / 0)
    place = house.keyring_path.parent.with_name("again") / "keyring"
    with pytest.raises(ZeroDivisionError):
        ledger.export_auditor(Acting(), unlocked.slot.id, place)
    assert not place.exists()
    monkeypatch.undo()
    size = ledger.head().size
    taken = house.keyring_path.parent.with_name("auditor2") / "keyring"
    with pytest.raises(Conflict):
        ledger.export_auditor(Acting(), unlocked.slot.id, taken)
    assert ledger.head().size == size
    ledger.remove_slot(Acting(), unlocked.slot.id, mislaid=True)
    with pytest.raises(LedgerError):
        ledger.export_auditor(Acting(), unlocked.slot.id, place)
    assert not place.exists()
    ledger.close()
