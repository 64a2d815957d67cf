"""A running process goes on when another one of its host gives the keyring a new root."""

from __future__ import annotations

import os

import pytest

from ledger.claims import parse_claim
from ledger.errors import KeyUnavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring, update_keyring_file
from ledger.sealing.slots import key_file
from ledger.usecases.acting import Acting
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.hosts import LOOK_AGAIN_US
from ledger.values import FieldValue
from tests.conftest import CHEAP, unlocked_by_passphrase
from tests.faults.test_hosts_at_once import another_host
from tests.faults.test_hosts_memory import put_back
from tests.faults.test_keys_destroyed_elsewhere import accept

ALICE = Caller(parse_claim("user:alice"))
BENS, CYS = key_file(bytes(range(32))), key_file(bytes(range(1, 33)))


def set_to(ledger, text):
    values = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(text)}
    ledger.set_credentials(Acting(), "CRM", ALICE.claim, values)


def got(ledger):
    return ledger.retrieve(ALICE, "CRM").fields["Windows Password"].reveal()


@pytest.fixture
def running(house):
    """What another process has open, while slots are changed."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    set_to(ledger, "first")
    for label, holding in (("ben", BENS), ("cy", CYS)):
        ledger.add_slot(Acting(), label=label, holding=holding, opens="operator", cost=CHEAP)
    ledger.close()
    ledger = house.open()
    assert got(ledger) == "first"
    yield ledger
    ledger.close()


@pytest.mark.parametrize("mislaid", [False, True])
def test_a_process_goes_on_after_a_slot_of_somebody_else_is_removed(house, running, mislaid):
    """Its own slot's private half opens the new root, however many rotations follow."""
    other = house.open()
    other.remove_slot(Acting(), 2, mislaid=mislaid, without_backup=not mislaid)
    for text in ("second", "third", "fourth"):
        other.rotate(Acting(), without_backup=True)
        set_to(other, text)
        assert got(running) == text
    other.remove_slot(Acting(), 3, mislaid=False, without_backup=True)
    set_to(running, "fifth")
    assert (got(running), got(other)) == ("fifth", "fifth")
    added = running.add_slot(Acting(), label="eva", holding=BENS, opens="operator", cost=CHEAP)
    assert added.slot == 4
    assert read_keyring(house.keyring_path).unlock(BENS).slot.id == 4
    other.close()
    assert verify_log(house.store()).ok


def test_a_process_goes_on_where_an_epoch_that_it_holds_makes_way_for_another(house, running):
    """A killed rotation left it in the file, and a slot's holder may have it: so it is not used."""
    running.close()
    held = unlocked_by_passphrase(house.keyring_path)
    after = held.with_next_epoch(os.urandom)
    update_keyring_file(house.keyring_path, held, lambda _: (after.keyring, after.root, None))
    reading, writing, rotating = house.open(), house.open(), house.open()
    assert (got(reading), got(writing)) == ("first", "first")
    assert epochs_in(house.keyring_path) == [1, 2, 3]
    rotating.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    rotating.close()
    assert got(reading) == "first"
    set_to(writing, "second")
    assert got(reading) == "second"
    assert reading.key_history().current == 3
    for ledger in (reading, writing):
        ledger.close()


def test_a_process_that_stood_still_goes_on_where_a_slot_of_the_accepted_log_is_removed(
    house, running
):
    """An epoch that it holds as the other log chose it has made way by then."""
    size = running.head().size
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    other.close()
    house.clock.offset_us += LOOK_AGAIN_US
    assert got(running) == "first"
    assert [keys.epoch for keys in running._held.unlocked.epochs] == [1, 2, 3]
    put_back(house, size)
    accept(house)
    other = house.open()
    other.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    set_to(other, "second")
    other.close()
    assert got(running) == "second"
    assert running.key_history().current == 3


def put_back_without_keys(house, running, tmp_path):
    """An older log is accepted whose values nobody opens any more; the key backup that does."""
    backup = tmp_path / "safe" / "backup"
    backup.parent.mkdir(mode=0o700)
    running.key_backups.create(Acting(), backup, [])
    size = running.head().size
    other = house.open()
    other.rotate(Acting(), without_backup=True, destroy_previous=True)
    other.close()
    assert got(running) == "first"
    put_back(house, size)
    accept(house)
    return backup


def restore_keys(house, backup):
    restoring = house.open_with(unlocked_by_passphrase(backup), of_key_backup=True)
    restoring.key_backups.restore(Acting(), backup, backup.read_bytes())
    restoring.close()


@pytest.mark.parametrize("clock_back_us", [0, 4 * LOOK_AGAIN_US])
def test_a_process_goes_on_with_the_key_backup_that_takes_the_keyrings_place(
    house, running, tmp_path, clock_back_us
):
    """The older log's values need it; the file of before was ahead, under a root of its own."""
    backup = tmp_path / "safe" / "backup"
    backup.parent.mkdir(mode=0o700)
    running.key_backups.create(Acting(), backup, [])
    size = running.head().size
    other = house.open()
    other.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    other.rotate(Acting(), without_backup=True, destroy_previous=True)
    other.close()
    assert got(running) == "first"
    put_back(house, size)
    accept(house)
    house.clock.offset_us += clock_back_us
    with pytest.raises(KeyUnavailable):
        got(running)
    restore_keys(house, backup)
    assert got(running) == "first"  # a key that is lacking is looked for at once
    house.clock.offset_us += LOOK_AGAIN_US - clock_back_us
    running.role_grant(Acting(), "auditor", "user:ada")
    assert got(running) == "first"


def test_a_process_goes_on_with_the_key_backup_that_another_of_its_threads_has_found(
    house, running, tmp_path, monkeypatch
):
    """What a release was recorded with are the keys of before, and nobody looks twice."""
    backup = put_back_without_keys(house, running, tmp_path)
    with pytest.raises(KeyUnavailable):
        got(running)
    restore_keys(house, backup)
    run = running._writer.run

    def overtaken(request):
        release = run(request)
        running._held.renew_if_changed()
        return release

    monkeypatch.setattr(running._writer, "run", overtaken)
    assert got(running) == "first"


def test_a_process_goes_on_with_the_key_backup_once_it_may_be_read(house, running, tmp_path):
    """It looked at the file while that was too widely readable; nothing else of it changes then."""
    backup = put_back_without_keys(house, running, tmp_path)
    restore_keys(house, backup)
    house.keyring_path.chmod(0o644)
    with pytest.raises(KeyUnavailable):
        got(running)
    house.keyring_path.chmod(0o600)
    assert got(running) == "first"


def test_a_process_whose_own_slot_is_removed_stops(house, running):
    """The new root is not sealed to it."""
    removed = house.open_with(read_keyring(house.keyring_path).unlock(BENS))
    assert got(removed) == "first"
    running.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    size = running.head().size
    for call in (lambda: got(removed), lambda: set_to(removed, "second")):
        with pytest.raises(KeyUnavailable):
            call()
    assert running.head().size == size
    assert got(running) == "first"
    removed.close()


def overtaken(house, folder):
    """A host whose file holds an epoch that the log did not choose: another one was first."""
    behind = another_host(house, folder)
    held = unlocked_by_passphrase(behind.keyring_path)
    ledger = house.open()
    ledger.rotate(Acting(), without_backup=True)
    ledger.close()
    after = held.with_next_epoch(os.urandom)
    update_keyring_file(behind.keyring_path, held, lambda _: (after.keyring, after.root, None))
    return behind


def epochs_in(path):
    return [keys.epoch for keys in unlocked_by_passphrase(path).epochs]


def test_what_the_log_did_not_choose_leaves_the_file_when_the_ledger_is_opened(house, tmp_path):
    """So that no copy of the file hands it on."""
    behind = overtaken(house, tmp_path / "other")
    for _ in range(2):  # a host that meets the log just now leaves its file alone
        assert epochs_in(behind.keyring_path) == [1, 2, 3]
        behind.open().close()
    assert epochs_in(behind.keyring_path) == [1, 2]


def test_what_the_log_did_not_choose_is_let_go_though_the_file_cannot_be_written(house, tmp_path):
    """Another host was first; this one opens the ledger all the same, and the file stays."""
    behind = overtaken(house, tmp_path / "other")
    content = behind.keyring_path.read_bytes()
    lock = behind.keyring_path.with_name("keyring.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    opened = behind.open()
    assert [keys.epoch for keys in opened._held.unlocked.epochs] == [1, 2]
    opened.create_application(Acting(), "CRM", kind="individual")
    opened.close()
    assert behind.keyring_path.read_bytes() == content


def test_keys_that_another_process_has_the_log_choose_meanwhile_are_kept(house):
    """Whoever waited for the file asks the log once the file is his, and takes none for astray."""
    older = house.keyring_path.read_bytes()
    ledger = house.open()
    ledger.rotate(Acting(), without_backup=True)
    ledger.close()
    house.keyring_path.write_bytes(older)
    ledger, other = house.open(), house.open()
    changing = HeldKeys.changing

    def waiting(self, told):
        patched.undo()
        assert other.next_epoch.replace(Acting()).epoch == 3
        return changing(self, told)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HeldKeys, "changing", waiting)
        ledger._held.destroy(ledger.key_history)
    held = unlocked_by_passphrase(house.keyring_path)
    assert [keys.epoch for keys in held.epochs] == [1, 2, 3]
    assert ledger.rotate(Acting(), without_backup=True).epoch == 3
    ledger.close()
    other.close()
