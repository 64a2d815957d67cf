"""Of a case-blind issuer every name is the same in any case, whoever writes it and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from ledger.aggregates.issuers import Issuers
from ledger.aggregates.roles import Roles
from ledger.claims import Claim, casefolded, parse_claim
from ledger.errors import InvalidInput, NotFound, Refused
from ledger.policy import Caller, Verb, decide, decide_get, decide_issue
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import ImportItem
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.ledger.test_policy import application
from tests.ledger.tokens.conftest import Counter, StillClock, settings, trusting
from tests.ledger.tokens.minting import mint

BLIND, EXACT, UNKNOWN = "https://blind.example", "https://exact.example", "https://new.example"
VALUES = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("one")}
ALICE = parse_claim(f"{BLIND}#user:ALICE")
WRITTEN = [parse_claim(f"{BLIND}#user:{name}") for name in ("alice", "ALICE", "Alice")]


def naming(house):
    """The step that names two more issuers, one of them case-blind."""
    ledger = house.open()
    ledger.trust.add(Acting(), BLIND, settings("EC", case_blind=True, groups_claim="groups"))
    ledger.trust.add(Acting(), EXACT, settings("RSA"))
    ledger.create_application(Acting(), "payroll", kind="individual")
    ledger.create_application(Acting(), "vault", kind="group", members=[f"{BLIND}#group:Finance"])
    ledger.set_credentials(Acting(), "vault", None, VALUES)
    ledger.close()


@pytest.fixture
def counter(prepared):
    house = prepared(trusting, naming)
    house.clock = StillClock()
    made = Counter(house)
    yield made
    found = redecide(made.ledger._writer.store, made.ledger._desk.mapper)
    assert (found["wrong"], found["unreadable"]) == ([], [])
    made.ledger.close()


def by_token(counter, name, **said):
    return counter.verify(mint(counter.scene.now, iss=BLIND, sub=name, **said)).caller


@pytest.mark.parametrize("written", WRITTEN)
def test_an_owner_is_one_in_any_case(counter, written):
    """What is set for one spelling is got by token and by the operator's word in every other."""
    counter.ledger.set_credentials(Acting(), "payroll", written, VALUES)
    for caller in (by_token(counter, "aLiCe"), *map(Caller, WRITTEN)):
        assert counter.ledger.retrieve(caller, "payroll").owner == f"{BLIND}#user:alice"
    assert {one.event.caller for one in counter.events("access.granted")} == {str(WRITTEN[0])}


def test_roles_and_rights_are_held_in_any_case(counter):
    """Granted, met and revoked in three spellings, each time it is the same claim."""
    ledger, alice = counter.ledger, by_token(counter, "alice")
    granted = ledger.grant(Acting(), "payroll", "administrator", str(ALICE))
    assert granted.changed
    assert not ledger.grant(Acting(), "payroll", "administrator", f"{BLIND}#user:aLICE").changed
    assert ledger.allowed(Acting(alice), Verb.MANAGE_APPLICATION, "payroll")
    assert ledger.allowed(Acting(Caller(ALICE)), Verb.MANAGE_APPLICATION, "payroll")
    assert ledger.revoke(Acting(), "payroll", "administrator", f"{BLIND}#user:Alice").changed
    assert not ledger.allowed(Acting(alice), Verb.MANAGE_APPLICATION, "payroll")
    assert ledger.role_grant(Acting(), "create-application", str(ALICE)).changed
    ledger.create_application(Acting(Caller(ALICE)), "hers", kind="individual")
    assert ledger.application("hers").administrators == {WRITTEN[0]}
    assert counter.events("application.created")[-1].actor.claim == str(WRITTEN[0])
    assert ledger.role_revoke(Acting(), "create-application", f"{BLIND}#user:Alice").changed
    assert ledger.roles().held == frozenset()


def test_a_group_is_met_in_any_case(counter):
    """Named at creation in one case, presented by token and by the operator in others."""
    member = by_token(counter, "bob", groups=["FINANCE"])
    assert counter.ledger.retrieve(member, "vault").version == 1
    said = Caller(ALICE, (parse_claim(f"{BLIND}#group:FiNANCE"),))
    assert counter.ledger.retrieve(said, "vault").version == 1


def test_an_owner_administers_their_own_in_any_case(counter):
    """Setting, restoring and deleting, named or not, meets the one mapping."""
    ledger, alice = counter.ledger, Acting(Caller(ALICE))
    ledger.set_credentials(alice, "payroll", None, VALUES)
    outcome = ledger.set_credentials(alice, "payroll", WRITTEN[2], VALUES)
    assert (outcome.owner, outcome.version) == (str(WRITTEN[0]), 2)
    restored = ledger.restoring.credentials(Acting(), "payroll", WRITTEN[2], version=1)
    assert restored.owner == str(WRITTEN[0])
    batch = ledger.import_batch(Acting(), [ImportItem("payroll", ALICE, VALUES)])
    assert batch.changed == (False,)
    ledger.delete_credentials(Acting(), "payroll", WRITTEN[2])
    with pytest.raises(NotFound):
        ledger.retrieve(Caller(WRITTEN[0]), "payroll")


def test_a_ticket_is_its_users_in_any_case(counter):
    """Issued by the operator's word, redeemed for the values set under the name as compared."""
    ledger = counter.ledger
    redeemer = f"{BLIND}#service:Portal"
    ledger.create_application(
        Acting(), "portal", kind="individual", ticketing=True, ticket_redeemers=[redeemer]
    )
    ledger.set_credentials(Acting(), "portal", WRITTEN[0], VALUES)
    issued = ledger.tickets.issue(Caller(ALICE), "portal")
    said = Caller(parse_claim(f"{BLIND}#service:PORTAL"))
    got = ledger.tickets.redeem(said, "portal", issued.ticket.reveal())
    assert got.owner == str(WRITTEN[0])
    for told in (counter.events("access.granted")[-1], counter.events("ticket.redeemed")[-1]):
        assert told.event.caller == f"{BLIND}#service:portal"


def test_a_leaver_loses_what_is_held_in_any_case(counter):
    """Whoever types the name of a leaver need not know in which case it was granted."""
    ledger = counter.ledger
    ledger.grant(Acting(), "payroll", "member", str(ALICE))
    ledger.role_grant(Acting(), "auditor", f"{BLIND}#user:alice")
    gone = ledger.leave(Acting(), WRITTEN[2], lambda: ["payroll"], exposed=0)
    assert gone.roles == (("payroll", "member"),)
    assert gone.rights == ("auditor",)


def test_another_issuers_values_are_compared_exactly(counter):
    """Two names that differ in case only are two people of an issuer that is not case-blind."""
    ledger = counter.ledger
    ledger.set_credentials(Acting(), "payroll", parse_claim(f"{EXACT}#user:Bob"), VALUES)
    assert ledger.retrieve(Caller(parse_claim(f"{EXACT}#user:Bob")), "payroll").version == 1
    with pytest.raises(NotFound):
        ledger.retrieve(Caller(parse_claim(f"{EXACT}#user:bob")), "payroll")


def test_a_removed_issuers_names_are_still_the_same_in_any_case(counter):
    """What its people hold can be taken from them under any spelling."""
    counter.ledger.grant(Acting(), "payroll", "member", str(ALICE))
    counter.ledger.trust.remove(Acting(), BLIND)
    assert counter.ledger.revoke(Acting(), "payroll", "member", str(WRITTEN[2])).changed


def test_whether_an_issuer_is_case_blind_is_said_once(counter):
    """A change, and adding it anew, with another word are refused; nothing changes."""
    trust, before = counter.ledger.trust, counter.ledger.head().size
    with pytest.raises(InvalidInput, match="first added") as caught:
        trust.change(Acting(), BLIND, lambda held: changed(held, case_blind=False))
    assert caught.value.code == "fixed-setting"
    assert counter.ledger.head().size == before
    trust.remove(Acting(), EXACT)
    with pytest.raises(InvalidInput, match="first added"):
        trust.add(Acting(), EXACT, settings("RSA", case_blind=True))
    assert trust.add(Acting(), EXACT, settings("RSA")).changed


def test_a_name_whose_issuer_nobody_knows_is_kept_only_as_it_would_be_compared(counter):
    """Else it would match nobody once its issuer is added as case-blind."""
    ledger, name = counter.ledger, f"{UNKNOWN}#user:Carol"
    carol, before = parse_claim(name), ledger.head().size
    for refused in (
        lambda: ledger.grant(Acting(), "payroll", "member", name),
        lambda: ledger.role_grant(Acting(), "auditor", name),
        lambda: ledger.create_application(Acting(), "new", kind="group", members=[name]),
        lambda: ledger.set_credentials(Acting(), "payroll", carol, VALUES),
        lambda: ledger.import_batch(Acting(), [ImportItem("payroll", carol, VALUES)]),
    ):
        with pytest.raises(InvalidInput) as caught:
            refused()
        assert caught.value.code == "issuer-not-known"
        assert "issuer add" in caught.value.hint
    assert ledger.head().size == before
    assert ledger.grant(Acting(), "payroll", "member", name.lower()).changed
    ledger.trust.add(Acting(), UNKNOWN, settings("EC", case_blind=True))
    who = counter.verify(mint(counter.scene.now, iss=UNKNOWN, sub="CAROL")).caller
    with pytest.raises(NotFound):
        ledger.retrieve(who, "payroll")


def test_nobody_known_is_refused_as_ever(counter):
    """Asking under a name of an unknown issuer is denied and recorded, not turned away."""
    with pytest.raises(Refused):
        counter.ledger.retrieve(Caller(parse_claim(f"{UNKNOWN}#user:Carol")), "vault")


names = st.text("aAbBßẞıİΣςǅŉΐ\u0345\u0301 .\\", min_size=1, max_size=6)
claims = st.builds(
    Claim,
    st.sampled_from((BLIND, EXACT)),
    st.sampled_from(("user", "group")),
    names.filter(lambda name: bool(name.strip())),
).map(lambda claim: parse_claim(str(claim)))
KNOWN = Issuers(case_blind={BLIND: True, EXACT: False})


@given(st.lists(claims, min_size=1, max_size=3), st.lists(claims, max_size=3), claims)
def test_deciding_of_a_claim_and_of_its_canonical_form_is_one(presented, held, owner):
    """For every question that the policy answers, in any case and any form of letters."""
    members = tuple(map(KNOWN.canonical, held))
    state = application(members=members, administrators=members, ticketing=True)
    roles = Roles(frozenset(("delete-application", one) for one in members))
    caller = Caller(presented[0], tuple(presented[1:]))
    same = caller.canonical(KNOWN)
    assert same.canonical(KNOWN) is same

    def answers(who, whose):
        yield decide_get(state, roles, who, restricted=False, issuers=KNOWN)
        yield decide_issue(state, roles, who, bound=True, issuers=KNOWN)
        for verb in Verb:
            yield decide(verb, state, roles, who, owner=whose, issuers=KNOWN)

    assert list(answers(caller, owner)) == list(answers(same, KNOWN.canonical(owner)))
    assert list(answers(caller, caller.claim)) == list(answers(same, same.claim))


@given(st.text(min_size=1, max_size=8).map(lambda text: f"{BLIND}#user:x{text}"))
def test_folding_a_folded_claim_changes_nothing(text):
    """And what is folded reads back from its text."""
    try:
        folded = casefolded(parse_claim(text))
    except InvalidInput:
        return
    assert casefolded(folded) is folded
    assert parse_claim(str(folded)) == folded
