"""The machinery of views: a fold, two tables, one row that says which serves and how far.

A view is a fold of the log: the same function serves live appends, in the append's own
transaction, and rebuilds, so either way gives the same rows. Any view can be dropped and rebuilt
to the same digest. A writer maintains a view that stands exactly before its rows; one that lags
is brought forward by whoever needs it, page by page, letting the lock go in between.

A record whose key was destroyed has no row in any view. A record whose key this keyring merely
lacks stops the view before it: a stale auditor's file must not make others miss what it missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import msgpack

from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.codec.opening import Opening
from ledger.errors import KeyUnavailable, Tampered, Unavailable
from ledger.log.pace import Pace
from ledger.log.rows import LogRow
from ledger.log.store import Connection, Reading, Store
from ledger.log.upserts import Columns
from projections.digests import Digests
from projections.place import SIDES, Place, Places, Reach
from projections.streams import know_newest

PAGE_ROWS = 500
"""So many events are folded under one lock where a view is brought forward."""
_BEGINNINGS_MAX = 3
PUT = "put the row"
UP_TO = "take out every row up to this key"
Statement = str | tuple[str, ...]
Operation = tuple[Statement, tuple[object, ...]]
"""`PUT` and a whole row, `UP_TO` and a number, or a statement and its parameters.

Columns in place of `PUT` say that only these can differ from what the row held before, if there is
one. A statement has `{table}` for the table's name. Nothing is put below what `UP_TO` took out.
"""
Batch = tuple[Statement, list[tuple[object, ...]]]
"""Operations in a row that differ in their parameters only."""
Progress = Callable[[int, int], None]
"""Told how many positions are done, of how many."""


class View(Protocol):
    """What a view brings of its own."""

    name: str
    fold_version: int
    columns: Columns
    """Those of its two tables; the first is the primary key, in whose order rows are digested."""
    prefixes: tuple[str, ...]
    """Prefixes of the topics it looks at; other rows are not even opened."""
    migration: str
    """The step that makes its tables, which a store of before may lack."""
    needs_no_index: bool
    """Whether its fold only puts rows, so that indexes are of use to questions alone."""

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """What one event does to the table."""
        ...


class Page(NamedTuple):
    """Events to fold, the position they lead to, and why it goes no further, if it does not."""

    last: int
    recorded: list[Recorded]
    stopped: KeyUnavailable | None
    epoch: int = 0
    """Of the row that stopped it."""

    def learn(self, mapper: EventMapper) -> bool:
        """Whether what stopped it was an epoch begun meanwhile, which the mapper now knows."""
        return not mapper.knows(self.epoch) and mapper.learn(self.epoch)


class Folded(NamedTuple):
    """What the events of a stretch of the log do to each view, by its name."""

    first: int
    """The position of its first row."""
    last: int
    """That of its last row; before the first where there is none."""
    batches: dict[str, list[Batch]]


class Serving(NamedTuple):
    """A snapshot in which a view answers."""

    reading: Reading
    table: str
    position: int
    """The view holds the log up to here; the snapshot may know more."""
    floor: int
    """Rows with keys up to this number are none of the view's; 0 where all are."""


class ViewKeeper:
    """Keeps one view at the head of the log."""

    def __init__(self, view: View, store: Store, mapper: EventMapper, digests: Digests) -> None:
        self.view = view
        self.places = Places(view.name, view.fold_version, digests)
        self._store = store
        self._mapper = mapper
        self._digests = digests

    def maintained(
        self, connection: Connection, recorded: Sequence[Recorded], row: tuple[Any, ...] | None
    ) -> Place | None:
        """Fold rows that were just appended, if the view stands just before them.

        `row` is the view's row in `views`; the answer is where the view stands now, to be
        written there, and None where it lags.
        """
        first, last = recorded[0].position, recorded[-1].position
        return self._moved(connection, first, last, row, lambda: self.folded(recorded))

    def taken_in(
        self, connection: Connection, folded: Folded, row: tuple[Any, ...] | None
    ) -> Place | None:
        """The same for what was folded before."""
        batches = folded.batches[self.view.name]
        return self._moved(connection, folded.first, folded.last, row, lambda: batches)

    def _moved(
        self,
        connection: Connection,
        first: int,
        last: int,
        row: tuple[Any, ...] | None,
        batches: Callable[[], list[Batch]],
    ) -> Place | None:
        place = self.places.found(row)
        if place is not None and place.position >= first:
            self.places.forget(connection)  # its rows are of a log that was longer, and put back
        if place is None or place.position != first - 1:
            return None
        floor = self.carry_out(connection, place.active, batches(), place.floor)
        return Place(place.active, last, floor)

    def bring_forward(self) -> None:
        """Fold whatever lies beyond the view's position, and sweep; `key-missing` without a key.

        `view-not-ready` where somebody drops the view again and again, or no place can be kept.
        """
        know_newest(self._store, self._mapper)
        begun, stopped, opening = 0, None, self._mapper.opening()
        while not self._stands_at_head():
            with self._store.writing(durable=False) as writing:
                place = self.places.standing(writing)
                if place is None:
                    begun += 1
                    if begun > _BEGINNINGS_MAX:
                        raise _not_ready()
                    place = self.begin_anew(writing.connection)
                page = read_page(writing, opening, place.position, self.view.prefixes)
                floor = self.apply(writing.connection, place.active, page.recorded, place.floor)
                self.places.write(writing.connection, Place(place.active, page.last, floor))
            if page.stopped is not None and (page.last == stopped or not page.learn(self._mapper)):
                raise page.stopped
            stopped = None if page.stopped is None else page.last
        self._sweep()

    @contextmanager
    def serving(self) -> Iterator[Serving]:
        """A short snapshot with the view at the head, or nearly: others may append meanwhile."""
        self.bring_forward()
        with self._store.reading() as reading:
            place = self.places.standing(reading)
            if place is None:
                raise _not_ready()
            yield Serving(reading, self.table(place.active), place.position, place.floor)

    def status(self) -> dict[str, object]:
        """Name, position (0 if it must be built anew) and number of rows."""
        with self._store.reading() as reading:
            place = self.places.standing(reading)
            position = 0 if place is None else place.position
            place = place or self.places.as_found(reading.connection)
            above, floor = self._above(place.floor)
            table = self.table(place.active)
            found = reading.connection.execute(f"SELECT count(*) FROM {table} WHERE {above}", floor)
        return {"name": self.view.name, "position": position, "rows": found[0][0]}

    def digest(self) -> str:
        """SHA-256 over all rows in order of their key, lower-case hex."""
        with self._store.reading() as reading:
            place = self.places.as_found(reading.connection)
            return self.digest_of(reading.connection, place.active, place.floor)

    def drop(self) -> None:
        """Empty both tables and begin anew."""
        with self._store.writing() as writing:
            self.begin_anew(writing.connection)

    def table(self, side: str) -> str:
        """The name of one of the two tables."""
        return f"{self.view.name}_{side}"

    def begin_anew(self, connection: Connection) -> Place:
        """Empty both tables and stand before the first event."""
        for side in SIDES:
            self.clear(connection, side)
        place = Place(SIDES[0], 0)
        self.places.write(connection, place)
        self.places.write_idle(connection, Reach(0))
        return place

    def clear(self, connection: Connection, side: str) -> None:
        """Empty one of the two tables."""
        connection.execute(f"DELETE FROM {self.table(side)}")

    def clear_some(self, connection: Connection, side: str, rows: int) -> bool:
        """Take so many rows out of one of the two tables; whether any are left."""
        table, key = self.table(side), self.key
        connection.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} LIMIT ?)", (rows,)
        )
        return bool(connection.execute(f"SELECT 1 FROM {table} LIMIT 1"))

    def apply(
        self, connection: Connection, side: str, recorded: Sequence[Recorded], floor: int
    ) -> int:
        """Fold events into one of the two tables, which has this floor; the one it has then."""
        return self.carry_out(connection, side, self.folded(recorded), floor)

    def folded(self, recorded: Sequence[Recorded]) -> list[Batch]:
        """What these events do to a table; nothing is read or written."""
        return batches_of(self.view, recorded, topics_of(recorded), self._digests)

    def carry_out(self, connection: Connection, side: str, batches: list[Batch], floor: int) -> int:
        """Write into one of the two tables; its floor after that."""
        table, columns = self.table(side), self.view.columns
        for statement, rows in batches:
            if isinstance(statement, tuple):
                connection.upsert(table, columns, rows, statement)
            elif statement == PUT:
                connection.upsert(table, columns, rows)
            elif statement == UP_TO:
                floor = max(floor, *(int(str(key)) for (key,) in rows))
            else:
                connection.executemany(statement.format(table=table), rows)
        return floor

    @property
    def key(self) -> str:
        """The primary key's column."""
        return next(iter(self.view.columns))

    def digest_of(self, connection: Connection, side: str, floor: int) -> str:
        """SHA-256 over the rows above the floor of one table, each as msgpack, in order of key."""
        table, key = self.table(side), self.key
        digest = hashlib.sha256()
        pack = msgpack.Packer().pack
        page = f"SELECT * FROM {table} WHERE {{}} ORDER BY {key} LIMIT {PAGE_ROWS}"
        above, after = self._above(floor)
        rows = connection.execute(page.format(above), after)
        while rows:
            for row in rows:
                digest.update(pack(row))
            rows = connection.execute(page.format(f"{key} > ?"), (rows[-1][0],))
        return digest.hexdigest()

    def _above(self, floor: int) -> tuple[str, tuple[int, ...]]:
        """The condition that picks the view's own rows; a floor is for keys that are numbers."""
        has_floor = floor and self.view.columns[self.key] is int
        return (f"{self.key} > ?", (floor,)) if has_floor else ("1 = 1", ())

    def _sweep(self) -> None:
        """Take out of both tables what lies below the floor still, some rows under one lock.

        Nobody sees them any more, so it matters little when; a crash may bring some back.
        """
        pace, litter = Pace(), self._litter()
        while litter is not None:
            place, _ = litter
            with self._store.writing(durable=False) as writing:
                pace.take_lock()
                if self.places.standing(writing) == place:
                    for side in SIDES:
                        self._sweep_some(writing.connection, side, place.floor, pace.rows)
                last = writing.last_position()
            pace.let_go(last)
            left = self._litter()
            # A trigger of somebody else's may keep them; they are none of the view's all the same.
            litter = None if left == litter else left

    def _litter(self) -> tuple[Place, list[object]] | None:
        """Where the view stands, and the lowest key in each table, if any lies below its floor."""
        with self._store.reading() as reading:
            place = self.places.standing(reading)
            if place is None or not place.floor:
                return None
            lowest = f"SELECT min({self.key}) FROM {{}} WHERE {self.key} <= ?"
            found: list[object] = [
                reading.connection.execute(lowest.format(self.table(side)), (place.floor,))[0][0]
                for side in SIDES
            ]
            return None if found == [None, None] else (place, found)

    def _sweep_some(self, connection: Connection, side: str, floor: int, rows: int) -> None:
        table, key = self.table(side), self.key
        some = f"SELECT {key} FROM {table} WHERE {key} <= ? ORDER BY {key} LIMIT ?"
        connection.execute(f"DELETE FROM {table} WHERE {key} IN ({some})", (floor, rows))

    def _stands_at_head(self) -> bool:
        with self._store.reading() as reading:
            place = self.places.standing(reading)
            return place is not None and place.position == reading.last_position()


def batches_of(
    view: View, recorded: Sequence[Recorded], topics: set[str], digests: Digests
) -> list[Batch]:
    """What these events, which are of these topics, do to one view."""
    wanted = {topic for topic in topics if topic.startswith(view.prefixes)}
    if not wanted:
        return []
    # Of a long log one view sees millions of rows go by here, hence in as few steps as can be.
    fold, batches = view.fold, list[Batch]()
    before, rows = None, list[tuple[object, ...]]()
    for one in recorded:
        if one.topic in wanted:
            for statement, parameters in fold(one, digests):
                if statement != before:
                    before, rows = statement, []
                    batches.append((statement, rows))
                rows.append(parameters)
    return batches


def topics_of(recorded: Iterable[Recorded]) -> set[str]:
    """The topics of these events, for `batches_of`."""
    return {one.topic for one in recorded}


def read_page(
    reading: Reading,
    opening: Opening,
    position: int,
    prefixes: tuple[str, ...],
    rows: int | None = None,
) -> Page:
    """The next events of these topics, opened from the log; of `PAGE_ROWS` rows unless told.

    `log-gap` where a row is missing or a position is used twice: a view would take it as the log's.
    """
    recorded: list[Recorded] = []
    wanted: list[LogRow] = []
    last = position
    for row in reading.rows_after(position, PAGE_ROWS if rows is None else rows):
        if row.position != last + 1 or not isinstance(row.topic, str):
            raise _out_of_order(last + 1)
        if row.topic.startswith(prefixes):
            wanted.append(row)
        last = row.position
    opening.require_leaves(wanted)
    for row in wanted:
        try:
            recorded.append(opening.recorded(row))
        except KeyUnavailable as error:
            if error.code != "key-destroyed":
                return Page(row.position - 1, recorded, error, row.epoch)
    return Page(last, recorded, None)


def _not_ready() -> Unavailable:
    return Unavailable(
        "view-not-ready",
        "A view was dropped while it was asked.",
        hint="Run the command again.",
    )


def _out_of_order(position: int) -> Tampered:
    return Tampered(
        "log-gap",
        "The log lacks a row, or has two at one position.",
        hint="Run `credledger log verify`.",
        position=position,
    )


def require_newer(serving: Serving, stream: bytes, position: int) -> None:
    """A row may differ from the log only where the log went on beyond the view's position."""
    newest = serving.reading.newest_of(stream)
    if newest is None or newest.position <= serving.position:
        raise astray(position)


def astray(position: int) -> Tampered:
    """A view points at a row that does not answer the question."""
    return Tampered(
        "view-astray",
        "A view points at a row of the log that is not what it says.",
        hint="Run `credledger log verify`, then `credledger replay rebuild`.",
        position=position,
    )
