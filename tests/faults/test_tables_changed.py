"""Tables that are not as a ledger makes them: views in their place, guards missing or put there."""

from __future__ import annotations

import os

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
    if filled.on_server:  # its views take in rows, and may do with them what they like
        assert (answer.code, answer.error["code"]) == (8, "store-damaged")
        return
    if table in {"log", "commits"}:
        assert (answer.code, answer.error["code"]) == (8, "store-damaged")
    ((severity, message),) = found(filled)
    assert severity == "error"
    assert f"the view {table}" in message


@pytest.mark.parametrize("prepared", ["postgresql"], indirect=True)
def test_nothing_is_released_on_a_record_that_a_view_undoes_while_it_is_read_back(prepared):
    """A view runs what somebody else wrote within the very look that comes before the commit."""
    filled = prepared(fill)
    filled.sql("ALTER TABLE log DISABLE TRIGGER USER")
    filled.sql("ALTER TABLE log RENAME TO other")
    filled.sql(
        "CREATE FUNCTION undone(place BIGINT) RETURNS BOOLEAN VOLATILE LANGUAGE plpgsql AS $$ BEGIN"
        " IF place > 6 THEN DELETE FROM other WHERE position = place; END IF; RETURN true; END $$"
    )
    filled.sql("CREATE VIEW log AS SELECT * FROM other WHERE undone(position)")
    answer = command_line(filled)(*GET)
    assert (answer.code, answer.error["code"]) == (8, "store-damaged")
    assert filled.sql("SELECT max(size) FROM commits") == [(6,)]


@pytest.mark.parametrize("prepared", ["postgresql"], indirect=True)
def test_where_policies_tell_what_a_role_sees_nothing_is_recorded(prepared):
    """They could hide a record from all who look later, or undo it while it is read back."""
    filled = prepared(fill)
    role = f"writer_{os.urandom(6).hex()}"
    filled.sql(f"CREATE ROLE {role} LOGIN")
    try:
        filled.store().grant_writer(role)
        cli = command_line(filled)
        cli.environment["CREDLEDGER_STORE"] = filled.store_url.replace("postgres@", f"{role}@", 1)
        cli.ok(*GET)
        filled.sql("ALTER TABLE log ENABLE ROW LEVEL SECURITY")
        filled.sql("CREATE POLICY theirs ON log USING (true)")
        cli.fails(8, "store-damaged", *GET)
        assert cli("log", "verify").code == 0
    finally:
        filled.sql(f"DROP OWNED BY {role}")
        filled.sql(f"DROP ROLE {role}")


def test_no_table_called_like_a_function_keeps_a_view_from_being_found(prepared_file):
    """The engine takes the table for what is asked then, and not its own function."""
    filled = prepared_file(fill)
    attack(filled, "ALTER TABLE commits RENAME TO other")
    filled.sql("CREATE VIEW commits AS SELECT * FROM other")
    filled.sql("CREATE TABLE pragma_table_info (name TEXT)")
    ((check),) = told(filled)
    assert (check["name"], check["ok"]) == ("store-damaged", False)
    assert "the view commits is not the ledger's" in check["detail"]
    assert [severity for severity, _ in found(filled)] == ["error"]


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
        "trigger theirs on access_history_a is not": (
            "CREATE TRIGGER theirs AFTER INSERT ON access_history_a BEGIN SELECT 1; END",
        ),
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
        "trigger signers_keep on signers is another": (
            "DROP TRIGGER signers_keep ON signers",
            (
                "CREATE TRIGGER signers_keep BEFORE UPDATE ON signers FOR EACH ROW WHEN (false)"
                " EXECUTE FUNCTION refuse_change('signers never change')"
            ),
        ),
        "trigger commits_stay on commits is another": (
            "DROP TRIGGER commits_stay ON commits",
            (
                "CREATE CONSTRAINT TRIGGER commits_stay AFTER DELETE ON commits DEFERRABLE"
                " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_change('never')"
            ),
        ),
        "trigger ledger_keep on ledger is another": (
            "DROP TRIGGER ledger_keep ON ledger",
            (
                "CREATE TRIGGER ledger_keep BEFORE UPDATE OF salt ON ledger"
                " FOR EACH ROW EXECUTE FUNCTION refuse_change('the ledger row never changes')"
            ),
        ),
        "trigger theirs on access_history_a is not": (
            (
                "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RETURN NULL; END $$"
            ),
            (
                "CREATE TRIGGER theirs AFTER INSERT ON access_history_a"
                " FOR EACH ROW EXECUTE FUNCTION theirs()"
            ),
        ),
        "rule theirs on views is not": (
            "CREATE RULE theirs AS ON DELETE TO views DO ALSO SELECT 1",
        ),
        "constraint log_version_check on log is another": (
            "ALTER TABLE log DROP CONSTRAINT log_version_check",
            "ALTER TABLE log ADD CONSTRAINT log_version_check CHECK (version >= -1)",
        ),
        "constraint signers_class_check on signers is another": (
            "ALTER TABLE signers DROP CONSTRAINT signers_class_check",
            (
                "ALTER TABLE signers ADD CONSTRAINT signers_class_check"
                " CHECK (class IN ('operator', 'auditor', 'nobody'))"
            ),
        ),
        "constraint log_leaf_check on log is another": (
            "ALTER TABLE log DROP CONSTRAINT log_leaf_check",
            ("ALTER TABLE log ADD CONSTRAINT log_leaf_check CHECK (length(leaf) = 32) NOT VALID"),
        ),
        "constraint signers_public_key_change_key on signers is another": (
            "ALTER TABLE signers DROP CONSTRAINT signers_public_key_change_key",
            (
                "ALTER TABLE signers ADD CONSTRAINT signers_public_key_change_key"
                " UNIQUE (public_key, change, ordinal)"
            ),
        ),
        "constraint theirs on commits is not": (
            "CREATE TABLE sizes AS SELECT size FROM commits",
            "ALTER TABLE sizes ADD PRIMARY KEY (size)",
            "ALTER TABLE commits ADD CONSTRAINT theirs FOREIGN KEY (size) REFERENCES sizes",
        ),
        "index theirs on log is not": ("CREATE INDEX theirs ON log (topic)",),
        "column log.topic is another": ("ALTER TABLE log ALTER topic TYPE varchar(80)",),
        "column log.epoch is another": ("ALTER TABLE log ALTER epoch DROP NOT NULL",),
        "column signers.change is another": (
            'ALTER TABLE signers ALTER change TYPE text COLLATE "C"',
        ),
        "table log is another": ("DROP TABLE more", "ALTER TABLE log SET UNLOGGED"),
        "unlogged table access_history_a is not": ("ALTER TABLE access_history_a SET UNLOGGED",),
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


def hide_by_triggers(house) -> None:
    for table in ("access_history_a", "access_history_b"):
        if house.on_server:
            house.sql(
                f"CREATE FUNCTION hide_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF NEW.position = 5 THEN RETURN NULL; END IF; RETURN NEW; END $$"
            )
            house.sql(
                f"CREATE TRIGGER theirs BEFORE INSERT ON {table} FOR EACH ROW"
                f" EXECUTE FUNCTION hide_{table}()"
            )
        else:
            house.sql(
                f"CREATE TRIGGER hide_{table} BEFORE INSERT ON {table} WHEN NEW.position = 5"
                " BEGIN SELECT RAISE(IGNORE); END"
            )
        house.sql(f"DELETE FROM {table} WHERE position = 5")


def hide_by_views(house) -> None:
    for table in ("access_history_a", "access_history_b"):
        house.sql(f"ALTER TABLE {table} RENAME TO other_{table}")
        house.sql(f"CREATE VIEW {table} AS SELECT * FROM other_{table} WHERE position <> 5")


@pytest.mark.parametrize("hide", [hide_by_triggers, hide_by_views])
def test_what_hides_a_read_from_a_view_and_its_rebuild_alike_is_no_agreement(prepared, hide):
    """Both tables would be short of the same row, and equal."""
    filled = prepared(fill)
    cli = command_line(filled)
    assert [one["position"] for one in cli.ok("audit", "access")] == [5]
    assert cli("log", "verify", "--views").code == 0
    hide(filled)
    assert cli.ok("audit", "access") == []
    answer = cli("log", "verify", "--views")
    (check,) = [one for one in answer.json["checks"] if not one["ok"]]
    assert (answer.code, check["name"]) == (8, "view-tables")
    assert "access_history_b" in check["detail"]
    ((_, message),) = found(filled)
    assert "access_history_b is not the ledger's" in message
    if filled.on_server or hide is hide_by_triggers:
        rebuilt = cli.ok("replay", "rebuild")["views"]
        assert not any(one["same"] for one in rebuilt)
