"""Target applications: who may use the credentials of one back-end system, and which fields.

The ID never changes. An individual application is *open* (every owner may) when created without
members; naming a member closes it, and only an explicit opening opens it again. It is ticketing,
restricted or neither, never both. Deciders return the events that follow, or raise.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded
from ledger.claims import Claim, parse_claim
from ledger.errors import Conflict, InvalidInput
from ledger.identifiers import application_key, display_name, field_key
from ledger.replacing import replace
from ledger.values import FIELD_TYPES, FIELDS_MAX, MASKED_TYPES, FieldValue

KINDS = ("individual", "group")
ROLES = ("administrator", "member", "ticket-redeemer")
TEXT_LENGTH_MAX = 256
URL_LENGTH_MAX = 2048
TICKET_TIMEOUT_S_DEFAULT = 120
TICKET_TIMEOUT_S_MAX = 24 * 3600
CLAIMS_MAX = 1000
EVERY_OWNER, MEMBERS, NOBODY = "every-owner", "members", "nobody"
"""Who may read: of an open application every owner, each what is theirs."""
_NOBODY: frozenset[Claim] = frozenset()


class Field(msgspec.Struct, frozen=True):
    """One field of an application's credentials."""

    name: str
    type: str
    masked: bool


DEFAULT_FIELDS = (
    Field("Windows User Name", "windows-user-name", masked=False),
    Field("Windows Password", "windows-password", masked=True),
)


class ApplicationEvent(Event, frozen=True):
    """Something that happened to one target application."""

    application: str
    """The ID as it was first written."""


@event
class ApplicationCreated(ApplicationEvent, frozen=True):
    """A target application begins."""

    TOPIC: ClassVar[str] = "application.created"
    kind: str
    ticketing: bool
    restricted: bool
    open: bool
    name: str
    contact: str
    fields: tuple[tuple[str, str, bool], ...]
    administrators: tuple[str, ...]
    members: tuple[str, ...]
    ticket_redeemers: tuple[str, ...]
    ticket_timeout_s: int
    credential_page: str


@event
class ApplicationUpdated(ApplicationEvent, frozen=True):
    """Settings that may change did."""

    TOPIC: ClassVar[str] = "application.updated"
    changes: dict[str, Any]
    """Any of name, contact, ticket_timeout_s, credential_page, and masked: {field: bool}."""


@event
class ApplicationFieldAdded(ApplicationEvent, frozen=True):
    """A field came to an application that may already have mappings."""

    TOPIC: ClassVar[str] = "application.field-added"
    field: tuple[str, str, bool]


@event
class ApplicationGranted(ApplicationEvent, frozen=True):
    """Somebody became administrator, member or ticket redeemer."""

    TOPIC: ClassVar[str] = "application.granted"
    role: str
    claim: str


@event
class ApplicationRevoked(ApplicationEvent, frozen=True):
    """Somebody is administrator, member or ticket redeemer no more."""

    TOPIC: ClassVar[str] = "application.revoked"
    role: str
    claim: str


@event
class ApplicationOpened(ApplicationEvent, frozen=True):
    """An individual application is open to every owner again."""

    TOPIC: ClassVar[str] = "application.opened"


@event
class ApplicationClosed(ApplicationEvent, frozen=True):
    """An individual application is closed to all but its members, as it was before."""

    TOPIC: ClassVar[str] = "application.closed"


@event
class ApplicationDeleted(ApplicationEvent, frozen=True):
    """A target application ended, and its mappings with it."""

    TOPIC: ClassVar[str] = "application.deleted"


class Application(msgspec.Struct, frozen=True):
    """A target application as its stream tells it."""

    application: str
    kind: str
    ticketing: bool
    restricted: bool
    open: bool
    name: str
    contact: str
    fields: tuple[Field, ...]
    administrators: frozenset[Claim]
    members: frozenset[Claim]
    ticket_redeemers: frozenset[Claim]
    ticket_timeout_s: int
    credential_page: str
    creation: int
    """Position of the present creation; a mapping counts only if it carries it."""
    version: int
    created_at: int
    updated_at: int
    updated_by: str
    deleted: bool = False

    @property
    def key(self) -> str:
        """The form in which the ID is compared."""
        return application_key(self.application)

    @property
    def readers(self) -> str:
        """Who may read: `EVERY_OWNER`, `MEMBERS` or `NOBODY`."""
        return NOBODY if self.deleted else readers(self.members, is_open=self.open)

    @property
    def is_group(self) -> bool:
        """Whether all members share one mapping."""
        return self.kind == "group"

    @property
    def credential_page_url(self) -> str | None:
        """Where owners set their credentials, if it is an address."""
        return self.credential_page if "://" in self.credential_page else None

    def claims_of(self, role: str) -> frozenset[Claim]:
        """The claims that hold one of the application's roles."""
        held: frozenset[Claim] = getattr(self, _ROLE_ATTRIBUTES[role])
        return held


_ROLE_ATTRIBUTES = {
    "administrator": "administrators",
    "member": "members",
    "ticket-redeemer": "ticket_redeemers",
}


def readers(members: Collection[object], *, is_open: bool) -> str:
    """Who may read from an application that is there."""
    if is_open:
        return EVERY_OWNER
    return MEMBERS if members else NOBODY


def fold_application(state: Application | None, recorded: Recorded) -> Application | None:
    """The application after one more event of its stream."""
    happened = recorded.event
    if isinstance(happened, ApplicationCreated):
        return _created(happened, recorded)
    if state is None:
        return None
    state = replace(
        state,
        version=recorded.version,
        updated_at=recorded.recorded_at,
        updated_by=recorded.actor.claim,
    )
    match happened:
        case ApplicationUpdated(changes=changes):
            return _updated(state, changes)
        case ApplicationFieldAdded(field=field):
            return replace(state, fields=(*state.fields, Field(*field)))
        case ApplicationGranted(role=role, claim=claim):
            granted = _with_role(state, role, state.claims_of(role) | {parse_claim(claim)})
            # Naming a member closes; revoking one, even the last, neither closes nor opens.
            return replace(granted, open=granted.open and role != "member")
        case ApplicationRevoked(role=role, claim=claim):
            return _with_role(state, role, state.claims_of(role) - {parse_claim(claim)})
        case ApplicationOpened():
            return replace(state, open=True)
        case ApplicationClosed():
            return replace(state, open=False)
        case ApplicationDeleted():
            return replace(state, deleted=True)
    return state


def create(
    present: Application | None,
    application: str,
    *,
    kind: str,
    ticketing: bool = False,
    restricted: bool = False,
    name: str = "",
    contact: str = "",
    fields: Iterable[Field] = (),
    administrators: Iterable[Claim] = (),
    members: Iterable[Claim] = (),
    ticket_redeemers: Iterable[Claim] = (),
    ticket_timeout_s: int = TICKET_TIMEOUT_S_DEFAULT,
    credential_page: str = "none",
) -> tuple[Event, ...]:
    """A new application; `application-exists` in any case or Unicode form of the ID."""
    application_key(application)
    if present is not None and not present.deleted:
        raise Conflict(
            "application-exists",
            "There is a target application of this ID already.",
            hint="IDs are compared without regard to case and Unicode form.",
        )
    if kind not in KINDS:
        raise _invalid("invalid-kind", "The kind is individual or group.")
    if ticketing and restricted:
        raise _invalid("invalid-kind", "An application is ticketing or restricted, never both.")
    listed = tuple(fields) or DEFAULT_FIELDS
    _check_fields(listed)
    groups = [_claim_texts(claims) for claims in (administrators, members, ticket_redeemers)]
    if groups[2] and not ticketing:
        raise _invalid("not-ticketing", "Only a ticketing application has ticket redeemers.")
    created = ApplicationCreated(
        application=display_name(application),
        kind=kind,
        ticketing=ticketing,
        restricted=restricted,
        open=kind == "individual" and not groups[1],
        name=_text(name or application, "name"),
        contact=_text(contact, "contact"),
        fields=tuple((field.name, field.type, field.masked) for field in listed),
        administrators=groups[0],
        members=groups[1],
        ticket_redeemers=groups[2],
        ticket_timeout_s=_timeout(ticket_timeout_s),
        credential_page=_page(credential_page),
    )
    return (created,)


UPDATABLE = frozenset({"name", "contact", "ticket_timeout_s", "credential_page", "masked"})


def update(
    state: Application,
    *,
    name: str | None = None,
    contact: str | None = None,
    ticket_timeout_s: int | None = None,
    credential_page: str | None = None,
    masked: Mapping[str, bool] | None = None,
) -> tuple[Event, ...]:
    """Changed settings; no event where all of them are as they were."""
    changes: dict[str, Any] = {}
    if name is not None and _text(name, "name") != state.name:
        changes["name"] = _text(name, "name")
    if contact is not None and _text(contact, "contact") != state.contact:
        changes["contact"] = _text(contact, "contact")
    if ticket_timeout_s is not None and _timeout(ticket_timeout_s) != state.ticket_timeout_s:
        changes["ticket_timeout_s"] = ticket_timeout_s
    if credential_page is not None and _page(credential_page) != state.credential_page:
        changes["credential_page"] = _page(credential_page)
    flags = {}
    for given, flag in (masked or {}).items():
        field = field_of(state, given)
        if field.masked != flag:
            flags[field.name] = flag
    if flags:
        changes["masked"] = flags
    return (ApplicationUpdated(state.application, changes),) if changes else ()


def add_field(state: Application, field: Field) -> tuple[Event, ...]:
    """One more field; nothing if the very same is there, `field-exists` if another is."""
    for present in state.fields:
        if field_key(present.name) == field_key(field.name):
            if present == field:
                return ()
            raise Conflict("field-exists", "The application has a field of this name already.")
    _check_fields((*state.fields, field))
    return (ApplicationFieldAdded(state.application, (field.name, field.type, field.masked)),)


def grant(state: Application, role: str, claim: Claim) -> tuple[Event, ...]:
    """One more claim in a role; nothing if it holds it already.

    Naming a member closes an open application, also one who is a member already.
    """
    _check_role(state, role)
    closes = role == "member" and state.open
    if claim in state.claims_of(role) and not closes:
        return ()
    if len(state.claims_of(role)) >= CLAIMS_MAX:
        raise _invalid("too-many-claims", f"A role is held by at most {CLAIMS_MAX} claims.")
    return (ApplicationGranted(state.application, role, str(claim)),)


def revoke(state: Application, role: str, claim: Claim) -> tuple[Event, ...]:
    """One claim less in a role; nothing if it does not hold it."""
    _check_role(state, role)
    if claim not in state.claims_of(role):
        return ()
    return (ApplicationRevoked(state.application, role, str(claim)),)


def open_to_all(state: Application) -> tuple[Event, ...]:
    """Open an individual application to every owner; `not-individual` for a group one."""
    if state.is_group:
        raise _invalid("not-individual", "Only an individual application can be open.")
    return () if state.open else (ApplicationOpened(state.application),)


def delete(state: Application) -> tuple[Event, ...]:
    """The end of the application and its mappings."""
    return (ApplicationDeleted(state.application),)


def field_of(state: Application, name: str) -> Field:
    """The field of this name in any case; `unknown-field` if there is none."""
    wanted = field_key(name)
    for field in state.fields:
        if field_key(field.name) == wanted:
            return field
    raise _invalid(
        "unknown-field",
        "The application has no field of that name.",
        "`credledger app fields ID` lists them; nothing was changed.",
    )


def check_values(state: Application, values: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    """The values in the application's order under its spelling; every field is mandatory."""
    given: dict[str, FieldValue] = {}
    for name, value in values.items():
        shown = field_of(state, name).name
        if shown in given:
            raise _invalid("duplicate-field", "A field is given twice.")
        given[shown] = value
    lacking = [field.name for field in state.fields if field.name not in given]
    if lacking:
        raise _invalid(
            "missing-field",
            f"Every field of the application needs a value; {', '.join(lacking)}"
            f" {'has' if len(lacking) == 1 else 'have'} none.",
            hint="`credledger app fields ID` lists them.",
        )
    return {field.name: given[field.name] for field in state.fields}


def parse_field(text: str) -> Field:
    """A field from `NAME:TYPE[:masked]`."""
    parts = [part.strip() for part in text.split(":")]
    fits = len(parts) in (2, 3) and (len(parts) == 2 or parts[2] == "masked")
    if not fits:
        raise _invalid("invalid-field", "A field is written NAME:TYPE or NAME:TYPE:masked.")
    return make_field(parts[0], parts[1], masked=len(parts) == 3)


def make_field(name: str, field_type: str, *, masked: bool = False) -> Field:
    """A field; secret types are masked without being told."""
    field_key(name)
    if field_type not in FIELD_TYPES:
        raise _invalid(
            "invalid-field-type",
            "That is no field type.",
            hint=f"Types are {', '.join(FIELD_TYPES)}.",
        )
    return Field(display_name(name), field_type, masked or field_type in MASKED_TYPES)


def _created(happened: ApplicationCreated, recorded: Recorded) -> Application:
    return Application(
        application=happened.application,
        kind=happened.kind,
        ticketing=happened.ticketing,
        restricted=happened.restricted,
        open=happened.open,
        name=happened.name,
        contact=happened.contact,
        fields=_fields(happened.fields),
        administrators=_claims(happened.administrators),
        members=_claims(happened.members),
        ticket_redeemers=_claims(happened.ticket_redeemers),
        ticket_timeout_s=happened.ticket_timeout_s,
        credential_page=happened.credential_page,
        creation=recorded.position,
        version=recorded.version,
        created_at=recorded.recorded_at,
        updated_at=recorded.recorded_at,
        updated_by=recorded.actor.claim,
    )


def _updated(state: Application, changes: dict[str, Any]) -> Application:
    plain = {name: value for name, value in changes.items() if name != "masked"}
    flags = cast("dict[str, bool]", changes.get("masked", {}))
    fields = tuple(
        replace(field, masked=flags.get(field.name, field.masked)) for field in state.fields
    )
    return replace(state, fields=fields, **plain)


def _with_role(state: Application, role: str, claims: frozenset[Claim]) -> Application:
    match role:
        case "administrator":
            return replace(state, administrators=claims)
        case "member":
            return replace(state, members=claims)
        case _:
            return replace(state, ticket_redeemers=claims)


def _check_role(state: Application, role: str) -> None:
    if role not in ROLES:
        raise _invalid("invalid-role", f"Roles are {', '.join(ROLES)}.")
    if role == "ticket-redeemer" and not state.ticketing:
        raise _invalid("not-ticketing", "Only a ticketing application has ticket redeemers.")


def _check_fields(fields: tuple[Field, ...]) -> None:
    if len(fields) > FIELDS_MAX:
        raise _invalid("too-many-fields", f"An application has at most {FIELDS_MAX} fields.")
    keys = {field_key(field.name) for field in fields}
    if len(keys) != len(fields):
        raise _invalid("duplicate-field", "Two fields have the same name.")


def _claims(texts: Sequence[str]) -> frozenset[Claim]:
    return frozenset(map(parse_claim, texts)) if texts else _NOBODY


@functools.lru_cache(maxsize=256)
def _fields(told: tuple[tuple[str, str, bool], ...]) -> tuple[Field, ...]:
    """Most applications of a ledger have one of few sets of fields."""
    return tuple(Field(*field) for field in told)


def _claim_texts(claims: Iterable[Claim]) -> tuple[str, ...]:
    texts = tuple(sorted({str(claim) for claim in claims}))
    if len(texts) > CLAIMS_MAX:
        raise _invalid("too-many-claims", f"A role is held by at most {CLAIMS_MAX} claims.")
    return texts


def _text(text: str, what: str) -> str:
    shown = display_name(text)
    if len(shown) > TEXT_LENGTH_MAX or not (shown.isprintable() or not shown):
        raise _invalid(
            f"invalid-{what}", f"The {what} has at most {TEXT_LENGTH_MAX} printable characters."
        )
    return shown


def _timeout(seconds: int) -> int:
    if not 1 <= seconds <= TICKET_TIMEOUT_S_MAX:
        raise _invalid("invalid-ticket-timeout", "A ticket lives 1 second to 24 hours.")
    return seconds


def _page(text: str) -> str:
    if text in ("default", "none"):
        return text
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("https", "http") and bool(parts.hostname)
    except ValueError:
        fits = False
    if not fits or len(text) > URL_LENGTH_MAX or not text.isprintable():
        raise _invalid("invalid-credential-page", "The page is default, none, or an http(s) URL.")
    return text


def _invalid(code: str, message: str, hint: str | None = None) -> InvalidInput:
    return InvalidInput(code, message, hint=hint)
