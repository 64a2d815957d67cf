"""Access records: one retrieval or refusal with every input of the decision.

Whoever opens the log's `state` and `access` parts can decide each of them again and must get the
same answer: all presented claims, the restricted flag, who acted and the version of the rules.
"""

from __future__ import annotations

from typing import ClassVar

from ledger.aggregates.event import Event, event


class Access(Event, frozen=True):
    """What the three outcomes have in common."""

    application: str
    """The ID as the application shows it, or as it was asked for where there is none."""
    owner: str | None
    caller: str
    claims: tuple[str, ...]
    """All presented claims, the caller's own first."""
    restricted: bool
    """Whether it was an explicit restricted request."""
    requested: tuple[str, ...]
    """The fields asked for by name; empty for all."""
    rules: int
    """The version of the rules that decided."""
    through: str | None
    """The claim that matched."""
    creation: int | None
    mapping_position: int | None
    value_version: int | None
    fields: tuple[str, ...]
    """The fields released; empty unless granted."""
    complete: bool | None
    missing: tuple[str, ...]
    detail: str
    """Why, as a stable code."""
    on_behalf_of: str | None = None


@event
class AccessGranted(Access, frozen=True):
    """Values were released."""

    TOPIC: ClassVar[str] = "access.granted"


@event
class AccessDenied(Access, frozen=True):
    """The rules said no."""

    TOPIC: ClassVar[str] = "access.denied"


@event
class AccessNotSet(Access, frozen=True):
    """The rules said yes, but nothing was there."""

    TOPIC: ClassVar[str] = "access.not-set"


@event
class ImportCompared(Event, frozen=True):
    """Values of mappings were compared in process with those of an import."""

    TOPIC: ClassVar[str] = "import.compared"
    compared: int
    unchanged: int


@event
class AuditQueried(Event, frozen=True):
    """Somebody read the history."""

    TOPIC: ClassVar[str] = "audit.queried"
    filter: str
    rows: int


@event
class AuditReviewed(Event, frozen=True):
    """Somebody looked through the attempts to read of a time and signed that off."""

    TOPIC: ClassVar[str] = "audit.reviewed"
    after: int
    """The position that the review before it ended with; 0 for the first."""
    until: int
    """The last position that was reviewed."""
    granted: int
    denied: int
    not_set: int
    note: str


OUTCOMES = {"granted": AccessGranted, "denied": AccessDenied, "not-set": AccessNotSet}
