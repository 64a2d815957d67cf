"""Numbered SQL files that bring a store to the present schema, one folder an engine.

A file runs once, in order of its number, inside the transaction that notes it in
`schema_migrations`. The files of the log live here; the read side brings its own folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib import resources
from typing import NamedTuple

import msgspec

NOTES = "schema_migrations"
NOTES_MADE = (
    f"CREATE TABLE IF NOT EXISTS {NOTES}"
    " (package TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (package, name))"
)
"""What makes the table of notes in a file."""
_INDEX = re.compile(r"^CREATE INDEX (\w+) ON (\w+) [^;]+", re.MULTILINE)
"""As the files of migrations write it: their words are few and ours."""


class Migration(msgspec.Struct, frozen=True):
    """One numbered step."""

    package: str
    """The package that owns the file, such as `ledger.log.migrations`."""
    name: str
    """The file's name, such as `0001_log.sql`."""
    sql: str


def migrations_of(package: str, engine: str) -> list[Migration]:
    """All steps of one package for one engine (`sqlite`, `postgresql`), in order."""
    folder = resources.files(package).joinpath(engine)
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        Migration(package, name, folder.joinpath(name).read_text(encoding="utf-8"))
        for name in files
    ]


class Index(NamedTuple):
    """An index that a migration makes."""

    name: str
    made: str
    """What makes it, where it is not there."""


def indexes_of(package: str, engine: str, tables: Collection[str]) -> list[Index]:
    """All that the steps of one package make on these tables, in the order in which they do."""
    made = (found for step in migrations_of(package, engine) for found in _INDEX.finditer(step.sql))
    return [
        Index(found[1], found[0].replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS", 1))
        for found in made
        if found[2] in tables
    ]
