"""Bringing a schema to the present: by the role that owns it, in one transaction.

What has run is noted in `schema_migrations`, as on every engine. Two who begin at once meet at
that table's lock; before it exists, the server lets only one create it and the other tries again.
A role that may not create is not asked to where everything is there already.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from ledger.log.migrations import Migration
from ledger.log.postgresql.errors import newer, other_tables, translated

_ATTEMPTS = 5
_MADE_MEANWHILE = {"23505", "42P06", "42P07", "42710"}
Raw = psycopg.Connection[tuple[object, ...]]


def migrate(raw: Raw, schema: str, steps: Sequence[Migration]) -> None:
    """Run what has not run yet; `store-not-writable` where the role may not.

    `store-damaged` where tables are there without the notes of what made them.
    """
    for _ in range(_ATTEMPTS):
        try:
            with raw.transaction():
                _run(raw, schema, steps)
            return
        except psycopg.Error as error:
            if error.sqlstate not in _MADE_MEANWHILE:
                raise translated(error) from error
    # Whoever came first has ended by now: tables are there, and nothing tells of their making.
    raise other_tables()


def refuse_newer(noted: Sequence[Sequence[object]], steps: Sequence[Migration]) -> None:
    """`store-newer` where a step has run that we do not know."""
    ours = {(step.package, step.name) for step in steps}
    packages = {step.package for step in steps}
    if any(row[0] in packages and tuple(row) not in ours for row in noted):
        raise newer()


def _run(raw: Raw, schema: str, steps: Sequence[Migration]) -> None:
    name = sql.Identifier(schema)
    raw.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(name))
    if not raw.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchall():
        raw.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    noted = _noted(raw, schema)
    if noted is None:
        raw.execute(
            "CREATE TABLE schema_migrations"
            " (package TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (package, name))"
        )
        noted = []
    refuse_newer(noted, steps)
    if not _missing(noted, steps):
        return
    raw.execute("LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE")
    # Somebody may have been here while we waited.
    for step in _missing(_noted(raw, schema) or [], steps):
        raw.execute(step.sql.encode(), prepare=False)
        raw.execute(
            "INSERT INTO schema_migrations (package, name) VALUES (%s, %s)",
            [step.package, step.name],
        )


def _noted(raw: Raw, schema: str) -> list[tuple[object, ...]] | None:
    there = raw.execute(
        "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_migrations'",
        [schema],
    ).fetchall()
    if not there:
        return None
    return raw.execute("SELECT package, name FROM schema_migrations").fetchall()


def _missing(noted: Sequence[Sequence[object]], steps: Sequence[Migration]) -> list[Migration]:
    known = {tuple(row) for row in noted}
    return [step for step in steps if (step.package, step.name) not in known]
