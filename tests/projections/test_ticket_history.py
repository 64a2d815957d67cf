"""Tickets with what became of them, newest first: as of any moment, in parts, by either party."""

from __future__ import annotations

import pytest

import projections.stretch
from ledger.aggregates.retention import KEEPS_ALL, HistoryErased, fold_retention
from ledger.aggregates.tickets import CLOCKS_APART_US
from ledger.errors import InvalidInput, Tampered
from projections.documents import time_text
from projections.streams import Walk
from projections.stretch import WHOLE, Stretch
from projections.ticket_history import TicketQuestion, ticket_history
from projections.ticket_states import STATES
from tests.projections.conftest import LackingMapper, opened
from tests.projections.test_tickets import ALICE, events, fill, try_all

MINUTES_US = 120_000_000


@pytest.fixture
def world(prepared):
    with opened(prepared(fill)) as world:
        try_every_state(world)
        yield world


def try_every_state(world):
    """Two tickets that nobody brought in time, and one that is open, beside all others."""
    try_all(world)
    world.ledger.tickets.issue(ALICE, "Mail", reason="never brought")
    world.house.clock.offset_us += MINUTES_US + CLOCKS_APART_US
    assert world.ledger.tickets.sweep() == 2
    world.ledger.tickets.issue(ALICE, reason="open")


def asked(world, mapper=None, retention=KEEPS_ALL, stretch=WHOLE, after=None, **question):
    told = ticket_history(
        world.store, mapper or world.mapper, retention, TicketQuestion(**question), stretch, after
    )
    return list(told)


def expected(world, last, first=1):
    """The same, told by a look at all events up to a position; of those from another one on."""
    found = [one for one in events(world) if one.topic.startswith("ticket.")]
    found = [one for one in found if one.position <= last]
    ends = {
        one.stream: one
        for one in found
        if one.topic in {"ticket.redeemed", "ticket.expired", "ticket.lapsed"}
    }
    rows = []
    for one in found:
        state = one.topic.removeprefix("ticket.")
        if state == "issued":
            end = ends.get(one.stream)
            who = None if end is None else getattr(end.event, "caller", None)
            state = "issued" if end is None else end.topic.removeprefix("ticket.")
            rows.append((one.position, state, one.event.user, who, end and end.position))
        elif state == "refused":
            rows.append((one.position, state, one.event.on_behalf_of, one.event.caller, None))
        elif state == "not-issued":
            rows.append((one.position, state, one.event.user, None, None))
    return [row for row in rows[::-1] if max(row[0], row[4] or 0) >= first]


def told(rows):
    names = "position", "state", "user", "redeemer", "ended"
    return [tuple(row[name] for name in names) for row in rows]


def test_each_ticket_is_told_with_its_end_as_of_any_moment(world, monkeypatch):
    """However the log is parted, and from wherever a page goes on."""
    assert {row["state"] for row in asked(world)} == set(STATES)
    whole = expected(world, world.size)
    assert told(asked(world)) == whole
    for part_rows in (2, 7):
        monkeypatch.setattr(projections.stretch, "_PART_ROWS", part_rows)
        for last in (world.size, world.size - 9, 21, 12):
            stretch = Stretch(position=last)
            assert told(asked(world, stretch=stretch)) == expected(world, last)
        for at, row in enumerate(whole):
            assert told(asked(world, after=row[0])) == whole[at + 1 :]


def test_a_ticket_belongs_to_a_stretch_by_its_issue_or_its_end(world, monkeypatch):
    """From the end of each kind on, however parted; each page goes on behind another."""
    found = events(world)
    times = {one.position: one.recorded_at for one in found}
    for state, part_rows in (("redeemed", 4000), ("expired", 4000), ("lapsed", 9)):
        monkeypatch.setattr(projections.stretch, "_PART_ROWS", part_rows)
        end = max(row[4] for row in expected(world, world.size) if row[1] == state)
        # Rows of one microsecond belong to a time together.
        first = min(one for one, time in times.items() if time == times[end])
        rows = expected(world, world.size, first)
        assert any(row[0] < first and row[1] == state for row in rows)
        stretch = Stretch(since=times[end])
        assert told(asked(world, stretch=stretch)) == rows
        assert told(asked(world, stretch=stretch, after=rows[-2][0])) == rows[-1:]
        assert asked(world, stretch=stretch, after=rows[-1][0]) == []
        until = Stretch(since=times[end], position=end)
        assert told(asked(world, stretch=until)) == expected(world, end, first)


def test_before_the_stretch_no_more_is_walked_over_than_to_the_last_issue(world, monkeypatch):
    """And nothing where no ticket is left whose issue is looked for."""
    walked = []

    class Noted(Walk):
        def __init__(self, *arguments, **named):
            walked.append(named["after_position"])
            super().__init__(*arguments, **named)

    monkeypatch.setattr(projections.stretch, "Walk", Noted)
    monkeypatch.setattr(projections.stretch, "_PART_ROWS", 4)
    times = {one.position: one.recorded_at for one in events(world)}
    (row,) = asked(world, state="issued")
    lapsed = asked(world, state="lapsed")
    walked.clear()
    assert asked(world, stretch=Stretch(since=times[row["position"]])) == [row]
    assert min(walked) >= row["position"] - 4
    walked.clear()
    since = times[min(one["ended"] for one in lapsed)]
    assert asked(world, stretch=Stretch(since=since), state="lapsed") == lapsed
    assert lapsed[-1]["position"] - 4 <= min(walked) < lapsed[-1]["position"]


def test_a_ticket_that_was_redeemed_is_told_whole(world):
    """Whose, by whom, where, for how long, and where it was issued and ended."""
    by_position = {one.position: one for one in events(world)}
    rows = asked(world, state="redeemed", application="finance")
    free, group = sorted(rows, key=lambda row: row["reason"] != "free")
    assert (free["application"], free["expires_at"]) == ("Finance", None)
    assert free["redeemer"] == "service:two"
    issue, end = by_position[group["position"]], by_position[group["ended"]]
    assert group == {
        "position": issue.position,
        "recorded_at": time_text(issue.recorded_at),
        "state": "redeemed",
        "user": "user:alice",
        "redeemer": "service:portal",
        "application": "Finance",
        "issued": issue.position,
        "expires_at": time_text(issue.event.expires_at),
        "ended": end.position,
        "ended_at": time_text(end.recorded_at),
        "redeemers": [],
        "authenticated_by": issue.actor.authenticated_by,
        "reason": "",
        "detail": "redeemer",
    }
    lapsed, of_carol = asked(world, state="lapsed")
    assert (lapsed["reason"], lapsed["detail"]) == ("never brought", None)
    assert (of_carol["user"], of_carol["redeemer"]) == ("user:carol", None)
    assert lapsed["redeemers"] == ["service:portal"]


def test_who_asks_finds_rows_of_either_party_application_and_state(world):
    """Together, too; a ticket for any application is none's until it is brought there."""
    rows = asked(world)
    for user in ("user:alice", "service:portal", "service:x", "user:carol", "user:nobody"):
        mine = [row for row in rows if user in {row["user"], row["redeemer"]}]
        assert asked(world, user=user) == mine
        for state in STATES:
            assert asked(world, user=user, state=state) == [
                row for row in mine if row["state"] == state
            ]
    for name in ("MAIL", "Finance", "Nowhere", "elsewhere"):
        named = [row for row in rows if (row["application"] or "").casefold() == name.casefold()]
        assert asked(world, application=name) == named
        assert bool(named) == (name != "elsewhere")
    with pytest.raises(InvalidInput):
        asked(world, application="no/ID")


def test_what_is_not_opened_is_told_as_far_as_it_is_clear(world):
    """It could be anybody's, so it is listed whoever is asked about; its state is known."""
    rows = [row for row in asked(world) if row["ended"]]
    one = rows[0]
    stale = LackingMapper(world.mapper, lambda row: row.position == one["ended"])
    (told_of,) = [row for row in asked(world, stale) if row["position"] == one["position"]]
    assert told_of == {**one, "redeemer": None, "redeemers": [], "detail": "key-missing"}
    assert told_of in asked(world, stale, user="user:nobody")
    assert told_of in asked(world, stale, state=one["state"])
    assert told_of not in asked(world, stale, state="issued", user="user:nobody")
    assert told_of not in asked(world, stale, application="Finance")
    stale = LackingMapper(world.mapper, lambda row: row.topic.startswith("ticket."))
    closed = asked(world, stale, user="user:nobody", application="Finance")
    assert [row["position"] for row in closed] == [row["position"] for row in asked(world)]
    assert {row["user"] for row in closed} == {None}


def test_of_an_erased_issue_its_end_tells(world):
    """And what was erased whole is not there, whoever holds a key."""
    rows = asked(world)
    newest = max(row["ended"] or 0 for row in rows if row["state"] == "redeemed")
    until = newest - 1
    erased = next(row for row in rows if row["ended"] == newest)
    retention = retention_with(world, until)
    kept = asked(world, retention=retention)
    assert [row["position"] for row in kept] == [
        row["position"] for row in rows if max(row["position"], row["ended"] or 0) > until
    ]
    (half,) = [row for row in kept if row["position"] == erased["position"]]
    assert half == {**erased, "expires_at": None, "authenticated_by": None, "reason": None}


def retention_with(world, until):
    """What is kept where everything up to a position was erased."""
    (recorded, *_) = events(world)
    erasing = recorded._replace(position=world.size + 1, event=HistoryErased(until))
    retention = fold_retention(world.ledger.retention.state(), erasing)
    assert retention is not None
    return retention


def test_an_end_that_was_taken_away_stops_the_answer(prepared_file):
    """Its row cannot be left out, wherever the ticket was issued."""
    with opened(prepared_file(fill)) as world:
        try_every_state(world)
        end = next(row["ended"] for row in asked(world, state="expired"))
        for (name,) in world.sql("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            world.sql(f"DROP TRIGGER {name}")
        world.sql("DELETE FROM log WHERE position = ?", end)
        with pytest.raises(Tampered):
            asked(world, state="issued")
