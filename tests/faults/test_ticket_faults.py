"""Tickets that are issued and redeemed by commands that are killed, and by several at once."""

from __future__ import annotations

import contextlib

import pytest

from tests.faults.killing import killed_everywhere

CANARY = b"canary-91c4"
VALUES = b'{"Password": "canary-91c4"}'
ISSUE = ("ticket", "issue", "--as", "user:ann", "--app", "Mail")
REDEEM = ("ticket", "redeem", "Mail", "--as", "service:portal", "--ticket-file", "-")
AT_ONCE = 4
TICKETS, TOGETHER = 10, 4


@pytest.fixture
def ticketing(on_both, tmp_path):
    """The ledger with an application that takes tickets."""
    host = on_both.copy(tmp_path / "ticketing")
    host.ok(
        "app", "create", "Mail", "--kind", "individual", "--ticketing",
        "--ticket-redeemer", "service:portal", "--ticket-timeout", "3600",
        "--field", "Password:password",
    )  # fmt: skip
    host.ok("credential", "set", "Mail", "--owner", "user:ann", "--values", "-", stdin=VALUES)
    with contextlib.ExitStack() as stack:
        if host.server is not None:
            stack.callback(host.drop_database)
        yield host


def issued(host):
    return host.ok(*ISSUE)["ticket"].encode()


def test_a_killed_issue_has_issued_or_not(ticketing, tmp_path):
    """A ticket that was printed is good; one that was not is nobody's."""
    position, seen = ticketing.position(), set()
    for host, ended in killed_everywhere(ticketing, tmp_path, *ISSUE):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], ["ticket.issued"]), host.boundaries()
        assert there or not ended.out
        seen.add(bool(there))
        if ended.out:
            host.ok(*REDEEM, stdin=ended.json["ticket"].encode())
        host.ok(*REDEEM, stdin=issued(host))
    assert seen == {True, False}


def test_a_killed_redemption_has_used_the_ticket_or_not(ticketing, tmp_path):
    """Used and recorded together, before a byte is released; run again it is refused, or done."""
    ticket = issued(ticketing)
    position, seen = ticketing.position(), set()
    for host, ended in killed_everywhere(ticketing, tmp_path, *REDEEM, stdin=ticket):
        host.is_whole()
        there = host.topics(position)
        assert there in ([], ["ticket.redeemed", "access.granted"]), host.boundaries()
        assert there or CANARY not in ended.both
        seen.add(bool(there))
        again = host.run(*REDEEM, stdin=ticket)
        assert again.code == (4 if there else 0), again
        assert host.topics().count("ticket.redeemed") == 1
        assert host.ask("audit", "recheck")["wrong"] == []
    assert seen == {True, False}


def by_clock(seconds, *commands):
    """A script that runs commands by a clock that is off, with few lapses a commit."""
    return f"""
import time
import tools.wiring
from ledger.usecases import lapses
from tools.cli.main import run
lapses.LAPSES_TOGETHER = {TOGETHER}
tools.wiring.clock = lambda: time.time_ns() // 1000 + {seconds} * 1_000_000
for words in {commands!r}:
    assert run([*words, "--json"]) == 0
"""


OFFER = ("app", "create", "Mail", "--kind", "individual", "--ticketing", "--ticket-timeout", "1")
LEFT = by_clock(-250, ("init", "--label", "ann"), OFFER, *[ISSUE] * TICKETS)
SWEEP = by_clock(250, ("ticket", "sweep"))
"""On a host whose clock is ahead by what a server allows, as that of the issue was behind."""


@pytest.fixture
def left(bare, tmp_path):
    """A ledger with tickets that nobody brought while they were good."""
    host = bare.copy(tmp_path / "left")
    with contextlib.ExitStack() as stack:
        if host.server is not None:
            stack.callback(host.drop_database)
        ended = host.run(script=LEFT, as_json=False)
        assert ended.code == 0, ended
        host.settle()
        yield host


def test_a_killed_sweep_is_gone_on_with_by_the_next(left, tmp_path):
    """Whole commits of it are there, and the next one records each of the others, once."""
    position, seen = left.position(), set()
    for host, _ in killed_everywhere(left, tmp_path, script=SWEEP, as_json=False):
        host.is_whole()
        there = host.topics(position)
        assert set(there) <= {"ticket.lapsed"}
        seen.add(len(there))
        for _ in range(2):
            assert host.run(script=SWEEP, as_json=False).code == 0
        assert host.topics(position) == ["ticket.lapsed"] * TICKETS
        told = host.ask("audit", "tickets")
        assert [one["state"] for one in told] == ["lapsed"] * TICKETS
        assert len({one["ended"] for one in told}) == TICKETS
        assert host.ask("audit", "recheck")["wrong"] == []
    assert seen <= {0, TOGETHER, 2 * TOGETHER, TICKETS}
    assert {0, TICKETS} < seen


def test_of_several_processes_at_once_exactly_one_redeems(ticketing):
    """Every attempt is recorded with what came of it, in whatever order they come."""
    for number in (1, 2):
        ticket = issued(ticketing)
        started = [ticketing.start(*REDEEM, stdin=ticket) for _ in range(AT_ONCE)]
        ended = [one.wait() for one in started]
        assert sorted(one.code for one in ended) == [0] + [4] * (AT_ONCE - 1)
        assert sum(CANARY in one.both for one in ended) == 1
        topics = ticketing.topics()
        assert topics.count("ticket.redeemed") == number
        assert topics.count("ticket.refused") == number * (AT_ONCE - 1)
    assert ticketing.ask("audit", "recheck")["wrong"] == []
    ticketing.is_whole()


def test_those_that_are_killed_meanwhile_take_nothing_twice(ticketing):
    """Several begin, some are killed at once, and the values are released once at most."""
    ticket = issued(ticketing)
    started = [ticketing.start(*REDEEM, stdin=ticket) for _ in range(AT_ONCE)]
    for one in started[::2]:
        one.kill()
    released = sum(CANARY in one.wait().both for one in started)
    last = ticketing.run(*REDEEM, stdin=ticket)
    assert released + (CANARY in last.both) <= 1
    topics = ticketing.topics()
    assert (
        topics.count("ticket.redeemed")
        == 1
        == topics[topics.index("ticket.issued") :].count("access.granted")
    )
