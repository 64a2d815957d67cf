"""The floor: a driver, one cached AES-GCM cipher and msgpack, and nothing else.

What no ledger on this machine could be faster than, in one thread: no claims, no decision, no tree,
no signature, no check of what others wrote, nothing handed from thread to thread.

- *append*: one sealed row, one durable commit;
- *save*: 1000 sealed rows with a leaf each, one durable commit;
- *read batch*: 64 reads in one transaction: each looks up a mapping's row by its stream, opens
  it, seals a record, adds a row to the log and one to a history with three digests; after the
  commit each opens its secret;
- *replay*: every row read in order, opened, unpacked and counted.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol

import msgpack
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tools.bench.places import Place, PostgresqlPlace, SqlitePlace

READS = 64
_ENVELOPE = {"e": {"field": "value", "text": "x" * 120}, "b": ["operator", 1, "bench"], "r": ""}
_SECRET = msgpack.packb({"Windows User Name": "CONTOSO\\someone", "Windows Password": "p" * 26})
_TABLES = (
    (
        "CREATE TABLE log (position BIGINT PRIMARY KEY, stream {bytes} NOT NULL, version BIGINT,"
        " sealed {bytes}, UNIQUE (stream, version))"
    ),
    (
        "CREATE TABLE history"
        " (position BIGINT PRIMARY KEY, caller {bytes}, owner {bytes}, app {bytes})"
    ),
    "CREATE INDEX history_caller ON history (caller, position)",
    "CREATE INDEX history_owner ON history (owner, position)",
    "CREATE INDEX history_app ON history (app, position)",
    "CREATE TABLE lock (one BIGINT PRIMARY KEY)",
    "INSERT INTO lock VALUES (1)",
)
Row = tuple[Any, ...]


class Driver(Protocol):
    """What the floor asks of a driver."""

    def begin(self) -> None:
        """Begin a transaction under the lock."""
        ...

    def newest(self, streams: Sequence[bytes]) -> list[bytes]:
        """The sealed rows of these streams."""
        ...

    def put(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows."""
        ...

    def commit(self) -> None:
        """Commit durably."""
        ...

    def page(self, after: int) -> list[Row]:
        """The next rows in order: position and sealed bytes."""
        ...

    def whole_page(self, after: int) -> list[Row]:
        """The same with all columns."""
        ...

    def empty_history(self) -> None:
        """Take all rows out of the history."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class SqliteDriver:
    """The standard library's driver, WAL, synchronous=FULL."""

    def __init__(self, place: SqlitePlace) -> None:
        self._raw = sqlite3.connect(place.file(), isolation_level=None)
        self._raw.execute("PRAGMA journal_mode = WAL")
        self._raw.execute("PRAGMA synchronous = FULL")
        for table in _TABLES:
            self._raw.execute(table.format(bytes="BLOB"))

    def begin(self) -> None:
        """SQLite's own lock."""
        self._raw.execute("BEGIN IMMEDIATE")

    def newest(self, streams: Sequence[bytes]) -> list[bytes]:
        """One look-up each."""
        sql = "SELECT sealed FROM log WHERE stream = ? ORDER BY version DESC LIMIT 1"
        return [self._raw.execute(sql, (stream,)).fetchone()[0] for stream in streams]

    def put(self, table: str, rows: Sequence[Row]) -> None:
        """One prepared statement."""
        self._raw.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)

    def commit(self) -> None:
        """One fsync."""
        self._raw.execute("COMMIT")

    def page(self, after: int) -> list[Row]:
        """A thousand rows."""
        sql = "SELECT position, sealed FROM log WHERE position > ? ORDER BY position LIMIT 1000"
        return self._raw.execute(sql, (after,)).fetchall()

    def whole_page(self, after: int) -> list[Row]:
        """A thousand rows."""
        sql = "SELECT * FROM log WHERE position > ? ORDER BY position LIMIT 1000"
        return self._raw.execute(sql, (after,)).fetchall()

    def empty_history(self) -> None:
        """One statement."""
        self._raw.execute("DELETE FROM history")

    def close(self) -> None:
        """Close the file."""
        self._raw.close()


class PostgresqlDriver:
    """psycopg: a locked row, look-ups of all keys at once, binary COPY."""

    def __init__(self, place: PostgresqlPlace) -> None:
        schema = place.schema()
        self._raw = psycopg.connect(place.url, autocommit=True)
        self._raw.execute(f'CREATE SCHEMA "{schema}"'.encode())
        self._raw.execute(f'SET search_path = "{schema}"'.encode())
        for table in _TABLES:
            self._raw.execute(table.format(bytes="BYTEA").encode())

    def begin(self) -> None:
        """The lock in a statement of its own."""
        self._raw.execute(b"BEGIN; SELECT one FROM lock WHERE one = 1 FOR UPDATE", prepare=False)

    def newest(self, streams: Sequence[bytes]) -> list[bytes]:
        """All look-ups in one statement."""
        sql = (
            b"SELECT DISTINCT ON (stream) stream, sealed FROM log WHERE stream = ANY(%s)"
            b" ORDER BY stream, version DESC"
        )
        found: dict[bytes, bytes] = dict(
            self._raw.execute(sql, [list(streams)], binary=True).fetchall()
        )
        return [found[stream] for stream in streams]

    def put(self, table: str, rows: Sequence[Row]) -> None:
        """Binary COPY."""
        types = {"log": ["int8", "bytea", "int8", "bytea"]}
        sql = f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()
        with self._raw.cursor().copy(sql) as copy:
            copy.set_types(types.get(table, ["int8", "bytea", "bytea", "bytea"]))
            for row in rows:
                copy.write_row(row)

    def commit(self) -> None:
        """One fsync on the server."""
        self._raw.execute(b"COMMIT", prepare=False)

    def page(self, after: int) -> list[Row]:
        """A thousand rows."""
        sql = b"SELECT position, sealed FROM log WHERE position > %s ORDER BY position LIMIT 1000"
        return self._raw.execute(sql, [after], binary=True).fetchall()

    def whole_page(self, after: int) -> list[Row]:
        """A thousand rows."""
        sql = b"SELECT * FROM log WHERE position > %s ORDER BY position LIMIT 1000"
        return self._raw.execute(sql, [after], binary=True).fetchall()

    def empty_history(self) -> None:
        """One statement."""
        self._raw.execute(b"TRUNCATE history")

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()


class Floor:
    """The floor's works on one engine; each answers how much it did."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._cipher = AESGCM(os.urandom(32))

    def append(self, commits: int = 1500) -> int:
        """One row a commit."""
        with closing(self.driver()) as driver:
            for position in range(1, commits + 1):
                driver.begin()
                driver.put("log", [self.row(position, os.urandom(16))])
                driver.commit()
        return commits

    def save(self, saves: int = 15) -> int:
        """A thousand rows a commit, with a leaf each."""
        with closing(self.driver()) as driver:
            for save in range(saves):
                driver.begin()
                rows = [self.row(save * 1000 + n + 1, os.urandom(16)) for n in range(1000)]
                for row in rows:
                    hashlib.sha256(b"\x00" + row[1] + hashlib.sha256(row[3]).digest()).digest()
                driver.put("log", rows)
                driver.commit()
        return saves * 1000

    def read_batch(self, batches: int = 150) -> int:
        """Sixty-four whole reads a commit."""
        with closing(self.driver()) as driver:
            streams = [os.urandom(16) for _ in range(1000)]
            driver.begin()
            driver.put("log", [self.row(n + 1, stream) for n, stream in enumerate(streams)])
            driver.commit()
            position = len(streams)
            for batch in range(batches):
                wanted = [streams[(batch * READS + n) % 1000] for n in range(READS)]
                driver.begin()
                found = driver.newest(wanted)
                mappings = [self.opened(sealed) for sealed in found]
                rows = [
                    self.row(position + n + 1, stream, batch + 2) for n, stream in enumerate(wanted)
                ]
                driver.put("log", rows)
                driver.put("history", [(row[0], row[1], row[1], streams[0]) for row in rows])
                driver.commit()
                position += READS
                for mapping in mappings:
                    msgpack.unpackb(self.plain(mapping["s"]))
        return batches * READS

    def replay(self, rows: int = 50_000) -> tuple[Driver, int]:
        """A log to replay, with the number of its rows."""
        driver = self.driver()
        for start in range(1, rows + 1, 1000):
            driver.begin()
            driver.put("log", [self.row(start + n, os.urandom(16)) for n in range(1000)])
            driver.commit()
        return driver, rows

    def replayed(self, driver: Driver) -> int:
        """Every row read, opened, unpacked and counted."""
        after = 0
        counted: dict[str, int] = {}
        while page := driver.page(after):
            for _, sealed in page:
                name = self.opened(sealed)["b"][0]
                counted[name] = counted.get(name, 0) + 1
            after = page[-1][0]
        return sum(counted.values())

    def driver(self) -> Driver:
        """A connection to new tables."""
        if isinstance(self._place, SqlitePlace):
            return SqliteDriver(self._place)
        assert isinstance(self._place, PostgresqlPlace)
        return PostgresqlDriver(self._place)

    def row(self, position: int, stream: bytes, version: int = 1) -> Row:
        """One of the log, with a secret in what is sealed."""
        secret = self.sealed(_SECRET)
        return (position, stream, version, self.sealed(msgpack.packb({**_ENVELOPE, "s": secret})))

    def sealed(self, text: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, text, b"")

    def plain(self, sealed: bytes) -> bytes:
        """What was sealed."""
        return self._cipher.decrypt(sealed[:12], sealed[12:], b"")

    def opened(self, sealed: bytes) -> dict[str, Any]:
        """What was sealed of a row, unpacked."""
        opened: dict[str, Any] = msgpack.unpackb(self.plain(sealed))
        return opened
