"""A ledger in one SQLite file: WAL, synchronous=FULL, one writer at a time in fair order.

Writers queue for their turn outside of SQLite, see `turns.py`: whoever has it is alone with
`BEGIN IMMEDIATE`.

Connections belong to one thread and one process each: they are opened where they are first used,
end with their thread, and are opened anew after a fork.

A file that is taken away or replaced stays there for whoever has it open, and for nobody else. So
each use looks whether the path names the open file still, and a commit counts only if it does.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Tampered, Unavailable
from ledger.log.file_urls import sqlite_url
from ledger.log.forking import rest_while_forking
from ledger.log.gate import Gate
from ledger.log.migrations import NOTES_MADE, Migration, migrations_of
from ledger.log.objects import Oddity, oddities
from ledger.log.rows import TABLES, CommitRow, LedgerRow, LogRow, SignerRow
from ledger.log.snapshot import INSERT_ROW, Snapshot
from ledger.log.sqlite_objects import interposed, objects_in, objects_made
from ledger.log.turns import Turns, locked_too_long, store_full
from ledger.log.upserts import Columns, Moving, Row, in_groups, in_order, repeated, with_values
from ledger.places import is_missing

LOCK_TIMEOUT_S = 30.0
STRANGER_TIMEOUT_S = 10.0
"""How long SQLite itself waits for whoever writes to the file without standing in line for it."""
_LOCK_POLL_S = 0.001

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_OURS_TO_MEND = ("syntax error", "transaction")
"""Of what SQLite calls by its one general code, what a statement is refused for on any tables."""
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


File = tuple[int, int]
"""Device and inode."""


class SqliteConnection:
    """Statements on one SQLite connection, with our errors."""

    def __init__(self, raw: sqlite3.Connection, file: File | None = None) -> None:
        self.raw = raw
        self.file = file
        """The one that it has open, whatever its path names by now."""

    def require_transaction(self) -> None:
        """SQLite ends a transaction by itself after some failures of the disk.

        Whatever is written after that would be committed on its own, without a signed head.
        """
        if not self.raw.in_transaction:
            raise Unavailable("store-interrupted", "The store ended the transaction by itself.")

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows."""
        try:
            return self.raw.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            if _is_undecodable(error):
                return self._execute_leniently(sql, parameters)
            raise self._ours(error) from error

    def _execute_leniently(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Read again what the driver gave up on, so that whoever looks at the rows can name one.

        Text that is none stays text: as bytes it would pass for what a ledger wrote. Only readings
        give rows, so nothing is written twice.
        """
        self.raw.text_factory = _lenient_text
        try:
            return self.raw.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            raise self._ours(error) from error
        finally:
            self.raw.text_factory = str

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Run one statement for each set of parameters."""
        try:
            self.raw.executemany(sql, parameters)
        except sqlite3.Error as error:
            raise self._ours(error) from error

    def insert(self, sql: str, rows: Sequence[Row]) -> None:
        """Run a statement that inserts one row of values for all of these, many of them at once.

        The driver lets go of the interpreter's lock for each statement, and whoever else is busy
        in this process takes it: a statement for each row would wait for them as often.
        """
        try:
            for group in in_groups(rows):
                values = tuple(chain.from_iterable(group))
                self.raw.execute(repeated(sql, len(group)), values)
        except sqlite3.Error as error:
            raise self._ours(error) from error

    def upsert(
        self, table: str, columns: Columns, rows: Sequence[Row], moving: Moving = None
    ) -> None:
        """Put rows into a table whose key is its first column, in the order in which they lie."""
        self.insert(with_values(table, columns, moving), in_order(rows, moving))

    def _ours(self, error: sqlite3.Error) -> LedgerError:
        """Our error; a table that is missing is damage wherever there is, or was, a ledger.

        Not one that is there by now: the ledger was made since it was missed.
        """
        missed = _missing_table(error)
        if missed is not None and (not self._holds_ledger() or self._has(missed)):
            return _no_ledger()
        return _translated(error)

    def _has(self, table: str) -> bool:
        # An index may have the name of a table that is gone.
        found = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        try:
            return bool(self.raw.execute(found, (table,)).fetchall())
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _holds_ledger(self) -> bool:
        """Whether some of the log's tables are there, or all of them and a ledger in them.

        All four are made at once and the views' behind them, before there is a ledger.
        """
        marks = ", ".join("?" * len(TABLES))
        found = f"SELECT name FROM sqlite_master WHERE name IN ({marks})"
        try:
            there = len(self.raw.execute(found, TABLES).fetchall())
            if there == len(TABLES):
                return bool(self.raw.execute("SELECT 1 FROM ledger LIMIT 1").fetchall())
        except sqlite3.Error as error:
            raise _translated(error) from error
        return there > 0


class SqliteSnapshot(Snapshot):
    """A reading, and under the lock a writing, of one SQLite ledger."""

    ENGINE = "sqlite"
    connection: SqliteConnection

    def oddities(self) -> tuple[Oddity, ...]:
        """What of the four tables is not as the migrations make it."""
        return tuple(oddities(objects_made(), objects_in(self.connection.execute)))

    def interposed(self, package: str) -> tuple[str, ...]:
        """What somebody put between the tables of a package and who writes to and reads them."""
        return tuple(interposed(self.connection.execute, package))

    def make_indexes(self, package: str, tables: Collection[str]) -> None:
        """Make those of them that are not there; another thread of SQLite's helps to sort.

        Both sort as many pages at a time as the cache may have.
        """
        self.connection.execute("PRAGMA threads = 1")
        self.connection.execute("PRAGMA cache_size = -8192")
        try:
            super().make_indexes(package, tables)
        finally:
            self.connection.execute("PRAGMA cache_size = -16384")
            self.connection.execute("PRAGMA threads = 0")

    def insert_ledger(self, row: LedgerRow) -> None:
        """Name the ledger of an empty store."""
        self.connection.require_transaction()
        super().insert_ledger(row)

    def insert_signers(self, rows: Sequence[SignerRow]) -> None:
        """Append signer rows in order."""
        self.connection.require_transaction()
        super().insert_signers(rows)

    def insert_rows(self, rows: Sequence[LogRow]) -> None:
        """Append events in order."""
        self.connection.require_transaction()
        self.connection.insert(INSERT_ROW, rows)

    def insert_commit(self, row: CommitRow) -> None:
        """Append the signed head of this transaction."""
        self.connection.require_transaction()
        super().insert_commit(row)


class SqliteStore:
    """One ledger in one SQLite file."""

    def __init__(
        self,
        path: Path,
        *,
        migration_packages: Sequence[str] = ("ledger.log.migrations",),
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.path = path
        self._migration_packages = tuple(migration_packages)
        self._lock_timeout_s = lock_timeout_s
        self._local = threading.local()
        self._opened: weakref.WeakSet[SqliteConnection] = weakref.WeakSet()
        self._inherited: tuple[object, ...] = ()
        self._rested = True
        self._gate = Gate()
        self._opened_guard = threading.Lock()
        self._turns = Turns(path, lock_timeout_s)
        rest_while_forking(self, depth=0)

    @property
    def lies_by_stream(self) -> bool:
        """Tables without row numbers do."""
        return True

    @property
    def works_elsewhere(self) -> bool:
        """It is a library in this process."""
        return False

    @property
    def address(self) -> str:
        """Where it is, as shown to people, and as a setting names it."""
        return sqlite_url(self.path)

    def create(self) -> None:
        """Make the file and its tables; nothing happens where they are already."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise Unavailable(
                "store-not-writable", "The store's file cannot be made or written."
            ) from error
        with self._gate.passing(), self._turns.taken():
            _migrate(self._connection(), self._steps())

    def server(self) -> None:
        """There is none."""
        return

    @contextmanager
    def reading(self) -> Iterator[SqliteSnapshot]:
        """A short consistent snapshot; `no-ledger` where there is no store."""
        with self._gate.passing():
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                yield SqliteSnapshot(connection)
            finally:
                connection.raw.rollback()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[SqliteSnapshot]:
        """A snapshot under the lock; durable when the `with` is left without an exception.

        What need not be durable is in the write-ahead log all the same, and on disk with the next
        commit that is.
        """
        with self._gate.passing(), self._turns.taken():
            connection = self._connection()
            if not durable:
                connection.execute("PRAGMA synchronous = NORMAL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield SqliteSnapshot(connection)
                connection.require_transaction()
                connection.execute("COMMIT")
                if connection.file != self._file():
                    raise _replaced()
            finally:
                if connection.raw.in_transaction:
                    connection.raw.rollback()
                if not durable:
                    connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Let go of all connections of this process."""
        with self._opened_guard:
            for connection in list(self._opened):
                connection.raw.close()
            self._opened.clear()
            self._local = threading.local()

    def rest_before_fork(self) -> None:
        """Wait for the transactions of all threads and close their connections."""
        self._rested = self._gate.shut(self._lock_timeout_s)
        if self._rested:
            self.close()

    def go_on_after_fork(self) -> None:
        """Open connections again when they are needed."""
        self._rested = True
        self._gate.open()

    def renew_after_fork(self) -> None:
        """The child has locks and connections of its own; what the parent holds stays untouched."""
        self._turns.abandon()
        self._inherited = (*self._opened,)
        self._opened = weakref.WeakSet()
        self._local = threading.local()
        self._opened_guard = threading.Lock()
        self._gate = Gate()
        self._turns = Turns(self.path, self._lock_timeout_s)

    def _connection(self) -> SqliteConnection:
        held: SqliteConnection | None = getattr(self._local, "held", None)
        if held is not None:
            if held.file == self._file():
                return held
            self._let_go(held)
        if not self._rested:
            raise Unavailable(
                "store-forked",
                "The process was forked in the middle of a transaction.",
                hint="Open the ledger after the fork, or fork while nothing is being read.",
            )
        if is_missing(self.path):
            raise _no_ledger()
        connection = self._connect()
        self._local.held = connection
        return connection

    def _file(self) -> File | None:
        """The file that the path names now, if there is one."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _let_go(self, connection: SqliteConnection) -> None:
        """Have nothing more to do with a file that was taken away or replaced."""
        self._local.held = None
        with self._opened_guard:
            self._opened.discard(connection)
        connection.raw.close()

    def _connect(self) -> SqliteConnection:
        file = self._file()
        try:
            raw = self._raw()
            raw.execute("PRAGMA synchronous = FULL")
            raw.execute("PRAGMA cache_size = -16384")
            raw.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.Error as error:
            raise _translated(error) from error
        connection = SqliteConnection(raw, file)
        # The driver's own object is part of a cycle, and would be closed whenever that is found.
        weakref.finalize(connection, raw.close).atexit = False
        with self._opened_guard:
            self._opened.add(connection)
        _refuse_newer(connection, self._steps())
        return connection

    def _raw(self) -> sqlite3.Connection:
        """A connection; where nothing may be written beside the file, one that only reads it.

        A write-ahead log needs a file beside the database even of readers. Where there is none and
        none may be made, as on a medium that is read-only, the file holds everything by itself.
        """

        def connected(place: str, *, uri: bool) -> sqlite3.Connection:
            return sqlite3.connect(
                place,
                timeout=STRANGER_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
                uri=uri,
            )

        try:
            raw = connected(str(self.path), uri=False)
            self._log_ahead(raw)
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            # A folder that is merely full may be written to, and whoever cannot record is told so.
            effective = os.access in os.supports_effective_ids
            may_write = os.access(self.path.parent, os.W_OK, effective_ids=effective)
            log = self.path.with_name(f"{self.path.name}-wal")
            if code not in _READ_ONLY or may_write or not is_missing(log):
                raise
            return connected(f"{self.path.as_uri()}?immutable=1", uri=True)
        return raw

    def _log_ahead(self, raw: sqlite3.Connection) -> None:
        """Use a write-ahead log; of several who begin that at once, SQLite lets nobody wait."""
        deadline = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                raw.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code not in _LOCKED or time.monotonic() > deadline:
                    raise
                time.sleep(_LOCK_POLL_S)
            else:
                return

    def _steps(self) -> list[Migration]:
        return [
            step
            for package in self._migration_packages
            for step in migrations_of(package, "sqlite")
        ]


def _migrate(connection: SqliteConnection, steps: Sequence[Migration]) -> None:
    for step in steps:
        connection.execute(NOTES_MADE)
        known = connection.execute(
            "SELECT 1 FROM schema_migrations WHERE package = ? AND name = ?",
            (step.package, step.name),
        )
        if known:
            continue
        note = (
            "INSERT INTO schema_migrations (package, name) VALUES"
            f" ('{step.package}', '{step.name}');"
        )
        try:
            connection.raw.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n{note}\nCOMMIT;")
        except sqlite3.Error as error:
            connection.raw.rollback()
            raise _translated(error) from error


def _refuse_newer(connection: SqliteConnection, steps: Sequence[Migration]) -> None:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'"
    )
    if not tables:
        return
    ours = {(step.package, step.name) for step in steps}
    packages = {step.package for step in steps}
    there = connection.execute("SELECT package, name FROM schema_migrations")
    if any(row[0] in packages and tuple(row) not in ours for row in there):
        raise Unavailable(
            "store-newer",
            "The store was written by a newer version of credledger.",
            hint="Install that version or a later one; this one changes nothing.",
        )


def _replaced() -> Unavailable:
    return Unavailable(
        "store-replaced",
        "The store's file was taken away or replaced while something was recorded in it.",
        hint="Nothing was released. Put the file back, or restore a backup.",
    )


def _is_undecodable(error: sqlite3.Error) -> bool:
    """Whether the driver itself gave up on a stored value: text that is no UTF-8."""
    of_engine = getattr(error, "sqlite_errorcode", None) is not None
    return isinstance(error, sqlite3.OperationalError) and not of_engine


def _lenient_text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def _translated(error: sqlite3.Error) -> LedgerError:
    full_code = getattr(error, "sqlite_errorcode", None)
    if full_code is None:
        return InvalidInput("store-statement", "The store refused a statement as malformed.")
    code = full_code & 0xFF
    if code in _DAMAGED:
        return Tampered("store-damaged", "The store's file is damaged or is no SQLite database.")
    if code in _LOCKED:
        return locked_too_long()
    if code == sqlite3.SQLITE_FULL:
        return store_full()
    if code in _READ_ONLY:
        return Unavailable("store-not-writable", "The store's file cannot be opened or written.")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict("append-refused", "The store refused an append that was out of order.")
    if code == sqlite3.SQLITE_ERROR and not any(word in str(error) for word in _OURS_TO_MEND):
        # Every other reason not to run one of our statements lies in the tables.
        return Tampered("store-damaged", "The store's tables are not as a ledger makes them.")
    return Unavailable("store-unreachable", "The store's file could not be read or written.")


def _missing_table(error: sqlite3.Error) -> str | None:
    """The table that is not there, if that is what the engine tells."""
    told, _, name = str(error).partition("no such table: ")
    of_engine = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return name.removeprefix("main.") if of_engine and name and not told else None


def _no_ledger() -> NotFound:
    return NotFound(
        "no-ledger",
        "There is no ledger at this store.",
        hint="Check --store; `credledger init` makes a new one, and `credledger backup restore DIR`"
        " brings a lost one back.",
    )
