"""`audit review` signs off what was looked through since the last one, on each kind of store."""

from __future__ import annotations

import time

import pytest

from tests.tools.conftest import auditor_of, found
from tests.tools.test_retention import DAY_US
from tools.wiring import Session


def read_twice(cli):
    cli.ok("app", "create", "Mail", "--kind", "individual", "--field", "Password:password")
    cli.set("Mail", "user:ann", Password="m")
    for _ in range(2):
        cli.ok("credential", "get", "Mail", "--as", "user:ann")
    cli.fails(4, "access-denied", "credential", "get", "None", "--as", "user:ann")
    cli.fails(3, "credentials-not-set", "credential", "get", "Mail", "--as", "user:bob")


@pytest.fixture
def read(begun):
    """Two reads, a refusal and a read of nothing."""
    return begun(found, read_twice)


def counts(review):
    return review["granted"], review["denied"], review["not_set"]


def sign(cli, *further, note="nothing odd"):
    return cli.ok("audit", "review", "--until", "now", "--note", note, *further)


def test_each_review_goes_on_where_the_last_ended_whoever_made_it(read, auditor_of_it):
    """An operator's and an auditor's are one line of reviews; each is told by its slot."""
    head = read.ok("status")["position"]
    first = sign(read, "--reason", "Q3")
    assert (first["after"], first["until"], first["position"]) == (0, head, head + 1)
    assert counts(first) == (2, 1, 1)
    read.ok("credential", "get", "Mail", "--as", "user:ann")
    second = sign(auditor_of_it, note="one read")
    assert (second["after"], counts(second)) == (first["until"], (1, 0, 0))
    rows = auditor_of_it.ok("audit", "review", "--list")
    assert rows == read.ok("audit", "review", "--list")
    rows.reverse()
    assert [(one["by"], one["note"]) for one in rows] == [
        ("operator:1/alice", "nothing odd"), ("auditor:2/ada", "one read"),
    ]  # fmt: skip
    assert [counts(one) for one in rows] == [(2, 1, 1), (1, 0, 0)]
    assert read.ok("log", "verify", "--views")["ok"]


@pytest.fixture
def auditor_of_it(read):
    return auditor_of(read)


def test_it_is_one_event_and_the_list_is_a_question(read):
    """Signing off leaves `audit.reviewed`, listing leaves `audit.queried`."""
    before = read.ok("status")["position"]
    sign(read)
    read.ok("audit", "review", "--list")
    topics = [one["topic"] for one in read.ok("log", "events", "--after", str(before))]
    assert topics == ["audit.reviewed", "audit.queried"]


def test_an_earlier_time_is_reviewed_up_to_there(read):
    """What came later is left for the next review; what was reviewed is refused."""
    rows = read.ok("audit", "access")
    until = rows[1]["recorded_at"]
    ask = ("audit", "review", "--note", "so far")
    told = read.ok(*ask, "--until", until)
    assert (told["until"], counts(told)) == (rows[1]["position"], (2, 1, 0))
    read.fails(2, "reviewed-already", *ask, "--until", until)
    read.fails(2, "reviewed-already", *ask, "--until", "2001-01-01T00:00:00Z")
    assert counts(sign(read)) == (0, 0, 1)


def test_a_time_before_the_log_was_not_reviewed_but_holds_nothing(read):
    """In a log that was never reviewed, and there is still none."""
    words = ("audit", "review", "--note", "so far", "--until", "2001-01-01T00:00:00Z")
    read.fails(2, "nothing-recorded", *words)
    assert read.ok("audit", "review", "--list") == []


def test_what_is_no_review_is_refused_and_leaves_nothing(read):
    """No note, a note of many lines, a time to come, or two commands in one."""
    before = read.ok("status")["position"]
    review = ("audit", "review")
    read.fails(2, "review-what", *review)
    read.fails(2, "review-what", *review, "--until", "now")
    read.fails(2, "review-what", *review, "--list", "--note", "x")
    for further in (("--position", "1"), ("--since", "1h"), ("--after", "2"), ("--limit", "1")):
        read.fails(2, "review-what", *review, "--until", "now", "--note", "x", *further)
    for note in ("", "  ", "a\nb", "x" * 1025):
        read.fails(2, "invalid-note", *review, "--until", "now", "--note", note)
    read.fails(2, "future-time", *review, "--until", "2999-01-01T00:00:00Z", "--note", "x")
    read.fails(2, "invalid-time", *review, "--until", "soon", "--note", "x")
    assert read.ok("status")["position"] == before


def test_many_questions_of_an_auditor_hide_no_review(read, auditor_of_it):
    """The stream of an auditor holds the questions, too."""
    for _ in range(3):
        auditor_of_it.ok("audit", "access")
        sign(auditor_of_it)
        auditor_of_it.ok("audit", "changes")
    rows = auditor_of_it.ok("audit", "review", "--list")[::-1]
    assert [one["after"] for one in rows] == [0, *(one["until"] for one in rows[:-1])]
    assert len(rows) == 3


def test_status_tells_the_last_review_and_doctor_one_that_is_old(read, auditor_of_it, monkeypatch):
    """None before the first; found old after 90 days, and no more once another is made."""

    def codes(days):
        now = time.time_ns() // 1000 + days * DAY_US
        monkeypatch.setattr(Session, "now", lambda _: now)
        return [one["code"] for one in read("doctor").json["findings"]]

    assert read.ok("status")["last_access_review"] is None
    assert "review-old" not in codes(91)
    monkeypatch.undo()
    sign(read)
    second = sign(auditor_of_it)
    told = read.ok("status")["last_access_review"]
    assert told == auditor_of_it.ok("status")["last_access_review"]
    assert (told["position"], told["until"]) == (second["position"], second["until"])
    assert told["by"] == "auditor:2/ada"
    assert "review-old" not in codes(89)
    assert "review-old" in codes(91)
    monkeypatch.undo()
    sign(read)
    assert read.ok("status")["last_access_review"]["by"] == "operator:1/alice"
