"""Slots added and removed on two hosts at once, and changes of them that are cut off."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.errors import Conflict, KeyUnavailable, LedgerError, NotFound
from ledger.log.verification import verify_log
from ledger.sealing.keyring_file import read_keyring, update_keyring_file
from ledger.sealing.shares import Scheme, combine, read_share
from ledger.sealing.slots import key_file, new_passphrase, passphrase
from ledger.usecases.acting import Acting
from tests.conftest import CHEAP, PASSPHRASE, House
from tests.faults.hosts import SECOND, copied, with_auditor, with_second_slot
from tests.faults.test_rotated_elsewhere import rotate

MORE = key_file(bytes(range(32)))


def add(ledger, label):
    return ledger.add_slot(Acting(), label=label, opens="operator", holding=MORE, cost=CHEAP)


def add_to(house, label):
    ledger = house.open()
    try:
        return add(ledger, label).slot
    finally:
        ledger.close()


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


def test_slots_are_changed_in_a_keyring_with_the_next_epoch_only(house):
    """One without it would be copied back over the one that has it, which is then lost."""
    with_second_slot(house)
    behind = copied(house, "behind")
    rotate(house)
    ledger = behind.open()
    size, content = ledger.head().size, behind.keyring_path.read_bytes()
    for change in (
        lambda: add(ledger, "eva"),
        lambda: ledger.remove_slot(Acting(), 2, mislaid=True),
        lambda: ledger.remove_slot(Acting(), 2, mislaid=False, without_backup=True),
        lambda: ledger.change_passphrase(Acting(), passphrase(PASSPHRASE), MORE, CHEAP),
        lambda: ledger.shares.create(Acting(), Scheme(2, 2), "shares"),
    ):
        with pytest.raises(KeyUnavailable) as caught:
            change()
        assert (caught.value.code, "epoch 3" in caught.value.message) == (
            "keyring-not-newest",
            True,
        )
    assert (ledger.head().size, behind.keyring_path.read_bytes()) == (size, content)
    behind.keyring_path.write_bytes(house.keyring_path.read_bytes())
    assert add(ledger, "eva").slot == 3
    ledger.close()
    assert verify_log(house.store()).ok


def test_a_next_epoch_that_the_log_did_not_choose_makes_no_keyring_the_newest(house):
    """Another host rotated first; what this one made for itself is no epoch."""
    behind = copied(house, "behind")
    rotate(house)
    ledger = behind.open()
    held = read_keyring(behind.keyring_path).unlock(passphrase(PASSPHRASE))
    after = held.with_next_epoch(os.urandom)
    update_keyring_file(behind.keyring_path, held, lambda _: (after.keyring, after.root, None))
    with pytest.raises(KeyUnavailable) as caught:
        add(ledger, "eva")
    assert caught.value.code == "keyring-not-newest"
    ledger.close()


def test_recovery_shares_add_a_slot_to_a_keyring_that_is_behind(house):
    """It is what they are for: where nobody can unlock, nobody can copy a newer one either."""
    ledger = house.open()
    made = ledger.shares.create(Acting(), Scheme(2, 2), "recovery")
    ledger.close()
    behind = copied(house, "behind")
    rotate(house)
    add_to(house, "ben")
    shares = combine([read_share(words, number) for number, words in enumerate(made.words, 1)])
    ledger = behind.open_with(read_keyring(behind.keyring_path).unlock(shares))
    assert ledger.shares.restore(Acting(), label="again", holding=MORE, cost=CHEAP).slot == 4
    ledger.close()
    assert verify_log(house.store()).ok


def test_an_auditor_who_is_behind_changes_the_passphrase(house):
    """In the auditor's own file, which an operator exports anew after a rotation."""
    place, unlocked = with_auditor(house)
    rotate(house)
    ledger = House(house.store_path, place, house.clock, house.store_url, house.opened).open_with(
        unlocked
    )
    ledger.change_passphrase(Acting(), passphrase(SECOND), MORE, CHEAP)
    ledger.close()
    assert read_keyring(place).unlock(MORE)


def test_numbers_go_on_where_the_log_stands(house):
    """Slots that other hosts added and that are removed again take no number from this one."""
    other = copied(house, "other")
    assert [add_to(other, name) for name in ("eva", "fay")] == [2, 3]
    ledger = house.open()
    for slot in (2, 3):
        with pytest.raises(Conflict) as caught:
            add(ledger, "gus")
        assert (caught.value.code, "--mislaid" in caught.value.hint) == ("slot-number-taken", True)
        ledger.remove_slot(Acting(), slot, mislaid=True)
    assert add(ledger, "gus").slot == 4
    assert [slot.id for slot in read_keyring(house.keyring_path).slots] == [1, 4]
    assert read_keyring(house.keyring_path).next_slot == 5
    ledger.close()
    assert verify_log(house.store()).ok


def test_a_head_is_signed_over_the_signers_of_now_though_a_thread_reads_those_of_before(house):
    """Threads follow a log side by side, each in a snapshot of its own."""
    running, beside = house.open(), house.open()
    running.catch_up()
    head = running._writer.head
    beside.create_application(Acting(), "CRM", kind="individual")
    with running._writer.store.reading() as late:
        late.extent()
        add_to(house, "ben")
        running.create_application(Acting(), "Payroll", kind="individual")
        running._writer._branch.follower.follow(late, head)
    running.create_application(Acting(), "Travel", kind="individual")
    running.close()
    beside.close()
    assert verify_log(house.store()).ok


def test_a_slot_that_was_removed_signs_nothing_though_a_thread_reads_the_signers_of_before(house):
    with_second_slot(house)
    running = house.open_with(read_keyring(house.keyring_path).unlock(passphrase(SECOND)))
    beside = house.open()
    running.catch_up()
    head = running._writer.head
    beside.create_application(Acting(), "CRM", kind="individual")
    with running._writer.store.reading() as late:
        late.extent()
        beside.remove_slot(Acting(), 2, mislaid=True)
        with ThreadPoolExecutor(1) as another:
            another.submit(running.catch_up).result()
        running._writer._branch.follower.follow(late, head)
    with pytest.raises(LedgerError) as caught:
        running.create_application(Acting(), "Payroll", kind="individual")
    assert caught.value.code == "slot-removed"
    running.close()
    beside.close()
    assert verify_log(house.store()).ok
