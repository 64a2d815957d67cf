"""A whole database put back as it was: what backups and snapshots let their owner do."""

from __future__ import annotations

import shutil

from tests.conftest import House

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
_FIRST = "older_"


def copied(house: House) -> None:
    """Keep a copy of everything, the views included; the ledger must be closed."""
    if house.on_server:
        for (table,) in house.sql(_TABLES):
            house.sql(f"CREATE TABLE {_FIRST}{table} AS TABLE {table}")
        return
    shutil.copytree(house.store_path.parent, _aside(house))


def put_back(house: House) -> None:
    """Put the copy in the place of what is there: byte for byte, or on a server table by table."""
    house.close()
    if not house.on_server:
        shutil.rmtree(house.store_path.parent)
        _aside(house).rename(house.store_path.parent)
        return
    tables = [table for (table,) in house.sql(_TABLES)]
    for table in tables:
        if f"{_FIRST}{table}" in tables:
            house.sql(f"DELETE FROM {table}")
            house.sql(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE {_FIRST}{table}")
            house.sql(f"DROP TABLE {_FIRST}{table}")


def _aside(house: House):
    return house.store_path.parent.with_name("older")
