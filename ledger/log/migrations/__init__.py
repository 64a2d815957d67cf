"""Numbered SQL files that bring a store to the present schema, one folder an engine.

A file runs once, in order of its number, inside the transaction that notes it in
`schema_migrations`. The files of the log live here; the read side brings its own folder.
"""

from __future__ import annotations

from importlib import resources

import msgspec

NOTES = "schema_migrations"
NOTES_MADE = (
    f"CREATE TABLE IF NOT EXISTS {NOTES}"
    " (package TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (package, name))"
)
"""What makes the table of notes in a file."""


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
