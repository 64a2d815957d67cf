"""Attacks on signers, on heads that vouch for others, on restored secrets and on names."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from ledger.aggregates.access import AuditQueried
from ledger.aggregates.actor import Actor
from ledger.claims import parse_claim
from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Tampered
from ledger.log.verification import CheckedHead, Follower, verify_log
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import CHEAP, House
from tests.faults.test_tampering import attack

SECOND = "two otters share one stone"
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}


def with_second_slot(house: House) -> None:
    ledger = house.open()
    ledger.add_slot(
        Acting(), label="ben", opens="operator", holding=new_passphrase(SECOND), cost=CHEAP
    )
    ledger.close()


def copied(house: House, folder: str) -> House:
    """Another host: the same store, a copy of the keyring, a memory of its own."""
    place = house.keyring_path.parent.with_name(folder) / "keyring"
    place.parent.mkdir(mode=0o700)
    shutil.copy(house.keyring_path, place)
    return House(house.store_path, place, house.clock, house.store_url, house.opened)


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


def test_a_head_vouches_only_for_what_folds_to_it(house):
    ledger = house.open()
    for name in ("A", "B", "C"):
        ledger.create_application(Acting(), name, kind="individual")
    ledger.close()
    store = house.store()
    with store.reading() as reading:
        row = reading.ledger()
        follower = Follower(row)
        head = follower.follow(reading, CheckedHead(), until=3)
    assert head.size == 3
    # A genuine head above, a forged signature below it; then the genuine head is taken away.
    attack(house, "UPDATE commits SET signature = zeroblob(64) WHERE size = 4",
           "UPDATE commits SET root = zeroblob(32) WHERE size = 5")  # fmt: skip
    with store.reading() as reading, pytest.raises(Tampered):
        follower.follow(reading, head)
    attack(house, "DELETE FROM commits WHERE size = 5", "DELETE FROM log WHERE position = 5")
    with store.reading() as reading, pytest.raises(Tampered):
        follower.follow(reading, head)


def test_a_removed_operator_does_not_come_back_by_a_deleted_row(house):
    with_second_slot(house)
    removed = read_keyring(house.keyring_path).unlock(passphrase(SECOND))
    ledger = house.open()
    ledger.remove_slot(Acting(), 2, mislaid=True)
    ledger.close()
    attack(house, "DELETE FROM signers WHERE change = 'end'")
    with pytest.raises(Tampered):
        house.open()
    assert removed.slot.id == 2


def test_a_tail_taken_away_without_its_heads_is_noticed(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.close()
    attack(house, "DELETE FROM log WHERE position = 3")
    with pytest.raises(Tampered):
        house.open()


def test_restoring_does_not_reach_into_a_deleted_applications_values(ledger):
    alice = parse_claim("user:alice")
    ledger.create_application(Acting(), "HR", kind="individual")
    ledger.set_credentials(Acting(), "HR", alice, PAIR)
    ledger.delete_application(Acting(), "HR")
    ledger.create_application(Acting(), "HR", kind="individual")
    for choice in ({"version": 1}, {"at_us": 2**60}):
        with pytest.raises(NotFound):
            ledger.restore_credentials(Acting(), "HR", alice, **choice)
    with pytest.raises(NotFound):
        ledger.retrieve(Caller(alice), "HR")


def test_a_claim_whose_form_grows_too_long_is_refused_at_the_door():
    with pytest.raises(InvalidInput):
        parse_claim("user:" + "ß" * 1000)


def test_text_that_cannot_be_stored_fails_alone(ledger):
    with pytest.raises(InvalidInput):
        Acting(reason="\ud800")
    ledger.create_application(Acting(), "CRM", kind="individual")
    with pytest.raises(InvalidInput):
        ledger.retrieve(Caller(parse_claim("user:a")), "CRM", fields=["\ud800"])
    with pytest.raises(InvalidInput):
        ledger.retrieve(Caller(parse_claim("user:a")), "CRM", fields=["x"] * 100)
    assert verify_log(ledger._writer.store).ok


def test_the_driver_still_keeps_rows_by_trigger(sqlite_house):
    with (
        sqlite3.connect(sqlite_house.store_path) as connection,
        pytest.raises(sqlite3.IntegrityError),
    ):
        connection.execute("DELETE FROM signers")
    connection.close()


def with_auditor(house: House, number: int = 2):
    """An auditor's slot, unlocked from its own file."""
    ledger = house.open()
    place = house.keyring_path.parent.with_name(f"auditor{number}") / "keyring"
    ledger.add_slot(
        Acting(),
        label=f"cleo{number}",
        opens="auditor",
        holding=new_passphrase(SECOND),
        auditor_file=place,
        cost=CHEAP,
    )
    ledger.close()
    return place, read_keyring(place).unlock(passphrase(SECOND))


class InStream:
    """An auditor's question, appended to whatever stream."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def decide(self, transaction):
        actor = Actor("auditor", 2, "cleo2", "tester@host", "auditor")
        transaction.append(self.stream, AuditQueried("all", 1), actor)


def test_an_auditor_is_held_to_his_own_stream_by_hosts_that_do_not_know_him(house):
    other = copied(house, "other")  # before the auditors came
    _, second = with_auditor(house, 2)
    _, third = with_auditor(house, 3)
    auditor = house.open_with(second, remember=False)
    own = auditor._desk.streams.audit(second.slot.signing_public_key)
    auditor._writer.run(InStream(own))
    watching = other.open()
    size = watching.head().size
    auditor._writer.run(InStream(auditor._desk.streams.audit(third.slot.signing_public_key)))
    auditor.close()
    with pytest.raises(Tampered) as caught:
        watching.head()
    assert (caught.value.code, caught.value.position) == ("out-of-class", size + 1)


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
