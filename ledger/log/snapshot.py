"""What is asked of a ledger's four tables and put into them, in words that every engine knows."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.log.rows import CommitRow, Extent, LedgerRow, LogRow, SignerRow
from ledger.log.store import Connection

LOG_COLUMNS = ", ".join(LogRow._fields)
INSERT_ROW = f"INSERT INTO log ({LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COMMIT = ", ".join(CommitRow._fields)
_SIGNER = "public_key, class, change, from_size, introduced_by, signature"
_EXTENT = (
    "SELECT (SELECT coalesce(max(position), 0) FROM log), newest.size, newest.frontier"
    " FROM (SELECT 1 AS one) AS always LEFT JOIN"
    " (SELECT 1 AS one, size, frontier FROM commits ORDER BY size DESC LIMIT 1) AS newest"
    " ON newest.one = always.one"
)


class Snapshot:
    """A reading, and under the lock a writing, of one ledger."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def ledger(self) -> LedgerRow | None:
        """The one row that names the ledger."""
        found = self.connection.execute("SELECT id, format, salt FROM ledger")
        return LedgerRow(*found[0]) if found else None

    def head(self) -> CommitRow | None:
        """The last commit."""
        found = self.connection.execute(f"SELECT {_COMMIT} FROM commits ORDER BY size DESC LIMIT 1")
        return CommitRow(*found[0]) if found else None

    def last_position(self) -> int:
        """The highest position in the log; 0 when it is empty."""
        return int(self.connection.execute("SELECT coalesce(max(position), 0) FROM log")[0][0])

    def extent(self) -> Extent:
        """How far the log and its commits go, in one look."""
        found = self.connection.execute(_EXTENT)[0]
        return Extent(int(found[0]), int(found[1] or 0), bytes(found[2] or b""))

    def signers(self) -> tuple[SignerRow, ...]:
        """All signer rows, in order of storing."""
        found = self.connection.execute(f"SELECT {_SIGNER} FROM signers ORDER BY ordinal")
        return tuple(SignerRow(*row) for row in found)

    def rows_after(self, position: int, limit: int) -> list[LogRow]:
        """The next rows in order of position."""
        return self._rows("position > ? ORDER BY position LIMIT ?", position, limit)

    def topics_after(self, position: int, limit: int) -> list[tuple[int, str]]:
        """Position and topic of the next rows, without what is sealed in them."""
        found = self.connection.execute(
            "SELECT position, topic FROM log WHERE position > ? ORDER BY position LIMIT ?",
            (position, limit),
        )
        return [(row[0], row[1]) for row in found]

    def row_at(self, position: int) -> LogRow | None:
        """The row at this position."""
        return next(iter(self._rows("position = ?", position)), None)

    def newest_of(self, stream: bytes) -> LogRow | None:
        """The row of the highest version in this stream."""
        return next(iter(self._rows("stream = ? ORDER BY version DESC LIMIT 1", stream)), None)

    def stream_rows(self, stream: bytes, after_version: int, limit: int) -> list[LogRow]:
        """The next rows of one stream in order of version."""
        return self._rows(
            "stream = ? AND version > ? ORDER BY version LIMIT ?", stream, after_version, limit
        )

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

    def insert_ledger(self, row: LedgerRow) -> None:
        """Name the ledger of an empty store."""
        self.connection.execute(
            "INSERT INTO ledger (one, id, format, salt) VALUES (1, ?, ?, ?)",
            (row.id, row.format, row.salt),
        )

    def insert_signers(self, rows: Sequence[SignerRow]) -> None:
        """Append signer rows in order."""
        if rows:
            last = self.connection.execute("SELECT coalesce(max(ordinal), 0) FROM signers")[0][0]
            self.connection.executemany(
                f"INSERT INTO signers (ordinal, {_SIGNER}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(ordinal, *row) for ordinal, row in enumerate(rows, int(last) + 1)],
            )

    def insert_rows(self, rows: Sequence[LogRow]) -> None:
        """Append events in order."""
        if rows:
            self.connection.executemany(INSERT_ROW, rows)

    def insert_commit(self, row: CommitRow) -> None:
        """Append the signed head of this transaction."""
        self.connection.execute(f"INSERT INTO commits ({_COMMIT}) VALUES (?, ?, ?, ?, ?)", row)

    def _rows(self, condition: str, *parameters: object) -> list[LogRow]:
        sql = f"SELECT {LOG_COLUMNS} FROM log WHERE {condition}"
        return [LogRow._make(row) for row in self.connection.execute(sql, parameters)]
