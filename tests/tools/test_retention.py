"""`key retention` and `key hold`, and what every question says of records that are erased."""

from __future__ import annotations

import time

import pytest

import tools.wiring
from ledger.usecases.held_keys import HeldKeys

DAY_US = 86_400_000_000


@pytest.fixture
def later(monkeypatch):
    """Moves the clock on by so many days."""
    moved = [0]

    def clock():
        return time.time_ns() // 1000 + moved[0]

    def by(days):
        moved[0] += days * DAY_US

    monkeypatch.setattr(tools.wiring, "clock", clock)
    return by


@pytest.fixture
def old(payroll, later):
    """Three records, two months and more old."""
    payroll.set("payroll", "user:alice", User="a", Password="b")
    payroll.ok("credential", "get", "payroll", "--as", "user:alice")
    payroll.fails(4, "access-denied", "credential", "get", "nothing", "--as", "user:alice")
    payroll.fails(3, "credentials-not-set", "credential", "get", "payroll", "--as", "user:bob")
    for _ in range(3):
        later(30)
        payroll.ok("app", "update", "payroll", "--name", f"after {time.time_ns()}")
    return payroll


def positions(cli):
    return [one["position"] for one in cli.ok("audit", "access", "--limit", "0")]


def test_the_policy_is_set_shown_and_taken_back(cli):
    empty = cli.ok("key", "retention", "show")
    assert (empty["access_older_than_days"], empty["set_by"], empty["erasures"]) == (None, None, [])
    assert empty["final"] is False
    first = cli.ok("key", "retention", "set", "--access-older-than", "365", "--reason", "law")
    assert (first["access_older_than_days"], first["changed"]) == (365, True)
    again = cli.ok("key", "retention", "set", "--access-older-than", "365")
    assert (again["changed"], again["position"]) == (False, first["position"])
    shown = cli.ok("key", "retention", "show")
    assert (shown["access_older_than_days"], shown["set_by"]) == (365, "operator")
    assert cli.ok("key", "retention", "set", "--keep")["access_older_than_days"] is None
    assert cli.ok("key", "retention", "show")["access_older_than_days"] is None


def test_a_policy_that_is_none_changes_nothing(cli):
    size = cli.ok("status")["position"]
    cli.fails(2, "usage", "key", "retention", "set")
    cli.fails(2, "usage", "key", "retention", "set", "--keep", "--access-older-than", "40")
    cli.fails(2, "usage", "key", "retention", "set", "--access-older-than", "ages")
    cli.fails(2, "invalid-retention", "key", "retention", "set", "--access-older-than", "30")
    huge = str(10**40)
    cli.fails(2, "invalid-retention", "key", "retention", "set", "--access-older-than", huge)
    assert cli.ok("status")["position"] == size


def test_erasing_asks_and_says_how_much(old):
    old.ok("key", "retention", "set", "--access-older-than", "31")
    size = old.ok("status")["position"]
    planned = old.ok("key", "retention", "apply", "--dry-run")
    assert (planned["dry_run"], planned["records"], planned["position"]) == (True, 3, None)
    assert planned["months"] and planned["keys"] == len(planned["months"])
    old.fails(2, "not-confirmed", "key", "retention", "apply")
    assert old.ok("status")["position"] == size
    done = old.ok("key", "retention", "apply", "--yes", "--reason", "monthly")
    assert (done["months"], done["records"]) == (planned["months"], 3)
    assert done["position"] == size + 2
    # Nothing is left to be asked about, so a regular run needs no consent for nothing.
    idle = old.ok("key", "retention", "apply")
    assert (idle["months"], idle["position"], idle["until"]) == ([], None, done["until"])
    assert old.ok("log", "verify", "--views")["ok"]


def test_people_are_told_in_a_sentence(old):
    def said(*arguments):
        answer = old(*arguments, json_wanted=False)
        assert answer.code == 0, answer.err
        return answer

    assert "all access records are kept" in said("key", "retention", "apply").text
    said("key", "retention", "set", "--access-older-than", "31")
    (old.home.parent / "safe").mkdir()
    said("key", "backup", str(old.home.parent / "safe" / "keyring"))
    assert said("key", "retention", "apply", "--dry-run").text.startswith("Would erase ")
    done = said("key", "retention", "apply", "--yes")
    assert done.text.startswith("Erased ")
    assert ", 3 records, up to position" in done.text
    assert "auditor's old file" in done.err
    assert "once there is a newer one, destroy it" in done.err
    assert "Nothing is old enough" in said("key", "retention", "apply").text
    assert "are erased by policy at position" in said("key", "status").text


def test_a_hold_stops_it_and_says_where_to_look(old):
    old.ok("key", "retention", "set", "--access-older-than", "31")
    old.ok("key", "hold", "set", "Case 4711", "--reason", "counsel")
    refused = old.fails(4, "legal-hold", "key", "retention", "apply", "--yes")
    assert "key hold list" in refused["hint"]
    assert "4711" not in refused["message"] + refused["hint"]
    (hold,) = old.ok("key", "hold", "list")
    assert (hold["name"], hold["reason"], hold["by"]) == ("Case 4711", "counsel", "operator")
    assert old.ok("key", "retention", "apply", "--dry-run")["holds"] == ["Case 4711"]
    old.fails(5, "hold-exists", "key", "hold", "set", "case 4711")
    old.fails(3, "no-such-hold", "key", "hold", "release", "Case 1")
    old.fails(2, "invalid-hold", "key", "hold", "set", "")
    assert len(positions(old)) == 3
    assert old.ok("key", "hold", "release", "case 4711")["name"] == "Case 4711"
    assert old.ok("key", "retention", "apply", "--yes")["records"] >= 3
    assert positions(old) == []


@pytest.fixture
def cut(old, monkeypatch):
    """An erasure was killed between its record and the keyring's file."""

    class Cut(BaseException):
        pass

    def killed(*_):
        raise Cut

    old.ok("key", "retention", "set", "--access-older-than", "31")
    with monkeypatch.context() as patched:
        patched.setattr(HeldKeys, "destroy", killed)
        with pytest.raises(Cut):
            old("key", "retention", "apply", "--yes")
    (erasure,) = old.ok("key", "retention", "show")["erasures"]
    old.decided = erasure["position"]
    return old


def test_a_hold_that_comes_too_late_for_an_erasure_says_so_and_it_is_finished(cut):
    """What was decided is final: other hosts may have let the keys go already."""
    held = cut("key", "hold", "set", "Case", json_wanted=False)
    assert f"erasure decided at position {cut.decided} came before it" in held.err
    assert "Nothing is erased" not in held.text
    assert cut.ok("key", "hold", "set", "Other")["decided"] == cut.decided
    findings = {one["code"]: one["mend"] for one in cut.ok("doctor")["findings"]}
    assert findings["erasure-unfinished"] == "credledger key retention apply"
    shown = cut.ok("key", "retention", "show")
    assert (shown["unfinished"], shown["final"]) == (cut.decided, False)
    assert cut.ok("key", "retention", "apply", "--dry-run")["finishes"] == cut.decided
    done = cut.ok("key", "retention", "apply", "--yes")
    assert (done["finishes"], done["position"], done["months"]) == (cut.decided, None, [])
    assert (done["unfinished"], done["final"]) == (None, True)
    assert "erasure-unfinished" not in {one["code"] for one in cut.ok("doctor")["findings"]}
    cut.fails(4, "legal-hold", "key", "retention", "apply", "--yes")
    assert cut.ok("key", "hold", "set", "Third")["decided"] is None


def test_a_finished_erasure_is_told_to_people_with_what_still_opens_it(cut):
    cut.ok("key", "hold", "set", "Case")
    done = cut("key", "retention", "apply", "--yes", json_wanted=False)
    assert f"Finished the erasure decided at position {cut.decided}." in done.text
    assert "Nothing more is erased while a hold is set." in done.text
    assert "auditor's old file" in done.err


def test_every_question_says_so_instead_of_failing(old):
    old.ok("key", "retention", "set", "--access-older-than", "31")
    history = old.ok("credential", "history", "payroll", "--owner", "user:alice")
    events = old.ok("log", "events", "--limit", "0")
    *_, first = positions(old)
    done = old.ok("key", "retention", "apply", "--yes")
    fresh = old.ok("credential", "get", "payroll", "--as", "user:alice")["position"]
    why = f"erased by policy at position {done['position']}"
    told = old.ok("audit", "explain", str(first))
    assert (told["outcome"], told["why"], told["caller"]) == ("erased", why, None)
    assert old.ok("audit", "explain", str(fresh))["outcome"] == "granted"
    checked = old.ok("audit", "recheck")
    assert (checked["checked"], checked["wrong"]) == (1, [])
    assert checked["unreadable"] == [{"from": first, "to": first + 2, "why": why}]
    assert old.ok("credential", "history", "payroll", "--owner", "user:alice") == history
    assert old.ok("log", "events", "--limit", "0")[: len(events)] == events
    assert old.ok("key", "status")["erased"] == [
        {"position": done["position"], "until": done["until"]}
    ]
    (shown,) = old.ok("key", "retention", "show")["erasures"]
    assert (shown["position"], shown["until"]) == (done["position"], done["until"])
    assert old.ok("log", "verify")["ok"]
    changed = [one["event"] for one in old.ok("audit", "changes")]
    assert {"retention.set", "keys.destroying", "history.erased", "keys.destroyed"} <= set(changed)


@pytest.mark.parametrize(
    ("asked", "noted"),
    [
        ((), True),
        (("--limit", "0"), True),
        (("--user", "user:nobody"), True),
        (("--limit", "1"), False),
        (("--since", "1d"), False),
        (("--since", "300d"), True),
        (("--after", "1"), False),
        (("--after", "3"), True),
    ],
)
def test_an_answer_that_reaches_into_what_is_erased_ends_there_with_a_note(old, asked, noted):
    old.ok("key", "retention", "set", "--access-older-than", "31")
    done = old.ok("key", "retention", "apply", "--yes")
    old.ok("credential", "get", "payroll", "--as", "user:alice")
    answer = old("audit", "access", *asked)
    assert answer.code == 0
    assert all(one["outcome"] == "granted" for one in answer.json)
    assert (f"erased by policy at position {done['position']}" in answer.err) == noted


def test_no_altered_time_keeps_that_note_away(old, monkeypatch):
    """As if what was erased lay before the time that is asked for."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    old.ok("key", "retention", "apply", "--yes")
    told = "ledger.log.signed_rows.told_position_at"
    monkeypatch.setattr(told, lambda reading, size, at: reading.last_position())
    old.fails(8, "altered-row", "audit", "exposure", "user:alice", "--since", "300d")


@pytest.mark.parametrize(
    "asked",
    [
        ("leaver", "user:alice", "--yes"),
        ("leaver", "user:alice", "--dry-run"),
        ("leaver", "user:alice", "--dry-run", "--at", "1h"),
        ("audit", "exposure", "user:alice"),
        ("audit", "review", "--until", "1h", "--note", "nothing odd"),
        ("audit", "review", "--list"),
    ],
)
def test_whoever_acts_on_the_history_is_told_that_some_of_it_is_erased(old, asked):
    """That a person saw nothing, or that so many reads were reviewed, is said of what is left."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    done = old.ok("key", "retention", "apply", "--yes")
    answer = old(*asked)
    assert answer.code == 0, answer.err
    assert f"erased by policy at position {done['position']}" in answer.err


def test_a_review_of_what_came_after_an_erasure_has_no_note(old):
    old.ok("key", "retention", "set", "--access-older-than", "31")
    old.ok("key", "retention", "apply", "--yes")
    old.ok("audit", "review", "--until", "1h", "--note", "the beginning")
    old.ok("credential", "get", "payroll", "--as", "user:alice")
    answer = old("audit", "review", "--until", "0s", "--note", "nothing odd")
    assert (answer.code, answer.json["granted"], answer.err) == (0, 1, "")


def test_a_ledger_that_erased_nothing_has_no_note(old):
    assert old("audit", "access").err == ""


def test_erasure_is_final_once_no_key_backup_from_before_stands(old):
    old.ok("key", "retention", "set", "--access-older-than", "31")
    (old.home / "usb").mkdir()
    made = old.ok("key", "backup", str(old.home / "usb" / "keyring"))["position"]
    done = old.ok("key", "retention", "apply", "--yes")
    assert ([one["position"] for one in done["key_backups"]], done["final"]) == ([made], False)
    old.ok("key", "backup", str(old.home / "usb" / "newer"))
    old.ok("key", "backup", "attest-replaced", str(made))
    shown = old.ok("key", "retention", "show")
    assert (shown["key_backups"], shown["final"]) == ([], True)


def test_an_archive_with_erased_records_is_drilled_to_the_same_views(old):
    """Their rows do not open, so the views are folded past them from what the log tells."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    assert old.ok("key", "retention", "apply", "--yes")["records"] == 3
    old.ok("credential", "get", "payroll", "--as", "user:alice")
    old.ok("backup", "create", str(old.home.parent / "archive"))
    drilled = old.ok("backup", "drill")
    assert [view["same"] for view in drilled["views"]] == [True] * 5


FIVE_YEARS = 5 * 366


def rows(cli):
    return cli.ok("log", "events")


def test_whoever_only_looks_leaves_no_row_whatever_the_clock_says(old, later):
    """Neither that the clock was accepted, nor anything that goes along with it."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    before = rows(old)
    later(FIVE_YEARS)
    looking = (
        ("key", "retention", "apply", "--dry-run"),
        ("replay", "restore", "--position", "3", "--all", "--dry-run"),
        ("app", "list"),
        ("credential", "list"),
        ("status",),
        ("log", "verify", "--views"),
    )
    for command in looking:
        for options in ((), ("--accept-clock",)):
            assert old(*command, *options).code == 0, command
            assert rows(old) == before
    later(-FIVE_YEARS)
    old.ok("app", "update", "payroll", "--name", "of today")
    assert rows(old)[-1]["recorded_at"] < f"{time.gmtime().tm_year + 2}"


def test_a_clock_that_is_accepted_is_recorded_with_the_first_thing_that_is(old, later):
    """Once, and not again while the log keeps up with it."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    before = len(rows(old))
    later(FIVE_YEARS)
    apply = ("key", "retention", "apply", "--yes")
    old.fails(7, "clock-ahead", *apply)
    old.fails(7, "clock-ahead", "audit", "changes")
    assert len(rows(old)) == before
    assert old.ok(*apply, "--accept-clock")["keys"] > 0
    topics = [one["topic"] for one in rows(old)][before:]
    assert topics == ["keys.destroying", "history.erased", "clock.accepted", "keys.destroyed"]
    old.ok("app", "update", "payroll", "--name", "later", "--accept-clock")
    assert [one["topic"] for one in rows(old)].count("clock.accepted") == 1


def test_doctor_tells_of_clock_and_policy_in_words(old, later):
    """A unit that fits, in letters that any terminal has, and one of something as one."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    planned = old.ok("key", "retention", "apply", "--dry-run")["months"]
    later(25)
    old.ok("app", "update", "payroll", "--name", "of a clock ahead")
    later(-25)
    told = {one["code"]: one["message"] for one in old.ok("doctor")["findings"]}
    assert told["clock-behind"] == "The clock is 24 days behind the last recorded event."
    counted = "1 month" if len(planned) == 1 else f"{len(planned)} months"
    assert f"records of {counted} are older" in told["retention-due"]
