"""Events: frozen facts with an explicit topic that never changes, and their stored payloads.

A payload is a msgpack map of the event's fields and `"v"`, its schema number. When a schema
grows, its class counts `SCHEMA` up and a function in `UPCASTERS` lifts each older payload, so
events written once stay readable for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from typing import Any, ClassVar

from ledger.errors import Tampered

Payload = dict[str, Any]
Shape = tuple[tuple[str, ...], Callable[["Event"], tuple[Any, ...]]]
"""The keys of a stored form, and what gets their values out of an event."""
_CLASSES: dict[str, type[Event]] = {}
_SHAPES: dict[type[Event], Shape] = {}
UPCASTERS: dict[str, tuple[Callable[[Payload], Payload], ...]] = {}
"""By topic: the first function lifts schema 1 to 2, the next 2 to 3, and so on."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    TOPIC: ClassVar[str] = ""
    SCHEMA: ClassVar[int] = 1


def event(cls: type[Event]) -> type[Event]:
    """Register an event class under its topic."""
    _CLASSES[cls.TOPIC] = cls
    return cls


def topics() -> tuple[str, ...]:
    """All topics, sorted."""
    return tuple(sorted(_CLASSES))


def payload(happened: Event) -> Payload:
    """The stored form; dataclasses inside it are left to `plain`."""
    names, values = _shape(type(happened))
    return dict(zip(names, values(happened), strict=True))


def plain(value: Any) -> tuple[Any, ...]:
    """The stored form of a dataclass inside an event: its fields in order; `TypeError` if none."""
    if isinstance(value, type) or not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} cannot be stored")
    return tuple(getattr(value, entry.name) for entry in fields(value))


def from_payload(topic: str, stored: Payload) -> Event:
    """The event; `unknown-topic` or `malformed-event` if it is none of ours."""
    cls = _CLASSES.get(topic)
    if cls is None:
        raise Tampered(
            "unknown-topic",
            "The log holds a kind of event that this version does not know.",
            hint="Install the version that wrote it, or a later one.",
        )
    try:
        schema = stored.pop("v")
        for lift in UPCASTERS.get(topic, ())[schema - 1 :]:
            stored = lift(stored)
        return cls(**stored)
    except (TypeError, KeyError, AttributeError) as error:
        raise Tampered("malformed-event", "An event's payload does not fit its topic.") from error


def _shape(cls: type[Event]) -> Shape:
    known = _SHAPES.get(cls)
    if known is None:
        names = tuple(entry.name for entry in fields(cls))
        values = attrgetter("SCHEMA", *names) if names else lambda happened: (happened.SCHEMA,)
        known = _SHAPES[cls] = (("v", *names), values)
    return known
