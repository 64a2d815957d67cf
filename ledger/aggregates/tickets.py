"""Tickets: what is recorded of their issue and of every attempt to redeem one.

A user has a ticket issued and hands it to a service; the service, if it is a redeemer of the
application, turns it into the user's credentials, once, before the application's timeout.

    ticket.issued ─▶ ticket.redeemed
                  ├▶ ticket.expired         noticed by the first who came too late
                  └▶ ticket.lapsed          noticed by a sweep: nobody had come

These four lie in a stream of the ticket's own, so that it ends by the concurrency of that stream:
of two redemptions one comes second and finds it ended. Hosts remember where the streams of tickets
stand as they do of policy, though their rows are `access`, for a row that ends a ticket must not be
taken away unseen. `ticket.refused`, a redemption that came to nothing and ends nothing, and
`ticket.not-issued` lie in the access stream of the process.

Right behind each `ticket.redeemed`, `ticket.expired` and `ticket.refused`, in the same transaction,
stands the record of the access that was granted or denied; the two name the same parties.

How old a ticket is, is told twice, and the greater age counts: by the clock's readings at issue and
redemption, and by the times recorded in the log. So a clock that was set back revives nothing that
was over by the log. A clock more than five minutes before the issue is believed in nothing.

A ticket that nobody brings ends by a sweep (`ledger.usecases.lapses`), five minutes after the last
moment at which any application could have taken it: so no clock that runs ahead by what is allowed
ends one that another host's would still have taken.

Of the ticket itself there is a keyed digest only; see `ledger.sealing.tickets`.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.application import TICKET_TIMEOUT_S_MAX
from ledger.aggregates.event import Event, event
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.discreet import Discreet
from ledger.replacing import replace

CLOCKS_APART_US = 300 * 1_000_000
"""How far the clocks of two hosts of one ledger may be apart."""
_SECOND_US = 1_000_000


class TicketEvent(Event, frozen=True):
    """Something about a ticket."""


@event
class TicketIssued(TicketEvent, frozen=True):
    """A user has a ticket."""

    TOPIC: ClassVar[str] = "ticket.issued"
    ticket: bytes
    """Its digest."""
    user: str
    claims: tuple[str, ...]
    """All that the user presented, the user's own claim first; what a redeemer gets rests on it."""
    application: str | None
    """The only one it is good for, as it shows its ID; None for any."""
    creation: int | None
    """Of that application."""
    issued_at: int
    """The clock's reading, microseconds UTC."""
    expires_at: int | None
    """Microseconds UTC; None where each application's timeout decides."""


@event
class TicketNotIssued(TicketEvent, frozen=True):
    """A user asked for a ticket and was refused."""

    TOPIC: ClassVar[str] = "ticket.not-issued"
    user: str
    claims: tuple[str, ...]
    application: str | None
    """As it was asked for, or as it shows its ID."""
    detail: str
    """Why, as a stable code."""


class Redemption(TicketEvent, frozen=True):
    """An attempt to redeem a ticket; the access record right behind it has the same `detail`."""

    ticket: bytes | None
    """The digest of what was handed over; None if that cannot be a ticket at all."""
    application: str
    caller: str
    """Who would redeem it."""
    claims: tuple[str, ...]
    """All that the caller presented, the caller's own claim first."""
    on_behalf_of: str | None
    """The user it was issued to; None if no such ticket is known."""
    issued: int | None
    """Where it was issued."""
    reading: int
    """The clock's, microseconds UTC."""
    behalf: str | None
    """The claim by which the user may read, where that was asked."""
    detail: str
    """Why, as a stable code."""


@event
class TicketRedeemed(Redemption, frozen=True):
    """A redeemer gets what the user would get; the ticket has ended."""

    TOPIC: ClassVar[str] = "ticket.redeemed"


@event
class TicketExpired(Redemption, frozen=True):
    """A redeemer came too late; the ticket has ended."""

    TOPIC: ClassVar[str] = "ticket.expired"


@event
class TicketRefused(Redemption, frozen=True):
    """Nothing came of it, and the ticket, if there is one, is what it was."""

    TOPIC: ClassVar[str] = "ticket.refused"


@event
class TicketLapsed(TicketEvent, frozen=True):
    """Nobody brought it while it was good, and nobody can any more; the ticket has ended."""

    TOPIC: ClassVar[str] = "ticket.lapsed"
    ticket: bytes
    """Its digest."""
    user: str
    """Whom it was issued to."""
    application: str | None
    """The only one it was good for, as in its issue; None for any."""
    redeemers: tuple[str, ...]
    """Who could have brought it there, when its end was noticed; none where it was for any."""
    issued: int
    """Where it was issued."""
    reading: int
    """The clock's, microseconds UTC."""


ONE_TIME_TOPICS = frozenset(
    {TicketIssued.TOPIC, TicketRedeemed.TOPIC, TicketExpired.TOPIC, TicketLapsed.TOPIC}
)
"""Of the events in tickets' own streams."""


class TicketState(Discreet, msgspec.Struct, frozen=True):
    """A ticket as its stream tells it."""

    SHOWN: ClassVar = (
        "user",
        "claims",
        "token",
        "application",
        "creation",
        "issued_at",
        "expires_at",
        "position",
        "recorded_at",
        "ended",
    )

    digest: bytes
    user: str
    claims: tuple[str, ...]
    token: PresentedToken | None
    """The token that spoke for the user when it was issued."""
    application: str | None
    creation: int | None
    issued_at: int
    expires_at: int | None
    position: int
    """Where it was issued."""
    recorded_at: int
    """When that was recorded."""
    ended: int | None = None
    """Where it was redeemed, or noticed to have expired or lapsed."""

    def is_over(self, timeout_s: int, reading: int, recorded_at: int) -> bool:
        """Whether its time is over: by the clock's reading, or by the time of the next record.

        The timeout is the application's at present; what was told at issue is never exceeded.
        """
        life_us = timeout_s * _SECOND_US
        if self.expires_at is not None:
            life_us = min(life_us, self.expires_at - self.issued_at)
        age_us = max(reading - self.issued_at, recorded_at - self.recorded_at)
        return age_us >= life_us or reading < self.issued_at - CLOCKS_APART_US

    def is_lapsed(self, reading: int, recorded_at: int) -> bool:
        """Whether its time is over for every application, whatever is set there, and five minutes.

        A clock before the issue lets nothing lapse; that is for the recorded time to say.
        """
        age_us = max(reading - self.issued_at, recorded_at - self.recorded_at)
        return age_us >= self._life_max_us + CLOCKS_APART_US

    @property
    def lapses_at(self) -> int:
        """Before this no clock and no recorded time lets it lapse; microseconds UTC."""
        return min(self.issued_at, self.recorded_at) + self._life_max_us + CLOCKS_APART_US

    @property
    def _life_max_us(self) -> int:
        if self.expires_at is None:
            return TICKET_TIMEOUT_S_MAX * _SECOND_US
        return self.expires_at - self.issued_at


def fold_ticket(state: TicketState | None, recorded: Recorded) -> TicketState | None:
    """The ticket after one more event of its stream."""
    match recorded.event:
        case TicketIssued() as issued:
            return TicketState(
                issued.ticket,
                issued.user,
                issued.claims,
                recorded.actor.token,
                issued.application,
                issued.creation,
                issued.issued_at,
                issued.expires_at,
                recorded.position,
                recorded.recorded_at,
            )
        case TicketRedeemed() | TicketExpired() | TicketLapsed() if state is not None:
            return replace(state, ended=recorded.position)
    return state
