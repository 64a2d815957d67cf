"""The rules, held against the tables of `docs/reference/access-rules.md` cell by cell.

The page is parsed and each cell asked of `decide` and `decide_get`, so that page and rules cannot
part. What the page says in prose stands in the tables below.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.aggregates.application import Application, ApplicationDeleted, create
from ledger.aggregates.roles import RIGHTS
from ledger.claims import parse_claim
from ledger.policy import Caller, Verb, decide, decide_get, owner_for
from tests.ledger.recording import caller, claim, folded, rights

PAGE = Path(__file__).parents[2] / "docs/reference/access-rules.md"
ADA, ALICE, STRANGER = "user:ada", "user:alice", "user:mallory"
VERBS = {
    "create an application": Verb.CREATE_APPLICATION,
    "change it, grant and revoke its roles": Verb.MANAGE_APPLICATION,
    "delete it": Verb.DELETE_APPLICATION,
    "see its settings": Verb.SHOW_APPLICATION,
    "set credentials": Verb.SET_CREDENTIALS,
    "delete credentials": Verb.DELETE_CREDENTIALS,
    "restore an earlier version": Verb.RESTORE_CREDENTIALS,
    "list who has credentials set": Verb.LIST_CREDENTIALS,
    "grant and revoke service-level rights": Verb.MANAGE_ROLES,
    "read the access history": Verb.READ_HISTORY,
}
TICK = "\N{CHECK MARK}"


def table(heading: str) -> list[list[str]]:
    """The cells of the page's first table after a heading."""
    lines = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def application(kind: str = "individual", **settings) -> Application:
    (created,) = create(None, "payroll", kind=kind, **settings)
    return folded(created)


def claims(*texts: str):
    return tuple(claim(text) for text in texts)


INDIVIDUAL = application(administrators=claims(ADA))
GROUP = application("group", administrators=claims(ADA), members=claims("group:pay"))


def test_the_page_names_every_verb_once():
    heading, *rows = table("Doing anything else")
    assert heading[1:] == ["operator, `full-control`", "administrator", "owner", heading[4]]
    assert [row[0] for row in rows] == list(VERBS)
    assert set(VERBS.values()) == set(Verb)


ROWS = {row[0]: row[1:] for row in table("Doing anything else")[1:]}


@pytest.mark.parametrize("to", VERBS)
def test_doing_is_as_the_page_says(to):
    """Each cell: operator and full control, administrator, owner, and every right there is."""
    operator, administrator, owner, listed = ROWS[to]
    verb, alice = VERBS[to], claim(ALICE)
    named = {right.strip(" `") for right in listed.split(",")} - {""}

    def may(who, held=(), owned=None):
        return decide(verb, INDIVIDUAL, rights(*held), who, owner=owned).allowed

    assert may(None) is (operator == TICK)
    assert may(caller(STRANGER), [("full-control", STRANGER)]) is (operator == TICK)
    assert may(caller(ADA)) is (administrator == TICK)
    assert may(caller("user:x", ADA)) is (administrator == TICK)
    everywhere = [("all-applications", STRANGER)]
    assert may(caller(STRANGER), everywhere) is (administrator == TICK)
    assert may(caller(ALICE), owned=alice) is (owner == TICK)
    assert not may(caller(STRANGER), owned=alice)
    for right in RIGHTS:
        if right not in {"full-control", "all-applications"}:
            assert may(caller(STRANGER), [(right, STRANGER)]) is (right in named), right
            assert may(caller("user:x", STRANGER), [(right, STRANGER)]) is (right in named)
    assert named <= set(RIGHTS)
    assert not may(caller(STRANGER))


READING = {row[0]: row for row in table("Reading values")[1:]}


def test_the_page_tells_four_cases_of_reading_in_the_words_that_are_tried_below():
    assert {case: tuple(row[1:]) for case, row in READING.items()} == {
        "individual, open": (
            "the caller's own claim is a `user` or `service`", "the caller's own",
        ),
        "individual, closed": ("the same, and any presented claim is a member", "the caller's own"),
        "group": ("any presented claim is a member", "the one shared set"),
        "restricted": (
            ("the above, **and** the request is explicitly restricted, **and** any presented "
            "claim holds `restricted-access`"),
            "the same",
        ),
    }  # fmt: skip


# Who asks for what: application, caller, restricted request, rights held, detail.
CLOSED = application(members=claims(ALICE, "group:pay"))
RESTRICTED = application(restricted=True)
GONE = folded(ApplicationDeleted("payroll"), start=INDIVIDUAL)
HOLDS = (("restricted-access", ALICE),)
BY_GROUP = (("restricted-access", "group:pay"),)
READS = [
    # individual, open: the caller's own claim is a user or service
    (INDIVIDUAL, caller(ALICE), False, (), "owner"),
    (INDIVIDUAL, caller("service:etl"), False, (), "owner"),
    (INDIVIDUAL, caller("group:pay"), False, (), "not-an-owner"),
    (INDIVIDUAL, caller(ADA), False, (), "owner"),
    # individual, closed: the same, and any presented claim is a member
    (CLOSED, caller(ALICE), False, (), "owner"),
    (CLOSED, caller("user:bob", "group:pay"), False, (), "owner"),
    (CLOSED, caller("user:bob", "group:other"), False, (), "not-a-member"),
    (CLOSED, caller("group:pay"), False, (), "not-an-owner"),
    (CLOSED, caller(STRANGER), False, (("full-control", STRANGER),), "not-a-member"),
    # group: any presented claim is a member; an administrator is none
    (GROUP, caller("user:bob", "group:pay"), False, (), "member"),
    (GROUP, caller("group:pay"), False, (), "member"),
    (GROUP, caller("user:bob"), False, (), "not-a-member"),
    (GROUP, caller(ADA), False, (), "not-a-member"),
    (GROUP, caller(ADA), False, tuple((right, ADA) for right in RIGHTS), "not-a-member"),
    # restricted: the above, and the request is restricted, and a claim holds the right
    (RESTRICTED, caller(ALICE), True, HOLDS, "owner"),
    (RESTRICTED, caller(ALICE, "group:pay"), True, BY_GROUP, "owner"),
    (RESTRICTED, caller(ALICE), False, HOLDS, "restricted-request-needed"),
    (RESTRICTED, caller(ALICE), True, (), "restricted-access-needed"),
    (RESTRICTED, caller("group:pay"), True, BY_GROUP, "not-an-owner"),
    # an explicitly restricted request needs the right in any application
    (INDIVIDUAL, caller(ALICE), True, (), "restricted-access-needed"),
    (INDIVIDUAL, caller(ALICE), True, HOLDS, "owner"),
    # what is not there, or not any more
    (None, caller(ALICE), False, (), "no-such-application"),
    (GONE, caller(ALICE), False, (), "no-such-application"),
]


@pytest.mark.parametrize("case", READS, ids=[f"{n}-{case[4]}" for n, case in enumerate(READS)])
def test_reading_is_as_the_page_says(case):
    asked, who, restricted, held, detail = case
    decision = decide_get(asked, rights(*held), who, restricted=restricted)
    assert decision.detail == detail
    assert decision.allowed is (detail in {"owner", "member"})
    if decision.allowed:
        assert decision.through in who.claims
        assert owner_for(asked, who) == (None if asked.is_group else who.claim)


def test_a_field_that_is_not_there_is_refused_to_those_who_may_and_hidden_from_the_rest():
    asked = ("Windows Password", "PIN")
    told = decide_get(INDIVIDUAL, rights(), caller(ALICE), restricted=False, fields=asked)
    assert (told.allowed, told.detail) == (False, "unknown-field")
    hidden = decide_get(GROUP, rights(), caller(ALICE), restricted=False, fields=asked)
    assert hidden.detail == "not-a-member"
    malformed = decide_get(INDIVIDUAL, rights(), caller(ALICE), restricted=False, fields=("\0",))
    assert malformed.detail == "unknown-field"


def test_every_detail_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    details = {case[4] for case in READS} | {"unknown-field", "not-set"}
    assert [detail for detail in details if f"`{detail}`" not in page] == []


def test_nobody_owns_anything_in_a_group_application():
    for verb in (Verb.SET_CREDENTIALS, Verb.DELETE_CREDENTIALS):
        assert not decide(verb, GROUP, rights(), caller(ALICE), owner=claim(ALICE)).allowed


@pytest.mark.parametrize("verb", Verb)
def test_a_deleted_application_has_no_administrator_and_no_owner(verb):
    for who, held in ((ADA, ()), (ALICE, ()), (STRANGER, (("all-applications", STRANGER),))):
        assert not decide(verb, GONE, rights(*held), caller(who), owner=claim(who)).allowed


def test_owners_of_a_closed_application_are_its_members():
    for verb in (Verb.SET_CREDENTIALS, Verb.DELETE_CREDENTIALS):
        for who, may in ((ALICE, True), (STRANGER, False)):
            told = decide(verb, CLOSED, rights(), caller(who), owner=claim(who))
            assert told.allowed is may


TEXTS = ("user:alice", "user:bob", "service:etl", "group:pay", "group:ops", "role:dba")
names = st.sampled_from(TEXTS).map(parse_claim)
callers = st.builds(Caller, names, st.lists(names, max_size=3).map(tuple))
held = st.frozensets(st.tuples(st.sampled_from(RIGHTS), st.sampled_from(TEXTS)), max_size=6)
applications = st.builds(
    lambda kind, members, restricted, is_open: replace(
        application(kind, members=tuple(members), restricted=restricted),
        open=kind == "individual" and is_open,
    ),
    st.sampled_from(("individual", "group")),
    st.frozensets(names, max_size=3),
    st.booleans(),
    st.booleans(),
)


@given(applications, callers, held, st.booleans())
def test_whoever_reads_is_a_member_or_an_owner_and_asked_rightly(asked, who, holds, restricted):
    if not decide_get(asked, rights(*holds), who, restricted=restricted).allowed:
        return
    member = any(one in asked.members for one in who.claims)
    if asked.is_group:
        assert member
    else:
        assert who.claim.type in {"user", "service"}
        assert asked.open or member
    assert restricted or not asked.restricted
    assert not restricted or any(("restricted-access", str(one)) in holds for one in who.claims)


@given(applications, callers, held, st.booleans(), names)
def test_one_claim_more_never_takes_anything_away(asked, who, holds, restricted, more):
    before = decide_get(asked, rights(*holds), who, restricted=restricted)
    after = replace(who, groups=(*who.groups, more))
    if before.allowed:
        assert decide_get(asked, rights(*holds), after, restricted=restricted).allowed
    for verb in Verb:
        if decide(verb, asked, rights(*holds), who, owner=who.claim).allowed:
            assert decide(verb, asked, rights(*holds), after, owner=who.claim).allowed
