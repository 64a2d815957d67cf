"""Where a view stands: one row that says which of its two tables serves, and how far it has read.

    views(name, fold_version, active, position, floor, key_check, idle_position, idle_floor)

Rows of a table whose key is not above its *floor* are no part of the view any more, whether they
lie there or not: many rows are taken out by one number, and swept away in their own time.

`key_check` is a keyed digest over the five before it. A row that was made by another version of
the fold, stands beyond the end of the log, holds what no ledger writes, or whose check does not fit
counts for nothing: such a view lags from the first event on and is built anew by whoever needs it.
One beyond the end is forgotten with the next event, before another log comes as far as it stands.
What is said of the idle table serves rebuilds only and needs no check.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any, NamedTuple

from ledger.log.store import Connection, Reading
from projections.digests import Digests

SIDES = ("a", "b")
_COLUMNS = "fold_version, active, position, floor, key_check"
_WRITE = (
    f"INSERT INTO views (name, {_COLUMNS}, idle_position, idle_floor)"
    " VALUES (?, ?, ?, ?, ?, ?, 0, 0) ON CONFLICT (name) DO UPDATE SET"
    " fold_version = excluded.fold_version, active = excluded.active,"
    " position = excluded.position, floor = excluded.floor, key_check = excluded.key_check"
)


class Reach(NamedTuple):
    """How far one table holds the log."""

    position: int
    floor: int = 0
    """No row of the view has a key up to this; 0 where nothing was ever taken out so."""


class Place(NamedTuple):
    """The table that serves, and how far it holds the log."""

    active: str
    position: int
    floor: int = 0
    """As in `Reach`."""

    @property
    def idle(self) -> str:
        """The table that does not serve."""
        return "b" if self.active == "a" else "a"


class Places:
    """The row of one view in the table `views`."""

    def __init__(self, name: str, fold_version: int, digests: Digests) -> None:
        self.name = name
        self._fold_version = fold_version
        self._digests = digests
        self._known: tuple[tuple[Any, ...], Place] | None = None
        """The row whose check was made or found to fit last: an equal one fits as well."""

    def read(self, connection: Connection) -> Place | None:
        """Where the view stands, if its row is there, of this fold, and fits its check."""
        found = connection.execute(f"SELECT {_COLUMNS} FROM views WHERE name = ?", (self.name,))
        return self.found(found[0] if found else None)

    def found(self, row: tuple[Any, ...] | None) -> Place | None:
        """Where the view stands by its stored row, if that is of this fold and fits its check."""
        known = self._known
        if known is not None and known[0] == row:
            return known[1]
        if row is None or row[0] != self._fold_version:
            return None
        _, active, position, floor, check = row
        numbers = isinstance(position, int) and isinstance(floor, int)
        if not (active in SIDES and numbers and isinstance(check, bytes)):
            return None
        place = Place(active, position, floor)
        if not hmac.compare_digest(check, self._check(place)):
            return None
        self._known = row, place
        return place

    def standing(self, reading: Reading) -> Place | None:
        """The same, unless it lies beyond the end of the log."""
        place = self.read(reading.connection)
        return place if place is not None and place.position <= reading.last_position() else None

    def damaged(self, reading: Reading) -> bool:
        """Whether there is a row of this very fold that counts for nothing all the same."""
        found = reading.connection.execute(
            "SELECT fold_version FROM views WHERE name = ?", (self.name,)
        )
        ours = bool(found) and found[0][0] == self._fold_version
        return ours and self.standing(reading) is None

    def as_found(self, connection: Connection) -> Place:
        """Where the view stands by the row's own word, as far as it says anything."""
        found = connection.execute(f"SELECT {_COLUMNS} FROM views WHERE name = ?", (self.name,))
        _, active, position, floor, _ = found[0] if found else (0, SIDES[0], 0, 0, b"")
        return Place(
            active if active in SIDES else SIDES[0],
            position if isinstance(position, int) else 0,
            floor if isinstance(floor, int) else 0,
        )

    def write(self, connection: Connection, place: Place) -> None:
        """Let the view stand there; what is known of the idle table stays."""
        connection.execute(_WRITE, self.written(place))

    def forget(self, connection: Connection) -> None:
        """Let the view stand nowhere: it is built anew by whoever needs it."""
        connection.execute("DELETE FROM views WHERE name = ?", (self.name,))

    def written(self, place: Place) -> tuple[object, ...]:
        """The row that says so."""
        row = (self._fold_version, *place, self._check(place))
        self._known = row, place
        return (self.name, *row)

    def idle(self, connection: Connection) -> Reach:
        """How far the idle table holds the log; nothing where nobody can tell."""
        found = connection.execute(
            "SELECT idle_position, idle_floor FROM views WHERE name = ?", (self.name,)
        )
        if not found or not all(isinstance(number, int) for number in found[0]):
            return Reach(0)
        return Reach(*found[0])

    def write_idle(self, connection: Connection, reach: Reach) -> None:
        """Note how far the idle table holds the log."""
        connection.execute(
            "UPDATE views SET idle_position = ?, idle_floor = ? WHERE name = ?",
            (*reach, self.name),
        )

    def _check(self, place: Place) -> bytes:
        return self._digests.place(self.name, self._fold_version, *place)


def read_rows(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """The rows of all views, by name, for `Places.found`."""
    rows = connection.execute(f"SELECT name, {_COLUMNS} FROM views")
    return {str(row[0]): row[1:] for row in rows}


def write_rows(connection: Connection, rows: Iterable[tuple[object, ...]]) -> None:
    """Rows made by `Places.written`, in one statement."""
    connection.executemany(_WRITE, rows)
