"""Where tickets are issued and redeemed; durable before a ticket or a value is handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.sealing.tickets import new_ticket, parse_ticket
from ledger.usecases.acting import checked_reason
from ledger.usecases.decisions import asked_for
from ledger.usecases.desk import Desk
from ledger.usecases.lapses import Sweep
from ledger.usecases.outcomes import IssuedTicket, Retrieved
from ledger.usecases.retrieval import Opener
from ledger.usecases.tickets import IssueTicket, RedeemTicket, handed_over


class Tickets:
    """The tickets of one ledger."""

    def __init__(
        self, desk: Desk, writer: Writer, opener: Opener, clock: Callable[[], int]
    ) -> None:
        """Appends by this writer."""
        self._desk = desk
        self._writer = writer
        self._opener = opener
        self._sweep = Sweep(desk, writer, clock)

    def issue(
        self, caller: Caller, application: str | None = None, *, reason: str = ""
    ) -> IssuedTicket:
        """A ticket for the caller, good for one application or for any; recorded durably.

        `access-denied`, with the record's position, where the caller gets none.
        """
        request = self._issue(caller, application, reason)
        issued = self._writer.run(request)
        self._sweep.by_the_way()
        return handed_over(issued, request.ticket)

    async def issue_async(
        self, caller: Caller, application: str | None = None, *, reason: str = ""
    ) -> IssuedTicket:
        """The same for a coroutine; who is cancelled gets none, though one may be recorded."""
        request = self._issue(caller, application, reason)
        return handed_over(await self._writer.run_async(request), request.ticket)

    def redeem(
        self,
        caller: Caller,
        application: str,
        ticket: str,
        *,
        fields: Sequence[str] | None = None,
        reason: str = "",
    ) -> Retrieved:
        """What the user of a ticket would get, given to a redeemer, once.

        Recorded durably, and the ticket ended, before anything is opened. Raises as `retrieve`:
        `access-denied` alike for a ticket that is unknown, used, too old or of another application.
        """
        request = self._redemption(caller, application, ticket, fields, reason)
        release = self._writer.run(request)
        self._sweep.by_the_way()
        return self._opener.open(release)

    async def redeem_async(
        self,
        caller: Caller,
        application: str,
        ticket: str,
        *,
        fields: Sequence[str] | None = None,
        reason: str = "",
    ) -> Retrieved:
        """The same for a coroutine; who is cancelled gets nothing, though the ticket may end."""
        request = self._redemption(caller, application, ticket, fields, reason)
        return self._opener.open(await self._writer.run_async(request))

    def sweep(self, *, reason: str = "", tell: Callable[[int], object] | None = None) -> int:
        """Record the end of tickets that nobody brought; how many, durable on return.

        `tell` hears of each step of it how many that were, of which no failure behind it takes any.
        """
        return self._sweep.whole(checked_reason(reason), tell)

    def _issue(self, caller: Caller, application: str | None, reason: str) -> IssueTicket:
        ticket = new_ticket(self._desk.random)
        return IssueTicket(self._desk, caller, application, ticket, checked_reason(reason))

    def _redemption(
        self,
        caller: Caller,
        application: str,
        ticket: str,
        fields: Sequence[str] | None,
        reason: str,
    ) -> RedeemTicket:
        asked = asked_for(caller, application, restricted=False, fields=fields)
        return RedeemTicket(self._desk, asked, parse_ticket(ticket), checked_reason(reason))
