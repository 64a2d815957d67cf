"""Rows put into a view's table: a new one is inserted, one of the same key gives way.

The first column is the key. Its statements are made here once for each table, in the two forms
that engines are quick with: many rows of values, or one array for each column. The second column of
a view is always indexed, and often like others that are: rows in its order go into these indexes
beside each other, page by page, and not all over them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter

Columns = Mapping[str, type[int] | type[bytes]]
Moving = tuple[str, ...] | None
"""The only columns that change where a row of the same key is there; None for all of them.

An index over columns that are not named is not touched, which is most of what such a row costs.
"""
Row = Sequence[object]
_ARRAYS = {int: "int8[]", bytes: "bytea[]"}
_TOGETHER = (1024, 256, 64, 16, 4, 1)
_ONE_ROW = re.compile(r"(?<=VALUES )(\([?, ]+\))")


def with_values(table: str, columns: Columns, moving: Moving = None) -> str:
    """The statement for one row of values; `repeated` makes one for many of it."""
    return _with_values(table, tuple(columns), moving)


def by_arrays(table: str, columns: Columns, moving: Moving = None) -> str:
    """The statement that takes one array for each column."""
    return _by_arrays(table, tuple(columns.items()), moving)


def arrays(rows: Iterable[Row]) -> list[list[object]]:
    """The columns of these rows, as `in_order` gives them."""
    return [list(column) for column in zip(*in_order(rows), strict=True)]


def in_order(rows: Iterable[Row], moving: Moving = None) -> list[Row]:
    """The rows in order of their second column; of several with one key only the last.

    In order of the key where only some columns are `moving`, in tables that lie in that order.
    """
    newest = {row[0]: row for row in rows}
    return sorted(newest.values(), key=itemgetter(slice(1, 2) if moving is None else 0))


def in_groups(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in order, in groups of few different lengths: engines keep a statement for each."""
    at = 0
    while at < len(rows):
        size = next(size for size in _TOGETHER if size <= len(rows) - at)
        yield rows[at : at + size]
        at += size


@lru_cache(maxsize=256)
def repeated(statement: str, rows: int) -> str:
    """A statement that inserts one row of values, made to insert so many at once."""
    before, row, after = _ONE_ROW.split(statement, maxsplit=1)
    return f"{before}{', '.join([row] * rows)}{after}"


@lru_cache(maxsize=256)
def _with_values(table: str, names: tuple[str, ...], moving: Moving) -> str:
    return _upsert(table, names, f"VALUES ({', '.join('?' for _ in names)})", moving)


@lru_cache(maxsize=256)
def _by_arrays(table: str, columns: tuple[tuple[str, type], ...], moving: Moving) -> str:
    taken = ", ".join(f"?::{_ARRAYS[kind]}" for _, kind in columns)
    names = tuple(name for name, _ in columns)
    return _upsert(table, names, f"SELECT * FROM unnest({taken})", moving)


def _upsert(table: str, names: tuple[str, ...], source: str, moving: Moving) -> str:
    moved = ", ".join(f"{name} = excluded.{name}" for name in moving or names[1:])
    return (
        f"INSERT INTO {table} ({', '.join(names)}) {source}"
        f" ON CONFLICT ({names[0]}) DO UPDATE SET {moved}"
    )
