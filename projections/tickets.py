"""Tickets as the log tells them, for as long as one can live.

What is held is those of the last day, not all that were ever issued: no ticket lives longer, by the
times that the log itself records. What was issued before that is *forgotten*, and whoever came with
it later was rightly refused.
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


class Attempt(NamedTuple):
    """An attempt to redeem a ticket, and the ticket as it was before."""

    recorded: Recorded
    event: Redemption
    ticket: TicketState | None


class Tickets:
    """The tickets that may still be good where the log has been read to."""

    def __init__(self) -> None:
        self.forgotten = 0
        """The position of the last issue that is not held any more."""
        self._known: dict[bytes, TicketState] = {}
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
                state = fold_ticket(self._known.get(digest), recorded)
                if state is not None:
                    self._known[digest] = state

    def close(self, position: int) -> None:
        """What was issued at this position cannot be read."""
        self._closed.add(position)

    def before(self, recorded: Recorded, event: Redemption) -> Attempt:
        """An attempt that is about to be folded."""
        known = None if event.ticket is None else self._known.get(event.ticket)
        return Attempt(recorded, event, known)

    def known(self, digest: bytes) -> TicketState | None:
        """A ticket that may still be good, or was within the last day."""
        return self._known.get(digest)

    def is_closed(self, issued: int) -> bool:
        """Whether the issue at this position cannot be read."""
        return issued in self._closed

    def _forget(self, now: int) -> None:
        while self._known:
            digest, oldest = next(iter(self._known.items()))
            if now - oldest.recorded_at < _LIFE_MAX_US:
                return
            del self._known[digest]
            self.forgotten = max(self.forgotten, oldest.position)
