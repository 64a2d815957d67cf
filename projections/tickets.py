"""Tickets as the log tells them, for as long as anything can become of one.

What is held is those of the last day, since no ticket lives longer by the times that the log itself
records, and of older ones those that have not ended: somebody may still come too late with one, or
record that nobody came. What has ended before that is *forgotten*: whoever came with it later was
rightly refused, and it ends no second time. So as much is held as is issued in a day, and as sweeps
leave behind.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.aggregates.application import TICKET_TIMEOUT_S_MAX
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.tickets import (
    Redemption,
    TicketIssued,
    TicketLapsed,
    TicketState,
    fold_ticket,
)

_LIFE_MAX_US = TICKET_TIMEOUT_S_MAX * 1_000_000
_LET_GO_US = 2 * _LIFE_MAX_US
"""So long after its issue hosts of before there were sweeps forgot a ticket that had not ended;
others do after 400 days."""


class Attempt(NamedTuple):
    """An attempt to redeem a ticket, and the ticket as it was before."""

    recorded: Recorded
    event: Redemption
    ticket: TicketState | None
    """None too where a host did not know an open one, for it may have let go of it."""


class Tickets:
    """The tickets of which something may still become where the log has been read to."""

    def __init__(self) -> None:
        self.forgotten = 0
        """Up to this position an issue whose ticket is not held is that of one that has ended."""
        self._known: dict[bytes, TicketState] = {}
        self._unbrought: dict[bytes, TicketState] = {}
        """Those of more than a day before that have not ended."""
        self._closed: set[int] = set()

    def see(self, recorded: Recorded) -> None:
        """Fold one event of a ticket."""
        self._forget(recorded.recorded_at)
        match recorded.event:
            case (
                TicketIssued(ticket=digest)
                | TicketLapsed(ticket=digest)
                | Redemption(ticket=bytes() as digest)
            ):
                state = fold_ticket(self.known(digest), recorded)
                if state is None:
                    return
                if digest not in self._unbrought:
                    self._known[digest] = state
                elif state.ended is not None:
                    del self._unbrought[digest]
                    self.forgotten = max(self.forgotten, state.position)

    def close(self, position: int) -> None:
        """What was issued at this position cannot be read."""
        self._closed.add(position)

    def before(self, recorded: Recorded, event: Redemption) -> Attempt:
        """An attempt that is about to be folded."""
        known = None if event.ticket is None else self.known(event.ticket)
        if (
            known is not None
            and event.issued is None
            and recorded.recorded_at - known.recorded_at >= _LET_GO_US
        ):
            known = None
        return Attempt(recorded, event, known)

    def known(self, digest: bytes) -> TicketState | None:
        """A ticket that has not ended, or was issued within the last day."""
        return self._known.get(digest) or self._unbrought.get(digest)

    def is_closed(self, issued: int) -> bool:
        """Whether the issue at this position cannot be read."""
        return issued in self._closed

    def _forget(self, now: int) -> None:
        while self._known:
            digest, oldest = next(iter(self._known.items()))
            if now - oldest.recorded_at < _LIFE_MAX_US:
                return
            del self._known[digest]
            if oldest.ended is None:
                self._unbrought[digest] = oldest
            else:
                self.forgotten = max(self.forgotten, oldest.position)
