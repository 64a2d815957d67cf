"""`audit questions` on the command line, on each kind of store, and from an auditor's keyring."""

from __future__ import annotations

import json

import pytest

import projections.stretch
import tools.showing.listing
from ledger.aggregates.access import AuditQueried
from ledger.aggregates.actor import Actor
from ledger.aggregates.retention import Erasure, Retention
from projections.asked import Author, asked_questions
from projections.export import NOBODY
from tests.faults.test_auditors_attack import NO_EVENTS, audited, seal
from tests.faults.test_tampering import command_line
from tests.tools.conftest import auditor_of, found
from tests.tools.test_long_answers import recorded

__all__ = ["audited"]
ASK = ("audit", "questions")
FIELD = ("--field", "Password:password")


def ask_some(cli):
    """An operator asked twice, once for somebody, and signed a review off."""
    cli.ok("app", "create", "Mail", "--kind", "individual", *FIELD)
    cli.set("Mail", "user:ben", Password="p")
    cli.ok("credential", "get", "Mail", "--as", "user:ben")
    cli.ok("audit", "access", "--user", "user:ben", "--reason", "case 7")
    cli.ok("audit", "review", "--until", "now", "--note", "nothing odd")
    cli.ok("credential", "history", "Mail", "--owner", "user:ben", "--as", "user:ben")
    cli.ok("leaver", "user:ben", "--yes")


@pytest.fixture
def asked(begun):
    return begun(found, ask_some)


def questions(rows):
    return [row["question"] for row in rows]


def test_who_asked_what_is_listed_newest_first(asked):
    """With filter, number of rows and reason; the question itself is what the next one shows."""
    rows = asked.ok(*ASK)
    assert questions(rows) == ["leaver user:ben", "credential history", "review", "access"]
    leaver, of_ben, review, access = rows
    assert access["filter"] == {"user": "user:ben", "limit": 100}
    assert (access["rows"], access["reason"], access["by"]) == (1, "case 7", "operator")
    assert access["authenticated_by"].startswith("operator:1/")
    assert (review["filter"]["note"], review["rows"]) == ("nothing odd", 1)
    assert (of_ben["by"], of_ben["filter"]) == (
        "user:ben", {"app": "Mail", "owner": "user:ben"},
    )  # fmt: skip
    assert (leaver["filter"], leaver["unreadable"]) == (None, None)
    again = asked.ok(*ASK)
    assert again[1:] == rows
    assert (again[0]["question"], again[0]["filter"]) == ("questions", {"limit": 100})
    assert again[0]["rows"] == len(rows)


def test_each_auditor_is_told_from_operators_and_by_their_slot(asked):
    """By class, slot or claim; from their own keyring, and recorded as any question."""
    rows = asked.ok(*ASK)
    auditor = auditor_of(asked)
    assert questions(auditor.ok(*ASK, "--require-record")) == ["questions", *questions(rows)]
    (mine,) = asked.ok(*ASK, "--by", "auditor")
    slot = mine["authenticated_by"].partition("/")[0]
    assert (mine["by"], slot.partition(":")[0]) == ("auditor", "auditor")
    assert asked.ok(*ASK, "--by", slot) == [mine]
    assert asked.ok(*ASK, "--by", "auditor:99") == []
    assert asked.ok(*ASK, "--by", "user:ben") == [rows[1]]
    assert asked.ok(*ASK, "--by", "operator", "--position", str(rows[2]["position"])) == rows[2:]
    assert asked.ok(*ASK, "--since", rows[1]["recorded_at"], "--by", "user:ben") == [rows[1]]


def test_a_long_answer_comes_in_pages(asked, monkeypatch):
    """A limit tells how to go on; each page is recorded, and none shows that of another."""
    rows = asked.ok(*ASK)
    end = ("--position", str(rows[0]["position"]))
    first = asked(*ASK, *end, "--limit", "3")
    assert first.json == rows[:3] and f"--after {rows[2]['position']};" in first.err
    assert asked.ok(*ASK, *end, "--after", str(rows[2]["position"])) == rows[3:]
    monkeypatch.setattr(tools.showing.listing, "PAGE_ROWS", 2)
    monkeypatch.setattr(projections.stretch, "_PART_ROWS", 2)
    before = len(recorded(asked, "questions"))
    whole = asked.ok(*ASK, "--limit", "0")
    assert questions(whole) == ["export", "questions", "questions", "questions", *questions(rows)]
    assert (whole[-len(rows) :], before) == (rows, 3)
    told = recorded(asked, "questions")[before:]
    assert [count for _, count in told] == [2, 2, 2, 2]
    assert told[1] == ({"limit": 0, "after": whole[1]["position"]}, 2)


def test_an_archive_tells_what_had_been_asked(asked):
    """Nothing is recorded in it, and that is said."""
    rows = asked.ok(*ASK)
    archive = str(asked.home / "archive")
    asked.ok("backup", "create", archive)
    answer = asked(*ASK, "--archive", archive)
    assert answer.json[1:] == rows and "was not recorded" in answer.err
    asked.fails(7, "query-unrecorded", *ASK, "--archive", archive, "--require-record")


def test_people_see_a_table(asked):
    """The filter in words, as it was asked."""
    lines = asked(*ASK, json_wanted=False).text.splitlines()
    row = dict(zip(lines[0].split("\t"), lines[-1].split("\t"), strict=True))
    assert (row["Question"], row["Filter"]) == ("access", "user user:ben, limit 100")
    assert (row["By"], row["Rows"], row["Reason"], row["Unreadable"]) == (
        "operator", "1", "case 7", "-",
    )  # fmt: skip


def test_what_nobody_can_mean_is_refused(asked):
    """No author and no claim; nothing is recorded of it."""
    position = asked.ok("status")["position"]
    for by in ("ann", "auditor:", "auditor:x", "operator:1/ann@host", ""):
        asked.fails(2, "invalid-claim", *ASK, "--by", by)
    assert asked.ok("status")["position"] == position


def test_explaining_a_question_points_to_this_list(asked):
    """A question is no attempt to read, and the hint tells which command tells of it."""
    (newest, *_) = asked.ok(*ASK)
    error = asked.fails(3, "no-such-record", "audit", "explain", str(newest["position"]))
    assert (
        f"`credledger audit questions --position {newest['position']} --limit 1`" in error["hint"]
    )


def test_an_erased_question_is_told_to_have_been_there(audited):
    """Whoever is asked for, with what erased it; later ones are told as ever."""
    gone, kept = (seal(audited, AuditQueried(text, 1)) for text in ("access", "changes"))
    ledger = audited.open()
    retention = Retention(erasures=(Erasure(kept + 1, gone, 0, "operator"),))
    rows = asked_questions(
        ledger._writer.store, ledger._desk.mapper, retention, NOBODY, Author("user:eve")
    )
    assert [(one["position"], one["question"], one["unreadable"]) for one in rows] == [
        (gone, None, f"erased by policy at position {kept + 1}")
    ]
    rows = asked_questions(ledger._writer.store, ledger._desk.mapper, retention, NOBODY)
    assert [one["question"] for one in rows] == ["changes", None]


def test_what_an_auditor_seals_in_an_operators_name_is_nobodys(audited):
    """The row is told, and that its author is not who signed for it."""
    cli = command_line(audited)
    operator = Actor("user:petra", 1, "alice", "petra@hq", "operator")
    position = seal(audited, AuditQueried("what petra asked", 1), actor=operator)
    (row,) = cli.ok(*ASK, "--by", "user:petra")
    assert (row["position"], row["unreadable"]) == (position, "foreign-author")
    assert "petra" not in json.dumps(row)


@pytest.mark.parametrize("name", NO_EVENTS)
def test_what_is_no_event_in_an_auditors_stream_stops_nobody(audited, name):
    """It is listed as what cannot be read, and what lies around it as ever."""
    cli = command_line(audited)
    before = seal(audited, AuditQueried("access", 1))
    position = seal(audited, AuditQueried("x", 1), text=NO_EVENTS[name])
    told = [(one["position"], one["unreadable"]) for one in cli.ok(*ASK)]
    assert told == [(position, "malformed-event"), (before, None)]


ODD = (
    'access {"user": 1',
    'access {"a": NaN}',
    'access {"a": "\\ud800"}',
    'access {"a": {"b": 1}}',
    "access {" + '"a":[' * 50_000,
    "access {",
    " {",
    "",
    "\x1b[31m {\n",
)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_a_filter_that_is_none_of_ours_is_told_as_it_was_recorded(audited, text):
    """All of it is question; a table spells out what a terminal would obey."""
    cli = command_line(audited)
    seal(audited, AuditQueried(text, 1))
    (row,) = cli.ok(*ASK)
    assert (row["question"], row["filter"]) == (text, None)
    table = cli(*ASK, "--by", "auditor", json_wanted=False)
    assert table.code == 0 and len(table.text.splitlines()) == 2
    assert "\x1b" not in table.text
