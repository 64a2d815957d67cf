"""What PostgreSQL holds of the four tables, and what it ought to hold.

Names of columns, keys, checks and triggers, and what a trigger runs, are read out of the migration
that makes them: its words are few and ours. The server names keys and checks by table and column.
Rules, row security and tables that inherit are never made by us; each can hide or add rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from ledger.log.migrations import migrations_of
from ledger.log.objects import COLUMN, TABLE, Objects
from ledger.log.rows import TABLES
from ledger.log.store import Connection

_MADE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_UNIQUE = re.compile(r"UNIQUE \(([\w, ]+)\)")
_TRIGGER = re.compile(r"CREATE TRIGGER (\w+) BEFORE (UPDATE|DELETE) ON (\w+)")
_BODY = re.compile(r"FUNCTION refuse_change\(\).*?\$\$(.*?)\$\$", re.DOTALL)
_KINDS = {"UPDATE": 1 + 2 + 16, "DELETE": 1 + 2 + 8}
"""A row trigger, before, on one event; as the server writes that in `pg_trigger.tgtype`."""
_TABLE_KINDS = ("r", "p")
_GUARDS = ["p", "u", "c"]
_OURS = " c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(?)"
_COLUMNS = (
    "SELECT c.relname::text, c.relkind::text, c.relrowsecurity, ARRAY(SELECT a.attname::text FROM"
    " pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"
    f" FROM pg_class c WHERE{_OURS}"
)
_CONSTRAINTS = (
    "SELECT k.conname::text, c.relname::text FROM pg_constraint k JOIN pg_class c"
    f" ON c.oid = k.conrelid WHERE k.contype::text = ANY(?) AND{_OURS}"
)
_TRIGGERS = (
    "SELECT t.tgname::text, c.relname::text, t.tgtype::int, t.tgenabled::text, p.prosrc"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
    f" WHERE NOT t.tgisinternal AND{_OURS}"
)
_RULES = (
    "SELECT r.rulename::text, c.relname::text FROM pg_rewrite r JOIN pg_class c"
    f" ON c.oid = r.ev_class WHERE r.rulename <> ? AND{_OURS}"
)
_HEIRS = (
    "SELECT i.inhrelid::regclass::text, c.relname::text FROM pg_inherits i JOIN pg_class c"
    f" ON c.oid = i.inhparent WHERE c.relkind::text <> ? AND{_OURS}"
)


def objects_in(connection: Connection) -> Objects:
    """What the schema of this transaction holds of the four tables."""
    names = list(TABLES)
    found: dict[tuple[str, str], str] = {}
    for table, kind, secured, columns in connection.execute(_COLUMNS, (names,)):
        if kind not in _TABLE_KINDS:
            found["relation that is no table", table] = kind
            continue
        found[TABLE, table] = ""
        found |= {(COLUMN, f"{table}.{column}"): "" for column in columns}
        if secured:
            found["row security", f"on {table}"] = ""
    for name, table in connection.execute(_CONSTRAINTS, (_GUARDS, names)):
        found["constraint", f"{name} on {table}"] = ""
    for name, table, kind, enabled, runs in connection.execute(_TRIGGERS, (names,)):
        on = "on" if enabled in {"O", "A"} else "off"
        found["trigger", f"{name} on {table}"] = f"{kind} {on} {runs}"
    for name, table in connection.execute(_RULES, ("_RETURN", names)):
        found["rule", f"{name} on {table}"] = ""
    for name, table in connection.execute(_HEIRS, ("p", names)):
        found["heir", f"{name} of {table}"] = ""
    return found


@cache
def objects_made() -> Objects:
    """What the migrations make of them."""
    made: dict[tuple[str, str], str] = {}
    for step in migrations_of("ledger.log.migrations", "postgresql"):
        for table, content in _MADE.findall(step.sql):
            if table in TABLES:
                made[TABLE, table] = ""
                made |= dict.fromkeys(_parts(table, content), "")
        runs = "".join(_BODY.findall(step.sql))
        for name, event, table in _TRIGGER.findall(step.sql):
            if table in TABLES:
                made["trigger", f"{name} on {table}"] = f"{_KINDS[event]} on {runs}"
    return made


def _parts(table: str, content: str) -> Iterator[tuple[str, str]]:
    """Columns and constraints of a table, by the words within its brackets."""
    for line in content.strip().splitlines():
        unique = _UNIQUE.search(line)
        if unique is not None:
            columns = "_".join(unique[1].split(", "))
            yield "constraint", f"{table}_{columns}_key on {table}"
            continue
        column = line.split()[0]
        yield COLUMN, f"{table}.{column}"
        if "PRIMARY KEY" in line:
            yield "constraint", f"{table}_pkey on {table}"
        if "CHECK" in line:
            yield "constraint", f"{table}_{column}_check on {table}"
