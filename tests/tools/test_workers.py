"""Worker processes: keys in few hands, and nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import Unavailable
from tools.processes.workers import READY, serve, taken_over, workers

ENOUGH_S = 60
KEYS = b"keys that no argument, environment or file may tell"


def tell(connection, work):
    """Take the keys, and answer what each question asked for until the other end is gone."""
    keys = taken_over(connection)
    while connection.recv():
        connection.send((work, keys))


def is_gone(process):
    process.join(ENOUGH_S)
    return process.exitcode is not None


def test_a_worker_works_with_what_it_is_handed_and_is_gone_after():
    with workers(2, tell, "this") as started:
        for worker in started:
            assert worker.connection.recv() == READY
            worker.connection.send_bytes(KEYS)
            worker.connection.send(True)
            assert worker.connection.recv() == ("this", KEYS)
    assert all(is_gone(worker.process) for worker in started)
    assert multiprocessing.active_children() == []


def test_a_worker_takes_no_notice_of_ctrl_c():
    """Its work goes on, and its answer comes."""
    with workers(1, tell, "this") as (worker,):
        os.kill(worker.process.pid, signal.SIGINT)
        assert worker.connection.recv() == READY
        os.kill(worker.process.pid, signal.SIGINT)
        worker.connection.send_bytes(KEYS)
        worker.connection.send(True)
        assert worker.connection.recv() == ("this", KEYS)
    assert is_gone(worker.process)


_FIRST = """
import pathlib, sys
from tools.processes.workers import taken_over, workers

def wait(connection, work):
    taken_over(connection)

if __name__ == "__main__":
    with workers(2, wait, None) as started:
        for worker in started:
            print(pathlib.Path(f"/proc/{worker.process.pid}/status").read_text())
"""


def test_no_worker_of_a_process_is_born_open_to_ctrl_c(tmp_path):
    """Not even the first that it ever starts; as the system tells it."""
    program = tmp_path / "first.py"
    program.write_text(_FIRST, encoding="utf-8")
    words = [sys.executable, str(program)]
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=ENOUGH_S)
    masks = [int(line[8:], 16) for line in told.stdout.splitlines() if line.startswith("SigBlk:")]
    held = 1 << (signal.SIGINT - 1)
    assert [mask & held for mask in masks] == [held, held]


@pytest.mark.parametrize("has_keys", [False, True])
def test_a_worker_ends_when_the_other_end_is_gone(has_keys):
    """As when this process is killed: nothing with keys in it stays behind."""
    with workers(1, tell, None) as (worker,):
        assert worker.connection.recv() == READY
        if has_keys:
            worker.connection.send_bytes(KEYS)
        worker.connection.close()
        assert is_gone(worker.process)
        assert worker.process.exitcode == 0


def test_a_worker_is_shut_off_before_it_gets_keys():
    """Ready means hardened; and no key is in its arguments, its environment or its open files."""
    with workers(1, tell, None) as (worker,):
        assert worker.connection.recv() == READY
        told = Path(f"/proc/{worker.process.pid}")
        limits = (told / "limits").read_text(encoding="utf-8").splitlines()
        (line,) = [one for one in limits if one.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
        assert "NoNewPrivs:\t1\n" in (told / "status").read_text(encoding="utf-8")
        worker.connection.send_bytes(KEYS)
        worker.connection.send(True)
        assert worker.connection.recv() == (None, KEYS)
        for name in ("cmdline", "environ"):
            assert KEYS not in (told / name).read_bytes()


def test_whoever_is_not_shut_off_gets_no_keys(monkeypatch):
    """It says nothing, and ends."""

    def refused():
        raise Unavailable("not-hardened", "No.")

    monkeypatch.setattr("tools.processes.workers.harden", refused)
    ours, theirs = multiprocessing.Pipe()
    serve(theirs, tell, None)
    assert not ours.poll()
