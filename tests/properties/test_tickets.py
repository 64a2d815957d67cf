"""Redeeming a ticket against a table of conditions, each told on its own, at any time."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.aggregates.actor import Actor
from ledger.aggregates.application import create, fold_application
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import NO_ROLES
from ledger.aggregates.tickets import TicketState
from ledger.claims import parse_claim
from ledger.policy import Caller, Moment, decide_get, decide_redemption

ISSUED_AT = 1_795_000_000_000_000
SECOND_US = 1_000_000
PEOPLE = ("user:alice", "service:job")
GROUPS = ("group:finance", "group:sales")
REDEEMERS = ("service:portal", "group:portals")
ACTOR = Actor("operator", 1, "ann", "ann@host")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""How long a case takes to make says how busy the machine is, and nothing of the rules."""


@dataclass(frozen=True)
class Case:
    """Everything that a redemption rests on."""

    application: object
    ticket: TicketState | None
    redeemer: Caller
    moment: Moment


def application(creation, **settings):
    (created,) = create(None, "Mail", **settings)
    fields = (creation, bytes(16), 1, created.TOPIC, 1, 202611, ISSUED_AT, created, ACTOR, "")
    return fold_application(None, Recorded(*fields))


def claims(texts):
    return tuple(parse_claim(text) for text in texts)


@st.composite
def cases(draw):
    is_group = draw(st.booleans())
    ticketing = draw(st.sampled_from((True, True, True, False)))
    state = application(
        draw(st.sampled_from((7, 9))),
        kind="group" if is_group else "individual",
        ticketing=ticketing,
        members=claims(draw(st.sets(st.sampled_from((*PEOPLE, *GROUPS)), max_size=2))),
        ticket_redeemers=claims(draw(st.sets(st.sampled_from(REDEEMERS)))) if ticketing else (),
        ticket_timeout_s=draw(st.sampled_from((1, 60, 120))),
    )
    state = draw(st.sampled_from((state, state, state, replace(state, deleted=True), None)))
    life_s = draw(st.sampled_from((None, 1, 60, 120)))
    bound = draw(st.sampled_from((None, "mail", "Other")))
    ticket = TicketState(
        digest=bytes(32),
        user="user:alice",
        claims=("user:alice", *sorted(draw(st.sets(st.sampled_from(GROUPS))))),
        token=None,
        application=bound,
        creation=None if bound is None else draw(st.sampled_from((7, 9))),
        issued_at=ISSUED_AT,
        expires_at=None if life_s is None else ISSUED_AT + life_s * SECOND_US,
        position=20,
        recorded_at=ISSUED_AT + draw(st.sampled_from((0, 3600 * SECOND_US))),
        ended=draw(st.sampled_from((None, None, None, 21))),
    )
    edges = [edge * SECOND_US + by for edge in (0, 1, 60, 120, -300) for by in (-1, 0, 1)]
    moment = Moment(
        ISSUED_AT + draw(st.sampled_from(edges)),
        ticket.recorded_at + draw(st.sampled_from([edge for edge in edges if edge > 0])),
    )
    who, *further = claims((draw(st.sampled_from(("service:portal", "service:x"))), *draw(
        st.sets(st.sampled_from((*GROUPS, "group:portals")))
    )))  # fmt: skip
    known = draw(st.sampled_from((ticket, ticket, ticket, ticket, None)))
    return Case(state, known, Caller(who, tuple(further)), moment)


def conditions(case):
    """Each condition by itself, in words of its own."""
    state, ticket, (reading, recorded_at) = case.application, case.ticket, case.moment
    if state is None or ticket is None:
        return [False]
    ends = [state.ticket_timeout_s * SECOND_US]
    if ticket.expires_at is not None:
        ends.append(ticket.expires_at - ISSUED_AT)
    user = Caller(parse_claim("user:alice"), claims(ticket.claims[1:]))
    return [
        not state.deleted,
        state.ticketing,
        any(str(one) in map(str, state.ticket_redeemers) for one in case.redeemer.claims),
        all(reading < ISSUED_AT + end for end in ends),
        all(recorded_at < ticket.recorded_at + end for end in ends),
        reading >= ISSUED_AT - 300 * SECOND_US,
        ticket.ended is None,
        ticket.application in {None, "mail"},
        ticket.creation in {None, state.creation},
        decide_get(state, NO_ROLES, user, restricted=False).allowed,
    ]


@PATIENT
@given(cases())
def test_it_is_granted_exactly_where_every_condition_holds(case):
    """And the claims that let it through are the redeemer's and the user's own."""
    decision = decide_redemption(
        case.application, NO_ROLES, case.redeemer, case.ticket, case.moment
    )
    assert decision.allowed is all(conditions(case))
    if decision.allowed:
        assert decision.detail == "redeemer"
        assert decision.through in case.redeemer.claims
        assert str(decision.behalf) in case.ticket.claims


@PATIENT
@given(cases(), st.integers(0, 10**12), st.integers(0, 10**12))
def test_no_ticket_gets_younger(case, later, recorded_later):
    """What has expired stays so, however the clock and the log go on, and whichever goes back."""
    state = case.application
    if state is None or case.ticket is None:
        return
    reading, recorded_at = case.moment
    over = case.ticket.is_over(state.ticket_timeout_s, reading, recorded_at)
    after = Moment(max(reading, ISSUED_AT) + later, recorded_at + recorded_later)
    assert case.ticket.is_over(state.ticket_timeout_s, *after) or not over or reading < ISSUED_AT
    by_log = case.ticket.is_over(state.ticket_timeout_s, ISSUED_AT, recorded_at)
    back = Moment(reading - later, recorded_at + recorded_later)
    assert case.ticket.is_over(state.ticket_timeout_s, *back) or not by_log
