"""Front processes that end again and again are waited for longer each time, and it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

import pytest

from tests.ledger.tokens.minting import mint
from tests.tools.service.conftest import furnish, running
from tests.tools.service.test_callers import now, trust
from tests.tools.service.test_fronts import ask_until_answered, front_of, wait_until
from tests.tools.service.test_watching import ANYWHERE, told
from tools.service import fronts, restarts
from tools.service.restarts import LIVED_S, PAUSE_S, PAUSE_S_MAX, Restarts

GET = "/v1/credentials/get"
READY = "/health/ready"


class Clock:
    """Seconds, which go on when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def ended(one, clock, behind_s):
    """The pause behind a life of so long."""
    one.began()
    clock.now += behind_s
    return one.pause_s()


def test_each_pause_is_twice_the_last_one_up_to_a_minute(clock):
    """Whether it did not begin, or ended before it had lived for long."""
    one = Restarts(clock)
    pauses = [ended(one, clock, LIVED_S / 2) if odd else one.pause_s() for odd in [0, 1] * 5]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert (PAUSE_S, PAUSE_S_MAX) == (1, 60)


def test_behind_a_long_life_the_first_pause_is_the_shortest_again(clock):
    """To the moment, and counted from its own beginning alone."""
    one = Restarts(clock)
    for _ in range(10):
        one.pause_s()
    assert ended(one, clock, LIVED_S - 0.001) == PAUSE_S_MAX
    clock.now += LIVED_S
    assert one.pause_s() == PAUSE_S_MAX  # what did not begin has not lived
    assert ended(one, clock, LIVED_S) == PAUSE_S
    assert ended(one, clock, 0) == 2 * PAUSE_S


@pytest.fixture
def hasty(monkeypatch):
    """Pauses of hundredths of a second instead of seconds."""
    monkeypatch.setattr(restarts, "PAUSE_S", 0.02)
    monkeypatch.setattr(restarts, "PAUSE_S_MAX", 0.32)
    monkeypatch.setattr(fronts, "PAUSE_S", 0.02)


@pytest.fixture
def lifeless(tmp_path):
    """A program that ends at once in place of a front."""
    program = tmp_path / "lifeless"
    program.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    program.chmod(0o700)
    return str(program)


@pytest.mark.usefixtures("hasty")
def test_where_no_front_can_live_it_is_told_and_tried_ever_more_seldom(
    prepared_file, tmp_path, monkeypatch, lifeless
):
    """In the log, as not ready, and as a metric; who connects is hung up on, until one lives."""
    house = prepared_file(furnish, trust)
    with running(house, tmp_path, front_processes=1, metrics=ANYWHERE) as service:
        client = service.client()
        assert shown(service) == {
            "credledger_fronts": 1,
            "credledger_fronts_wanted": 1,
            "credledger_fronts_ended_total": 0,
        }
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", lifeless)
            os.kill(front_of(service), signal.SIGKILL)
            wait_until(lambda: shown(service)["credledger_fronts_ended_total"] >= 7)
            samples = shown(service)
            assert (samples["credledger_fronts"], samples["credledger_fronts_wanted"]) == (0, 1)
            with socket.create_connection(service.address, timeout=30) as made:
                assert made.recv(1) == b""
            reply = client.send("GET", READY)
            assert (reply.status, reply.document) == (503, {"status": "unreachable"})
            assert client.send("GET", "/health/live").status == 200
            client.ok(GET, {"application": "payroll"})
        assert ask_until_answered(service.address, mint(now())).status == 200
        wait_until(lambda: client.send("GET", READY).status == 200)
        assert shown(service)["credledger_fronts"] == 1
        assert len(service.service._fronts._lines) == 1  # of those that failed nothing is kept
        lines = [json.loads(line) for line in service.logged().splitlines()]
    pauses = [one["again_in_s"] for one in lines if one["event"].startswith("front-")]
    assert pauses[:7] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.32, 0.32]
    said = {one["message"] for one in lines if one["event"] == "front-not-started"}
    assert said == {"A process that is to speak HTTP did not start: it ended with status 3."}
    assert [one["status"] for one in lines if one["event"] == "front-ended"] == [-9]


def shown(service):
    """What is told of fronts."""
    return {key[0]: value for key, value in told(service).items() if "fronts" in key[0]}


def test_while_a_front_is_coming_nobody_is_hung_up_on(prepared_file, tmp_path):
    """Who connects right behind its first end waits for the next one, and is answered."""
    house = prepared_file(furnish, trust)
    with running(house, tmp_path, front_processes=1) as service:
        os.kill(front_of(service), signal.SIGKILL)
        wait_until(lambda: service.service._fronts.living == 0)
        assert service.stranger(mint(now())).ask(GET, {}).status == 422
        assert service.service._fronts.ended == 1


def test_the_end_is_not_waited_for_behind_a_pause(prepared_file, tmp_path, monkeypatch):
    """Told to stop in the midst of a long one, the service ends at once."""
    monkeypatch.setattr(restarts, "PAUSE_S", 1e6)
    house = prepared_file(furnish, trust)
    with running(house, tmp_path, front_processes=1) as service:
        os.kill(front_of(service), signal.SIGKILL)
        wait_until(lambda: service.service._fronts.ended == 1)
