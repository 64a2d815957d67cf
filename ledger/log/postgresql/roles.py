"""Who may do what in a ledger's schema: an owner makes tables, a writer only appends.

    table                          a writer may
    ledger                         SELECT, INSERT, UPDATE (format)
    signers, log, commits          SELECT, INSERT
    founding                       SELECT, UPDATE (one)
    schema_migrations              SELECT
    restoring, and all views'      SELECT, INSERT, UPDATE, DELETE

The two updates are what `SELECT ... FOR UPDATE` needs; triggers refuse them when they are meant.
TRUNCATE passes by row triggers, so nobody but the owner has it. All this guards against accidents
and narrows what a stolen password can do; what protects the log are its signatures.

So a ledger that is opened as a role that may do more than a writer serves, and `doctor` warns. One
opened as a role that can record nothing would fail only once something is to be recorded, and not
at all while nothing is: that is asked at each start, and refused there.
"""

from __future__ import annotations

import msgspec
import psycopg
from psycopg import sql

from ledger.errors import InvalidInput
from ledger.log.postgresql.errors import translated
from ledger.log.rows import TABLES
from ledger.log.store import Connection

_LOCKED_BY = {"ledger": "format", "founding": "one"}
_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
_KEPT = {
    **dict.fromkeys(TABLES, ("SELECT", "INSERT")),
    "founding": ("SELECT",),
    "schema_migrations": ("SELECT",),
}
_VIEW = ("SELECT", "INSERT", "UPDATE", "DELETE")
_TABLE_KINDS = ["r", "p"]
_TO_RECORD: tuple[tuple[str, str, str | None], ...] = (
    ("ledger", "SELECT", None),
    ("ledger", "UPDATE", _LOCKED_BY["ledger"]),
    ("signers", "SELECT", None),
    ("log", "SELECT", None),
    ("log", "INSERT", None),
    ("commits", "SELECT", None),
    ("commits", "INSERT", None),
)
"""Table, privilege and column of all that recording one event in a founded ledger takes."""


class Rights(msgspec.Struct, frozen=True):
    """What the role of a connection may do in a ledger's schema, against what a writer should."""

    role: str
    beyond: tuple[str, ...]
    """What it may do although no writer needs it, such as `DELETE on log` or `superuser`."""
    lacking: tuple[str, ...]
    """What it needs and may not do."""


def grant_writer(raw: psycopg.Connection[tuple[object, ...]], schema: str, role: str) -> None:
    """Give the role a writer's rights and take all others; by the owner, after each migration."""
    place, writer = sql.Identifier(schema), sql.Identifier(role)

    def run(text: str, **parts: sql.Composable) -> None:
        raw.execute(sql.SQL(text).format(schema=place, role=writer, **parts))

    try:
        with raw.transaction():
            run("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {role}")
            run("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC, {role}")
            run("GRANT USAGE ON SCHEMA {schema} TO {role}")
            tables = raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
            for (table,) in tables.fetchall():
                name = str(table)
                rights = sql.SQL(", ").join(sql.SQL(one) for one in _KEPT.get(name, _VIEW))
                parts = {"rights": rights, "table": sql.Identifier(name)}
                run("GRANT {rights} ON {schema}.{table} TO {role}", **parts)
                if name in _LOCKED_BY:
                    parts["rights"] = sql.Identifier(_LOCKED_BY[name])
                    run("GRANT UPDATE ({rights}) ON {schema}.{table} TO {role}", **parts)
    except psycopg.errors.UndefinedObject as error:
        raise InvalidInput("unknown-role", "The database has no role of that name.") from error
    except psycopg.Error as error:
        raise translated(error) from error


def lacking_to_record(connection: Connection, schema: str) -> tuple[str, ...]:
    """What the role lacks without which it can record nothing, in one statement.

    It is what a start asks. Rights on the tables of views, the right to begin and end signers, and
    rights beyond a writer's need are for `rights_of`.
    """
    tables, privileges, columns = (list(one) for one in zip(*_TO_RECORD, strict=True))
    found = connection.execute(
        "SELECT needed.place::int FROM unnest(?::text[], ?::text[], ?::text[])"
        " WITH ORDINALITY AS needed (name, privilege, part, place)"
        " JOIN pg_namespace n ON n.nspname = ?"
        " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = needed.name"
        " WHERE NOT CASE WHEN part IS NULL THEN has_table_privilege(c.oid, privilege)"
        " ELSE has_column_privilege(c.oid, part, privilege) END ORDER BY needed.place",
        (tables, privileges, columns, schema),
    )
    return tuple(_named(*_TO_RECORD[place - 1]) for (place,) in found)


def rights_of(connection: Connection, schema: str) -> Rights:
    """Ask the server what this connection's role may do."""
    (role, superuser, replaces, creates), *_ = connection.execute(
        "SELECT current_user::text, rolsuper, has_parameter_privilege(?, ?),"
        " has_schema_privilege(?, ?) FROM pg_roles WHERE rolname = current_user",
        ("session_replication_role", "SET", schema, "CREATE"),
    )
    beyond = [
        what
        for what, so in (
            ("superuser", superuser),
            ("SET session_replication_role", replaces),
            (f"CREATE in schema {schema}", creates),
        )
        if so
    ]
    lacking: list[str] = []
    for table, owned, held, updatable in _tables(connection, schema):
        needed = set(_KEPT.get(table, _VIEW))
        column = _LOCKED_BY.get(table)
        columns = set(updatable) - ({column} if column else set())
        if owned:
            beyond.append(f"owner of {table}")
        if table in _KEPT:
            beyond += [_named(table, one) for one in _PRIVILEGES if one in held - needed]
            if "UPDATE" not in held:
                beyond += [_named(table, "UPDATE", one) for one in sorted(columns)]
        lacking += [_named(table, one) for one in _PRIVILEGES if one in needed - held]
        if column and column not in updatable:
            lacking.append(_named(table, "UPDATE", column))
    return Rights(str(role), tuple(beyond), tuple(lacking))


def _named(table: str, privilege: str, column: str | None = None) -> str:
    return f"{privilege} ({column}) on {table}" if column else f"{privilege} on {table}"


def _tables(connection: Connection, schema: str) -> list[tuple[str, bool, set[str], list[str]]]:
    found = connection.execute(
        "SELECT c.relname::text, pg_has_role(c.relowner, ?),"
        " ARRAY(SELECT p FROM unnest(?::text[]) AS p WHERE has_table_privilege(c.oid, p)),"
        " ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid"
        " AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(c.oid, a.attnum, ?))"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = ? AND c.relkind::text = ANY(?) ORDER BY c.relname",
        ("MEMBER", list(_PRIVILEGES), "UPDATE", schema, _TABLE_KINDS),
    )
    return [(table, owned, set(held), updatable) for table, owned, held, updatable in found]
