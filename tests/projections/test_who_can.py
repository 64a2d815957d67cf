"""Who can read what: told as the rules decide it, for everybody there could be."""

from __future__ import annotations

from itertools import combinations

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.aggregates.application import create
from ledger.claims import parse_claim
from ledger.policy import Caller, decide_get, owner_for
from projections.who_can import SOMEBODY, every_owner_may, way_by_ticket, way_of, ways
from tests.ledger.recording import claim, folded, rights

OWNERS = ("user:alice", "user:bob", "service:etl")
FURTHER = ("group:pay", "group:ops", "role:dba")
CALLERS = [
    Caller(parse_claim(own), tuple(parse_claim(one) for one in further))
    for own in (*OWNERS, "user:nobody")
    for count in range(len(FURTHER) + 1)
    for further in combinations(FURTHER, count)
]
names = st.sampled_from((*OWNERS, *FURTHER)).map(parse_claim)
held = st.frozensets(
    st.tuples(st.sampled_from(("restricted-access", "full-control")), names), max_size=4
)


def application(kind="individual", **settings):
    (created,) = create(None, "payroll", kind=kind, **settings)
    return folded(created)


applications = st.builds(
    lambda kind, members, restricted, is_open: replace(
        application(kind, members=tuple(members), restricted=restricted),
        open=kind == "individual" and is_open,
    ),
    st.sampled_from(("individual", "group")),
    st.frozensets(names, max_size=4),
    st.booleans(),
    st.booleans(),
)
owners = st.frozensets(st.sampled_from(OWNERS))


def meant(way, who):
    """Whether a row is about this caller, as the module's page says."""
    presented = {way.claim, way.through, way.restricted_through} - {None}
    return presented <= set(who.claims) and way.owner in {None, who.claim}


PAY, OPS, ALICE = (parse_claim(one) for one in ("group:pay", "group:ops", "user:alice"))
BY_NAME_OR_BY_GROUP = (
    application(restricted=True, members=(PAY, OPS)),
    frozenset({("restricted-access", ALICE), ("restricted-access", PAY)}),
    frozenset({str(ALICE)}),
)
"""Alice is told by name, as one of `ops`; as one of `pay` she is one of the others."""


@example(*BY_NAME_OR_BY_GROUP, False)
@given(applications, held, owners, st.booleans())
def test_it_says_yes_exactly_where_the_rules_grant(asked, holds, with_something, is_set):
    """Of every caller, with whatever claims; and that something is set exactly where it is."""
    roles = replace(rights(), held=holds)
    there = (frozenset({None}) if is_set else frozenset()) if asked.is_group else with_something
    found = ways(asked, roles, there)
    for who in CALLERS:
        decision = decide_get(asked, roles, who, restricted=asked.restricted)
        theirs = [way for way in found if meant(way, who)]
        assert decision.allowed is (bool(theirs) or every_owner_may(asked, roles))
        own = owner_for(asked, who)
        has = (None if own is None else str(own)) in there
        if decision.allowed and has:
            assert any(way.is_set for way in theirs)
        one = way_of(asked, roles, who, there)
        assert (one is not None) is decision.allowed
        assert one is None or (one.through, one.is_set) == (decision.through, has)


@given(applications, held, owners, st.sampled_from(OWNERS).map(parse_claim))
def test_of_one_owner_it_says_yes_exactly_where_the_rules_grant(asked, holds, there, owner):
    """Only that owner reads those credentials, and must come with what the row names."""
    roles = replace(rights(), held=holds)
    found = ways(asked, roles, there, owner)
    if asked.is_group:
        assert found == []
        return
    assert all(way.owner == owner and way.is_set is (str(owner) in there) for way in found)
    for who in CALLERS:
        if who.claim == owner:
            decision = decide_get(asked, roles, who, restricted=asked.restricted)
            assert decision.allowed is any(meant(way, who) for way in found)


@given(applications, held, owners)
def test_no_row_says_what_another_says_already(asked, holds, there):
    """Whoever is told with fewer claims is not told with more; the stand-in is never shown."""
    found = ways(asked, replace(rights(), held=holds), there)
    for one in found:
        assert SOMEBODY not in one
        for other in found:
            if one is not other and one.owner in {None, other.owner}:
                fewer = {one.claim, one.through, one.restricted_through}
                assert not fewer <= {other.claim, other.through, other.restricted_through}


def told(found):
    return [
        (str(one.claim), str(one.through), one.owner and str(one.owner), one.is_set)
        for one in found
    ]


def test_a_group_is_told_as_the_claim():
    """Nobody here knows who holds it, so the row is about whoever does."""
    closed = application(members=(claim("user:alice"), claim("group:pay")))
    assert told(ways(closed, rights(), {"user:alice", "user:bob"})) == [
        ("group:pay", "group:pay", None, True),
        ("user:alice", "user:alice", "user:alice", True),
    ]
    # Nobody but the member who is named has anything set that a holder could read.
    assert told(ways(closed, rights(), {"user:alice"}))[0][3] is False


def test_an_owner_who_could_read_by_a_group_is_told_with_the_group():
    """Asked about one owner's credentials, the owner is known and the group is not."""
    closed = application(members=(claim("group:pay"),))
    assert told(ways(closed, rights(), {"user:bob"}, claim("user:bob"))) == [
        ("user:bob", "group:pay", "user:bob", True)
    ]


def test_a_restricted_application_takes_a_member_and_the_right():
    """The claim that holds the right is told beside the one that is a member."""
    asked = application("group", restricted=True, members=(claim("group:pay"),))
    assert ways(asked, rights(), {None}) == []
    (one,) = ways(asked, rights(("restricted-access", "user:bob")), {None})
    assert one.as_document() == {
        "application": "payroll",
        "claim": "user:bob",
        "through": "group:pay",
        "restricted_through": "user:bob",
        "credential_owner": None,
        "set": True,
        "by_ticket": False,
    }


def test_administrators_read_nothing():
    """No right and no role but membership implies reading."""
    asked = application("group", administrators=(claim("user:ada"),), members=(claim("group:x"),))
    everything = rights(("full-control", "user:ada"), ("all-applications", "user:ada"))
    assert told(ways(asked, everything, {None})) == [("group:x", "group:x", None, True)]


@given(applications, held, owners, st.none() | st.sampled_from(OWNERS).map(parse_claim))
def test_a_redeemer_reads_by_ticket_exactly_where_somebody_may(asked, holds, there, owner):
    """A ticket is worth what its user may, and there is one row for each redeemer's claim."""
    roles, portal = replace(rights(), held=holds), claim("service:portal")
    plain = replace(asked, restricted=False)
    ticketing = replace(plain, ticketing=True, ticket_redeemers=frozenset({portal}))
    somebody = [
        who
        for who in CALLERS
        if decide_get(ticketing, roles, who, restricted=False).allowed
        and (owner is None or (who.claim == owner and not ticketing.is_group))
    ]
    direct = ways(plain, roles, there, owner)
    found = ways(ticketing, roles, there, owner)
    assert told([one for one in found if not one.by_ticket]) == told(direct)
    assert [one.claim for one in found if one.by_ticket] == [portal] * bool(somebody)
    way = way_by_ticket(ticketing, roles, Caller(portal), there, owner)
    assert (way is not None) is bool(somebody)
    assert way is None or (way.owner, way.through) == (owner, portal)
    assert way_by_ticket(ticketing, roles, Caller(claim("user:zoe")), there, owner) is None


def test_many_claims_are_asked_in_reasonable_time():
    """A thousand members and a hundred holders of the right are a hundred thousand ways at most."""
    members = tuple(claim(f"group:g{number}") for number in range(300))
    asked = application("group", restricted=True, members=members)
    holders = [("restricted-access", f"role:r{number}") for number in range(30)]
    assert len(ways(asked, rights(*holders), {None})) == 300 * 30
