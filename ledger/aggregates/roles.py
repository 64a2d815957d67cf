"""Service-level rights: additive, held by claims, none of them implies reading."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded
from ledger.claims import Claim, parse_claim
from ledger.errors import InvalidInput

RIGHTS = (
    "full-control",
    "create-application",
    "delete-application",
    "manage-application",
    "all-applications",
    "restricted-access",
    "auditor",
)


@event
class RoleGranted(Event, frozen=True):
    """A claim got a service-level right."""

    TOPIC: ClassVar[str] = "role.granted"
    right: str
    claim: str


@event
class RoleRevoked(Event, frozen=True):
    """A claim lost a service-level right."""

    TOPIC: ClassVar[str] = "role.revoked"
    right: str
    claim: str


class Roles(msgspec.Struct, frozen=True):
    """Who holds which service-level right."""

    held: frozenset[tuple[str, Claim]] = msgspec.field(default_factory=frozenset)
    version: int = 0

    def holder(self, right: str, claims: tuple[Claim, ...]) -> Claim | None:
        """The first of these claims that holds the right."""
        return next((claim for claim in claims if (right, claim) in self.held), None)


NO_ROLES = Roles()


def fold_roles(state: Roles | None, recorded: Recorded) -> Roles | None:
    """The rights after one more event."""
    held = state.held if state is not None else frozenset()
    match recorded.event:
        case RoleGranted(right=right, claim=claim):
            held = held | {(right, parse_claim(claim))}
        case RoleRevoked(right=right, claim=claim):
            held = held - {(right, parse_claim(claim))}
    return Roles(held, recorded.version)


def grant(state: Roles, right: str, claim: Claim) -> tuple[Event, ...]:
    """One more right; nothing if it is held already."""
    _check(right)
    return () if (right, claim) in state.held else (RoleGranted(right, str(claim)),)


def revoke(state: Roles, right: str, claim: Claim) -> tuple[Event, ...]:
    """One right less; nothing if it is not held."""
    _check(right)
    return (RoleRevoked(right, str(claim)),) if (right, claim) in state.held else ()


def _check(right: str) -> None:
    if right not in RIGHTS:
        raise InvalidInput(
            "invalid-right", "That is no right.", hint=f"Rights are {', '.join(RIGHTS)}."
        )
