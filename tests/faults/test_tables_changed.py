"""Tables that are not as a ledger makes them: views in their place, guards missing or put there."""

from __future__ import annotations

import pytest

from tests.faults.test_tampering import attack, command_line, fill

GET = ("credential", "get", "CRM", "--as", "user:alice")
TABLES = ("ledger", "signers", "log", "commits")


@pytest.fixture
def filled(prepared):
    return prepared(fill)


def told(house) -> list[dict]:
    """What `log verify` says of the tables."""
    answer = command_line(house)("log", "verify")
    assert answer.code == (0 if answer.json["ok"] else 8)
    return [one for one in answer.json["checks"] if one["name"] in {"tables", "store-damaged"}]


def found(house) -> list[tuple[str, str]]:
    answer = command_line(house)("doctor")
    assert answer.code in {0, 8}
    return [
        (one["severity"], one["message"])
        for one in answer.json["findings"]
        if one["code"] == "tables-changed"
    ]


def test_of_tables_as_the_migrations_make_them_nothing_is_told(filled):
    assert told(filled) == found(filled) == []
    with filled.store().reading() as reading:
        assert reading.oddities() == ()


@pytest.mark.parametrize("table", TABLES)
def test_a_view_in_a_tables_place_is_damage_whatever_it_answers(filled, table):
    """It answers as the table did so far; nobody knows what it answers next."""
    attack(filled, f"ALTER TABLE {table} RENAME TO other")
    filled.sql(f"CREATE VIEW {table} AS SELECT * FROM other")
    ((check),) = told(filled)
    assert (check["name"], check["ok"]) == ("store-damaged", False)
    assert f"the table {table} is missing" in check["detail"]
    answer = command_line(filled)(*GET)
    assert answer.code in {0, 8}
    if filled.on_server:  # its views take in rows; in a file nobody can record anything
        return
    if table in {"log", "commits"}:
        assert (answer.code, answer.error["code"]) == (8, "store-damaged")
    ((severity, message),) = found(filled)
    assert severity == "error"
    assert f"the view {table}" in message


def test_a_virtual_table_in_a_tables_place_is_damage(prepared_file):
    """What it answers is the word of a module, not what was stored."""
    filled = prepared_file(fill)
    attack(filled, "ALTER TABLE signers RENAME TO other")
    filled.sql(
        "CREATE VIRTUAL TABLE signers USING fts5"
        "(ordinal, public_key, class, change, from_size, introduced_by, signature)"
    )
    ((check),) = told(filled)
    assert (check["name"], check["ok"]) == ("store-damaged", False)
    assert "the virtual table signers is not the ledger's" in check["detail"]


@pytest.mark.parametrize("column", ["log.leaf", "commits.root", "signers.change"])
def test_a_column_that_is_not_there_is_named(filled, column):
    table, name = column.split(".")
    attack(filled, f"ALTER TABLE {table} RENAME COLUMN {name} TO other")
    ((check),) = told(filled)
    assert (check["name"], check["ok"]) == ("store-damaged", False)
    assert f"the column {column} is missing" in check["detail"]


THEIRS = {
    "in a file": (
        "CREATE TRIGGER theirs AFTER INSERT ON log BEGIN SELECT 1; END",
        "DROP TRIGGER log_keep",
    ),
    "on a server": (
        "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER theirs AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION theirs()",
        "DROP TRIGGER log_keep ON log",
    ),
}


def test_a_foreign_and_a_missing_trigger_are_told_and_the_ledger_serves(filled):
    """They guard against accidents, or do what somebody else wants; what is signed still holds."""
    for statement in THEIRS["on a server" if filled.on_server else "in a file"]:
        filled.sql(statement)
    ((check),) = told(filled)
    ((severity, message),) = found(filled)
    assert (check["name"], check["ok"], severity) == ("tables", True, "warning")
    for text in (check["detail"], message):
        assert "the trigger log_keep on log is missing" in text
        assert "the trigger theirs on log is not the ledger's" in text
    cli = command_line(filled)
    assert cli.ok("doctor") is not None
    assert "tables-changed" in cli.ok("status")["warnings"]
    cli.ok(*GET)


OTHER = {
    "in a file": {
        "trigger commits_keep on commits is another": (
            "DROP TRIGGER commits_keep",
            "CREATE TRIGGER commits_keep BEFORE UPDATE ON commits BEGIN SELECT 1; END",
        ),
        "index theirs on log is not": ("CREATE INDEX theirs ON log (topic)",),
        "table log is another": ("ALTER TABLE log ADD COLUMN more TEXT",),
        "column log.more is not": (),
    },
    "on a server": {
        "trigger commits_keep on commits is another": (
            "ALTER TABLE commits DISABLE TRIGGER commits_keep",
        ),
        "trigger log_stay on log is another": (
            (
                "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RETURN OLD; END $$"
            ),
        ),
        "rule theirs on log is not": ("CREATE RULE theirs AS ON DELETE TO log DO ALSO SELECT 1",),
        "row security on log is not": ("ALTER TABLE log ENABLE ROW LEVEL SECURITY",),
        "heir more of commits is not": ("CREATE TABLE more () INHERITS (commits)",),
        "constraint log_stream_version_key on log is missing": (
            "ALTER TABLE log DROP CONSTRAINT log_stream_version_key",
        ),
        "constraint log_position_check on log is missing": (
            "ALTER TABLE log DROP CONSTRAINT log_position_check",
        ),
        "column log.more is not": ("ALTER TABLE log ADD COLUMN more TEXT",),
    },
}


def test_what_else_is_other_or_besides_is_named(prepared):
    """One after another is done to the same tables; none of it keeps the log from holding."""
    filled = prepared(fill)
    for what, statements in OTHER["on a server" if filled.on_server else "in a file"].items():
        for statement in statements:
            filled.sql(statement)
        with filled.store().reading() as reading:
            odd = {one.what: one.is_damage for one in reading.oddities()}
        assert [damage for told, damage in odd.items() if what in told] == [False], what
