"""What operations answer with, one struct each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ledger.discreet import Discreet

Position = Annotated[int, Meta(ge=0, description="Place in the log.")]
Version = Annotated[int, Meta(ge=0)]
Readers = Literal["every-owner", "members", "nobody"]
Time = Annotated[str, Meta(description="RFC 3339, UTC.")]


class Answer(Discreet, msgspec.Struct, frozen=True):
    """What all answers have in common."""


class Base64(msgspec.Struct, frozen=True):
    """Bytes in JSON; in msgpack they are bytes."""

    base64: str


Value = str | Base64


class Retrieved(Answer, frozen=True):
    """Released values, and the position of the record that says so."""

    application: str
    owner: str | None
    version: Version
    fields: dict[str, Value]
    complete: bool
    missing: tuple[str, ...]
    position: Position


class MappingChanged(Answer, frozen=True):
    """A mapping after its change; the version is that of its values."""

    application: str
    owner: str | None
    version: Version
    position: Position


class RestorePreviewed(Answer, frozen=True):
    """The version that would come back, the number it would get, and whether its key is held."""

    application: str
    owner: str | None
    version: Version
    becomes: Version
    set_at: Time
    set_by: str
    key: Literal["held", "destroyed"]


class AllDeleted(Answer, frozen=True):
    """The mappings that ended."""

    deleted: tuple[MappingChanged, ...]


class Mapping(Answer, frozen=True):
    """A mapping that is set, without its values."""

    application: str
    owner: str | None
    version: Version
    epoch: int
    complete: bool
    set_at: Time
    set_by: str


class Mappings(Answer, frozen=True):
    """Those that the caller may list, and the caller's own."""

    credentials: tuple[Mapping, ...]


class MappingVersion(Answer, frozen=True):
    """One event of a mapping."""

    version: Version
    event: str
    recorded_at: Time
    by: str
    reason: str
    position: Position
    ended: bool
    """Whether it was set in an application of this ID that was deleted since."""


class MappingVersions(Answer, frozen=True):
    """A mapping's events."""

    versions: tuple[MappingVersion, ...]


class TicketIssued(Answer, frozen=True):
    """A ticket, this once; the only application it is good for, or null for any."""

    ticket: str
    application: str | None
    issued_at: Time
    expires_at: Time | None
    position: Position


class ApplicationChanged(Answer, frozen=True):
    """An application after its change; the version is that of its stream.

    Who may read now, and who could before, which is null where there was no application.
    """

    application: str
    changed: bool
    version: Version
    position: Position
    readers: Readers
    readers_before: Readers | None


class ApplicationStep(Answer, frozen=True):
    """One step from what is there to what is wanted."""

    application: str
    action: Literal["create", "update", "add-field", "grant", "revoke", "open", "delete", "follows"]
    what: str
    before: Any = msgspec.field(name="from")
    after: Any = msgspec.field(name="to")


class ApplicationsApplied(Answer, frozen=True):
    """The steps that were taken, all in one transaction, or would be; the last one's position."""

    dry_run: bool
    changed: bool
    position: Position | None
    changes: tuple[ApplicationStep, ...]


class ReceiptMade(Answer, frozen=True):
    """A proof that the record stands in the signed log; its shape is a page of its own."""

    receipt: dict[str, Any]


class FieldShown(Answer, frozen=True):
    """A field."""

    name: str
    type: str
    masked: bool


class ApplicationShown(Answer, frozen=True):
    """An application with its settings."""

    application: str
    kind: str
    ticketing: bool
    restricted: bool
    open: bool
    name: str
    contact: str
    fields: tuple[FieldShown, ...]
    administrators: tuple[str, ...]
    members: tuple[str, ...]
    ticket_redeemers: tuple[str, ...]
    ticket_timeout_s: int
    credential_page: str
    version: Version
    created_at: Time
    updated_at: Time
    updated_by: str


class ApplicationsShown(Answer, frozen=True):
    """Those whose settings the caller may see."""

    applications: tuple[ApplicationShown, ...]


class FieldsShown(Answer, frozen=True):
    """An application's fields."""

    application: str
    fields: tuple[FieldShown, ...]


class ClaimsShown(Answer, frozen=True):
    """Who has which role in an application."""

    application: str
    administrators: tuple[str, ...]
    members: tuple[str, ...]
    ticket_redeemers: tuple[str, ...]


class ApplicationUsable(Answer, frozen=True):
    """An application that the caller may get from."""

    application: str
    name: str
    kind: str
    ticketing: bool
    restricted: bool
    fields: tuple[FieldShown, ...]


class ApplicationsUsable(Answer, frozen=True):
    """Those that the caller may get from."""

    applications: tuple[ApplicationUsable, ...]
