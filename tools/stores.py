"""Opening the store that a URL names."""

from __future__ import annotations

from ledger.errors import InvalidInput, NotFound
from ledger.log.sqlite import SqliteStore
from ledger.log.store import Store
from tools.settings import Settings

MIGRATIONS = ("ledger.log.migrations", "projections.migrations")


def store_of(settings: Settings) -> Store:
    """The store that the settings name, whether or not a ledger is in it."""
    path = settings.sqlite_path
    if path is None:
        raise InvalidInput(
            "unknown-engine",
            "This version keeps ledgers in SQLite only.",
            hint="Write the store as sqlite:///ABSOLUTE/PATH.",
        )
    return SqliteStore(path, migration_packages=MIGRATIONS)


def existing_store(settings: Settings) -> Store:
    """The same, but `no-ledger` (exit 3) where there is no such file."""
    store = store_of(settings)
    path = settings.sqlite_path
    if path is not None and not path.exists():
        raise NotFound(
            "no-ledger",
            "There is no ledger at that store.",
            hint="Check --store, or create one with `credledger init`.",
        )
    return store
