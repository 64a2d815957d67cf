"""A ledger made anew for each test, on a real store, with a cheap key derivation."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.codec.mapper import EventMapper
from ledger.log.memory import HostMemory, memory_path
from ledger.log.sqlite import SqliteStore
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import Argon2Cost, new_passphrase, passphrase
from ledger.usecases.founding import found_ledger
from ledger.usecases.ledger import Ledger
from projections.views import Views

PASSPHRASE = "correct planets orbit quietly"
CHEAP = Argon2Cost(19 * 1024, 2, 1)
STORE_PACKAGES = ("ledger.log.migrations", "projections.migrations")


@dataclass
class Clock:
    """Microseconds UTC that a test can set; it moves on by itself otherwise."""

    offset_us: int = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.offset_us


@dataclass
class House:
    """One host with a keyring, and the store beside it."""

    store_path: Path
    keyring_path: Path
    clock: Clock = field(default_factory=Clock)

    def store(self) -> SqliteStore:
        return SqliteStore(self.store_path, migration_packages=STORE_PACKAGES)

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

    def open(self, *, store: SqliteStore | None = None, **settings) -> Ledger:
        unlocked = read_keyring(self.keyring_path).unlock(passphrase(PASSPHRASE))
        return self.open_with(unlocked, store=store, **settings)

    def open_with(self, unlocked, *, store: SqliteStore | None = None, remember=True, **settings):
        store = store or self.store()
        mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom)
        views = Views(store, mapper, unlocked.stream_names())
        ledger = Ledger.open(
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


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path / "store" / "ledger.db", tmp_path / "keys" / "keyring")
    made.found()
    return made


@pytest.fixture
def ledger(house: House):
    opened = house.open()
    yield opened
    opened.close()
