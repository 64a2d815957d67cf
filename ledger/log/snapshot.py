"""What is asked of a ledger's four tables and put into them, in words that every engine knows.

Databases are not strict, so what is counted with here is looked at first: a number that is none is
`store-damaged`. Whole rows come as they are; whoever uses one asks it whether it is sound.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, get_type_hints

from ledger.errors import Tampered
from ledger.log.migrations import indexes_of
from ledger.log.rows import CommitRow, Counts, Extent, LedgerRow, LogRow, Proven, SignerRow, log_row
from ledger.log.store import Connection

T = TypeVar("T")
LOG_COLUMNS = ", ".join(LogRow._fields)
INSERT_ROW = f"INSERT INTO log ({LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TOGETHER = (1, 10, 100)
"""So many places are asked for at once: few forms of one statement, which engines keep."""
_COMMIT = ", ".join(CommitRow._fields)
_SIGNER = "public_key, class, change, from_size, introduced_by, signature"
_EXTENT = (
    "SELECT (SELECT coalesce(max(position), 0) FROM log), newest.size, newest.frontier"
    " FROM (SELECT 1 AS one) AS always LEFT JOIN"
    " (SELECT 1 AS one, size, frontier FROM commits ORDER BY size DESC LIMIT 1) AS newest"
    " ON newest.one = always.one"
)

_RESTORING_MADE = ("ledger.log.migrations", "0002_restoring.sql")
"""A store of before has no such table, and is not being restored by anybody who makes it."""
_COUNTS = "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM commits)"


_OF_HEAD = ", ".join(
    f"CASE WHEN position = ? THEN (SELECT {column} FROM {{0}}commits WHERE size = position) END"
    for column in CommitRow._fields
)
"""The head that ends with a row, beside that row alone."""
_APPENDED = (
    f"SELECT {LOG_COLUMNS}, {_OF_HEAD} FROM {{0}}log WHERE position BETWEEN ? AND ?"
    " AND (SELECT count(*) FROM {0}commits WHERE size BETWEEN ? AND ?) = 1"
    " ORDER BY position"
)
"""Of ranges with both ends, and without a join: a server that has a statement prepared takes a
range without a last one for a third of the log, and joins all commits, each time."""
_LAST = (1 << 63) - 1
_KINDS = [{kind} for kind in get_type_hints(LogRow).values()]
"""Of a row's columns."""


_PROVEN = (
    f"SELECT {LOG_COLUMNS}, newest.size, root, frontier, signer, signature,"
    " (SELECT count(*) FROM signers) FROM (SELECT 1 AS one) AS always"
    " LEFT JOIN log ON log.position = ? LEFT JOIN"
    f" (SELECT 1 AS one, {_COMMIT} FROM commits WHERE size >= ? AND signer IN ({{}})"
    " ORDER BY size DESC LIMIT 1) AS newest ON newest.one = always.one"
)


class Snapshot:
    """A reading, and under the lock a writing, of one ledger."""

    ENGINE: ClassVar[str]
    """As migrations name it."""
    THESE_ALONE: ClassVar = ""
    """What keeps a statement to a table itself, where others can inherit from it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def ledger(self) -> LedgerRow | None:
        """The one row that names the ledger; `altered-ledger` where there are more."""
        found = self.connection.execute("SELECT id, format, salt FROM ledger LIMIT 2")
        if len(found) > 1:
            raise Tampered("altered-ledger", "The store names more than one ledger.")
        return LedgerRow(*found[0]) if found else None

    def is_restoring(self) -> bool:
        """Whether an archive is being restored here, and has not come to its end."""
        there = self.connection.execute(
            "SELECT 1 FROM schema_migrations WHERE package = ? AND name = ?", _RESTORING_MADE
        )
        return bool(there) and bool(self.connection.execute("SELECT one FROM restoring"))

    def head(self) -> CommitRow | None:
        """The last commit."""
        found = self.connection.execute(f"SELECT {_COMMIT} FROM commits ORDER BY size DESC LIMIT 1")
        return CommitRow(*found[0]) if found else None

    def last_position(self) -> int:
        """The highest position in the log; 0 when it is empty."""
        return _number(self.connection.execute("SELECT coalesce(max(position), 0) FROM log")[0][0])

    def extent(self) -> Extent:
        """How far the log and its commits go, in one look."""
        found = self.connection.execute(_EXTENT)[0]
        if found[1] is None:
            return Extent(_number(found[0]), 0, b"")
        last, size = _number(found[0]), _number(found[1])
        if not isinstance(found[2], bytes):
            raise _damaged(size)
        return Extent(last, size, found[2])

    def counts(self) -> Counts:
        """How many rows and commits there are, in one look."""
        return Counts(*self.connection.execute(_COUNTS)[0])

    def signers(self) -> tuple[SignerRow, ...]:
        """All signer rows, in order of storing."""
        found = self.connection.execute(f"SELECT {_SIGNER} FROM signers ORDER BY ordinal")
        return tuple(SignerRow(*row) for row in found)

    def rows_after(self, position: int, limit: int) -> list[LogRow]:
        """The next rows in order of position."""
        return self._rows("position > ? ORDER BY position LIMIT ?", position, limit)

    def tuples_after(self, position: int, limit: int) -> list[tuple[Any, ...]]:
        """The same as they were read, for who looks at columns."""
        return self._tuples("position > ? ORDER BY position LIMIT ?", position, limit)

    def row_at(self, position: int) -> LogRow | None:
        """The row at this position."""
        return next(iter(self._rows("position = ?", position)), None)

    def rows_at(self, positions: Sequence[int]) -> dict[int, LogRow]:
        """The rows at these positions, by position; those that are not there are left out."""
        found: dict[int, LogRow] = {}
        for marks, some in _together(positions):
            found.update((row.position, row) for row in self._rows(f"position IN ({marks})", *some))
        return found

    def rows_of(self, streams: Sequence[bytes], versions: int) -> dict[bytes, list[LogRow]]:
        """The first rows of each of these streams in order of version, at most so many of each."""
        found: dict[bytes, list[LogRow]] = {}
        for marks, some in _together(streams):
            condition = f"stream IN ({marks}) AND version <= ? ORDER BY stream, version"
            for row in self._rows(condition, *some, versions):
                found.setdefault(bytes(row.stream), []).append(row)
        return found

    def leaves_after(self, position: int, limit: int) -> list[bytes]:
        """The next leaves as they are stored, in order of position; unchecked."""
        found = self.connection.execute(
            "SELECT leaf FROM log WHERE position > ? ORDER BY position LIMIT ?", (position, limit)
        )
        return [leaf for (leaf,) in found]

    def newest_of(self, stream: bytes) -> LogRow | None:
        """The row of the highest version in this stream."""
        return next(iter(self._rows("stream = ? ORDER BY version DESC LIMIT 1", stream)), None)

    def stream_rows(self, stream: bytes, after_version: int, limit: int) -> list[LogRow]:
        """The next rows of one stream in order of version."""
        return self._rows(
            "stream = ? AND version > ? ORDER BY version LIMIT ?", stream, after_version, limit
        )

    def rows_of_topics(
        self, prefixes: Sequence[str], after: int, until: int, limit: int
    ) -> list[LogRow]:
        """The next rows after a position, up to another, whose topics begin with one of these."""
        begins = " OR ".join(f"substr(topic, 1, {len(prefix)}) = ?" for prefix in prefixes)
        condition = f"position > ? AND position <= ? AND ({begins}) ORDER BY position LIMIT ?"
        return self._rows(condition, after, until, *prefixes, limit)

    def topics_between(self, after: int, until: int) -> dict[str, int]:
        """How many rows of each topic there are after a position, up to another."""
        found = self.connection.execute(
            "SELECT topic, count(*) FROM log WHERE position > ? AND position <= ? GROUP BY topic",
            (after, until),
        )
        return {str(topic): int(count) for topic, count in found}

    def commits_after(self, size: int, limit: int) -> list[CommitRow]:
        """The next commits in order of size."""
        found = self.connection.execute(
            f"SELECT {_COMMIT} FROM commits WHERE size > ? ORDER BY size LIMIT ?", (size, limit)
        )
        return [CommitRow(*row) for row in found]

    def commit_at(self, size: int) -> CommitRow | None:
        """The commit of exactly this size."""
        found = self.connection.execute(f"SELECT {_COMMIT} FROM commits WHERE size = ?", (size,))
        return CommitRow(*found[0]) if found else None

    def newest_head_by(self, signers: Sequence[bytes], size: int) -> CommitRow | None:
        """The last commit of at least this size that names one of these signers; unchecked."""
        marks = ", ".join("?" * len(signers))
        found = self.connection.execute(
            f"SELECT {_COMMIT} FROM commits WHERE size >= ? AND signer IN ({marks})"
            " ORDER BY size DESC LIMIT 1",
            (size, *signers),
        )
        return CommitRow(*found[0]) if found else None

    def proven(self, position: int, signers: Sequence[bytes]) -> Proven:
        """A row, the last commit that holds it and names one of these signers, in one look."""
        marks = ", ".join("?" * len(signers))
        (found,) = self.connection.execute(_PROVEN.format(marks), (position, position, *signers))
        row, head = found[: len(LogRow._fields)], found[len(LogRow._fields) : -1]
        return Proven(
            None if row[0] is None else log_row(row),
            None if head[0] is None else CommitRow(*head),
            _number(found[-1]),
        )

    def holds(self, rows: Sequence[LogRow], commit: CommitRow) -> bool:
        """Whether what lies beyond the head before is these rows and this head, as they are.

        One look, at all columns: whoever appended them is about to act on their being kept. What
        that costs beside counting them stands in docs/explanation/benchmark.md. Signers' rows,
        which are few and seldom, are for `signers`.
        """
        beyond = (commit.size - len(rows) + 1, _LAST)
        ends = (commit.size for _ in commit)
        appended = _APPENDED.format(self.THESE_ALONE)
        found = self.connection.execute(appended, (*ends, *beyond, *beyond))
        if not found:
            return False
        width = len(LogRow._fields)
        kept, head = [row[:width] for row in found], CommitRow._make(found[-1][width:])
        # What a column of another type makes of a number is equal to it, and no row to anybody.
        kinds = [set(map(type, column)) for column in zip(*kept, strict=True)]
        return kept == list(rows) and kinds == _KINDS and head == commit and head.is_sound

    def insert_ledger(self, row: LedgerRow) -> None:
        """Name the ledger of an empty store."""
        self.connection.execute(
            "INSERT INTO ledger (one, id, format, salt) VALUES (1, ?, ?, ?)",
            (row.id, row.format, row.salt),
        )

    def begin_restoring(self) -> None:
        """Mark the store as one that is being restored."""
        self.connection.execute("INSERT INTO restoring (one) VALUES (1)")

    def end_restoring(self) -> None:
        """Take the mark away."""
        self.connection.execute("DELETE FROM restoring")

    def drop_indexes(self, package: str, tables: Collection[str]) -> None:
        """Take away the indexes that a package's migrations make on these tables."""
        for index in indexes_of(package, self.ENGINE, tables):
            self.connection.execute(f"DROP INDEX IF EXISTS {index.name}")

    def make_indexes(self, package: str, tables: Collection[str]) -> None:
        """Make those of them that are not there."""
        for index in indexes_of(package, self.ENGINE, tables):
            self.connection.execute(index.made)

    def insert_signers(self, rows: Sequence[SignerRow]) -> None:
        """Append signer rows in order."""
        if rows:
            last = self.connection.execute("SELECT coalesce(max(ordinal), 0) FROM signers")[0][0]
            self.connection.executemany(
                f"INSERT INTO signers (ordinal, {_SIGNER}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(ordinal, *row) for ordinal, row in enumerate(rows, _number(last) + 1)],
            )

    def insert_rows(self, rows: Sequence[LogRow]) -> None:
        """Append events in order."""
        if rows:
            self.connection.executemany(INSERT_ROW, rows)

    def insert_commit(self, row: CommitRow) -> None:
        """Append the signed head of this transaction."""
        self.connection.execute(f"INSERT INTO commits ({_COMMIT}) VALUES (?, ?, ?, ?, ?)", row)

    def _rows(self, condition: str, *parameters: object) -> list[LogRow]:
        return list(map(log_row, self._tuples(condition, *parameters)))

    def _tuples(self, condition: str, *parameters: object) -> list[tuple[Any, ...]]:
        sql = f"SELECT {LOG_COLUMNS} FROM log WHERE {condition}"
        return self.connection.execute(sql, parameters)


def _together(wanted: Sequence[T]) -> Iterator[tuple[str, Sequence[T]]]:
    """The marks of a statement and what stands for them, the last repeated where there is less."""
    left = list(wanted)
    while left:
        asked = next((many for many in _TOGETHER if many >= len(left)), _TOGETHER[-1])
        some, left = left[:asked], left[asked:]
        yield ", ".join("?" * asked), some + some[-1:] * (asked - len(some))


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise _damaged()
    return value


def _damaged(position: int | None = None) -> Tampered:
    return Tampered(
        "store-damaged", "The store holds a value that no ledger wrote.", position=position
    )
