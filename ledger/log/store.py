"""What a store of ledgers does, whichever engine keeps it.

A *reading* is one short consistent snapshot; a *writing* holds the ledger's one lock from before
its first look until its commit, so what is read in it is the newest there is. Leaving the `with`
of a writing without an exception commits durably; with one, nothing of it stays.

Statements for views use `?` as the placeholder on every engine. All failures of the engine come
out as our errors: `Unavailable` (locked too long, gone, full, newer schema), `Tampered` (damaged
file), `Conflict` (an append out of order).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from ledger.aggregates.recorded import Recorded
from ledger.log.objects import Oddity
from ledger.log.rows import CommitRow, Counts, Extent, LedgerRow, LogRow, Proven, SignerRow
from ledger.log.upserts import Columns, Moving, Row


class ServerState(msgspec.Struct, frozen=True):
    """What the server behind a store says of itself."""

    clock_us: int
    """Its clock, microseconds UTC."""
    outlives_failover: bool
    """Whether no acknowledged commit can be missing on a standby that takes over."""
    lacking: tuple[str, ...] = ()
    """Rights without which this connection can record nothing, such as `INSERT on log`."""


class Connection(Protocol):
    """Plain statements, for the tables of views."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Run one statement for each set of parameters."""
        ...

    def upsert(
        self, table: str, columns: Columns, rows: Sequence[Row], moving: Moving = None
    ) -> None:
        """Put rows into a table whose key is its first column; see `ledger.log.upserts`."""
        ...


class LogReading(Protocol):
    """What a verifier asks of a log, wherever it lies: in a store or in an archive."""

    def ledger(self) -> LedgerRow | None:
        """The one row that names the ledger; None in an empty store."""
        ...

    def last_position(self) -> int:
        """The highest position in the log; 0 when it is empty."""
        ...

    def extent(self) -> Extent:
        """The highest position in the log and the size of the last commit, in one look."""
        ...

    def counts(self) -> Counts:
        """How many rows and commits the tables hold, wherever they say that they lie."""
        ...

    def signers(self) -> tuple[SignerRow, ...]:
        """All signer rows, in order of storing."""
        ...

    def rows_after(self, position: int, limit: int) -> list[LogRow]:
        """The next rows in order of position."""
        ...

    def tuples_after(self, position: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """The same, of which nobody wants more than the columns of a `LogRow`."""
        ...

    def commits_after(self, size: int, limit: int) -> list[CommitRow]:
        """The next commits in order of size."""
        ...

    def commit_at(self, size: int) -> CommitRow | None:
        """The commit of exactly this size."""
        ...


class LogSource(Protocol):
    """Where a log can be read."""

    def reading(self) -> AbstractContextManager[LogReading]:
        """A consistent look at it."""
        ...


class Reading(LogReading, Protocol):
    """One short consistent snapshot of a ledger."""

    @property
    def connection(self) -> Connection:
        """The same snapshot, for the tables of views."""
        ...

    def oddities(self) -> tuple[Oddity, ...]:
        """What of the four tables is not as the migrations make it."""
        ...

    def interposed(self, package: str) -> tuple[str, ...]:
        """What somebody put between the tables of a package and who writes to and reads them."""
        ...

    def is_restoring(self) -> bool:
        """Whether an archive is being restored here, and has not come to its end."""
        ...

    def head(self) -> CommitRow | None:
        """The last commit."""
        ...

    def row_at(self, position: int) -> LogRow | None:
        """The row at this position."""
        ...

    def rows_at(self, positions: Sequence[int]) -> dict[int, LogRow]:
        """The rows at these positions, by position; those that are not there are left out."""
        ...

    def newest_of(self, stream: bytes) -> LogRow | None:
        """The row of the highest version in this stream."""
        ...

    def stream_rows(self, stream: bytes, after_version: int, limit: int) -> list[LogRow]:
        """The next rows of one stream in order of version."""
        ...

    def rows_of(self, streams: Sequence[bytes], versions: int) -> dict[bytes, list[LogRow]]:
        """The first rows of each of these streams in order of version, at most so many of each."""
        ...

    def leaves_after(self, position: int, limit: int) -> list[bytes]:
        """The next leaves as they are stored, in order of position; unchecked."""
        ...

    def newest_head_by(self, signers: Sequence[bytes], size: int) -> CommitRow | None:
        """The last commit of at least this size that names one of these signers; unchecked."""
        ...

    def proven(self, position: int, signers: Sequence[bytes]) -> Proven:
        """A row, the last commit that holds it and names one of these signers, in one look."""
        ...

    def rows_of_topics(
        self, prefixes: Sequence[str], after: int, until: int, limit: int
    ) -> list[LogRow]:
        """The next rows after a position, up to another, whose topics begin with one of these."""
        ...

    def topics_between(self, after: int, until: int) -> dict[str, int]:
        """How many rows of each topic there are after a position, up to another."""
        ...


class Writing(Reading, Protocol):
    """A snapshot that holds the lock and may append."""

    def holds(self, rows: Sequence[LogRow], commit: CommitRow) -> bool:
        """Whether what lies beyond the head before is these rows and this head, as they are."""
        ...

    def insert_ledger(self, row: LedgerRow) -> None:
        """Name the ledger of an empty store."""
        ...

    def begin_restoring(self) -> None:
        """Mark the store as one that is being restored."""
        ...

    def end_restoring(self) -> None:
        """Take the mark away."""
        ...

    def drop_indexes(self, package: str, tables: Collection[str]) -> None:
        """Take away the indexes that a package's migrations make on these tables."""
        ...

    def make_indexes(self, package: str, tables: Collection[str]) -> None:
        """Make those of them that are not there."""
        ...

    def insert_signers(self, rows: Sequence[SignerRow]) -> None:
        """Append signer rows in order."""
        ...

    def insert_rows(self, rows: Sequence[LogRow]) -> None:
        """Append events in order."""
        ...

    def insert_commit(self, row: CommitRow) -> None:
        """Append the signed head of this transaction."""
        ...


class Store(Protocol):
    """One ledger's place in a database."""

    @property
    def lies_by_stream(self) -> bool:
        """Whether rows that are kept by stream lie in its order, or as they came."""
        ...

    @property
    def works_elsewhere(self) -> bool:
        """Whether the work of a commit is another process's."""
        ...

    @property
    def address(self) -> str:
        """Where it is, without any secret, as shown to people."""
        ...

    def create(self) -> None:
        """Make the place and its tables; nothing happens where they are already."""
        ...

    def server(self) -> ServerState | None:
        """The state of the server; None where the store is a file of this host."""
        ...

    def reading(self) -> AbstractContextManager[Reading]:
        """A short consistent snapshot."""
        ...

    def writing(self, *, durable: bool = True) -> AbstractContextManager[Writing]:
        """A snapshot under the lock, committed at its end.

        What need not be durable may be lost in a crash, but never in part, and is durable with
        the next commit that is.
        """
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


class Maintainer(Protocol):
    """Something on the read side that follows the log in the append's own transaction."""

    def maintain(self, connection: Connection, recorded: Sequence[Recorded]) -> None:
        """Fold these rows if the view stands just before the first; else leave it lagging."""
        ...
