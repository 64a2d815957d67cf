"""Whoever can reach an application has a row that leads to it, and nobody else has one."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import projections.views
from ledger.aggregates import application as applications
from ledger.aggregates.application import ApplicationClosed, fold_application
from ledger.claims import parse_claim
from ledger.errors import LedgerError, Tampered
from ledger.policy import Caller
from projections.application_claims import EVERY_OWNER, ApplicationClaims, asked_by, is_named
from projections.digests import Digests
from projections.view import PUT
from projections.who_can import way_by_ticket, way_of
from tests.ledger.recording import recorded
from tests.projections.conftest import OPERATOR, PAIR, caller, owner

CLAIMS = ("user:alice", "service:etl", "group:pay", "role:dba")
claims = st.sampled_from(CLAIMS)
reaching = st.sampled_from(("member", "ticket-redeemer", "administrator"))
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("create"),
            st.sampled_from(("individual", "group")),
            st.frozensets(claims, max_size=3),
            st.frozensets(claims, max_size=2),
        ),
        st.tuples(st.just("grant"), reaching, claims),
        st.tuples(st.just("revoke"), reaching, claims),
        st.tuples(st.just("open_to_all")),
        st.tuples(st.just("close")),
        st.tuples(st.just("delete")),
    ),
    max_size=25,
)


def decided(state, what, *told):
    """The events that one step leads to; none where it is refused."""
    try:
        if what == "create":
            kind, members, redeemers = told
            named = {
                "members": map(parse_claim, members),
                "ticket_redeemers": map(parse_claim, redeemers),
            }
            return applications.create(state, "payroll", kind=kind, ticketing=True, **named)
        if state is None or state.deleted:
            return ()
        if what == "close":  # only a restoration does
            return () if state.is_group else (ApplicationClosed(state.application),)
        if what in {"grant", "revoke"}:
            role, claim = told
            return getattr(applications, what)(state, role, parse_claim(claim))
        return getattr(applications, what)(state)
    except LedgerError:
        return ()


@pytest.fixture(scope="module")
def digests():
    return Digests(bytes(32))


@given(steps)
def test_its_rows_are_those_that_the_application_reaches(digests, taken):
    """After each event, of whoever is named as member or redeemer, and of all while it is open."""
    view, state, rows, position = ApplicationClaims(), None, {}, 0
    for step in taken:
        for event in decided(state, *step):
            position += 1
            happened = recorded(event, position, position)
            state = fold_application(state, happened)
            for statement, parameters in view.fold(happened, digests):
                if statement == PUT:
                    rows[parameters[0]] = parameters
                elif "place" in statement:
                    rows.pop(*parameters, None)
                else:
                    rows = {key: row for key, row in rows.items() if row[2] != parameters[0]}
            texts = (EVERY_OWNER, *CLAIMS)
            named = {digests.named(text) for text in texts if is_named(state, text)}
            assert {row[1] for row in rows.values()} == named


def test_one_who_owns_nothing_is_not_asked_as_an_owner():
    """Groups and roles own no credentials; a claim that is presented twice is asked once."""
    group, alice = parse_claim("group:pay"), parse_claim("user:alice")
    assert list(asked_by([group])) == ["group:pay"]
    assert list(asked_by([alice, group, alice])) == [EVERY_OWNER, "user:alice", "group:pay"]


def plainly(world, presented):
    """The definition: every application there is, asked of this caller."""
    return told(world.views.applications(), world, presented)


def told(states, world, presented):
    roles = world.ledger.roles()
    ways = [
        (way_of(one, roles, presented, ()), way_by_ticket(one, roles, presented, ()))
        for one in states
    ]
    return [pair for pair in ways if pair != (None, None)]


PRESENTED = [
    Caller(parse_claim(own), tuple(map(parse_claim, further)))
    for own in (*CLAIMS, "user:nobody")
    for further in ((), ("group:pay",), ("role:dba", "group:pay", "user:alice"))
]


@pytest.fixture
def staffed(world):
    """Every kind of application, each grown in its own way, and one that began again."""
    ledger = world.ledger
    ledger.create_application(OPERATOR, "Mail", kind="individual")
    ledger.create_application(OPERATOR, "Wiki", kind="individual")
    ledger.grant(OPERATOR, "Wiki", "member", "user:alice")
    ledger.create_application(OPERATOR, "Vault", kind="group", restricted=True, members=CLAIMS)
    ledger.create_application(OPERATOR, "Desk", kind="group", members=("group:pay",))
    ledger.revoke(OPERATOR, "Desk", "member", "group:pay")
    ledger.create_application(
        OPERATOR,
        "Portal",
        kind="group",
        members=("group:pay",),
        ticketing=True,
        ticket_redeemers=("service:etl",),
    )
    ledger.create_application(OPERATOR, "Again", kind="group", members=("role:dba",))
    ledger.delete_application(OPERATOR, "Again")
    ledger.create_application(OPERATOR, "again", kind="group", members=("group:pay",))
    ledger.create_application(OPERATOR, "Gone", kind="individual")
    ledger.delete_application(OPERATOR, "Gone")
    ledger.role_grant(OPERATOR, "restricted-access", "user:alice")
    return world


@pytest.mark.parametrize("page", [1, 2, 500])
def test_what_one_person_can_read_is_what_asking_every_application_gives(
    staffed, monkeypatch, page
):
    """Of whatever kind the applications are, and whatever claims they present."""
    monkeypatch.setattr(projections.views, "_PAGE", page)
    for presented in PRESENTED:
        reached = staffed.views.reachable(presented.claims)
        assert told(reached, staffed, presented) == plainly(staffed, presented)
        assert reached == [one for one in staffed.views.applications() if one in reached]


def test_applications_that_do_not_name_somebody_are_not_opened(staffed):
    """Of thirty further ones, none is."""
    for number in range(30):
        staffed.ledger.create_application(
            OPERATOR, f"Other {number}", kind="group", members=("group:others",)
        )
    mapper, opened = staffed.views._mapper, []

    class Counting:
        def __getattr__(self, name):
            return getattr(mapper, name)

        def open(self, row):
            opened.append(row.stream)
            return mapper.open(row)

    staffed.views._mapper = Counting()
    found = staffed.views.reachable([parse_claim("role:dba")])
    assert [one.application for one in found] == ["Vault"]
    assert len(set(opened)) == 1


def test_what_is_set_for_an_owner_is_told_of_the_present_creation_only(world, monkeypatch):
    """A mapping of an application that was deleted since does not count in its successor."""
    monkeypatch.setattr(projections.views, "_PAGE", 1)
    for name in ("Mail", "Wiki", "News"):
        world.ledger.create_application(OPERATOR, name, kind="individual")
        world.ledger.set_credentials(OPERATOR, name, owner("user:alice"), PAIR)
    world.ledger.delete_application(OPERATOR, "Wiki")
    world.ledger.create_application(OPERATOR, "Wiki", kind="individual")
    world.ledger.set_credentials(OPERATOR, "Wiki", owner("user:bob"), PAIR)
    alice, states = parse_claim("user:alice"), world.views.applications()
    assert world.views.set_for_owner(alice, states) == {"mail", "news"}
    assert world.views.set_for_owner(alice, states[:1]) == {"mail"}
    # The successor's state against the mapping of before, as one who puts the view's row back sees.
    old = [replace(one, creation=1) for one in states]
    assert world.views.set_for_owner(alice, old) == set()


def test_an_application_hung_on_another_claim_is_tampering(staffed):
    """It is opened and does not name that claim; the view built anew does not say so."""
    table = staffed.table("application_claims")
    mallory = staffed.digest("named", "user:mallory")
    staffed.sql(f"UPDATE {table} SET claim = ?", mallory)
    with pytest.raises(Tampered, match="points at a row") as caught:
        staffed.views.reachable([parse_claim("user:mallory")])
    assert caught.value.code == "view-astray"
    staffed.views.rebuild("application_claims")
    assert plainly(staffed, caller("user:mallory")) == told(
        staffed.views.reachable([parse_claim("user:mallory")]), staffed, caller("user:mallory")
    )


def test_an_application_that_came_to_name_somebody_meanwhile_is_no_alarm(staffed, monkeypatch):
    """It was opened for one claim before; for the next it is opened as it is by then."""
    alice, service = (parse_claim(one) for one in ("user:alice", "service:etl"))
    keeper = staffed.keeper("application_claims")
    asked, serving = [], keeper.serving

    def meanwhile():
        asked.append(1)
        if len(asked) == 3:  # for every owner and for Alice it was asked before
            staffed.ledger.grant(OPERATOR, "Wiki", "member", "service:etl")
        return serving()

    monkeypatch.setattr(keeper, "serving", meanwhile)
    found = staffed.views.reachable([alice, service])
    (wiki,) = (one for one in found if one.application == "Wiki")
    assert service in wiki.members


def test_a_store_of_before_answers_the_same_and_is_appended_to(staffed):
    """Without its tables every application is asked, as before; once made, they are filled."""
    with closing(staffed.house.store()) as store:
        for side in "ab":
            staffed.sql(f"DROP TABLE application_claims_{side}")
        staffed.sql("DELETE FROM views WHERE name = ?", "application_claims")
        staffed.sql("DELETE FROM schema_migrations WHERE name = ?", "0003_application_claims.sql")
        staffed.views._lacks_some = True
        presented = caller("user:alice", "group:pay")
        staffed.ledger.grant(OPERATOR, "Desk", "member", "user:alice")
        assert len(staffed.views.status()) == len(staffed.views.digests()) == 4
        assert all(view["same"] for view in staffed.views.rebuild())
        before = told(staffed.views.reachable(presented.claims), staffed, presented)
        assert before == plainly(staffed, presented)
        store.create()
        assert told(staffed.views.reachable(presented.claims), staffed, presented) == before
        assert len(staffed.views.status()) == 5
        assert all(view["same"] for view in staffed.views.rebuild())
