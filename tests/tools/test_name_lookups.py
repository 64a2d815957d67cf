"""A host is looked up once at a time, and nobody waits for that longer than he likes."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools.name_lookups import NameLookups

PLACE = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]


def test_an_address_is_its_own():
    """The system's resolver knows it."""
    ((family, _, _, _, place),) = NameLookups().addresses("127.0.0.1", 8443, 10)
    assert (family, place) == (socket.AF_INET, ("127.0.0.1", 8443))


def test_who_asks_meanwhile_gets_the_same_answer():
    """However many ask for one host, it is looked up once; and anew behind that."""
    asked, go_on = [], threading.Event()

    def look_up(host, port):
        asked.append(host)
        assert go_on.wait(10)
        return PLACE

    lookups = NameLookups(look_up)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(lookups.addresses, "a.example", 443, 10) for _ in range(3)]
        with pytest.raises(TimeoutError):
            lookups.addresses("a.example", 443, 0.01)
        go_on.set()
        assert [one.result(10) for one in waiting] == [PLACE] * 3
    assert asked == ["a.example"]
    assert lookups.addresses("a.example", 443, 10) == PLACE
    assert asked == ["a.example"] * 2


def test_what_the_resolver_says_no_to_is_asked_again_the_next_time():
    """Its error is whoever asked's."""
    asked = []

    def look_up(host, port):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    lookups = NameLookups(look_up)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            lookups.addresses("a.example", 443, 10)
    assert asked == ["a.example"] * 2


def test_without_a_thread_for_it_nothing_is_left_behind(monkeypatch):
    """The next one is looked up."""
    lookups = NameLookups(lambda *_: PLACE)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(OSError):
            lookups.addresses("a.example", 443, 10)
    assert lookups.addresses("a.example", 443, 10) == PLACE


def _no_thread(_):
    raise RuntimeError("can't start new thread")
