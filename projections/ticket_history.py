"""What became of tickets, read from the log itself: whose each was, who brought it, how it ended.

    issued ─▶ redeemed | expired | lapsed      one row for a ticket, at the position of its issue
    refused                                    one row for an attempt that ended no ticket
    not-issued                                 one row for a user who got none

A ticket belongs to a stretch if its issue or its end lies in it: what was redeemed since yesterday
may have been issued before. It is told as it stands at the end of the stretch: one that ended later
is `issued` there, and so is one whose time is over, until somebody records that.

Rows come by the position of the issue, newest first, so those of tickets that were issued before
the stretch come last. For these the log is walked on below it until each end has found its issue:
by a day where tickets are redeemed, and otherwise by as long as nobody had recorded the end. A page
that goes on behind another may begin there; it walks over what was recorded since as well, for the
ends of its tickets lie there.

The log is walked from its newest row on, so an end is met before its issue and is held until then:
what is held is the tickets that were open at one moment, not those of the whole log. Every row is
checked into its signed head on the way, so no end can be taken out of the answer.

A row whose key is not held tells what stands in clear, and could be of anybody. Of an erased issue
whose end is still readable the end tells; other erased rows are not listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.event import Event
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import Retention
from ledger.aggregates.tickets import (
    Redemption,
    TicketExpired,
    TicketIssued,
    TicketLapsed,
    TicketNotIssued,
    TicketRedeemed,
)
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable
from ledger.identifiers import application_key
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.digests import compared
from projections.documents import time_text
from projections.streams import Walk
from projections.stretch import WHOLE, Stretch, newest_first
from projections.ticket_states import STATES

_PREFIX = "ticket."
_TOPICS = tuple(_PREFIX + state for state in STATES)
_ENDS = frozenset({TicketRedeemed.TOPIC, TicketExpired.TOPIC, TicketLapsed.TOPIC})


class _Row(NamedTuple):
    """An event of a ticket as far as it can be told."""

    position: int
    recorded_at: int
    stream: bytes
    topic: str
    recorded: Recorded | None = None
    """None where it cannot be opened, or was erased."""
    code: str | None = None
    """Why it cannot be opened."""

    @property
    def event(self) -> Event | None:
        """What happened."""
        return None if self.recorded is None else self.recorded.event


class TicketQuestion(msgspec.Struct, frozen=True):
    """Which tickets are asked for; None asks for all."""

    user: str | None = None
    """Whose it was, or who brought it."""
    application: str | None = None
    state: str | None = None
    """One of `STATES`."""

    def fits(self, document: dict[str, Any], *, is_closed: bool) -> bool:
        """Whether a row answers it, or may: of one that `is_closed` not everybody is known."""
        named = document["application"]
        parties = document["user"], document["redeemer"]
        return (
            self.state in {None, document["state"]}
            and (self.user is None or self.user in parties or is_closed)
            and (
                self.application is None
                or (is_closed if named is None else self._is_of_application(named))
            )
        )

    def _is_of_application(self, named: str) -> bool:
        assert self.application is not None
        return compared(named) == application_key(self.application)


def ticket_history(
    store: Store,
    mapper: EventMapper,
    retention: Retention,
    question: TicketQuestion,
    stretch: Stretch = WHOLE,
    after: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Tickets and attempts, newest first; `after` is where a page ended."""
    if question.application is not None:
        application_key(question.application)  # is said before anything is walked over
    ends: dict[bytes, _Row] = {}

    def told(walk: Walk, *, is_before: bool = False) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for row in reversed(_rows(walk, retention)):
            if is_before and row.stream not in ends:
                continue
            if row.topic in _ENDS:
                ends[row.stream] = row
                continue
            end = ends.pop(row.stream, None) if row.topic == TicketIssued.TOPIC else None
            if after is not None and row.position >= after:
                continue
            parts = (row,) if end is None else (row, end)
            if all(part.recorded is None and part.code is None for part in parts):
                continue
            document = ticket_document(row, end)
            if question.fits(document, is_closed=any(part.code is not None for part in parts)):
                found.append(document)
        found.reverse()
        return found

    yield from newest_first(store, mapper, stretch, None, told)
    if stretch.since is not None:
        # What goes on here is over with the issue of the last ticket that ended in the stretch.
        yield from newest_first(
            store,
            mapper,
            Stretch(until=stretch.since - 1),
            None,
            partial(told, is_before=True),
            is_enough=lambda: not ends,
        )


def ticket_document(row: _Row, end: _Row | None) -> dict[str, Any]:
    """What `audit tickets` tells of a ticket with its end, or of an attempt."""
    last = row if end is None else end
    closed = row.code or last.code
    event, recorded = row.event, row.recorded
    return {
        "position": row.position,
        "recorded_at": time_text(row.recorded_at),
        "state": last.topic.removeprefix(_PREFIX),
        "user": _user(event) or _user(last.event),
        "redeemer": _redeemer(last.event),
        "application": _application(last.event) or _application(event),
        "issued": _issued(row),
        "expires_at": _expires_at(event),
        "ended": None if end is None else end.position,
        "ended_at": None if end is None else time_text(end.recorded_at),
        "redeemers": list(last.event.redeemers) if isinstance(last.event, TicketLapsed) else [],
        "authenticated_by": None if recorded is None else recorded.actor.authenticated_by,
        "reason": None if recorded is None else recorded.reason,
        "detail": closed or _detail(last.event),
    }


def _rows(walk: Walk, retention: Retention) -> list[_Row]:
    """The events of tickets in a part of the log, oldest first, whether they can be told or not."""
    found: list[_Row] = []

    def put(
        row: LogRow | Recorded, recorded: Recorded | None = None, code: str | None = None
    ) -> None:
        place = row.position, row.recorded_at, row.stream, row.topic
        found.append(_Row(*place, recorded, code))

    def unreadable(row: LogRow, error: KeyUnavailable) -> None:
        put(row, code=error.code)

    def is_kept(row: LogRow) -> bool:
        is_erased = retention.erasure_of(row.position) is not None
        if is_erased:
            put(row)
        return not is_erased

    for one in walk.events(_TOPICS, unreadable=unreadable, wanted=is_kept):
        put(one, one)
    return found


def _user(event: Event | None) -> str | None:
    match event:
        case TicketIssued() | TicketNotIssued() | TicketLapsed():
            return event.user
        case Redemption():
            return event.on_behalf_of
    return None


def _redeemer(event: Event | None) -> str | None:
    return event.caller if isinstance(event, Redemption) else None


def _application(event: Event | None) -> str | None:
    match event:
        case TicketIssued() | TicketNotIssued() | TicketLapsed() | Redemption():
            return event.application
    return None


def _issued(row: _Row) -> int | None:
    """Where the ticket was issued, if there is one."""
    if row.topic == TicketIssued.TOPIC:
        return row.position
    return row.event.issued if isinstance(row.event, Redemption) else None


def _expires_at(event: Event | None) -> str | None:
    if isinstance(event, TicketIssued) and event.expires_at is not None:
        return time_text(event.expires_at)
    return None


def _detail(event: Event | None) -> str | None:
    """Why it went so, as a stable code, where somebody asked for something."""
    return event.detail if isinstance(event, Redemption | TicketNotIssued) else None
