"""What waits for somebody else's server holds a few threads of its own, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import wait

import pytest

from ledger.tokens.fetches import AT_ONCE_MAX, Fetches


class Slow:
    """Work that ends when the test says so."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.order = []

    def __call__(self, name):
        def work():
            self.order.append(name)
            self.begun.release()
            assert self.go_on.wait(10)

        return work


def test_a_few_are_done_at_once_and_the_others_in_their_order():
    """However many are asked for."""
    slow, fetches = Slow(), Fetches()
    answers = [fetches.begin(slow(number)) for number in range(AT_ONCE_MAX + 3)]
    for _ in range(AT_ONCE_MAX):
        assert slow.begun.acquire(timeout=10)
    assert sorted(slow.order) == list(range(AT_ONCE_MAX))
    assert not any(one.done() for one in answers)
    names = [one.name for one in threading.enumerate()]
    assert names.count("credledger-fetch") == AT_ONCE_MAX
    slow.go_on.set()
    assert not wait(answers, 10).not_done
    assert sorted(slow.order) == list(range(AT_ONCE_MAX + 3))


def test_one_thread_does_them_one_by_one():
    """In the order in which they were asked for, also behind one that failed."""
    slow, fetches = Slow(), Fetches(1)

    def fail():
        raise ZeroDivisionError

    answers = [fetches.begin(slow(0)), fetches.begin(fail), fetches.begin(slow(1))]
    slow.go_on.set()
    assert not wait(answers, 10).not_done
    assert slow.order == [0, 1]
    with pytest.raises(ZeroDivisionError):
        answers[1].result()
    again = fetches.begin(slow(2))
    again.result(10)
    assert slow.order == [0, 1, 2]


def test_whoever_gives_up_waiting_takes_it_from_nobody():
    """An answer cannot be cancelled."""
    slow, fetches = Slow(), Fetches()
    answer = fetches.begin(slow(0))
    assert not answer.cancel()
    slow.go_on.set()
    answer.result(10)


def test_where_the_system_has_no_thread_that_is_the_answer(monkeypatch):
    """And what is asked for behind it is done."""
    slow, fetches = Slow(), Fetches(1)
    slow.go_on.set()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _no_thread)
        answer = fetches.begin(slow(0))
    with pytest.raises(RuntimeError, match="can't start"):
        answer.result(0)
    fetches.begin(slow(1)).result(10)
    assert slow.order == [1]


def test_whoever_counted_on_a_thread_that_never_came_hears_of_it_as_well(monkeypatch):
    """Or he would wait for nothing, and nobody would ask that issuer again."""
    slow, fetches = Slow(), Fetches(1)
    behind = []

    def no_thread(_):
        behind.append(fetches.begin(slow(1)))  # as many as there may be are on their way
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        first = fetches.begin(slow(0))
    for answer in (first, *behind):
        with pytest.raises(RuntimeError, match="can't start"):
            answer.result(0)
    slow.go_on.set()
    fetches.begin(slow(2)).result(10)
    assert slow.order == [2]


def _no_thread(_):
    raise RuntimeError("can't start new thread")


def test_the_process_does_not_wait_for_one_that_never_ends():
    """At its end it leaves it behind."""
    program = (
        "import threading; from ledger.tokens.fetches import Fetches; begun = threading.Event();"
        "Fetches().begin(lambda: (begun.set(), threading.Event().wait())); begun.wait(); print(1)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert ended.stdout == b"1\n"
