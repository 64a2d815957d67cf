"""Events: frozen facts with an explicit topic that never changes, and their stored payloads.

A payload is a msgpack map of `"v"`, the schema's number, and the event's fields. When a schema
grows, its class counts `tag` up and a function in `UPCASTERS` lifts each older payload, so events
written once stay readable for ever.

Events are msgspec structs (decision 21): what is stored is made into an event, or refused for a
field too many, one too few or one of another type, in one step without a map in between, because
whoever replays a log does it for every row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from ledger.errors import Tampered

Payload = dict[str, Any]
_CLASSES: dict[str, type[Event]] = {}
UPCASTERS: dict[str, tuple[Callable[[Payload], Payload], ...]] = {}
"""By topic: the first function lifts schema 1 to 2, the next 2 to 3, and so on."""


class Event(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="v", tag=1, gc=False
):
    """Something that happened.

    None can be part of a cycle, so the garbage collector need not look at them.
    """

    TOPIC: ClassVar[str] = ""


def event(cls: type[Event]) -> type[Event]:
    """Register an event class under its topic."""
    _CLASSES[cls.TOPIC] = cls
    return cls


def topics() -> tuple[str, ...]:
    """All topics, sorted."""
    return tuple(sorted(_CLASSES))


def class_of(topic: str) -> type[Event]:
    """The class of the events of this topic; `unknown-topic` if it is none of ours."""
    try:
        return _CLASSES[topic]
    except KeyError:
        raise Tampered(
            "unknown-topic",
            "The log holds a kind of event that this version does not know.",
            hint="Install the version that wrote it, or a later one.",
        ) from None


def from_payload(topic: str, stored: Payload) -> Event:
    """The event of a payload of any schema; `unknown-topic` or `malformed-event` if it is none."""
    cls = class_of(topic)
    try:
        lifts = UPCASTERS.get(topic, ())[_schema(stored) - 1 :]
        for lift in lifts:
            stored = lift(stored)
        newest = {**stored, "v": stored["v"] + len(lifts)}
        return msgspec.convert(newest, cls, builtin_types=(bytes,))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Tampered("malformed-event", "An event's payload does not fit its topic.") from error


def _schema(stored: Payload) -> int:
    """Its number; true would count as 1, and a number below 1 from the end of the lifts."""
    schema = stored["v"]
    if type(schema) is not int or schema < 1:
        raise ValueError(schema)
    return schema
