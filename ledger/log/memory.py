"""What a host remembers of a ledger, in a small file of its own beside the keyring.

One row for a ledger: the newest head this host has checked, with an HMAC-SHA256 under a key that
only the keyring gives. It is written after commits, at most once a second and at the end, never
backwards. An older one is harmless: the rows since are checked again. An unreadable one stops
the host, because forgetting is exactly what somebody who rolls a database back would wish.

    head(ledger_id, size, frontier, recorded_at, epoch, signers, mac)

Limits: it is evidence for this host only; a host without memory believes what the signatures
say, and those also fit an old copy of the whole database.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ledger.errors import Tampered, Unavailable
from ledger.log.verification import CheckedHead
from ledger.tree import unpack_frontier

_TABLE = (
    "CREATE TABLE IF NOT EXISTS head (ledger_id BLOB PRIMARY KEY, size INTEGER NOT NULL,"
    " frontier BLOB NOT NULL, recorded_at INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    " signers BLOB NOT NULL,"
    " mac BLOB NOT NULL)"
)


def memory_path(keyring: Path) -> Path:
    """Where the host's memory for this keyring lies."""
    return keyring.with_name(f"{keyring.name}.memory")


class HostMemory:
    """The newest checked head of one ledger on this host."""

    def __init__(self, path: Path, ledger_id: bytes, key: bytes | None) -> None:
        """Without a `key` (no unlock) it can be read, unauthenticated, but not written."""
        self.path = path
        self._ledger_id = ledger_id
        self._key = key

    def recall(self) -> CheckedHead | None:
        """The remembered head; None on a host without memory; `memory-unreadable` if damaged."""
        if not self.path.exists():
            return None
        try:
            with self._open() as connection:
                row = connection.execute(
                    "SELECT size, frontier, recorded_at, epoch, signers, mac FROM head WHERE ledger_id = ?",
                    (self._ledger_id,),
                ).fetchone()
        except sqlite3.Error as error:
            raise _unreadable() from error
        return None if row is None else self._checked(row)

    def remember(self, head: CheckedHead, *, even_backwards: bool = False) -> None:
        """Keep this head if it is newer than the one kept; durable on return."""
        row = (
            self._ledger_id,
            head.size,
            head.frontier.packed(),
            head.recorded_at,
            head.epoch,
            head.signers,
            self._mac(head),
        )
        newer = "" if even_backwards else " WHERE excluded.size > head.size"
        try:
            if not self.path.exists():
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with self._open() as connection:
                connection.execute(_TABLE)
                connection.execute(
                    "INSERT INTO head VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ledger_id) DO UPDATE"
                    " SET size = excluded.size, frontier = excluded.frontier,"
                    " recorded_at = excluded.recorded_at, epoch = excluded.epoch,"
                    " signers = excluded.signers,"
                    f" mac = excluded.mac{newer}",
                    row,
                )
        except (sqlite3.Error, OSError) as error:
            raise _not_writable() from error

    def forget(self) -> None:
        """Take an unreadable memory away; for an operator who has said so."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _not_writable() from error

    def _checked(self, row: tuple[object, ...]) -> CheckedHead:
        size, packed, recorded_at, epoch, signers, mac = row
        if not (
            isinstance(size, int)
            and isinstance(packed, bytes)
            and isinstance(recorded_at, int)
            and isinstance(epoch, int)
            and isinstance(signers, bytes)
            and isinstance(mac, bytes)
        ):
            raise _unreadable()
        frontier = unpack_frontier(size, packed)
        if frontier is None:
            raise _unreadable()
        head = CheckedHead(frontier, recorded_at, epoch, signers)
        if self._key is not None and not hmac.compare_digest(mac, self._mac(head)):
            raise _unreadable()
        return head

    def _mac(self, head: CheckedHead) -> bytes:
        if self._key is None:
            raise _unreadable()
        text = b"credledger/v1/memory\n" + b"\n".join(
            (
                self._ledger_id.hex().encode(),
                f"{head.size} {head.recorded_at} {head.epoch} {head.signers.hex()}".encode(),
                head.frontier.packed(),
            )
        )
        return hmac.digest(self._key, text, "sha256")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                yield connection


def _unreadable() -> Tampered:
    return Tampered(
        "memory-unreadable",
        "This host's memory of the ledger, beside the keyring, is damaged or not its own.",
        hint="Run `credledger log verify --accept-new-memory` once the log is known to be whole.",
    )


def _not_writable() -> Unavailable:
    return Unavailable(
        "memory-not-writable",
        "This host's memory of the ledger, beside the keyring, cannot be written.",
        hint="Give the process the right to write in the keyring's folder.",
    )
