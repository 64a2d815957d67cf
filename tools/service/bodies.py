"""What operations are asked with, one struct each; a key that a struct does not have is refused.

Whatever decodes has no more depth than its struct, and no longer texts or lists than it says. What
the texts mean is looked at by the ledger, once, as it is for commands.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger.aggregates.application import CLAIMS_MAX, URL_LENGTH_MAX
from ledger.claims import CLAIM_LENGTH_MAX
from ledger.usecases.acting import REASON_LENGTH_MAX
from ledger.values import FIELDS_MAX

NAME_LENGTH_MAX = 1024
"""Of names before their form is made, which leaves out what stands around them."""
TEXT_LENGTH_MAX = 1024
APPLICATIONS_MAX = 1000
"""Of one `apply`, which is one transaction."""
TICKET_LENGTH_MAX = 128

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
ClaimText = Annotated[str, Meta(min_length=1, max_length=CLAIM_LENGTH_MAX)]
ClaimTexts = Annotated[tuple[ClaimText, ...], Meta(max_length=CLAIMS_MAX)]
Names = Annotated[tuple[Name, ...], Meta(max_length=FIELDS_MAX)]
FieldsAsked = Annotated[
    tuple[Name, ...],
    Meta(
        max_length=FIELDS_MAX,
        description="Which fields; all where it is left out. An empty list is refused.",
        extra_json_schema={"minItems": 1},
    ),
]
Text = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX)]
Moment = Annotated[str, Meta(min_length=1, max_length=64)]
Page = Annotated[str, Meta(max_length=URL_LENGTH_MAX)]
Reason = Annotated[
    str, Meta(max_length=REASON_LENGTH_MAX, description="Why; one line, which is recorded.")
]
Values = Annotated[
    dict[str, Any],
    Meta(
        min_length=1,
        max_length=FIELDS_MAX,
        description="Every field of the application with its value.",
        extra_json_schema={
            "additionalProperties": {
                "oneOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"base64": {"type": "string", "format": "byte"}},
                        "required": ["base64"],
                        "additionalProperties": False,
                    },
                ]
            }
        },
    ),
]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What all bodies have in common."""

    NAMES_APPLICATION: ClassVar[bool] = True
    """Whether the operation needs an application, be it named by the body or by the token."""


class Get(Body, frozen=True):
    """The caller's credentials in an application, restricted ones if asked for explicitly."""

    application: Name | None = None
    fields: FieldsAsked | None = None
    restricted: bool = False
    reason: Reason = ""


class Set(Body, frozen=True):
    """New values for the caller, for an owner, or for a group."""

    fields: Values
    application: Name | None = None
    owner: ClaimText | None = None
    reason: Reason = ""


class Delete(Body, frozen=True):
    """The credentials that end."""

    application: Name | None = None
    owner: ClaimText | None = None
    reason: Reason = ""


class DeleteAll(Body, frozen=True):
    """Whose credentials end in every application; the caller's unless told."""

    NAMES_APPLICATION: ClassVar[bool] = False

    owner: ClaimText | None = None
    reason: Reason = ""


class Restore(Body, frozen=True):
    """An earlier version, by its number or by a moment; exactly one of the two."""

    application: Name | None = None
    owner: ClaimText | None = None
    version: Annotated[int, Meta(ge=1, lt=1 << 53)] | None = None
    at: Moment | None = None
    reason: Reason = ""


class PreviewRestore(Body, frozen=True):
    """What `restore` would bring back, by its number or by a moment; exactly one of the two."""

    application: Name | None = None
    owner: ClaimText | None = None
    version: Annotated[int, Meta(ge=1, lt=1 << 53)] | None = None
    at: Moment | None = None


class List(Body, frozen=True):
    """Which mappings to list."""

    NAMES_APPLICATION: ClassVar[bool] = False

    application: Name | None = None
    owner: ClaimText | None = None
    older_than: Moment | None = None


class History(Body, frozen=True):
    """Whose versions to list."""

    application: Name | None = None
    owner: ClaimText | None = None


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

    name: Name
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    masked: bool = False


Fields = Annotated[tuple[FieldGiven, ...], Meta(max_length=FIELDS_MAX)]


class CreateApplication(Body, frozen=True):
    """A new target application."""

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
    ticket_timeout_s: int | None = None
    credential_page: Page | None = None
    reason: Reason = ""


class UpdateApplication(Body, frozen=True):
    """What to change of an application, and which fields to add."""

    application: Name
    name: Text | None = None
    contact: Text | None = None
    ticket_timeout_s: int | None = None
    credential_page: Page | None = None
    add_fields: Fields = ()
    mask: Names = ()
    unmask: Names = ()
    open: bool = False
    reason: Reason = ""


class FieldWanted(Body, frozen=True):
    """A field as it is to be; left out, `masked` follows from the type, or stays as it is."""

    name: Name
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    masked: bool | UnsetType = UNSET


FieldsWanted = Annotated[list[FieldWanted | Text], Meta(max_length=FIELDS_MAX)]
ClaimsWanted = Annotated[list[ClaimText], Meta(max_length=CLAIMS_MAX)]


class ApplicationWanted(Body, frozen=True):
    """An application as it is to be; a key that is left out is left alone."""

    kind: Literal["individual", "group"] | UnsetType = UNSET
    ticketing: bool | UnsetType = UNSET
    restricted: bool | UnsetType = UNSET
    open: bool | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    contact: Text | UnsetType = UNSET
    credential_page: Page | UnsetType = UNSET
    ticket_timeout_s: int | UnsetType = UNSET
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

    position: Annotated[int, Meta(ge=1, lt=1 << 53)]


class Nothing(Body, frozen=True):
    """Nothing needs to be said."""

    NAMES_APPLICATION: ClassVar[bool] = False
