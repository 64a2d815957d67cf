"""Access reviews that were signed off, from the streams of those who did.

A review lies in the own stream of the slot that was unlocked, which no other slot's signature can
write to, so who reviewed is told by the stream. These streams hold an auditor's questions, too,
which are passed over unopened. They are read without the tree: whether the newest of one were
taken away, or a review stands there under a question's topic, `log verify` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ledger.aggregates.access import AuditReviewed
from ledger.aggregates.keys import SlotAdded
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.rows import LogRow
from ledger.log.store import Reading, Store
from ledger.sealing.streams import StreamNames
from projections.documents import time_text
from projections.streams import AUTHORS_DOING, know_newest

_PAGE = 500


class Review(NamedTuple):
    """One review, and the slot that signed it."""

    slot: SlotAdded
    recorded: Recorded
    event: AuditReviewed

    @property
    def reached(self) -> int:
        """The last position that it can have reviewed; whoever signs it may name any number."""
        return min(self.event.until, self.recorded.position - 1)

    def as_document(self) -> dict[str, Any]:
        """What `audit review --list` tells."""
        return {
            "position": self.recorded.position,
            "recorded_at": time_text(self.recorded.recorded_at),
            "by": f"{self.slot.opens}:{self.slot.slot}/{self.slot.label}",
            **reviewed_document(self.event),
        }


def reviewed_document(event: AuditReviewed) -> dict[str, Any]:
    """What was reviewed."""
    return {
        "after": event.after,
        "until": event.until,
        "granted": event.granted,
        "denied": event.denied,
        "not_set": event.not_set,
        "note": event.note,
    }


def reviews(
    store: Store, mapper: EventMapper, streams: StreamNames, slots: Iterable[SlotAdded]
) -> list[Review]:
    """All reviews that can be opened, oldest first; the record of one may be erased with others."""
    know_newest(store, mapper)
    found = [one for slot in slots for one in _of_slot(store, mapper, streams, slot)]
    return sorted(found, key=lambda one: one.recorded.position)


def newest_review(
    store: Store, mapper: EventMapper, streams: StreamNames, slots: Iterable[SlotAdded]
) -> Review | None:
    """The last review that can be opened; None where there is none.

    Looked up by topic, so it costs a look at each stream's index and opens what it tells.
    """
    know_newest(store, mapper)
    with store.reading() as reading:
        newest = [_newest_of(reading, mapper, streams, slot) for slot in slots]
    return max(filter(None, newest), key=lambda one: one.recorded.position, default=None)


def _newest_of(
    reading: Reading, mapper: EventMapper, streams: StreamNames, slot: SlotAdded
) -> Review | None:
    stream = streams.audit(slot.signing_key)
    versions = reading.connection.execute(
        "SELECT version FROM log WHERE stream = ? AND topic = ? ORDER BY version DESC",
        (stream, AuditReviewed.TOPIC),
    )
    for (version,) in versions:
        for row in reading.stream_rows(stream, version - 1, 1):
            review = _review_in(row, mapper, slot)
            if review is not None:
                return review
    return None


def _review_in(row: LogRow, mapper: EventMapper, slot: SlotAdded) -> Review | None:
    """None where it was erased with the records of its month, or its author sealed no event."""
    try:
        recorded = mapper.open(row)
    except KeyUnavailable:
        return None
    except Tampered as error:
        if error.code not in AUTHORS_DOING:
            raise
        return None
    event = recorded.event
    return Review(slot, recorded, event) if isinstance(event, AuditReviewed) else None


def _of_slot(
    store: Store, mapper: EventMapper, streams: StreamNames, slot: SlotAdded
) -> Iterator[Review]:
    stream, version = streams.audit(slot.signing_key), 0
    while True:
        with store.reading() as reading:
            rows = reading.stream_rows(stream, version, _PAGE)
        for row in rows:
            version += 1
            if row.version != version:
                raise Tampered("stream-gap", "A stream lacks an event.", position=row.position)
            if row.topic != AuditReviewed.TOPIC:
                continue
            review = _review_in(row, mapper, slot)
            if review is not None:
                yield review
        if len(rows) < _PAGE:
            return
