"""Streams folded into states, each held against its tip.

What is folded of a stream is kept and continued, so a policy that did not change costs no look
into the database at all: its tip says that nothing was added. Where something was, the rows are
read, their leaves computed from the rows themselves, and the running hash must arrive at the tip:
a row taken away, altered, swapped or slipped in between is *tampered* and nothing is decided.
Before that is said of a fold that was continued, it is begun anew: it may be of a log that was
given up while this process ran.

A tip that is authentic may still be an older one, which somebody put among those of now in the
host's memory. So the log is asked as well, once for each stream since another process wrote there,
also where what is kept ends with that tip: a stream that goes on beyond its tip, or has rows and no
tip, is *tampered* as well.

A *look* that is not under the lock may find a tip already beyond its snapshot, because another
thread committed meanwhile. That is no damage: `Overtaken` asks for a new snapshot. Where that does
not come as far either, the row is gone from the log.

Whoever only looks, by a keyring that lacks the newest keys, may have one stream folded as far as it
opens. Every other one must open to its end: what is told of a part of somebody's rights is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ledger.aggregates.recorded import Recorded
from ledger.aggregates.tickets import ONE_TIME_TOPICS
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.rows import LogRow
from ledger.log.store import Reading
from ledger.log.tips import NOTHING_RUN, StreamTips, Tip, run_on

S = TypeVar("S")
Fold = Callable[[S | None, Recorded], S | None]

_PAGE_ROWS = 500
_SHORT_VERSIONS = 8
"""So many events of each stream are read together with those of others."""
_KEPT_STREAMS_MAX = 20_000
_KEPT_ROW_BYTES_MAX = 8192


class Overtaken(Exception):  # no failure: a look begins anew
    """The stream was continued after this snapshot was taken."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position
        """Where it was: a snapshot that is taken from now on has come as far."""


class Folds:
    """The folds of one process, kept from request to request."""

    def __init__(self, mapper: EventMapper, tips: StreamTips) -> None:
        self._mapper = mapper
        self._tips = tips
        self._states: dict[tuple[bytes, object], tuple[Tip, Any]] = {}
        self._newest: dict[bytes, tuple[bytes, Recorded]] = {}
        self._partly: tuple[bytes, str] | None = None

    def fold_as_far_as_opened(self, stream: bytes, needed: str) -> None:
        """Let states of this stream end before the first row whose key is not held.

        Not where a row of the topic that is `needed` is among those which do not open.
        """
        self._partly = stream, needed

    def forget(self) -> None:
        """Start anew, after a failure that left it unclear what was committed."""
        self._states.clear()
        self._newest.clear()

    def prepare(self, reading: Reading, size: int, streams: Iterable[bytes], fold: Fold[S]) -> None:
        """Have the folds of these streams at hand; what is short of them is read together."""
        wanted = list(streams)
        self._tips.warm(wanted)
        cold = [
            stream
            for stream in wanted
            if (stream, fold) not in self._states or not self._tips.is_end(stream)
        ]
        pages = reading.rows_of(cold, _SHORT_VERSIONS)
        for stream in cold:
            self.state(reading, size, stream, fold, pages.get(stream))

    def state(
        self,
        reading: Reading,
        size: int,
        stream: bytes,
        fold: Fold[S],
        begun: list[LogRow] | None = None,
    ) -> S | None:
        """The fold of the whole stream in a log of this size; `Tampered` if rows do not fit.

        `begun` are the stream's first rows, if they were read before.
        """
        tip = self._tip(stream, size)
        if tip is None:
            self._require_without(reading, size, stream)
            return None
        key = (stream, fold)
        done: Tip | None
        state: S | None
        done, state = self._states.get(key, (None, None))
        if done == tip:
            self._require_ended(reading, size, stream, tip, begun)
            return state
        if done is not None and done.version > tip.version:
            # Another thread has continued the stream since the tip was looked up.
            done, state = None, None
        try:
            rows = self._rows(reading, size, stream, done, tip, begun if done is None else None)
        except Tampered:
            if done is None:
                raise
            state, rows = None, self._rows(reading, size, stream, None, tip)
        self._tips.found_end(stream, size)
        for recorded in self._opened(stream, rows):
            state = fold(state, recorded)
        if len(self._states) >= _KEPT_STREAMS_MAX:
            self._states.clear()
        self._states[key] = (tip, state)
        return state

    def newest(self, reading: Reading, size: int, stream: bytes) -> Recorded | None:
        """The stream's newest event, opened from the row that its tip names."""
        tip = self._tip(stream, size)
        if tip is None:
            self._require_without(reading, size, stream)
            return None
        kept = self._newest.get(stream)
        if kept is not None and kept[0] == tip.leaf:
            self._require_ended(reading, size, stream, tip)
            return kept[1]
        rows = reading.stream_rows(stream, tip.version - 1, 2)
        _require_end(rows[1:], size, tip)
        row = rows[0] if rows else None
        if row is None or (row.position, row.leaf) != (tip.position, tip.leaf):
            raise _cut(tip)
        self._tips.found_end(stream, size)
        recorded = self._mapper.open(row)
        if len(row.sealed) <= _KEPT_ROW_BYTES_MAX:
            if len(self._newest) >= _KEPT_STREAMS_MAX:
                self._newest.clear()
            self._newest[stream] = (tip.leaf, recorded)
        return recorded

    def history(self, reading: Reading, size: int, stream: bytes) -> list[Recorded]:
        """All events of the stream, oldest first."""
        tip = self._tip(stream, size)
        if tip is None:
            self._require_without(reading, size, stream)
            return []
        return [self._mapper.open(row) for row in self._rows(reading, size, stream, None, tip)]

    def version(self, size: int, stream: bytes) -> int:
        """The version of the stream's newest row; 0 without any."""
        tip = self._tip(stream, size)
        return tip.version if tip else 0

    def tip(self, size: int, stream: bytes) -> Tip | None:
        """The stream's tip in a log of this size; None for a stream without rows."""
        return self._tip(stream, size)

    def _opened(self, stream: bytes, rows: Iterable[LogRow]) -> Iterator[Recorded]:
        partly, needed = self._partly or (None, None)
        for row in rows:
            try:
                recorded = self._mapper.open(row)
            except KeyUnavailable:
                # What follows is of this epoch or a later one, and of those none is held.
                if stream != partly or row.topic == needed:
                    raise
                continue
            yield recorded

    def _require_without(self, reading: Reading, size: int, stream: bytes) -> None:
        """That a stream without a tip has no rows; of a ticket's that was let go of there are."""
        if self._tips.is_end(stream):
            return
        for row in reading.stream_rows(stream, 0, 1):
            if row.position <= size and row.topic not in ONE_TIME_TOPICS:
                raise _cut(row)
        self._tips.found_end(stream, size)

    def _require_ended(
        self,
        reading: Reading,
        size: int,
        stream: bytes,
        tip: Tip,
        begun: list[LogRow] | None = None,
    ) -> None:
        """That a stream which is folded to its tip does not go on beyond it."""
        if self._tips.is_end(stream):
            return
        if begun is None or tip.version >= _SHORT_VERSIONS:
            begun = reading.stream_rows(stream, tip.version, 1)
        _require_end([row for row in begun if row.version > tip.version], size, tip)
        self._tips.found_end(stream, size)

    def _tip(self, stream: bytes, size: int) -> Tip | None:
        tip = self._tips.of(stream)
        if tip is not None and tip.position > size:
            raise Overtaken(tip.position)
        return tip

    def _rows(
        self,
        reading: Reading,
        size: int,
        stream: bytes,
        done: Tip | None,
        tip: Tip,
        begun: list[LogRow] | None = None,
    ) -> list[LogRow]:
        """The rows after `done` up to the tip, which they must arrive at."""
        version = done.version if done else 0
        running = done.running if done else NOTHING_RUN
        rows: list[LogRow] = []
        if begun is not None and len(begun) == tip.version == _SHORT_VERSIONS:
            begun = None  # whether the stream ends there is not to be seen
        while version < tip.version:
            left = tip.version - version
            page = begun or reading.stream_rows(stream, version, min(_PAGE_ROWS, left + 1))
            begun, page, beyond = None, page[:left], page[left:]
            if len(page) == left == _PAGE_ROWS:
                beyond = reading.stream_rows(stream, tip.version, 1)
            _require_end(beyond, size, tip)
            if not page:
                raise _cut(tip)
            for row in page:
                if row.version != version + 1:
                    raise Tampered("stream-gap", "A stream lacks an event.", position=row.position)
                running, version = run_on(running, row.leaf), row.version
            rows.extend(page)
        if running != tip.running:
            raise _cut(tip)
        return rows


def _require_end(beyond: list[LogRow], size: int, tip: Tip) -> None:
    """No row of a stream lies beyond its tip in a log of this size."""
    if any(row.position <= size for row in beyond):
        raise _cut(tip)


def _cut(tip: Tip | LogRow) -> Tampered:
    return Tampered(
        "stream-altered",
        "A stream is not the one that this host has checked.",
        position=tip.position,
    )
