"""Reading the log by stream, or as a whole, for answers that no view gives.

A *walk* reads the log in order of position and believes none of it unsigned: rows and heads are
followed as a host follows those of others (`ledger.log.following`), so each row that is given lies
under a head that an operator or an auditor signed, none is left out, none comes twice, and its
position and time are those that were signed. It costs a few hashes a row, and a signature a page.
A walk that begins in the middle takes the tree's edge there from the store: what follows must lead
to a signed root all the same.

One stream by itself is read without the tree. Its rows open, and none but the newest can be
missing, because versions are dense; whether the newest were taken away only `log verify` tells, or
a host before it decides something by them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log import signed_rows as signed
from ledger.log.following import CheckedHead, Follower
from ledger.log.observers import Way
from ledger.log.rows import LedgerRow, LogRow
from ledger.log.store import Reading, Store

S = TypeVar("S")
_STREAM_PAGE_ROWS = 500
_SHORT_VERSIONS = 8
"""So many events of each are read together with those of other streams."""
_WALK_PAGE_ROWS = 4000
AUTHORS_DOING = frozenset({"malformed-event", "sealed-unreadable"})
"""Codes of rows that were recorded as they are, by somebody who seals what is no event."""
Unreadable = Callable[[LogRow, KeyUnavailable], None]
"""Told of a row whose key is not held."""
Known = Callable[[LogRow, bytes], bool]
"""Whether a row need not be made an event, by what was sealed in it, its padding included."""


def stream_events(reading: Reading, mapper: EventMapper, stream: bytes) -> Iterator[Recorded]:
    """All events of one stream, oldest first, each opened from its own row, none left out."""
    page = reading.stream_rows(stream, 0, _STREAM_PAGE_ROWS)
    return _events(reading, mapper, stream, page, _STREAM_PAGE_ROWS)


def _events(
    reading: Reading, mapper: EventMapper, stream: bytes, page: list[LogRow], whole: int
) -> Iterator[Recorded]:
    """Those of a page and of what follows it; a `whole` page may not be the last."""
    version = 0
    while True:
        for row in page:
            version += 1
            if row.version != version:
                raise Tampered("stream-gap", "A stream lacks an event.", position=row.position)
            yield mapper.open(row)
        if len(page) < whole:
            return
        whole = _STREAM_PAGE_ROWS
        page = reading.stream_rows(stream, version, whole)


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


def fold_streams(
    reading: Reading,
    mapper: EventMapper,
    streams: Sequence[bytes],
    fold: Callable[[S | None, Recorded], S | None],
) -> dict[bytes, S | None]:
    """The folds of many streams; those that are short are read together."""
    found = reading.rows_of(streams, _SHORT_VERSIONS)
    states: dict[bytes, S | None] = {}
    for stream in streams:
        state: S | None = None
        page = found.get(stream, [])
        for recorded in _events(reading, mapper, stream, page, _SHORT_VERSIONS):
            state = fold(state, recorded)
        states[stream] = state
    return states


def know_newest(store: Store, mapper: EventMapper) -> None:
    """Have the mapper look at the log first if that is in an epoch which this process never met.

    Somebody else may have started it since. Not while this thread has a snapshot open.
    """
    with store.reading() as reading:
        newest = reading.row_at(reading.last_position())
    if newest is not None and newest.is_sound:
        mapper.learn(newest.following_epoch)


class CheckedRow(NamedTuple):
    """A row that a walk has come by, and what is in it."""

    row: LogRow
    head_size: int
    """Of the signed head that it was checked into: the first one that holds it."""
    content: Recorded | KeyUnavailable | Tampered
    """The event, or why it does not open."""


class Walk:
    """One walk through the log, or the part of it that a question is about."""

    def __init__(
        self,
        store: Store,
        mapper: EventMapper,
        *,
        since: int | None = None,
        until: int | None = None,
        after_position: int = 0,
        until_position: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        way: Way | None = None,
    ) -> None:
        """`since` and `until` are microseconds UTC, both included, as `until_position` is.

        Where a time lies nobody looks up here: it begins behind `after_position`.

        `way` is that of a walk before this one, which then need not be looked for again.
        """
        self.way = way
        """The way through the last commit that was too long to be held, if there was one."""
        self.position = 0
        """Of the last row that was given; 0 before the first."""
        self.recorded_at: int | None = None
        """When that row was recorded, microseconds UTC."""
        self.reached = 0
        """How far the log was followed."""
        self.begins_before = False
        """Whether the first row behind `after_position` is older than `since`: then none of that
        time is left out.
        """
        self.goes_on = False
        """Whether a row was come by that lies behind the end of what is asked about."""
        self._store = store
        self._mapper = mapper
        self._opening = mapper.opening()
        self._since = since
        self._until = until
        self._after_position = after_position
        self._until_position = until_position
        self._progress = progress
        self._heads: list[int] = []
        """Sizes of the heads within the page at hand, rising."""

    def events(
        self,
        prefixes: tuple[str, ...],
        unreadable: Unreadable | None = None,
        wanted: Callable[[LogRow], bool] | None = None,
        known: Known | None = None,
    ) -> Iterator[Recorded]:
        """All events of these topics, oldest first; of those rows only that are `wanted`, if told.

        What is `known` already by its text is not given. A row whose key is not held is told to
        `unreadable`, or raises where there is none. Tampered with everything that following the log
        finds.
        """
        for page in self._pages():
            for row in page:
                if not (row.topic.startswith(prefixes) and (wanted is None or wanted(row))):
                    continue
                try:
                    text = self._text(row)
                except KeyUnavailable as error:
                    self.position, self.recorded_at = row.position, row.recorded_at
                    if unreadable is None:
                        raise
                    unreadable(row, error)
                    continue
                if known is None or not known(row, text):
                    self.position, self.recorded_at = row.position, row.recorded_at
                    yield self._opening.told(row, text)
            if page:
                self.position, self.recorded_at = page[-1].position, page[-1].recorded_at

    def rows(self, prefixes: tuple[str, ...] = ("",)) -> Iterator[CheckedRow]:
        """All rows, or those of these topics, oldest first, those included that hold no event.

        Tampered with everything that following the log finds.
        """
        for page in self._pages():
            for row in page:
                if not row.topic.startswith(prefixes):
                    continue
                self.position, self.recorded_at = row.position, row.recorded_at
                head = self._heads[bisect_left(self._heads, row.position)]
                content: Recorded | KeyUnavailable | Tampered
                try:
                    content = self._opening.told(row, self._text(row))
                except KeyUnavailable as error:
                    content = error
                except Tampered as error:
                    # What is inside is its author's doing: one auditor must not stop all others.
                    if error.code not in AUTHORS_DOING:
                        raise
                    content = error
                yield CheckedRow(row, head, content)

    def _text(self, row: LogRow) -> bytes:
        """What is sealed in a row, padded; of an epoch that began while this walk went on, too."""
        try:
            return self._opening.text(row)
        except KeyUnavailable:
            if self._mapper.knows(row.epoch) or not self._mapper.learn(row.epoch):
                raise
            return self._opening.text(row)

    def _pages(self) -> Iterator[list[LogRow]]:
        page: list[LogRow] = []

        def come_by(rows: list[LogRow]) -> None:
            page.extend(rows)
            self._heads.append(follower.head_size)

        know_newest(self._store, self._mapper)
        follower, head = self._beginning(come_by)
        while True:
            with self._store.reading() as reading:
                moved = follower.follow(reading, head)
                total = reading.last_position()
            self.way, self.reached = follower.way, moved.size
            if page and self._is_beyond(page[-1]):  # positions and times grow: others may be, too
                self.goes_on = True
                yield [row for row in self._asked(page) if not self._is_beyond(row)]
                return
            yield self._asked(page)
            if page and page[-1].position == self._until_position:
                return
            page.clear()
            self._heads.clear()
            if moved.size == head.size:
                return
            head = moved
            if self._progress is not None:
                self._progress(head.size, total)

    def _asked(self, page: list[LogRow]) -> list[LogRow]:
        """The rows of a page from the asked beginning on."""
        if page:
            page = page[max(self._after_position + 1 - page[0].position, 0) :]
        if self._since is None or not page or page[0].recorded_at >= self._since:
            return page
        self.begins_before = True
        return [row for row in page if row.recorded_at >= self._since]

    def _beginning(self, observe: Callable[[list[LogRow]], None]) -> tuple[Follower, CheckedHead]:
        with self._store.reading() as reading:
            follower = follower_of(reading, self._mapper, observe)
            follower.way = self.way
            return follower, follower.unchecked_head(reading, self._after_position)

    def _is_beyond(self, row: LogRow) -> bool:
        return (self._until is not None and row.recorded_at > self._until) or (
            self._until_position is not None and row.position > self._until_position
        )


def signed_row(store: Store, mapper: EventMapper, position: int) -> LogRow | None:
    """The row at this position, checked into a signed head; None outside the log."""
    know_newest(store, mapper)
    with store.reading() as reading:
        return signed.signed_row(reading, _ledger(reading, mapper), position)


def follower_of(
    reading: Reading, mapper: EventMapper, observe: Callable[[list[LogRow]], None]
) -> Follower:
    """What follows the log for a walk; `altered-ledger` where it is another ledger's."""
    return Follower(_ledger(reading, mapper), observe=observe, page_rows=_WALK_PAGE_ROWS)


def _ledger(reading: Reading, mapper: EventMapper) -> LedgerRow:
    ledger = reading.ledger()
    if ledger is None or not ledger.is_sound or ledger.id != mapper.ledger_id:
        raise Tampered("altered-ledger", "The store does not name this ledger.")
    return ledger


def position_at(reading: Reading, at: int) -> int:
    """The last position recorded at or before a time in microseconds UTC; 0 before the first.

    Looked up, not walked to: the times on the way are believed as they are stored.
    """
    return signed.told_position_at(reading, reading.last_position(), at)


def signed_position_at(reading: Reading, mapper: EventMapper, at: int) -> int:
    """The same, with the rows beside it checked into signed heads: where no walk tells of it."""
    return signed_place_at(reading, mapper, at).position


def signed_place_at(reading: Reading, mapper: EventMapper, at: int) -> signed.Place:
    """These two rows."""
    ledger = _ledger(reading, mapper)
    return signed.signed_place_at(reading, ledger, reading.last_position(), at)
