"""The machinery of views: a fold, two tables, one row that says which serves and how far.

A view is a fold of the log: the same function serves live appends, in the append's own
transaction, and rebuilds, so either way gives the same rows. Any view can be dropped and rebuilt
to the same digest. A writer maintains a view that stands exactly before its rows; one that lags
is brought forward by whoever needs it.

A rebuild fills the idle table in pages, letting the lock go between them, takes the last page
under the lock and switches by one row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import msgpack

from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.store import Connection, Reading, Store
from projections.digests import Digests

PAGE_ROWS = 1000
Operation = tuple[str, tuple[object, ...]]
"""One statement with `{table}` for the table's name, and its parameters."""
Progress = Callable[[int, int], None]


class View(Protocol):
    """What a view brings of its own."""

    name: str
    fold_version: int
    key: str
    """The primary key's column, in whose order rows are digested."""
    prefixes: tuple[str, ...]
    """Prefixes of the topics it looks at; other rows are not even opened."""

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """What one event does to the table."""
        ...


class ViewKeeper:
    """Keeps one view at the head of the log."""

    def __init__(self, view: View, store: Store, mapper: EventMapper, digests: Digests) -> None:
        self.view = view
        self._store = store
        self._mapper = mapper
        self._digests = digests

    def maintain(self, connection: Connection, recorded: Sequence[Recorded]) -> None:
        """Fold rows that were just appended, if the view stands just before them."""
        active, position = self._place(connection)
        if not recorded or position != recorded[0].position - 1:
            return
        self._apply(connection, active, recorded)
        self._move(connection, active, recorded[-1].position)

    def bring_forward(self) -> None:
        """Fold whatever lies beyond the view's position, page by page."""
        while True:
            with self._store.reading() as reading:
                _, position = self._place(reading.connection)
                if position == reading.last_position():
                    return
            with self._store.writing() as writing:
                active, position = self._place(writing.connection)
                last, recorded = self._page(writing, position)
                self._apply(writing.connection, active, recorded)
                self._move(writing.connection, active, last)

    def table(self, connection: Connection) -> str:
        """The table that serves at present."""
        return f"{self.view.name}_{self._place(connection)[0]}"

    def status(self) -> dict[str, object]:
        """Name, position and number of rows."""
        with self._store.reading() as reading:
            _, position = self._place(reading.connection)
            table = self.table(reading.connection)
            rows = reading.connection.execute(f"SELECT count(*) FROM {table}")[0][0]
        return {"name": self.view.name, "position": position, "rows": rows}

    def digest(self) -> str:
        """SHA-256 over all rows in order of their key, lower-case hex."""
        with self._store.reading() as reading:
            return self._digest(reading.connection, self._place(reading.connection)[0])

    def drop(self) -> None:
        """Empty both tables and begin anew."""
        with self._store.writing() as writing:
            for side in "ab":
                writing.connection.execute(f"DELETE FROM {self.view.name}_{side}")
            self._move(writing.connection, "a", 0)

    def rebuild(self, progress: Progress) -> dict[str, object]:
        """Fold the whole log into the idle table, then switch to it."""
        self.bring_forward()
        before = self.digest()
        with self._store.writing() as writing:
            active, _ = self._place(writing.connection)
            idle = "b" if active == "a" else "a"
            writing.connection.execute(f"DELETE FROM {self.view.name}_{idle}")
        position = 0
        while True:
            with self._store.reading() as reading:
                last, recorded = self._page(reading, position)
                total = reading.last_position()
            with self._store.writing() as writing:
                self._apply(writing.connection, idle, recorded)
                at_end = last >= writing.last_position()
                if at_end:
                    self._move(writing.connection, idle, last)
            position = last
            progress(position, total)
            if at_end:
                break
        after = self.digest()
        return {
            "name": self.view.name,
            "digest_before": before,
            "digest_after": after,
            "same": before == after,
        }

    def _digest(self, connection: Connection, side: str) -> str:
        table, key = f"{self.view.name}_{side}", self.view.key
        digest = hashlib.sha256()
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY {key} LIMIT {PAGE_ROWS}")
        while rows:
            for row in rows:
                digest.update(msgpack.packb(list(row)))
            # The key is each table's first column.
            rows = connection.execute(
                f"SELECT * FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT {PAGE_ROWS}",
                (rows[-1][0],),
            )
        return digest.hexdigest()

    def _page(self, reading: Reading, position: int) -> tuple[int, list[Recorded]]:
        rows = reading.rows_after(position, PAGE_ROWS)
        recorded = []
        for row in rows:
            if row.topic.startswith(self.view.prefixes):
                try:
                    recorded.append(self._mapper.open(row))
                except KeyUnavailable:
                    continue  # a record whose key was destroyed has no row in any view
        return (rows[-1].position if rows else position), recorded

    def _apply(self, connection: Connection, side: str, recorded: Iterable[Recorded]) -> None:
        operations = [
            operation
            for one in recorded
            if one.topic.startswith(self.view.prefixes)
            for operation in self.view.fold(one, self._digests)
        ]
        table = f"{self.view.name}_{side}"
        for sql, same in groupby(operations, itemgetter(0)):
            connection.executemany(sql.format(table=table), [parameters for _, parameters in same])

    def _place(self, connection: Connection) -> tuple[str, int]:
        found = connection.execute(
            "SELECT fold_version, active, position FROM views WHERE name = ?", (self.view.name,)
        )
        if not found or found[0][0] != self.view.fold_version:
            return "a", 0
        return str(found[0][1]), int(found[0][2])

    def _move(self, connection: Connection, side: str, position: int) -> None:
        connection.execute(
            "INSERT INTO views (name, fold_version, active, position) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET fold_version = excluded.fold_version,"
            " active = excluded.active, position = excluded.position",
            (self.view.name, self.view.fold_version, side, position),
        )


def astray(position: int) -> Tampered:
    """A view points at a row that does not answer the question."""
    return Tampered(
        "view-astray",
        "A view points at a row of the log that is not what it says.",
        hint="Run `credledger log verify`, then `credledger replay rebuild`.",
        position=position,
    )
