"""A store that does not keep what is appended to it, as it is: somebody put a trigger there."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager

import pytest

from ledger.claims import parse_claim
from ledger.errors import Tampered, Unavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.faults.hosts import with_second_slot
from tests.faults.test_tampering import attack

ALICE = Caller(parse_claim("user:alice"))
VALUES = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
WAYS = {
    "rows are kept out": (
        (
            "CREATE TRIGGER theirs BEFORE INSERT ON log WHEN NEW.topic = 'access.granted'"
            " BEGIN SELECT RAISE(IGNORE); END"
        ),
        ("BEFORE INSERT ON log", "NEW.topic = 'access.granted'", "RETURN NULL"),
    ),
    "rows are taken away again": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON log WHEN NEW.topic = 'access.granted'"
            " BEGIN DELETE FROM log WHERE position = NEW.position; END"
        ),
        (
            "AFTER INSERT ON log",
            "NEW.topic = 'access.granted'",
            "DELETE FROM log WHERE position = NEW.position; RETURN NULL",
        ),
    ),
    "the row before is taken away too": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON log WHEN NEW.topic = 'access.denied'"
            " BEGIN DELETE FROM log WHERE position = NEW.position - 1; END"
        ),
        (
            "AFTER INSERT ON log",
            "NEW.topic = 'access.denied'",
            "DELETE FROM log WHERE position = NEW.position - 1; RETURN NULL",
        ),
    ),
    "a record is blanked": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON log WHEN NEW.topic LIKE 'access.%'"
            " BEGIN UPDATE log SET sealed = zeroblob(64) WHERE position = NEW.position; END"
        ),
        (
            "BEFORE INSERT ON log",
            "starts_with(NEW.topic, 'access.')",
            "NEW.sealed = decode(repeat('00', 64), 'hex'); RETURN NEW",
        ),
    ),
    "a record is told as something else": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON log WHEN NEW.topic = 'access.granted'"
            " BEGIN UPDATE log SET topic = 'access.denied' WHERE position = NEW.position; END"
        ),
        (
            "BEFORE INSERT ON log",
            "NEW.topic = 'access.granted'",
            "NEW.topic = 'access.denied'; RETURN NEW",
        ),
    ),
    "the row before is blanked": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON log WHEN NEW.topic = 'access.denied'"
            " BEGIN UPDATE log SET sealed = zeroblob(64) WHERE position = NEW.position - 1; END"
        ),
        (
            "AFTER INSERT ON log",
            "NEW.topic = 'access.denied'",
            "UPDATE log SET sealed = '' WHERE position = NEW.position - 1; RETURN NULL",
        ),
    ),
    "signatures are blanked": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON commits"
            " BEGIN UPDATE commits SET signature = zeroblob(64) WHERE size = NEW.size; END"
        ),
        (
            "BEFORE INSERT ON commits",
            "true",
            "NEW.signature = decode(repeat('00', 64), 'hex'); RETURN NEW",
        ),
    ),
    "another head is put beside": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON commits BEGIN INSERT INTO commits"
            " VALUES (NEW.size + 1, NEW.root, NEW.frontier, NEW.signer, NEW.signature); END"
        ),
        (
            "AFTER INSERT ON commits",
            "pg_trigger_depth() = 0",
            (
                "INSERT INTO commits VALUES"
                " (NEW.size + 1, NEW.root, NEW.frontier, NEW.signer, NEW.signature); RETURN NULL"
            ),
        ),
    ),
    "another row is put beside": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON log WHEN NEW.topic = 'access.granted' BEGIN"
            " INSERT INTO log SELECT position + 1, stream, version + 1, topic, epoch, period,"
            " recorded_at, sealed, leaf FROM log WHERE position = NEW.position; END"
        ),
        (
            "AFTER INSERT ON log",
            "pg_trigger_depth() = 0 AND NEW.topic = 'access.granted'",
            (
                "INSERT INTO log SELECT position + 1, stream, version + 1, topic, epoch, period,"
                " recorded_at, sealed, leaf FROM log WHERE position = NEW.position; RETURN NULL"
            ),
        ),
    ),
    "heads are kept out": (
        "CREATE TRIGGER theirs BEFORE INSERT ON commits BEGIN SELECT RAISE(IGNORE); END",
        ("BEFORE INSERT ON commits", "true", "RETURN NULL"),
    ),
}


def put_trigger(house, way: str) -> None:
    in_a_file, (event, condition, body) = WAYS[way]
    if not house.on_server:
        for (name,) in house.sql("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            house.sql(f"DROP TRIGGER {name}")
        house.sql(in_a_file)
        return
    house.sql("ALTER TABLE log DISABLE TRIGGER USER")
    house.sql(
        f"CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$"
    )
    house.sql(
        f"CREATE TRIGGER theirs {event} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION theirs()"
    )


def fill(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    ledger.set_credentials(Acting(), "CRM", None, VALUES)
    ledger.close()


@pytest.fixture
def filled(prepared):
    return prepared(fill)


@pytest.mark.parametrize("way", [way for way in WAYS if "before" not in way])
def test_nothing_is_released_on_a_record_that_was_not_kept(filled, way):
    """The transaction is looked at before it is committed, and nothing of it stays."""
    ledger = filled.open()
    size = ledger.head().size
    put_trigger(filled, way)
    for _ in range(2):
        with pytest.raises(Tampered) as caught:
            ledger.retrieve(ALICE, "CRM")
        assert caught.value.code == "append-not-kept"
    ledger.close()
    assert verify_log(filled.store()).ok
    assert verify_log(filled.store()).size == size


@pytest.mark.parametrize("way", [way for way in WAYS if "before" in way])
def test_what_is_done_to_any_row_of_those_appended_together_is_noticed(filled, way):
    """Not only the last one counts."""
    ledger = filled.open()
    put_trigger(filled, way)
    granted = ledger._retrieval(ALICE, "CRM", restricted=False, fields=None, reason="")
    stranger = Caller(parse_claim("user:eve"))
    denied = ledger._retrieval(stranger, "CRM", restricted=False, fields=None, reason="")

    class Both:
        def decide(self, transaction):
            return granted.decide(transaction), denied.decide(transaction)

    with pytest.raises(Tampered, match="did not keep"):
        ledger._writer.run(Both())
    ledger.close()
    assert verify_log(filled.store()).ok


SIGNERS = {
    "kept out": (
        "CREATE TRIGGER theirs BEFORE INSERT ON signers BEGIN SELECT RAISE(IGNORE); END",
        "RETURN NULL",
    ),
    "altered": (
        (
            "CREATE TRIGGER theirs AFTER INSERT ON signers BEGIN UPDATE signers"
            " SET signature = zeroblob(64) WHERE ordinal = NEW.ordinal; END"
        ),
        "NEW.signature = decode(repeat('00', 64), 'hex'); RETURN NEW",
    ),
}


def test_a_trigger_that_looks_for_a_table_which_is_not_there_is_damage_and_no_missing_ledger(
    filled,
):
    """An audit of somebody else's, say, whose table was taken away: nothing is recorded."""
    if filled.on_server:
        filled.sql(
            "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO gone VALUES (1); RETURN NULL; END'"
        )
        filled.sql(
            "CREATE TRIGGER theirs AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION theirs()"
        )
    else:
        filled.sql(
            "CREATE TRIGGER theirs AFTER INSERT ON log BEGIN INSERT INTO gone VALUES (1); END"
        )
    ledger = filled.open()
    with pytest.raises(Tampered) as caught:
        ledger.retrieve(ALICE, "CRM")
    assert caught.value.code == "store-damaged"
    ledger.close()


def put_on_signers(house, way: str) -> None:
    in_a_file, body = SIGNERS[way]
    if not house.on_server:
        house.sql("DROP TRIGGER signers_keep")
        house.sql(in_a_file)
        return
    house.sql(
        f"CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$"
    )
    house.sql(
        "CREATE TRIGGER theirs BEFORE INSERT ON signers FOR EACH ROW EXECUTE FUNCTION theirs()"
    )


@pytest.mark.parametrize("way", SIGNERS)
def test_no_slot_comes_or_goes_by_a_signers_row_that_was_not_kept(prepared, way):
    """The head would rest on a row that is not there, and nobody could believe it or go on."""
    house = prepared(with_second_slot)
    put_on_signers(house, way)
    ledger = house.open()
    size = ledger.head().size
    with pytest.raises(Tampered) as caught:
        ledger.remove_slot(Acting(), 2, mislaid=True)
    assert caught.value.code == "append-not-kept"
    ledger.close()
    assert verify_log(house.store()).ok
    assert verify_log(house.store()).size == size
    house.sql("DROP TRIGGER theirs ON signers" if house.on_server else "DROP TRIGGER theirs")
    ledger = house.open()
    ledger.remove_slot(Acting(), 2, mislaid=True)
    ledger.close()
    assert verify_log(house.store()).ok


def retyped(house, column: str) -> None:
    """A column of numbers that gives them back as others that are equal."""
    if house.on_server:
        house.sql(f"ALTER TABLE log ALTER {column} TYPE NUMERIC")
        return
    with closing(sqlite3.connect(house.store_path, isolation_level=None)) as raw:
        (made,) = raw.execute("SELECT sql FROM sqlite_master WHERE name = 'log'").fetchone()
        (version,) = raw.execute("PRAGMA schema_version").fetchone()
        raw.execute("PRAGMA writable_schema = ON")
        real = re.sub(rf"(?m)^(\s+{column}\s+)INTEGER", r"\1REAL", made)
        raw.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'log'", (real,))
        raw.execute(f"PRAGMA schema_version = {version + 1}")


@pytest.mark.parametrize("column", ["version", "epoch", "period", "recorded_at"])
def test_nothing_is_released_on_a_record_that_comes_back_as_another_type(filled, column):
    """Seven is equal to 7.0, but whoever checks the log takes that for no row of a ledger."""
    ledger = filled.open()
    ledger.retrieve(ALICE, "CRM")
    retyped(filled, column)
    with pytest.raises(Tampered) as caught:
        ledger.retrieve(ALICE, "CRM")
    assert caught.value.code == "append-not-kept"
    ledger.close()


def bare(house, table: str, then: str) -> None:
    """A table whose columns take anything, and a trigger that does something after each row."""
    columns = ", ".join(name for _, name, *_ in house.sql(f"PRAGMA table_info({table})"))
    attack(
        house,
        f"CREATE TABLE bare ({columns})",
        f"INSERT INTO bare SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE bare RENAME TO {table}",
        f"CREATE TRIGGER theirs AFTER INSERT ON {table} BEGIN {then}; END",
    )


def test_nothing_is_released_under_a_head_that_comes_back_as_another_type(prepared_file):
    """The database calls it equal, too, so what it gives back is looked at and not its word."""
    house = prepared_file(fill)
    ledger = house.open()
    size = ledger.retrieve(ALICE, "CRM").position
    bare(house, "commits", "UPDATE commits SET size = size * 1.0 WHERE size = NEW.size")
    with pytest.raises(Tampered) as caught:
        ledger.retrieve(ALICE, "CRM")
    assert caught.value.code == "append-not-kept"
    ledger.close()
    assert verify_log(house.store()).ok
    assert verify_log(house.store()).size == size


@pytest.mark.parametrize("prepared", ["postgresql"], indirect=True)
def test_nothing_is_released_under_a_head_of_which_only_a_servers_word_is_left(prepared):
    """What is equal to what, a type of somebody else's says by itself."""
    house = prepared(fill)
    ledger = house.open()
    for statement in (
        "CREATE TYPE theirs AS ENUM ('anything')",
        "CREATE FUNCTION theirs(bytea) RETURNS theirs LANGUAGE sql AS 'SELECT ''anything''::theirs'",
        "CREATE CAST (bytea AS theirs) WITH FUNCTION theirs(bytea) AS ASSIGNMENT",
        "ALTER TABLE commits DROP CONSTRAINT commits_signature_check",
        "ALTER TABLE commits ALTER signature TYPE theirs USING theirs(signature)",
    ):
        house.sql(statement)
    with pytest.raises(Tampered) as caught:
        ledger.retrieve(ALICE, "CRM")
    assert caught.value.code == "append-not-kept"
    ledger.close()


def test_no_slot_goes_by_a_signers_row_that_comes_back_as_another_type(prepared_file):
    house = prepared_file(with_second_slot)
    bare(house, "signers", "UPDATE signers SET from_size = from_size * 1.0 WHERE from_size > 0")
    ledger = house.open()
    with pytest.raises(Tampered) as caught:
        ledger.remove_slot(Acting(), 2, mislaid=True)
    assert caught.value.code == "append-not-kept"
    ledger.close()
    assert verify_log(house.store()).ok


SPOILED = {
    "a sealed record": "UPDATE log SET sealed = zeroblob(64) WHERE position = {}",
    "its topic": "UPDATE log SET topic = 'access.denied' WHERE position = {}",
    "its head": "DELETE FROM commits WHERE size = {}",
    "nothing": "SELECT {}",
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_commit_without_an_answer_counts_only_where_all_of_it_is_there_as_appended(
    filled, monkeypatch, what
):
    """A leaf alone could be right beside a record that was blanked meanwhile."""
    ledger = filled.open()
    size, store = ledger.head().size, ledger._writer.store
    real, unheard = store.writing, [SPOILED[what].format(size + 1)]

    @contextmanager
    def writing(**settings):
        with real(**settings) as held:
            yield held
        if unheard:
            attack(filled, unheard.pop())
            raise Unavailable("commit-unconfirmed", "Nobody heard the answer.")

    monkeypatch.setattr(store, "writing", writing)
    if what == "nothing":
        assert ledger.retrieve(ALICE, "CRM").position == size + 1
    else:
        with pytest.raises(Unavailable) as caught:
            ledger.retrieve(ALICE, "CRM")
        assert caught.value.code == "commit-unconfirmed"
    ledger.close()


@pytest.mark.parametrize("prepared", ["postgresql"], indirect=True)
def test_nothing_is_released_on_a_record_that_only_a_table_that_inherits_holds(prepared):
    """It is seen through the log's table, and may be one that a crash empties."""
    house = prepared(fill)
    ledger = house.open()
    for table in ("log", "commits"):
        house.sql(f"CREATE UNLOGGED TABLE more_{table} () INHERITS ({table})")
        house.sql(
            f"CREATE FUNCTION into_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" INSERT INTO more_{table} SELECT NEW.*; RETURN NULL; END $$"
        )
        house.sql(
            f"CREATE TRIGGER theirs BEFORE INSERT ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION into_{table}()"
        )
        with pytest.raises(Tampered) as caught:
            ledger.retrieve(ALICE, "CRM")
        assert caught.value.code == "append-not-kept"
        house.sql(f"DROP TRIGGER theirs ON {table}")
    assert ledger.retrieve(ALICE, "CRM").position == 5
    ledger.close()
