"""Deciding every access again, from the log alone, by the rules it was decided under.

The policy is folded from the beginning, and at each access record the same pure rules are asked
with the inputs that the record holds. A record that says otherwise in any respect (outcome, claim
that matched, owner, creation, mapping, version, fields) should not have been. Neither should
whatever was changed for somebody whose token was not believed there: its issuer was not trusted, or
by other settings than those that verified it.

What cannot be judged is `unreadable`: a record that was erased or whose key is not held, one
decided by rules that this version does not know, and every one behind a piece of policy whose key
is not held.

A record that was found right is right again where the very same record is met while the policy's
states and the mapping are the very same objects; deciding is a pure function of these (decision 6).

The whole log is checked into its signed heads on the way, whichever rows it is then asked about: a
record or a piece of policy that was taken away, moved or put in ends the recheck as *tampered*.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application, ApplicationEvent, field_of, fold_application
from ledger.aggregates.event import Event
from ledger.aggregates.issuers import NO_ISSUERS, Issuers, fold_issuers
from ledger.aggregates.mapping import CredentialMapping, mapping_from
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.aggregates.roles import Roles, fold_roles
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import InvalidInput, KeyUnavailable
from ledger.log.rows import LogRow
from ledger.log.store import Store
from ledger.policy import RULES_VERSION, Caller, Decision, decide_get, owner_for
from projections.digests import compared
from projections.documents import time_text
from projections.streams import Walk
from projections.view import Progress

_RIGHT_MAX = 100_000
_CLAIMS_KEPT = 10_000
_PREFIXES = ("application.", "role.", "credential.", "issuer.", "access.")


_claim = lru_cache(_CLAIMS_KEPT)(parse_claim)


class Facts(NamedTuple):
    """Everything in a record that follows from the log and its inputs."""

    outcome: str
    detail: str
    through: str | None
    owner: str | None
    creation: int | None
    mapping: int | None
    version: int | None
    fields: tuple[str, ...]
    complete: bool | None
    missing: tuple[str, ...]


class _Basis(NamedTuple):
    """What a record rests on, by identity."""

    application: str
    """Its key, under which there may be no application."""
    state: Application | None
    roles: Roles
    issuers: Issuers
    place: tuple[str, str | None]
    mapping: CredentialMapping | None


class Redecision:
    """The policy as folded so far, and what was found."""

    def __init__(self, retention: Retention = KEEPS_ALL) -> None:
        self._retention = retention
        self.checked = 0
        self.wrong: list[dict[str, Any]] = []
        self.unreadable: list[dict[str, Any]] = []
        self._states: dict[str, Application] = {}
        self._roles = Roles()
        self._issuers = NO_ISSUERS
        self._mappings: dict[tuple[str, str | None], CredentialMapping] = {}
        self._right: dict[tuple[Access, PresentedToken | None], _Basis] = {}
        self._blind = False

    def see(self, recorded: Recorded) -> None:
        """Fold one event, or decide one access again."""
        if recorded.actor.token is not None and not isinstance(recorded.event, Access):
            self._judge_author(recorded, recorded.actor.token)
        match recorded.event:
            case ApplicationEvent(application=application):
                key = compared(application)
                state = fold_application(self._states.get(key), recorded)
                if state is not None:
                    self._states[key] = state
            case Access() as access:
                if not self._is_erased(recorded.position):
                    self._judge(recorded, access)
            case _ if recorded.topic.startswith("role."):
                self._roles = fold_roles(self._roles, recorded) or self._roles
            case _ if recorded.topic.startswith("issuer."):
                self._issuers = fold_issuers(self._issuers, recorded) or self._issuers
            case _ if recorded.topic.startswith("credential."):
                mapping = mapping_from(recorded)
                if mapping is not None:
                    place = compared(mapping.application), mapping.owner
                    self._mappings[place] = _without_values(mapping)

    def pass_over(self, row: LogRow, error: KeyUnavailable) -> None:
        """Note a row whose key is not held; without all policy nothing after it can be judged."""
        is_access = row.topic.startswith("access.")
        if is_access and self._is_erased(row.position):
            return
        self._blind |= not is_access
        self._unreadable(row.position, error.code)

    def _is_erased(self, position: int) -> bool:
        """Note an erased record, whether its key is held or not; all of one erasure are one."""
        erasure = self._retention.erasure_of(position)
        if erasure is None:
            return False
        last = self.unreadable[-1] if self.unreadable else None
        if last is not None and last["why"] == erasure.why:
            last["to"] = position
        else:
            self.unreadable.append({"from": position, "to": position, "why": erasure.why})
        return True

    def _judge(self, recorded: Recorded, record: Access) -> None:
        if self._blind:
            self._unreadable(recorded.position, "policy-unreadable")
            return
        if record.rules != RULES_VERSION:
            self._unreadable(recorded.position, "unknown-rules")
            return
        self.checked += 1
        token = recorded.actor.token
        if self._is_right_again(record, token):
            return
        stated = _stated(recorded, record)
        if record.claims[:1] != (record.caller,):
            self._wrong(recorded, stated.outcome, "denied", "caller-not-presented")
            return
        try:
            recomputed = self._decide(record, token)
        except InvalidInput as error:
            self._wrong(recorded, stated.outcome, "denied", error.code)
            return
        differing = [
            name
            for name, one, other in zip(Facts._fields, stated, recomputed, strict=True)
            if one != other
        ]
        if differing:
            why = f"{recomputed.detail}: differs in {', '.join(differing)}"
            self._wrong(recorded, stated.outcome, recomputed.outcome, why)
        else:
            self._keep(record, token)

    def _judge_author(self, recorded: Recorded, token: PresentedToken) -> None:
        """Note a change whose author's token was not believed at its position."""
        if self._blind:
            self._unreadable(recorded.position, "policy-unreadable")
            return
        try:
            author = _claim(recorded.actor.claim)
        except InvalidInput as error:
            self._wrong(recorded, recorded.topic, "not-allowed", error.code)
            return
        if not self._issuers.stands_behind(token, (author,)):
            self._wrong(recorded, recorded.topic, "not-allowed", "issuer-not-trusted")

    def _is_right_again(self, record: Access, token: PresentedToken | None) -> bool:
        basis = self._right.get((record, token))
        return (
            basis is not None
            and self._states.get(basis.application) is basis.state
            and self._roles is basis.roles
            and self._issuers is basis.issuers
            and self._mappings.get(basis.place) is basis.mapping
        )

    def _keep(self, record: Access, token: PresentedToken | None) -> None:
        if len(self._right) >= _RIGHT_MAX:
            self._right.clear()
        key = compared(record.application)
        place = key, record.owner
        self._right[record, token] = _Basis(
            key,
            self._states.get(key),
            self._roles,
            self._issuers,
            place,
            self._mappings.get(place),
        )

    def _decide(self, record: Access, token: PresentedToken | None) -> Facts:
        claims = [_claim(text) for text in record.claims]
        caller = Caller(claims[0], tuple(claims[1:]), token)
        state = self._states.get(compared(record.application))
        decision = decide_get(
            state,
            self._roles,
            caller,
            restricted=record.restricted,
            fields=record.requested,
            issuers=self._issuers,
        )
        through = str(decision.through) if decision.through else None
        if state is None or state.deleted:
            return Facts("denied", decision.detail, through, None, None, None, None, (), None, ())
        owner = owner_for(state, caller)
        text = None if owner is None else str(owner)
        mapping = self._mapping(state, text, decision)
        if mapping is None:
            outcome = "not-set" if decision.allowed else "denied"
            detail = "not-set" if decision.allowed else decision.detail
            nothing = (None, None, (), None, ())
            return Facts(outcome, detail, through, text, state.creation, *nothing)
        missing = tuple(one.name for one in state.fields if one.name not in mapping.fields)
        return Facts(
            outcome="granted",
            detail=decision.detail,
            through=through,
            owner=text,
            creation=state.creation,
            mapping=mapping.recorded.position,
            version=mapping.value_version,
            fields=_released(state, mapping, record),
            complete=not missing,
            missing=missing,
        )

    def _mapping(
        self, state: Application, owner: str | None, decision: Decision
    ) -> CredentialMapping | None:
        mapping = self._mappings.get((state.key, owner)) if decision.allowed else None
        return mapping if mapping is not None and mapping.counts_in(state.creation) else None

    def _wrong(self, recorded: Recorded, stated: str, recomputed: str, why: str) -> None:
        self.wrong.append(
            {
                "position": recorded.position,
                "recorded_at": time_text(recorded.recorded_at),
                "recorded": stated,
                "recomputed": recomputed,
                "why": why,
            }
        )

    def _unreadable(self, position: int, why: str) -> None:
        last = self.unreadable[-1] if self.unreadable else None
        if last is not None and (last["to"], last["why"]) == (position - 1, why):
            last["to"] = position
        else:
            self.unreadable.append({"from": position, "to": position, "why": why})


def redecide(
    store: Store,
    mapper: EventMapper,
    *,
    retention: Retention = KEEPS_ALL,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`{"checked", "wrong", "unreadable"}` over the whole log; erased records are unreadable."""
    redecision = Redecision(retention)
    walk = Walk(store, mapper, progress=progress)
    for recorded in walk.events(_PREFIXES, unreadable=redecision.pass_over):
        redecision.see(recorded)
    return {
        "checked": redecision.checked,
        "wrong": redecision.wrong,
        "unreadable": redecision.unreadable,
    }


def _stated(recorded: Recorded, record: Access) -> Facts:
    return Facts(
        outcome=recorded.topic.removeprefix("access."),
        detail=record.detail,
        through=record.through,
        owner=record.owner,
        creation=record.creation,
        mapping=record.mapping_position,
        version=record.value_version,
        fields=record.fields,
        complete=record.complete,
        missing=record.missing,
    )


def _released(state: Application, mapping: CredentialMapping, record: Access) -> tuple[str, ...]:
    """The fields that were to be released: all there are, or those asked for by name."""
    if not record.requested:
        return mapping.fields
    asked = (field_of(state, name).name for name in record.requested)
    return tuple(name for name in asked if name in mapping.fields)


def _without_values(mapping: CredentialMapping) -> CredentialMapping:
    """The mapping without the bytes of its sealed values, to be held in great numbers."""
    return replace(
        mapping,
        secret=None if mapping.secret is None else b"",
        recorded=mapping.recorded._replace(event=Event()),
    )
