"""Statements within one PostgreSQL transaction, and the durable end of it.

Statements come with `?` as the placeholder and are turned into the driver's form once each. There
is no parser behind that: a statement with a quote or a dollar sign in it, inside which a `?` might
mean itself, is refused. Parameters and results travel in binary.

A writing does not wait for statements that answer nothing: they travel together with the next
one that does, or with the commit, and a failure shows there. (Audited reads with 64 callers rose
by a tenth on one machine; between machines each of a dozen waits is a round trip.)

Rows are appended by one INSERT each up to `FEW_ROWS`, and by binary COPY beyond. Measured with
PostgreSQL 18 on two shared cores, microseconds for rows with 190 sealed bytes in an open
transaction, medians:

    rows                          1      8     64    512    1000
    pipelined INSERTs           112    214   1288   9700   22171
    one INSERT of all values     52    185   1147   8850   21787
    one INSERT from arrays      185    186    528   3039    6984
    binary COPY                 105    123    435   2515    5819

    rows, the signed head and one answer after them          1      3      4      8     32
    INSERTs sent without waiting                           149    203    232    366   1066
    binary COPY, which must be waited for                  209    228    228    257    413

A commit is acknowledged when the server says COMMIT and nothing else. A server that gives up
waiting for its synchronous standby says COMMIT too, after a warning: the rows are then on one
machine only, and the caller is told `commit-unconfirmed`, as after a connection that was lost
meanwhile. Whoever wants to know looks in a *writing*: it waits for the lock and so for what is
still going on, and as it takes a row lock, its own commit waits until the standby holds
everything before it. A reading shows neither.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg

from ledger.errors import InvalidInput, LedgerError
from ledger.log.postgresql_connections import Link
from ledger.log.postgresql_errors import STANDBY_CANCELLED, forked, is_lost, translated, unconfirmed
from ledger.log.rows import LogRow
from ledger.log.snapshot import INSERT_ROW, LOG_COLUMNS, Snapshot

FEW_ROWS = 3
_COPY = f"COPY log ({LOG_COLUMNS}) FROM STDIN (FORMAT BINARY)".encode()
_COPY_TYPES = ["int8", "bytea", "int8", "text", "int8", "int8", "int8", "bytea", "bytea"]
_FAILED_BEFORE = "25P02"
_AMBIGUOUS_INSIDE = "'\"$"
_SILENT = ("INSERT ", "UPDATE ", "DELETE ")


class PostgresqlConnection:
    """Statements in one transaction, with our errors."""

    def __init__(self, link: Link, *, waiting: bool = True) -> None:
        """Without waiting, a failure may show at a later statement, at the latest at the commit."""
        self.link = link
        self._waiting = waiting
        self._failure: LedgerError | None = None
        self._pipeline: psycopg.Pipeline | None = None
        self._pipelining = ExitStack()

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows."""
        statement, answers = driver_form(sql)
        if answers or self._waiting:
            return self.run(statement, parameters)
        with self._translating():
            self._go_on_without_waiting()
            self.link.raw.execute(statement, tuple(parameters))
        return []

    def run(self, statement: bytes, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in the driver's own form and return all its rows."""
        with self._translating():
            cursor = self.link.raw.execute(statement, tuple(parameters), binary=True)
            if self._pipeline is not None:
                self._pipeline.sync()
            return cursor.fetchall() if cursor.description is not None else []

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Run one statement for each set of parameters."""
        statement, _ = driver_form(sql)
        with self._translating():
            if not self._waiting:
                self._go_on_without_waiting()
            self.link.raw.cursor().executemany(statement, [tuple(one) for one in parameters])

    def copy(self, rows: Iterable[LogRow]) -> None:
        """Append rows to the log by binary COPY."""
        with self._translating():
            self._wait_for_all()  # COPY has no place among statements that are waited for
            with self.link.raw.cursor().copy(_COPY) as copy:
                copy.set_types(_COPY_TYPES)
                for row in rows:
                    copy.write_row(row)

    def commit(self, standby_timeout_s: float | None) -> None:
        """Make everything durable; `commit-unconfirmed` where nobody can tell that it is.

        With a time, a commit that waits longer for its standby is given up.
        """
        self._require_ours()
        self.link.warnings.clear()
        try:
            with self._cancelling_after(standby_timeout_s):
                # Sent along with what still waits; skipped by the server if any of it fails.
                cursor = self.link.raw.execute(b"COMMIT", (), prepare=False)
                self._wait_for_all()
                said = cursor.statusmessage
        except psycopg.Error as error:
            raise (unconfirmed() if is_lost(error) else self._ours(error)) from error
        if said != "COMMIT":
            # A statement failed before, and somebody went on all the same.
            raise self._failure or unconfirmed()
        if STANDBY_CANCELLED in self.link.warnings:
            raise unconfirmed()

    def abandon(self) -> None:
        """Wait for whatever is still under way, whatever comes of it."""
        if self.link.ours:
            with suppress(psycopg.Error):
                self._wait_for_all()

    def _wait_for_all(self) -> None:
        self._pipeline = None
        self._pipelining.close()

    def _go_on_without_waiting(self) -> None:
        if self._pipeline is None:
            self._pipeline = self._pipelining.enter_context(self.link.raw.pipeline())

    @contextmanager
    def _cancelling_after(self, timeout_s: float | None) -> Iterator[None]:
        if timeout_s is None:
            yield
            return
        timer = threading.Timer(timeout_s, self.link.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        self._require_ours()
        try:
            yield
        except psycopg.Error as error:
            raise self._ours(error) from error

    def _require_ours(self) -> None:
        if not self.link.ours:
            raise forked()

    def _ours(self, error: psycopg.Error) -> LedgerError:
        """Our error; for what fails only because something failed before, the one from then."""
        follows = isinstance(error, psycopg.errors.PipelineAborted)
        if (follows or error.sqlstate == _FAILED_BEFORE) and self._failure is not None:
            return self._failure
        ours = translated(error)
        self._failure = self._failure or ours
        return ours


class PostgresqlSnapshot(Snapshot):
    """A reading, and under the lock a writing, of one PostgreSQL ledger."""

    connection: PostgresqlConnection

    def insert_rows(self, rows: Sequence[LogRow]) -> None:
        """Append events in order."""
        if len(rows) > FEW_ROWS:
            self.connection.copy(rows)
        else:
            for row in rows:
                self.connection.execute(INSERT_ROW, row)


@lru_cache(maxsize=1024)
def driver_form(sql: str) -> tuple[bytes, bool]:
    """The statement with the driver's placeholders, and whether it answers with rows.

    `store-statement` where a `?` is doubtful.
    """
    if any(sign in sql for sign in _AMBIGUOUS_INSIDE):
        raise InvalidInput("store-statement", "A statement holds a quoted text.")
    answers = not sql.startswith(_SILENT) or "RETURNING" in sql
    return sql.replace("%", "%%").replace("?", "%b").encode(), answers
