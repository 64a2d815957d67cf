"""What the read side answers once somebody has written to the log, with leaves that fit.

Rows are changed far below the head, on a host whose memory would stop a release. Answers that walk
the log hold each row against the signed heads, so they stop; those that views point at open the
rows alone, and say what `log verify` and `log verify --views` then call damaged.
"""

from __future__ import annotations

import time
from itertools import product

import pytest

import projections.moment
import tools.wiring
from ledger.claims import parse_claim
from ledger.errors import LedgerError, Tampered
from ledger.log import signed_rows
from ledger.log.rows import LogRow
from ledger.log.snapshot import LOG_COLUMNS
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.changes import changes
from projections.documents import time_text
from projections.explanation import explain
from projections.moment import state_at
from projections.redecide import redecide
from projections.streams import position_at
from projections.stretch import Stretch
from tests.faults.test_tampering import (
    attack,
    command_line,
    failed,
    recompute_leaves,
    without_constraints,
)
from tools.report import reports

ALICE, MALLORY = parse_claim("user:alice"), parse_claim("user:mallory")
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
MINUTE_US = 60_000_000


def fill(house):
    """3 created, 4 set, 5 read by Mallory, 6 revoked, 7 read by Alice, 8 set, 9 created."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice", "user:mallory"))
    ledger.set_credentials(Acting(), "CRM", None, PAIR)
    ledger.retrieve(Caller(MALLORY), "CRM")
    ledger.revoke(Acting(), "CRM", "member", "user:mallory")
    ledger.retrieve(Caller(ALICE), "CRM")
    ledger.set_credentials(Acting(), "CRM", None, PAIR)
    ledger.create_application(Acting(), "Last", kind="individual")
    ledger.close()


@pytest.fixture
def filled(prepared):
    return prepared(fill)


def row_at(house, position: int) -> LogRow:
    return LogRow(*house.sql(f"SELECT {LOG_COLUMNS} FROM log WHERE position = ?", position)[0])


def put(house, row: LogRow) -> None:
    house.sql(f"INSERT INTO log ({LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)


def taken_away(house):
    attack(house, "DELETE FROM log WHERE position = 5")


def told_later(house):
    attack(house, "UPDATE log SET recorded_at = recorded_at + 1 WHERE position = 5")


def told_twice(house):
    without_constraints(house, "log")
    put(house, row_at(house, 5)._replace(position=7))


def told_instead(house):
    """Mallory's read stands where Alice's was, in the view as well."""
    without_constraints(house, "log")
    row = row_at(house, 5)._replace(position=7, recorded_at=row_at(house, 7).recorded_at)
    house.sql("DELETE FROM log WHERE position = 7")
    put(house, row)


ATTACKS = [taken_away, told_later, told_twice, told_instead]


@pytest.mark.parametrize("change", ATTACKS)
def test_answers_that_walk_the_log_stop_at_what_nobody_signed(filled, change):
    ledger = filled.open()
    mapper, store = ledger._desk.mapper, filled.store()
    assert redecide(store, mapper)["wrong"] == []
    change(filled)
    recompute_leaves(filled) if change is told_later else None
    if change in (told_twice, told_instead):
        fit_the_leaf(filled, 7)
    for ask in (
        lambda: redecide(store, mapper),
        lambda: state_at(store, mapper),
        lambda: state_at(store, mapper, position=8),
        ledger.views.changes,
        lambda: ledger.views.changes(since=row_at(filled, 3).recorded_at),
        lambda: explain(store, mapper, 7),
    ):
        with pytest.raises(Tampered):
            ask()
    ledger.close()
    assert failed(filled)
    cli = command_line(filled)
    assert cli("audit", "recheck").code == cli("audit", "changes").code == 8
    assert cli("replay", "state", "--position", "8").code == 8


def fit_the_leaf(house, position: int) -> None:
    ledger_id = read_keyring(house.keyring_path).ledger_id
    for columns in house.sql(f"SELECT {LOG_COLUMNS} FROM log WHERE position = ?", position):
        row = LogRow(*columns)
        house.sql(
            "UPDATE log SET leaf = ? WHERE position = ? AND sealed = ?",
            row.computed_leaf(ledger_id),
            position,
            row.sealed,
        )


def test_a_state_of_then_needs_nothing_that_came_later(filled):
    """Damage behind the page that a question is about is not its concern."""
    ledger = filled.open()
    mapper, store = ledger._desk.mapper, filled.store()
    for number in range(520):
        ledger.grant(Acting(), "CRM", "administrator", f"user:u{number}")
    then = state_at(store, mapper, position=8)
    end = ledger.head().size
    ledger.close()
    attack(filled, f"DELETE FROM log WHERE position = {end}")
    assert state_at(store, mapper, position=8) == then
    with pytest.raises(Tampered):
        state_at(store, mapper)


def test_a_time_that_was_altered_does_not_mislead_where_a_question_begins(filled):
    """The search for the beginning looks at row 5 first, and would take it for an earlier one."""
    ledger = filled.open()
    since = row_at(filled, 4).recorded_at
    assert [one["position"] for one in ledger.views.changes(since=since)] == [4, 6, 8, 9]
    attack(filled, f"UPDATE log SET recorded_at = {since - 1} WHERE position = 5")
    recompute_leaves(filled)
    with pytest.raises(Tampered) as caught:
        ledger.views.changes(since=since)
    assert caught.value.position == 5
    ledger.close()


@pytest.mark.parametrize("away", [-9, -2, -1, 1, 2, 9])
def test_times_that_are_altered_while_they_are_looked_up_mislead_nobody(filled, monkeypatch, away):
    """They are put back before rows are checked, so that only the rows walked over tell a place."""
    ledger = filled.open()
    mapper, store = ledger._desk.mapper, filled.store()
    times = [None, *(row_at(filled, position).recorded_at for position in (3, 5, 7, 9))]
    monkeypatch.setattr("projections.stretch._PART_ROWS", 3)

    def answers():
        for since, until in product(times, times):
            stretch = Stretch(since, until)
            yield redecide(store, mapper, stretch=stretch)
            for after in (None, 4, 6, 8):
                told = changes(store, mapper, stretch=stretch, after=after)
                yield [one["position"] for one in told]

    true = list(answers())

    def misled(reading, at):
        return min(max(position_at(reading, at) + away, 0), reading.last_position())

    monkeypatch.setattr("projections.stretch.position_at", misled)
    assert list(answers()) == true
    ledger.close()


def test_no_review_is_signed_by_times_that_were_altered(filled):
    """Row 5, Mallory's read, would count as reviewed, though it came after the time named."""
    cli = command_line(filled)
    moment, then = (row_at(filled, position).recorded_at for position in (4, 5))
    asked = ("audit", "review", "--until", time_text(moment), "--note", "seen")
    attack(filled, f"UPDATE log SET recorded_at = {moment} WHERE position = 5")
    answer = cli(*asked)
    assert (answer.code, answer.error["code"]) == (8, "altered-row")
    attack(filled, f"UPDATE log SET recorded_at = {then} WHERE position = 5")
    assert cli(*asked).json["until"] == 4


@pytest.mark.parametrize("gone", ["4", "4 OR position = 8"])
def test_a_stream_that_lacks_what_is_not_its_newest_is_told_by_nobody(filled, gone):
    """Of CRM's credentials 4 is the first version, 8 the second and 10 the third."""
    ledger = filled.open()
    ledger.set_credentials(Acting(), "CRM", None, PAIR)
    assert [one["version"] for one in ledger.views.history("CRM", None)] == [1, 2, 3]
    attack(filled, f"DELETE FROM log WHERE position = {gone}")
    with pytest.raises(Tampered) as caught:
        ledger.views.history("CRM", None)
    assert caught.value.code == "stream-gap"
    ledger.close()


def test_where_a_time_lies_is_told_by_the_rows_beside_it(filled, monkeypatch):
    """Times that were altered elsewhere may lead to another place, whose own rows are true."""
    ledger = filled.open()
    with filled.store().reading() as reading:
        size, named = reading.last_position(), reading.ledger()
        times = [row_at(filled, position).recorded_at for position in range(1, size + 1)]
        moments = [(at + by, place + by) for place, at in enumerate(times, 1) for by in (-1, 0)]
        for at, place in moments:
            assert signed_rows.signed_position_at(reading, named, size, at) == place
        for at, place in moments:
            for led_to in {*range(size + 1)} - {place}:
                monkeypatch.setattr(signed_rows, "told_position_at", lambda *_, to=led_to: to)
                with pytest.raises(Tampered) as caught:
                    signed_rows.signed_position_at(reading, named, size, at)
                assert caught.value.code == "altered-row"
    ledger.close()


def test_a_time_that_is_none_is_met_on_the_way_to_a_place(filled):
    ledger = filled.open()
    without_constraints(filled, "log")
    filled.sql("UPDATE log SET recorded_at = NULL WHERE position = 5")
    with filled.store().reading() as reading, pytest.raises(Tampered) as caught:
        signed_rows.told_position_at(reading, 9, row_at(filled, 9).recorded_at)
    assert (caught.value.code, caught.value.position) == ("altered-row", 5)
    ledger.close()


@pytest.fixture
def misdated(filled, monkeypatch):
    """Row 10 is dated three weeks ahead, as is what came after: 11 revokes Alice."""
    ahead_us = [3 * 7 * 24 * 60 * MINUTE_US]
    monkeypatch.setattr(tools.wiring, "clock", lambda: time.time_ns() // 1000 + ahead_us[0])
    cli = command_line(filled)
    named = ("app", "update", "CRM", "--name")
    assert cli(*named, "ahead", "--accept-clock").code == 0
    ahead_us[0] = 0
    assert cli("app", "revoke", "CRM", "member", "user:alice").json["position"] == 11
    assert cli(*named, "back").json["position"] == 12
    return cli


@pytest.mark.parametrize("at", ["now", "0s"])
def test_no_altered_time_tells_what_the_present_is(filled, misdated, monkeypatch, at):
    """By the clock alone, Alice could read it still; the newest row lies behind the last page."""
    monkeypatch.setattr("projections.streams._WALK_PAGE_ROWS", 2)
    asked = ("audit", "who-can", "CRM", "--at", at)
    true = misdated(*asked)
    assert true.json == [] if at == "now" else true.error["code"] == "moment-unclear"
    end = misdated("status").json["position"]
    attack(filled, f"UPDATE log SET recorded_at = 0 WHERE position = {end}")
    told = misdated(*asked)
    assert (told.code, told.error["code"]) == (8, "altered-row") or told.json == true.json == []


@pytest.mark.parametrize("away", [-1, 1])
def test_no_altered_time_clears_a_moment_that_rows_dated_ahead_may_be_older_than(
    filled, misdated, monkeypatch, away
):
    """They are put back before the log is walked over, which ends at the first row ahead."""
    moment = row_at(filled, 9).recorded_at + 1
    asked = ("audit", "who-can", "CRM", "--at", time_text(moment))
    assert misdated(*asked).error["code"] == "moment-unclear"
    true = {position: row_at(filled, position).recorded_at for position in (10, 11)}
    walked = []

    def past_at(*arguments, **named):
        for position, recorded_at in true.items():
            attack(
                filled, f"UPDATE log SET recorded_at = {recorded_at} WHERE position = {position}"
            )
        walked.append(named)
        return projections.moment.past_at(*arguments, **named)

    monkeypatch.setattr("tools.asking.who_can.past_at", past_at)
    for position in true:
        attack(filled, f"UPDATE log SET recorded_at = {moment + away} WHERE position = {position}")
    told = misdated(*asked)
    assert (told.code, told.error["code"], walked) == (8, "altered-row", [])


def test_no_export_is_empty_by_times_that_were_altered(filled):
    """It walked over nothing then, so that nothing was checked."""
    cli = command_line(filled)
    until = time_text(row_at(filled, 8).recorded_at)
    asked = ("audit", "export", "--format", "jsonl", "--until", until, "--after", "2")
    assert len(cli(*asked).out.splitlines()) == 6
    attack(filled, f"UPDATE log SET recorded_at = recorded_at + {MINUTE_US} WHERE position > 2")
    told = cli(*asked)
    assert (told.code, told.out, told.error["code"]) == (8, b"", "altered-row")


@pytest.mark.parametrize(
    ("end", "altered", "by"),
    [
        ("--until", "position BETWEEN 5 AND 9", MINUTE_US),
        ("--position", "position = 8", -MINUTE_US),
    ],
)
def test_no_report_ends_by_times_that_were_altered(filled, monkeypatch, end, altered, by):
    """They are altered once the log was verified, and put back before it is walked over."""
    cli = command_line(filled)
    page = filled.keyring_path.with_name("report.html")
    named = {"--until": time_text(row_at(filled, 8).recorded_at), "--position": "8"}[end]
    asked = ("audit", "report", str(page), "--force", end, named)
    assert cli(*asked).json["rows"] == 8
    verified, folded = reports._verified, reports.fold_report

    def alter(by):
        attack(filled, f"UPDATE log SET recorded_at = recorded_at + {by} WHERE {altered}")

    def verified_then_altered(*arguments):
        told = verified(*arguments)
        alter(by)
        return told

    def put_back_then_folded(*arguments, **named):
        alter(-by)
        return folded(*arguments, **named)

    monkeypatch.setattr(reports, "_verified", verified_then_altered)
    monkeypatch.setattr(reports, "fold_report", put_back_then_folded)
    told = cli(*asked)
    assert (told.code, told.error["code"]) == (8, "altered-row")


def test_a_view_is_not_folded_over_a_row_that_is_missing_or_comes_twice(filled):
    ledger = filled.open()
    told_twice(filled)
    fit_the_leaf(filled, 7)
    ledger.views.drop_all()
    with pytest.raises(Tampered) as caught:
        ledger.views.accesses.newest()
    assert (caught.value.code, caught.value.position) == ("log-gap", 8)
    filled.sql("DELETE FROM log WHERE position = 7")
    with pytest.raises(Tampered) as caught:
        ledger.views.rebuild("access_history")
    assert (caught.value.code, caught.value.position) == ("log-gap", 7)
    ledger.close()


def test_what_views_point_at_can_be_moved_in_time_until_the_log_is_verified(filled):
    """The threat model says so; content stays what it was."""
    ledger = filled.open()
    true = ledger.views.accesses.newest(user="user:mallory")
    told_later(filled)
    recompute_leaves(filled)
    moved = ledger.views.accesses.newest(user="user:mallory")
    ledger.close()
    assert moved[0]["recorded_at"] != true[0]["recorded_at"]
    assert {**moved[0], "recorded_at": None} == {**true[0], "recorded_at": None}
    assert failed(filled) == [("wrong-frontier", 5)]


def test_what_is_taken_out_of_a_view_is_found_by_comparing_it(filled):
    attack(filled, "DELETE FROM access_history_a WHERE position = 5")
    cli = command_line(filled)
    assert cli("audit", "access", "--user", "user:mallory").json == []
    assert cli("log", "verify").code == 0
    assert cli("log", "verify", "--views").code == 8
    assert [one["position"] for one in cli("audit", "access", "--user", "user:mallory").json] == [5]


def test_a_store_that_names_another_ledger_is_not_walked(filled):
    ledger = filled.open()
    attack(filled, "UPDATE ledger SET id = zeroblob(32)")
    for ask in (
        ledger.views.changes,
        lambda: explain(filled.store(), ledger._desk.mapper, 5),
    ):
        with pytest.raises(LedgerError) as caught:
            ask()
        assert caught.value.code == "altered-ledger"
    ledger.close()


def fill_more(house):
    """Some 1,200 rows more, in heads of a hundred, and one read at the end."""
    ledger = house.open()
    for number in range(12):
        application = "CRM" if number % 2 else "Last"
        ledger.change_together(
            [
                ledger.changes.grant(Acting(), application, "administrator", f"user:u{number}-{n}")
                for n in range(100)
            ]
        )
    ledger.retrieve(Caller(ALICE), "CRM")
    ledger.close()


@pytest.fixture
def long(prepared):
    return prepared(fill, fill_more)


def test_a_question_about_the_end_of_a_long_log_begins_near_it(long):
    ledger = long.open()
    store, mapper, end = long.store(), ledger._desk.mapper, ledger.head().size
    everything = ledger.views.changes()
    for position in (1, 3, 100, 509, 700, end - 1, end):
        since = row_at(long, position).recorded_at
        later = [one for one in everything if one["position"] >= position]
        assert ledger.views.changes(since=since) == later
    assert explain(store, mapper, end)["position"] == end
    assert explain(store, mapper, 5)["caller"] == "user:mallory"
    # Far below is not looked at again; the edge of the tree that it begins with is.
    since = row_at(long, end - 20).recorded_at
    attack(long, "DELETE FROM log WHERE position = 5")
    assert len(ledger.views.changes(since=since)) == 20
    for size, frontier in long.sql("SELECT size, frontier FROM commits WHERE size > 9"):
        if size < 1000:
            edge = bytes(len(frontier))
            long.sql("UPDATE commits SET frontier = ? WHERE size = ?", edge, size)
    for ask in (lambda: ledger.views.changes(since=since), lambda: explain(store, mapper, end)):
        with pytest.raises(Tampered):
            ask()
    ledger.close()
