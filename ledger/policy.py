"""Who may do what: one pure module, versioned, read like the table in the docs.

Rules 1, in words: an operator (who unlocks the keyring) may do everything but read. A caller
reads only as owner (individual) or member (group), plus `restricted-access` and an explicit
request where the application is restricted. No right implies reading. Administrators of an
application manage it and set, restore and delete credentials there; owners set and delete their
own. Whom a token speaks for is believed only where the token's issuer is trusted, by the settings
that verified it, and a token that is bound to an application counts there and nowhere else.
Claims of a case-blind issuer are compared casefolded, whoever presents them and in whatever case.
A ticket gives one of the application's redeemers, once and in time, what the user it was issued to
would get: by the claims presented at issue and the rules at the redemption.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec
from msgspec.structs import force_setattr

from ledger.aggregates.application import Application, field_of
from ledger.aggregates.issuers import NO_ISSUERS, Issuers
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.roles import Roles
from ledger.aggregates.tickets import TicketState
from ledger.claims import OWNER_TYPES, Claim, parse_claim
from ledger.errors import InvalidInput
from ledger.identifiers import application_key, field_key
from ledger.replacing import replace

RULES_VERSION = 1


class Verb(Enum):
    """What somebody may want to do besides reading."""

    CREATE_APPLICATION = "create an application"
    MANAGE_APPLICATION = "change an application, grant and revoke its roles"
    DELETE_APPLICATION = "delete an application"
    SHOW_APPLICATION = "see an application's settings"
    SET_CREDENTIALS = "set credentials"
    DELETE_CREDENTIALS = "delete credentials"
    RESTORE_CREDENTIALS = "restore an earlier version of credentials"
    LIST_CREDENTIALS = "list who has credentials set"
    MANAGE_ROLES = "grant and revoke service-level rights"
    READ_HISTORY = "read the access history"


class Caller(msgspec.Struct, frozen=True):
    """Somebody on whose behalf the ledger is asked, with everything known of them."""

    claim: Claim
    groups: tuple[Claim, ...] = ()
    token: PresentedToken | None = None
    """The verified token that says so; None where the operator or the system does."""
    peer: int | None = None
    """The number of the account that the system says is at a socket's other end, if it does."""

    def __post_init__(self) -> None:
        # Callers are kept and compared, so whatever sequence was given is made one that can be.
        force_setattr(self, "groups", tuple(self.groups))

    def __hash__(self) -> int:
        """Of the caller's own claim, which is what tells callers apart."""
        return hash(self.claim)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All presented claims, the caller's own first."""
        return (self.claim, *self.groups)

    def canonical(self, issuers: Issuers) -> Caller:
        """The same caller with every claim as it is compared."""
        claim, *groups = map(issuers.canonical, self.claims)
        if claim is self.claim and tuple(groups) == self.groups:
            return self
        return replace(self, claim=claim, groups=tuple(dict.fromkeys(groups)))


class Decision(msgspec.Struct, frozen=True):
    """Yes or no, through which claim, and why as a stable code."""

    allowed: bool
    detail: str
    through: Claim | None = None
    behalf: Claim | None = None
    """Of a redemption: the claim through which the user may read."""


class Moment(NamedTuple):
    """When something is decided, in microseconds UTC."""

    reading: int
    """The clock's."""
    recorded_at: int
    """The time of the record."""


def decide_get(
    application: Application | None,
    roles: Roles,
    caller: Caller,
    *,
    restricted: bool,
    fields: tuple[str, ...] = (),
    issuers: Issuers = NO_ISSUERS,
) -> Decision:
    """Whether the caller gets the credentials that are theirs in this application.

    `fields` are those asked for by name; one that the application does not have is refused.
    `issuers` are those trusted at this position; where none are told, no token is believed.
    """
    caller = caller.canonical(issuers)
    if not is_believed(issuers, caller):
        return Decision(allowed=False, detail="issuer-not-trusted")
    if application is None or application.deleted:
        return Decision(allowed=False, detail="no-such-application")
    if not is_for(caller, application.key):
        return Decision(allowed=False, detail="token-for-another-application")
    through = _member(application, caller)
    if through is None:
        may_own = application.is_group or caller.claim.type in OWNER_TYPES
        return Decision(allowed=False, detail="not-a-member" if may_own else "not-an-owner")
    if application.restricted and not restricted:
        return Decision(allowed=False, detail="restricted-request-needed", through=through)
    if restricted and roles.holder("restricted-access", caller.claims) is None:
        return Decision(allowed=False, detail="restricted-access-needed", through=through)
    if fields and not _has_all(application, fields):
        return Decision(allowed=False, detail="unknown-field", through=through)
    return Decision(
        allowed=True, detail="member" if application.is_group else "owner", through=through
    )


def fields_released(
    application: Application, asked: tuple[str, ...], held: tuple[str, ...]
) -> tuple[str, ...]:
    """Those of the fields that are held which leave: all, or each that was asked for, once.

    The names asked for are fields of the application, in any case and any number of times.
    """
    if not asked:
        return held
    wanted = dict.fromkeys(field_of(application, name).name for name in asked)
    return tuple(name for name in wanted if name in held)


def decide_issue(
    application: Application | None,
    roles: Roles,
    caller: Caller,
    *,
    bound: bool,
    issuers: Issuers = NO_ISSUERS,
) -> Decision:
    """Whether the caller gets a ticket: `bound` to an application, or good for any."""
    caller = caller.canonical(issuers)
    if not is_believed(issuers, caller):
        return Decision(allowed=False, detail="issuer-not-trusted")
    if caller.claim.type not in OWNER_TYPES:
        return Decision(allowed=False, detail="not-an-owner")
    if not bound:
        return Decision(allowed=True, detail="unbound")
    decision = decide_get(application, roles, caller, restricted=False, issuers=issuers)
    if decision.allowed and application is not None and not application.ticketing:
        return Decision(allowed=False, detail="not-ticketing", through=decision.through)
    return decision


def decide_redemption(
    application: Application | None,
    roles: Roles,
    redeemer: Caller,
    ticket: TicketState | None,
    moment: Moment,
    *,
    fields: tuple[str, ...] = (),
    issuers: Issuers = NO_ISSUERS,
) -> Decision:
    """Whether a redeemer gets by this ticket what its user would get in this application.

    Without a `ticket` it is one that nobody knows. Nothing is ever restricted here: an application
    is ticketing or restricted.
    """
    redeemer = redeemer.canonical(issuers)
    if not is_believed(issuers, redeemer):
        return Decision(allowed=False, detail="issuer-not-trusted")
    if application is None or application.deleted:
        return Decision(allowed=False, detail="no-such-application")
    if not is_for(redeemer, application.key):
        return Decision(allowed=False, detail="token-for-another-application")
    if not application.ticketing:
        return Decision(allowed=False, detail="not-ticketing")
    through = _first(redeemer.claims, application.ticket_redeemers)
    if through is None:
        return Decision(allowed=False, detail="not-a-redeemer")
    if ticket is None:
        return Decision(allowed=False, detail="no-such-ticket", through=through)
    if ticket.is_over(application.ticket_timeout_s, *moment):
        return Decision(allowed=False, detail="ticket-expired", through=through)
    if ticket.ended is not None:
        return Decision(allowed=False, detail="ticket-used", through=through)
    if ticket.application is not None and (
        application_key(ticket.application) != application.key
        or ticket.creation != application.creation
    ):
        return Decision(allowed=False, detail="ticket-for-another-application", through=through)
    decision = decide_get(
        application, roles, user_of(ticket), restricted=False, fields=fields, issuers=issuers
    )
    detail = "redeemer" if decision.allowed else decision.detail
    return Decision(decision.allowed, detail, through, decision.through)


def user_of(ticket: TicketState) -> Caller:
    """Whom a ticket was issued to, with everything that was known of them then."""
    claim, *groups = (parse_claim(text) for text in ticket.claims)
    return Caller(claim, tuple(groups), ticket.token)


def is_believed(issuers: Issuers, caller: Caller | None) -> bool:
    """Whether the token that speaks for a caller, if one does, is believed as things stand."""
    if caller is None or caller.token is None:
        return True
    return issuers.stands_behind(caller.token, caller.claims)


def is_for(caller: Caller | None, key: str | None) -> bool:
    """Whether a caller's token, if it is bound to an application, is for the one of this key."""
    bound = "" if caller is None or caller.token is None else caller.token.application
    return not bound or (key is not None and application_key(bound) == key)


def owner_for(application: Application, caller: Caller) -> Claim | None:
    """Whose credentials this caller's are: their own, or the group's shared ones."""
    return None if application.is_group else caller.claim


def decide(
    verb: Verb,
    application: Application | None,
    roles: Roles,
    caller: Caller | None,
    *,
    owner: Claim | None = None,
    issuers: Issuers = NO_ISSUERS,
) -> Decision:
    """Whether a caller may do something besides reading; no caller is the operator."""
    if caller is None:
        return Decision(allowed=True, detail="operator")
    caller = caller.canonical(issuers)
    owner = None if owner is None else issuers.canonical(owner)
    if not is_believed(issuers, caller):
        return Decision(allowed=False, detail="issuer-not-trusted")
    if not is_for(caller, None if application is None else application.key):
        return Decision(allowed=False, detail="token-for-another-application")
    full = roles.holder("full-control", caller.claims)
    if full is not None:
        return Decision(allowed=True, detail="full-control", through=full)
    for right in _RIGHTS_FOR.get(verb, ()):
        holder = roles.holder(right, caller.claims)
        if holder is not None:
            return Decision(allowed=True, detail=right, through=holder)
    if application is not None and not application.deleted:
        if verb in _ADMINISTRATORS:
            holder = _first(caller.claims, application.administrators)
            if holder is None:
                holder = roles.holder("all-applications", caller.claims)
            if holder is not None:
                return Decision(allowed=True, detail="administrator", through=holder)
        if verb in _OWNERS and _is_own(application, caller, owner):
            return Decision(allowed=True, detail="owner", through=caller.claim)
    return Decision(allowed=False, detail="no-right")


_RIGHTS_FOR = {
    Verb.CREATE_APPLICATION: ("create-application",),
    Verb.MANAGE_APPLICATION: ("manage-application",),
    Verb.DELETE_APPLICATION: ("delete-application",),
    Verb.SHOW_APPLICATION: ("manage-application", "delete-application", "auditor"),
    Verb.LIST_CREDENTIALS: ("auditor",),
    Verb.READ_HISTORY: ("auditor",),
}
_ADMINISTRATORS = frozenset(
    {
        Verb.MANAGE_APPLICATION,
        Verb.SHOW_APPLICATION,
        Verb.SET_CREDENTIALS,
        Verb.DELETE_CREDENTIALS,
        Verb.RESTORE_CREDENTIALS,
        Verb.LIST_CREDENTIALS,
    }
)
_OWNERS = frozenset({Verb.SET_CREDENTIALS, Verb.DELETE_CREDENTIALS})


def _has_all(application: Application, fields: tuple[str, ...]) -> bool:
    known = {field_key(field.name) for field in application.fields}
    return all(_field_key(name) in known for name in fields)


def _member(application: Application, caller: Caller) -> Claim | None:
    if application.is_group:
        return _first(caller.claims, application.members)
    if caller.claim.type not in OWNER_TYPES:
        return None
    if application.open:
        return caller.claim
    return _first(caller.claims, application.members)


def _is_own(application: Application, caller: Caller, owner: Claim | None) -> bool:
    if application.is_group or owner != caller.claim:
        return False
    return _member(application, caller) is not None


def _field_key(name: str) -> str | None:
    try:
        return field_key(name)
    except InvalidInput:
        return None


def _first(claims: tuple[Claim, ...], among: frozenset[Claim]) -> Claim | None:
    return next((claim for claim in claims if claim in among), None)
