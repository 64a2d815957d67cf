"""`audit tickets` on the command line, on each kind of store, and from an auditor's keyring."""

from __future__ import annotations

import pytest

import projections.stretch
import tools.showing.listing
from tests.tools.conftest import auditor_of, found
from tests.tools.test_long_answers import recorded
from tests.tools.test_tickets import AS_PORTAL, issued, offer_tickets, ticket_of

ASK = ("audit", "tickets")


def bring_some(cli):
    """One is redeemed and brought again, one is open, one was asked for in vain."""
    offer_tickets(cli)
    ticket = ticket_of(cli, "--app", "Mail", "--reason", "the inbox")
    cli.ok("ticket", "redeem", "Mail", *AS_PORTAL, stdin=ticket)
    cli.fails(4, "access-denied", "ticket", "redeem", "Mail", *AS_PORTAL, stdin=ticket)
    issued(cli)
    cli.fails(4, "access-denied", "ticket", "issue", "--as", "user:ann", "--app", "Plain")


@pytest.fixture
def brought(begun):
    return begun(found, bring_some)


def states(rows):
    return [row["state"] for row in rows]


def test_each_ticket_and_attempt_is_listed_newest_first(brought):
    """By either party, application, state and moment; each question is recorded."""
    rows = brought.ok(*ASK)
    assert states(rows) == ["not-issued", "issued", "refused", "redeemed"]
    not_issued, open_one, refused, redeemed = rows
    assert (redeemed["user"], redeemed["redeemer"]) == ("user:ann", "service:portal")
    assert (redeemed["application"], redeemed["reason"]) == ("Mail", "the inbox")
    assert redeemed["position"] < redeemed["ended"] < refused["position"]
    assert (refused["issued"], refused["detail"]) == (redeemed["position"], "ticket-used")
    assert (open_one["application"], open_one["expires_at"]) == (None, None)
    assert (not_issued["detail"], not_issued["ended"]) == ("not-ticketing", None)
    assert brought.ok(*ASK, "--user", "service:portal") == [refused, redeemed]
    assert brought.ok(*ASK, "--app", "plain") == [not_issued]
    assert brought.ok(*ASK, "--state", "redeemed") == [redeemed]
    (then,) = brought.ok(*ASK, "--position", str(redeemed["position"]))
    assert then == {
        **redeemed, "state": "issued", "redeemer": None, "ended": None, "ended_at": None,
        "detail": None,
    }  # fmt: skip
    assert brought.ok(*ASK, "--since", refused["recorded_at"]) == [not_issued, open_one, refused]
    since_end = ("--since", redeemed["ended_at"])
    assert brought.ok(*ASK, *since_end) == rows
    assert brought.ok(*ASK, *since_end, "--state", "redeemed") == [redeemed]
    first = brought(*ASK, *since_end, "--limit", "3")
    assert first.json == rows[:3]
    assert brought.ok(*ASK, *since_end, "--after", str(refused["position"])) == [redeemed]
    assert brought.ok(*ASK, *since_end, "--after", str(redeemed["position"])) == []
    assert recorded(brought, "tickets")[1:3] == [
        ({"user": "service:portal", "limit": 100}, 2),
        ({"app": "plain", "limit": 100}, 1),
    ]


def test_a_long_answer_comes_in_pages_with_the_ends_of_all_tickets(brought, monkeypatch):
    """Each is recorded, a limit tells how to go on, and going on tells the same."""
    rows = brought.ok(*ASK)
    first = brought(*ASK, "--limit", "3")
    assert first.json == rows[:3] and f"--after {rows[2]['position']};" in first.err
    assert brought.ok(*ASK, "--after", str(rows[2]["position"])) == rows[3:]
    monkeypatch.setattr(tools.showing.listing, "PAGE_ROWS", 2)
    monkeypatch.setattr(projections.stretch, "_PART_ROWS", 2)
    before = len(recorded(brought, "tickets"))
    assert brought.ok(*ASK, "--limit", "0") == rows
    told = recorded(brought, "tickets")[before:]
    assert told == [({"limit": 0}, 2), ({"limit": 0, "after": rows[1]["position"]}, 2), *told[2:]]
    assert sum(count for _, count in told) == len(rows)


def test_people_see_a_table(brought):
    """Until when in local time, and where each ended."""
    lines = brought(*ASK, json_wanted=False).text.splitlines()
    names = ["Position", "State", "User", "Application", "Redeemer", "Ended", "Detail", "Reason"]
    heading = lines[0].split("\t")
    row = dict(zip(heading, lines[-1].split("\t"), strict=True))
    (last,) = brought.ok(*ASK, "--state", "redeemed")
    assert [row[name] for name in names] == [
        str(last["position"]), "redeemed", "user:ann", "Mail", "service:portal",
        str(last["ended"]), "redeemer", "the inbox",
    ]  # fmt: skip
    assert row["Until"].startswith("20") and not row["Until"].endswith("Z")


def test_an_auditor_asks_alike_and_may_have_to_be_recorded(brought):
    """From their own keyring; nothing can be recorded in an archive, and that is said."""
    rows = brought.ok(*ASK)
    auditor = auditor_of(brought)
    assert auditor.ok(*ASK, "--require-record") == rows
    archive = str(brought.home / "archive")
    brought.ok("backup", "create", archive)
    asked = auditor(*ASK, "--archive", archive)
    assert (asked.json, "was not recorded" in asked.err) == (rows, True)
    auditor.fails(7, "query-unrecorded", *ASK, "--archive", archive, "--require-record")


def test_what_nobody_can_mean_is_refused(brought):
    """An unknown state, application or claim; nothing is recorded of it."""
    position = brought.ok("status")["position"]
    brought.fails(2, "usage", *ASK, "--state", "used")
    brought.fails(2, "invalid-claim", *ASK, "--user", "ann")
    brought.fails(2, "invalid-application-id", *ASK, "--app", "no/ID")
    brought.fails(2, "usage", *ASK, "--limit", "-1")
    assert brought.ok("status")["position"] == position
    brought.fails(3, "no-such-application", *ASK, "--app", "Nowhere")
    assert brought(*ASK, "--user", "user:nobody").json == []
