"""A ledger of its own for each test, on a real store, with a cheap key derivation."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from ledger.codec.mapper import EventMapper
from ledger.log.memory import HostMemory, memory_path
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.sqlite import SqliteStore
from ledger.log.store import Store
from ledger.sealing.keyring import UnlockedKeyring
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import Argon2Cost, new_passphrase, passphrase
from ledger.usecases.founding import found_ledger
from ledger.usecases.ledger import Ledger
from ledger.usecases.opening import open_ledger
from projections.views import Views
from tests.contracts.postgres_server import (  # noqa: F401 # fixtures are asked for by name
    postgres_schema,
    postgres_server,
)
from tests.derived import derive_once
from tests.in_memory import keep_in_memory
from tests.prepared import Templates

PASSPHRASE = "correct planets orbit quietly"
CHEAP = Argon2Cost(19 * 1024, 2, 1)
STORE_PACKAGES = ("ledger.log.migrations", "projections.migrations")


@dataclass
class Clock:
    """Microseconds UTC that a test can set; it moves on by itself otherwise."""

    offset_us: int = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.offset_us


_UNLOCKED: dict[bytes, UnlockedKeyring] = {}


def unlocked_by_passphrase(path: Path) -> UnlockedKeyring:
    """What the passphrase opens; the key is derived once for each content of a file."""
    keyring = read_keyring(path)
    content = keyring.to_bytes()
    if content not in _UNLOCKED:
        _UNLOCKED[content] = keyring.unlock(passphrase(PASSPHRASE))
    return _UNLOCKED[content]


@dataclass
class House:
    """One host with a keyring, and the store: a file beside it, or a schema on a server."""

    store_path: Path
    keyring_path: Path
    clock: Clock = field(default_factory=Clock)
    store_url: str | None = None
    """Names the schema, where the store is on a PostgreSQL server."""
    opened: list[Store] = field(default_factory=list)
    store_settings: dict[str, float] = field(default_factory=dict)

    @property
    def on_server(self) -> bool:
        return self.store_url is not None

    def store(self) -> Store:
        made: Store
        told = {"migration_packages": STORE_PACKAGES, **self.store_settings}
        if self.store_url is None:
            made = SqliteStore(self.store_path, **told)
        else:
            made = PostgresqlStore(self.store_url, **told)
        self.opened.append(made)
        return made

    def sql(self, statement: str, *parameters: object) -> list[tuple]:
        """What somebody with full rights on the database does, past the ledger."""
        if self.store_url is None:
            with closing(sqlite3.connect(self.store_path, timeout=5)) as raw, raw:
                return raw.execute(statement, parameters).fetchall()
        plain, schema = self.store_url.rsplit("&ledger=", 1)
        said = statement.replace("?", "%s")
        said = re.sub(r"x'(\w*)'", r"'\\x\1'::bytea", said)
        with psycopg.connect(plain, autocommit=True) as raw:
            raw.execute(f"SET search_path = {schema}")
            raw.execute("SET session_replication_role = replica")
            cursor = raw.execute(said, parameters)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for store in self.opened:
            store.close()

    def found(self) -> bytes:
        store = self.store()
        return found_ledger(
            store,
            self.keyring_path,
            label="first",
            account="tester@host",
            holding=new_passphrase(PASSPHRASE),
            clock=self.clock,
            random=os.urandom,
            cost=CHEAP,
            following=lambda mapper, streams: (Views(store, mapper, streams),),
        ).ledger_id

    def open(self, *, store: Store | None = None, **settings) -> Ledger:
        return self.open_with(unlocked_by_passphrase(self.keyring_path), store=store, **settings)

    def open_with(self, unlocked, *, store: Store | None = None, remember=True, **settings):
        store = store or self.store()
        mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
        views = Views(store, mapper, unlocked.stream_names())
        ledger = open_ledger(
            store,
            self.keyring_path,
            unlocked,
            account="tester@host",
            clock=self.clock,
            random=os.urandom,
            mapper=mapper,
            maintainers=(views,),
            memory=self.memory(unlocked) if remember else None,
            **settings,
        )
        ledger.views = views  # the tests' own handle
        return ledger

    def memory(self, unlocked) -> HostMemory:
        return HostMemory(
            memory_path(self.keyring_path),
            unlocked.ledger_id,
            unlocked.stream_names().memory_key(),
        )


def new_house(folder: Path) -> House:
    return House(folder / "store" / "ledger.db", folder / "keys" / "keyring")


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """What the ledgers of this process's tests are copied from."""
    return Templates(tmp_path_factory.mktemp("templates"), new_house)


@pytest.fixture
def prepared_file(templates, tmp_path: Path):
    """Gives the house that some steps leave, its store in a file; see `prepared`."""
    with contextlib.ExitStack() as copies:
        yield lambda *steps: copies.enter_context(templates.copied(tmp_path, None, *steps))


@pytest.fixture(params=["sqlite", "postgresql"])
def prepared(request, templates, tmp_path: Path):
    """The same on each kind of store."""
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres_server")
    with contextlib.ExitStack() as copies:
        yield lambda *steps: copies.enter_context(templates.copied(tmp_path, server, *steps))


@pytest.fixture
def sqlite_house(prepared_file):
    """For what only a file can suffer."""
    return prepared_file()


@pytest.fixture
def house(prepared):
    """A ledger with nothing in it."""
    return prepared()


@pytest.fixture
def ledger(house: House):
    opened = house.open()
    yield opened
    opened.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="Kill at over 200 boundaries instead of a few."
    )


def pytest_configure(config: pytest.Config) -> None:
    keep_in_memory()
    derive_once()
    if config.getoption("--torture"):
        os.environ["CREDLEDGER_TORTURE"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that may take long, so that none of them is a run's lonely end."""
    items.sort(
        key=lambda item: -max((mark.args[0] for mark in item.iter_markers("timeout")), default=0)
    )
