"""Events: frozen facts with an explicit topic that never changes, and their stored payloads.

A payload is a msgpack map of the event's fields and `"v"`, its schema number. When a schema
grows, its class counts `SCHEMA` up and a function in `UPCASTERS` lifts each older payload, so
events written once stay readable for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

from ledger.errors import Tampered

Payload = dict[str, Any]
_ATOMS = frozenset({str, int, bool, bytes, type(None)})
_FIELD_NAMES: dict[type[Any], tuple[str, ...]] = {}
_CLASSES: dict[str, type[Event]] = {}
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
    """The stored form."""
    stored: Payload = {"v": happened.SCHEMA}
    for name in _names(type(happened)):
        value = getattr(happened, name)
        # Most fields are plain already, and this is done for every record.
        stored[name] = value if type(value) in _ATOMS else _plain(value)
    return stored


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
        plain = _ATOMS
        return cls(
            **{
                name: value if type(value) in plain else _frozen(value)
                for name, value in stored.items()
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise Tampered("malformed-event", "An event's payload does not fit its topic.") from error


def _names(cls: type[Any]) -> tuple[str, ...]:
    known = _FIELD_NAMES.get(cls)
    if known is None:
        known = _FIELD_NAMES[cls] = tuple(entry.name for entry in fields(cls))
    return known


def _plain(value: Any) -> Any:
    if type(value) in _ATOMS:
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return [_plain(getattr(value, name)) for name in _names(type(value))]
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value
