"""What SQLite holds of the log's tables, and what it ought to hold.

The migrations are run in an empty database in memory, and its schema is compared with the store's,
statement by statement as SQLite keeps them. A view or a virtual table of that name is no table.
The table that tells what made them is one of these. Triggers are looked for in all of the file: one
on a view's table runs in the same transactions. What is in the place of such a table, and may keep
out or hide what a rebuild writes into it, is told apart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from typing import Any

from ledger.log.migrations import NOTES, NOTES_MADE, migrations_of
from ledger.log.objects import COLUMN, TABLE, Objects
from ledger.log.rows import TABLES

_NAMES = (*TABLES, NOTES)
_MARKS = ", ".join("?" * len(_NAMES))
_SCHEMA = (
    "SELECT type, name, lower(tbl_name), coalesce(sql, '') FROM sqlite_master"
    f" WHERE lower(tbl_name) IN ({_MARKS}) OR lower(name) IN ({_MARKS}) OR type = 'trigger'"
)
_COLUMNS = 'PRAGMA table_info("{}")'
"""Not as a function, whose name a table may have."""
_BETWEEN = (
    "SELECT type, name, lower(tbl_name), coalesce(sql, '') FROM sqlite_master"
    " WHERE type IN ('table', 'view', 'trigger')"
)
Execute = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]


def objects_in(execute: Execute) -> Objects:
    """What a database holds of these tables, and the triggers on any."""
    found: dict[tuple[str, str], str] = {}
    for kind, name, table, sql in execute(_SCHEMA, (*_NAMES, *_NAMES)):
        shown = name if name == table else f"{name} on {table}"
        definition = " ".join(str(sql).split())
        if definition.upper().startswith("CREATE VIRTUAL"):
            found["virtual table", shown] = definition
            continue
        found[kind, shown] = definition
        if kind == TABLE and name.lower() in _NAMES:
            for _, column, *_ in execute(_COLUMNS.format(name), ()):
                found[COLUMN, f"{name}.{column}"] = ""
    return found


@cache
def objects_made() -> Objects:
    """What the migrations make of them."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.execute(NOTES_MADE)
        for step in migrations_of("ledger.log.migrations", "sqlite"):
            empty.executescript(step.sql)
        return objects_in(lambda sql, parameters: empty.execute(sql, parameters).fetchall())


def interposed(execute: Execute, package: str) -> Iterator[str]:
    """What is another table than one that a package's migrations make, or a trigger on one."""
    made = _tables_made(package)
    for kind, name, table, sql in execute(_BETWEEN, ()):
        if table in made and (kind != TABLE or " ".join(str(sql).split()) not in made[table]):
            yield f"the {kind} {name}" if name == table else f"the {kind} {name} on {table}"


@cache
def _tables_made(package: str) -> Mapping[str, frozenset[str]]:
    """How each table is made: as one step leaves it, or as a later one does."""
    found: dict[str, set[str]] = {}
    with closing(sqlite3.connect(":memory:")) as empty:
        for step in migrations_of(package, "sqlite"):
            empty.executescript(step.sql)
            for name, sql in empty.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            ):
                found.setdefault(name, set()).add(" ".join(sql.split()))
    return {name: frozenset(forms) for name, forms in found.items()}
