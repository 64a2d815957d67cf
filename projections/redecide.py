"""Deciding every access again, from the log alone, by the rules it was decided under.

The policy is folded from the beginning, and at each access record the same pure rules are asked
with the inputs that the record holds. A record that says otherwise in any respect (outcome, claim
that matched, owner, creation, mapping, version, fields) should not have been. Neither should
whatever was changed for somebody whose token was not believed there: its issuer was not trusted, or
by other settings than those that verified it, or it had expired by then, or could not be made yet.

A redemption of a ticket is two rows in a line, what became of the ticket and the access, and is
decided again from both: from the claims that its user presented at issue, and the moment that the
first row tells. A ticket that was issued or refused, or that lapsed, is judged as well, though not
counted.

What cannot be judged is `unreadable`: a record that was erased or whose key is not held, one
decided by rules that this version does not know, and every one behind a piece of policy whose key
is not held.

A record that was found right is right again where the very same text is opened from another row
while the policy's states and the mapping are the very same objects; deciding is a pure function of
these (decision 6), and the same text is the same record. Where nothing at all was folded since,
they are the same without a look at each.

Policy and tickets that another process checks and judges are *taken* for folding only
(`projections.redeciding`, decision 30).

The whole log, or all of it up to the end that is asked about, is checked into its signed heads on
the way, whichever rows it is then asked about: a record or a piece of policy that was taken away,
moved or put in ends the recheck as *tampered*. An end between the two rows of a redemption parts
them: the first is then not missed its access.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.access import Access, AccessGranted
from ledger.aggregates.application import Application, ApplicationEvent, fold_application
from ledger.aggregates.event import Event
from ledger.aggregates.issuers import NO_ISSUERS, Issuers, fold_issuers
from ledger.aggregates.mapping import CredentialDeleted, values_in
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.aggregates.roles import Roles, fold_roles
from ledger.aggregates.tickets import (
    Redemption,
    TicketEvent,
    TicketExpired,
    TicketIssued,
    TicketLapsed,
    TicketNotIssued,
    TicketRedeemed,
    TicketRefused,
    TicketState,
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
    fields_released,
    owner_for,
    user_of,
)
from projections.digests import compared
from projections.documents import time_text
from projections.rechecked import Rechecked
from projections.streams import Walk
from projections.stretch import WHOLE, Stretch, bounds_of
from projections.tickets import Attempt, Tickets
from projections.view import Progress

_RIGHT_MAX = 100_000
_RIGHT_BYTES_MAX = 2048
"""A record that is longer is decided each time, so that few of them do not fill the memory."""
_CLAIMS_KEPT = 10_000
POLICY_PREFIXES = ("application.", "role.", "credential.", "issuer.", "ticket.")
"""Topics of what an access is decided by."""
PREFIXES = (*POLICY_PREFIXES, "access.")
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
    behalf: str | None
    """Told by the row before, of what became of the ticket."""


class _Mapping(NamedTuple):
    """What an answer needs of a mapping's newest event; one is held for each mapping."""

    position: int
    creation: int
    version: int
    fields: tuple[str, ...]
    is_set: bool


class _Basis(msgspec.Struct):
    """What a record that was found right rests on, by identity."""

    application: str
    """Its key, under which there may be no application."""
    state: Application | None
    roles: Roles
    issuers: Issuers
    place: tuple[str, str | None]
    mapping: _Mapping | None
    token: PresentedToken | None
    folded: int
    """How much policy was folded when all this was last seen to be the same."""


class Redecision:
    """The policy as folded so far, and what was found."""

    def __init__(self, retention: Retention = KEEPS_ALL, judged_since: int | None = None) -> None:
        """What was recorded before `judged_since` is taken, and neither judged nor counted.

        It is in microseconds UTC; None is no bound. Held against each row's own time, once that row
        was checked: a place that was looked up by time may be another one.
        """
        self._retention = retention
        self._judged_since = 0 if judged_since is None else judged_since
        self.found = Rechecked()
        self._states: dict[str, Application] = {}
        self._roles = Roles()
        self._issuers = NO_ISSUERS
        self._mappings: dict[tuple[str, str | None], _Mapping] = {}
        self._folded = 0
        """How many pieces of policy were folded, or met and not readable."""
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
        What goes with a ticket is decided each time, for no ticket is redeemed twice. Accesses that
        are not asked about are done with as well, uncounted.
        """
        if row.recorded_at < self._judged_since and row.topic.startswith("access."):
            return True
        self._met = met = row.topic, text
        basis = self._right.get(met)
        if (
            basis is None
            or self._attempt is not None
            or self._passed_over == row.position - 1
            or not (basis.folded == self._folded or self._is_same(basis))
            or not (basis.token is None or self._lives(basis.token, row.recorded_at))
        ):
            return False
        self.found.checked += 1
        return True

    def see(self, recorded: Recorded) -> None:
        """Fold one event, or decide one access again."""
        event = recorded.event
        if recorded.recorded_at < self._judged_since:
            if not isinstance(event, Access):
                self.take(recorded)
            return
        is_access = isinstance(event, Access)
        if self._attempt is not None:
            self._require_access(recorded.position, is_access=is_access)
        if isinstance(event, Access):
            if not self._is_erased(recorded.position):
                self._judge(recorded, event)
        elif isinstance(event, TicketEvent):
            self._see_ticket(recorded, event)
        else:
            if recorded.actor.token is not None:
                self._judge_author(recorded, recorded.actor.token)
            self._fold(recorded, event)

    def take(self, recorded: Recorded) -> None:
        """Fold one event of policy or of a ticket that is judged elsewhere."""
        event = recorded.event
        if not isinstance(event, TicketEvent):
            self._fold(recorded, event)
        elif self._retention.erasure_of(recorded.position) is not None:
            self._passed_over = recorded.position
        else:
            self._fold_ticket(recorded, event)

    def pass_over(self, row: LogRow, error: KeyUnavailable) -> None:
        """Note a row whose key is not held; without all policy nothing after it can be judged."""
        if row.recorded_at < self._judged_since:
            self.lack(row)
            return
        is_access, is_ticket = row.topic.startswith("access."), row.topic.startswith("ticket.")
        if self._attempt is not None:
            self._require_access(row.position, is_access=is_access)
            self._attempt = None
        self.lack(row)
        if not ((is_access or is_ticket) and self._is_erased(row.position)):
            self._unreadable(row.position, error.code)

    def lack(self, row: LogRow) -> None:
        """What follows for later rows from one whose key is not held."""
        if row.topic.startswith("ticket."):
            self._passed_over = row.position
            if self._retention.erasure_of(row.position) is None:
                self._tickets.close(row.position)
        elif not row.topic.startswith("access."):
            self._blind = True
            self._folded += 1

    def begin(self, size: int) -> None:
        """All rows up to here were taken or judged: what is found from now on is told anew."""
        self.found = Rechecked()
        if self._attempt is not None and self._attempt.recorded.position != size:
            self._attempt = None

    def pause(self, size: int) -> Rechecked:
        """What was found up to here, where another goes on; of the last row, he tells the rest."""
        if self._attempt is not None and self._attempt.recorded.position != size:
            self._require_access(0, is_access=False)
        return self.found

    def end(self) -> Rechecked:
        """What was found; the log ends here."""
        if self._attempt is not None:
            self._require_access(0, is_access=False)
        return self.found

    def _is_same(self, basis: _Basis) -> bool:
        """Whether nothing that a right record rests on was folded since."""
        if (
            self._states.get(basis.application) is not basis.state
            or self._roles is not basis.roles
            or self._issuers is not basis.issuers
            or self._mappings.get(basis.place) is not basis.mapping
            or self._blind
        ):
            return False
        basis.folded = self._folded
        return True

    def _fold(self, recorded: Recorded, event: Event) -> None:
        self._folded += 1
        topic = recorded.topic
        if topic.startswith("credential."):
            place, mapping = _mapping_in(event, recorded.position)
            self._mappings[place] = mapping
        elif isinstance(event, ApplicationEvent):
            key = compared(event.application)
            state = fold_application(self._states.get(key), recorded)
            if state is not None:
                self._states[key] = state
        elif topic.startswith("role."):
            self._roles = fold_roles(self._roles, recorded) or self._roles
        elif topic.startswith("issuer."):
            self._issuers = fold_issuers(self._issuers, recorded) or self._issuers

    def _see_ticket(self, recorded: Recorded, event: TicketEvent) -> None:
        if self._is_erased(recorded.position):
            self._passed_over = recorded.position
            return
        if isinstance(event, TicketIssued | TicketNotIssued):
            self._judge_issue(recorded, event)
        elif isinstance(event, TicketLapsed):
            self._judge_lapse(recorded, event)
        self._fold_ticket(recorded, event)

    def _fold_ticket(self, recorded: Recorded, event: TicketEvent) -> None:
        if isinstance(event, Redemption):
            self._attempt = self._tickets.before(recorded, event)
        self._tickets.see(recorded)

    def _require_access(self, position: int, *, is_access: bool) -> None:
        """Note an attempt to redeem a ticket that no access stands behind."""
        attempt = self._attempt
        assert attempt is not None
        if is_access and position == attempt.recorded.position + 1:
            return
        if attempt.recorded.recorded_at >= self._judged_since:
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

    def _judge_lapse(self, recorded: Recorded, event: TicketLapsed) -> None:
        """Note a ticket that was ended although somebody could have brought it still, or had."""
        if self._blind:
            self._unreadable(recorded.position, "policy-unreadable")
            return
        if self._tickets.is_closed(event.issued) or self._retention.erasure_of(event.issued):
            self._unreadable(recorded.position, "ticket-unreadable")
            return
        ticket = self._tickets.known(event.ticket)
        if ticket is None and event.issued <= self._tickets.forgotten:
            self._wrong(recorded, "lapsed", "none", "ticket-used")
        elif ticket is None or ticket.position != event.issued:
            self._wrong(recorded, "lapsed", "none", "no-such-ticket")
        elif ticket.ended is not None:
            self._wrong(recorded, "lapsed", "none", "ticket-used")
        elif (ticket.user, ticket.application) != (event.user, event.application):
            self._wrong(recorded, "lapsed", "lapsed", "ticket-differs")
        elif not (
            event.reading <= recorded.recorded_at
            and ticket.is_lapsed(event.reading, recorded.recorded_at)
        ):
            self._wrong(recorded, "lapsed", "none", "ticket-good")
        elif event.redeemers != self._redeemers(ticket):
            self._wrong(recorded, "lapsed", "lapsed", "redeemers-differ")

    def _redeemers(self, ticket: TicketState) -> tuple[str, ...]:
        """Who could bring a ticket: nobody in particular, if not for one that is still there."""
        state = (
            None if ticket.application is None else self._states.get(compared(ticket.application))
        )
        if state is None or state.creation != ticket.creation:
            return ()
        return tuple(sorted(map(str, state.ticket_redeemers)))

    def _is_erased(self, position: int) -> bool:
        """Note an erased record, whether its key is held or not; all of one erasure are one."""
        erasure = self._retention.erasure_of(position)
        if erasure is None:
            return False
        self.found.miss(position, position, erasure.why, erased=True)
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
        self.found.checked += 1
        token = recorded.actor.token
        stated = _stated(recorded, record, attempt)
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
        if attempt is not None and not _agree(attempt, recorded, record):
            self._wrong(recorded, stated.outcome, recomputed.outcome, "ticket-differs")
        elif attempt is not None and self._is_long_over(attempt, stated):
            return
        elif stated != recomputed:
            why = f"{recomputed.detail}: differs in {', '.join(_differing(stated, recomputed))}"
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
            self._folded,
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
        whose = None if attempt is None or user is None else str(user.claim)
        return self._facts(record, state, decision, user, whose)

    def _facts(
        self,
        record: Access,
        state: Application | None,
        decision: Decision,
        user: Caller | None,
        whose: str | None,
    ) -> Facts:
        through = str(decision.through) if decision.through else None
        if state is None or state.deleted:
            nothing = (None, None, None, None, (), None, ())
            return Facts("denied", decision.detail, through, *nothing, whose, None)
        by = None if decision.behalf is None else str(decision.behalf)
        owner = None if user is None else owner_for(state, user)
        text = None if owner is None else str(owner)
        mapping = self._mapping(state, text, decision)
        if mapping is None:
            outcome = "not-set" if decision.allowed else "denied"
            detail = "not-set" if decision.allowed else decision.detail
            absent = (None, None, (), None, ())
            return Facts(outcome, detail, through, text, state.creation, *absent, whose, by)
        missing = tuple(one.name for one in state.fields if one.name not in mapping.fields)
        return Facts(
            outcome="granted",
            detail=decision.detail,
            through=through,
            owner=text,
            creation=state.creation,
            mapping=mapping.position,
            version=mapping.version,
            fields=fields_released(state, record.requested, mapping.fields),
            complete=not missing,
            missing=missing,
            on_behalf_of=whose,
            behalf=by,
        )

    def _mapping(
        self, state: Application, owner: str | None, decision: Decision
    ) -> _Mapping | None:
        """The mapping, if values are set for the present creation of the application."""
        mapping = self._mappings.get((state.key, owner)) if decision.allowed else None
        counts = mapping is not None and mapping.is_set and mapping.creation == state.creation
        return mapping if counts else None

    def _wrong(self, recorded: Recorded, stated: str, recomputed: str, why: str) -> None:
        self.found.wrong.append(
            {
                "position": recorded.position,
                "recorded_at": time_text(recorded.recorded_at),
                "recorded": stated,
                "recomputed": recomputed,
                "why": why,
            }
        )

    def _unreadable(self, position: int, why: str) -> None:
        self.found.miss(position, position, why)


def redecide(
    store: Store,
    mapper: EventMapper,
    *,
    retention: Retention = KEEPS_ALL,
    stretch: Stretch = WHOLE,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`{"checked", "wrong", "unreadable"}` of a stretch; erased records are unreadable.

    Policy before the stretch is folded and checked, and what lies behind it is not looked at.
    """
    with store.reading() as reading:
        bounds = bounds_of(reading, stretch)
    redecision = Redecision(retention, stretch.since)
    until, end = stretch.until, stretch.position
    walk = Walk(store, mapper, until=until, until_position=end, progress=progress)
    events = walk.events(PREFIXES, unreadable=redecision.pass_over, known=redecision.knows)
    for recorded in events:
        redecision.see(recorded)
    is_cut = walk.goes_on if until is not None else bounds.is_cut
    found = redecision.pause(walk.position) if is_cut else redecision.end()
    return found.as_document()


def _stated(recorded: Recorded, record: Access, attempt: Attempt | None) -> Facts:
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
        behalf=None if attempt is None else attempt.event.behalf,
    )


def _agree(attempt: Attempt, recorded: Recorded, record: Access) -> bool:
    """Whether what became of a ticket and the access behind it tell of the same attempt."""
    event, ticket = attempt.event, attempt.ticket
    return (
        (event.caller, event.claims, event.on_behalf_of, event.application, event.detail)
        == (record.caller, record.claims, record.on_behalf_of, record.application, record.detail)
        and attempt.recorded.actor == recorded.actor
        and type(event) is _became(record, ticket)
        and event.reading <= attempt.recorded.recorded_at
        and (ticket is None or event.issued == ticket.position)
        and not record.restricted
    )


def _became(record: Access, ticket: TicketState | None) -> type[Redemption]:
    """What a redemption is recorded as: only one who comes too late first ends a ticket unused."""
    if isinstance(record, AccessGranted):
        return TicketRedeemed
    is_open = ticket is not None and ticket.ended is None
    return TicketExpired if is_open and record.detail == "ticket-expired" else TicketRefused


def _caller(texts: tuple[str, ...], token: PresentedToken | None) -> Caller:
    claim, *groups = (_claim(text) for text in texts)
    return Caller(claim, tuple(groups), token)


def _mapping_in(happened: Event, position: int) -> tuple[tuple[str, str | None], _Mapping]:
    """A mapping's place, and it after an event of its stream; `wrong-stream` for another event."""
    is_set = not isinstance(happened, CredentialDeleted)
    told = happened if isinstance(happened, CredentialDeleted) else values_in(happened, position)
    fields = () if isinstance(told, CredentialDeleted) else told.fields
    mapping = _Mapping(position, told.creation, told.value_version, fields, is_set)
    return (compared(told.application), told.owner), mapping


def _differing(stated: Facts, recomputed: Facts) -> list[str]:
    pairs = zip(Facts._fields, stated, recomputed, strict=True)
    return [name for name, one, other in pairs if one != other]
