"""Answers are opened from the log, fit their question, and are never put in by an intruder."""

from __future__ import annotations

import json

import pytest

import projections.views
from ledger.errors import InvalidInput, Tampered
from projections.access_questions import access_question
from projections.view import Serving
from projections.views import Views
from tests.projections.conftest import FULL, OPERATOR, LackingMapper, caller, owner, record_of


def fits(one, user=None, owner=None, application=None, outcome=None, since=None, until=None):
    return (
        user in {None, one["caller"], one["on_behalf_of"]}
        and owner in {None, one["owner"]}
        and application in {None, one["application"]}
        and outcome in {None, one["outcome"]}
    )


@pytest.mark.parametrize("page", [1, 500])
@pytest.mark.parametrize(
    "question",
    [
        {},
        {"user": "user:alice"},
        {"user": "user:nobody"},
        {"owner": "user:alice"},
        {"application": "Finance"},
        {"outcome": "granted"},
        {"outcome": "denied"},
        {"outcome": "not-set"},
        {"user": "user:bob", "application": "Finance", "outcome": "granted"},
        {"user": "user:alice", "owner": "user:alice", "outcome": "not-set"},
    ],
)
def test_each_question_gives_just_the_records_that_fit_newest_first(
    busy, monkeypatch, question, page
):
    monkeypatch.setattr(projections.views, "_PAGE", page)
    everything = busy.views.accesses.newest(limit=0)
    assert len(everything) == 6
    assert [one["position"] for one in everything] == sorted(
        (one["position"] for one in everything), reverse=True
    )
    expected = [one for one in everything if fits(one, **question)]
    assert busy.views.accesses.newest(**question) == expected
    assert busy.views.accesses.newest(**question, limit=None) == expected
    assert busy.views.accesses.newest(**question, limit=1) == expected[:1]
    walked, after = [], None
    while page_found := busy.views.accesses.newest(**question, limit=2, after=after):
        walked += page_found
        after = page_found[-1]["position"]
    assert walked == expected


def test_times_bound_both_ends_and_include_them(busy):
    everything = busy.views.accesses.newest(limit=0)
    with busy.store.reading() as reading:
        times = [reading.row_at(one["position"]).recorded_at for one in everything]
    assert busy.views.accesses.newest(since=times[2], until=times[1]) == everything[1:3]
    assert busy.views.accesses.newest(since=times[0] + 1) == []
    assert busy.views.accesses.newest(until=times[-1] - 1) == []
    with pytest.raises(InvalidInput) as caught:
        busy.views.accesses.newest(since=2, until=1)
    assert caught.value.code == "reversed-range"


def test_words_are_made_canonical_before_they_are_compared(busy):
    assert busy.views.accesses.newest(user=" USER:Alice".strip().replace("USER", "user"))
    assert busy.views.accesses.newest(application=" FINANCE ")
    assert busy.views.credentials(application="PAYROLL", owner="user:ALICE")
    with pytest.raises(InvalidInput):
        busy.views.accesses.newest(outcome="maybe")


def test_the_user_is_the_caller_or_the_person_on_whose_behalf(busy):
    position = busy.append_access(
        record_of(caller="service:report", claims=("service:report",), on_behalf_of="user:alice")
    )
    for user in ("service:report", "user:alice"):
        assert busy.views.accesses.newest(user=user, limit=1)[0]["position"] == position
    both = busy.append_access(record_of(caller="user:zoe", on_behalf_of="user:zoe"))
    assert [one["position"] for one in busy.views.accesses.newest(user="user:zoe")] == [both]
    assert all(view["same"] for view in busy.views.rebuild())


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ({"user": "user:a"}, ["_caller", "_on_behalf"]),
        ({"owner": "user:a"}, ["_owner"]),
        ({"application": "a"}, ["_application"]),
        ({"outcome": "denied"}, ["_outcome"]),
        ({"outcome": "granted"}, ["PRIMARY KEY"]),
        ({}, ["PRIMARY KEY"]),
    ],
)
def test_each_question_walks_an_index_and_sorts_nothing_but_the_page(sqlite_busy, question, index):
    asked = access_question(
        **{"user": None, "owner": None, "application": None, "outcome": None, **question},
        since=None,
        until=None,
    )
    plans = []

    class Explaining:
        def execute(self, sql, parameters):
            plans.append(sqlite_busy.sql(f"EXPLAIN QUERY PLAN {sql}", *parameters))
            return []

    class Snapshot:
        connection = Explaining()

    table = sqlite_busy.table("access_history")
    serving = Serving(Snapshot(), table, 1000, 3)
    asked.positions(serving, sqlite_busy.views._digests, 1000, 10)
    told = " / ".join(step[3] for step in plans[0])
    for name in index:
        assert name in told
    assert f"SCAN {table}" not in told
    if "user" not in question:
        assert "TEMP B-TREE" not in told


def astray(action):
    with pytest.raises(Tampered) as caught:
        action()
    assert caught.value.code == "view-astray"
    assert "replay rebuild" in caught.value.hint
    return caught


def test_a_record_hung_on_another_person_is_not_shown_as_theirs(busy):
    table = busy.table("access_history")
    mallory = busy.digest("claim", "user:mallory")
    busy.sql(f"UPDATE {table} SET caller = ?", mallory)
    kept = astray(lambda: busy.views.accesses.newest(user="user:mallory"))
    # The failed question leaves no snapshot open behind it.
    assert kept
    busy.read(caller("user:alice"), "Payroll")
    assert not busy.views.rebuild("access_history")[0]["same"]
    assert busy.views.accesses.newest(user="user:mallory") == []
    assert len(busy.views.accesses.newest(user="user:alice")) == 4


@pytest.mark.parametrize("column", ["owner", "application"])
def test_a_mapping_hung_on_another_name_is_not_shown(busy, column):
    kind, name = {
        "owner": ("claim", "user:mallory"),
        "application": ("application", "elsewhere"),
    }[column]
    digest = busy.digest(kind, name)
    busy.sql(f"UPDATE {busy.table('credential_view')} SET {column} = ?", digest)
    kept = astray(lambda: busy.views.credentials(**{column: name}))
    assert kept
    busy.views.rebuild()
    assert busy.views.credentials(**{column: name}) == []


@pytest.mark.parametrize("position", [1, 10**6])
def test_a_pointer_to_the_wrong_row_is_tampering(busy, position):
    busy.sql(f"UPDATE {busy.table('credential_view')} SET position = ?", position)
    astray(busy.views.credentials)
    table = busy.table("access_history")
    busy.sql(f"DELETE FROM {table} WHERE position <> (SELECT max(position) FROM {table})")
    busy.sql(f"UPDATE {table} SET position = ?", position)
    astray(busy.views.accesses.newest)
    busy.sql(f"UPDATE {busy.table('application_catalogue')} SET creation = ?", position)
    astray(busy.views.applications)


def test_a_row_put_back_after_a_deletion_is_tampering(busy):
    table = busy.table("credential_view")
    rows = busy.sql(f"SELECT * FROM {table} WHERE owner = ?", busy.digest("claim", "user:bob"))
    busy.ledger.delete_credentials(OPERATOR, "Payroll", owner("user:bob"))
    busy.sql(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", *rows[0])
    astray(busy.views.credentials)


def test_an_answer_in_which_the_log_went_on_is_of_the_log(busy):
    """A view one step behind its snapshot shows the newer state and raises no alarm."""
    keeper = busy.keeper("credential_view")
    keeper.bring_forward = lambda: None
    busy.keeper("application_catalogue").bring_forward = lambda: None
    busy.ledger._writer._maintainers = ()
    busy.ledger.set_credentials(OPERATOR, "Payroll", owner("user:alice"), FULL)
    busy.ledger.delete_credentials(OPERATOR, "Payroll", owner("user:bob"))
    found = {one["owner"]: one["version"] for one in busy.views.credentials(application="payroll")}
    assert found == {"user:alice": 4}
    busy.ledger.delete_application(OPERATOR, "Finance")
    assert [one.application for one in busy.views.applications()] == ["Payroll"]


@pytest.mark.parametrize("page", [1, 500])
def test_credentials_and_applications_are_complete_at_any_page_size(busy, monkeypatch, page):
    monkeypatch.setattr(projections.views, "_PAGE", page)
    found = [(one["application"], one["owner"]) for one in busy.views.credentials()]
    assert found == [("Finance", None), ("Payroll", "user:alice"), ("Payroll", "user:bob")]
    assert [one.application for one in busy.views.applications()] == ["Finance", "Payroll"]
    (alice,) = busy.views.credentials(owner="user:alice")
    assert (alice["version"], alice["complete"], alice["set_by"]) == (3, False, "operator")
    assert busy.views.epochs() == {1: 3}


def test_older_than_counts_from_when_the_values_were_set(busy):
    now = busy.house.clock()
    assert busy.views.credentials(older_than_us=3_600_000_000, now=now) == []
    later = now + 3_600_000_001
    assert len(busy.views.credentials(older_than_us=3_600_000_000, now=later)) == 3


def test_records_whose_key_is_not_held_are_listed_as_unreadable(busy):
    everything = busy.views.accesses.newest(limit=0)
    lacking = {everything[1]["position"], everything[2]["position"]}
    stale = Views(
        busy.store,
        LackingMapper(busy.mapper, lambda row: row.position in lacking),
        busy.ledger._desk.streams,
    )
    found = stale.accesses.newest(limit=0)
    assert [one["position"] for one in found] == [one["position"] for one in everything]
    assert {one["position"] for one in found if one["outcome"] == "unreadable"} == lacking
    assert all(set(one) == set(everything[0]) for one in found)
    assert {one["detail"] for one in found if one["position"] in lacking} == {"key-missing"}


def test_changes_are_told_oldest_first_by_application_author_and_time(busy):
    everything = busy.views.changes()
    assert [one["position"] for one in everything] == sorted(one["position"] for one in everything)
    assert everything[0]["event"] == "epoch.started"
    of_payroll = busy.views.changes(application="PAYROLL")
    assert {one["application"] for one in of_payroll} == {"Payroll"}
    assert busy.views.changes(by="user:nobody") == []
    with busy.store.reading() as reading:
        since = reading.row_at(everything[-2]["position"]).recorded_at
    assert busy.views.changes(since=since) == everything[-2:]
    assert "secret" not in json.dumps(everything)


def test_changes_whose_key_is_not_held_are_listed_as_such(busy):
    lacking = busy.views.changes(application="Finance")[0]["position"]
    stale = Views(
        busy.store,
        LackingMapper(busy.mapper, lambda row: row.position == lacking),
        busy.ledger._desk.streams,
    )
    told = stale.changes(application="Payroll")
    found = {one["position"]: one for one in told}
    assert [one["position"] for one in told] == sorted(found)
    assert found[lacking]["detail"] == {"unreadable": "key-missing"}
    assert found[lacking]["event"] == "application.created"


def test_history_tells_versions_and_events_of_one_mapping(busy):
    told = [(one["version"], one["event"]) for one in busy.views.history("payroll", "user:alice")]
    assert told == [(1, "set"), (2, "set"), (3, "restored")]
    assert [one["event"] for one in busy.views.history("payroll", "user:carol")] == [
        "set",
        "deleted",
    ]
    assert busy.views.history("payroll", "user:nobody") == []


def test_owners_are_those_of_the_list_and_checked_alike(busy):
    """Of each application; a row that points at an older event, or another mapping, is astray."""
    for state in busy.views.applications():
        listed = busy.views.credentials(application=state.application)
        assert busy.views.owners(state) == {one["owner"] for one in listed}
    payroll = busy.ledger.application("Payroll")
    table = busy.table("credential_view")
    stream = busy.ledger._desk.streams.mapping("payroll", "user:alice")
    (position,) = busy.sql(f"SELECT position FROM {table} WHERE stream = ?", stream)[0]
    bobs = busy.ledger._desk.streams.mapping("payroll", "user:bob")
    older = busy.sql("SELECT min(position) FROM log WHERE stream = ?", stream)[0][0]
    other = busy.sql("SELECT max(position) FROM log WHERE stream = ?", bobs)[0][0]
    for wrong in (older, other):
        assert wrong != position
        busy.sql(f"UPDATE {table} SET position = ? WHERE stream = ?", wrong, stream)
        with pytest.raises(Tampered) as caught:
            busy.views.owners(payroll)
        assert caught.value.code == "view-astray"
