"""Who can read what, and through which claim: the rules, asked of everybody who could be meant.

No rule is written here. Each way that is told is one caller for whom `ledger.policy.decide_get`
says yes; what this module knows is only whom it must ask for the answer to be complete. A caller
is somebody with one claim that says who they are, a user or a service, and any number of groups
and roles. Nobody knows here who holds a group or role, so those are told as the claim itself, and
a stand-in presents them.

A ticketing application's redeemers can read through tickets, each of them what any user can who
has one issued, so there is one more row for each of their claims, `by_ticket`.

A row is about a caller who presents its `claim`, its `through` and its `restricted_through`, and
whose credentials are `credential_owner`, where that is told. Such callers are allowed; nobody else
is, but in an open application every owner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.application import Application
from ledger.aggregates.roles import Roles
from ledger.claims import LOCAL, OWNER_TYPES, Claim, parse_claim
from ledger.policy import Caller, decide_get, owner_for

SOMEBODY = Claim(LOCAL, "user", "")
"""Stands in for whoever holds the other claims; no text is parsed to it."""
_NOTHING: frozenset[Claim] = frozenset()
_RESTRICTED = "restricted-access"


class Way(NamedTuple):
    """One way to read the credentials of one application."""

    application: Application
    claim: Claim
    """Who; a group or role where only that is known."""
    through: Claim
    """The claim that makes them owner or member."""
    restricted_through: Claim | None
    """The claim that holds `restricted-access`, where the application demands it."""
    owner: Claim | None
    """Whose credentials; None for a group's, and for each their own."""
    is_set: bool
    """Whether there is something to read."""
    by_ticket: bool = False
    """Whether only with a ticket, of whoever it was issued to."""

    def as_document(self) -> dict[str, Any]:
        """What `audit who-can` tells."""
        return {
            "application": self.application.application,
            "claim": str(self.claim),
            "through": str(self.through),
            "restricted_through": _text(self.restricted_through),
            "credential_owner": _text(self.owner),
            "set": self.is_set,
            "by_ticket": self.by_ticket,
        }


def ways(
    application: Application,
    roles: Roles,
    owners: Collection[str | None],
    owner: Claim | None = None,
) -> list[Way]:
    """All ways to read in an application, or those to one owner's credentials.

    `owners` are those who have something set there; a group's shared set has the owner None.
    """
    if owner is not None and application.is_group:
        return []
    asked = _Asked(application, roles, owners)
    presented = _presented(application, roles)
    shared = {} if owner else asked.least(SOMEBODY, presented)
    shared.pop(_NOTHING, None)
    left = [further for further in presented if not _covered(further, shared)]
    named = [owner] if owner else _named(application, roles, owners)
    found = [way for one in named for way in asked.least(one, left).values()]
    # Somebody who is told by name with a further claim may come with the others' claims instead.
    listed = {
        str(way.owner)
        for way in found
        if {way.through, way.restricted_through} <= {way.claim, None}
    }
    others = application.is_group or any(one not in listed for one in owners)
    found += [
        way._replace(is_set=way.is_set if application.is_group else others)
        for way in shared.values()
    ]
    if found or (owner is None and every_owner_may(application, roles)):
        redeemers = application.ticket_redeemers
        found += [_by_ticket(application, one, owners, owner) for one in redeemers]
    return sorted(found, key=_order)


def way_of(
    application: Application, roles: Roles, caller: Caller, owners: Collection[str | None]
) -> Way | None:
    """The way in which one caller reads in an application as themselves; None if they may not."""
    return _Asked(application, roles, owners).way(caller)


def way_by_ticket(
    application: Application,
    roles: Roles,
    caller: Caller,
    owners: Collection[str | None],
    owner: Claim | None = None,
) -> Way | None:
    """The way in which one caller reads there with a ticket of somebody who may; None if not.

    With an `owner` it is about that one's credentials only.
    """
    through = next((one for one in caller.claims if one in application.ticket_redeemers), None)
    if through is None or not any(one.by_ticket for one in ways(application, roles, owners, owner)):
        return None
    return _by_ticket(application, through, owners, owner)._replace(claim=caller.claim)


def every_owner_may(application: Application, roles: Roles) -> bool:
    """Whether whoever has credentials set there may read them, without being named."""
    if application.is_group:
        return False
    return _Asked(application, roles, ()).way(Caller(SOMEBODY)) is not None


class _Asked(msgspec.Struct, frozen=True):
    """The rules at one moment, to be asked of one caller after the other."""

    application: Application
    roles: Roles
    owners: Collection[str | None]

    def way(self, caller: Caller) -> Way | None:
        """Yes and how, or None; restricted applications are asked as they demand it."""
        restricted = self.application.restricted
        decision = decide_get(self.application, self.roles, caller, restricted=restricted)
        if not decision.allowed or decision.through is None:
            return None
        owner = owner_for(self.application, caller)
        right = self.roles.holder(_RESTRICTED, caller.claims) if restricted else None
        known = (one for one in (caller.claim, decision.through, right) if one and one != SOMEBODY)
        claim = next(known, SOMEBODY)
        return Way(
            self.application,
            claim=claim,
            through=claim if decision.through == SOMEBODY else decision.through,
            restricted_through=right,
            owner=None if owner == SOMEBODY else owner,
            is_set=(None if owner is None else str(owner)) in self.owners,
        )

    def least(
        self, claim: Claim, presented: Iterable[frozenset[Claim]]
    ) -> dict[frozenset[Claim], Way]:
        """What this claim must come with, and not less of it; fewer claims are given first."""
        found: dict[frozenset[Claim], Way] = {}
        for further in presented:
            if not _covered(further, found):
                way = self.way(Caller(claim, tuple(sorted(further))))
                if way is not None:
                    found[further] = way
        return found


def _by_ticket(
    application: Application, redeemer: Claim, owners: Collection[str | None], owner: Claim | None
) -> Way:
    """What a redeemer reads with the ticket of somebody who may; of one owner, if told."""
    is_set = bool(owners) if owner is None else str(owner) in owners
    return Way(application, redeemer, redeemer, None, owner, is_set, by_ticket=True)


def _covered(further: frozenset[Claim], found: Collection[frozenset[Claim]]) -> bool:
    """Whether these claims, or some of them, are among those found."""
    return any(
        some in found for some in (_NOTHING, *(frozenset((one,)) for one in further), further)
    )


def _presented(application: Application, roles: Roles) -> list[frozenset[Claim]]:
    """The groups and roles that somebody may have to come with: none, one, or one for each rule."""
    members = {one for one in application.members if one.type not in OWNER_TYPES}
    holders = {one for one in _holders(application, roles) if one.type not in OWNER_TYPES}
    both = {frozenset((one, other)) for one in members for other in holders}
    alone = {frozenset((one,)) for one in members | holders}
    return sorted({_NOTHING, *alone, *both}, key=len)


def _named(application: Application, roles: Roles, owners: Collection[str | None]) -> list[Claim]:
    """Users and services that may have to be told by name."""
    members = {one for one in application.members if one.type in OWNER_TYPES}
    holders = {one for one in _holders(application, roles) if one.type in OWNER_TYPES}
    return sorted({*members, *holders, *(parse_claim(one) for one in owners if one is not None)})


def _holders(application: Application, roles: Roles) -> set[Claim]:
    if not application.restricted:
        return set()
    return {claim for right, claim in roles.held if right == _RESTRICTED}


def _order(way: Way) -> tuple[object, ...]:
    restricted = _text(way.restricted_through) or ""
    return (way.by_ticket, str(way.claim), str(way.through), restricted)


def _text(claim: Claim | None) -> str | None:
    return None if claim is None else str(claim)
