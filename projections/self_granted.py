"""Who gave themselves a role and then read with it.

A grant is one's own if its author is the claim that later reads, whatever claim it was given to:
an administrator who makes a group of theirs a member has made themselves one. It counts for reads
at which it still stood and its claim was presented; of a membership, those that it let through.
Creating an application with oneself in it is such a grant, too. Making oneself a redeemer counts
for what was read with somebody's ticket.

Authors are claims that somebody acted as. An operator who acts as nobody reads with `--as` for
whomever the rules allow, and needs no role for it: each record names the slot that was unlocked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.access import Access
from ledger.aggregates.application import (
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationGranted,
    ApplicationRevoked,
)
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import RoleGranted, RoleRevoked
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.log.store import Store
from projections.digests import compared
from projections.streams import Walk

MEMBER, ADMINISTRATOR, RESTRICTED = "member", "administrator", "restricted-access"
REDEEMER = "ticket-redeemer"
_SLOTS = ("operator", "auditor")


class Held(NamedTuple):
    """A role in an application, or a right in none."""

    application: str | None
    """The compared form of the ID."""
    role: str
    claim: str


class Grant(msgspec.Struct):
    """One role that somebody gave, and how long it stood."""

    held: Held
    author: str
    position: int
    ended: int | None = None
    """The position at which it was revoked or given anew; None if it stands."""

    def served(self, recorded: Recorded, record: Access) -> bool:
        """Whether its author read with it."""
        if record.caller != self.author or not self._stood(recorded.position):
            return False
        if self.held.application not in {None, compared(record.application)}:
            return False
        if self.held.role in {MEMBER, REDEEMER}:
            # Of a redemption, `through` is the redeemer's claim, and of a direct read the member's.
            by_ticket = record.on_behalf_of is not None
            is_meant = by_ticket is (self.held.role == REDEEMER)
            return is_meant and record.through == self.held.claim
        if self.held.role == RESTRICTED and not record.restricted:
            return False
        return self.held.claim in record.claims

    def as_document(self) -> dict[str, Any]:
        """What is told of it beside the read."""
        return {"position": self.position, "role": self.held.role, "claim": self.held.claim}

    def _stood(self, position: int) -> bool:
        return self.position < position and (self.ended is None or position < self.ended)


class Grants:
    """All grants whose author is a claim, as the log tells them."""

    def __init__(self) -> None:
        self.found: list[Grant] = []
        self._standing: dict[str | None, dict[Held, Grant]] = {}
        """By application; those of rights under None."""

    def see(self, recorded: Recorded) -> None:
        """Fold one event."""
        for held in _ended(recorded, self._standing):
            grant = self._standing.get(held.application, {}).pop(held, None)
            if grant is not None:
                grant.ended = recorded.position
        author = recorded.actor.claim
        for held in _given(recorded):
            if author not in _SLOTS:
                grant = Grant(held, author, recorded.position)
                self._standing.setdefault(held.application, {})[held] = grant
                self.found.append(grant)

    def serving(self, recorded: Recorded, record: Access) -> Grant | None:
        """The oldest that a read just now was made with, by whoever gave it to themselves."""
        key = compared(record.application)
        in_it, anywhere = self._standing.get(key, {}), self._standing.get(None, {})
        held = [(in_it, Held(key, role, record.through or "")) for role in (MEMBER, REDEEMER)]
        for claim in record.claims:
            held.append((in_it, Held(key, ADMINISTRATOR, claim)))
            held.append((anywhere, Held(None, RESTRICTED, claim)))
        found = (standing.get(one) for standing, one in held)
        served = [one for one in found if one is not None and one.served(recorded, record)]
        return min(served, key=lambda one: one.position, default=None)


def grants_of(
    store: Store, mapper: EventMapper, *, until: int | None = None, position: int | None = None
) -> list[Grant]:
    """All grants whose author is a claim, oldest first, from the log itself.

    Those up to a time, microseconds UTC, or to a position only, if told.
    """
    grants = Grants()
    walk = Walk(store, mapper, until=until, until_position=position)
    for recorded in walk.events(("application.", "role.")):
        grants.see(recorded)
    return grants.found


def _given(recorded: Recorded) -> Iterator[Held]:
    match recorded.event:
        case ApplicationCreated() as created:
            key = compared(created.application)
            yield from (Held(key, MEMBER, _canonical(one)) for one in created.members)
            yield from (Held(key, ADMINISTRATOR, _canonical(one)) for one in created.administrators)
            yield from (Held(key, REDEEMER, _canonical(one)) for one in created.ticket_redeemers)
        case ApplicationGranted(application=application, role=role, claim=claim):
            if role in {MEMBER, ADMINISTRATOR, REDEEMER}:
                yield Held(compared(application), role, _canonical(claim))
        case RoleGranted(right=right, claim=claim):
            if right == RESTRICTED:
                yield Held(None, RESTRICTED, _canonical(claim))


def _ended(recorded: Recorded, standing: dict[str | None, dict[Held, Grant]]) -> list[Held]:
    """What an event ends; a grant given anew is another one."""
    match recorded.event:
        case (
            ApplicationCreated(application=application)
            | ApplicationDeleted(application=application)
        ):
            key = compared(application)
            return list(standing.get(key, ()))
        case ApplicationGranted() | RoleGranted():
            return list(_given(recorded))
        case ApplicationRevoked(application=application, role=role, claim=claim):
            return [Held(compared(application), role, _canonical(claim))]
        case RoleRevoked(right=right, claim=claim):
            return [Held(None, right, _canonical(claim))]
    return []


def _canonical(text: str) -> str:
    return str(parse_claim(text))
