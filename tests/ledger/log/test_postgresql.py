"""A PostgreSQL store under what only a server brings: roles, restarts, cut lines, standbys."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from urllib.parse import quote

import psycopg
import pytest

from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Unavailable
from ledger.log.postgresql.connections import READERS_MAX
from ledger.log.postgresql.errors import translated
from ledger.log.postgresql.snapshot import FEW_ROWS, driver_form
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.rows import BEGIN, OPERATOR, CommitRow, LedgerRow, LogRow, SignerRow
from tests.contracts.cutting_proxy import cutting_proxy
from tests.contracts.postgres_server import private_server

PACKAGES = ("ledger.log.migrations", "projections.migrations")
LEDGER = LedgerRow(bytes(32), 1, b"salt")
SIGNER = SignerRow(bytes(32), OPERATOR, BEGIN, 0, bytes(32), bytes(64))
TABLES = ("ledger", "signers", "log", "commits")
PATIENCE_S = 20


def row(position, *, version=None, stream=b"s" * 16, sealed=b"sealed"):
    return LogRow(
        position, stream, version or position, "access.granted", 1, 202611, position, sealed,
        bytes(32),
    )  # fmt: skip


def commit(size):
    return CommitRow(size, bytes(32), b"frontier", bytes(32), bytes(64))


def found(store):
    store.create()
    with store.writing() as writing:
        writing.insert_ledger(LEDGER)
        writing.insert_signers([SIGNER])
        writing.insert_rows([row(1)])
        writing.insert_commit(commit(1))


def append(store, sealed=b"sealed"):
    with store.writing() as writing:
        position = writing.last_position() + 1
        writing.insert_rows([row(position, sealed=sealed)])
        writing.insert_commit(commit(position))
    return position


def size(store):
    with store.reading() as reading:
        return reading.last_position()


def url(server, schema="ledger", user="postgres"):
    return f"{server.dsn(user)}&ledger={schema}"


def until(true):
    """Look again and again, for a bounded time."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never came about"


@pytest.fixture
def open_store():
    with contextlib.ExitStack() as opened:

        def make(place, **settings):
            store = PostgresqlStore(place, migration_packages=PACKAGES, **settings)
            opened.callback(store.close)
            return store

        yield make


@pytest.fixture
def place(postgres_server, postgres_schema):
    return url(postgres_server, postgres_schema)


@pytest.fixture
def store(open_store, place):
    made = open_store(place)
    found(made)
    return made


@pytest.fixture(scope="module")
def own_server():
    """A server that the tests of this module may stop."""
    with private_server() as server:
        yield server


@pytest.fixture
def own_place(own_server):
    schema = f"ledger_{os.urandom(6).hex()}"
    return url(own_server, schema)


@pytest.fixture
def role(postgres_server):
    """A role that may log in and nothing else."""
    name = f"writer_{os.urandom(6).hex()}"
    postgres_server.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    postgres_server.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


# What is stored


@pytest.mark.parametrize("count", [1, FEW_ROWS, FEW_ROWS + 1, 1000])
def test_rows_come_back_as_they_were_put_in(store, count):
    """Few and many rows, of all sizes, come back byte for byte."""
    sizes = [0, 1, 190, 70_000]
    rows = [
        row(number + 2, stream=os.urandom(16), sealed=os.urandom(sizes[number % 4]))
        for number in range(count)
    ]
    rows[-1] = rows[-1]._replace(recorded_at=2**63 - 1, topic="access.größe", leaf=os.urandom(32))
    with store.writing() as writing:
        writing.insert_rows(rows)
        assert writing.rows_after(1, 2000) == rows
    with store.reading() as reading:
        assert reading.rows_after(1, 2000) == rows
        assert reading.newest_of(rows[-1].stream) == rows[-1]


@pytest.mark.parametrize("count", [1, 10])
def test_a_second_row_at_a_place_is_a_conflict(store, count):
    """A position or a version that is taken is refused, however many rows come at once."""
    for taken in (row(1, version=2), row(2, version=1)):
        with pytest.raises(Conflict) as caught, store.writing() as writing:
            writing.insert_rows([*(row(3 + n) for n in range(count - 1)), taken])
        assert caught.value.code == "append-refused"
    assert size(store) == 1


def test_a_transaction_that_failed_inside_is_not_committed(store):
    """Whoever goes on after a failed statement is told of that failure."""
    with pytest.raises(Conflict), store.writing() as writing:  # noqa: SIM117
        with contextlib.suppress(Conflict):
            writing.insert_rows([row(1)])
    with pytest.raises(Conflict), store.writing() as writing:
        with contextlib.suppress(Conflict):
            writing.insert_rows([row(1)])
        writing.last_position()
    assert append(store) == 2


def test_a_reading_is_one_snapshot(store, open_store, place):
    """What others commit meanwhile does not show in it."""
    with store.reading() as reading:
        assert reading.last_position() == 1
        append(open_store(place))
        assert reading.last_position() == 1
        assert reading.commits_after(0, 10) == [commit(1)]
    assert size(store) == 2


def test_a_reading_cannot_write(store):
    """Its transaction is read-only by the server's word."""
    with pytest.raises(Unavailable) as caught, store.reading() as reading:
        reading.insert_rows([row(2)])
    assert caught.value.code == "store-not-writable"


def test_ledgers_share_a_database(store, open_store, postgres_server, postgres_schema):
    """Another schema is another ledger, also over the same kind of connection."""
    other = open_store(url(postgres_server, f"{postgres_schema}_b"))
    try:
        found(other)
        append(other)
        assert (size(store), size(other)) == (1, 2)
    finally:
        postgres_server.execute(f"DROP SCHEMA {postgres_schema}_b CASCADE")


# Addresses and statements


def test_an_address_shows_no_user_and_no_password():
    """Host, port, database and ledger; nothing else of the URL."""
    secret = quote("p@ss?w0rd", safe="")
    told = PostgresqlStore(f"postgresql://me:{secret}@db.example:6432/books?sslmode=require")
    assert told.address == "postgresql://db.example:6432/books?ledger=credledger"
    several = PostgresqlStore("postgresql://me@a,b/books?target_session_attrs=any&ledger=x")
    assert several.address == "postgresql://a,b/books?ledger=x"
    socket = PostgresqlStore("postgres:///books?password=hidden&ledger=x&host=/var/run")
    assert socket.address == "postgresql:///books?host=/var/run&ledger=x"
    assert "hidden" not in repr(vars(socket)["_place"])


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://x/y",
        "postgresql://h/d?ledger=pg_x",
        "postgresql://h/d?ledger=A",
        'postgresql://h/d?ledger=a"b',
        "postgresql://h/d?ledger=",
        "postgresql://h/d?ledger=a&ledger=b",
        "postgresql://u:s3cret@h/d?nonsense=1",
        "postgresql://u:s3cret@h d/x",
        "postgresql://u:s3cret@[h/x",
    ],
)
def test_a_wrong_address_is_refused_without_repeating_it(wrong):
    """The message and its causes hold nothing of a password."""
    with pytest.raises(InvalidInput) as caught:
        PostgresqlStore(wrong)
    assert caught.value.code == "invalid-store"
    assert caught.value.__cause__ is None
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"


def test_a_server_that_is_not_there_shows_at_once_and_tells_no_password(open_store, tmp_path):
    """Neither our words nor the driver's, which are kept as the cause, hold it."""
    store = open_store(f"postgresql://me:s3cret@/x?host={tmp_path}")
    for call in (store.reading, store.writing):
        with pytest.raises(Unavailable) as caught, call():
            pass
        assert caught.value.code == "store-unreachable"
        assert "s3cret" not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}"


def test_placeholders_are_turned_into_the_drivers_and_doubtful_statements_refused():
    """A `?` inside a quoted text might mean itself."""
    assert driver_form("SELECT a % 2 FROM t WHERE b = ?")[0] == b"SELECT a %% 2 FROM t WHERE b = %b"
    for doubtful in ("SELECT '?'", 'SELECT "a?"', "SELECT $$?$$"):
        with pytest.raises(InvalidInput) as caught:
            driver_form(doubtful)
        assert caught.value.code == "store-statement"


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT ?"])
def test_a_malformed_statement_is_ours_to_mend(store, sql):
    """Wrong syntax, and a missing parameter."""
    with pytest.raises(InvalidInput) as caught, store.reading() as reading:
        reading.connection.execute(sql)
    assert caught.value.code == "store-statement"


@pytest.mark.parametrize(
    ("state", "family", "code"),
    [
        ("08006", "unavailable", "store-unreachable"),
        ("57P01", "unavailable", "store-unreachable"),
        ("57P03", "unavailable", "store-unreachable"),
        ("53300", "unavailable", "store-unreachable"),
        ("58030", "unavailable", "store-unreachable"),
        ("XX000", "unavailable", "store-unreachable"),
        ("XX001", "tampered", "store-damaged"),
        ("53100", "unavailable", "store-full"),
        ("55P03", "unavailable", "store-locked"),
        ("40P01", "unavailable", "store-locked"),
        ("57014", "unavailable", "store-timeout"),
        ("42501", "unavailable", "store-not-writable"),
        ("25006", "unavailable", "store-not-writable"),
        ("42P01", "not-found", "no-ledger"),
        ("3F000", "not-found", "no-ledger"),
        ("23505", "conflict", "append-refused"),
        ("23514", "conflict", "append-refused"),
        ("42703", "tampered", "store-damaged"),
        ("42809", "tampered", "store-damaged"),
        ("42P10", "tampered", "store-damaged"),
        ("55000", "tampered", "store-damaged"),
        ("42601", "invalid", "store-statement"),
        ("22003", "invalid", "store-statement"),
    ],
)
def test_failures_are_told_by_their_state_alone(state, family, code):
    """Whatever their words are, which may name hosts and users."""
    told = translated(psycopg.errors.lookup(state)("s3cret"))
    assert (told.family, told.code) == (family, code)
    assert "s3cret" not in f"{told}{told.hint}"


# Schemas and roles


def test_where_no_schema_is_there_is_no_ledger(open_store, place):
    """Reading and writing say so; nothing is made by them."""
    store = open_store(place)
    for call in (store.reading, store.writing):
        with pytest.raises(NotFound) as caught, call():
            pass
        assert caught.value.code == "no-ledger"


def test_two_create_at_once(open_store, place):
    """Both end well, and each step has run once."""
    stores = [open_store(place) for _ in range(4)]
    failures = []

    def create(store):
        try:
            store.create()
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=create, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert failures == []
    found(stores[0])


def test_a_newer_schema_is_left_alone(store, open_store, place, postgres_server, postgres_schema):
    """A step that we do not know closes the store to reading, writing and creating."""
    postgres_server.execute(
        f"INSERT INTO {postgres_schema}.schema_migrations VALUES"
        " ('ledger.log.migrations', '9999_later.sql')"
    )
    late = open_store(place)
    for call in (late.reading, late.writing, lambda: contextlib.nullcontext(late.create())):
        with pytest.raises(Unavailable) as caught, call():
            pass
        assert caught.value.code == "store-newer"


@pytest.mark.parametrize("table", TABLES)
def test_events_are_never_changed_even_by_their_owner(store, table):
    """Triggers refuse UPDATE and DELETE on the four tables."""
    with store.reading() as reading:
        column = {"ledger": "format", "signers": "ordinal", "log": "epoch", "commits": "size"}
        before = reading.connection.execute(f"SELECT * FROM {table}")
    for change in (f"UPDATE {table} SET {column[table]} = 7", f"DELETE FROM {table}"):
        with pytest.raises(Conflict), store.writing() as writing:
            writing.connection.execute(change)
    with store.reading() as reading:
        assert reading.connection.execute(f"SELECT * FROM {table}") == before


def test_a_writers_role_may_append_and_nothing_else(
    store, open_store, postgres_server, postgres_schema, role
):  # fmt: skip
    """It writes and maintains views; it changes, empties and makes nothing of the log."""
    store.grant_writer(role)
    writer = open_store(url(postgres_server, postgres_schema, role))
    rights = writer.rights_of_connection()
    assert (rights.role, rights.beyond, rights.lacking) == (role, (), ())
    writer.create()
    assert append(writer) == 2
    with writer.writing() as writing:
        writing.insert_rows([row(number) for number in range(3, 20)])
        writing.connection.execute(
            "INSERT INTO application_catalogue_a (stream, position, creation) VALUES (?, ?, ?)",
            (b"x", 1, 1),
        )
        writing.connection.execute("DELETE FROM application_catalogue_a")
    refused = ["CREATE TABLE more (one BIGINT)"]
    for table in TABLES:
        refused += [f"TRUNCATE {table}", f"DELETE FROM {table}", f"DROP TABLE {table}"]
    refused += ["UPDATE log SET epoch = 2", "UPDATE ledger SET one = 1", "DELETE FROM founding"]
    for change in refused:
        with pytest.raises(Unavailable) as caught, writer.writing() as writing:
            writing.connection.execute(change)
        assert caught.value.code == "store-not-writable", change
    # The one right to update that a lock needs is of no use.
    for change in ("UPDATE ledger SET format = 2", "UPDATE founding SET one = 1"):
        with pytest.raises(Conflict), writer.writing() as writing:
            writing.connection.execute(change)


def test_a_writers_role_founds_but_makes_no_tables(
    open_store, place, postgres_server, postgres_schema, role
):  # fmt: skip
    """The owner brings the schema; until then the writer is told who must."""
    writer = open_store(url(postgres_server, postgres_schema, role))
    with pytest.raises(Unavailable) as caught:
        writer.create()
    assert caught.value.code == "store-not-writable"
    owner = open_store(place)
    owner.create()
    with pytest.raises(Unavailable) as caught, writer.reading():
        pass
    assert caught.value.code == "store-not-writable"
    owner.grant_writer(role)
    found(writer)
    assert size(owner) == 1


def test_what_a_role_may_do_beyond_is_told(
    store, open_store, postgres_server, postgres_schema, role
):  # fmt: skip
    """Each right too many, and each that lacks, by its name."""
    store.grant_writer(role)
    postgres_server.execute(
        f"GRANT DELETE, TRUNCATE ON {postgres_schema}.log TO {role}",
        f"GRANT UPDATE (size) ON {postgres_schema}.commits TO {role}",
        f"GRANT CREATE ON SCHEMA {postgres_schema} TO {role}",
        f"REVOKE INSERT ON {postgres_schema}.signers FROM {role}",
        f"REVOKE UPDATE (format) ON {postgres_schema}.ledger FROM {role}",
    )
    rights = open_store(url(postgres_server, postgres_schema, role)).rights_of_connection()
    assert set(rights.beyond) == {
        f"CREATE in schema {postgres_schema}",
        "DELETE on log",
        "TRUNCATE on log",
        "UPDATE (size) on commits",
    }
    assert set(rights.lacking) == {"INSERT on signers", "UPDATE (format) on ledger"}
    assert {"superuser", "owner of log"} <= set(store.rights_of_connection().beyond)


def test_a_start_is_told_what_keeps_a_role_from_recording_and_only_that(
    store, open_store, postgres_server, postgres_schema, role
):  # fmt: skip
    """Each right that recording takes, by its name; views, signers and rights too many are not."""
    schema = postgres_schema
    store.grant_writer(role)
    writer = open_store(url(postgres_server, schema, role))
    assert store.server().lacking == writer.server().lacking == ()
    postgres_server.execute(
        f"GRANT DELETE ON {schema}.log TO {role}",
        f"REVOKE INSERT ON {schema}.signers, {schema}.ledger FROM {role}",
        f"REVOKE ALL ON {schema}.application_catalogue_a FROM {role}",
    )
    assert writer.server().lacking == ()
    lost = []
    for right, table in (
        ("UPDATE (format)", "ledger"),
        ("SELECT", "signers"),
        ("INSERT", "log"),
        ("INSERT", "commits"),
    ):
        postgres_server.execute(f"REVOKE {right} ON {schema}.{table} FROM {role}")
        lost.append(f"{right} on {table}")
        assert list(writer.server().lacking) == lost


def test_a_writer_needs_a_role_that_exists(store):
    """A slip of the pen is told as such."""
    with pytest.raises(InvalidInput) as caught:
        store.grant_writer("nobody of that name")
    assert caught.value.code == "unknown-role"


# The lock


def test_a_lock_held_too_long_is_told(store, open_store, place):
    """Whoever waits gives up in time, whether the holder is another process or a thread."""
    for waiting in (open_store(place, lock_timeout_s=0.2), store):
        waiting._lock_timeout_s = 0.2
        with store.writing(), pytest.raises(Unavailable) as caught, waiting.writing():
            pass
        assert caught.value.code == "store-locked"
    assert append(store) == 2


def test_a_statement_that_takes_too_long_is_told(store, open_store, place, monkeypatch):
    """Nobody waits for ever for an answer."""
    monkeypatch.setattr("ledger.log.postgresql.store.STATEMENT_TIMEOUT_S", 0.1)
    hasty = open_store(place)
    with pytest.raises(Unavailable) as caught, hasty.reading() as reading:
        reading.connection.execute("SELECT pg_sleep(?)", (float(PATIENCE_S),))
    assert caught.value.code == "store-timeout"
    assert size(hasty) == size(store)


def test_a_writer_that_stands_still_makes_way(store, open_store, place, monkeypatch):
    """The others go on, and it finds its transaction gone."""
    monkeypatch.setattr("ledger.log.postgresql.store.STILLNESS_MAX_S", 0.2)
    still = open_store(place)
    with pytest.raises(Unavailable) as caught, still.writing() as writing:
        writing.insert_rows([row(2, sealed=b"late")])
        assert append(store, b"first") == 2
        writing.insert_commit(commit(2))
    assert caught.value.code in {"store-unreachable", "commit-unconfirmed"}
    with still.writing() as writing:
        assert writing.row_at(2).sealed == b"first"


def test_readers_beyond_measure_wait_and_are_told(store, open_store, place):
    """A writer never waits for them."""
    busy = open_store(place, lock_timeout_s=0.1)
    with contextlib.ExitStack() as readings:
        for _ in range(READERS_MAX):
            readings.enter_context(busy.reading())
        with pytest.raises(Unavailable) as caught, busy.reading():
            pass
        assert caught.value.code == "store-busy"
        assert append(busy) == 2
    assert size(busy) == 2


def _waits_for_lock(server):
    (waiting,) = server.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND application_name = 'credledger'"
    )[0]
    return waiting > 0


def test_before_there_is_a_row_to_lock_founders_wait_for_one_another(
    own_server, own_place, open_store
):
    """The second sees the ledger that the first has founded."""
    first, second = open_store(own_place), open_store(own_place)
    first.create()
    seen = []

    def look():
        with second.writing() as writing:
            seen.append(writing.ledger())

    thread = threading.Thread(target=look)
    with first.writing() as writing:
        assert writing.ledger() is None
        thread.start()
        until(lambda: _waits_for_lock(own_server))
        writing.insert_ledger(LEDGER)
    thread.join(PATIENCE_S)
    assert seen == [LEDGER]


def test_what_is_read_under_the_lock_is_the_newest(own_server, own_place, open_store):
    """Whoever waited sees what was committed while he waited."""
    first, second = open_store(own_place), open_store(own_place)
    found(first)
    positions = []
    thread = threading.Thread(target=lambda: positions.append(append(second)))
    with first.writing() as writing:
        thread.start()
        until(lambda: _waits_for_lock(own_server))
        writing.insert_rows([row(2)])
    thread.join(PATIENCE_S)
    assert positions == [3]


def _append_many(place, count):
    store = PostgresqlStore(place, migration_packages=PACKAGES)
    for _ in range(count):
        append(store)
    store.close()


def test_two_processes_write_in_turns(store, place):
    """Positions come out dense."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(place, 50)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    with store.reading() as reading:
        assert [one.position for one in reading.rows_after(0, 1000)] == list(range(1, 102))


def test_a_forked_child_has_connections_of_its_own(store):
    """Parent and child write on after the fork, in one dense order."""
    append(store)
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            for _ in range(20):
                append(store)
            status = 0
        os._exit(status)
    for _ in range(20):
        append(store)
    assert os.waitpid(child, 0)[1] == 0
    assert size(store) == 42


def test_a_child_forked_inside_a_transaction_cannot_speak_for_its_parent(store):
    """It is told so, and whatever way it leaves, the parent's transaction goes on."""
    codes = []
    try:
        with store.writing() as writing:
            writing.insert_rows([row(2)])
            child = os.fork()
            if child == 0:
                for speak in (writing.head, lambda: writing.insert_commit(commit(2))):
                    try:
                        speak()
                    except Unavailable as error:
                        codes.append(error.code)
                raise LookupError
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            writing.insert_commit(commit(2))
    except LookupError:
        os._exit(0 if [*codes, size(store)] == ["store-forked", "store-forked", 1] else 1)
    assert append(store) == 3


def test_a_store_that_is_forgotten_leaves_no_session_behind(own_server, own_place):
    """Its connections are closed with it."""
    store = PostgresqlStore(f"{own_place}&application_name=forgotten", migration_packages=PACKAGES)
    found(store)
    sessions = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'forgotten'"
    assert own_server.execute(sessions)
    del store
    until(lambda: not own_server.execute(sessions))


# Servers that stop


def test_a_server_that_stops_is_told_and_found_again(own_server, own_place, open_store):
    """Calls fail at once while it is down; the next one after that connects anew."""
    store = open_store(own_place)
    found(store)
    own_server.stop()
    try:
        for call in (store.reading, store.writing, store.reading):
            with pytest.raises(Unavailable) as caught, call():
                pass
            assert caught.value.code == "store-unreachable"
    finally:
        own_server.start()
    assert append(store) == 2


def test_a_restart_between_calls_goes_unseen(own_server, own_place, open_store):
    """Nothing was asked through the lost connections, so they are replaced."""
    store = open_store(own_place)
    found(store)
    with store.reading(), store.reading():
        pass
    own_server.stop("immediate")
    own_server.start()
    assert append(store) == 2
    assert size(store) == 2


def test_a_crash_in_the_middle_leaves_nothing(own_server, own_place, open_store):
    """The transaction is gone, what was acknowledged is there, and the store serves again."""
    store = open_store(own_place)
    found(store)
    with pytest.raises(Unavailable) as caught, store.writing() as writing:
        writing.insert_rows([row(2)])
        own_server.stop("immediate")
        try:
            writing.head()
        finally:
            own_server.start()
    assert caught.value.code == "store-unreachable"
    with pytest.raises(Unavailable), store.reading() as reading:
        own_server.stop("immediate")
        try:
            reading.last_position()
        finally:
            own_server.start()
    assert size(store) == 1
    assert append(store) == 2


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_acknowledges_is_refused(
    own_server, own_place, open_store, setting
):
    """Also over connections that were opened before; reading goes on."""
    store = open_store(own_place)
    found(store)
    own_server.execute(f"ALTER SYSTEM SET {setting} = off", "SELECT pg_reload_conf()")
    try:
        until(lambda: own_server.execute(f"SHOW {setting}") == [("off",)])
        until(lambda: not store.durability().outlives_crash)

        def refused():
            try:
                append(store)
            except Unavailable as error:
                return error.code == "store-not-durable"
            return False

        until(refused)
        assert size(store) >= 1
    finally:
        own_server.execute(f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
        until(lambda: own_server.execute(f"SHOW {setting}") == [("on",)])
    assert append(open_store(own_place)) == size(store)


@pytest.mark.parametrize("table", ["log", "commits"])
def test_an_unlogged_table_which_a_crash_empties_is_refused(
    own_server, own_place, open_store, table
):
    """Also over connections that were opened before; reading goes on."""
    store = open_store(own_place)
    found(store)
    schema = own_place.rsplit("=", 1)[1]
    own_server.execute(f"ALTER TABLE {schema}.{table} SET UNLOGGED")
    assert store.durability().unlogged == (table,)
    with pytest.raises(Unavailable, match=f"table {table} is unlogged") as caught:
        append(store)
    assert caught.value.code == "store-not-durable"
    assert size(store) == 1
    own_server.execute(f"ALTER TABLE {schema}.{table} SET LOGGED")
    assert store.durability().outlives_crash
    assert append(store) == 2


@pytest.fixture
def lacking_standby(own_server):
    """The server waits at each commit for a standby that is not there."""
    own_server.execute(
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"
    )
    until(lambda: own_server.execute("SHOW synchronous_standby_names") == [("nobody",)])
    yield
    own_server.execute(
        "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"
    )  # fmt: skip
    until(lambda: own_server.execute("SHOW synchronous_standby_names") == [("",)])


def test_a_commit_that_gave_up_its_standby_is_not_acknowledged(
    own_server, own_place, open_store, request
):
    """The row shows to readings on this machine, and looking in a writing tells the truth."""
    store = open_store(own_place, standby_timeout_s=0.3)
    found(store)
    assert store.durability().outlives_failover
    request.getfixturevalue("lacking_standby")
    until(lambda: store.durability().synchronous_standby_names == "nobody")
    until(lambda: _unconfirmed(store))
    assert size(store) > 1
    with pytest.raises(Unavailable) as caught, store.writing() as writing:
        assert writing.last_position() > 1
    assert caught.value.code == "commit-unconfirmed"


def _unconfirmed(store):
    try:
        append(store)
    except Unavailable as error:
        return error.code == "commit-unconfirmed"
    return False


def test_a_server_that_ends_while_a_commit_waits_leaves_it_unconfirmed(
    own_server, own_place, open_store, request
):
    """Whoever looks after the restart, under the lock, finds the row."""
    store = open_store(own_place)
    found(store)
    request.getfixturevalue("lacking_standby")
    codes = []

    def write():
        try:
            append(store)
        except Unavailable as error:
            codes.append(error.code)

    thread = threading.Thread(target=write)
    thread.start()
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    until(lambda: own_server.execute(waiting))
    own_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    thread.join(PATIENCE_S)
    assert codes == ["commit-unconfirmed"]
    assert size(store) == 2


def test_what_was_acknowledged_outlives_a_failover(open_store):
    """With a synchronous standby; the store says which case it sees and finds the new primary."""
    with private_server() as primary, private_server(primary) as standby:
        hosts = f"{primary.folder},{standby.folder}"
        place = f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"
        store = open_store(place)
        found(store)
        until(lambda: store.durability().standbys == 1)
        assert store.durability().synchronous_standbys == 0
        assert not store.durability().outlives_failover
        primary.execute(
            "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
        )
        until(lambda: store.durability().synchronous_standbys == 1)
        assert store.durability().outlives_failover
        until(lambda: append(store) >= 20)
        acknowledged = size(store)
        follower = open_store(standby.dsn())
        with pytest.raises(Unavailable) as caught, follower.writing():
            pass
        assert caught.value.code == "store-not-writable"
        primary.stop("immediate")
        standby.promote()
        assert size(store) == acknowledged
        standby.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        until(lambda: standby.execute("SHOW synchronous_standby_names") == [("",)])
        assert append(store) == acknowledged + 1


# Lines that are cut


@pytest.fixture
def proxied(postgres_server, postgres_schema, open_store):
    with cutting_proxy(postgres_server.socket_path()) as proxy:
        place = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?ledger={postgres_schema}"
        store = open_store(place + "&sslmode=disable&gssencmode=disable")
        found(store)
        yield store, proxy


@pytest.mark.parametrize("landed", [False, True])
def test_a_line_cut_in_the_middle_of_a_commit_leaves_it_unconfirmed(proxied, landed):
    """Whoever looks under the lock knows: the row is there just if the server has heard."""
    store, proxy = proxied
    cut = proxy.cut_before_client_hears if landed else proxy.cut_before_server_hears
    cut(b"COMMIT\0")
    with pytest.raises(Unavailable) as caught:
        append(store, b"mine")
    assert caught.value.code == "commit-unconfirmed"
    assert proxy.cuts == 1
    with store.writing() as writing:
        there = writing.row_at(2)
    assert (there is not None and there.sealed == b"mine") == landed
    assert append(store) == (3 if landed else 2)


def test_a_line_cut_before_the_commit_leaves_nothing(proxied):
    """The statement's caller is told that the store is out of reach."""
    store, proxy = proxied
    with pytest.raises(Unavailable) as caught, store.writing() as writing:
        writing.insert_rows([row(2)])
        proxy.cut_before_server_hears(b"SELECT")
        writing.head()
    assert caught.value.code == "store-unreachable"
    assert size(store) == 1


def test_a_line_cut_while_idle_goes_unseen(proxied, postgres_server):
    """The next call takes a new one."""
    store, _ = proxied
    assert size(store) == 1
    pid = store._connections._idle[-1].raw.info.backend_pid
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as raw:
        raw.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert append(store) == 2
