"""What operations are asked with, one struct each; a key that a struct does not have is refused.

Whatever decodes has no more depth than its struct, and no longer texts or lists than it says. What
the texts mean is looked at by the ledger, once, as it is for commands.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger.aggregates.application import CLAIMS_MAX, TICKET_TIMEOUT_S_MAX, URL_LENGTH_MAX
from ledger.claims import CLAIM_LENGTH_MAX
from ledger.discreet import Discreet
from ledger.identifiers import WRITTEN_LENGTH_MAX
from ledger.usecases.acting import REASON_LENGTH_MAX
from ledger.values import (
    FIELD_TYPES,
    FIELDS_MAX,
    VALUE_BYTES_MAX,
    FieldValue,
    values_from_json,
)
from tools.numbers import NUMBER_MAX
from tools.service import patterns

TEXT_LENGTH_MAX = 1024
APPLICATIONS_MAX = 1000
"""Of one `apply`, which is one transaction."""
TICKET_LENGTH_MAX = 128
MOMENT_LENGTH_MAX = 64


def _written(pattern: str, length_max: int, description: str) -> Meta:
    """A text that the ledger looks at: only its length counts while it is decoded."""
    said = {"pattern": pattern}
    return Meta(
        min_length=1, max_length=length_max, description=description, extra_json_schema=said
    )


Name = Annotated[
    str,
    _written(
        patterns.APPLICATION,
        WRITTEN_LENGTH_MAX,
        "An application's ID: 1 to 128 letters, digits, `-`, `_`, `.` and spaces.",
    ),
]
FieldName = Annotated[
    str,
    _written(
        patterns.FIELD,
        WRITTEN_LENGTH_MAX,
        "A field's name: 1 to 128 letters, digits, `-`, `_`, `.` and spaces.",
    ),
]
ClaimText = Annotated[
    str,
    _written(patterns.CLAIM, CLAIM_LENGTH_MAX, "A claim: `TYPE:VALUE` or `ISSUER#TYPE:VALUE`."),
]
OwnerText = Annotated[
    str,
    _written(patterns.OWNER, CLAIM_LENGTH_MAX, "The claim of a user or a service."),
]
Moment = Annotated[
    str,
    _written(
        patterns.MOMENT,
        MOMENT_LENGTH_MAX,
        "RFC 3339 with a zone, a date, `now`, `today`, `yesterday`, a weekday or a span.",
    ),
]
Span = Annotated[
    str,
    _written(patterns.SPAN, MOMENT_LENGTH_MAX, "A number and one of `s`, `m`, `h`, `d`, `w`."),
]
ClaimTexts = Annotated[tuple[ClaimText, ...], Meta(max_length=CLAIMS_MAX)]
FieldNames = Annotated[tuple[FieldName, ...], Meta(max_length=FIELDS_MAX)]
FieldsAsked = Annotated[
    tuple[FieldName, ...],
    Meta(
        max_length=FIELDS_MAX,
        description="Which fields; all where it is left out. An empty list is refused.",
        extra_json_schema={"minItems": 1},
    ),
]
Text = Annotated[
    str,
    Meta(
        max_length=TEXT_LENGTH_MAX,
        description="At most 256 printable characters, without blanks around them.",
        extra_json_schema={"pattern": patterns.TEXT},
    ),
]
Page = Annotated[
    str,
    Meta(
        max_length=URL_LENGTH_MAX,
        description="`default`, `none`, or an http(s) URL.",
        extra_json_schema={"pattern": patterns.PAGE},
    ),
]
Timeout = Annotated[
    int,
    Meta(
        description="How many seconds a ticket lives.",
        extra_json_schema={"minimum": 1, "maximum": TICKET_TIMEOUT_S_MAX},
    ),
]
FieldType = Annotated[str, Meta(extra_json_schema={"enum": list(FIELD_TYPES)})]
FieldText = Annotated[
    str,
    _written(patterns.FIELD_TEXT, TEXT_LENGTH_MAX, "A field as `NAME:TYPE` or `NAME:TYPE:masked`."),
]
VersionNumber = Annotated[int, Meta(ge=1, le=NUMBER_MAX, description="A version's number.")]
Reason = Annotated[
    str,
    Meta(
        max_length=REASON_LENGTH_MAX,
        description="Why; one line, which is recorded.",
        extra_json_schema={"pattern": patterns.REASON},
    ),
]
ValueText = Annotated[str, Meta(extra_json_schema={"maxLength": VALUE_BYTES_MAX})]
_VALUE_BASE64 = {
    "contentEncoding": "base64",
    "pattern": patterns.BASE64,
    "maxLength": (VALUE_BYTES_MAX + 2) // 3 * 4,
}
_NO_CLAIMS = {"maxItems": 0}
_TICKETING = {
    "properties": {"ticketing": {"const": True}, "restricted": {"const": False}},
    "required": ["ticketing"],
}
_PLAIN = {"properties": {"ticketing": {"const": False}, "ticket_redeemers": _NO_CLAIMS}}


def one_of(**kinds: str) -> dict[str, Any]:
    """Exactly one of these keys is there and not null."""
    return {
        "oneOf": [
            {
                "required": [name],
                "properties": {
                    other: {"type": kind if other == name else "null"}
                    for other, kind in kinds.items()
                },
            }
            for name in kinds
        ]
    }


def _any_of(**said: dict[str, Any]) -> dict[str, Any]:
    """At least one of these keys is there, and says something."""
    ways = [{"required": [name], "properties": {name: one}} for name, one in said.items()]
    return {"anyOf": ways}


class Body(Discreet, msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What all bodies have in common."""

    NAMES_APPLICATION: ClassVar[bool] = True
    """Whether the operation needs an application, be it named by the body or by the token."""
    TOGETHER: ClassVar[dict[str, Any]] = {}
    """What JSON Schema says of its keys together; the ledger or the operation looks at it."""


class Get(Body, frozen=True):
    """The caller's credentials in an application, restricted ones if asked for explicitly."""

    application: Name | None = None
    fields: FieldsAsked | None = None
    restricted: bool = False
    reason: Reason = ""


class BytesGiven(Body, frozen=True):
    """Bytes in JSON; in msgpack they are bytes, or this."""

    base64: Annotated[str, Meta(extra_json_schema=_VALUE_BASE64)]


Values = Annotated[
    dict[str, ValueText | BytesGiven],
    Meta(
        min_length=1,
        max_length=FIELDS_MAX,
        description="Every field of the application with its value, of at most 64 KiB.",
        extra_json_schema={
            "propertyNames": {"pattern": patterns.FIELD, "maxLength": WRITTEN_LENGTH_MAX}
        },
    ),
]
"""In msgpack also bytes, which msgspec has no name for beside texts; see `forms.py`."""


class Set(Body, frozen=True):
    """New values for the caller, for an owner, or for a group."""

    fields: Values
    application: Name | None = None
    owner: OwnerText | None = None
    reason: Reason = ""

    def values(self) -> dict[str, FieldValue]:
        """The values by field; `invalid-values`, `value-too-long`."""
        return values_from_json(
            {
                name: {"base64": one.base64} if isinstance(one, BytesGiven) else one
                for name, one in self.fields.items()
            }
        )


class Delete(Body, frozen=True):
    """The credentials that end."""

    application: Name | None = None
    owner: OwnerText | None = None
    reason: Reason = ""


class DeleteAll(Body, frozen=True):
    """Whose credentials end in every application; the caller's unless told."""

    NAMES_APPLICATION: ClassVar[bool] = False

    owner: OwnerText | None = None
    reason: Reason = ""


class Restore(Body, frozen=True):
    """An earlier version, by its number or by a moment; exactly one of the two."""

    TOGETHER: ClassVar[dict[str, Any]] = one_of(version="integer", at="string")

    application: Name | None = None
    owner: OwnerText | None = None
    version: VersionNumber | None = None
    at: Moment | None = None
    reason: Reason = ""


class PreviewRestore(Body, frozen=True):
    """What `restore` would bring back, by its number or by a moment; exactly one of the two."""

    TOGETHER: ClassVar[dict[str, Any]] = one_of(version="integer", at="string")

    application: Name | None = None
    owner: OwnerText | None = None
    version: VersionNumber | None = None
    at: Moment | None = None


class List(Body, frozen=True):
    """Which mappings to list."""

    NAMES_APPLICATION: ClassVar[bool] = False

    application: Name | None = None
    owner: OwnerText | None = None
    older_than: Span | None = None


class History(Body, frozen=True):
    """Whose versions to list."""

    application: Name | None = None
    owner: OwnerText | None = None


class IssueTicket(Body, frozen=True):
    """For which application the ticket is good; for any that is ticketing unless told."""

    NAMES_APPLICATION: ClassVar[bool] = False

    application: Name | None = None
    reason: Reason = ""


class RedeemTicket(Body, frozen=True):
    """A ticket, and the application whose credentials it is to turn into."""

    ticket: Annotated[str, Meta(min_length=1, max_length=TICKET_LENGTH_MAX)]
    application: Name | None = None
    fields: FieldsAsked | None = None
    reason: Reason = ""


class FieldGiven(Body, frozen=True):
    """A field; some types are masked without being told."""

    name: FieldName
    type: FieldType
    masked: bool = False


Fields = Annotated[tuple[FieldGiven, ...], Meta(max_length=FIELDS_MAX)]


class CreateApplication(Body, frozen=True):
    """A new target application."""

    TOGETHER: ClassVar[dict[str, Any]] = {"anyOf": [_TICKETING, _PLAIN]}

    application: Name
    kind: Literal["individual", "group"]
    ticketing: bool = False
    restricted: bool = False
    name: Text = ""
    contact: Text = ""
    fields: Fields = ()
    administrators: ClaimTexts = ()
    members: ClaimTexts = ()
    ticket_redeemers: ClaimTexts = ()
    ticket_timeout_s: Timeout | None = None
    credential_page: Page | None = None
    reason: Reason = ""


class UpdateApplication(Body, frozen=True):
    """What to change of an application, and which fields to add."""

    TOGETHER: ClassVar[dict[str, Any]] = _any_of(
        name={"type": "string"},
        contact={"type": "string"},
        ticket_timeout_s={"type": "integer"},
        credential_page={"type": "string"},
        add_fields={"minItems": 1},
        mask={"minItems": 1},
        unmask={"minItems": 1},
        open={"const": True},
    )

    application: Name
    name: Text | None = None
    contact: Text | None = None
    ticket_timeout_s: Timeout | None = None
    credential_page: Page | None = None
    add_fields: Fields = ()
    mask: FieldNames = ()
    unmask: FieldNames = ()
    open: bool = False
    reason: Reason = ""


class FieldWanted(Body, frozen=True):
    """A field as it is to be; left out, `masked` follows from the type, or stays as it is."""

    name: FieldName
    type: FieldType
    masked: bool | UnsetType = UNSET


FieldsWanted = Annotated[list[FieldWanted | FieldText], Meta(max_length=FIELDS_MAX)]
ClaimsWanted = Annotated[list[ClaimText], Meta(max_length=CLAIMS_MAX)]


class ApplicationWanted(Body, frozen=True):
    """An application as it is to be; a key that is left out is left alone."""

    TOGETHER: ClassVar[dict[str, Any]] = {
        "anyOf": [_TICKETING, _PLAIN, {"properties": {"ticketing": False}}]
    }

    kind: Literal["individual", "group"] | UnsetType = UNSET
    ticketing: bool | UnsetType = UNSET
    restricted: bool | UnsetType = UNSET
    open: bool | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    contact: Text | UnsetType = UNSET
    credential_page: Page | UnsetType = UNSET
    ticket_timeout_s: Timeout | UnsetType = UNSET
    fields: FieldsWanted | UnsetType = UNSET
    administrators: ClaimsWanted | UnsetType = UNSET
    members: ClaimsWanted | UnsetType = UNSET
    ticket_redeemers: ClaimsWanted | UnsetType = UNSET


class ApplyApplications(Body, frozen=True):
    """Applications by their IDs, as a file of `app apply` has them.

    With `prune` those that it does not name are deleted, if `deletes` names exactly these.
    """

    NAMES_APPLICATION: ClassVar[bool] = False

    applications: Annotated[dict[Name, ApplicationWanted], Meta(max_length=APPLICATIONS_MAX)]
    prune: bool = False
    deletes: Annotated[tuple[Name, ...], Meta(max_length=APPLICATIONS_MAX)] = ()
    dry_run: bool = False
    reason: Reason = ""


class DeleteApplication(Body, frozen=True):
    """The application that ends, and its mappings with it."""

    application: Name
    reason: Reason = ""


class ChangeRole(Body, frozen=True):
    """Who gets a role in an application, or loses it."""

    application: Name
    role: Literal["administrator", "member", "ticket-redeemer"]
    claim: ClaimText
    reason: Reason = ""


class Application(Body, frozen=True):
    """Which application."""

    application: Name | None = None


class Receipt(Body, frozen=True):
    """Of which of the caller's own attempts to read."""

    NAMES_APPLICATION: ClassVar[bool] = False

    position: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class Nothing(Body, frozen=True):
    """Nothing needs to be said."""

    NAMES_APPLICATION: ClassVar[bool] = False
