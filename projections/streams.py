"""Reading whole streams of the log, in pages, for answers that views only point at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.log.store import Reading, Store

S = TypeVar("S")
_PAGE_ROWS = 500


def stream_events(reading: Reading, mapper: EventMapper, stream: bytes) -> Iterator[Recorded]:
    """All events of one stream, oldest first, each opened from its own row."""
    version = 0
    while page := reading.stream_rows(stream, version, _PAGE_ROWS):
        for row in page:
            yield mapper.open(row)
        version = page[-1].version


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
) -> Iterator[Recorded]:
    """All events of these topics in order of position; no snapshot outlives a page."""
    position = after
    while True:
        with store.reading() as reading:
            rows = reading.rows_after(position, 1000)
            total = reading.last_position()
        for row in rows:
            if until is not None and row.position > until:
                return
            if row.topic.startswith(prefixes):
                yield mapper.open(row)
        if not rows:
            return
        position = rows[-1].position
        if progress is not None:
            progress(position, total)
