"""The end of tickets that nobody brought, recorded by sweeps.

A ticket that is redeemed, or brought too late, has a record of that. One that nobody brings has
none unless somebody looks, so whoever works on tickets looks: by the way, behind each issue and
each redemption, at most once a minute and at a bounded number of them; and whole, by a service
every half a minute and by `credledger ticket sweep`.

    the host's memory ─▶ tickets that nobody ended ─▶ over for sure? ─▶ lock, look again ─▶ lapsed
                                                        no: nothing is written

What may have lapsed is known from the memory of the host, which holds each ticket's stream until it
has ended. That it has is decided under the lock, from the ticket's own stream, where the lapse is
appended: so each is recorded once, whoever sweeps, and a sweep that is killed has done some of its
work, and the next one the rest.

Where the issue was erased nobody knows any more whose it was, and nothing is recorded. Nothing is
either of tickets that hosts before this one have let go of.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

from ledger.aggregates.tickets import CLOCKS_APART_US, TicketLapsed, TicketState, fold_ticket
from ledger.errors import KeyUnavailable, LedgerError, Tampered
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.usecases.desk import Desk
from ledger.usecases.retention import retention_of

LAPSES_TOGETHER = 200
"""So many at most are recorded in one commit."""
BY_THE_WAY_MAX = 500
"""So many tickets at most are looked at by who came for something else."""
BY_THE_WAY_US = 60_000_000
_DUE_KEPT_MAX = 50_000


class RecordLapses(msgspec.Struct, frozen=True):
    """Tickets that nobody brought."""

    desk: Desk
    streams: tuple[bytes, ...]
    reason: str = ""

    def decide(self, transaction: Transaction) -> int:
        """Append the end of those whose time is over; how many that were."""
        count = 0
        for stream in self.streams:
            state = open_ticket(self.desk, transaction, stream)
            if state is not None and is_lapsed(transaction, state):
                lapsed = self._lapsed(transaction, state)
                transaction.append(stream, lapsed, self.desk.slot, self.reason)
                count += 1
        return count

    def _lapsed(self, transaction: Transaction, state: TicketState) -> TicketLapsed:
        named, application = state.application, None
        if named is not None:
            application = self.desk.application(transaction, named)
        redeemers: tuple[str, ...] = ()
        if application is not None and application.creation == state.creation:
            redeemers = tuple(sorted(map(str, application.ticket_redeemers)))
        return TicketLapsed(
            state.digest, state.user, named, redeemers, state.position, transaction.clock_reading
        )


class Sweep:
    """The sweeps of one process; any thread may ask."""

    def __init__(self, desk: Desk, writer: Writer, clock: Callable[[], int]) -> None:
        self._desk = desk
        self._writer = writer
        self._clock = clock
        self._guard = threading.Lock()
        self._due: dict[bytes, int] = {}
        """Before when a ticket that was looked at need not be looked at again."""
        self._by_the_way_at: int | None = None

    def whole(self, reason: str = "", tell: Callable[[int], object] | None = None) -> int:
        """Record the end of every ticket that has lapsed; how many that were, durable on return.

        In steps of a commit each; where nothing has lapsed nothing is written. Of each step `tell`
        hears how many it recorded, for a later one may fail, and those stand all the same.
        """
        self._writer.catch_up()
        streams = self._open()
        count = 0
        while page := tuple(islice(streams, LAPSES_TOGETHER)):
            recorded = self._step(page, reason)
            if tell is not None:
                tell(recorded)
            count += recorded
        return count

    def by_the_way(self) -> None:
        """Have a few looked at and recorded, without waiting for that; seldom, and never failing.

        For who has just worked on tickets and has what he came for.
        """
        now = self._clock()
        with self._guard:
            last = self._by_the_way_at
            if last is not None and abs(now - last) < BY_THE_WAY_US:
                return
            self._by_the_way_at = now
        # Whatever is wrong, it is for the next request to hear of: this one has been answered.
        with contextlib.suppress(LedgerError):
            page = tuple(islice(self._open(), BY_THE_WAY_MAX))
            if page:
                self._writer.submit(RecordLapses(self._desk, page))

    def _step(self, page: tuple[bytes, ...], reason: str) -> int:
        lapsed = self._writer.look(lambda view: tuple(self._lapsed_among(view, page)))
        if not lapsed:
            return 0
        return self._writer.run(RecordLapses(self._desk, lapsed, reason))

    def _lapsed_among(self, view: Transaction, page: tuple[bytes, ...]) -> Iterator[bytes]:
        for stream in page:
            state = open_ticket(self._desk, view, stream)
            if state is None:
                continue
            if is_lapsed(view, state):
                self._due.pop(stream, None)
                yield stream
            else:
                if len(self._due) >= _DUE_KEPT_MAX:
                    self._due.clear()
                self._due[stream] = state.lapses_at

    def _open(self) -> Iterator[bytes]:
        """Those that may have lapsed by now: none is good for less than no time at all."""
        now = max(self._clock(), self._writer.head.recorded_at)
        due = self._due
        streams = self._writer.open_tickets(now - CLOCKS_APART_US)
        return (stream for stream in streams if due.get(stream, 0) <= now)


def is_lapsed(transaction: Transaction, state: TicketState) -> bool:
    """Whether a ticket would be recorded as lapsed by the next event."""
    return state.is_lapsed(transaction.clock_reading, transaction.recorded_at())


def open_ticket(desk: Desk, transaction: Transaction, stream: bytes) -> TicketState | None:
    """The ticket that a stream tells of; None where it has ended, or its issue was erased."""
    try:
        state = transaction.load(stream, fold_ticket)
    except KeyUnavailable as error:
        if error.code != "key-destroyed":
            raise
        return None
    if state is None or state.ended is not None:
        return None
    if retention_of(desk, transaction).until >= state.position:
        return None
    if desk.streams.ticket(state.digest) != stream:
        raise Tampered("wrong-stream", "A ticket's stream tells of another one.")
    return state
