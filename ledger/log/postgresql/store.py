"""A ledger in one schema of a PostgreSQL database; many ledgers share a database.

The lock is the ledger's one row, `SELECT ... FOR UPDATE` in a statement of its own: whatever is
read after it is read in a later statement, and so sees what was committed while the lock was
waited for. (Lock and look-up in one statement would see the state from before the wait.) Until a
ledger is founded there is no such row, and the one row of `founding` stands in for it. Row locks
hold wherever a client enters a cluster; advisory locks would not.

    writing   BEGIN ISOLATION LEVEL READ COMMITTED, settings, lock    one round trip
              statements
              COMMIT, on disk here and on a synchronous standby if there is one
    reading   BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY         a snapshot, no lock

Settings are made in each transaction, so that nothing depends on what a session, or another
behind a shared connection, has set before. Threads of one process queue for the lock within the
process: one connection waits on the server, not each of theirs.

What is bounded: waiting for the lock (`store-locked`), for a statement (`store-timeout`), for a
synchronous standby (`commit-unconfirmed`); a writer that stops in the middle of a transaction
loses its connection, and the others go on. What a server cannot promise is refused: see
`postgresql.durability`. An idle connection that turns out to be lost before anything was asked
through it is replaced unseen.

It keeps to what clusters and failover bear: no advisory locks, sequences, notifications or
deferred constraints; errors are told by SQLSTATE.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from ledger.errors import LedgerError, Tampered
from ledger.log.forking import renew_in_children
from ledger.log.migrations import NOTES, Migration, migrations_of
from ledger.log.postgresql.connections import Connections, Link
from ledger.log.postgresql.durability import Durability, durability_of, require_durable
from ledger.log.postgresql.errors import (
    is_lost,
    lacks_table,
    locked_too_long,
    other_tables,
    translated,
)
from ledger.log.postgresql.migrating import migrate, refuse_newer
from ledger.log.postgresql.objects import tables_made
from ledger.log.postgresql.place import postgresql_place
from ledger.log.postgresql.roles import Rights, grant_writer, lacking_to_record, rights_of
from ledger.log.postgresql.snapshot import PostgresqlConnection, PostgresqlSnapshot
from ledger.log.rows import TABLES
from ledger.log.store import ServerState

LOCK_TIMEOUT_S = 30.0
STATEMENT_TIMEOUT_S = 300.0
STANDBY_TIMEOUT_S = 30.0
STILLNESS_MAX_S = 60.0
"""So long may a transaction stand still between two statements."""

_PROMISES = (
    "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
    " current_setting('synchronous_standby_names'),"
    " coalesce(array_agg(relname::text) FILTER (WHERE relpersistence <> 'p'), '{{}}'),"
    " count(*) FILTER (WHERE relkind NOT IN ('r', 'p') OR row_security_active(oid))"
    " FROM pg_class WHERE oid IN ({})"
)
"""Of the log's tables: which a crash empties, and how many answer by somebody else's rules, as a
view does and one with policies. What runs there could undo a record while it is read back."""
_TABLES_THERE = (
    "SELECT relname::text FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    " AND relname = ANY(%s)"
)


class PostgresqlStore:
    """One ledger in one schema."""

    def __init__(
        self,
        url: str,
        *,
        migration_packages: Sequence[str] = ("ledger.log.migrations",),
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        standby_timeout_s: float = STANDBY_TIMEOUT_S,
    ) -> None:
        """`invalid-store` where the URL is none; nothing is connected yet."""
        self._place = postgresql_place(url)
        self._migration_packages = tuple(migration_packages)
        self._lock_timeout_s = lock_timeout_s
        self._standby_timeout_s = standby_timeout_s
        self._connections = Connections(self._place.conninfo, lock_timeout_s)
        self._writer_guard = threading.Lock()
        # Where the role may not look into the schema, only a full name tells that from its absence.
        schema = f'"{self._place.schema}"'
        lock = "SELECT one FROM {}.{} WHERE one = 1 FOR UPDATE"
        self._lock = lock.format(schema, "ledger").encode()
        self._lock_founding = lock.format(schema, "founding").encode()
        self._any_ledger = f"SELECT 1 FROM {schema}.ledger LIMIT 1".encode()
        self._noted = f"SELECT package, name FROM {schema}.schema_migrations".encode()
        tables = ", ".join(f"to_regclass('{schema}.{table}')" for table in TABLES)
        promises = _PROMISES.format(tables)
        bounds = (
            f"SET LOCAL search_path = {schema}, pg_temp;"
            f"SET LOCAL statement_timeout = {_milliseconds(STATEMENT_TIMEOUT_S)};"
            f"SET LOCAL idle_in_transaction_session_timeout = {_milliseconds(STILLNESS_MAX_S)};"
        )
        self._begin_reading = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{bounds}".encode()
        self._begin_writing, self._begin_writing_lightly = (
            (
                f"BEGIN ISOLATION LEVEL READ COMMITTED;{bounds}"
                f"SET LOCAL synchronous_commit = {waits};"
                f"SET LOCAL lock_timeout = {_milliseconds(lock_timeout_s)};"
                f"{promises};"
            ).encode()
            + self._lock
            for waits in ("on", "off")
        )
        renew_in_children(self)

    @property
    def lies_by_stream(self) -> bool:
        """Tables keep rows as they came."""
        return False

    @property
    def works_elsewhere(self) -> bool:
        """It is the server's."""
        return True

    @property
    def address(self) -> str:
        """Host, database and schema, as shown to people."""
        return self._place.address

    def create(self) -> None:
        """Make the schema and its tables, as the role that is to own them.

        Nothing happens where they are already; `store-not-writable` where the role may not.
        """
        with self._as_owner() as link:
            migrate(link.raw, self._place.schema, self._steps())

    def grant_writer(self, role: str) -> None:
        """Give a role what a writer needs and no more; by the owner, after each migration."""
        with self._as_owner() as link:
            grant_writer(link.raw, self._place.schema, role)

    def rights_of_connection(self) -> Rights:
        """What the connecting role may do beyond a writer's needs, and what it lacks."""
        with self.reading() as reading:
            return rights_of(reading.connection, self._place.schema)

    def durability(self) -> Durability:
        """How far the server's acknowledgements can be trusted."""
        with self.reading() as reading:
            return durability_of(reading.connection)

    def server(self) -> ServerState:
        """Its clock, whether a failover can lose what it acknowledged, and what we may not do."""
        with self.reading() as reading:
            clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            ((clock_us,),) = reading.connection.execute(clock)
            return ServerState(
                clock_us,
                durability_of(reading.connection).outlives_failover,
                lacking_to_record(reading.connection, self._place.schema),
            )

    @contextmanager
    def reading(self) -> Iterator[PostgresqlSnapshot]:
        """A short consistent snapshot; `no-ledger` where there is no store."""
        with self._connections.reader():
            link, _ = self._begun(self._begin_reading)
            try:
                connection = PostgresqlConnection(link, ours=self._ours)
                self._refuse_newer(connection)
                yield PostgresqlSnapshot(connection)
            finally:
                self._end(link)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[PostgresqlSnapshot]:
        """A snapshot under the lock; durable when the `with` is left without an exception.

        What need not be durable waits for no disk and no standby.
        `commit-unconfirmed` says that the rows may be there all the same: look in a writing.
        """
        with self._alone():
            link, answers = self._begun(
                self._begin_writing if durable else self._begin_writing_lightly
            )
            connection = PostgresqlConnection(link, waiting=False, ours=_of_locked)
            try:
                ((fsync, full_page_writes, standbys, unlogged, ruled),), locked = answers[-2:]
                require_durable(fsync, full_page_writes, unlogged)
                if ruled:
                    raise other_tables()
                if not locked:
                    self._lock_to_found(connection)
                self._refuse_newer(connection)
                yield PostgresqlSnapshot(connection)
                connection.commit(self._standby_timeout_s if standbys and durable else None)
            finally:
                self._end(link)

    def close(self) -> None:
        """Let go of all idle connections of this process."""
        self._connections.forget_idle()

    def renew_after_fork(self) -> None:
        """The child has locks and connections of its own; the parent's stay untouched."""
        self._connections.renew_after_fork()
        self._writer_guard = threading.Lock()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        guard = self._writer_guard
        if not guard.acquire(timeout=self._lock_timeout_s):
            raise locked_too_long()
        try:
            yield
        finally:
            guard.release()

    @contextmanager
    def _as_owner(self) -> Iterator[Link]:
        link = self._connections.open()
        try:
            link.raw.execute(f"SET lock_timeout = {_milliseconds(self._lock_timeout_s)}".encode())
            yield link
        except psycopg.Error as error:
            raise translated(error) from error
        finally:
            link.close()

    def _begun(self, opening: bytes) -> tuple[Link, list[list[tuple[Any, ...]]]]:
        """A connection on which a transaction has begun, and what its statements answered."""
        link = self._connections.take()
        try:
            return link, _answers(link, opening)
        except psycopg.Error as error:
            self._end(link)
            if not (link.used and is_lost(error)):
                raise self._ours(error) from error
        except BaseException:
            link.close()
            raise
        # It was lost while it lay idle, and most likely all the others with it.
        self._connections.forget_idle()
        link = self._connections.open()
        try:
            return link, _answers(link, opening)
        except psycopg.Error as error:
            self._end(link)
            raise self._ours(error) from error

    def _ours(self, error: psycopg.Error) -> LedgerError:
        """Our error; a table that is missing is damage wherever there is, or was, a ledger.

        That is looked up on a connection of its own: on the other one the transaction has failed.
        """
        return other_tables() if lacks_table(error) and self._lacks_some() else translated(error)

    def _lacks_some(self) -> bool:
        """Whether some of the log's tables are not there, or a view's where there is a ledger.

        All are made at once, before there is a ledger; that may have been since they were missed.
        """
        made = {NOTES}.union(*map(tables_made, self._migration_packages))
        link = self._connections.take()
        try:
            found = link.raw.execute(_TABLES_THERE, (self._place.schema, [*made])).fetchall()
            there = {name for (name,) in found}
            if there.issuperset(TABLES):
                return there != made and bool(link.raw.execute(self._any_ledger).fetchall())
            return not there.isdisjoint(TABLES)
        except psycopg.Error as error:
            raise translated(error) from error
        finally:
            self._end(link)

    def _end(self, link: Link) -> None:
        """Take back whatever is not committed, and keep the connection if it still serves."""
        try:
            if link.ours and not link.idle:
                link.raw.execute(b"ROLLBACK", prepare=False)
        except psycopg.Error:
            link.close()
        except BaseException:
            link.close()
            raise
        else:
            link.used = True
            self._connections.give_back(link)

    def _lock_to_found(self, connection: PostgresqlConnection) -> None:
        if not connection.run(self._lock_founding):
            raise Tampered("store-damaged", "The store lacks the row that founders lock.")
        # Somebody may have founded the ledger while we waited; from now on its row is the lock.
        connection.run(self._lock)

    def _refuse_newer(self, connection: PostgresqlConnection) -> None:
        if not connection.link.known:
            refuse_newer(connection.run(self._noted), self._steps())
            connection.link.known = True

    def _steps(self) -> list[Migration]:
        return [
            step
            for package in self._migration_packages
            for step in migrations_of(package, "postgresql")
        ]


def _of_locked(error: psycopg.Error) -> LedgerError:
    """Our error under the lock, which is a row of the ledger's tables: one that lacks is damage.

    It may be what somebody else's trigger looks for.
    """
    return other_tables() if lacks_table(error) else translated(error)


def _answers(link: Link, opening: bytes) -> list[list[tuple[Any, ...]]]:
    cursor = link.raw.execute(opening, prepare=False)
    answers = []
    while True:
        answers.append(cursor.fetchall() if cursor.description is not None else [])
        if not cursor.nextset():
            return answers


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
