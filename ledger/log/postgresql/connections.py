"""The connections of one process to one PostgreSQL database, kept open between calls.

Whoever needs a connection takes an idle one or opens one himself, in his own thread, so that a
server that is down shows at once and with its error. (`psycopg_pool` opens in threads of its own:
the caller waits out his whole patience and the cause stands in a log only; and its threads must
not be there when a process forks.) Readers are counted and wait for one another beyond
`READERS_MAX`; the one writer of a process never waits for a reader.

A connection that was lost is dropped together with all idle ones, which were most likely lost
with it. A forked child opens its own: the parent's are kept aside there, neither used nor closed,
because closing would end the parent's sessions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper

from ledger.errors import InvalidInput, Unavailable
from ledger.log.postgresql.errors import unreachable

READERS_MAX = 16
_CANCEL_TIMEOUT_S = 10.0
# What keeps a silent network from being waited for; whatever the address says goes before it.
_PATIENCE: dict[str, str] = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "credledger",
}
# What the driver has to say of lost connections we say ourselves; without a handler of its own it
# would go to the standard error of a program that keeps no log.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
_ADAPTERS = AdaptersMap(psycopg.adapters)
# One width for all numbers, or each size of number would be prepared as another statement.
_ADAPTERS.register_dumper(int, Int8BinaryDumper)


class Link:
    """One connection, with the states of the warnings it has heard."""

    def __init__(self, raw: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.raw = raw
        self.used = False
        """Whether a transaction has ended well on it, so that it may have grown stale since."""
        self.known = False
        """Whether the schema was looked at through it."""
        self.warnings: list[str | None] = []
        self._cancelled = False
        self._process = os.getpid()
        raw.add_notice_handler(self._heard)

    @property
    def idle(self) -> bool:
        """Whether the next transaction may begin on it."""
        quiet = self.raw.pgconn.transaction_status == TransactionStatus.IDLE
        return quiet and not self._cancelled

    @property
    def ours(self) -> bool:
        """Whether this process opened it; the end of another's is not ours to speak through."""
        return self._process == os.getpid()

    def cancel(self) -> None:
        """Ask the server to break off what it does; the connection is not used again."""
        self._cancelled = True
        with contextlib.suppress(psycopg.Error):
            self.raw.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    def close(self) -> None:
        """Let it go, whatever its state."""
        with contextlib.suppress(psycopg.Error):
            self.raw.close()

    def _heard(self, notice: psycopg.errors.Diagnostic) -> None:
        self.warnings.append(notice.sqlstate)


class Connections:
    """The open connections of this process."""

    def __init__(self, conninfo: str, patience_s: float) -> None:
        told = conninfo_to_dict(conninfo)
        settings = {name: value for name, value in _PATIENCE.items() if name not in told}
        self._conninfo = make_conninfo(conninfo, **settings)
        self._patience_s = patience_s
        self._idle: list[Link] = []
        self._guard = threading.Lock()
        self._readers = threading.BoundedSemaphore(READERS_MAX)
        self._inherited: list[Link] = []
        # Whoever lets go of a store without closing it leaves no session behind on the server.
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def reader(self) -> Iterator[None]:
        """A place among the readers; `store-busy` where none gets free in time."""
        readers = self._readers
        if not readers.acquire(timeout=self._patience_s):
            raise Unavailable(
                "store-busy",
                "All connections to the store were in use for too long.",
                hint="Run the command again, with fewer at once.",
            )
        try:
            yield
        finally:
            readers.release()

    def take(self) -> Link:
        """An idle connection, or a new one; `store-unreachable` where none can be had."""
        with self._guard:
            if self._idle:
                return self._idle.pop()
        return self.open()

    def open(self) -> Link:
        """A new connection."""
        try:
            raw = psycopg.connect(self._conninfo, autocommit=True, context=_ADAPTERS)
        except psycopg.OperationalError as error:
            raise unreachable() from error
        except psycopg.Error:
            # libpq's own words may quote the password.
            raise InvalidInput("invalid-store", "The store's address is not valid.") from None
        return Link(raw)

    def give_back(self, link: Link) -> None:
        """Keep it for the next caller; one in the middle of something is closed."""
        if not link.ours:
            self._inherited.append(link)
        elif link.idle:
            with self._guard:
                self._idle.append(link)
        else:
            link.close()

    def forget_idle(self) -> None:
        """Close all idle connections."""
        with self._guard:
            idle = self._idle.copy()
            self._idle.clear()
        _close_all(idle)

    def renew_after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._inherited += self._idle
        self._idle.clear()
        self._guard = threading.Lock()
        self._readers = threading.BoundedSemaphore(READERS_MAX)


def _close_all(links: list[Link]) -> None:
    for link in links:
        link.close()
