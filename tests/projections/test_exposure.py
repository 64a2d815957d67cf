"""What a person saw, by version, and whether it was changed since; on each kind of store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Tampered
from tests.projections.conftest import OPERATOR, PAIR, caller, owner, record_of

PAYROLL, FINANCE = "Payroll", "Finance"


def short(rows):
    return [
        (one["application"], one["owner"], one["version"], one["times"], one["changed_since"])
        for one in rows
    ]


def by_reading(world, user):
    """The same from every record, opened one by one."""
    seen = {}
    for one in reversed(world.views.accesses.newest(user=user, outcome="granted", limit=0)):
        key = (one["application"], one["owner"], one["version"])
        first, _, times = seen.get(key, (one["recorded_at"], None, 0))
        seen[key] = (first, one["recorded_at"], times + 1)
    return seen


def agrees(world, user):
    rows = world.views.exposure(user)
    told = {
        (one["application"], one["owner"], one["version"]): (
            one["first_seen"], one["last_seen"], one["times"],
        )
        for one in rows
    }  # fmt: skip
    assert len(told) == len(rows)
    assert told == by_reading(world, user)
    return rows


@pytest.fixture
def read(world):
    """A mapping of alice's, read by her in five versions' time."""
    ledger = world.ledger
    ledger.create_application(OPERATOR, PAYROLL, kind="individual")
    ledger.create_application(OPERATOR, FINANCE, kind="group", members=("group:finance",))
    ledger.set_credentials(OPERATOR, FINANCE, None, PAIR)
    alice = owner("user:alice")
    for times in (2, 1, 0, 3):
        ledger.set_credentials(OPERATOR, PAYROLL, alice, PAIR)
        for _ in range(times):
            world.read(caller("user:alice"), PAYROLL)
            world.read(caller("user:bob", "group:finance"), FINANCE)
    return world


def test_each_version_is_a_line_with_how_often_and_when(read):
    """As every record says that is opened one by one; what was changed since is told."""
    assert short(agrees(read, "user:alice")) == [
        (PAYROLL, "user:alice", 1, 2, True),
        (PAYROLL, "user:alice", 2, 1, True),
        (PAYROLL, "user:alice", 4, 3, False),
    ]
    assert short(agrees(read, "user:bob")) == [(FINANCE, None, 1, 6, False)]
    assert read.views.exposure("user:nobody") == []


def test_nothing_that_was_refused_or_not_there_was_seen(busy):
    """Only what was granted counts, in every application that the world has."""
    for user in ("user:alice", "user:bob", "user:carol"):
        agrees(busy, user)
    assert busy.views.exposure("user:carol") == []


def test_a_restored_version_is_open_again(read):
    """Who saw the version whose values are the present ones knows the present ones."""
    read.ledger.restoring.credentials(OPERATOR, PAYROLL, owner("user:alice"), version=1)
    assert [one[4] for one in short(agrees(read, "user:alice"))] == [False, True, True]
    read.ledger.restoring.credentials(OPERATOR, PAYROLL, owner("user:alice"), version=5)
    assert [one[4] for one in short(agrees(read, "user:alice"))] == [False, True, True]
    read.ledger.restoring.credentials(OPERATOR, PAYROLL, owner("user:alice"), version=2)
    assert [one[4] for one in short(agrees(read, "user:alice"))] == [True, False, True]


def test_deleting_changes_nothing_that_somebody_knows(read):
    """Neither of a mapping nor of its application; a value set later does."""
    read.ledger.delete_credentials(OPERATOR, PAYROLL, owner("user:alice"))
    rows = agrees(read, "user:alice")
    assert ([one["changed_since"] for one in rows], rows[-1]["set"]) == ([True, True, False], False)
    read.ledger.delete_application(OPERATOR, FINANCE)
    (row,) = agrees(read, "user:bob")
    assert (row["changed_since"], row["set"]) == (False, False)
    assert read.views.exposure("user:bob", position=read.ledger.head().size - 1)[0]["set"]
    read.ledger.create_application(OPERATOR, FINANCE, kind="group")
    assert not agrees(read, "user:bob")[0]["set"]
    read.ledger.set_credentials(OPERATOR, PAYROLL, owner("user:alice"), PAIR)
    assert [one["changed_since"] for one in agrees(read, "user:alice")] == [True] * 3


def test_an_application_created_anew_goes_on_counting(read):
    """What is set in the later one under the same ID and owner is a new value."""
    read.ledger.delete_application(OPERATOR, PAYROLL)
    read.ledger.create_application(OPERATOR, "PAYROLL", kind="individual")
    read.ledger.set_credentials(OPERATOR, "payroll", owner("user:alice"), PAIR)
    read.read(caller("user:alice"), "payroll")
    rows = read.views.exposure("user:alice")
    assert [(one["version"], one["times"], one["changed_since"]) for one in rows] == [
        (1, 2, True), (2, 1, True), (4, 3, True), (5, 1, False),
    ]  # fmt: skip


def test_since_a_moment_only_later_records_count(read):
    """Both ends are told anew."""
    every = read.views.accesses.newest(user="user:alice", limit=0)
    from datetime import datetime

    third = datetime.fromisoformat(every[3]["recorded_at"])
    since = round(third.timestamp() * 1_000_000)
    rows = read.views.exposure("user:alice", since)
    assert [(one["version"], one["times"]) for one in rows] == [(2, 1), (4, 3)]
    assert rows[0]["first_seen"] == every[3]["recorded_at"]


def test_what_was_read_on_somebodys_behalf_is_theirs_too(read):
    """Once, whoever asked."""
    record = read.views.accesses.newest(user="user:alice", limit=1)[0]
    state = read.ledger.application(PAYROLL)
    for asker in ("service:portal", "user:alice"):
        read.append_access(
            record_of(
                caller=asker, claims=(asker,), on_behalf_of="user:alice", value_version=4,
                creation=state.creation, mapping_position=record["position"],
            )
        )  # fmt: skip
    assert short(agrees(read, "user:alice"))[-1] == (PAYROLL, "user:alice", 4, 5, False)
    assert short(read.views.exposure("service:portal")) == [(PAYROLL, "user:alice", 4, 1, False)]


def test_a_view_that_points_elsewhere_is_not_believed(read):
    """Whether the row that is first or last is another person's, application's or outcome's."""
    table = read.table("access_history")
    theirs = read.views.accesses.newest(user="user:bob", limit=1)[0]["position"]
    alice, payroll = read.digest("claim", "user:alice"), read.digest("application", PAYROLL)
    read.sql(f"UPDATE {table} SET caller = ? WHERE position = ?", alice, theirs)
    with pytest.raises(Tampered) as caught:
        read.views.exposure("user:alice")
    assert caught.value.code == "view-astray"
    read.sql(f"UPDATE {table} SET application = ? WHERE position = ?", payroll, theirs)
    with pytest.raises(Tampered):
        read.views.exposure("user:alice")


@given(st.lists(st.sampled_from(("set", "restore", "delete")), max_size=8), st.data())
def test_a_version_is_unchanged_where_the_newest_values_are_its_own(steps, data):
    """Folded from the stream's events, against the values themselves."""
    from ledger.aggregates.mapping import CredentialDeleted, CredentialRestored, CredentialSet
    from projections.exposure import Versions
    from tests.ledger.recording import recorded

    versions, values, fresh = Versions(), {}, 0
    common = {"application": "a", "owner": None, "creation": 1}
    sealed = {"fields": (), "secret": b"s", "set_at": 0, "set_by": "operator"}
    for position, step in enumerate(["set", *steps], start=1):
        number = len(values)
        if step == "delete":
            event = CredentialDeleted(**common, value_version=number)
        elif step == "set":
            fresh += 1
            values[number + 1] = fresh
            event = CredentialSet(**common, **sealed, value_version=number + 1)
        else:
            before = data.draw(st.sampled_from(sorted(values)))
            values[number + 1] = values[before]
            event = CredentialRestored(
                **common, **sealed, value_version=number + 1, restored_version=before
            )
        versions.see(recorded(event, position, position))
    newest = values[len(values)]
    for version, value in values.items():
        assert versions.changed_since(version) is (value != newest)
