"""Keys that are destroyed elsewhere are let go by processes that run, once they follow the log.

Two hosts, each with a keyring of its own, and a process on one that is open all the while; what it
held of those keys is gone from its ciphers, from all that it unlocked with, and from its file.
"""

from __future__ import annotations

import gc
import os
import threading
from contextlib import contextmanager

import pytest
from filelock import FileLock

import ledger.log.pace
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.epochs import EpochKeys, period_of
from ledger.sealing.keyring_file import KeyringFile, read_keyring
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases import held_keys, resting
from ledger.usecases.acting import Acting
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.opening import accept_rollback
from ledger.usecases.resealing import Resealing
from ledger.usecases.retrieval import opened
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import CHEAP, PASSPHRASE, unlocked_by_passphrase
from tests.faults.running import until
from tests.faults.test_hosts_at_once import another_host
from tests.faults.test_hosts_memory import put_back, size_of
from tests.ledger.test_retention import move

OWNERS = [parse_claim(f"user:u{number}") for number in range(5)]
ANN = OWNERS[0]


def values(password):
    return {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(password)}


def read(ledger, owner=ANN):
    return ledger.retrieve(Caller(owner), "CRM").fields["Windows Password"].reveal()


@pytest.fixture
def hosts(house, tmp_path):
    """The host that destroys, and another; one owner's first value was replaced."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    for owner in OWNERS:
        ledger.set_credentials(Acting(), "CRM", owner, values("first"))
    ledger.set_credentials(Acting(), "CRM", ANN, values("second"))
    ledger.close()
    return house, another_host(house, tmp_path / "other")


def destroy(house):
    """A rotation that leaves no key of earlier values."""
    ledger = house.open()
    outcome = ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    ledger.close()
    return outcome


def in_file(house):
    """Which epochs' keys of values the keyring's file holds."""
    unlocked = read_keyring(house.keyring_path).unlock(passphrase(PASSPHRASE))
    return [keys.epoch for keys in unlocked.epochs if keys.secret is not None]


def in_process(ledger):
    """The same of an open ledger."""
    return [keys.epoch for keys in ledger._held.unlocked.epochs if keys.secret is not None]


@contextmanager
def file_locked(house):
    """Somebody else is changing the keyring's file all the while."""
    path = house.keyring_path
    with FileLock(path.with_name(f"{path.name}.lock")):
        yield


def restored_first(ledger):
    """Bring the first value back, which takes the key that it was sealed with."""
    return ledger.restoring.credentials(Acting(), "CRM", ANN, version=1)


def refused_as_destroyed(ledger):
    with pytest.raises(KeyUnavailable) as caught:
        restored_first(ledger)
    return caught.value.code == "key-destroyed"


def require_whole(house):
    assert verify_log(house.store()).ok
    ledger = house.open()
    assert read(ledger) == "second"
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()


def test_a_process_that_runs_lets_keys_of_values_go_when_it_follows_the_log(hosts):
    """With the next thing it does, be it a read or the very restoration that needs the key."""
    destroying, other = hosts
    reading, restoring, looking = other.open(), other.open(), other.open()
    for running in (reading, restoring, looking):
        assert read(running) == "second"
    destroy(destroying)
    assert in_process(reading) == in_process(restoring) == [1, 2]
    assert read(reading) == "second"
    looking.head()
    looking.roles()
    assert refused_as_destroyed(restoring)
    for running in (reading, restoring, looking):
        assert in_process(running) == [2]
        assert refused_as_destroyed(running)
        assert running.status().epochs[0][3] is False
        running.close()
    assert in_file(other) == [2]
    require_whole(other)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_process_that_is_to_begin_anew_takes_nothing_out_of_the_file(hosts, monkeypatch, is_late):
    """An operator has accepted an older log beside it, which may need what the other one ended."""
    destroying, other = hosts
    running = other.open()
    assert read(running) == "second"
    destroy(destroying)
    monkeypatch.setattr(running._held, "settle", lambda: None)  # its thread does so when it likes
    assert read(running) == "second"
    assert running._held._owing
    assert in_file(other) == [1, 2]
    running._held.begin_anew()
    running._held._owing = is_late  # a thread had looked already
    HeldKeys.settle(running._held)
    assert in_file(other) == [1, 2]
    assert read(running) == "second"
    running.close()


def test_nothing_that_a_process_keeps_leads_to_a_key_that_it_let_go(hosts):
    """Searched through everything there is: neither open, nor wrapped under a root that is held."""
    destroying, other = hosts
    key = read_keyring(other.keyring_path).unlock(passphrase(PASSPHRASE)).epochs[0].secret
    unlocked = read_keyring(other.keyring_path).unlock(passphrase(PASSPHRASE))
    running = other.open_with(unlocked)
    del unlocked
    assert read(running) == "second"
    destroy(destroying)
    assert read(running) == "second"
    assert read(running) == "second"  # the file follows behind an answer, and before the next one
    gc.collect()
    holding = [one for one in gc.get_objects() if isinstance(one, EpochKeys) and one.secret == key]
    mine = [one for one in holding if one.epoch == 1 and not _kept_by_tests(one)]
    assert mine == []
    assert running._desk.unlocked.epochs == ()
    assert running._desk.unlocked.keyring.wrapped == b""
    assert 1 not in running._desk.box.now.ciphers
    running.close()


def _kept_by_tests(keys):
    """The tests remember what they unlocked."""
    from tests.conftest import _UNLOCKED

    return any(keys is one for unlocked in _UNLOCKED.values() for one in unlocked.epochs)


def test_a_process_that_runs_lets_keys_of_months_go_when_it_follows_the_log(house, tmp_path):
    """A record of an erased month is told as destroyed, whatever this process could open before."""
    other = another_host(house, tmp_path / "other")
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ANN, values("second"))
    old = ledger.retrieve(Caller(ANN), "CRM").position
    ledger.close()
    move(house, 1, 0)
    between = house.open(accept_clock=True)
    read(between)
    between.close()
    move(house, 2, 10 * 86_400_000_000)
    other.clock = house.clock
    running = other.open(accept_clock=True)
    assert read(running) == "second"
    with house.store().reading() as reading:
        row = reading.row_at(old)
    assert running._desk.mapper.open(row).event.caller == str(ANN)
    ledger = house.open(accept_clock=True)
    ledger.retention.set_policy(Acting(), 31)
    assert period_of(row.recorded_at) in ledger.retention.apply(Acting()).months
    ledger.close()
    assert running._desk.mapper.open(row).position == old  # not followed yet
    assert read(running) == "second"
    with pytest.raises(KeyUnavailable) as caught:
        running._desk.mapper.open(row)
    assert caught.value.code == "key-destroyed"
    assert running.views.accesses.newest(limit=None)[-1]["position"] != old
    running.close()
    unlocked = read_keyring(other.keyring_path).unlock(passphrase(PASSPHRASE))
    assert unlocked.epochs[0].access[0] is None


def test_what_was_granted_opens_though_its_key_is_let_go_right_after(hosts):
    """Its record says that it was released; between record and release is no moment without key."""
    destroying, other = hosts
    running = other.open()
    request = running._retrieval(Caller(ANN), "CRM", restricted=False, fields=None, reason="")
    release = running._writer.run(request)
    assert release.mapping.recorded.epoch == 1
    destroy(destroying)
    assert read(running) == "second"
    assert in_process(running) == [2]
    assert opened(release).fields["Windows Password"].reveal() == "second"
    running.close()


def accept(house, how=accept_rollback):
    """An operator goes on from an older log that was put back."""
    unlocked = unlocked_by_passphrase(house.keyring_path)
    how(
        house.store(),
        house.keyring_path,
        unlocked,
        acting=Acting(reason="the older one is good"),
        memory=house.memory(unlocked),
        account="tester@host",
        clock=house.clock,
        random=os.urandom,
        mapper=EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom),
    )


def go_back(house, size):
    """An older log is put back, an operator goes on from it, and rotates past what is destroyed."""
    put_back(house, size)
    accept(house)
    ledger = house.open()
    assert ledger.rotate(Acting(), without_backup=True).epoch == 3
    ledger.set_credentials(Acting(), "CRM", ANN, values("third"))
    for number in range(40):  # so that the log is longer than the process remembers it
        ledger.grant(Acting(), "CRM", "administrator", f"user:a{number}")
    ledger.close()


@pytest.mark.parametrize(("looks_first", "rotations"), [(True, 3), (False, 3), (True, 5)])
def test_keys_of_a_log_that_went_on_otherwise_are_not_taken_for_those_it_destroyed(
    house, looks_first, rotations
):
    """A process that has followed the log that was given up knows these epochs by their numbers."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    size = size_of(house)
    other = house.open()
    for _ in range(1, rotations):
        other.rotate(Acting(), without_backup=True)
    other.rotate(Acting(), without_backup=True, destroy_previous=True)
    other.close()
    assert ledger.status().epoch == rotations + 1
    go_back(house, size)
    if looks_first:
        assert read(ledger) == "third"
    ledger.trust.new_service_pair(Acting())
    assert read(ledger) == "third"
    ledger.set_credentials(Acting(), "CRM", ANN, values("fourth"))
    destroy(house)
    assert read(ledger) == "fourth"
    assert not any(keys.secret for keys in ledger._held.unlocked.epochs if keys.epoch < 4)
    ledger.close()
    again = house.open()
    assert read(again) == "fourth"
    again.close()
    assert verify_log(house.store()).ok


def test_a_file_that_somebody_is_changing_follows_later(hosts):
    """The process does not wait for it, nor takes the keys back out of it."""
    destroying, other = hosts
    running = other.open()
    assert read(running) == "second"
    destroy(destroying)
    with file_locked(other):
        assert read(running) == "second"
        assert (in_process(running), in_file(other)) == ([2], [1, 2])
        running._held.renew()
        assert in_process(running) == [2]
        assert refused_as_destroyed(running)
    assert read(running) == "second"
    until(lambda: in_file(other) == [2])  # it follows once the answer is given
    running.close()
    require_whole(other)


def test_a_thread_that_has_followed_the_log_less_far_brings_no_key_back(hosts):
    """What it was told before the destruction is no older log that was put back."""
    destroying, other = hosts
    running = other.open()
    history, size = running.key_history(), size_of(other)
    destroy(destroying)
    with file_locked(other):
        assert read(running) == "second"
        running._held.follow(history, size)
        assert (in_process(running), in_file(other)) == ([2], [1, 2])
    running.close()


def test_a_host_that_meets_a_log_takes_no_key_out_of_its_file_for_what_is_destroyed_there(hosts):
    """It may be a copy that was given up, and the ledger of now rests on these keys.

    The process uses none of them, and once the host remembers the log, the file follows.
    """
    destroying, other = hosts
    before = other.keyring_path.read_bytes()
    destroy(destroying)
    met = other.open()
    assert read(met) == "second"
    assert refused_as_destroyed(met)
    met.set_credentials(Acting(), "CRM", ANN, values("third"))
    assert (in_process(met), in_file(other)) == ([2], [1, 2])
    assert other.keyring_path.read_bytes() == before
    met.close()
    other.open().close()
    assert in_file(other) == [2]


def test_of_two_threads_that_follow_at_once_the_further_one_counts(hosts, monkeypatch):
    """Neither the ciphers nor the file go by what the other was told before the destruction."""
    destroying, other = hosts
    running, looking = other.open(), other.open()
    before, size = running.key_history(), size_of(other)
    destroy(destroying)
    with file_locked(other):
        after, further = looking.key_history(), size_of(other)
    looking.close()
    further_on = threading.Thread(target=running._held.follow, args=(after, further))
    told = held_keys._destroyed

    def meanwhile(unlocked, history):
        if history is before:
            further_on.start()
            further_on.join(0.5)  # as far as it gets
        return told(unlocked, history)

    monkeypatch.setattr(held_keys, "_destroyed", meanwhile)
    running._held.follow(before, size)
    monkeypatch.undo()
    further_on.join()
    assert in_process(running) == [2]
    assert refused_as_destroyed(running)
    until(lambda: in_file(other) == [2])  # it follows once the answer is given
    running.close()


def test_a_file_that_cannot_be_written_is_left_to_the_next_opening(hosts, monkeypatch):
    """It is tried once and not for every access; the process has let the keys go all the same."""
    destroying, other = hosts
    running = other.open()
    assert read(running) == "second"
    destroy(destroying)
    blocked = other.keyring_path.with_name("keyring.new")
    blocked.mkdir()
    (blocked / "something").touch()
    tries = []
    write = KeyringFile.write
    monkeypatch.setattr(KeyringFile, "write", lambda *to: tries.append(to) or write(*to))
    for _ in range(3):
        assert read(running) == "second"
    assert (len(tries), in_process(running), in_file(other)) == (1, [2], [1, 2])
    running.close()
    (blocked / "something").unlink()
    blocked.rmdir()
    other.open().close()
    assert in_file(other) == [2]


def test_what_a_process_that_runs_writes_of_its_keyring_holds_no_destroyed_key(hosts, tmp_path):
    """Neither the file with another slot in it, nor a key backup."""
    destroying, other = hosts
    ledger = destroying.open()
    rotated = ledger.rotate(Acting(), without_backup=True)
    # Slots are changed in the newest keyring only.
    other.keyring_path.write_bytes(destroying.keyring_path.read_bytes())
    changing, copying = other.open(), other.open()
    for running in (changing, copying):
        assert read(running) == "second"
    ledger._rotation.destroy_previous(Acting(), rotated)
    ledger.close()
    with file_locked(other):
        for running in (changing, copying):
            assert read(running) == "second"
        # As long as somebody else changes it; who comes to it later drops the key from it at once.
        assert in_file(other) == [1, 2, 3]
    place = tmp_path / "copy"
    copying.key_backups.create(Acting(), place, ())
    backup = read_keyring(place).unlock(passphrase(PASSPHRASE))
    assert [keys.epoch for keys in backup.epochs if keys.secret is not None] == [2, 3]
    changing.add_slot(
        Acting(),
        label="ben",
        opens="operator",
        holding=new_passphrase("two otters share one stone"),
        cost=CHEAP,
    )
    assert in_process(changing) == in_process(copying) == in_file(other) == [2, 3]
    for running in (changing, copying):
        assert refused_as_destroyed(running)
        running.close()
    require_whole(other)


def test_a_rotation_beside_one_that_destroys_ends_well(hosts, monkeypatch):
    """What it was about to seal anew is sealed by the other already, and its key is gone."""
    destroying, other = hosts
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 2)
    monkeypatch.setattr(ledger.log.pace, "CALM_ROWS", 2)
    began = []

    def overtaken(work):
        def overtaking(*asked):
            if not began:
                began.append(True)
                destroy(destroying)
                if work is Resealing._prepared:
                    asked[0]._writer.look(
                        asked[0]._desk.key_history
                    )  # as another thread of the process would, right then
            return work(*asked)

        return overtaking

    steps = ((resting, "_newest"), (Resealing, "_prepared"))
    for step, (where, name) in enumerate(steps, 2):
        began.clear()
        running = other.open()
        with monkeypatch.context() as patched:
            patched.setattr(where, name, overtaken(getattr(where, name)))
            outcome = running.rotate(Acting(), without_backup=True)
        assert (outcome.epoch, outcome.resealed) == (step, 0)
        assert in_process(running)[0] == step
        running.close()
        destroying.keyring_path.write_bytes(other.keyring_path.read_bytes())
    require_whole(other)


@pytest.mark.parametrize("looks_first", [True, False])
def test_keys_that_a_log_put_back_needs_again_stay_in_the_file(house, looks_first):
    """A process that has followed the log that was given up knows them as destroyed."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ANN, values("first"))
    size = size_of(house)
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    before = house.keyring_path.read_bytes()
    other.rotate(Acting(), without_backup=True, destroy_previous=True)
    other.close()
    assert ledger.status().epoch == 3
    assert in_process(ledger) == [3, 4]
    put_back(house, size)
    house.keyring_path.write_bytes(before)
    accept(house)
    again = house.open()
    assert read(again) == "first"
    for number in range(40):  # so that the log is longer than the process remembers it
        again.grant(Acting(), "CRM", "administrator", f"user:a{number}")
    again.close()
    if looks_first:
        assert read(ledger) == "first"
    ledger.trust.new_service_pair(Acting())
    assert in_file(house) == [1, 2, 3]
    assert read(ledger) == "first"
    ledger.close()
