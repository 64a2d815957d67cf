"""Where a view stands: one row that says which of its two tables serves, and how far it has read.

    views(name, fold_version, active, position, key_check, idle_position)

`key_check` is a keyed digest over the four before it. A row that was made by another version of
the fold, stands beyond the end of the log, holds what no ledger writes, or whose check does not fit
counts for nothing: such a view lags from the first event on and is built anew by whoever needs it.
`idle_position` is how far the other table holds the log; it serves rebuilds only and needs no check.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any, NamedTuple

from ledger.log.store import Connection, Reading
from projections.digests import Digests

SIDES = ("a", "b")
_WRITE = (
    "INSERT INTO views (name, fold_version, active, position, key_check, idle_position)"
    " VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (name) DO UPDATE SET"
    " fold_version = excluded.fold_version, active = excluded.active,"
    " position = excluded.position, key_check = excluded.key_check"
)


class Place(NamedTuple):
    """The table that serves, and the position up to which it holds the log."""

    active: str
    position: int

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

    def read(self, connection: Connection) -> Place | None:
        """Where the view stands, if its row is there, of this fold, and fits its check."""
        found = connection.execute(
            "SELECT fold_version, active, position, key_check FROM views WHERE name = ?",
            (self.name,),
        )
        return self.found(found[0] if found else None)

    def found(self, row: tuple[Any, ...] | None) -> Place | None:
        """Where the view stands by its stored row, if that is of this fold and fits its check."""
        if row is None or row[0] != self._fold_version:
            return None
        _, active, position, check = row
        kinds = active in SIDES and isinstance(position, int) and isinstance(check, bytes)
        if not kinds:
            return None
        place = Place(active, position)
        return place if hmac.compare_digest(check, self._check(place)) else None

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

    def as_found(self, connection: Connection) -> str:
        """The table that serves by the row's own word, if it names one."""
        found = connection.execute("SELECT active FROM views WHERE name = ?", (self.name,))
        return found[0][0] if found and found[0][0] in SIDES else SIDES[0]

    def write(self, connection: Connection, place: Place) -> None:
        """Let the view stand there; what is known of the idle table stays."""
        connection.execute(_WRITE, self.written(place))

    def written(self, place: Place) -> tuple[object, ...]:
        """The row that says so."""
        return (self.name, self._fold_version, *place, self._check(place))

    def idle_position(self, connection: Connection) -> int:
        """How far the idle table holds the log; 0 where nobody can tell."""
        found = connection.execute("SELECT idle_position FROM views WHERE name = ?", (self.name,))
        return found[0][0] if found and isinstance(found[0][0], int) else 0

    def write_idle(self, connection: Connection, position: int) -> None:
        """Note how far the idle table holds the log."""
        connection.execute(
            "UPDATE views SET idle_position = ? WHERE name = ?", (position, self.name)
        )

    def _check(self, place: Place) -> bytes:
        return self._digests.place(self.name, self._fold_version, *place)


def read_rows(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """The rows of all views, by name, for `Places.found`."""
    rows = connection.execute("SELECT name, fold_version, active, position, key_check FROM views")
    return {str(row[0]): row[1:] for row in rows}


def write_rows(connection: Connection, rows: Iterable[tuple[object, ...]]) -> None:
    """Rows made by `Places.written`, in one statement."""
    connection.executemany(_WRITE, rows)
