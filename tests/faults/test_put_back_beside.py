"""A process that runs while an older log is put back beside it, and an operator accepts that one.

It goes on once that log is longer than the one it had followed. Nothing of the other may be left in
it by then: neither what it has folded, nor where its own records stood, nor how keys are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ledger.errors import LedgerError
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.epochs import period_after, period_of, period_start
from ledger.sealing.slots import OPERATOR, new_passphrase
from ledger.usecases.acting import Acting
from projections.redecide import redecide
from tests.conftest import CHEAP
from tests.faults.test_hosts_memory import put_back, remembered, size_of
from tests.faults.test_keys_destroyed_elsewhere import ANN, accept, read, values

ROWS = 40
"""So many make the log that is gone on with longer than the other one."""


def working(house):
    """A process that has set something."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ANN, values("first"))
    return ledger


@pytest.fixture
def running(house):
    """One on each kind of store."""
    return working(house)


def grow(house, application):
    """Another process goes on, until the log is longer than it was."""
    ledger = house.open()
    if application != "CRM":
        ledger.create_application(Acting(), application, kind="individual")
    for number in range(ROWS):
        ledger.grant(Acting(), application, "administrator", f"user:a{number}")
    ledger.close()


def add_slot(house, label):
    """Another process adds an operator's slot."""
    ledger = house.open()
    holding = new_passphrase(f"{label} planets orbit quietly")
    ledger.add_slot(Acting(), label=label, opens=OPERATOR, holding=holding, cost=CHEAP)
    ledger.close()


def require_whole(house):
    """The log is one that anybody can verify, and decide again."""
    report = verify_log(house.store())
    assert report.ok, [check for check in report.checks if not check.ok]
    ledger = house.open()
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    ledger.close()


def test_its_own_records_begin_a_stream_of_their_own(house, running):
    """The stream of its records has no rows in the log of now, which would lack some for ever."""
    size = size_of(house)
    for _ in range(3):
        read(running)
    put_back(house, size)
    accept(house)
    grow(house, "Other")
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_what_it_has_folded_of_the_other_log_is_folded_anew(house, running):
    """Of an application that both logs have changed, each otherwise."""
    size = size_of(house)
    running.grant(Acting(), "CRM", "administrator", "user:other")
    assert read(running) == "first"
    put_back(house, size)
    accept(house)
    grow(house, "CRM")
    assert read(running) == "first"
    assert "user:other" not in map(str, running.application("CRM").administrators)
    running.close()
    require_whole(house)


def test_epochs_that_both_logs_have_started_are_followed_anew(house, running):
    """The stream of keys is longer in the log of now than in the other."""
    size = size_of(house)
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    other.close()
    assert running.status().epoch == 2
    put_back(house, size)
    accept(house)
    other = house.open()
    for _ in range(2):
        other.rotate(Acting(), without_backup=True)
    other.close()
    grow(house, "Other")
    assert read(running) == "first"
    assert running.status().epoch == 3
    running.close()
    require_whole(house)


def test_months_of_an_epoch_are_counted_from_the_one_in_which_it_began_now(sqlite_house):
    """What it made of the same keys before is of another month."""
    house, running = sqlite_house, working(sqlite_house)
    size, began = size_of(house), period_of(house.clock())
    running.rotate(Acting(), without_backup=True)
    house.clock.offset_us += period_start(period_after(began, 1)) - house.clock() + 1_000_000
    assert read(running) == "first"
    put_back(house, size)
    accept(house)
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    other.close()
    grow(house, "Other")
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_it_tells_the_hosts_memory_nothing_of_the_other_log(house, running):
    """It has committed something that it did not keep there yet, and ends only now."""
    size = size_of(house)
    for name in ("One", "Two"):  # the memory is written once a second
        running.create_application(Acting(), name, kind="individual")
    put_back(house, size)
    accept(house)
    grow(house, "Two")
    seen = remembered(house)
    running.close()
    assert remembered(house) == seen
    require_whole(house)


def test_nor_does_it_where_the_log_of_now_is_the_shorter_one(house, running):
    """It has seen the memory of that log by then, and cannot go on from it."""
    running._writer._remember(always=True)
    size = size_of(house)
    for name in ("One", "Two", "Three", "Four", "Five"):
        running.create_application(Acting(), name, kind="individual")
    put_back(house, size)
    accept(house)
    assert size_of(house) < running._writer.head.size
    seen = remembered(house)
    with pytest.raises(LedgerError) as caught:
        running.status()
    assert caught.value.code in {"rolled-back", "forked", "memory-replaced"}
    running.close()
    assert remembered(house) == seen
    ledger = house.open()
    ledger.create_application(Acting(), "Two", kind="individual")
    ledger.close()
    require_whole(house)


def test_its_receipts_hold_though_as_many_signers_are_others(house, running):
    """Each log got one more after they had parted."""
    size = size_of(house)
    add_slot(house, "carol")
    position = running.retrieve(Caller(ANN), "CRM").position
    assert running.receipt(position).fields.position == position
    put_back(house, size)
    house.sql(f"DELETE FROM signers WHERE from_size >= {size}")
    accept(house)
    add_slot(house, "dave")
    grow(house, "Other")
    position = running.retrieve(Caller(ANN), "CRM").position
    assert running.receipt(position).fields.position == position
    running.close()
    require_whole(house)


def test_what_it_says_once_it_says_in_the_log_of_now_as_well(house, running):
    """As that commits which wait for no standby were accepted."""
    size = size_of(house)
    said = []

    @dataclass(frozen=True)
    class Say:
        def decide(self, transaction):
            said.append(transaction.next_position)
            return True

    running._writer.record_along(Say())
    for _ in range(2):
        read(running)
    assert len(said) == 1
    put_back(house, size)
    accept(house)
    grow(house, "Other")
    for _ in range(2):
        read(running)
    assert len(said) == 2
    running.close()
