"""An empty place on each kind of store."""

from __future__ import annotations

import sqlite3

import pytest

from tests.contracts.stores import KINDS, Place


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """An empty place on each kind of store."""
    if request.param == "sqlite":
        file = tmp_path / "ledger.db"

        def execute(statement: str) -> None:
            with sqlite3.connect(file) as connection:
                connection.execute(statement)
            connection.close()

        made = Place("sqlite", str(file), execute)
    else:
        server = request.getfixturevalue("postgres_server")
        schema = request.getfixturevalue("postgres_schema")

        def execute(statement: str) -> None:
            server.execute(f"SET search_path = {schema}", statement)

        made = Place("postgresql", f"{server.dsn()}&ledger={schema}", execute)
    yield made
    for store in made.opened:
        store.close()
