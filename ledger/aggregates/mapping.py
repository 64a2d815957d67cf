"""Credential mappings: (application, owner) to a sealed set of field values, versioned.

The newest event of a mapping's stream says all there is to know of it, so releasing a value
reads one row. The *version* counts values: 1 for the first set, one more for each set or restore;
resealing keeps it, and setting after a delete, or in an application created anew, goes on
counting. A mapping counts only if it carries the position of its application's present creation.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded
from ledger.discreet import Discreet
from ledger.errors import Tampered


@event
class CredentialSet(Event, frozen=True):
    """Values were set."""

    TOPIC: ClassVar[str] = "credential.set"
    application: str
    owner: str | None
    creation: int
    value_version: int
    fields: tuple[str, ...]
    secret: bytes
    """The values, sealed in the `secret` compartment for this very row."""
    set_at: int
    set_by: str


@event
class CredentialRestored(Event, frozen=True):
    """An earlier version's values became the current ones, unseen."""

    TOPIC: ClassVar[str] = "credential.restored"
    application: str
    owner: str | None
    creation: int
    value_version: int
    fields: tuple[str, ...]
    secret: bytes
    set_at: int
    set_by: str
    restored_version: int


@event
class CredentialResealed(Event, frozen=True):
    """The same values under a newer epoch's key."""

    TOPIC: ClassVar[str] = "credential.resealed"
    application: str
    owner: str | None
    creation: int
    value_version: int
    fields: tuple[str, ...]
    secret: bytes
    set_at: int
    set_by: str


@event
class CredentialDeleted(Event, frozen=True):
    """Nothing is set any more."""

    TOPIC: ClassVar[str] = "credential.deleted"
    application: str
    owner: str | None
    creation: int
    value_version: int


ValueEvent = CredentialSet | CredentialRestored | CredentialResealed
"""Those that carry sealed values."""
NEW_VALUE_TOPICS = (CredentialSet.TOPIC, CredentialRestored.TOPIC)
"""Of the events that begin a new version of a mapping's values."""
VALUE_TOPICS = (*NEW_VALUE_TOPICS, CredentialResealed.TOPIC)
"""Of the events that carry sealed values."""


class CredentialMapping(Discreet, msgspec.Struct, frozen=True):
    """A mapping as its newest event tells it."""

    SHOWN: ClassVar = (
        "application",
        "owner",
        "creation",
        "value_version",
        "fields",
        "set_at",
        "set_by",
    )

    application: str
    owner: str | None
    creation: int
    value_version: int
    fields: tuple[str, ...]
    secret: bytes | None
    """None when nothing is set."""
    set_at: int
    set_by: str
    recorded: Recorded
    """The row it was read from: position, version and epoch."""

    def counts_in(self, creation: int) -> bool:
        """Whether values are set for the present creation of the application."""
        return self.secret is not None and self.creation == creation


def mapping_from(recorded: Recorded | None) -> CredentialMapping | None:
    """The mapping that the newest row of its stream tells of."""
    if recorded is None:
        return None
    happened = recorded.event
    if isinstance(happened, ValueEvent):
        return CredentialMapping(
            application=happened.application,
            owner=happened.owner,
            creation=happened.creation,
            value_version=happened.value_version,
            fields=happened.fields,
            secret=happened.secret,
            set_at=happened.set_at,
            set_by=happened.set_by,
            recorded=recorded,
        )
    if isinstance(happened, CredentialDeleted):
        return CredentialMapping(
            application=happened.application,
            owner=happened.owner,
            creation=happened.creation,
            value_version=happened.value_version,
            fields=(),
            secret=None,
            set_at=recorded.recorded_at,
            set_by=recorded.actor.claim,
            recorded=recorded,
        )
    raise _wrong_stream(recorded.position)


def values_in(happened: Event, position: int) -> ValueEvent:
    """The event at a position as one that carries values; `wrong-stream` where it does not.

    For whoever goes over mappings by the thousand: it has all that a `CredentialMapping` tells.
    """
    if not isinstance(happened, ValueEvent):
        raise _wrong_stream(position)
    return happened


def _wrong_stream(position: int) -> Tampered:
    return Tampered(
        "wrong-stream", "A mapping's stream holds another kind of event.", position=position
    )
