"""Reading the log in pages, by stream or by topic, for answers that views only point at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.rows import LogRow
from ledger.log.store import Reading, Store

S = TypeVar("S")
_STREAM_PAGE_ROWS = 500
_LOG_PAGE_ROWS = 1000
Unreadable = Callable[[LogRow, KeyUnavailable], None]
"""Told of a row whose key is not held."""


def stream_events(reading: Reading, mapper: EventMapper, stream: bytes) -> Iterator[Recorded]:
    """All events of one stream, oldest first, each opened from its own row, none left out."""
    version = 0
    while page := reading.stream_rows(stream, version, _STREAM_PAGE_ROWS):
        for row in page:
            version += 1
            if row.version != version:
                raise Tampered("stream-gap", "A stream lacks an event.", position=row.position)
            yield mapper.open(row)


def fold_stream(
    reading: Reading,
    mapper: EventMapper,
    stream: bytes,
    fold: Callable[[S | None, Recorded], S | None],
) -> S | None:
    """The fold of one stream."""
    state: S | None = None
    for recorded in stream_events(reading, mapper, stream):
        state = fold(state, recorded)
    return state


def log_events(
    store: Store,
    mapper: EventMapper,
    prefixes: tuple[str, ...],
    *,
    after: int = 0,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    unreadable: Unreadable | None = None,
) -> Iterator[Recorded]:
    """All events of these topics in order of position; no snapshot outlives a page.

    A row whose key is not held is told to `unreadable`, or raises where there is none.
    """
    position = after
    while True:
        with store.reading() as reading:
            rows = reading.rows_after(position, _LOG_PAGE_ROWS)
            total = reading.last_position()
        for row in rows:
            if until is not None and row.position > until:
                return
            if not row.topic.startswith(prefixes):
                continue
            try:
                recorded = mapper.open(row)
            except KeyUnavailable as error:
                if unreadable is None:
                    raise
                unreadable(row, error)
                continue
            yield recorded
        if not rows:
            return
        position = rows[-1].position
        if progress is not None:
            progress(position, total)


def position_at(reading: Reading, at: int) -> int:
    """The last position recorded at or before a time in microseconds UTC; 0 before the first."""
    low, high = 0, reading.last_position()
    while low < high:
        middle = (low + high + 1) // 2
        row = reading.row_at(middle)
        if row is None:
            raise Tampered("log-gap", "The log lacks a row.", position=middle)
        if row.recorded_at <= at:
            low = middle
        else:
            high = middle - 1
    return low
