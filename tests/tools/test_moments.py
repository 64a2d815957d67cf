"""Questions of the auditor as of a moment, and in parts, on each kind of store."""

from __future__ import annotations

import json
import time

import pytest

import projections.stretch
import tools.wiring
from tests.tools.conftest import auditor_of, found
from tools.when import to_text

ANN, BOB = "user:ann", "user:bob"
FIELD = ("--field", "Password:password")
TO_COME = "2999-01-01T00:00:00Z"


def furnish(cli):
    cli.ok("app", "create", "Mail", "--kind", "individual", *FIELD, "--member", ANN)
    cli.ok("app", "create", "Gone", "--kind", "group", "--member", ANN, *FIELD)
    cli.ok("role", "grant", "auditor", ANN)
    cli.set("Mail", ANN, Password="one")
    cli.ok("credential", "get", "Mail", "--as", ANN)
    cli.fails(4, "access-denied", "credential", "get", "Typo", "--as", BOB)
    cli.set("Mail", ANN, Password="two")
    cli.ok("credential", "get", "Mail", "--as", ANN)
    cli.ok("app", "delete", "Gone", "--yes")
    cli.ok("role", "revoke", "auditor", ANN)
    cli.ok("audit", "review", "--until", "now", "--note", "first")
    cli.ok("credential", "delete", "Mail", "--owner", ANN, "--yes")
    cli.ok("audit", "review", "--until", "now", "--note", "second")


@pytest.fixture
def told(begun):
    """A value that was read, changed, read again and deleted."""
    return begun(found, furnish)


@pytest.fixture
def auditor(told):
    """An auditor of the same ledger."""
    return auditor_of(told)


@pytest.fixture
def rows(told):
    """Every row by its position, from the first of an operator's doing on."""
    return {one["position"]: one for one in told.ok("log", "events", "--limit", "0")}


def placed(rows, topic, number=0):
    """The position of the so-manieth row of a topic."""
    return [position for position, one in rows.items() if one["topic"] == topic][number]


def positions(listed):
    return [one["position"] for one in listed]


LISTS = {
    ("access",): "access.",
    ("changes",): ("application.", "credential.", "role.", "slot."),
    ("review", "--list"): "audit.reviewed",
}


@pytest.mark.parametrize("question", LISTS)
def test_a_list_as_of_a_moment_is_the_list_of_then(auditor, rows, question):
    """Named by position or by time, and each row as the whole list has it."""
    ask = ("audit", *question, "--limit", "0")
    whole = auditor.ok(*ask)
    assert positions(whole) == sorted(positions(whole), reverse=True)
    for position in (1, *positions(whole)):
        then = [one for one in whole if one["position"] <= position]
        assert auditor.ok(*ask, "--position", str(position)) == then
        assert auditor.ok(*ask, "--until", rows[position]["recorded_at"]) == then
        since = [one for one in whole if one["position"] >= position]
        assert auditor.ok(*ask, "--since", rows[position]["recorded_at"]) == since


@pytest.mark.parametrize("part_rows", [1, 4000])
@pytest.mark.parametrize("question", LISTS)
def test_parts_of_a_list_make_up_the_whole(auditor, rows, monkeypatch, question, part_rows):
    """Whatever is walked over at a time, within any range; none twice and none left out."""
    monkeypatch.setattr(projections.stretch, "_PART_ROWS", part_rows)
    ask = ("audit", *question)
    end = list(rows)[-3]
    for bounds in ((), ("--position", str(end)), ("--since", rows[3]["recorded_at"])):
        whole = auditor.ok(*ask, *bounds, "--limit", "0")
        gathered, after = [], ()
        while part := auditor.ok(*ask, *bounds, "--limit", "2", *after):
            gathered += part
            after = ("--after", str(part[-1]["position"]))
        assert gathered == whole
        assert whole


def test_a_part_says_that_there_are_more_and_is_recorded_as_it_was_asked(auditor):
    """The range, the limit and the cursor stand in the record."""
    answer = auditor("audit", "changes", "--limit", "2", "--after", "6", "--position", "8")
    assert f"more than 2 rows: go on with --after {answer.json[-1]['position']};" in answer.err
    text = auditor("audit", "export", "--format", "jsonl", json_wanted=False).text
    recorded = [json.loads(line) for line in text.splitlines()]
    (asked,) = [one["detail"] for one in recorded if one["event"] == "audit.queried"][-1:]
    assert asked["rows"] == 2
    assert asked["filter"] == 'changes {"position": 8, "limit": 2, "after": 6}'


def test_what_was_seen_by_then_and_whether_it_had_been_changed_by_then(auditor, rows):
    """One version read and current; the same one changed; both read; nothing set any more."""
    ask = ("audit", "exposure", ANN)

    def then(position, *further):
        told = auditor.ok(*ask, "--position", str(position), *further)
        by_time = auditor.ok(*ask, "--at", rows[position]["recorded_at"], *further)
        assert told == by_time
        return [(one["version"], one["times"], one["changed_since"], one["set"]) for one in told]

    first, second = (placed(rows, "access.granted", number) for number in (0, 1))
    assert then(first - 1) == []
    assert then(first) == then(first + 1) == [(1, 1, False, True)]
    assert then(second - 1) == [(1, 1, True, True)]
    assert then(second - 1, "--open") == []
    assert then(second) == [(1, 1, True, True), (2, 1, False, True)]
    assert then(placed(rows, "credential.deleted")) == [(1, 1, True, False), (2, 1, False, False)]
    assert auditor.ok(*ask) == auditor.ok(*ask, "--at", "now")


def test_an_auditor_is_shown_what_a_leaver_would_have_lost(auditor, told, rows):
    """Now as an operator is shown it, and at any moment; taking it stays the operator's."""
    look = ("leaver", ANN, "--dry-run")
    now = auditor.ok(*look)
    shown = told.ok(*look)
    assert {**now, "position": 0} == {**shown, "position": 0}
    assert ([one["application"] for one in now["revoked"]], now["rights"]) == (["Mail"], [])
    then = auditor.ok(*look, "--position", str(placed(rows, "access.granted")))
    assert [(one["application"], one["role"]) for one in then["revoked"]] == [
        ("Gone", "member"), ("Mail", "member"),
    ]  # fmt: skip
    assert then["rights"] == ["auditor"]
    assert then["nobody_reads"] == ["Gone", "Mail"]
    assert [one["version"] for one in then["to_change"]] == [1]
    assert then["own"] == [{"application": "Mail", "version": 1}]
    assert then["position"] == placed(rows, "access.granted")
    same = told.ok(*look, "--at", "now")
    assert {**same, "position": 0} == {**shown, "position": 0}
    newest = told.ok("log", "events", "--after", str(same["position"]))
    assert [one["topic"] for one in newest] == ["audit.queried"]
    auditor.fails(4, "operator-needed", "leaver", ANN, "--yes")


def test_only_a_dry_run_asks(told):
    """What asks, without it, takes nothing from anybody."""
    position = told.ok("status")["position"]
    for further in (
        ("--at", "now"),
        ("--position", "3"),
        ("--require-record",),
        ("--archive", "x"),
    ):
        told.fails(2, "dry-run-only", "leaver", ANN, "--yes", *further)
    assert told.ok("status")["position"] == position


def test_self_granted_and_unusual_reads_are_those_of_then(told, rows):
    """What came behind the position is not judged by, and not shown."""
    first, second = (placed(rows, "access.granted", number) for number in (0, 1))
    ask = ("audit", "access", "--unusual", "--bulk", "2/1h")
    (then,) = told.ok(*ask, "--position", str(second - 1))
    assert then["position"] == first
    assert "bulk" not in then["unusual"]
    now = told.ok(*ask)
    assert positions(now) == [second, first]
    assert all("bulk" in one["unusual"] for one in now)
    made = ("app", "create", "Own", "--kind", "group", *FIELD, "--as", BOB, "--member", BOB)
    told.ok("role", "grant", "create-application", BOB)
    told.ok(*made)
    told.set("Own", None, Password="own")
    read = told.ok("credential", "get", "Own", "--as", BOB)["position"]
    told.ok("credential", "get", "Own", "--as", BOB)
    mine = ("audit", "access", "--self-granted")
    assert len(told.ok(*mine)) == 2
    assert positions(told.ok(*mine, "--position", str(read))) == [read]
    assert told.ok(*mine, "--position", str(read - 1)) == []


BY_ISSUE = ("audit", "tickets")
ASKED = (
    ("audit", "access"),
    ("audit", "access", "--unusual"),
    ("audit", "access", "--self-granted"),
    ("audit", "changes"),
    ("audit", "tokens"),
    BY_ISSUE,
    ("audit", "questions"),
    ("audit", "review", "--list"),
)


@pytest.mark.parametrize("ask", ASKED)
def test_ranges_and_cursors_that_cannot_be_are_refused_alike(told, rows, ask):
    """To come, reversed, named twice, beyond the log or outside of the range; nothing recorded."""
    third = rows[3]["recorded_at"]
    for code, error, further in (
        (2, "future-time", ("--since", TO_COME)),
        (2, "future-time", ("--until", TO_COME)),
        (2, "reversed-range", ("--since", "1h", "--until", "2h")),
        (2, "reversed-range", ("--since", "now", "--position", "3")),
        (2, "two-moments", ("--until", "now", "--position", "3")),
        (3, "beyond-the-log", ("--position", "99999")),
        (3, "beyond-the-log", ("--after", "99999")),
        (2, "cursor-outside", ("--since", third, "--after", "2")),
        (2, "cursor-outside", ("--position", "3", "--after", "4")),
        (2, "cursor-outside", ("--until", third, "--after", "9")),
        (2, "usage", ("--after", "0")),
    ):
        if ask == BY_ISSUE and further[0] == "--since" and further[-1] == "2":
            continue  # there may lie the issue of a ticket that ended in the range
        told.fails(code, error, *ask, *further)
    assert told.ok("status")["position"] == len(rows)


def test_other_questions_take_no_time_to_come_either(told, rows):
    """The same rule for each of them."""
    for ask in (
        ("audit", "exposure", ANN, "--at", TO_COME),
        ("audit", "exposure", ANN, "--since", TO_COME),
        ("audit", "export", "--format", "jsonl", "--until", TO_COME),
        ("audit", "who-can", "Mail", "--at", TO_COME),
        ("audit", "recheck", "--until", TO_COME),
        ("leaver", ANN, "--dry-run", "--at", TO_COME),
        ("replay", "state", "--at", TO_COME),
        ("replay", "diff", "1", TO_COME),
        ("replay", "restore", "--at", TO_COME, "--all", "--yes"),
        ("credential", "restore", "Mail", "--owner", ANN, "--at", TO_COME),
        ("credential", "restore", "Mail", "--owner", ANN, "--at", TO_COME, "--dry-run"),
    ):
        told.fails(2, "future-time", *ask)
    assert told.ok("status")["position"] == len(rows)
    told.fails(2, "two-moments", "audit", "exposure", ANN, "--at", "now", "--position", "3")
    told.fails(2, "two-moments", "leaver", ANN, "--dry-run", "--at", "now", "--position", "3")
    told.fails(2, "two-moments", "audit", "recheck", "--until", "now", "--position", "3")
    told.fails(2, "reversed-range", "audit", "recheck", "--since", "1h", "--until", "2h")
    told.fails(3, "beyond-the-log", "audit", "recheck", "--position", "99999")
    told.fails(3, "beyond-the-log", "audit", "exposure", ANN, "--position", "99999")
    assert told.ok("status")["position"] == len(rows)


def test_an_application_that_there_never_was_is_told(told, rows):
    """Without a row it is an error and nothing else; rows of who asked for it come with a note."""
    for question in ("access", "changes"):
        told.fails(3, "no-such-application", "audit", question, "--app", "Nothing")
        shown = told("audit", question, "--app", "Nothing", json_wanted=False)
        assert (shown.code, shown.out) == (3, b"")
        assert "knows no" not in told("audit", question, "--app", "Gone").err
        created = placed(rows, "application.created", 1)
        of_then = ("--app", "Gone", "--position", str(created - 1))
        told.fails(3, "no-such-application", "audit", question, *of_then)
    mistyped = told("audit", "access", "--app", "Typo")
    assert mistyped.code == 0
    assert len(mistyped.json) == 1
    assert "The log knows no target application of this ID" in mistyped.err


def test_a_report_as_of_a_position_shows_what_was_there(told, rows):
    """It ends where it is told to, by position or by the time of that row."""
    first = placed(rows, "access.granted")
    by = {
        "position": ("--position", str(first)),
        "time": ("--until", rows[first]["recorded_at"]),
    }
    for name, asked in by.items():
        page = told.home / f"{name}.html"
        assert told.ok("audit", "report", str(page), *asked)["position"] == first
    assert told.ok("audit", "report", str(told.home / "now.html"))["position"] > first


@pytest.fixture
def misdated(told, monkeypatch):
    """A clock ran three weeks ahead for one row; what came after it is dated after it."""
    moved = [3 * 7 * 86_400_000_000]
    monkeypatch.setattr(tools.wiring, "clock", lambda: time.time_ns() // 1000 + moved[0])
    told.ok("app", "update", "Mail", "--name", "ahead", "--accept-clock")
    moved[0] = 0
    told.ok("app", "revoke", "Mail", "member", ANN)
    told.ok("app", "grant", "Mail", "member", BOB)
    told.set("Mail", BOB, Password="three")
    told.ok("credential", "get", "Mail", "--as", BOB)
    return told


def readers(answer):
    return {one["claim"] for one in answer}


def test_now_is_the_end_of_a_log_that_is_dated_ahead_of_the_clock(misdated):
    """Whoever was revoked since is not told to have access, nor is anything taken back."""
    who = ("audit", "who-can", "Mail")
    assert readers(misdated.ok(*who, "--at", "now")) == readers(misdated.ok(*who)) == {BOB}
    newest = misdated.ok("audit", "access", "--until", "now")[0]
    assert newest["caller"] == BOB
    assert misdated.ok("audit", "exposure", BOB, "--at", "now")[0]["times"] == 1
    state = misdated.ok("replay", "state", "--at", "now")
    assert BOB in {one["owner"] for one in state["credentials"]}
    planned = misdated.ok("replay", "restore", "--at", "now", "--all", "--dry-run")
    assert not any(planned["credentials"].values())
    assert not any(planned["applications"].values())
    signed = misdated.ok("audit", "review", "--until", "now", "--note", "third")
    assert signed["until"] > newest["position"]
    shown = newest["recorded_at"]
    assert misdated.ok("audit", "access", "--until", shown, "--since", shown) == [newest]


def test_a_time_that_rows_dated_ahead_may_be_older_than_is_refused(misdated):
    """Before them there is no doubt, a position has none, and what begins there leaves none out."""
    size = misdated.ok("status")["position"]
    for ask in (
        ("audit", "who-can", "Mail", "--at", "0s"),
        ("audit", "access", "--until", "0s"),
        ("audit", "export", "--format", "jsonl", "--until", "0s"),
        ("audit", "review", "--until", "0s", "--note", "third"),
        ("replay", "state", "--at", "0s"),
        ("replay", "diff", "1", "0s"),
        ("replay", "restore", "--at", "0s", "--all", "--yes"),
        ("credential", "restore", "Mail", "--owner", BOB, "--at", "0s"),
    ):
        misdated.fails(2, "moment-unclear", *ask)
    assert misdated.ok("status")["position"] == size
    times = [one["recorded_at"] for one in misdated.ok("log", "events", "--limit", "0")]
    before = max(one for one in times if one < to_text(time.time_ns() // 1000))
    who = ("audit", "who-can", "Mail")
    assert readers(misdated.ok(*who, "--at", before)) == {ANN}
    assert readers(misdated.ok(*who, "--position", str(size))) == {BOB}
    assert misdated.ok("audit", "access", "--since", "0s")[0]["caller"] == BOB
