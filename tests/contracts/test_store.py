"""What every store does: short snapshots, one lock, durable and ordered appends, our own errors."""

from __future__ import annotations

import multiprocessing
import os
import threading
from itertools import product

import pytest

from ledger.errors import Conflict, LedgerError, NotFound, Unavailable
from ledger.log.rows import BEGIN, OPERATOR, CommitRow, LedgerRow, LogRow, SignerRow
from tests.contracts.stores import open_store

LEDGER = LedgerRow(bytes(32), 1, b"salt")
SIGNERS = [SignerRow(bytes([n]) * 32, OPERATOR, BEGIN, n, bytes(32), bytes(64)) for n in range(3)]
TURNS = 40


def row(position: int, stream: bytes = b"s" * 16, version: int | None = None) -> LogRow:
    return LogRow(
        position, stream, version or position, "access.granted", 1, 202611, position,
        b"sealed %d" % position, bytes(32),
    )  # fmt: skip


def commit(size: int) -> CommitRow:
    return CommitRow(size, bytes(32), b"frontier", bytes(32), bytes(64))


def append(store, count: int = 1) -> int:
    """Read how far the log goes, and continue it."""
    with store.writing() as writing:
        last = writing.last_position()
        writing.insert_rows([row(last + n + 1) for n in range(count)])
        writing.insert_commit(commit(last + count))
    return last + count


def size(store) -> int:
    with store.reading() as reading:
        return reading.last_position()


@pytest.fixture
def store(place):
    """A named ledger with three rows in two transactions."""
    made = place.store()
    made.create()
    with made.writing() as writing:
        writing.insert_ledger(LEDGER)
        writing.insert_signers(SIGNERS[:2])
        writing.insert_rows([row(1), row(2)])
        writing.insert_commit(commit(2))
    append(made)
    return made


def refused(error: type[LedgerError], action) -> str:
    with pytest.raises(error) as caught:
        action()
    assert caught.value.message
    return caught.value.code


def test_a_place_without_a_ledger_says_so(place):
    def look():
        with place.store().reading() as reading:
            reading.ledger()

    assert refused(NotFound, look) == "no-ledger"
    place.store().create()
    with place.store().reading() as reading:
        assert reading.ledger() is None
        assert reading.head() is None
        assert reading.extent() == (0, 0, b"")
        assert reading.signers() == ()


def test_creating_twice_changes_nothing(place, store):
    store.create()
    place.store().create()
    assert size(store) == 3


def test_what_was_written_is_read_by_others(place, store):
    with place.store().reading() as reading:
        assert reading.ledger() == LEDGER
        assert reading.head() == commit(3)
        assert reading.extent() == (3, 3, commit(3).frontier)
        assert reading.signers() == tuple(SIGNERS[:2])
        assert reading.row_at(2) == row(2)
        assert reading.row_at(4) is None
        assert reading.newest_of(b"s" * 16) == row(3)
        assert reading.newest_of(b"x" * 16) is None
        assert reading.commit_at(2) == commit(2)
        assert reading.commit_at(1) is None


def test_pages_begin_after_what_is_known_and_end_at_the_limit(store):
    append(store, 7)
    with store.writing() as writing:
        writing.insert_rows([row(11, b"t" * 16, 1)])
        writing.insert_commit(commit(11))
    with store.reading() as reading:
        assert [one.position for one in reading.rows_after(2, 4)] == [3, 4, 5, 6]
        assert [one.position for one in reading.rows_after(9, 100)] == [10, 11]
        assert reading.rows_after(11, 5) == []
        assert [one.version for one in reading.stream_rows(b"s" * 16, 7, 2)] == [8, 9]
        assert [one.version for one in reading.stream_rows(b"t" * 16, 0, 9)] == [1]
        assert [one.size for one in reading.commits_after(2, 2)] == [3, 10]
        assert [one.size for one in reading.commits_after(0, 100)] == [2, 3, 10, 11]


def test_signers_keep_their_order(store):
    with store.writing() as writing:
        writing.insert_signers([SIGNERS[2]])
    with store.reading() as reading:
        assert reading.signers() == tuple(SIGNERS)


def test_many_rows_and_few_come_out_as_they_went_in(store):
    many = [row(n) for n in range(4, 1504)]
    with store.writing() as writing:
        writing.insert_rows(many)
        writing.insert_commit(commit(1503))
    with store.reading() as reading:
        assert reading.rows_after(3, 5000) == many


@pytest.mark.parametrize("count", [0, 1, 9, 10, 99, 250])
def test_rows_are_found_by_their_positions_together(store, count):
    with store.writing() as writing:
        writing.insert_rows([row(n) for n in range(4, 504)])
        writing.insert_commit(commit(503))
    asked = list(range(503, 503 - 2 * count, -2))
    with store.reading() as reading:
        assert reading.rows_at(asked) == {n: row(n) for n in asked}
        assert reading.rows_at([900, 2, 0]) == {2: row(2)}


@pytest.mark.parametrize("count", [1, 9, 10, 99, 250])
def test_the_first_rows_of_many_streams_are_found_together(store, count):
    """In order of version, so many of each and no more; of a stream that there is not, nothing."""
    streams = [bytes([1, number]) * 8 for number in range(count)]
    rows = [
        row(4 + at)._replace(stream=stream, version=version)
        for at, (version, stream) in enumerate(product((1, 2, 3), streams))
    ]
    with store.writing() as writing:
        writing.insert_rows(rows)
        writing.insert_commit(commit(3 + len(rows)))
    with store.reading() as reading:
        found = reading.rows_of([*reversed(streams), b"nobody's"], 2)
    assert found == {one: [r for r in rows if r.stream == one and r.version < 3] for one in streams}


def test_nothing_stays_of_a_writing_that_failed(place, store):
    class Mishap(Exception):
        pass

    with pytest.raises(Mishap), store.writing() as writing:
        writing.insert_rows([row(4)])
        writing.insert_commit(commit(4))
        raise Mishap
    assert size(place.store()) == size(store) == 3
    assert append(store) == 4


OUT_OF_ORDER = {
    "a position that is taken": lambda writing: writing.insert_rows([row(3, b"x" * 16, 1)]),
    "a version that is taken": lambda writing: writing.insert_rows([row(4, version=3)]),
    "a second ledger": lambda writing: writing.insert_ledger(LEDGER),
    "a signer twice": lambda writing: writing.insert_signers([SIGNERS[0]]),
    "a head twice": lambda writing: writing.insert_commit(commit(3)),
}


@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_what_is_out_of_order_is_a_conflict_and_leaves_nothing(store, name):
    def write():
        with store.writing() as writing:
            OUT_OF_ORDER[name](writing)

    assert refused(Conflict, write) == "append-refused"
    assert size(store) == 3
    assert append(store) == 4


def test_a_position_left_out_is_a_conflict_in_a_file(place, store):
    if place.kind == "postgresql":
        return  # where keys suffice, whoever holds the lock gives dense positions

    def write():
        with store.writing() as writing:
            writing.insert_rows([row(5)])

    assert refused(Conflict, write) == "append-refused"
    assert size(store) == 3


@pytest.mark.parametrize("table", ["ledger", "signers", "log", "commits"])
@pytest.mark.parametrize("change", ["DELETE FROM {0}", "UPDATE {0} SET {1} = {1}"])
def test_nobody_rewrites_by_accident(place, store, table, change):
    column = {"ledger": "salt", "signers": "class", "log": "topic", "commits": "root"}[table]
    with pytest.raises(Exception, match="never"):
        place.execute(change.format(table, column))
    assert size(store) == 3


def test_a_reading_is_one_moment(place, store):
    other = place.store()
    with store.reading() as reading:
        assert reading.last_position() == 3
        append(other)
        assert reading.last_position() == 3
        assert reading.extent() == (3, 3, commit(3).frontier)
        assert reading.head() == commit(3)
    assert size(store) == 4


def test_what_is_not_committed_is_seen_by_its_writer_alone(place, store):
    other = place.store()
    with store.writing() as writing:
        writing.insert_rows([row(4)])
        assert writing.last_position() == 4
        assert size(other) == 3
        writing.insert_commit(commit(4))
    assert size(other) == 4


def test_threads_take_turns_and_lose_nothing(place, store):
    stores = [store, place.store()]
    threads = [
        threading.Thread(target=lambda n=n: [append(stores[n % 2]) for _ in range(TURNS)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as reading:
        positions = [one.position for one in reading.rows_after(0, 1000)]
    assert positions == list(range(1, 4 + 4 * TURNS))


def keep_appending(address: str) -> None:
    store = open_store(address)
    for _ in range(TURNS):
        append(store)
    store.close()


def test_processes_take_turns_and_lose_nothing(place, store):
    fresh = multiprocessing.get_context("spawn")
    children = [fresh.Process(target=keep_appending, args=(place.address,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert size(store) == 3 + 2 * TURNS


def test_a_lock_held_too_long_is_told(place, store):
    impatient = place.store(lock_timeout_s=0.05)
    with store.writing():
        assert refused(Unavailable, lambda: append(impatient)) == "store-locked"
    assert append(impatient) == 4


def test_a_store_of_a_newer_version_is_left_alone(place, store):
    place.execute(
        "INSERT INTO schema_migrations (package, name) VALUES ('ledger.log.migrations', '9999')"
    )
    newer = place.store()
    assert refused(Unavailable, lambda: size(newer)) == "store-newer"
    assert refused(Unavailable, lambda: append(newer)) == "store-newer"


def test_views_use_plain_statements_in_the_same_transaction(store):
    put = "INSERT INTO key_inventory_a (stream, application, epoch) VALUES (?, ?, ?)"
    with store.writing() as writing:
        writing.connection.executemany(put, [(bytes([n]) * 16, b"a" * 16, n) for n in range(5)])
        found = writing.connection.execute(
            "SELECT epoch FROM key_inventory_a WHERE application = ? AND epoch > ? ORDER BY epoch",
            (b"a" * 16, 2),
        )
    assert [tuple(one) for one in found] == [(3,), (4,)]
    with store.reading() as reading:
        assert reading.connection.execute("SELECT count(*) FROM key_inventory_a")[0][0] == 5


COLUMNS = {"stream": bytes, "application": bytes, "epoch": int}


@pytest.mark.parametrize("count", [1, 4, 5, 300])
def test_rows_put_into_a_view_take_the_place_of_those_with_the_same_key(store, count):
    """Whether few or many, each key ends with the row that was put last."""

    def rows(epoch: int) -> list[tuple]:
        return [(n.to_bytes(16, "big"), b"a" * 16, epoch) for n in range(count)]

    with store.writing() as writing:
        writing.connection.upsert("key_inventory_a", COLUMNS, rows(1))
    with store.writing() as writing:
        writing.connection.upsert("key_inventory_a", COLUMNS, [*rows(2), *rows(3)])
    with store.reading() as reading:
        found = reading.connection.execute("SELECT * FROM key_inventory_a ORDER BY stream")
    assert [tuple(one) for one in found] == rows(3)


@pytest.mark.parametrize("count", [1, 4, 5, 300])
def test_where_a_row_is_there_only_the_columns_change_that_are_named(store, count):
    """A row that is not there is put whole."""

    def rows(*numbers: int, application: bytes, epoch: int) -> list[tuple]:
        return [(n.to_bytes(16, "big"), application * 16, epoch) for n in numbers]

    every, odd = range(count), range(1, count, 2)
    with store.writing() as writing:
        writing.connection.upsert("key_inventory_a", COLUMNS, rows(*odd, application=b"a", epoch=1))
        moved = rows(*every, application=b"b", epoch=2)
        writing.connection.upsert("key_inventory_a", COLUMNS, moved, ("epoch",))
        found = writing.connection.execute("SELECT * FROM key_inventory_a ORDER BY stream")
    assert [tuple(one) for one in found] == sorted(
        rows(*odd, application=b"a", epoch=2) + rows(*range(0, count, 2), application=b"b", epoch=2)
    )


def test_a_column_of_a_view_may_be_empty(store):
    """A column without any value in a whole batch is stored as such."""
    columns = {
        "position": int, "caller": bytes, "on_behalf": bytes, "owner": bytes,
        "application": bytes, "outcome": int,
    }  # fmt: skip
    rows = [(n, b"c", None, b"o", b"a", 1) for n in range(1, 10)]
    with store.writing() as writing:
        writing.connection.upsert("access_history_a", columns, rows)
        found = writing.connection.execute("SELECT * FROM access_history_a ORDER BY position")
    assert [tuple(one) for one in found] == rows


def test_only_what_need_not_be_durable_is_written_without_waiting_for_the_disk(place, store):
    """A light writing never takes the wait for the disk from the writings after it."""
    asked = {"sqlite": "PRAGMA synchronous", "postgresql": "SHOW synchronous_commit"}[place.kind]
    waits = {"sqlite": {True: 2, False: 1}, "postgresql": {True: "on", False: "off"}}[place.kind]
    for durable in (True, False, True, False):
        with store.writing(durable=durable) as writing:
            assert writing.connection.execute(asked)[0][0] == waits[durable]
    with store.writing() as writing:
        assert writing.connection.execute(asked)[0][0] == waits[True]


def test_a_light_writing_that_fails_leaves_nothing(store):
    """What is not waited for is all or nothing too."""
    with pytest.raises(ZeroDivisionError), store.writing(durable=False) as writing:
        writing.connection.upsert("key_inventory_a", COLUMNS, [(b"s" * 16, b"a" * 16, 1)])
        raise ZeroDivisionError
    with store.reading() as reading:
        assert reading.connection.execute("SELECT count(*) FROM key_inventory_a")[0][0] == 0


def test_a_closed_store_serves_again(store):
    store.close()
    assert append(store) == 4
    store.close()
    store.close()
    assert size(store) == 4


def test_a_forked_child_has_connections_of_its_own(store):
    assert size(store) == 3
    child = os.fork()
    if child == 0:
        done = 1
        try:
            done = 0 if append(store) == 4 else 2
        finally:
            os._exit(done)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert append(store) == 5


def test_an_address_tells_no_secret(place):
    assert place.store().address.split(":")[0] in {"sqlite", "postgresql"}
    if place.kind == "postgresql":
        told = open_store("postgresql://ann:hush@db.example/books?ledger=one").address
        assert told == "postgresql://db.example/books?ledger=one"


def test_text_that_is_none_is_read_as_text_that_no_ledger_wrote(place, store):
    """So the row that holds it can be named, and the others are read as ever."""
    if place.kind == "postgresql":
        return  # its columns hold their own types only
    place.execute("DROP TRIGGER log_keep")
    place.execute("UPDATE log SET topic = CAST(x'ff' AS TEXT) WHERE position = 2")
    with store.reading() as reading:
        rows = reading.rows_after(0, 10)
        assert [row.position for row in rows if not row.topic.isascii()] == [2]
        assert len(rows) == reading.extent().size
