"""Another host has started the next epoch: whoever holds its keys goes on, others write nothing.

Every keyring holds the epoch after the one that the log is in. What a rotation records is recorded
here by hand: one more epoch in the keyring of the host that rotates, then `epoch.started` with the
commitments to the epoch that begins and to the one held ready.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pytest

import ledger.log.pace
import projections.streams
import projections.view
from ledger.aggregates.keys import EpochStarted
from ledger.claims import parse_claim
from ledger.errors import KeyUnavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.epochs import new_epoch
from ledger.sealing.keyring_file import update_keyring_file
from ledger.sealing.wrapped_keys import WrappedKeys
from ledger.usecases import held_keys
from ledger.usecases.acting import Acting
from ledger.usecases.founding import committed
from ledger.usecases.retrieval import opened
from ledger.usecases.slots import KeyringEvent
from ledger.values import FieldValue
from projections.explanation import explain
from projections.moment import state_at
from projections.redecide import redecide
from projections.view import ViewKeeper
from tests.conftest import unlocked_by_passphrase
from tests.faults.test_hosts_at_once import another_host

ALICE = Caller(parse_claim("user:alice"))


def hold_another(house):
    """One more epoch in the keyring; the event that starts the one it held ready."""
    unlocked = unlocked_by_passphrase(house.keyring_path)
    epochs = (*unlocked.epochs, new_epoch(len(unlocked.epochs) + 1, os.urandom))
    keyring = unlocked.keyring.wrapping(unlocked.root, WrappedKeys(unlocked.stream_key, epochs))
    update_keyring_file(house.keyring_path, unlocked, lambda _: (keyring, unlocked.root, None))
    started, following = epochs[-2:]
    return EpochStarted(started.epoch, committed(started), committed(following))


def rotate(house):
    """Start the epoch that the keyring holds ready, and hold another one."""
    event = hold_another(house)
    ledger = house.open()
    ledger._writer.run(KeyringEvent(ledger._desk, Acting(), event))
    ledger.close()


def change(ledger, password):
    values = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(password)}
    return ledger.set_credentials(Acting(), "CRM", None, values).position


def epochs(house, after):
    with house.store().reading() as reading:
        return [row.epoch for row in reading.rows_after(after, 100)]


def fill(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    change(ledger, "first")
    ledger.close()


@pytest.fixture
def hosts(prepared, tmp_path):
    """The host that rotates, and one with a copy of its keyring from before."""
    house = prepared(fill)
    return house, another_host(house, tmp_path / "other")


def require_whole(house):
    """The log verifies, each access is decided again alike, and each view is its fold."""
    assert verify_log(house.store()).ok
    ledger = house.open()
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()


def test_a_host_one_rotation_behind_opens_and_goes_on_in_the_new_epoch(hosts):
    """Its copy of the keyring holds the started epoch as the next one."""
    rotating, behind = hosts
    rotate(rotating)
    ledger = behind.open()
    size = ledger.head().size
    assert ledger.retrieve(ALICE, "CRM").fields["Windows Password"].reveal() == "first"
    change(ledger, "second")
    assert ledger.retrieve(ALICE, "CRM").fields["Windows Password"].reveal() == "second"
    assert ledger.status().epoch == 2
    ledger.close()
    assert epochs(behind, size) == [2, 2, 2]
    for host in hosts:
        require_whole(host)


def test_a_thread_that_read_the_keyring_before_takes_no_key_from_one_that_read_it_since(
    hosts, monkeypatch
):
    """Whoever looks whether the file is another one may stand still before using what he read."""
    house, _ = hosts
    running = house.open()
    running.catch_up()
    read = held_keys.read_keyring
    with ThreadPoolExecutor(1) as another:
        quicker = []

        def overtaken(path):
            found = read(path)
            monkeypatch.setattr(held_keys, "read_keyring", read)
            rotate(house)
            rotate(house)
            quicker.append(another.submit(change, running, "second"))
            wait(quicker, timeout=2)  # it may have to wait for this thread
            return found

        monkeypatch.setattr(held_keys, "read_keyring", overtaken)
        running._held.renew()
        quicker[0].result()
    change(running, "third")
    assert running.retrieve(ALICE, "CRM").fields["Windows Password"].reveal() == "third"
    assert running.status().epoch == 3
    running.close()
    require_whole(house)


def test_a_running_process_goes_on_when_another_host_starts_its_next_epoch(hosts):
    """It learns of the epoch from the rows that it checks, and seals what comes next in it."""
    rotating, behind = hosts
    running = behind.open()
    assert running.retrieve(ALICE, "CRM").version == 1
    rotate(rotating)
    size = running.head().size
    assert running.retrieve(ALICE, "CRM").version == 1
    change(running, "second")
    assert running.retrieve(ALICE, "CRM").version == 2
    assert running.views.accesses.newest(limit=1)[0]["position"] == size + 3
    running.close()
    assert epochs(behind, size) == [2, 2, 2]
    for host in hosts:
        require_whole(host)


def test_a_process_beside_the_one_that_rotates_goes_on(hosts):
    """It takes the head from the memory that both share, and does not check those rows itself."""
    rotating, _ = hosts
    running = rotating.open()
    assert running.retrieve(ALICE, "CRM").version == 1
    rotate(rotating)
    assert running.retrieve(ALICE, "CRM").version == 1
    change(running, "second")
    running.close()
    require_whole(rotating)


@dataclass(frozen=True)
class InTurn:
    """Several requests in one, so that they are in one batch for certain."""

    requests: tuple[Any, ...]

    def decide(self, transaction):
        return [request.decide(transaction) for request in self.requests]


def test_requests_behind_a_rotation_in_the_same_batch_go_on_in_its_epoch(hosts):
    """The month in which an epoch begins is known as soon as it is started."""
    rotating, _ = hosts
    event = hold_another(rotating)
    ledger = rotating.open()
    size = ledger.head().size
    read = ledger._retrieval(ALICE, "CRM", restricted=False, fields=None, reason="")
    start = KeyringEvent(ledger._desk, Acting(), event)
    answers = ledger._writer.run(InTurn((read, start, read)))
    assert opened(answers[-1]).fields["Windows Password"].reveal() == "first"
    ledger.close()
    assert epochs(rotating, size) == [1, 1, 2]
    require_whole(rotating)


def test_a_host_two_rotations_behind_is_refused_before_it_writes(hosts):
    """The epoch that its keyring lacks is named."""
    rotating, behind = hosts
    rotate(rotating)
    rotate(rotating)
    with rotating.store().reading() as reading:
        size = reading.last_position()
    with pytest.raises(KeyUnavailable) as caught:
        behind.open()
    assert caught.value.code == "keyring-behind"
    assert "epoch 3" in caught.value.message
    assert epochs(behind, size) == []
    require_whole(rotating)


def test_a_running_process_two_rotations_behind_cannot_go_on_with_one_that_was_cut_off(hosts):
    """The last one is unfinished, and its keys are the other host's."""
    first, second = hosts
    ledger = second.open()
    rotate(first)
    rotate(first)
    with pytest.raises(KeyUnavailable) as caught:
        ledger.rotate(Acting(), without_backup=True)
    ledger.close()
    assert (caught.value.code, "epoch 3" in caught.value.message) == ("keyring-behind", True)


def test_a_running_process_two_rotations_behind_releases_and_writes_nothing(hosts):
    """What it cannot seal it does not decide either."""
    rotating, behind = hosts
    running = behind.open()
    rotate(rotating)
    rotate(rotating)
    with rotating.store().reading() as reading:
        size = reading.last_position()
    for refused in (lambda: running.retrieve(ALICE, "CRM"), lambda: change(running, "second")):
        with pytest.raises(KeyUnavailable):
            refused()
    running.close()
    assert epochs(behind, size) == []
    require_whole(rotating)


def newest_access(ledger):
    with ledger._writer.store.reading() as reading:
        rows = reading.rows_after(0, 1000)
    return max(row.position for row in rows if row.topic.startswith("access."))


QUESTIONS = {
    "rebuild": lambda ledger, log: [view["same"] for view in ledger.views.rebuild()],
    "access": lambda ledger, log: [one["outcome"] for one in ledger.views.accesses.newest()],
    "credentials": lambda ledger, log: [one["epoch"] for one in ledger.views.credentials()],
    "applications": lambda ledger, log: [one.key for one in ledger.views.applications()],
    "epochs": lambda ledger, log: ledger.views.epochs(),
    "history": lambda ledger, log: [one["event"] for one in ledger.views.history("CRM", None)],
    "changes": lambda ledger, log: [one["detail"] for one in ledger.views.changes()],
    "recheck": lambda ledger, log: redecide(*log),
    "state": lambda ledger, log: state_at(*log),
    "explain": lambda ledger, log: explain(*log, newest_access(ledger)),
}
"""What reads the log without asking the writer of the process first."""


def answer(ledger, question):
    return QUESTIONS[question](ledger, (ledger._writer.store, ledger._desk.mapper))


@pytest.mark.parametrize("rotations", [1, 2])
@pytest.mark.parametrize("same_host", [True, False])
def test_answers_are_whole_though_the_process_has_not_looked_since_a_rotation(
    hosts, same_host, rotations
):
    """Each question learns of the epoch by itself, from the log and if need be from the file."""
    rotating, other = hosts
    asking = rotating if same_host else other
    running = {question: asking.open() for question in QUESTIONS}
    for _ in range(rotations):
        ledger = rotating.open()
        ledger.rotate(Acting(), without_backup=True)
        ledger.retrieve(ALICE, "CRM")
        ledger.close()
    if not same_host:
        other.keyring_path.write_bytes(rotating.keyring_path.read_bytes())
    fresh = asking.open()
    assert [one["outcome"] for one in fresh.views.accesses.newest()] == ["granted"] * rotations
    assert answer(fresh, "recheck") == {"checked": rotations, "wrong": [], "unreadable": []}
    for question, ledger in running.items():
        assert answer(ledger, question) == answer(fresh, question), question
        ledger.close()
    fresh.close()


def walked(ledger, meanwhile):
    again = redecide(ledger._writer.store, ledger._desk.mapper, progress=meanwhile)
    return (again["wrong"], again["unreadable"]) == ([], [])


def rebuilt(ledger, meanwhile):
    return all(view["same"] for view in ledger.views.rebuild(None, meanwhile))


def brought_forward(ledger, meanwhile):
    """Page by page; what the view asks before each is when others come in between."""
    ledger.views.drop_all()
    stands = ViewKeeper._stands_at_head
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ViewKeeper, "_stands_at_head", lambda it: meanwhile(0, 0) or stands(it))
        ledger.views.bring_forward()
    return {one["position"] for one in ledger.views.status()} == {ledger.head().size}


@pytest.mark.parametrize("long", [walked, rebuilt, brought_forward])
def test_an_epoch_that_begins_while_a_long_answer_goes_on_is_learned_on_the_way(
    hosts, monkeypatch, long
):
    """Two rotations, so that the first page knows neither the month nor the keys of the last."""
    rotating, _ = hosts
    monkeypatch.setattr(projections.streams, "_WALK_PAGE_ROWS", 1)
    monkeypatch.setattr(projections.view, "PAGE_ROWS", 2)
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 2)
    monkeypatch.setattr(ledger.log.pace, "CALM_ROWS", 2)
    running, begun = rotating.open(), []
    for _ in range(8):
        running.retrieve(ALICE, "CRM")

    def meanwhile(done, total):
        if not begun:
            begun.append(True)
            other = rotating.open()
            other._writer._maintainers = ()
            for _ in range(2):
                other.rotate(Acting(), without_backup=True)
                other.retrieve(ALICE, "CRM")
            other.close()

    assert long(running, meanwhile)
    assert begun
    running.close()
    require_whole(rotating)


def test_a_host_that_cannot_know_the_epoch_says_so(hosts):
    """Two rotations behind, with a file of before: the first row that it cannot open is told."""
    rotating, behind = hosts
    running = behind.open()
    for _ in range(2):
        ledger = rotating.open()
        ledger.rotate(Acting(), without_backup=True)
        ledger.retrieve(ALICE, "CRM")
        ledger.close()
    with pytest.raises(KeyUnavailable) as caught:
        running.views.rebuild()
    assert caught.value.code == "key-missing"
    assert [one["outcome"] for one in running.views.accesses.newest()] == ["unreadable", "granted"]
    assert redecide(running._writer.store, running._desk.mapper)["unreadable"]
    running.close()
    require_whole(rotating)
