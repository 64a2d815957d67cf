"""Who asked the history what, read from the log itself: each question, and each review signed off.

    what is recorded    access {"user": "user:alice", "limit": 100}    explain 4711
    question            access                                         explain 4711
    filter              user user:alice, limit 100                     none

One row is a page of an answer, a whole one, or a review. An auditor's questions lie in a stream
that his slot alone can sign for; where the author that such a row names is another one, or it holds
no event at all, it is told that the row is there, and nothing of what it says. An operator's lie
with the attempts to read. Both are erased with these.

What a filter says is its author's word: a text that is not of the form above is all question. The
part of the log that is asked about is checked into its signed heads on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.access import AuditQueried, AuditReviewed
from ledger.aggregates.actor import Actor
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import Retention
from ledger.codec.mapper import EventMapper
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.documents import time_text
from projections.export import FOREIGN_AUTHOR, Askers, is_by, readable
from projections.streams import Walk
from projections.stretch import WHOLE, Stretch, newest_first

ASKED = (AuditQueried.TOPIC, AuditReviewed.TOPIC)
_Filter = dict[str, str | int | float | bool | list[str] | None]
"""As flat as each of ours, so that nobody's is too deep to print."""


class Author(NamedTuple):
    """Whose questions are asked for."""

    claim: str | None = None
    """`operator`, `auditor`, or a claim's text; None is anybody's."""
    slot: tuple[str, int] | None = None
    """Class and number of the slot that was unlocked; None is any."""

    def is_of(self, actor: Actor) -> bool:
        """Whether this is whose question it was."""
        return self.claim in {None, actor.claim} and self.slot in {
            None,
            (actor.opens, actor.slot),
        }


ANYBODY = Author()


def asked_questions(
    store: Store,
    mapper: EventMapper,
    retention: Retention,
    askers: Askers,
    author: Author = ANYBODY,
    stretch: Stretch = WHOLE,
    after: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Questions and reviews, newest first; `after` is where a page ended.

    A row that cannot be told could be of anybody, so it is listed whoever is asked for.
    """

    def told(walk: Walk) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for checked in walk.rows(ASKED):
            recorded, why = readable(checked, retention)
            if recorded is not None and not is_by(recorded, askers.get(checked.row.stream)):
                recorded, why = None, FOREIGN_AUTHOR
            if recorded is None:
                found.append(_closed(checked.row, why))
            elif author.is_of(recorded.actor):
                found.append(asked_document(recorded))
        return found

    return newest_first(store, mapper, stretch, after, told)


def asked_document(recorded: Recorded) -> dict[str, Any]:
    """What `audit questions` tells of one."""
    question, told, rows = _asked(recorded.event)
    return {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "by": recorded.actor.claim,
        "authenticated_by": recorded.actor.authenticated_by,
        "question": question,
        "filter": told,
        "rows": rows,
        "reason": recorded.reason,
        "unreadable": None,
    }


def _asked(event: object) -> tuple[str, _Filter | None, int]:
    """Question, filter and number of rows."""
    if isinstance(event, AuditReviewed):
        reviewed: _Filter = {"after": event.after, "until": event.until, "note": event.note}
        return "review", reviewed, event.granted + event.denied + event.not_set
    assert isinstance(event, AuditQueried)
    question, begun, text = event.filter.partition(" {")
    try:
        told = msgspec.json.decode("{" + text, type=_Filter) if begun else None
    except (msgspec.DecodeError, RecursionError):
        return event.filter, None, event.rows
    return question, told, event.rows


def _closed(row: LogRow, why: str | None) -> dict[str, Any]:
    return {
        "position": row.position,
        "recorded_at": time_text(row.recorded_at),
        "by": None,
        "authenticated_by": None,
        "question": None,
        "filter": None,
        "rows": None,
        "reason": None,
        "unreadable": why,
    }
