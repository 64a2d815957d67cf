"""What PostgreSQL holds of the four tables, and what it ought to hold.

Columns with their types, keys, checks, triggers and what a trigger runs are read out of the
migration that makes them: its words are few and ours. The server names keys and checks by table and
column, and tells a check in words of its own, so that only its names, numbers and signs are
compared. Indexes besides, rules, row security and tables that inherit are never made by us; each
can hide or add rows, or run what somebody else wrote. So can triggers and rules on tables of views,
which are written to in the same transactions: of all tables of the schema they are looked at, and
whether a crash empties one, after which a view would answer from what is not there.
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
_CHECK = re.compile(r"CHECK \((.*)\)")
_TRIGGER = re.compile(r"CREATE TRIGGER (\w+) BEFORE (UPDATE|DELETE) ON (\w+)")
_BODY = re.compile(r"FUNCTION refuse_change\(\).*?\$\$(.*?)\$\$", re.DOTALL)
_SAID = re.compile(r"\w+|[<>=!~+*/%-]+")
_SAID_ANEW = {"IN": "=", "CHECK": "", "ANY": "", "ARRAY": "", "text": ""}
"""`class IN ('a', 'b')` becomes `class = ANY (ARRAY['a'::text, 'b'::text])`."""
_KINDS = {"UPDATE": 1 + 2 + 16, "DELETE": 1 + 2 + 8}
"""A row trigger, before, on one event; as the server writes that in `pg_trigger.tgtype`."""
_TABLE_KINDS = ("r", "p")
_TABLE_MADE = "r p"
"""An ordinary table that outlives a crash: kind and persistence, as the server writes them."""
_KEYS = {"p": "primary", "u": "unique"}
_APART = ["n", "t"]
"""Constraints that are told of elsewhere: columns that may not be null, and triggers."""
_SCHEMA = " c.relnamespace = current_schema()::regnamespace"
_OURS = f"{_SCHEMA} AND c.relname = ANY(?)"
_TABLES = (
    "SELECT c.relname::text, c.relkind::text, c.relpersistence::text, c.relrowsecurity"
    f" FROM pg_class c WHERE{_OURS}"
)
_COLUMNS = (
    "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " a.attgenerated::text || a.attidentity::text, a.attcollation <> t.typcollation"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid"
    f" WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind::text = ANY(?) AND{_OURS}"
)
_CONSTRAINTS = (
    "SELECT k.conname::text, c.relname::text, k.contype::text, pg_get_constraintdef(k.oid),"
    " k.convalidated AND NOT k.condeferrable, ARRAY(SELECT a.attname::text FROM unnest(k.conkey)"
    " WITH ORDINALITY AS part (number, place) JOIN pg_attribute a ON a.attrelid = k.conrelid"
    " AND a.attnum = part.number ORDER BY part.place) FROM pg_constraint k"
    f" JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype::text <> ALL(?) AND{_OURS}"
)
_INDEXES = (
    "SELECT i.indexrelid::regclass::text, c.relname::text FROM pg_index i"
    " JOIN pg_class c ON c.oid = i.indrelid WHERE NOT EXISTS"
    f" (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid) AND{_OURS}"
)
_TRIGGERS = (
    "SELECT t.tgname::text, c.relname::text, t.tgtype::int, t.tgenabled::text,"
    " t.tgqual IS NOT NULL OR t.tgnargs <> 1 OR array_length(t.tgattr, 1) > 0, p.prosrc"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
    f" WHERE NOT t.tgisinternal AND{_SCHEMA}"
)
_RULES = (
    "SELECT r.rulename::text, c.relname::text FROM pg_rewrite r JOIN pg_class c"
    f" ON c.oid = r.ev_class WHERE r.rulename <> ? AND{_SCHEMA}"
)
_HEIRS = (
    "SELECT i.inhrelid::regclass::text, c.relname::text FROM pg_inherits i JOIN pg_class c"
    f" ON c.oid = i.inhparent WHERE {_OURS}"
)

_EMPTIED = (
    "SELECT c.relname::text FROM pg_class c WHERE c.relkind::text = ?"
    f" AND c.relpersistence::text <> ? AND c.relname <> ALL(?) AND{_SCHEMA}"
)
_RULED = (
    "SELECT c.relname::text, c.relkind::text FROM pg_class c"
    f" WHERE (c.relkind::text <> ? OR row_security_active(c.oid)) AND{_OURS}"
)


def objects_in(connection: Connection) -> Objects:
    """What this transaction's schema holds of the four tables, and what harms any other."""
    names = list(TABLES)
    found: dict[tuple[str, str], str] = {}
    for table, kind, persistence, secured in connection.execute(_TABLES, (names,)):
        if kind not in _TABLE_KINDS:
            found["relation that is no table", table] = kind
            continue
        found[TABLE, table] = f"{kind} {persistence}"
        if secured:
            found["row security", f"on {table}"] = ""
    for table, name, kind, never_null, made_by, is_collated in connection.execute(
        _COLUMNS, (list(_TABLE_KINDS), names)
    ):
        found[COLUMN, f"{table}.{name}"] = _column(
            kind, never_null=never_null, made_by=made_by, is_collated=is_collated
        )
    for name, table, kind, text, plain, columns in connection.execute(
        _CONSTRAINTS, (_APART, names)
    ):
        guards = f"{_KEYS[kind]} {' '.join(columns)}" if kind in _KEYS else _said(text)
        found["constraint", f"{name} on {table}"] = guards if plain else f"not always {guards}"
    for name, table in connection.execute(_INDEXES, (names,)):
        found["index", f"{name} on {table}"] = ""
    for name, table, kind, enabled, limited, runs in connection.execute(_TRIGGERS):
        on = "on" if enabled in {"O", "A"} and not limited else "off"
        found["trigger", f"{name} on {table}"] = f"{kind} {on} {runs}"
    for name, table in connection.execute(_RULES, ("_RETURN",)):
        found["rule", f"{name} on {table}"] = ""
    for name, table in connection.execute(_HEIRS, (names,)):
        found["heir", f"{name} of {table}"] = ""
    for (table,) in connection.execute(_EMPTIED, ("r", "p", names)):
        found["unlogged table", table] = ""
    return found


@cache
def objects_made() -> Objects:
    """What the migrations make of them."""
    made: dict[tuple[str, str], str] = {}
    for step in migrations_of("ledger.log.migrations", "postgresql"):
        for table, content in _MADE.findall(step.sql):
            if table in TABLES:
                made[TABLE, table] = _TABLE_MADE
                made |= dict(_parts(table, content))
        runs = "".join(_BODY.findall(step.sql))
        for name, event, table in _TRIGGER.findall(step.sql):
            made["trigger", f"{name} on {table}"] = f"{_KINDS[event]} on {runs}"
    return made


def interposed(connection: Connection, package: str) -> Iterator[str]:
    """What of a package's tables is none or has policies, triggers, rules or heirs."""
    names = tables_made(package)
    for table, kind in connection.execute(_RULED, ("r", names)):
        yield f"the row security on {table}" if kind == "r" else f"the view {table}"
    for name, table, *_ in connection.execute(_TRIGGERS):
        if table in names:
            yield f"the trigger {name} on {table}"
    for name, table in connection.execute(_RULES, ("_RETURN",)):
        if table in names:
            yield f"the rule {name} on {table}"
    for name, table in connection.execute(_HEIRS, (names,)):
        yield f"the heir {name} of {table}"


@cache
def tables_made(package: str) -> list[str]:
    """The names of the tables that a package's migrations make."""
    steps = migrations_of(package, "postgresql")
    return [table for step in steps for table, _ in _MADE.findall(step.sql)]


def _parts(table: str, content: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Columns and constraints of a table, by the words within its brackets."""
    for line in content.strip().splitlines():
        unique = _UNIQUE.search(line)
        if unique is not None:
            columns = unique[1].split(", ")
            name = f"{table}_{'_'.join(columns)}_key on {table}"
            yield ("constraint", name), f"unique {' '.join(columns)}"
            continue
        column, kind = line.split()[:2]
        yield (COLUMN, f"{table}.{column}"), _column(kind.lower())
        if "PRIMARY KEY" in line:
            yield ("constraint", f"{table}_pkey on {table}"), f"primary {column}"
        check = _CHECK.search(line)
        if check is not None:
            yield ("constraint", f"{table}_{column}_check on {table}"), _said(check[1])


def _column(
    kind: str, *, never_null: bool = True, made_by: str = "", is_collated: bool = False
) -> str:
    """What defines a column; all of ours are plain ones that are never null."""
    more = (not never_null, "may be null"), (made_by != "", made_by), (is_collated, "collated")
    return " ".join([kind, *(what for so, what in more if so)])


def _said(text: str) -> str:
    """What a check says, whichever brackets and types the server writes around it."""
    said = (_SAID_ANEW.get(word, word) for word in _SAID.findall(text))
    return " ".join(word for word in said if word)
