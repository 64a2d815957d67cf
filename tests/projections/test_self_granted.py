"""A grant is one's own while it stands, and only for what it lets through."""

from __future__ import annotations

import pytest

from ledger.aggregates.application import (
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationGranted,
    ApplicationRevoked,
    create,
)
from ledger.aggregates.roles import RoleGranted, RoleRevoked
from projections.self_granted import Grants
from tests.ledger.recording import claim, recorded
from tests.projections.conftest import record_of

KIM = "user:kim"


def folded(*events, by=KIM):
    grants = Grants()
    for position, event in enumerate(events, start=1):
        grants.see(recorded(event, position, position, by))
    return grants.found


def read(position, **fields):
    """A read of kim's at a position."""
    values = {"application": "Till", "caller": KIM, "claims": (KIM, "group:ops"), "through": KIM}
    record = record_of(**{**values, **fields})
    return recorded(record, position, 1), record


def granted(role="member", to=KIM):
    return ApplicationGranted("Till", role, to)


def test_the_restricted_right_serves_restricted_reads_anywhere():
    """Given to oneself or to a group that one presents, as long as it is held."""
    for to in (KIM, "group:ops"):
        (grant,) = folded(
            RoleGranted("restricted-access", to), RoleRevoked("restricted-access", to)
        )
        assert grant.ended == 2
        (grant,) = folded(RoleGranted("restricted-access", to))
        assert grant.served(*read(5, restricted=True))
        assert grant.served(*read(5, restricted=True, application="Other"))
        assert not grant.served(*read(5))
        assert not grant.served(*read(5, restricted=True, caller="user:bob"))
    assert folded(RoleGranted("auditor", KIM)) == []


def test_a_membership_serves_what_it_let_through():
    """In its application, in any case of the ID; not what another claim let through."""
    (grant,) = folded(granted())
    assert grant.served(*read(2))
    assert grant.served(*read(2, application="TILL"))
    assert not grant.served(*read(2, through="group:ops"))
    assert not grant.served(*read(2, application="Other"))


def test_administrators_need_only_present_the_claim():
    """It gives no right to read, so whatever let them in."""
    (grant,) = folded(granted("administrator", "group:ops"))
    assert grant.served(*read(2))
    assert not grant.served(*read(2, claims=(KIM,)))


def test_a_redeemers_role_serves_what_was_read_by_ticket():
    """And no read of one's own; a membership serves no read by ticket."""
    (grant,) = folded(granted("ticket-redeemer"))
    assert grant.served(*read(2, on_behalf_of="user:ann"))
    assert not grant.served(*read(2))
    assert not grant.served(*read(2, on_behalf_of="user:ann", through="group:ops"))
    (member,) = folded(granted())
    assert not member.served(*read(2, on_behalf_of="user:ann"))


@pytest.mark.parametrize(
    "end",
    [
        ApplicationRevoked("till", "member", KIM),
        ApplicationDeleted("till"),
        create(None, "till", kind="group")[0],
    ],
)
def test_it_counts_from_the_grant_to_its_end(end):
    """Revoked, deleted with the application, or followed by another creation."""
    grant = folded(granted(), end)[0]
    assert (grant.position, grant.ended) == (1, 2)
    assert not grant.served(*read(3))
    assert not grant.served(*read(1))


def test_what_was_given_anew_by_somebody_else_is_theirs():
    """And so is what an operator gives."""
    grants = Grants()
    for position, by in enumerate((KIM, "user:ann", "operator"), start=1):
        grants.see(recorded(granted(), position, position, by))
    assert [(one.author, one.ended) for one in grants.found] == [(KIM, 2), ("user:ann", 3)]


def test_whoever_creates_gives_all_that_is_named_then():
    """Members, administrators and redeemers of the creation are its author's grants."""
    (created,) = create(
        None,
        "Till",
        kind="group",
        ticketing=True,
        members=(claim(KIM),),
        administrators=(claim(KIM),),
        ticket_redeemers=(claim(KIM),),
    )
    assert isinstance(created, ApplicationCreated)
    assert [one.held.role for one in folded(created)] == [
        "member", "administrator", "ticket-redeemer",
    ]  # fmt: skip


HISTORY = (
    granted("ticket-redeemer"),
    granted("administrator", "group:ops"),
    granted(),
    RoleGranted("restricted-access", "group:ops"),
    ApplicationGranted("Other", "member", KIM),
    ApplicationRevoked("till", "member", KIM),
    granted(to="group:ops"),
    RoleRevoked("restricted-access", "group:ops"),
    ApplicationDeleted("till"),
    create(None, "Till", kind="group", members=(claim(KIM),), administrators=(claim(KIM),))[0],
)
READS = (
    {},
    {"restricted": True},
    {"application": "OTHER"},
    {"claims": (KIM,)},
    {"through": "group:ops"},
    {"caller": "user:bob", "claims": ("user:bob", "group:ops"), "through": "group:ops"},
    {"through": None},
    {"on_behalf_of": "user:bob"},
)


@pytest.mark.parametrize("fields", READS)
def test_the_oldest_grant_that_stands_is_told_of_a_read_as_it_goes_by(fields):
    """At every moment, the one that looking through all grants afterwards finds as well."""
    grants, told = Grants(), []
    for position, event in enumerate(HISTORY, start=1):
        grants.see(recorded(event, 2 * position, position, KIM))
        by = read(2 * position + 1, **fields)
        told.append((by, grants.serving(*by)))
    for by, grant in told:
        served = [one for one in grants.found if one.served(*by)]
        assert grant is next(iter(served), None)
