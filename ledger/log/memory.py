r"""What a host remembers of a ledger, in a small file of its own beside the keyring.

A SQLite file with the newest head that this host has checked, and the tip of every ticket's stream
and of every stream outside the `access` compartment; each row of these two tables has an
HMAC-SHA256 under a key that only the keyring gives::

    head(ledger_id, size, frontier, recorded_at, epoch, signers, mac)
    tips(ledger_id, stream, version, position, before, leaf, mac)
    passing(ledger_id, recorded_at, stream)

    head mac = HMAC(key, "credledger/v1/memory\n"     || ledger id hex || "\n"
                         || size " " recorded_at " " epoch " " signers hex [" " accepted] "\n"
                         || frontier)
    tip mac  = HMAC(key, "credledger/v1/memory-tip\n" || ledger id hex || "\n"
                         || stream || version, position (8 bytes each) || before || leaf)

The third says when tickets were issued. Two days of the log later, the tips of their streams are
let go of if they have ended by then: no ticket lives longer than a day, and one that nobody knows
is good for nothing. Those that nobody has ended are kept for a sweep to find, 400 days at most.

SQLite's `user_version` tells when an operator last had this host go on from another log, or from a
memory made anew: the minute since 1970, or one more than before where that is no later. Where one
has, the number is `accepted` in what authenticates the head.

It is written after commits, at most once a second and at the end, head and tips in one
transaction, never backwards. The tips are at least as new as the head they lie with. An older file
is harmless: the rows since are checked again. An unreadable one stops the host, because forgetting
is exactly what somebody who changes a database would wish.

A process that has read this file, or written it, knows the size up to which its tips are complete.
It goes by no file that knows less, one that was taken away or put back meanwhile, and writes into
none: tips of its own alone would say that all other streams have no rows. Nor does it write into
another file than the one that it goes by, unless the head there is the one that it knows: in such a
file an operator has this host go on from another log, of which this process may know nothing yet.
Who goes on from there is told that it is another. From one with a later acceptance it goes on
however much shorter the log is: nobody without the keyring makes such a file.

Each row is authentic by itself, so an older one among those of now, and one that was taken away,
are not seen here. Whoever reads a stream finds that it goes on beyond its tip (`ledger.log.folds`).

Limits: it is evidence for this host only; a host without memory believes what the signatures say,
and those also fit an old copy of the whole database.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import sqlite3
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ledger.errors import LedgerError, Tampered, Unavailable
from ledger.log.following import CheckedHead
from ledger.log.forking import rest_while_forking
from ledger.log.tips import Tip
from ledger.log.upserts import in_groups, repeated
from ledger.private_files import locked, sync_folder
from ledger.tree import unpack_frontier

_HEAD = "ledger_id, size, frontier, recorded_at, epoch, signers, mac"
_TIP = "ledger_id, stream, version, position, before, leaf, mac"
_TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS head (ledger_id BLOB PRIMARY KEY, size INTEGER NOT NULL,"
        " frontier BLOB NOT NULL, recorded_at INTEGER NOT NULL, epoch INTEGER NOT NULL,"
        " signers BLOB NOT NULL, mac BLOB NOT NULL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS tips (ledger_id BLOB NOT NULL, stream BLOB NOT NULL,"
        " version INTEGER NOT NULL, position INTEGER NOT NULL, before BLOB NOT NULL,"
        " leaf BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (ledger_id, stream)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE IF NOT EXISTS passing (ledger_id BLOB NOT NULL, recorded_at INTEGER NOT NULL,"
        " stream BLOB NOT NULL, PRIMARY KEY (ledger_id, recorded_at, stream)) WITHOUT ROWID"
    ),
)
_KEEP_HEAD = (
    f"INSERT INTO head ({_HEAD}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ledger_id) DO UPDATE"
    " SET size = excluded.size, frontier = excluded.frontier, recorded_at = excluded.recorded_at,"
    " epoch = excluded.epoch, signers = excluded.signers, mac = excluded.mac"
    " WHERE excluded.size > head.size"
)
_KEEP_TIP = (
    f"INSERT INTO tips ({_TIP}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ledger_id, stream)"
    " DO UPDATE SET version = excluded.version, position = excluded.position,"
    " before = excluded.before, leaf = excluded.leaf, mac = excluded.mac"
    " WHERE excluded.position > tips.position"
)
_KEEP_PASSING = "INSERT OR IGNORE INTO passing (ledger_id, recorded_at, stream) VALUES (?, ?, ?)"
_PASSED = (
    "FROM passing WHERE ledger_id = ?1 AND recorded_at < ?2 AND (recorded_at < ?3 OR NOT EXISTS"
    " (SELECT 1 FROM tips WHERE tips.ledger_id = ?1 AND tips.stream = passing.stream"
    " AND tips.version = 1))"
)
_LET_TIPS_GO = f"DELETE FROM tips WHERE ledger_id = ?1 AND stream IN (SELECT stream {_PASSED})"
_LET_PASSING_GO = f"DELETE {_PASSED}"
_OPEN_TICKETS = (
    "SELECT passing.recorded_at, passing.stream FROM passing JOIN tips USING (ledger_id, stream)"
    " WHERE passing.ledger_id = ? AND passing.recorded_at < ?"
    " AND (passing.recorded_at, passing.stream) > (?, ?) AND tips.version = 1"
    " ORDER BY passing.recorded_at, passing.stream LIMIT ?"
)
_HEAD_LABEL, _TIP_LABEL = b"credledger/v1/memory\n", b"credledger/v1/memory-tip\n"
_TIP_NUMBERS = struct.Struct(">QQ")
"""Version and position."""
_PASSING_US = 2 * 86_400_000_000
"""So long after its issue the tip of a ticket's stream is let go of, if it has ended."""
_OPEN_US = 400 * 86_400_000_000
"""And so long if it has not."""
_MINUTE_US = 60_000_000
_THE_HEAD = f"SELECT {_HEAD}, user_version FROM head, pragma_user_version WHERE ledger_id = ?"
_THE_TIP = f"SELECT {_TIP} FROM tips WHERE ledger_id = ? AND stream = ?"
_TIPS_TOGETHER = 100
_SOME_TIPS = (
    f"SELECT {_TIP} FROM tips WHERE ledger_id = ? AND stream IN ({', '.join('?' * _TIPS_TOGETHER)})"
)
_OF_THE_MOMENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Failures that say nothing against what the file holds."""


class Newer(NamedTuple):
    """A head that another process of this host has kept."""

    head: CheckedHead
    is_of_another: bool
    """Whether it lies in another file than the one gone by so far: it may be of another log, and
    smaller where an operator has accepted that one."""


def memory_path(keyring: Path) -> Path:
    """Where the host's memory for this keyring lies."""
    return keyring.with_name(f"{keyring.name}.memory")


class HostMemory:
    """The newest checked head of one ledger on this host, and its streams' tips."""

    def __init__(self, path: Path, ledger_id: bytes, key: bytes | None) -> None:
        """Without a `key` (no unlock) the head can be read unauthenticated, and nothing written."""
        self.path = path
        self._ledger_id = ledger_id
        self._key = key
        self._keyed = HMAC(key, SHA256()) if key is not None else None
        """Copied for each row, which takes a third of the time of beginning anew."""
        self._ledger_line = ledger_id.hex().encode() + b"\n"
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of what the connection holds open; a path may name another by now."""
        self._gone_by: tuple[int, int, int] | None = None
        """The same of the file whose head this process goes on from, and its `user_version`."""
        self._accepted = 0
        """When an operator last had this host go on from another log, as far as is known."""
        self._known = b""
        """What authenticates the newest head that was read from the file or written to it."""
        self._seen: int | None = None
        """SQLite's count of changes by others when the head was read last."""
        self._complete_to = 0
        """The size of the newest head that was read from the file or written to it."""
        self._guard = threading.Lock()
        rest_while_forking(self, depth=1)

    def recall(self) -> CheckedHead | None:
        """The remembered head; None on a host without memory; `memory-unreadable` if damaged."""
        with self._guard:
            rows, self._gone_by = self._newest()
        return self._recalled(rows)

    def newer(self, size: int) -> Newer | None:
        """The remembered head if another process of this host has kept one beyond this size.

        Or one of any size, if an operator of this host has accepted another log since.
        """
        with self._guard:
            changes = self._fetch("PRAGMA data_version")
            if not changes or changes[0][0] == self._seen:
                return None
            rows, file = self._newest()
            if self._complete_to and not self._is_complete(rows):
                raise _replaced()  # an older one was written over it
            is_accepted = self._is_accepted_later(rows)
            is_of_another = is_accepted or self._gone_by not in {None, file}
            head = None
            if not is_of_another or is_accepted or (rows and rows[0][1] > size):
                head = self._recalled(rows)  # else nothing of it is known: nobody can go on from it
            # Under the guard: another thread may open the file that comes next, whose count begins
            # anew, and what an operator has accepted there would count as seen.
            self._seen = changes[0][0]
            if head is None or (head.size <= size and not is_accepted):
                return None
            self._gone_by = file
            return Newer(head, is_of_another)

    def tip(self, stream: bytes) -> Tip | None:
        """The remembered tip of a stream; None for a stream without rows.

        `memory-replaced` if the file that this process went by is gone: then nobody knows.
        """
        if self._complete_to and not self.path.exists():
            raise _replaced()
        with self._guard:
            rows = self._fetch(_THE_TIP, self._ledger_id, stream)
        return self._checked_tip(stream, rows[0][2:]) if rows else None

    def tips(self, streams: Sequence[bytes]) -> dict[bytes, Tip]:
        """The same for many streams, with a few looks; those without rows are left out."""
        if self._complete_to and not self.path.exists():
            raise _replaced()
        rows: list[tuple[Any, ...]] = []
        with self._guard:
            for start in range(0, len(streams), _TIPS_TOGETHER):
                some = streams[start : start + _TIPS_TOGETHER]
                padded = [*some, *[some[-1]] * (_TIPS_TOGETHER - len(some))]
                rows.extend(self._fetch(_SOME_TIPS, self._ledger_id, *padded))
        return {row[1]: self._checked_tip(row[1], row[2:]) for row in rows}

    def open_tickets(
        self, before: int, after: tuple[int, bytes], limit: int
    ) -> list[tuple[int, bytes]]:
        """Time of issue and stream of tickets that have not ended, in that order.

        Those issued before `before` and beyond `after`; as they are kept, unauthenticated.
        """
        with self._guard:
            if not self._fetch("SELECT 1 FROM sqlite_master WHERE name = 'passing'"):
                return []
            rows = self._fetch(_OPEN_TICKETS, self._ledger_id, before, *after, limit)
        return [(issued_at, stream) for issued_at, stream in rows]

    def remember(
        self,
        head: CheckedHead,
        tips: Mapping[bytes, Tip],
        passing: Mapping[bytes, int] = MappingProxyType({}),
    ) -> None:
        """Keep this head and these tips where they are newer than those kept; durable on return.

        `passing` are streams of tickets, with the microseconds UTC of their issue.
        """
        passed = (
            self._ledger_id,
            head.recorded_at - _PASSING_US,
            head.recorded_at - _OPEN_US,
        )
        kept_passing = [(self._ledger_id, issued_at, one) for one, issued_at in passing.items()]
        kept_head = (
            self._ledger_id,
            head.size,
            head.frontier.packed(),
            head.recorded_at,
            head.epoch,
            head.signers,
            self._head_mac(head, self._accepted),
        )
        kept_tips = [
            (tip.position, (self._ledger_id, stream, *tip, self._tip_mac(stream, tip)))
            for stream, tip in sorted(tips.items())  # as they lie, so that each page is found once
        ]
        try:
            with self._guard:
                if not self._is_there():
                    if self._complete_to:
                        raise _replaced()
                    os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                    self._is_there()
                connection = self._opened()
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for table in _TABLES:
                        connection.execute(table)
                    found = connection.execute(_THE_HEAD, (self._ledger_id,)).fetchone()
                    kept, mac, accepted = 0, b"", self._accepted
                    if found is None:
                        connection.execute(f"PRAGMA user_version = {accepted}")
                    else:
                        kept, (mac, accepted) = found[1], found[-2:]
                    assert self._file is not None
                    file = (*self._file, accepted)
                    is_another = self._gone_by not in {None, file}
                    if kept < self._complete_to or (is_another and mac != self._known):
                        raise _replaced()
                    if accepted != self._accepted:
                        raise _replaced()
                    connection.execute(_KEEP_HEAD, kept_head)
                    # Up to the head that is there its tips are complete, and maybe of another log:
                    # this process may stand on one that was put back without its host noticing.
                    beyond = [row for position, row in kept_tips if position > kept]
                    for group in in_groups(beyond):
                        statement = repeated(_KEEP_TIP, len(group))
                        connection.execute(statement, tuple(chain.from_iterable(group)))
                    connection.executemany(_KEEP_PASSING, kept_passing)
                    connection.execute(_LET_TIPS_GO, passed)
                    connection.execute(_LET_PASSING_GO, passed)
                self._complete_to, self._gone_by = max(kept, head.size), file
                self._known = kept_head[-1] if head.size > kept else mac
        except (sqlite3.Error, OSError) as error:
            raise _not_writable() from error

    def follow_acceptance(self, before: HostMemory, clock_reading: int) -> None:
        """Be one that an operator has this host go on by, whatever the one of before knows.

        The clock is asked, in microseconds UTC, because one that is damaged cannot tell its number.
        """
        self._accepted = max(before._accepted + 1, clock_reading // _MINUTE_US)

    @contextlib.contextmanager
    def anew(self) -> Iterator[HostMemory]:
        """An empty memory beside this one, to be filled and then put in its place.

        `memory-being-made` where another process of this host makes one: it would be the same file.
        """
        alone = locked(
            self.path.with_name(f"{self.path.name}.new.lock"),
            0,
            busy=Unavailable(
                "memory-being-made",
                "Another process of this host restores a log, or accepts one, with this keyring.",
                hint="Let it come to its end, then look what is left to be done.",
            ),
            not_writable=_not_writable(),
        )
        with alone:
            fresh = HostMemory(
                self.path.with_name(f"{self.path.name}.new"), self._ledger_id, self._key
            )
            fresh.forget()
            yield fresh

    def replace_by(self, fresh: HostMemory) -> None:
        """Put a memory made with `anew` in this one's place; durable on return.

        Whoever is killed meanwhile leaves one of both: never none, which would believe any log.
        `memory-not-writable`, with this one as it was, if the new one could not be kept.
        """
        kept = fresh.recall()
        fresh.close()
        if kept is None:
            raise _not_writable()
        try:
            self.close()
            self._forget_journal()
            fresh.path.replace(self.path)
            self._gone_by = None
            self._complete_to, self._accepted = kept.size, fresh._accepted
            sync_folder(self.path.parent)
        except OSError as error:
            raise _not_writable() from error

    def forget(self) -> None:
        """Take the memory away; for an operator who has said so."""
        self.close()
        self._complete_to, self._gone_by = 0, None
        try:
            self.path.unlink(missing_ok=True)
            self._forget_journal()
        except OSError as error:
            raise _not_writable() from error

    def _forget_journal(self) -> None:
        """One that a kill left behind would be played into whatever file comes next."""
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            self._let_go()

    def rest_before_fork(self) -> None:
        """Wait for who uses the file, and let go of it."""
        self._guard.acquire()
        self._let_go()

    def go_on_after_fork(self) -> None:
        """Open the file again when it is needed."""
        self._guard.release()

    def renew_after_fork(self) -> None:
        """The child has a lock of its own."""
        self._guard = threading.Lock()

    def _newest(self) -> tuple[list[tuple[Any, ...]], tuple[int, int, int] | None]:
        """What is kept of the head, and in which file; for who holds the guard."""
        rows = self._fetch(_THE_HEAD, self._ledger_id)
        return rows, None if self._file is None else (*self._file, rows[0][-1] if rows else 0)

    def _is_accepted_later(self, rows: list[tuple[Any, ...]]) -> bool:
        """Whether an operator has this host go on from another log than it was known to."""
        return bool(rows) and isinstance(rows[0][-1], int) and rows[0][-1] > self._accepted

    def _recalled(self, rows: list[tuple[Any, ...]]) -> CheckedHead | None:
        if not rows:
            return None
        head = self._checked_head(rows[0][1:])
        if head.size >= self._complete_to or self._is_accepted_later(rows):
            self._complete_to, self._known = head.size, rows[0][-2]
            self._accepted = rows[0][-1]
        return head

    def _fetch(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the file answers, none where there is no file; for who holds the guard."""
        if not self._is_there():
            return []
        try:
            connection = self._opened()
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                if self._complete_to:
                    raise _replaced()
                return []  # killed before the first commit
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> LedgerError:
        self._let_go()
        primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        return _not_readable() if primary in _OF_THE_MOMENT else _unreadable()

    def _is_there(self) -> bool:
        """Whether there is a file; one that was put in another's place is opened anew."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._let_go()
            return False
        except OSError as error:
            raise _not_readable() from error
        if self._file != (found.st_dev, found.st_ino):
            self._let_go()
            self._file = (found.st_dev, found.st_ino)
        return True

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self.path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA cache_size = -16384")
            self._require_complete(self._connection)
        return self._connection

    def _require_complete(self, connection: sqlite3.Connection) -> None:
        """The file knows no less than the one gone by before, or an operator has accepted it."""
        if not self._complete_to:
            return
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        rows = connection.execute(_THE_HEAD, (self._ledger_id,)).fetchall() if tables else []
        if not self._is_complete(rows):
            self._let_go()
            raise _replaced()

    def _is_complete(self, rows: list[tuple[Any, ...]]) -> bool:
        if not rows:
            return False
        if self._is_accepted_later(rows):
            with contextlib.suppress(Tampered):
                return bool(self._checked_head(rows[0][1:]))
        return bool(rows[0][1] >= self._complete_to and rows[0][-1] == self._accepted)

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        self._file = self._seen = None

    def _checked_head(self, row: tuple[Any, ...]) -> CheckedHead:
        try:
            size, packed, recorded_at, epoch, signers, mac, accepted = row
            frontier = unpack_frontier(size, packed)
            if frontier is None:
                raise _unreadable()
            head = CheckedHead(frontier, recorded_at, epoch, signers)
            authentic = self._key is None or hmac.compare_digest(
                mac, self._head_mac(head, accepted)
            )
        except (TypeError, AttributeError, ValueError) as error:
            raise _unreadable() from error
        if not authentic:
            raise _unreadable()
        return head

    def _checked_tip(self, stream: bytes, row: Sequence[Any]) -> Tip:
        try:
            version, position, before, leaf, mac = row
            tip = Tip(version, position, before, leaf)
            authentic = hmac.compare_digest(mac, self._tip_mac(stream, tip))
        except (TypeError, AttributeError, ValueError, struct.error) as error:
            raise _unreadable() from error
        if not authentic:
            raise _unreadable()
        return tip

    def _head_mac(self, head: CheckedHead, accepted: int) -> bytes:
        numbers = f"{head.size} {head.recorded_at} {head.epoch} {head.signers.hex()}"
        if accepted:
            numbers += f" {accepted}"
        return self._mac(_HEAD_LABEL, numbers.encode() + b"\n" + head.frontier.packed())

    def _tip_mac(self, stream: bytes, tip: Tip) -> bytes:
        version, position, before, leaf = tip
        return self._mac(_TIP_LABEL, stream + _TIP_NUMBERS.pack(version, position) + before + leaf)

    def _mac(self, label: bytes, content: bytes) -> bytes:
        if self._keyed is None:
            raise _unreadable()
        mac = self._keyed.copy()
        mac.update(label + self._ledger_line + content)
        return mac.finalize()


def _unreadable() -> Tampered:
    return Tampered(
        "memory-unreadable",
        "This host's memory of the ledger, beside the keyring, is damaged or not its own.",
        hint="Run `credledger log verify --accept-new-memory` once the log is known to be whole.",
    )


def _not_readable() -> Unavailable:
    return Unavailable(
        "memory-not-readable",
        "This host's memory of the ledger, beside the keyring, cannot be read now.",
        hint="See that the process may read and write the keyring's folder, then try again.",
    )


def _replaced() -> Unavailable:
    return Unavailable(
        "memory-replaced",
        "This host's memory of the ledger was taken away or replaced while this process ran.",
        hint="End the process and start it again; it then checks the log anew and remembers it.",
    )


def _not_writable() -> Unavailable:
    return Unavailable(
        "memory-not-writable",
        "This host's memory of the ledger, beside the keyring, cannot be written.",
        hint="Make room on the disk of the keyring's folder, or give the process the right to"
        " write there; until then this host goes on from what it remembered before.",
    )
