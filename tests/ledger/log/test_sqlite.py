"""What only a file can suffer: a write-ahead log that several begin at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from ledger.errors import NotFound, Unavailable
from ledger.log.sqlite import SqliteStore


@pytest.fixture
def written_elsewhere(tmp_path):
    """A new file that somebody else is about to write: SQLite lets nobody wait for that here."""
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield path, other
    other.close()


def test_who_opens_a_file_waits_until_its_write_ahead_log_can_be_begun(written_elsewhere):
    path, other = written_elsewhere
    told = []

    def look():
        try:
            with SqliteStore(path).reading() as reading:
                reading.ledger()
        except (NotFound, Unavailable) as error:
            told.append(error.code)

    looking = threading.Thread(target=look)
    looking.start()
    looking.join(0.2)
    assert looking.is_alive()
    other.rollback()
    looking.join()
    assert told == ["no-ledger"]


def test_nobody_waits_for_it_beyond_the_time_for_a_lock(written_elsewhere):
    path, _ = written_elsewhere
    with pytest.raises(Unavailable) as caught, SqliteStore(path, lock_timeout_s=0.05).reading():
        pass
    assert caught.value.code == "store-locked"


def test_a_thread_that_ended_leaves_no_connection(tmp_path):
    """Whoever asks in a new thread each time does not fill the process with open files."""
    store = SqliteStore(tmp_path / "ledger.db")
    store.create()

    def look():
        with store.reading() as reading:
            reading.last_position()

    def look_in_a_thread():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    def held():
        names = [one.resolve() for one in Path("/proc/self/fd").iterdir()]
        return names.count(store.path)

    look()
    look_in_a_thread()  # SQLite itself keeps a file for the next one
    before = held()
    for _ in range(5):
        look_in_a_thread()
    assert held() == before
    store.close()
    assert held() == 0


@pytest.fixture
def held_open(tmp_path):
    """A store whose file this thread has open."""
    store = SqliteStore(tmp_path / "ledger.db")
    store.create()
    with store.reading() as reading:
        reading.last_position()
    yield store
    store.close()


def test_a_file_that_was_taken_away_is_used_no_more(held_open):
    """Neither read nor written, though it is open still; put back it is used as before."""
    aside = held_open.path.with_name("aside")
    held_open.path.rename(aside)
    for use in (held_open.reading, held_open.writing):
        with pytest.raises(NotFound) as caught, use():
            pass
        assert caught.value.code == "no-ledger"
    aside.rename(held_open.path)
    with held_open.reading() as reading:
        assert reading.last_position() == 0


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_is_committed_to_a_file_without_a_name_counts_for_nothing(held_open, is_replaced):
    """It went while something was recorded, whether or not another came in its place."""
    copy = held_open.path.read_bytes()
    with pytest.raises(Unavailable) as caught, held_open.writing():
        held_open.path.unlink()
        if is_replaced:
            held_open.path.write_bytes(copy)
    assert caught.value.code == "store-replaced"
