"""Opening the store that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, LedgerError, NotFound
from ledger.places import is_missing, is_there
from tools.settings import Settings

if TYPE_CHECKING:
    from ledger.log.rows import LedgerRow
    from ledger.log.store import Store

MIGRATIONS = ("ledger.log.migrations", "projections.migrations")


def store_of(settings: Settings) -> Store:
    """The store that the settings name, whether or not a ledger is in it."""
    path = settings.sqlite_path
    if path is not None:
        from ledger.log.sqlite import SqliteStore

        return SqliteStore(path, migration_packages=MIGRATIONS)
    # The driver takes a while to load, and whoever keeps his ledger in a file never needs it.
    from ledger.log.postgresql.store import PostgresqlStore

    return PostgresqlStore(settings.store, migration_packages=MIGRATIONS)


def existing_store(settings: Settings) -> Store:
    """The same, but `no-ledger` (exit 3) where there is none, before a keyring is missed."""
    store = store_of(settings)
    path = settings.sqlite_path
    if path is not None and is_missing(path):
        raise no_ledger(store)
    if not is_there(settings.keyring):
        try:
            with store.reading() as reading:
                if reading.ledger() is None:
                    raise no_ledger(store)
        except LedgerError:
            store.close()
            raise
    return store


def required_ledger(store: Store) -> LedgerRow:
    """The row that names the store's ledger; `no-ledger` where there is none."""
    with store.reading() as reading:
        ledger = reading.ledger()
    if ledger is None:
        raise no_ledger(store)
    return ledger


def no_ledger(store: Store) -> NotFound:
    """Nobody made a ledger at that store."""
    return NotFound(
        "no-ledger",
        f"There is no ledger at {store.address}.",
        hint="Check --store; `credledger init` makes a new one, and `credledger backup restore DIR`"
        " brings a lost one back.",
    )


def migrate_store(settings: Settings, writer: str | None) -> dict[str, object]:
    """Make the tables or bring them to this version; `writer` is a database role to give rights."""
    store = store_of(settings)
    try:
        if writer is not None and settings.sqlite_path is not None:
            raise InvalidInput("no-roles", "A store in a file has no database roles.")
        store.create()
        if writer is not None:
            from ledger.log.postgresql.store import PostgresqlStore

            assert isinstance(store, PostgresqlStore)
            store.grant_writer(writer)
        return {"store": store.address, "writer": writer}
    finally:
        store.close()
