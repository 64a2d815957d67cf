"""Deciding every access again, from the log alone, by the rules it was decided under.

The policy is folded from the beginning, and at each access record the same pure rules are asked
with the inputs that the record holds. A record that says otherwise in any respect (outcome, claim
that matched, owner, creation, mapping, version, fields) should not have been. Neither should
whatever was changed for somebody whose token was not believed there: its issuer was not trusted, or
by other settings than those that verified it, or it had expired by then, or could not be made yet.

A redemption of a ticket is two rows in a line, what became of the ticket and the access, and is
decided again from both: from the claims that its user presented at issue, and the moment that the
first row tells. A ticket that was issued or refused is judged as well, though not counted.

What cannot be judged is `unreadable`: a record that was erased or whose key is not held, one
decided by rules that this version does not know, and every one behind a piece of policy whose key
is not held.

A record that was found right is right again where the very same text is opened from another row
while the policy's states and the mapping are the very same objects; deciding is a pure function of
these (decision 6), and the same text is the same record.

The whole log is checked into its signed heads on the way, whichever rows it is then asked about: a
record or a piece of policy that was taken away, moved or put in ends the recheck as *tampered*.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.aggregates.access import Access, AccessGranted
from ledger.aggregates.application import Application, ApplicationEvent, field_of, fold_application
from ledger.aggregates.event import Event
from ledger.aggregates.issuers import NO_ISSUERS, Issuers, fold_issuers
from ledger.aggregates.mapping import CredentialMapping, mapping_from
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.aggregates.roles import Roles, fold_roles
from ledger.aggregates.tickets import (
    Redemption,
    TicketEvent,
    TicketIssued,
    TicketNotIssued,
    TicketRedeemed,
)
from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import InvalidInput, KeyUnavailable
from ledger.log.rows import LogRow
from ledger.log.store import Store
from ledger.policy import (
    RULES_VERSION,
    Caller,
    Decision,
    Moment,
    decide_get,
    decide_issue,
    decide_redemption,
    owner_for,
    user_of,
)
from projections.digests import compared
from projections.documents import time_text
from projections.streams import Walk
from projections.tickets import Attempt, Tickets
from projections.view import Progress

_RIGHT_MAX = 100_000
_RIGHT_BYTES_MAX = 2048
"""A record that is longer is decided each time, so that few of them do not fill the memory."""
_CLAIMS_KEPT = 10_000
_PREFIXES = ("application.", "role.", "credential.", "issuer.", "access.", "ticket.")
_SECOND_US = 1_000_000
_LEEWAY_US = _SECOND_US
"""Rows of one transaction are a microsecond apart, though decided at one reading of the clock."""


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
    on_behalf_of: str | None


class _Basis(NamedTuple):
    """What a record rests on, by identity."""

    application: str
    """Its key, under which there may be no application."""
    state: Application | None
    roles: Roles
    issuers: Issuers
    place: tuple[str, str | None]
    mapping: CredentialMapping | None
    token: PresentedToken | None


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
        self._right: dict[tuple[str, bytes], _Basis] = {}
        self._met: tuple[str, bytes] | None = None
        """Topic and text of the access that is decided next."""
        self._blind = False
        self._tickets = Tickets()
        self._attempt: Attempt | None = None
        """To redeem a ticket, told by the row just before."""
        self._passed_over = 0
        """The last row of a ticket that cannot be read."""

    def knows(self, row: LogRow, text: bytes) -> bool:
        """Whether this is an access that is right again; then it is counted, and done with.

        Where one was judged, no later one is erased: what is erased is all up to some position.
        What goes with a ticket is decided each time, for no ticket is redeemed twice.
        """
        self._met = met = row.topic, text
        if self._attempt is not None or self._passed_over == row.position - 1:
            return False
        basis = self._right.get(met)
        if (
            basis is None
            or self._states.get(basis.application) is not basis.state
            or self._roles is not basis.roles
            or self._issuers is not basis.issuers
            or self._mappings.get(basis.place) is not basis.mapping
            or self._blind
            or not self._lives(basis.token, row.recorded_at)
        ):
            return False
        self.checked += 1
        return True

    def see(self, recorded: Recorded) -> None:
        """Fold one event, or decide one access again."""
        if self._attempt is not None:
            self._require_access(recorded.position, is_access=isinstance(recorded.event, Access))
        if isinstance(recorded.event, TicketEvent):
            self._see_ticket(recorded, recorded.event)
            return
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
        is_access, is_ticket = row.topic.startswith("access."), row.topic.startswith("ticket.")
        if self._attempt is not None:
            self._require_access(row.position, is_access=is_access)
            self._attempt = None
        if is_ticket:
            self._passed_over = row.position
        if (is_access or is_ticket) and self._is_erased(row.position):
            return
        if is_ticket:
            self._tickets.close(row.position)
        self._blind |= not (is_access or is_ticket)
        self._unreadable(row.position, error.code)

    def end(self) -> None:
        """The log ends here."""
        if self._attempt is not None:
            self._require_access(0, is_access=False)

    def _see_ticket(self, recorded: Recorded, event: TicketEvent) -> None:
        if self._is_erased(recorded.position):
            self._passed_over = recorded.position
            return
        if isinstance(event, Redemption):
            self._attempt = self._tickets.before(recorded, event)
        elif isinstance(event, TicketIssued | TicketNotIssued):
            self._judge_issue(recorded, event)
        self._tickets.see(recorded)

    def _require_access(self, position: int, *, is_access: bool) -> None:
        """Note an attempt to redeem a ticket that no access stands behind."""
        attempt = self._attempt
        assert attempt is not None
        if not is_access or position != attempt.recorded.position + 1:
            self._wrong(attempt.recorded, attempt.recorded.topic, "none", "access-missing")
            self._attempt = None

    def _judge_issue(self, recorded: Recorded, event: TicketIssued | TicketNotIssued) -> None:
        """Note a ticket that should not have been issued, or should have been."""
        if self._blind:
            self._unreadable(recorded.position, "policy-unreadable")
            return
        stated = recorded.topic.removeprefix("ticket.")
        if event.claims[:1] != (event.user,):
            self._wrong(recorded, stated, "not-issued", "caller-not-presented")
            return
        if not self._lives(recorded.actor.token, recorded.reading):
            self._wrong(recorded, stated, "none", "token-not-valid-then")
            return
        try:
            asked = event.application
            state = None if asked is None else self._states.get(compared(asked))
            caller = _caller(event.claims, recorded.actor.token)
            decision = decide_issue(
                state, self._roles, caller, bound=asked is not None, issuers=self._issuers
            )
        except InvalidInput as error:
            self._wrong(recorded, stated, "not-issued", error.code)
            return
        recomputed = "issued" if decision.allowed else "not-issued"
        fits = recomputed == stated
        if isinstance(event, TicketIssued):
            bound: tuple[int | None, int | None] = (None, None)
            if state is not None:
                expires_at = event.issued_at + state.ticket_timeout_s * _SECOND_US
                bound = (state.creation, expires_at)
            fits &= (event.creation, event.expires_at) == bound
            fits &= event.issued_at <= recorded.recorded_at
        else:
            fits &= event.detail == decision.detail
        if not fits:
            self._wrong(recorded, stated, recomputed, decision.detail)

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
        attempt, self._attempt = self._attempt, None
        if self._blind:
            self._unreadable(recorded.position, "policy-unreadable")
            return
        if record.rules != RULES_VERSION:
            self._unreadable(recorded.position, "unknown-rules")
            return
        if self._is_ticket_closed(recorded.position, attempt):
            self._unreadable(recorded.position, "ticket-unreadable")
            return
        self.checked += 1
        token = recorded.actor.token
        stated = _stated(recorded, record)
        if record.claims[:1] != (record.caller,):
            self._wrong(recorded, stated.outcome, "denied", "caller-not-presented")
            return
        if not self._lives(token, recorded.reading):
            self._wrong(recorded, stated.outcome, "none", "token-not-valid-then")
            return
        try:
            recomputed = self._decide(record, token, attempt)
        except InvalidInput as error:
            self._wrong(recorded, stated.outcome, "denied", error.code)
            return
        differing = [
            name
            for name, one, other in zip(Facts._fields, stated, recomputed, strict=True)
            if one != other
        ]
        if attempt is not None and not _agree(attempt, recorded, record):
            self._wrong(recorded, stated.outcome, recomputed.outcome, "ticket-differs")
        elif attempt is not None and self._is_long_over(attempt, stated):
            return
        elif differing:
            why = f"{recomputed.detail}: differs in {', '.join(differing)}"
            self._wrong(recorded, stated.outcome, recomputed.outcome, why)
        elif attempt is None:
            self._keep(record, token)

    def _is_ticket_closed(self, position: int, attempt: Attempt | None) -> bool:
        """Whether what a record says of a ticket rests on a row that cannot be read."""
        if attempt is None:
            return self._passed_over == position - 1 > 0
        issued = attempt.event.issued
        return issued is not None and (
            self._tickets.is_closed(issued) or self._retention.erasure_of(issued) is not None
        )

    def _is_long_over(self, attempt: Attempt, stated: Facts) -> bool:
        """Whether it was refused a ticket so old that nothing need be known of it."""
        issued = attempt.event.issued
        is_forgotten = attempt.ticket is None and issued is not None
        return (
            is_forgotten and (issued or 0) <= self._tickets.forgotten and stated.outcome == "denied"
        )

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
        elif not self._lives(token, recorded.reading):
            self._wrong(recorded, recorded.topic, "not-allowed", "token-not-valid-then")

    def _lives(self, token: PresentedToken | None, at: int) -> bool:
        """Whether a token that spoke for somebody can have been good when that was recorded."""
        return token is None or self._issuers.lives(token, at, _LEEWAY_US)

    def _keep(self, record: Access, token: PresentedToken | None) -> None:
        if self._met is None or len(self._met[1]) > _RIGHT_BYTES_MAX:
            return
        if len(self._right) >= _RIGHT_MAX:
            self._right.clear()
        key = compared(record.application)
        place = key, record.owner
        self._right[self._met] = _Basis(
            key,
            self._states.get(key),
            self._roles,
            self._issuers,
            place,
            self._mappings.get(place),
            token,
        )

    def _decide(
        self, record: Access, token: PresentedToken | None, attempt: Attempt | None
    ) -> Facts:
        caller = _caller(record.claims, token)
        state = self._states.get(compared(record.application))
        user: Caller | None = caller
        if attempt is None:
            decision = decide_get(
                state,
                self._roles,
                caller,
                restricted=record.restricted,
                fields=record.requested,
                issuers=self._issuers,
            )
        else:
            ticket = attempt.ticket
            user = None if ticket is None else user_of(ticket)
            decision = decide_redemption(
                state,
                self._roles,
                caller,
                ticket,
                Moment(attempt.event.reading, attempt.recorded.recorded_at),
                fields=record.requested,
                issuers=self._issuers,
            )
        behalf = None if attempt is None or user is None else str(user.claim)
        return self._facts(record, state, decision, user, behalf)

    def _facts(
        self,
        record: Access,
        state: Application | None,
        decision: Decision,
        user: Caller | None,
        behalf: str | None,
    ) -> Facts:
        through = str(decision.through) if decision.through else None
        if state is None or state.deleted:
            nothing = (None, None, None, None, (), None, ())
            return Facts("denied", decision.detail, through, *nothing, behalf)
        owner = None if user is None else owner_for(state, user)
        text = None if owner is None else str(owner)
        mapping = self._mapping(state, text, decision)
        if mapping is None:
            outcome = "not-set" if decision.allowed else "denied"
            detail = "not-set" if decision.allowed else decision.detail
            absent = (None, None, (), None, ())
            return Facts(outcome, detail, through, text, state.creation, *absent, behalf)
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
            on_behalf_of=behalf,
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
    events = walk.events(_PREFIXES, unreadable=redecision.pass_over, known=redecision.knows)
    for recorded in events:
        redecision.see(recorded)
    redecision.end()
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
        on_behalf_of=record.on_behalf_of,
    )


def _agree(attempt: Attempt, recorded: Recorded, record: Access) -> bool:
    """Whether what became of a ticket and the access behind it tell of the same attempt."""
    event, ticket = attempt.event, attempt.ticket
    return (
        (event.caller, event.claims, event.on_behalf_of, event.application, event.detail)
        == (record.caller, record.claims, record.on_behalf_of, record.application, record.detail)
        and attempt.recorded.actor == recorded.actor
        and isinstance(event, TicketRedeemed) == isinstance(record, AccessGranted)
        and event.reading <= attempt.recorded.recorded_at
        and (ticket is None or event.issued == ticket.position)
        and not record.restricted
    )


def _caller(texts: tuple[str, ...], token: PresentedToken | None) -> Caller:
    claim, *groups = (_claim(text) for text in texts)
    return Caller(claim, tuple(groups), token)


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
