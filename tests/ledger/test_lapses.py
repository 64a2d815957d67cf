"""Tickets that nobody brings: the end of each is recorded once, by whoever sweeps first."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from ledger.aggregates.tickets import CLOCKS_APART_US
from ledger.usecases import lapses
from projections.redecide import redecide
from tests.ledger.test_tickets import (
    ALICE,
    BOB,
    DAY_US,
    OPERATOR,
    PORTAL,
    SECOND_US,
    Standing,
    fill,
    issue,
    recorded,
    refused,
    topics,
)

TIMEOUT_US = 120 * SECOND_US


@pytest.fixture
def house(prepared):
    made = prepared(fill)
    made.clock = Standing(made.clock())
    return made


@pytest.fixture
def frozen(house):
    return house.clock


@pytest.fixture
def in_file(prepared_file):
    """In a file, where a host whose clock is far from the server's may open the ledger."""
    made = prepared_file(fill)
    made.clock = Standing(made.clock())
    return made


KILLED = """
import contextlib, itertools, os, signal, sys
from pathlib import Path
from ledger.usecases import lapses
from tests.conftest import House
from tests.ledger.test_tickets import Standing

store, keyring, now, at, number = sys.argv[1:]
lapses.LAPSES_TOGETHER = 4
swept = House(Path(store), Path(keyring), Standing(int(now))).open()
commits = itertools.count(1)

@contextlib.contextmanager
def killed(_):
    mine = next(commits)
    for moment in ("begin", "end"):
        if (at, int(number)) == (moment, mine):
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "begin":
            yield

swept.watch_commits(killed)
swept.tickets.sweep()
"""
"""A process of its own, and no copy of this one, which has threads."""


def lapsed(house, ledger):
    """The events that tell of a ticket's lapse."""
    positions = house.sql("SELECT position FROM log WHERE topic = 'ticket.lapsed'")
    return [recorded(ledger, one).event for (one,) in sorted(positions)]


def test_a_ticket_that_nobody_brings_is_recorded_once(house, ledger, frozen):
    """Five minutes after its time, naming whose it was and who could have brought it."""
    issued = ledger.tickets.issue(ALICE, "Mail")
    frozen.now += TIMEOUT_US + CLOCKS_APART_US - 1
    assert ledger.tickets.sweep() == 0
    frozen.now += 1
    assert ledger.tickets.sweep(reason="by the clock") == 1
    (event,) = lapsed(house, ledger)
    assert (event.user, event.application, event.issued) == ("user:alice", "Mail", issued.position)
    assert event.redeemers == ("group:portals", "service:portal")
    assert ledger.tickets.sweep() == 0
    position = ledger.head().size
    frozen.now += DAY_US
    assert (ledger.tickets.sweep(), ledger.head().size) == (0, position)
    assert recorded(ledger, position).reason == "by the clock"


def test_one_for_any_application_lapses_after_a_day(house, ledger, frozen):
    """No timeout is longer; nobody in particular could have brought it."""
    issue(ledger)
    frozen.now += DAY_US + CLOCKS_APART_US - 1
    assert ledger.tickets.sweep() == 0
    frozen.now += 1
    assert ledger.tickets.sweep() == 1
    (event,) = lapsed(house, ledger)
    assert (event.application, event.redeemers) == (None, ())


def test_what_has_ended_does_not_lapse(house, ledger, frozen):
    """Redeemed, or brought too late; and who comes after a lapse is refused by name."""
    used, late, never = (issue(ledger, ALICE, "Mail") for _ in range(3))
    ledger.tickets.redeem(PORTAL, "Mail", used)
    frozen.now += TIMEOUT_US
    refused(ledger, PORTAL, "Mail", late)
    frozen.now += CLOCKS_APART_US
    assert ledger.tickets.sweep() == 1
    record = refused(ledger, PORTAL, "Mail", never)
    assert (record.event.detail, record.event.on_behalf_of) == ("ticket-expired", "user:alice")
    assert topics(house)[-2] == "ticket.refused"
    store, mapper = ledger._writer.store, ledger._desk.mapper
    assert redecide(store, mapper)["wrong"] == []


def test_a_clock_that_goes_back_lets_nothing_lapse_early_or_twice(house, ledger, frozen):
    """Before its issue nothing is over; after the lapse it has ended, whatever the clock says."""
    issue(ledger, ALICE, "Mail")
    frozen.now -= 10 * DAY_US
    assert ledger.tickets.sweep() == 0
    frozen.now += 10 * DAY_US + TIMEOUT_US + CLOCKS_APART_US
    assert ledger.tickets.sweep() == 1
    frozen.now -= 10 * DAY_US
    assert ledger.tickets.sweep() == 0
    assert topics(house).count("ticket.lapsed") == 1


def test_two_that_sweep_at_once_record_each_once(house, ledger, frozen):
    """Two processes' worth of writers, each with a whole sweep of its own."""
    for _ in range(30):
        issue(ledger, ALICE, "Mail")
    other = house.open(remember=False)
    frozen.now += TIMEOUT_US + CLOCKS_APART_US
    counts, begin = [], threading.Barrier(2)

    def sweep(one):
        begin.wait()
        counts.append(one.tickets.sweep())

    threads = [threading.Thread(target=sweep, args=(one,)) for one in (ledger, other)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(counts) == 30 == topics(house).count("ticket.lapsed")
    other.close()


def test_a_sweep_goes_in_steps_to_its_end(house, ledger, frozen, monkeypatch):
    """Each a commit of its own, so that nobody waits long for the lock."""
    monkeypatch.setattr(lapses, "LAPSES_TOGETHER", 4)
    for _ in range(10):
        issue(ledger, BOB, "Mail")
    before = len(house.sql("SELECT size FROM commits"))
    frozen.now += TIMEOUT_US + CLOCKS_APART_US
    assert ledger.tickets.sweep() == 10
    assert len(house.sql("SELECT size FROM commits")) == before + 3


@pytest.mark.parametrize("at", ["begin", "end"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_killed_sweep_is_gone_on_with_by_the_next(in_file, monkeypatch, at, number):
    """Killed before a commit, or behind it untold: no lapse is lost, and none is twice."""
    house, frozen = in_file, in_file.clock
    monkeypatch.setattr(lapses, "LAPSES_TOGETHER", 4)
    begun = house.open()
    for _ in range(10):
        issue(begun, ALICE, "Mail")
    begun.close()
    frozen.now += TIMEOUT_US + CLOCKS_APART_US
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, house.store_path, house.keyring_path]
        + [str(told) for told in (frozen.now, at, number)],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    done = 4 * (number - (at == "begin"))
    assert topics(house).count("ticket.lapsed") == done
    again = house.open()
    assert again.tickets.sweep() == 10 - done
    assert topics(house).count("ticket.lapsed") == 10
    again.close()


def test_who_works_on_tickets_sweeps_by_the_way(house, ledger, frozen):
    """Behind what was asked for, at most once a minute."""
    issue(ledger, ALICE, "Mail")
    frozen.now += TIMEOUT_US + CLOCKS_APART_US
    issue(ledger, BOB, "Mail")
    ledger.close()
    assert topics(house)[-2:] == ["ticket.issued", "ticket.lapsed"]


def test_a_host_without_memory_finds_what_others_let_go(in_file):
    """Its walk through the log finds every ticket that nobody ended."""
    house, frozen, ledger = in_file, in_file.clock, in_file.open()
    issue(ledger, ALICE, "Mail")
    frozen.now += 3 * DAY_US
    ledger.retrieve(ALICE, "Mail")
    ledger.close()
    house.keyring_path.with_name(f"{house.keyring_path.name}.memory").unlink()
    again = house.open()
    assert again.tickets.sweep() == 1
    again.close()


def test_a_host_keeps_a_ticket_that_nobody_ended(in_file):
    """However long nobody works on tickets, a month here, its lapse is recorded then."""
    house, frozen, ledger = in_file, in_file.clock, in_file.open()
    issue(ledger, ALICE, "Mail")
    frozen.now += 30 * DAY_US
    ledger.retrieve(ALICE, "Mail")
    ledger.close()
    again = house.open()
    assert again.tickets.sweep() == 1
    again.close()


def test_of_an_erased_issue_nothing_lapses(house, ledger, frozen):
    """Nobody knows any more whose it was."""
    issue(ledger, ALICE, "Mail")
    erased_month(ledger, frozen)
    assert ledger.tickets.sweep() == 0
    assert "ticket.lapsed" not in topics(house)


def erased_month(ledger, frozen):
    ledger.retention.set_policy(OPERATOR, 31)
    for _ in range(3):
        frozen.now += 30 * DAY_US
        ledger.retrieve(ALICE, "Mail")
    assert ledger.retention.apply(OPERATOR).until
