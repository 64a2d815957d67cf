"""Another host has started the next epoch: whoever holds its keys goes on, others write nothing.

Every keyring holds the epoch after the one that the log is in. What a rotation records is recorded
here by hand: one more epoch in the keyring of the host that rotates, then `epoch.started` with the
commitments to the epoch that begins and to the one held ready.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.aggregates.keys import EpochStarted
from ledger.claims import parse_claim
from ledger.errors import KeyUnavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.epochs import new_epoch
from ledger.sealing.keyring import _wrap
from ledger.sealing.keyring_file import update_keyring_file
from ledger.usecases.acting import Acting
from ledger.usecases.founding import committed
from ledger.usecases.retrieval import opened
from ledger.usecases.slots import KeyringEvent
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import unlocked_by_passphrase
from tests.faults.test_hosts_at_once import another_host

ALICE = Caller(parse_claim("user:alice"))


def hold_another(house):
    """One more epoch in the keyring; the event that starts the one it held ready."""
    unlocked = unlocked_by_passphrase(house.keyring_path)
    epochs = (*unlocked.epochs, new_epoch(len(unlocked.epochs) + 1, os.urandom))
    keyring = _wrap(unlocked.keyring, unlocked.root, unlocked.stream_key, epochs)
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
    assert running.views.access(limit=1)[0]["position"] == size + 3
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
