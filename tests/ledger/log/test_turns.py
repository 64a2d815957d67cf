"""Whose turn it is to write to a file: one at a time, whatever becomes of the others."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from ledger.errors import Unavailable
from ledger.log.turns import Turns
from tests.faults.running import until

_HOLDER = """
import sys
from pathlib import Path
from ledger.log.turns import Turns
with Turns(Path(sys.argv[1]), 5).taken():
    print("taken", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def holder(path):
    """Another process that has the turn until a line is written to it, or it is killed."""
    line = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout.readline() == "taken\n"
        yield held
        held.kill()


def refused(path, timeout_s=0.02):
    """The code of what keeps a turn from being taken; empty where it was taken."""
    try:
        with Turns(path, timeout_s).taken():
            return ""
    except Unavailable as error:
        return error.code


def test_a_turn_is_one_process_s_alone_and_then_the_next_one_s(path, holder):
    assert refused(path) == "store-locked"
    holder.stdin.write("\n")
    holder.stdin.flush()
    holder.wait()
    assert refused(path) == ""


def test_a_process_that_is_killed_lets_its_turn_go(path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert refused(path) == ""


def test_a_turn_is_one_thread_s_alone(path):
    turns = Turns(path, 0.02)
    told = []

    def second():
        try:
            with turns.taken():
                told.append("taken")
        except Unavailable as error:
            told.append(error.code)

    with turns.taken():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    second()
    assert told == ["store-locked", "taken"]


def test_only_one_waits_behind_whoever_has_the_turn(path, holder):
    """Whoever waits for `main` holds `next`, so all others queue behind the two."""
    waiting = Turns(path, 10)
    behind = Turns(path, 0.02)

    def wait():
        with waiting.taken():
            pass

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: len(waiting._held) == 2)
    with pytest.raises(Unavailable), behind.taken():
        pass
    following = path.with_name("ledger.db.next.lock")
    with following.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.stdin.write("\n")
    holder.stdin.flush()
    thread.join()
    assert refused(path) == ""


def test_a_lock_file_that_is_taken_away_is_none(path):
    """The lock of a file that has no name any more is worth nothing: the new one is locked."""
    waiting, told = Turns(path, 10), []

    def wait():
        with waiting.taken():
            told.append(refused(path))

    thread = threading.Thread(target=wait)
    with Turns(path, 1).taken():
        thread.start()
        until(lambda: len(waiting._held) == 2)
        path.with_name("ledger.db.main.lock").unlink()
    thread.join()
    assert told == ["store-locked"]


def test_a_forked_child_takes_nothing_with_it_and_lets_nothing_go(path):
    turns = Turns(path, 0.02)
    with turns.taken():
        child = os.fork()
        if child == 0:
            turns.abandon()
            os._exit(0 if not turns._held and refused(path) == "store-locked" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert refused(path) == "store-locked"
    assert refused(path) == ""


def test_a_child_that_lives_on_does_not_keep_the_turn(path):
    """It has the file open as its parent had, and abandons it."""
    turns = Turns(path, 0.02)
    ready, go_on = os.pipe(), os.pipe()
    with turns.taken():
        child = os.fork()
        if child == 0:
            turns.abandon()
            os.write(ready[1], b".")
            os.read(go_on[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    taken = refused(path)
    os.write(go_on[1], b".")
    os.waitpid(child, 0)
    assert taken == ""


def test_where_no_lock_can_be_made_nothing_is_written(path):
    path.with_name("ledger.db.next.lock").symlink_to(path)
    assert refused(path) == "store-not-writable"
    assert not path.exists()
