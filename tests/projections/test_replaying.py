"""State as it was, decisions made again, and attempts explained, all from the log alone."""

from __future__ import annotations

import shlex

import pytest

from ledger.aggregates.application import make_field
from ledger.errors import NotFound
from projections.explanation import explain
from projections.moment import diff, state_at
from projections.redecide import redecide
from tests.projections.conftest import (
    FULL,
    OPERATOR,
    PAIR,
    LackingMapper,
    caller,
    owner,
    record_of,
    replace,
)


def states(world):
    return [
        state_at(world.store, world.mapper, position=position) for position in range(world.size + 1)
    ]


def test_the_state_at_the_head_is_what_the_views_answer(busy):
    now = state_at(busy.store, busy.mapper)
    assert now["position"] == busy.size
    assert now["credentials"] == busy.views.credentials()
    assert [one["application"] for one in now["applications"]] == ["Finance", "Payroll"]
    assert state_at(busy.store, busy.mapper, position=10**9) == now


def test_before_the_first_event_there_was_nothing(busy):
    assert state_at(busy.store, busy.mapper, position=0) == {
        "position": 0,
        "at": None,
        "applications": [],
        "credentials": [],
    }
    assert state_at(busy.store, busy.mapper, at=0)["position"] == 0


def test_as_of_a_time_is_after_the_last_event_at_or_before_it(busy):
    for position in range(1, busy.size + 1):
        with busy.store.reading() as reading:
            recorded_at = reading.row_at(position).recorded_at
        exact = state_at(busy.store, busy.mapper, at=recorded_at)
        assert exact["position"] == position
        assert exact == state_at(busy.store, busy.mapper, position=position)
        assert state_at(busy.store, busy.mapper, at=recorded_at - 1)["position"] == position - 1


def test_a_difference_read_backwards_swaps_added_and_removed(busy):
    told = states(busy)
    for before in told[::5]:
        for after in told[::7]:
            there, back = diff(before, after), diff(after, before)
            for part in ("applications", "credentials"):
                assert there[part]["added"] == back[part]["removed"]
                assert [one["before"] for one in there[part]["changed"]] == [
                    one["after"] for one in back[part]["changed"]
                ]
    assert diff(told[-1], told[-1])["credentials"] == {"added": [], "removed": [], "changed": []}


def test_a_state_holds_no_sealed_value(busy):
    assert "secret" not in str(state_at(busy.store, busy.mapper))


def test_every_access_is_decided_alike_again(busy):
    assert redecide(busy.store, busy.mapper) == {"checked": 6, "wrong": [], "unreadable": []}


@pytest.mark.parametrize("asked", [("password", "PASSWORD"), ("user name", "password") * 3])
def test_a_field_that_is_named_twice_is_decided_alike_again(busy, asked):
    """It leaves once, wherever it was named again."""
    names = [f"windows {name}" for name in asked]
    position = busy.read(caller("user:alice"), "Payroll", fields=names)
    with busy.store.reading() as reading:
        record = busy.mapper.open_checked(reading.row_at(position)).event
    assert len(record.fields) == len(set(map(str.casefold, names)))
    assert len(record.requested) == len(names)
    assert redecide(busy.store, busy.mapper) == {"checked": 7, "wrong": [], "unreadable": []}


def honest(world):
    """The record of a true read, to be forged from."""
    position = world.read(caller("user:alice"), "Payroll")
    with world.store.reading() as reading:
        return world.mapper.open(reading.row_at(position)).event


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"caller": "user:bob", "claims": ("user:bob",)}, "owner"),
        ({"owner": "user:bob"}, "owner"),
        ({"value_version": 1}, "version"),
        ({"mapping_position": 3}, "mapping"),
        ({"creation": 1}, "creation"),
        ({"fields": ("PIN",)}, "fields"),
        ({"complete": True, "missing": ()}, "complete, missing"),
        ({"through": "group:finance"}, "through"),
        ({"detail": "member"}, "detail"),
        ({"requested": ("PIN",)}, "fields"),
        ({"requested": ("Nonsense",)}, "outcome"),
        ({"application": "Gone"}, "outcome"),
        ({"application": "/"}, "outcome"),
        ({"restricted": True}, "outcome"),
        ({"claims": ("user:bob", "user:alice")}, "caller-not-presented"),
        ({"claims": ()}, "caller-not-presented"),
        ({"caller": "alice", "claims": ("alice",)}, "invalid-claim"),
    ],
)
def test_a_record_that_differs_in_any_respect_should_not_have_been(busy, change, told):
    record = honest(busy)
    position = busy.append_access(replace(record, **change))
    found = redecide(busy.store, busy.mapper)
    assert found["checked"] == 8
    (wrong,) = found["wrong"]
    assert wrong["position"] == position
    assert told in wrong["why"]


ALICE = owner("user:alice")


@pytest.mark.parametrize(
    "change",
    [
        lambda ledger: ledger.set_credentials(OPERATOR, "Payroll", ALICE, FULL),
        lambda ledger: ledger.delete_credentials(OPERATOR, "Payroll", ALICE),
        lambda ledger: ledger.delete_application(OPERATOR, "Payroll"),
        lambda ledger: ledger.update_application(
            OPERATOR, "Payroll", changes={}, add_fields=[make_field("Further", "key")]
        ),
    ],
)
def test_what_was_right_is_wrong_once_what_it_rests_on_has_changed(busy, change):
    """The very same record, before a change and after it."""
    record = honest(busy)
    busy.append_access(record)
    assert redecide(busy.store, busy.mapper)["wrong"] == []
    change(busy.ledger)
    position = busy.append_access(record)
    found = redecide(busy.store, busy.mapper)
    assert [one["position"] for one in found["wrong"]] == [position]


def test_a_right_that_was_taken_away_makes_the_same_record_wrong(busy):
    """Restricted reads rest on roles, too."""
    ledger = busy.ledger
    ledger.create_application(OPERATOR, "Vault", kind="individual", restricted=True)
    ledger.set_credentials(OPERATOR, "Vault", ALICE, PAIR)
    ledger.role_grant(OPERATOR, "restricted-access", "user:alice")
    position = busy.read(caller("user:alice"), "Vault", restricted=True)
    with busy.store.reading() as reading:
        record = busy.mapper.open(reading.row_at(position)).event
    busy.append_access(record)
    ledger.role_revoke(OPERATOR, "restricted-access", "user:alice")
    position = busy.append_access(record)
    found = redecide(busy.store, busy.mapper)
    assert [one["position"] for one in found["wrong"]] == [position]


def test_rules_of_another_version_cannot_be_judged(busy):
    position = busy.append_access(record_of(rules=99))
    assert redecide(busy.store, busy.mapper)["unreadable"] == [
        {"from": position, "to": position, "why": "unknown-rules"}
    ]


def test_behind_unreadable_policy_nothing_is_called_wrong(busy):
    first = busy.views.accesses.newest(limit=0)[-1]["position"]
    stale = LackingMapper(busy.mapper, lambda row: row.position == first - 1)
    found = redecide(busy.store, stale)
    assert found["wrong"] == []
    assert found["checked"] == 0
    assert found["unreadable"][0] == {"from": first - 1, "to": first - 1, "why": "key-missing"}
    assert {one["why"] for one in found["unreadable"][1:]} == {"policy-unreadable"}
    lacking = LackingMapper(busy.mapper, lambda row: row.position in {first, first + 1})
    found = redecide(busy.store, lacking)
    assert (found["checked"], found["wrong"]) == (4, [])
    assert found["unreadable"] == [{"from": first, "to": first + 1, "why": "key-missing"}]


def test_each_refusal_is_explained_with_the_command_that_mends_it(world):
    ledger = world.ledger
    ledger.create_application(OPERATOR, "Old App", kind="group", members=("group:f",))
    ledger.create_application(OPERATOR, "Vault", kind="individual", restricted=True)
    ledger.create_application(OPERATOR, "Mail", kind="individual")
    expected = {
        world.read(caller("user:o'hara"), "Old App"): [
            "app", "grant", "Old App", "member", "user:o'hara",
        ],
        world.read(caller("user:a", "group:f"), "Old App"): ["credential", "set", "Old App"],
        world.read(caller("user:a"), "Nowhere"): [
            "app", "create", "Nowhere", "--kind", "individual",
        ],
        world.read(caller("user:a", "group:f"), "Vault"): [
            "credential", "get", "Vault", "--as", "user:a", "--with", "group:f", "--restricted",
        ],
        world.read(caller("user:a"), "Vault", restricted=True): [
            "role", "grant", "restricted-access", "user:a",
        ],
        world.read(caller("user:a"), "Mail"): [
            "credential", "set", "Mail", "--owner", "user:a",
        ],
        world.read(caller("group:f"), "Mail"): ["app", "show", "Mail"],
        world.read(caller("user:a"), "Mail", fields=["PIN"]): ["app", "show", "Mail"],
    }  # fmt: skip
    assert len(expected) == 8
    for position, words in expected.items():
        told = explain(world.store, world.mapper, position)
        assert told["why"].endswith(".")
        assert shlex.split(told["mend"]) == ["credledger", *words]


def test_a_granted_read_is_explained_and_needs_no_mending(busy):
    ledger = busy.ledger
    ledger.set_credentials(OPERATOR, "Payroll", owner("user:bob"), FULL)
    told = explain(busy.store, busy.mapper, busy.read(caller("user:bob"), "Payroll"))
    assert (told["outcome"], told["mend"], told["claims"]) == ("granted", None, ["user:bob"])


@pytest.mark.parametrize(
    ("position", "code"),
    [(0, "beyond-the-log"), (1, "no-such-record"), (10**9, "beyond-the-log")],
)
def test_only_attempts_are_explained(busy, position, code):
    """What lies outside of the log is told from what is there and no attempt."""
    with pytest.raises(NotFound) as caught:
        explain(busy.store, busy.mapper, position)
    assert caught.value.code == code
