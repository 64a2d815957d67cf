"""What an operator accepted on the command line: recorded along with the first thing that is.

Nothing is recorded by the word alone. Whoever only looks, or only tries what would be done, leaves
a log that is not dated by a clock which nobody may have meant to believe.
"""

from __future__ import annotations

import msgspec

from ledger.aggregates.event import Event
from ledger.aggregates.keys import AsyncAccepted, ClockAccepted
from ledger.log.transaction import Transaction
from ledger.log.writer import AHEAD_MAX_US
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk


class RecordClock(msgspec.Struct, frozen=True):
    """The clock was said to be right, and what is recorded now is dated far ahead by it."""

    desk: Desk

    def decide(self, transaction: Transaction) -> bool:
        """Append it where it is so; a clock may jump again, so it is never said for good."""
        if transaction.clock_reading > transaction.head.recorded_at + AHEAD_MAX_US:
            _append(self.desk, transaction, ClockAccepted(transaction.clock_reading))
        return False


class RecordAsync(msgspec.Struct, frozen=True):
    """Commits that wait for no standby were said to do."""

    desk: Desk

    def decide(self, transaction: Transaction) -> bool:
        """Append it; once is enough."""
        _append(self.desk, transaction, AsyncAccepted())
        return True


def _append(desk: Desk, transaction: Transaction, event: Event) -> None:
    transaction.append(desk.streams.keyring(), event, desk.actor(transaction, Acting()))
