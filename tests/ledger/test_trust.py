"""An access by token is decided at its own position, and can be decided again from the log."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from msgspec.structs import replace as changed

from ledger.aggregates import issuers
from ledger.aggregates.access import AccessDenied
from ledger.claims import parse_claim
from ledger.errors import NotFound, Refused
from ledger.log.transaction import Transaction
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.usecases.trust import ChangeIssuers
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.ledger.tokens.conftest import Counter, StillClock, trusting
from tests.ledger.tokens.minting import ISSUER, mint

VALUES = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("one")}
ALICE = parse_claim(f"{ISSUER}#user:alice")


def filled(house):
    """The step after: two applications in which alice has credentials."""
    ledger = house.open()
    for name in ("payroll", "billing"):
        ledger.create_application(Acting(), name, kind="individual")
        ledger.set_credentials(Acting(), name, ALICE, VALUES)
    ledger.close()


@pytest.fixture
def counter(prepared):
    house = prepared(trusting, filled)
    house.clock = StillClock()
    made = Counter(house)
    yield made
    made.ledger.close()


def rechecked(counter):
    found = redecide(counter.ledger._writer.store, counter.ledger._desk.mapper)
    assert found["unreadable"] == []
    return found["checked"], found["wrong"]


def caller(counter, **said):
    return counter.verify(mint(counter.scene.now, **said)).caller


def denied(counter, who, application="payroll"):
    """The detail of the refusal that is recorded, which tells nothing outside."""
    with pytest.raises(Refused) as caught:
        counter.ledger.retrieve(who, application)
    assert caught.value.code == "access-denied"
    recorded = counter.events("access.")[-1]
    assert isinstance(recorded.event, AccessDenied)
    assert recorded.position == caught.value.position
    return recorded.event.detail


def test_an_access_by_token_is_recorded_with_what_the_token_said(counter):
    """Who, by whose word, for which client, acted for by whom; and the recheck agrees."""
    who = caller(counter, act={"sub": "robot-7"}, groups=["staff"])
    for _ in range(3):
        assert counter.ledger.retrieve(who, "payroll").version == 1
    first, *_, last = counter.events("access.granted")
    assert first.actor == last.actor
    assert last.actor.token == who.token
    assert last.actor.claim == "operator"
    assert last.actor.authenticated_by == f"token:{ISSUER};operator:1/tester@host"
    assert rechecked(counter) == (3, [])


def test_after_its_issuer_is_removed_no_token_counts(counter):
    """At once, for callers verified before, and also where the same decision was just made."""
    who = caller(counter)
    counter.ledger.retrieve(who, "payroll")
    counter.ledger.trust.remove(Acting(), ISSUER)
    assert denied(counter, who) == "issuer-not-trusted"
    with pytest.raises(Refused):
        counter.ledger.set_credentials(Acting(who), "payroll", ALICE, VALUES)
    assert rechecked(counter) == (2, [])


def test_an_issuer_that_is_trusted_again_needs_new_tokens_verified(counter):
    """What was verified by settings that ended does not count under new ones."""
    who, held = caller(counter), counter.ledger.trust.issuers().get(ISSUER).settings
    counter.ledger.trust.remove(Acting(), ISSUER)
    counter.ledger.trust.add(Acting(), ISSUER, held)
    assert denied(counter, who) == "issuer-not-trusted"
    counter.house.clock.now += 1_000_000
    assert counter.ledger.retrieve(caller(counter), "payroll")
    assert rechecked(counter) == (2, [])


def test_changed_settings_count_from_their_position_on(counter):
    """A caller verified before by laxer ones is refused, whatever is kept of decisions."""
    who = caller(counter)
    counter.ledger.retrieve(who, "payroll")
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, skew_s=1))
    assert denied(counter, who) == "issuer-not-trusted"


def test_the_operator_acts_for_a_claim_of_a_removed_issuer(counter):
    """Without a token it is the operator's word, as for every claim."""
    counter.ledger.trust.remove(Acting(), ISSUER)
    assert counter.ledger.retrieve(Caller(ALICE), "payroll")
    assert counter.events("access.granted")[-1].actor.token is None


def test_a_token_for_one_application_counts_there_only(counter):
    """For reading and changing, whatever the service let through; the recheck agrees."""
    who = caller(counter, app="PAYROLL")
    assert counter.ledger.retrieve(who, "payroll")
    assert denied(counter, who, "billing") == "token-for-another-application"
    counter.ledger.set_credentials(Acting(who), "payroll", ALICE, VALUES)
    for attempt in (
        lambda: counter.ledger.set_credentials(Acting(who), "billing", ALICE, VALUES),
        lambda: counter.ledger.delete_credentials(Acting(who), "billing", ALICE),
        lambda: counter.ledger.create_application(Acting(who), "mine", kind="group"),
    ):
        with pytest.raises(Refused):
            attempt()
    assert rechecked(counter) == (2, [])


def test_a_bound_token_holds_no_right_over_everything(counter):
    """Full control by a token that names one application is no full control."""
    counter.ledger.role_grant(Acting(), "full-control", str(ALICE))
    who = caller(counter, app="payroll")
    with pytest.raises(Refused):
        counter.ledger.role_grant(Acting(who), "auditor", "user:eve")
    counter.ledger.grant(Acting(who), "payroll", "administrator", "user:bob")
    with pytest.raises(Refused):
        counter.ledger.grant(Acting(who), "billing", "administrator", "user:bob")


def test_a_bound_token_redeems_no_ticket_elsewhere(counter):
    """A redeemer's token for one application gives it nothing by a ticket in another."""
    ledger = counter.ledger
    redeemers = [str(ALICE)]
    ledger.create_application(
        Acting(), "portal", kind="individual", ticketing=True, ticket_redeemers=redeemers
    )
    ledger.set_credentials(Acting(), "portal", ALICE, VALUES)
    ticket = ledger.tickets.issue(Caller(ALICE), "portal").ticket.reveal()
    with pytest.raises(Refused):
        ledger.tickets.redeem(caller(counter, app="billing"), "portal", ticket)
    refused = counter.events("access.")[-1].event
    assert refused.detail == "token-for-another-application"
    assert ledger.tickets.redeem(caller(counter, app="portal"), "portal", ticket).version == 1
    assert rechecked(counter)[1] == []


def test_a_change_by_token_is_recorded_with_the_token(counter):
    """The author is the token's subject, by the issuer's word."""
    who = caller(counter)
    counter.ledger.set_credentials(Acting(who), "payroll", ALICE, VALUES)
    recorded = counter.events("credential.set")[-1]
    assert recorded.actor.claim == str(ALICE)
    assert recorded.actor.token == who.token


def test_no_question_is_recorded_in_the_name_of_somebody_who_is_not_believed(counter):
    """Asking the history is appended by no rule but who the author is, and that is decided too."""
    who = caller(counter)
    counter.ledger.record_query(Acting(who), "who-can", 1)
    assert counter.events("audit.queried")[-1].actor.claim == str(ALICE)
    counter.ledger.trust.remove(Acting(), ISSUER)
    before = counter.ledger.head().size
    with pytest.raises(Refused) as caught:
        counter.ledger.record_query(Acting(who), "who-can", 1)
    assert caught.value.code == "not-allowed"
    assert counter.ledger.head().size == before


def test_a_stranger_to_the_application_is_refused_as_ever(counter):
    """A good token gives no access by itself."""
    who = caller(counter, sub="mallory")
    with pytest.raises(NotFound):
        counter.ledger.retrieve(who, "payroll")
    counter.ledger.grant(Acting(), "payroll", "member", str(ALICE))
    assert denied(counter, who) == "not-a-member"
    with pytest.raises(Refused):
        counter.ledger.delete_credentials(Acting(who), "payroll", ALICE)
    assert rechecked(counter) == (2, [])


def test_the_recheck_finds_an_access_by_a_token_that_was_not_believed(counter, monkeypatch):
    """One that is recorded as granted after its issuer's end should not have been."""
    who = caller(counter)
    counter.ledger.trust.remove(Acting(), ISSUER)
    monkeypatch.setattr("ledger.policy.is_believed", lambda *_: True)
    position = counter.ledger.retrieve(who, "payroll").position
    monkeypatch.undo()
    _, (wrong,) = rechecked(counter)
    assert (wrong["position"], wrong["recorded"], wrong["recomputed"]) == (
        position, "granted", "denied",
    )  # fmt: skip


def test_the_recheck_finds_a_claim_that_the_token_could_not_make(counter, monkeypatch):
    """A record of a local claim by the token of an issuer that does not speak for local."""
    who = replace(caller(counter), claim=parse_claim("user:root"), groups=())
    monkeypatch.setattr("ledger.policy.is_believed", lambda *_: True)
    with pytest.raises(NotFound):
        counter.ledger.retrieve(who, "payroll")
    monkeypatch.undo()
    _, (wrong,) = rechecked(counter)
    assert "issuer-not-trusted" in wrong["why"]


def test_the_recheck_finds_a_change_by_a_token_that_was_not_believed(counter, monkeypatch):
    """Whatever was changed in the name of somebody whose issuer was gone."""
    who = caller(counter)
    counter.ledger.trust.remove(Acting(), ISSUER)
    for name in ("ledger.policy.is_believed", "ledger.usecases.desk.is_believed"):
        monkeypatch.setattr(name, lambda *_: True)
    position = counter.ledger.set_credentials(Acting(who), "payroll", ALICE, VALUES).position
    monkeypatch.undo()
    _, (wrong,) = rechecked(counter)
    assert (wrong["position"], wrong["recomputed"]) == (position, "not-allowed")


OVER = (600 + 30) * 1_000_000
"""From a token's making to its end, the issuer's clock skew included."""


def test_a_token_that_expires_while_its_request_waits_counts_for_nothing(counter):
    """It was verified in time; at its own position it is over, and nothing is recorded of it."""
    ledger, clock = counter.ledger, counter.house.clock
    who, began = caller(counter), clock.now
    ledger.create_application(Acting(), "cube", kind="individual", ticketing=True)
    clock.now = began + OVER - 1_000_000
    assert ledger.retrieve(who, "payroll").version == 1
    clock.now = began + OVER
    before = ledger.head().size
    for ask in (
        lambda: ledger.retrieve(who, "payroll"),
        lambda: ledger.retrieve(who, "nowhere"),
        lambda: ledger.tickets.issue(who, "cube"),
        lambda: ledger.set_credentials(Acting(who), "payroll", ALICE, VALUES),
        lambda: ledger.record_query(Acting(who), "who-can", 1),
    ):
        with pytest.raises(Refused) as caught:
            ask()
        assert caught.value.code == "token-refused"
    assert ledger.head().size == before
    assert rechecked(counter)[1] == []


@pytest.mark.parametrize("moved", [OVER + 2_000_000, -(3600 + 30 - 600 + 2) * 1_000_000])
def test_the_recheck_finds_what_was_recorded_when_a_token_cannot_have_been_good(
    counter, monkeypatch, moved
):
    """Behind its end, or longer before it than its issuer's tokens live; the very same text too."""
    ledger, clock = counter.ledger, counter.house.clock
    ledger.create_application(Acting(), "cube", kind="individual", ticketing=True)
    if moved < 0:
        clock.now -= moved
    who = caller(counter)
    if moved > 0:
        for _ in range(2):
            clock.now += 1_000_000  # a clock that stands still is told in the text
            ledger.retrieve(who, "payroll")
        assert rechecked(counter)[1] == []
    clock.now += moved
    monkeypatch.setattr("ledger.usecases.desk.Desk._require_alive", lambda *_: None)
    wrong = [ledger.retrieve(who, "payroll").position for _ in range(2)]
    wrong.append(ledger.tickets.issue(who, "cube").position)
    wrong.append(ledger.set_credentials(Acting(who), "payroll", ALICE, VALUES).position)
    monkeypatch.undo()
    _, found = rechecked(counter)
    assert [one["position"] for one in found] == wrong
    assert {one["why"] for one in found} == {"token-not-valid-then"}


def test_what_was_recorded_by_a_clock_that_was_behind_is_judged_by_what_it_read(counter):
    """Recorded times never fall behind the log; what a token is judged by does."""
    ledger, clock = counter.ledger, counter.house.clock
    who = caller(counter)
    clock.now += 3600 * 1_000_000
    ledger.grant(Acting(), "payroll", "member", str(ALICE))
    clock.now -= 3600 * 1_000_000
    assert ledger.retrieve(who, "payroll").version == 1
    assert rechecked(counter) == (1, [])


def test_removing_and_reading_race_to_one_order(counter):
    """In one batch, whatever comes after the removal is refused, and whatever before is not."""
    who = caller(counter)
    ledger, trust = counter.ledger, counter.ledger.trust

    def both(first, second):
        class Both:
            def decide(self, transaction: Transaction):
                return [one.decide(transaction) for one in (first, second)]

        return ledger._writer.run(Both())

    reading = ledger._retrieval(who, "payroll", False, None, "")
    held = trust.issuers().get(ISSUER).settings
    removing = ChangeIssuers(ledger._desk, Acting(), lambda state: issuers.remove(state, ISSUER))
    granted, _ = both(reading, removing)
    assert not isinstance(granted.record, AccessDenied)
    trust.add(Acting(), ISSUER, held)
    counter.house.clock.now += 1_000_000
    reading = ledger._retrieval(caller(counter), "payroll", False, None, "")
    _, release = both(removing, reading)
    assert isinstance(release.record, AccessDenied)
    assert rechecked(counter) == (2, [])
