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
