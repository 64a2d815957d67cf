"""Rows of a log looked at together, column by column, and one by one where that does not do.

    rows in order ─▶ plain?  yes ─▶ columns                a thousand at once, in a few steps
                             no  ─▶ each row by itself     says which one, and what is wrong with it

What is asked of a row for itself and of the one before it is asked here: its place, its leaf, that
its time grows, its month, its epoch. Whether these rows are those that somebody signed for is for
`ledger.log.following`. The sealed part is hashed and let go of, so that a walk that needs none of
it holds no more than a few hundred bytes of each row.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ledger.errors import Tampered
from ledger.log.rows import EPOCH_STARTED, NO_ROW, LogRow, following_epoch, leaves_of, log_row
from ledger.log.store import LogReading
from ledger.sealing.epochs import period_of

PAGE_ROWS = 1000
"""So many are read at once; of more, the first are out of the cache when they are hashed."""


class Edge(NamedTuple):
    """What the next row must go on from."""

    position: int
    recorded_at: int
    epoch: int
    """The one that the next row must be in."""


class Columns(NamedTuple):
    """Rows in order of position, all of them looked at."""

    after: int
    """The position before the first."""
    streams: Sequence[bytes] = ()
    versions: Sequence[int] = ()
    topics: Sequence[str] = ()
    epochs: Sequence[int] = ()
    times: Sequence[int] = ()
    """Microseconds UTC."""
    leaves: Sequence[bytes] = ()

    @property
    def last(self) -> int:
        """The position of the last row, or before the first where there is none."""
        return self.after + len(self.leaves)

    def edge(self, position: int) -> Edge:
        """What the row after this position, which is one of these, must go on from."""
        at = position - self.after - 1
        epoch = following_epoch(position, self.topics[at], self.epochs[at])
        return Edge(position, self.times[at], epoch)

    def between(self, after: int, until: int) -> Columns:
        """Those of these rows that lie beyond one position and up to another."""
        part = slice(max(after - self.after, 0), max(until - self.after, 0))
        return Columns(
            max(after, self.after),
            self.streams[part],
            self.versions[part],
            self.topics[part],
            self.epochs[part],
            self.times[part],
            self.leaves[part],
        )


class Looked(NamedTuple):
    """A part of a log that was looked at."""

    columns: Columns
    rows: Sequence[tuple[Any, ...]]
    """The same, as they were read; none where they are not asked for."""
    edge: Edge
    damage: Tampered | None
    """Why the row after these does not fit, where it does not."""


def columns_of(rows: Sequence[tuple[Any, ...]], after: int) -> Columns:
    """These rows, the first of which lies after this position, by column."""
    if not rows:
        return Columns(after)
    _, streams, versions, topics, epochs, _, times, _, leaves = zip(*rows, strict=True)
    return Columns(after, streams, versions, topics, epochs, times, leaves)


def looked_at(
    reading: LogReading, ledger_id: bytes, edge: Edge, until: int, *, keep: bool
) -> Iterator[Looked]:
    """The rows up to a position, part by part; with damage in one, none comes after it."""
    while edge.position < until:
        rows = reading.tuples_after(edge.position, min(PAGE_ROWS, until - edge.position))
        looked = _looked_at(rows, ledger_id, edge, keep=keep)
        del rows  # what is sealed in them is not held while others are read
        yield looked
        if looked.damage is not None:
            return
        edge = looked.edge


def _looked_at(
    rows: Sequence[tuple[Any, ...]], ledger_id: bytes, edge: Edge, *, keep: bool
) -> Looked:
    if not rows:
        gone = _tampered("missing-row", "A row is missing from the log.", edge.position + 1)
        return Looked(Columns(edge.position), (), edge, gone)
    columns = plain_columns(rows, ledger_id, edge)
    damage = None
    if columns is None:
        fitting, damage = _one_by_one(rows, ledger_id, edge)
        rows = rows[:fitting]
        columns = columns_of(rows, edge.position)
    if columns.leaves:
        edge = columns.edge(columns.last)
    return Looked(columns, rows if keep else (), edge, damage)


def plain_columns(rows: Sequence[tuple[Any, ...]], ledger_id: bytes, edge: Edge) -> Columns | None:
    """The columns of rows of which all that `check_row` asks holds, all of one month and epoch.

    Column by column, because a whole log is walked over in this way. Where it says no, the
    rows are looked at one by one, which also names what is wrong.
    """
    try:
        leaves = leaves_of(ledger_id, rows)
        columns = zip(*rows, strict=True)
        positions, streams, versions, topics, epochs, periods, times, _, stored = columns
        are_plain = (
            stored == tuple(leaves)
            and positions == tuple(range(edge.position + 1, edge.position + 1 + len(rows)))
            and min(versions) >= 1
            and times[0] > edge.recorded_at
            and all(map(operator.lt, times, times[1:]))
            and set(periods) == {period_of(times[0])} == {period_of(times[-1])}
            and set(epochs) == {edge.epoch}
            and EPOCH_STARTED not in topics
        )
    except NO_ROW:
        return None
    found = Columns(edge.position, streams, versions, topics, epochs, times, stored)
    return found if are_plain else None


def _one_by_one(
    rows: Sequence[tuple[Any, ...]], ledger_id: bytes, edge: Edge
) -> tuple[int, Tampered | None]:
    """How many rows fit, and what is wrong with the one after them."""
    for at, row in enumerate(map(log_row, rows)):
        try:
            check_row(row, ledger_id, edge)
        except Tampered as damage:
            return at, damage
        edge = Edge(row.position, row.recorded_at, row.following_epoch)
    return len(rows), None


def check_row(row: LogRow, ledger_id: bytes, edge: Edge) -> None:
    """That a row fits its leaf and the one before it; Tampered with what is wrong with it."""
    position = edge.position + 1
    if not row.is_sound:
        raise _tampered("altered-row", "A row cannot be one the ledger wrote.", position)
    if row.position < position:
        raise _tampered("repeated-row", "A position has more than one row.", row.position)
    if row.position != position:
        raise _tampered("missing-row", "A row is missing from the log.", position)
    try:
        leaf = row.computed_leaf(ledger_id)
        period = period_of(row.recorded_at)
    except NO_ROW as error:
        raise _tampered("altered-row", "A row cannot be one the ledger wrote.", position) from error
    if leaf != row.leaf:
        raise _tampered("altered-row", "A row is not the one that was recorded.", position)
    if row.recorded_at <= edge.recorded_at:
        raise _tampered("time-backwards", "A row's time does not grow.", position)
    if row.period != period:
        raise _tampered("wrong-period", "A row's period is not its month.", position)
    if row.epoch != edge.epoch:
        raise _tampered("wrong-epoch", "A row is sealed under a wrong epoch.", position)


def _tampered(code: str, message: str, position: int) -> Tampered:
    return Tampered(code, message, position=position)
