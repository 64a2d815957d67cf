"""The stores that keep one contract: each test of `test_store.py` runs on every one of them.

A *place* makes store objects that all mean the same ledger, as other processes and hosts would, and
can be named to a child process by its `address`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.sqlite import SqliteStore
from ledger.log.store import Store

KINDS = ("sqlite", "postgresql")
PACKAGES = ("ledger.log.migrations", "projections.migrations")


def open_store(address: str, **settings) -> Store:
    """The store at an address, in whatever process."""
    settings.setdefault("migration_packages", PACKAGES)
    if address.startswith("postgresql:"):
        return PostgresqlStore(address, **settings)
    return SqliteStore(Path(address), **settings)


@dataclass
class Place:
    """Where one ledger lies."""

    kind: str
    address: str
    execute: Callable[[str], None]
    """Run a statement past the store, as somebody with full rights would."""
    opened: list[Store] = field(default_factory=list)

    def store(self, **settings) -> Store:
        """One more store object for this place."""
        made = open_store(self.address, **settings)
        self.opened.append(made)
        return made
