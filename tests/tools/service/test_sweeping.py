"""A service records by itself that nobody brought a ticket; its clock goes on, and nobody waits."""

from __future__ import annotations

import pytest

from ledger.errors import Unavailable
from ledger.usecases.ticket_office import Tickets
from tests.tools.service.conftest import furnish, running
from tests.tools.service.test_fronts import wait_until
from tests.tools.service.test_watching import ANYWHERE, soon
from tests.tools.test_retention import later  # noqa: F401 # a fixture
from tools.service import seal


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
