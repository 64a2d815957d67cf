"""Somebody with full rights on the database file and no keys changes what is stored."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from msgspec.structs import replace

from ledger.claims import parse_claim
from ledger.errors import KeyUnavailable, LedgerError, Tampered, Unavailable
from ledger.log.rows import LogRow
from ledger.log.snapshot import LOG_COLUMNS
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import new_passphrase
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import CHEAP, PASSPHRASE, unlocked_by_passphrase
from tests.faults.whole_copies import copied, put_back
from tests.tools.conftest import Cli

ALICE = parse_claim("user:alice")
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"


@pytest.fixture
def filled(prepared):
    return prepared(fill)


@pytest.fixture
def sqlite_filled(prepared_file):
    return prepared_file(fill)


def fill(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ALICE, PAIR)
    ledger.retrieve(Caller(ALICE), "CRM")
    ledger.grant(Acting(), "CRM", "administrator", "user:ada")
    ledger.close()


def in_their_dialect(statement: str) -> str:
    """What was written for SQLite, as PostgreSQL says it."""
    zeros = re.compile(r"zeroblob\((\d+)\)")
    said = zeros.sub(lambda found: f"decode(repeat('00', {found[1]}), 'hex')", statement)
    said = said.replace(FLIP.format("sealed"), "overlay(sealed placing '\\xFEFE'::bytea from 21)")
    if said.startswith("INSERT OR REPLACE INTO log"):
        said = said.replace("INSERT OR REPLACE", "INSERT") + (
            " ON CONFLICT (position) DO UPDATE SET stream = excluded.stream,"
            " version = excluded.version"
        )
    return said.replace("x''", "''::bytea").replace("sealed = 'x'", "sealed = '\\x78'::bytea")


def attack_server(url: str, *statements: str) -> None:
    plain, schema = url.rsplit("&ledger=", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"SET search_path = {schema}")
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(in_their_dialect(statement))


def attack(house, *statements: str) -> None:
    if house.on_server:
        attack_server(house.store_url, *statements)
        return
    with sqlite3.connect(house.store_path) as connection:
        for (name,) in connection.execute(TRIGGERS).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def recompute_leaves(house) -> None:
    """Leaves that fit the rows as somebody has left them; no key is needed for that."""
    ledger_id = read_keyring(house.keyring_path).ledger_id
    for columns in house.sql(f"SELECT {LOG_COLUMNS} FROM log"):
        row = LogRow(*columns)
        if isinstance(row.sealed, bytes) and row.leaf != row.computed_leaf(ledger_id):
            leaf = row.computed_leaf(ledger_id)
            house.sql("UPDATE log SET leaf = ? WHERE position = ?", leaf, row.position)


def command_line(house) -> Cli:
    """The commands, on this house."""
    cli = Cli(house.keyring_path.parent)
    secret = house.keyring_path.with_name("passphrase")
    secret.write_text(PASSPHRASE)
    secret.chmod(0o600)
    del cli.environment["CREDLEDGER_KEY_FILE"]
    cli.environment |= {
        "CREDLEDGER_STORE": house.store_url or f"sqlite://{house.store_path}",
        "CREDLEDGER_KEYRING": str(house.keyring_path),
        "CREDLEDGER_PASSPHRASE_FILE": str(secret),
    }
    return cli


def by_several(house, stretch_rows: int) -> dict:
    """How a log is checked in stretches, here by one thread; processes take long to start."""
    return {
        "jobs": 2,
        "reopen": house.store,
        "stretch_rows": stretch_rows,
        "shared_rows": 0,
        "pool": lambda _, **how: ThreadPoolExecutor(1, **how),
    }


def failed(house) -> list[tuple[str, int | None]]:
    """The checks that fail, with the position they name; the command must say the same.

    So must several that check stretches at once, wherever the stretches end.
    """
    alone = verify_log(house.store())
    for rows in (1, 2, 3):
        assert verify_log(house.store(), **by_several(house, rows)) == alone
    found = [one for one in alone.checks if not one.ok]
    answer = command_line(house)("log", "verify")
    assert answer.code == (8 if found else 0)
    told = [one["detail"] for one in answer.json["checks"] if not one["ok"]]
    for check in found:
        place = "" if check.position is None else f" (position {check.position})"
        assert check.detail + place in told
    return [(check.name, check.position) for check in found]


FLIP = "CAST(substr({0}, 1, 20) || x'FEFE' || substr({0}, 23) AS BLOB)"
ATTACKS = {
    "a sealed byte altered": ("UPDATE log SET sealed = " + FLIP.format("sealed"), 1),
    "a sealed part made text": ("UPDATE log SET sealed = 'x' WHERE position = 4", 4),
    "a leaf altered": ("UPDATE log SET leaf = zeroblob(32) WHERE position = 4", 4),
    "a row's time altered": ("UPDATE log SET recorded_at = recorded_at + 1 WHERE position = 4", 4),
    "a row's topic altered": ("UPDATE log SET topic = 'access.denied' WHERE position = 5", 5),
    "a row's epoch altered": ("UPDATE log SET epoch = 2 WHERE position = 5", 5),
    "a row's stream altered": ("UPDATE log SET stream = zeroblob(16) WHERE position = 6", 6),
    "a row taken away": ("DELETE FROM log WHERE position = 5", 5),
    "the newest row taken away": ("DELETE FROM log WHERE position = 6", 6),
    "a row replaced": (
        (
            "INSERT OR REPLACE INTO log SELECT 5, zeroblob(16), 1, topic, epoch, period,"
            " recorded_at, sealed, leaf FROM log WHERE position = 5"
        ),
        5,
    ),
    "a row forged at the end": (
        (
            "INSERT INTO log SELECT 7, zeroblob(16), 1, topic, epoch, period, recorded_at + 1,"
            " sealed, leaf FROM log WHERE position = 6"
        ),
        7,
    ),
    "a root altered": ("UPDATE commits SET root = zeroblob(32) WHERE size = 4", 4),
    "a signature altered": ("UPDATE commits SET signature = zeroblob(64) WHERE size = 5", 5),
    "a commit replayed at a new size": (
        (
            "INSERT INTO commits SELECT 7, root, frontier, signer, signature FROM commits"
            " WHERE size = 6"
        ),
        7,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_change_of_stored_bytes_is_named_with_its_position(filled, name):
    statement, position = ATTACKS[name]
    attack(filled, statement)
    assert [place for _, place in failed(filled)] == [position]


RECOMPUTED = {
    "a sealed byte altered": 2,  # rows 1 and 2 have one head
    "a row's time altered": 4,
    "a row's topic altered": 5,
    "a row's epoch altered": 5,
    "a row's stream altered": 6,
    "a row replaced": 5,
    "a row forged at the end": 7,
}


@pytest.mark.parametrize("name", RECOMPUTED)
def test_a_leaf_that_was_made_to_fit_does_not_fit_the_signed_head(filled, name):
    """The position is that of the first head that the altered row lies under."""
    attack(filled, ATTACKS[name][0])
    recompute_leaves(filled)
    assert [place for _, place in failed(filled)] == [RECOMPUTED[name]]
    unlocked = unlocked_by_passphrase(filled.keyring_path)
    with pytest.raises(Tampered):
        filled.open_with(unlocked, remember=False)


def without_constraints(house, table: str) -> None:
    """Keys and checks of a table are gone; its rows stay."""
    if not house.on_server:
        attack(
            house,
            f"CREATE TABLE bare AS SELECT * FROM {table}",
            f"DROP TABLE {table}",
            f"ALTER TABLE bare RENAME TO {table}",
        )
        return
    held = (
        "SELECT conname FROM pg_constraint WHERE conrelid = CAST(? AS regclass)"
        " AND contype IN ('p', 'u', 'c')"
    )
    for (name,) in house.sql(held, table):
        house.sql(f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE")
    for column in house.sql("SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT"
                            " attisdropped AND attrelid = CAST(? AS regclass)", table):  # fmt: skip
        house.sql(f"ALTER TABLE {table} ALTER COLUMN {column[0]} DROP NOT NULL")


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (4, ("repeated-row", 4)),
        (6, ("unsigned-rows", 6)),
        (7, ("unsigned-rows", 7)),
        (1000, ("unsigned-rows", 1000)),
        (2**63 - 1, ("unsigned-rows", 2**63 - 1)),
        (0, ("unsigned-rows", 0)),
        (-4, ("unsigned-rows", -4)),
        (-(2**63), ("unsigned-rows", None)),
        (None, ("unsigned-rows", None)),
    ],
    ids=[
        "below",
        "at the end",
        "behind the end",
        "far behind it",
        "as far as can be",
        "before the first",
        "far before it",
        "as low as can be",
        "nowhere",
    ],
)
def test_a_row_put_beside_the_logs_own_is_seen(filled, place, named):
    without_constraints(filled, "log")
    assert failed(filled) == []
    ledger_id = read_keyring(filled.keyring_path).ledger_id
    columns = filled.sql(f"SELECT {LOG_COLUMNS} FROM log WHERE position = 3")[0]
    row = LogRow(*columns)._replace(position=place)
    if place is not None and place >= 0:
        row = row._replace(leaf=row.computed_leaf(ledger_id))
    filled.sql(f"INSERT INTO log ({LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
    assert failed(filled) == [named]


@pytest.mark.parametrize(
    ("size", "shown", "named"),
    [
        (4, 4, ("repeated-commit", 4)),
        (6, 6, ("repeated-commit", 6)),
        (4, 0, ("repeated-commit", 0)),
        (4, -3, ("repeated-commit", -3)),
        (4, None, ("repeated-commit", None)),
        (6, 9, ("missing-row", 7)),
    ],
    ids=["below", "at the end", "before the first", "far before it", "nowhere", "beyond"],
)
def test_a_head_put_beside_the_logs_own_is_seen(filled, size, shown, named):
    without_constraints(filled, "commits")
    filled.sql(
        "INSERT INTO commits (size, root, frontier, signer, signature) SELECT CAST(? AS bigint),"
        " root, frontier, signer, signature FROM commits WHERE size = ?",
        shown,
        size,
    )
    if shown is None and filled.on_server:  # the server sorts what is nothing above all else
        named = ("missing-commit", 6)
    assert failed(filled) == [named]


@pytest.mark.parametrize(
    "name", ["a sealed byte altered", "a row forged at the end", "a commit replayed at a new size"]
)
def test_nothing_is_released_from_a_changed_store(filled, name):
    attack(filled, ATTACKS[name][0])
    with pytest.raises(Tampered):
        filled.open().retrieve(Caller(ALICE), "CRM")


def test_a_forged_signer_is_not_believed(filled):
    attack(
        filled,
        "INSERT INTO signers SELECT 2, zeroblob(32), class, change, 2, introduced_by, signature"
        " FROM signers",
    )
    assert failed(filled) == [("bad-signer", 3)]


def test_an_older_copy_of_the_database_is_refused_on_a_host_that_remembers(filled):
    """On each store: the whole of it, with heads that hold and views that fit."""
    copied(filled)
    ledger = filled.open()
    ledger.revoke(Acting(), "CRM", "administrator", "user:ada")
    ledger.close()
    put_back(filled)
    assert verify_log(filled.store()).ok
    with pytest.raises(Tampered) as caught:
        filled.open()
    assert caught.value.code == "rolled-back"
    unlocked = unlocked_by_passphrase(filled.keyring_path)
    memory = filled.memory(unlocked).recall()
    result = verify_log(filled.store(), remembered=memory)
    assert [check.name for check in result.checks if not check.ok] == ["rolled-back"]


def test_triggers_refuse_rewriting_by_accident(sqlite_filled):
    connection = sqlite3.connect(sqlite_filled.store_path)
    for statement in (
        "UPDATE log SET topic = 'x'",
        "DELETE FROM log WHERE position = 6",
        "INSERT OR REPLACE INTO log SELECT * FROM log WHERE position = 3",
        "UPDATE commits SET size = 99 WHERE size = 6",
        "DELETE FROM ledger",
        "DELETE FROM signers",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_a_view_pointing_elsewhere_is_reported_and_not_shown(filled):
    attack(filled, "UPDATE credential_view_a SET position = 3")
    ledger = filled.open()
    with pytest.raises(Tampered) as caught:
        ledger.views.credentials()
    assert caught.value.code == "view-astray"
    assert [one["same"] for one in ledger.views.rebuild("credential_view")] == [False]
    assert len(ledger.views.credentials()) == 1
    ledger.close()


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "keyring-damaged"),
        (lambda path: path.write_bytes(b"CREDLEDGER-KEYRING 9\n"), "keyring-newer"),
        (lambda path: path.chmod(0o640), "keyring-too-open"),
        (lambda path: path.unlink(), "keyring-missing"),
    ],
)
def test_a_harmed_keyring_is_refused(filled, harm, code):
    harm(filled.keyring_path)
    with pytest.raises(KeyUnavailable) as caught:
        filled.open()
    assert caught.value.code == code


def test_any_altered_byte_of_a_keyring_is_noticed(filled):
    content = filled.keyring_path.read_bytes()
    for at in range(0, len(content), 97):
        filled.keyring_path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(LedgerError):
            read_keyring(filled.keyring_path)


WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from msgspec.structs import replace
from pathlib import Path
sys.path.insert(0, ".")
from ledger.policy import Caller
from ledger.claims import parse_claim
from tests.conftest import House
ledger = House(Path(sys.argv[1]), Path(sys.argv[2]), store_url=sys.argv[4] or None).open()
for number in range(int(sys.argv[3])):
    print(ledger.retrieve(Caller(parse_claim("user:alice")), "CRM").position, flush=True)
ledger.close()
"""


def test_processes_that_write_at_once_all_succeed_at_positions_of_their_own(filled):
    arguments = [str(filled.store_path), str(filled.keyring_path), "25", filled.store_url or ""]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    positions = []
    for process in started:
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        positions.extend(int(line) for line in printed.split())
    assert len(set(positions)) == 75
    assert verify_log(filled.store()).ok


def test_a_killed_reader_leaves_every_answered_read_in_the_log(filled):
    arguments = [str(filled.store_path), str(filled.keyring_path), "100000", filled.store_url or ""]
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    answered = [int(process.stdout.readline()) for _ in range(40)]
    process.kill()
    answered.extend(int(line) for line in process.stdout.read().split("\n")[:-1])
    process.wait()
    process.stdout.close()
    assert verify_log(filled.store()).ok
    ledger = filled.open()
    recorded = {one["position"] for one in ledger.views.accesses.newest(outcome="granted", limit=0)}
    assert set(answered) <= recorded
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()


def test_looking_while_others_write_never_goes_back_or_cries_wolf(filled):
    arguments = [str(filled.store_path), str(filled.keyring_path), "60", filled.store_url or ""]
    other = subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
    )
    ledger = filled.open()

    def work(number: int) -> int:
        if number % 3 == 0:
            return ledger.retrieve(Caller(ALICE), "CRM").position
        ledger.grant(Acting(), "CRM", "member", f"group:g{number}") if number % 3 == 1 else None
        assert ledger.application("CRM").kind == "individual"
        return ledger.status().position

    ledger.grant(Acting(), "CRM", "member", "user:alice")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(150)))
    other.communicate(timeout=60)
    assert other.returncode == 0
    assert len(ledger.application("CRM").members) == 51
    assert verify_log(filled.store()).ok
    ledger.close()


def test_an_auditor_who_calls_himself_operator_in_his_own_file_is_refused(filled):
    ledger = filled.open()
    place = filled.keyring_path.with_name("auditor") / "keyring"
    ledger.add_slot(
        Acting(),
        label="cleo",
        opens="auditor",
        holding=new_passphrase(PASSPHRASE),
        auditor_file=place,
        cost=CHEAP,
    )
    ledger.close()
    unlocked = unlocked_by_passphrase(place)
    filled.open_with(unlocked, remember=False).close()
    forged = replace(unlocked, slot=replace(unlocked.slot, opens="operator"))
    with pytest.raises(KeyUnavailable) as caught:
        filled.open_with(forged, remember=False)
    assert caught.value.code == "slot-removed"


WRONG_KINDS = {
    "a stream made longer": (
        (
            "UPDATE log SET stream = CAST(stream || x'00' AS BLOB) WHERE stream ="
            " (SELECT stream FROM log WHERE topic = 'credential.set')"
        ),
        ("altered-row", 4),
    ),
    "a stream made text": (
        "UPDATE log SET stream = 'sixteen letters!' WHERE position = 4",
        ("altered-row", 4),
    ),
    "a version made text": (
        "UPDATE log SET version = 'x' WHERE position = 4",
        ("altered-row", 4),
    ),
    "a topic made bytes": (
        "UPDATE log SET topic = x'00' WHERE position = 4",
        ("altered-row", 4),
    ),
    "a frontier made a number": (
        "UPDATE commits SET frontier = 5 WHERE size = 4",
        ("altered-commit", 4),
    ),
    "the head's frontier made text": (
        "UPDATE commits SET frontier = 'x' WHERE size = 6",
        ("store-damaged", 6),
    ),
    "the head's frontier made huge": (
        "UPDATE commits SET frontier = 9000000000000 WHERE size = 6",
        ("store-damaged", 6),
    ),
    "the head's frontier made a fraction": (
        "UPDATE commits SET frontier = 5.5 WHERE size = 6",
        ("store-damaged", 6),
    ),
    "the head's root made text": (
        f"UPDATE commits SET root = '{'x' * 32}' WHERE size = 6",
        ("altered-commit", 6),
    ),
    "the head's signer made a number": (
        "UPDATE commits SET signer = 7 WHERE size = 6",
        ("altered-commit", 6),
    ),
    "the head's signature made a number": (
        "UPDATE commits SET signature = 7 WHERE size = 6",
        ("altered-commit", 6),
    ),
    "a time made text": (
        "UPDATE log SET recorded_at = 'x' WHERE position = 6",
        ("altered-row", 6),
    ),
    "a signer's class made a number": (
        "UPDATE signers SET class = 7",
        ("bad-signer", 1),
    ),
    "a signer's number made text": (
        "UPDATE signers SET introduced_by = 7",
        ("bad-signer", 1),
    ),
    "a signature made text": (
        f"UPDATE commits SET signature = '{'x' * 64}' WHERE size = 4",
        ("altered-commit", 4),
    ),
    "a salt made text": (
        "UPDATE ledger SET salt = 'x'",
        ("altered-ledger", None),
    ),
    "a signer's signature made text": (
        "UPDATE signers SET signature = 'x'",
        ("bad-signer", 1),
    ),
    "a topic made what is no text": (
        "UPDATE log SET topic = CAST(x'ff' AS TEXT) WHERE position = 5",
        ("altered-row", 5),
    ),
    "a sealed part called text": (
        "UPDATE log SET sealed = CAST(sealed AS TEXT) WHERE position = 5",
        ("altered-row", 5),
    ),
    "a leaf called text": (
        "UPDATE log SET leaf = CAST(leaf AS TEXT) WHERE position = 4",
        ("altered-row", 4),
    ),
    "a stream called text": (
        "UPDATE log SET stream = CAST(x'ff' AS TEXT) WHERE position = 6",
        ("altered-row", 6),
    ),
    "a time made what is no text": (
        ("UPDATE log SET recorded_at = CAST(x'ff' AS TEXT) WHERE position = 6"),
        ("altered-row", 6),
    ),
    "a root called text": (
        "UPDATE commits SET root = CAST(root AS TEXT) WHERE size = 5",
        ("altered-commit", 5),
    ),
    "the head's signer called text": (
        "UPDATE commits SET signer = CAST(x'ff' AS TEXT) WHERE size = 6",
        ("altered-commit", 6),
    ),
    "the head's frontier called text": (
        ("UPDATE commits SET frontier = CAST(x'ff' AS TEXT) WHERE size = 6"),
        ("store-damaged", 6),
    ),
    "a signer's class made what is no text": (
        "UPDATE signers SET class = CAST(x'ff' AS TEXT)",
        ("bad-signer", 1),
    ),
    "a salt called text": (
        "UPDATE ledger SET salt = CAST(x'ff' AS TEXT)",
        ("altered-ledger", None),
    ),
}


@pytest.mark.parametrize("name", WRONG_KINDS)
def test_a_column_that_holds_something_else_is_damage_and_no_crash(sqlite_filled, name):
    """SQLite stores whatever somebody puts in; nothing is released by it that was not before.

    Rows and heads before it are proven. PostgreSQL's columns keep their type, and its text is text.
    """
    statement, named = WRONG_KINDS[name]
    attack(sqlite_filled, "PRAGMA ignore_check_constraints = ON", statement)
    assert failed(sqlite_filled) == [named]
    code, position = named
    proven = position - 1 if code in {"altered-row", "altered-commit"} else 0
    assert verify_log(sqlite_filled.store()).size == proven
    assert_refused_or_true(sqlite_filled)


WRONG_VALUES = {
    "a stream made longer": ("log", "UPDATE log SET stream = zeroblob(17) WHERE position = 4"),
    "a topic beyond ASCII": ("log", "UPDATE log SET topic = 'access.gr\u00e4nted' WHERE position = 5"),
    "an endless topic": ("log", f"UPDATE log SET topic = '{'x' * 70_000}' WHERE position = 5"),
    "an epoch too high to be written": ("log", f"UPDATE log SET epoch = {2**40} WHERE position = 5"),
    "a time before all others": ("log", f"UPDATE log SET recorded_at = -{2**63 - 1} WHERE position = 6"),
    "a time of no calendar": ("log", f"UPDATE log SET recorded_at = {2**63 - 1} WHERE position = 6"),
    "a row before the first": (
        "log",
        "INSERT INTO log SELECT 0, stream, 9, topic, epoch, period, recorded_at, sealed, leaf FROM log",
    ),
    "the head's frontier made empty": (
        "commits", "UPDATE commits SET frontier = zeroblob(0) WHERE size = 6",
    ),
    "a signature made longer": (
        "commits", "UPDATE commits SET signature = zeroblob(65) WHERE size = 4",
    ),
    "a size as high as can be": ("commits", f"UPDATE commits SET size = {2**63 - 1} WHERE size = 6"),
    "a head before the first": (
        "commits",
        "INSERT INTO commits SELECT -1, root, frontier, signer, signature FROM commits WHERE size = 6",
    ),
    "another format": ("ledger", "UPDATE ledger SET format = 2"),
    "a second ledger": ("ledger", "INSERT INTO ledger SELECT 0, zeroblob(32), format, salt FROM ledger"),
    "a signer of no class": ("signers", "UPDATE signers SET class = 'guest'"),
    "a signer before the log": ("signers", "UPDATE signers SET from_size = -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_value_that_nobody_writes_is_damage_and_no_crash(filled, name):
    """Of its column's type, in a table whose checks are gone, and past the triggers."""
    table, statement = WRONG_VALUES[name]
    without_constraints(filled, table)
    attack(filled, statement)
    assert failed(filled)
    assert_refused_or_true(filled)


def assert_refused_or_true(house):
    """Commands end with one of our codes, and what is released is what the log has."""
    cli = command_line(house)
    for asked in (["log", "events"], ["log", "checkpoint"], ["audit", "changes", "--since", "1h"]):
        assert cli(*asked).code in {0, 6, 8}
    answer = cli("credential", "get", "CRM", "--as", "user:alice")
    assert answer.code in {0, 6, 8}
    if answer.code == 0:
        assert answer.json["fields"]["Windows Password"] == "first"


@pytest.mark.parametrize("prepared", ["postgresql"], indirect=True)
def test_a_format_of_another_type_is_damage_though_it_is_equal(filled):
    attack(filled, "ALTER TABLE ledger ALTER format TYPE NUMERIC")
    assert failed(filled) == [("altered-ledger", None)]


BARE_KINDS = {
    "a position made text": ("log", "UPDATE log SET position = 'x' WHERE position = 6"),
    "a position made a fraction": ("log", "UPDATE log SET position = 6.5 WHERE position = 6"),
    "a size made text": ("commits", "UPDATE commits SET size = 'x' WHERE size = 6"),
    "a size made huge": ("commits", "UPDATE commits SET size = 9000000000000000000 WHERE size = 6"),
    "a size made a fraction": ("commits", "UPDATE commits SET size = 6.5 WHERE size = 6"),
}


@pytest.mark.parametrize("name", BARE_KINDS)
def test_a_place_that_is_no_number_is_damage_and_no_crash(sqlite_filled, name):
    table, statement = BARE_KINDS[name]
    without_constraints(sqlite_filled, table)
    sqlite_filled.sql(statement)
    assert failed(sqlite_filled)
    assert_refused_or_true(sqlite_filled)


def test_a_mark_of_a_restore_that_nobody_began_can_be_taken_away_again(filled):
    """Nothing is released while it is there, and the hint helps whoever restored nothing."""
    filled.sql("INSERT INTO restoring (one) VALUES (1)")
    cli = command_line(filled)
    error = cli.fails(7, "store-restoring", "credential", "get", "CRM", "--as", "user:alice")
    assert "empty the store's table `restoring`" in error["hint"]
    assert failed(filled) == []
    filled.sql("DELETE FROM restoring")
    cli.ok("credential", "get", "CRM", "--as", "user:alice")


RETYPED = ["log.position", "log.recorded_at", "commits.size", "commits.frontier"]


@pytest.mark.parametrize("kind", ["text", "numeric"])
@pytest.mark.parametrize("column", RETYPED)
def test_a_column_of_another_type_is_damage_and_no_crash(filled, column, kind):
    if not filled.on_server or (column == "commits.frontier" and kind == "numeric"):
        return
    table, name = column.split(".")
    without_constraints(filled, table)
    filled.sql(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}")
    cli = command_line(filled)
    for asked in (["log", "verify"], ["credential", "get", "CRM", "--as", "user:alice"]):
        assert cli(*asked).code == 8


BAD_PLACES = [
    "position = 'x'",
    "position = 5.5",
    "key_check = 'x'",
    "key_check = 9000000000000",
    "idle_position = 'x'",
    "idle_floor = 'x'",
    "floor = 'x'",
    "floor = 3",
    "active = 'x'",
    "active = 'a WHERE 0'",
    "fold_version = 'x'",
]


@pytest.mark.parametrize("place", BAD_PLACES)
def test_a_view_whose_place_is_none_counts_as_missing_and_is_built_anew(sqlite_filled, place):
    attack(sqlite_filled, "PRAGMA ignore_check_constraints = ON", f"UPDATE views SET {place}")
    ledger = sqlite_filled.open()
    assert ledger.views.status()
    ledger.grant(Acting(), "CRM", "administrator", "user:zed")
    ledger.retrieve(Caller(ALICE), "CRM")
    assert len(ledger.views.accesses.newest()) == 2
    assert len(ledger.views.credentials()) == len(ledger.views.applications()) == 1
    assert ledger.views.epochs() == {1: 1}
    ledger.views.rebuild()
    assert {one["position"] for one in ledger.views.status()} == {ledger.head().size}
    ledger.close()
    assert command_line(sqlite_filled)("log", "verify", "--views").code == 0


WRONG_PLACES = [
    "position = 99",
    "floor = 3",
    "active = 'c'",
    "fold_version = -1",
    "key_check = zeroblob(0)",
]


def without_checks_of_views(house):
    """What they may hold is not looked at any more; names stay unique."""
    if not house.on_server:
        attack(
            house,
            "ALTER TABLE views RENAME TO checked",
            "CREATE TABLE views AS SELECT * FROM checked",
            "DROP TABLE checked",
            "CREATE UNIQUE INDEX views_name ON views (name)",
        )
        return
    held = "SELECT conname FROM pg_constraint WHERE conrelid = CAST('views' AS regclass) AND contype = 'c'"
    for (name,) in house.sql(held):
        house.sql(f"ALTER TABLE views DROP CONSTRAINT {name}")


@pytest.mark.parametrize("place", WRONG_PLACES)
def test_a_view_that_stands_nowhere_is_built_anew_or_called_damaged(filled, place):
    """Of the columns' types, on each store; what is shown then is what the log says."""
    without_checks_of_views(filled)
    attack(filled, f"UPDATE views SET {place} WHERE name = 'access_history'")
    ledger = filled.open()
    try:
        ledger.retrieve(Caller(ALICE), "CRM")
        assert len(ledger.views.accesses.newest()) == 2
    except Tampered as error:
        assert error.code == "view-astray"
    ledger.views.rebuild()
    assert ledger.views.accesses.newest()[0]["position"] == ledger.head().size
    ledger.close()
    answer = command_line(filled)("log", "verify", "--views")
    # In a file the table is another one now, and such could hide rows.
    wrong = [] if filled.on_server else ["view-tables"]
    assert [one["name"] for one in answer.json["checks"] if not one["ok"]] == wrong


def leads_nowhere(house, statement, ask):
    """One view is wrong: whoever asks it is told so or gets nothing, until it is built anew."""
    attack(house, statement)
    ledger = house.open()
    try:
        assert ask(ledger.views) == []
    except Tampered as error:
        assert error.code == "view-astray"
    assert sum(not view["same"] for view in ledger.views.rebuild()) == 1
    assert ask(ledger.views)
    ledger.close()


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE credential_view_a SET stream = zeroblob(3)", lambda views: views.credentials()),
        ("UPDATE credential_view_a SET position = -1", lambda views: views.credentials()),
        (
            "UPDATE application_catalogue_a SET stream = zeroblob(0)",
            lambda views: views.applications(),
        ),
        ("UPDATE application_catalogue_a SET creation = 99", lambda views: views.applications()),
        ("UPDATE access_history_a SET position = 3", lambda views: views.accesses.newest()),
    ],
)
def test_a_views_row_that_points_nowhere_is_reported_or_none(filled, statement, ask):
    """On each store; the view is then built anew."""
    leads_nowhere(filled, statement, ask)


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE credential_view_a SET stream = 'x'", lambda views: views.credentials()),
        ("UPDATE credential_view_a SET stream = 9000000000000", lambda views: views.credentials()),
        ("UPDATE credential_view_a SET position = 'x'", lambda views: views.credentials()),
        ("UPDATE application_catalogue_a SET stream = 7", lambda views: views.applications()),
        ("UPDATE application_catalogue_a SET creation = 'x'", lambda views: views.applications()),
        ("UPDATE key_inventory_a SET epoch = 'x'", lambda views: views.epochs()),
        ("UPDATE access_history_a SET position = 3", lambda views: views.accesses.newest()),
    ],
)
def test_a_views_column_that_holds_something_else_leads_nowhere(sqlite_filled, statement, ask):
    """It is reported, or is no row of the view; the view is then built anew."""
    leads_nowhere(sqlite_filled, statement, ask)


def test_a_view_whose_place_cannot_be_kept_is_not_built_for_ever(filled):
    if filled.on_server:
        filled.sql("ALTER TABLE views ALTER COLUMN position TYPE text USING position::text")
    else:
        attack(
            filled,
            "CREATE TRIGGER moved AFTER UPDATE ON views BEGIN UPDATE views SET position = 'x'; END",
            "UPDATE views SET idle_position = 0",
        )
    ledger = filled.open()
    with pytest.raises(Unavailable) as caught:
        ledger.views.credentials()
    assert caught.value.code == "view-not-ready"
    ledger.close()


def test_a_host_without_memory_is_not_told_that_nothing_is_set(filled):
    """A mapping's row in another stream is looked for in vain, and missed all the same."""
    without_constraints(filled, "log")
    attack(filled, "UPDATE log SET stream = zeroblob(17) WHERE topic = 'credential.set'")
    unlocked = unlocked_by_passphrase(filled.keyring_path)
    with pytest.raises(Tampered):
        filled.open_with(unlocked, remember=False)
