"""A store whose ledger was deleted or renamed by SQL, with what still names it elsewhere."""

from __future__ import annotations

import pytest

from ledger.errors import NotFound
from ledger.log.host_file import host_path
from ledger.log.memory import memory_path
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.sqlite import SqliteConnection
from ledger.sealing.keyring_file import read_keyring
from tests.conftest import new_house
from tests.faults.test_tampering import attack, command_line

TABLES = ("ledger", "log", "commits", "signers")
DELETED = {
    "its row": ("DELETE FROM ledger",),
    "every row": tuple(f"DELETE FROM {table}" for table in TABLES),
    "every table": tuple(f"DROP TABLE {table}" for table in TABLES),
}
GET = ("credential", "get", "CRM", "--as", "user:alice")


def checks(answer) -> list[str]:
    return [one["name"] for one in answer.json["checks"] if not one["ok"]]


@pytest.mark.parametrize("name", DELETED)
def test_a_host_that_remembers_calls_a_deleted_ledger_tampered_and_begins_no_other(house, name):
    house.open().close()
    attack(house, *DELETED[name])
    cli = command_line(house)
    answer = cli("log", "verify")
    expected = "altered-ledger" if name == "its row" else "rolled-back"
    assert (answer.code, checks(answer)) == (8, [expected])
    assert cli(*GET).error["code"] == expected
    assert cli("init").error["code"] == expected
    assert cli("init").code == cli(*GET).code == 8
    assert cli("log", "verify").code == 8


@pytest.mark.parametrize("name", DELETED)
def test_a_pinned_id_makes_a_deleted_ledger_damage_where_nobody_remembers(house, name):
    attack(house, *DELETED[name])
    memory_path(house.keyring_path).unlink()
    pinned = read_keyring(house.keyring_path).ledger_id.hex()
    cli = command_line(house)
    answer = cli("log", "verify", "--ledger-id", pinned)
    assert (answer.code, checks(answer)) == (8, ["altered-ledger"])
    # Without either, nothing tells a deleted ledger from an `init` that was cut off.
    unpinned = cli("log", "verify")
    if name == "its row":
        assert (unpinned.code, checks(unpinned)) == (8, ["altered-ledger"])
        assert cli("init").error["code"] == "altered-ledger"
    else:
        assert (unpinned.code, unpinned.error["code"]) == (3, "no-ledger")


@pytest.mark.parametrize("change", ["rotate", "slot"])
def test_where_nobody_remembers_no_second_ledger_is_begun_with_a_keyring_that_was_changed(
    house, change
):
    """Only a ledger that is there changes its keyring: what is lost is to be restored instead."""
    cli = command_line(house)
    if change == "rotate":
        cli.ok("key", "rotate", "--without-backup")
    else:
        spare = house.keyring_path.with_name("spare")
        cli.ok("key", "slot", "add", "key-file", "--label", "s", "--new-key-file", str(spare))
    house.close()
    attack(house, *DELETED["every table"])
    for name in (memory_path(house.keyring_path), host_path(house.keyring_path)):
        name.unlink()
    told = cli("status").error
    assert (told["code"], "backup restore" in told["hint"]) == ("no-ledger", True)
    before = house.keyring_path.read_bytes()
    answer = cli("init")
    assert (answer.code, answer.error["code"]) == (5, "keyring-exists")
    assert "backup restore" in answer.error["hint"]
    assert cli("status").error["code"] == "no-ledger"
    assert house.keyring_path.read_bytes() == before
    assert not host_path(house.keyring_path).exists()


@pytest.mark.parametrize("remembers", [True, False])
def test_an_altered_ledger_id_is_tampering_and_not_another_ledger(house, remembers):
    if not remembers:
        memory_path(house.keyring_path).unlink()
    attack(house, "UPDATE ledger SET id = zeroblob(32)")
    cli = command_line(house)
    answer = cli("log", "verify")
    assert answer.code == 8
    assert "ledger-id" in checks(answer)
    assert cli(*GET).error["code"] == "altered-ledger"
    assert cli("init").code == 5


def test_another_ledgers_store_is_still_told_as_such(house, tmp_path):
    other = new_house(tmp_path / "other")
    other.found()
    cli = command_line(house)
    cli.environment["CREDLEDGER_STORE"] = f"sqlite://{other.store_path}"
    for asked in (("log", "verify"), GET):
        answer = cli(*asked)
        assert (answer.code, answer.error["code"]) == (6, "keyring-foreign")
    pinned = read_keyring(house.keyring_path).ledger_id.hex()
    assert cli("log", "verify", "--ledger-id", pinned).code == 8
    other.close()


LEFT = ("ledger", "signers", "log", "commits", "schema_migrations")


@pytest.mark.parametrize("anchor", ["remembers", "pins", "has nothing"])
@pytest.mark.parametrize("table", LEFT)
def test_one_table_taken_away_is_damage_and_never_no_ledger(house, table, anchor):
    """Whoever knows the ledger or not: the other tables are there, so somebody made one."""
    house.open().close()
    if anchor != "remembers":
        memory_path(house.keyring_path).unlink()
    pinned = ("--ledger-id", read_keyring(house.keyring_path).ledger_id.hex())
    attack(house, f"DROP TABLE {table}")
    cli = command_line(house)
    answer = cli("log", "verify", *(pinned if anchor == "pins" else ()))
    assert (answer.code, answer.json["ok"]) == (8, False)
    assert "store-damaged" in checks(answer)
    for words in (("status",), ("doctor",), GET, ("init",), ("store", "migrate")):
        if words != ("store", "migrate") or table == "schema_migrations":
            answer = cli(*words)
            assert answer.code == 8 or (words == ("init",) and answer.code == 5), words
            assert "no-ledger" not in str(answer), words


def test_a_views_table_taken_away_is_damage_and_never_no_ledger(house):
    """It says nothing of the ledger itself, whose log is whole."""
    house.open().close()
    tables = ("views", "credential_view_a", "access_history_a")
    there = (
        "SELECT name FROM sqlite_master" if not house.on_server else "SELECT relname FROM pg_class"
    )
    assert {*tables} <= {name for (name,) in house.sql(there)}
    for table in tables:
        attack(house, f"DROP TABLE {table}")
    cli = command_line(house)
    assert cli("log", "verify").code == 0
    for words in (("status",), GET, ("audit", "access", "--since", "1h")):
        answer = cli(*words)
        assert (answer.code, answer.error["code"]) == (8, "store-damaged"), words


def test_a_ledger_made_since_its_tables_were_missed_is_none_yet_and_no_damage(
    house, tmp_path, monkeypatch, request
):
    """Between the miss and the look for what that means somebody may finish `init`."""
    other = new_house(tmp_path / "other")
    if house.on_server:
        server = request.getfixturevalue("postgres_server")
        other.store_url = f"{server.dsn()}&ledger={request.getfixturevalue('postgres_schema')}"
        engine, look = PostgresqlStore, "_lacks_some"
    else:
        other.store_path.parent.mkdir(parents=True)
        other.store_path.touch(mode=0o600)
        engine, look = SqliteConnection, "_holds_ledger"
    looked = getattr(engine, look)

    def late(self):
        monkeypatch.undo()
        other.found()
        return looked(self)

    monkeypatch.setattr(engine, look, late)
    store = other.store()
    with pytest.raises(NotFound) as caught, store.reading() as reading:
        reading.ledger()
    assert caught.value.code == "no-ledger"
    with store.reading() as reading:
        assert reading.ledger() is not None
    other.close()


@pytest.mark.parametrize("table", ["log", "commits"])
def test_an_index_by_the_name_of_a_table_that_is_gone_is_no_ledger_made_since(prepared_file, table):
    """The engine says the same of both: no such table."""
    house = prepared_file()
    house.open().close()
    attack(house, f"DROP TABLE {table}", f"CREATE INDEX {table} ON signers (ordinal)")
    cli = command_line(house)
    verified = cli("log", "verify")
    assert (verified.code, checks(verified)[0]) == (8, "store-damaged")
    for words in (("status",), GET):
        answer = cli(*words)
        assert (answer.code, answer.error["code"]) == (8, "store-damaged"), words


RENAMED = (
    "ledger.salt",
    "signers.change",
    "log.leaf",
    "log.sealed",
    "commits.root",
    "commits.size",
)


@pytest.mark.parametrize("column", RENAMED)
def test_a_renamed_column_is_damage_and_no_store_out_of_reach(house, column):
    """Nobody is sent to look for a server or a file that are well."""
    house.open().close()
    table, name = column.split(".")
    attack(house, f"ALTER TABLE {table} RENAME COLUMN {name} TO other")
    cli = command_line(house)
    answer = cli("log", "verify")
    assert (answer.code, checks(answer)) == (8, ["store-damaged"])
    for words in (("status",), ("doctor",), GET, ("init",)):
        answer = cli(*words)
        assert answer.code == 8 or (words == ("init",) and answer.code == 5), words
        assert "store-unreachable" not in str(answer), words
