"""A service records by itself that nobody brought a ticket; its clock goes on, and nobody waits."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ledger.errors import Unavailable
from ledger.tokens.verifier import TokenVerifier
from ledger.usecases import lapses
from ledger.usecases.ticket_office import Tickets
from tests.tools.service.conftest import furnish, running
from tests.tools.service.test_fronts import wait_until
from tests.tools.service.test_watching import ANYWHERE, soon, told
from tests.tools.test_retention import later  # noqa: F401 # a fixture
from tools.service import http_server, seal


@pytest.fixture
def house(prepared_file):
    """In a file, for a server has a clock of its own."""
    return prepared_file(furnish)


@pytest.fixture
def sweeps(monkeypatch):
    """Those that were begun, of which the second comes to nothing; one follows the other."""
    begun, sweep = [], Tickets.sweep

    def counted(self, **asked):
        begun.append(self)
        if len(begun) == 2:
            raise Unavailable("store-unreachable", "The store is not there.")
        return sweep(self, **asked)

    monkeypatch.setattr(Tickets, "sweep", counted)
    monkeypatch.setattr(seal, "SWEEP_S", 0.01)
    return begun


def test_a_service_sweeps_for_as_long_as_it_runs(house, tmp_path, sweeps, later):  # noqa: F811
    """Sealed it waits, whatever fails it goes on, and a ticket lapses once and unasked."""
    with running(house, tmp_path, sealed=True, metrics=ANYWHERE) as service:
        assert sweeps == []
        service.service.seal.open(None)
        service.client().ok("/v1/tickets/issue", {})
        ledger = service.service.seal.counter.ledger
        issued = ledger.head().size
        wait_until(lambda: len(sweeps) > 4)
        assert ledger.head().size == issued
        later(2)
        soon(service, ("credledger_tickets_total", "lapsed"), 1)
        swept = len(sweeps)
        wait_until(lambda: len(sweeps) > swept + 4)
        assert ledger.head().size == issued + 1
    topics = [topic for (topic,) in house.sql("SELECT topic FROM log ORDER BY position")]
    assert topics[-1] == "ticket.lapsed"
    assert topics.count("ticket.lapsed") == 1


def test_what_a_sweep_recorded_before_it_failed_is_counted(
    house,
    tmp_path,
    monkeypatch,
    later,  # noqa: F811
):
    """Its first step stands, whatever becomes of the second; nothing is counted twice."""
    step, steps = lapses.Sweep._step, []

    def failing(self, page, reason):
        steps.append(page)
        if len(steps) > 1:
            raise Unavailable("store-unreachable", "The store is not there.")
        return step(self, page, reason)

    with running(house, tmp_path, metrics=ANYWHERE) as service:
        for _ in range(3):
            service.client().ok("/v1/tickets/issue", {})
        monkeypatch.setattr(lapses, "LAPSES_TOGETHER", 2)
        monkeypatch.setattr(lapses.Sweep, "_step", failing)
        later(2)
        seal_of = service.service.seal
        monkeypatch.setattr(seal, "SWEEP_S", 0.01)
        begun = asyncio.run_coroutine_threadsafe(seal_of.sweep(), service.loop)
        soon(service, ("credledger_tickets_total", "lapsed"), 2)
        wait_until(lambda: len(steps) > 4)
        assert told(service)["credledger_tickets_total", "lapsed"] == 2
        begun.cancel()
    topics = [topic for (topic,) in house.sql("SELECT topic FROM log ORDER BY position")]
    assert topics.count("ticket.lapsed") == 2


def test_what_nobody_foresaw_ends_one_round_and_not_all_of_them(house, tmp_path, monkeypatch):
    """A sweep, a summary of refused tokens, a look at who is trusted; each is told in the log."""
    begun = Counter()

    def failing(name):
        def work(*_, **__):
            begun[name] += 1
            raise RuntimeError("canary-8813")

        return work

    monkeypatch.setattr(seal, "SWEEP_S", 0.01)
    monkeypatch.setattr(seal, "SETTLE_S", 0.01)
    monkeypatch.setattr(seal, "LOOK_AHEAD_S", 0.01)
    monkeypatch.setattr(Tickets, "sweep", failing("sweep"))
    monkeypatch.setattr(TokenVerifier, "settle", failing("settle"))
    monkeypatch.setattr(TokenVerifier, "look_ahead", failing("look_ahead"))
    with running(house, tmp_path) as service:
        wait_until(lambda: all(begun[name] > 2 for name in ("sweep", "settle", "look_ahead")))
        # Nor does one of the look at connections, without which nobody is late.
        monkeypatch.setattr(http_server, "close_unread", failing("heads"))
        wait_until(lambda: begun["heads"] > 1)
        monkeypatch.undo()
        assert service.client().ok("/v1/credentials/get", {"application": "payroll"})
        log = service.logged()
    assert "RuntimeError" in log
    assert "canary" not in log
