"""The state as it was: a fold of the log up to a time or position, and what differs between two.

"As of T" and "as of N" mean after the last event at or before it. Access records are passed over
unopened. What is held in memory is the state itself, without the sealed values, never the log.
Every row up to there is checked into a signed head on the way (`projections.streams`), so somebody
who writes to the database can stop this answer and not change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from sys import intern
from typing import Any, NamedTuple

from ledger.aggregates.application import Application, ApplicationEvent, fold_application
from ledger.aggregates.mapping import mapping_from
from ledger.aggregates.roles import NO_ROLES, Roles, fold_roles
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.documents import (
    Standing,
    application_document,
    mapping_document,
    standing,
    time_text,
)
from projections.streams import Walk
from projections.view import Progress

_PREFIXES = ("application.", "credential.", "role.")


class Past(NamedTuple):
    """What stood at one moment."""

    position: int
    """Of the last event that counts."""
    recorded_at: int | None
    """When it was recorded, microseconds UTC; None before the first."""
    applications: dict[str, Application]
    """The live ones by key."""
    mappings: list[tuple[Standing, Application]]
    """What was set in them, in order of names."""
    roles: Roles


def past_at(
    store: Store,
    mapper: EventMapper,
    *,
    position: int | None = None,
    at: int | None = None,
    progress: Progress | None = None,
    application: bytes | None = None,
) -> Past:
    """What stood after the last event at or before a position or time; neither given is now.

    `at` is microseconds UTC; a position beyond the log is its end. With the stream of one
    `application` no other is folded.
    """
    states: dict[str, Application] = {}
    mappings: dict[bytes, Standing] = {}
    roles = NO_ROLES
    if position is None and at is None:
        with store.reading() as reading:
            position = reading.last_position()
    walk = Walk(store, mapper, until=at, until_position=position, progress=progress)
    for recorded in walk.events(_PREFIXES, wanted=_of(application)):
        if isinstance(recorded.event, ApplicationEvent):
            key = application_key(recorded.event.application)
            state = fold_application(states.get(key), recorded)
            if state is not None:
                states[key] = state
        elif recorded.topic.startswith("role."):
            roles = fold_roles(roles, recorded) or roles
        else:
            mapping = mapping_from(recorded)
            if mapping is None or mapping.secret is None:
                mappings.pop(recorded.stream, None)
            else:
                mappings[recorded.stream] = lean(standing(mapping))
    live = {key: state for key, state in states.items() if not state.deleted}
    counting = _counting(mappings.values(), live)
    return Past(walk.position, walk.recorded_at, live, counting, roles)


def state_at(
    store: Store,
    mapper: EventMapper,
    *,
    position: int | None = None,
    at: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`{"position", "at", "applications", "credentials"}` as of a position or time.

    The times in the answer are RFC 3339; `at` there is when the last event that counts was
    recorded. For the rest see `past_at`.
    """
    past = past_at(store, mapper, position=position, at=at, progress=progress)
    return {
        "position": past.position,
        "at": None if past.recorded_at is None else time_text(past.recorded_at),
        "applications": [
            application_document(past.applications[key]) for key in sorted(past.applications)
        ],
        "credentials": [mapping_document(mapping, state) for mapping, state in past.mappings],
    }


def diff(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was added, removed and changed between two states."""
    return {
        "from": {"position": before["position"], "at": before["at"]},
        "to": {"position": after["position"], "at": after["at"]},
        "applications": _difference(before["applications"], after["applications"], _named),
        "credentials": _difference(before["credentials"], after["credentials"], _owned),
    }


def _of(application: bytes | None) -> Callable[[LogRow], bool] | None:
    """Picks what is folded for one application by its stream; None for all."""
    if application is None:
        return None
    return lambda row: row.stream == application or not row.topic.startswith("application.")


def _difference(before: list[Any], after: list[Any], key: Any) -> dict[str, Any]:
    old, new = {key(one): one for one in before}, {key(one): one for one in after}
    return {
        "added": [new[one] for one in sorted(new.keys() - old.keys())],
        "removed": [old[one] for one in sorted(old.keys() - new.keys())],
        "changed": [
            {"before": old[one], "after": new[one]}
            for one in sorted(old.keys() & new.keys())
            if old[one] != new[one]
        ],
    }


def _named(document: dict[str, Any]) -> tuple[str, ...]:
    return (application_key(document["application"]),)


def _owned(document: dict[str, Any]) -> tuple[str, ...]:
    return (application_key(document["application"]), document["owner"] or "")


def _counting(
    mappings: Iterable[Standing], live: Mapping[str, Application]
) -> list[tuple[Standing, Application]]:
    """Those that belong to the present creation of a live application, in order of names."""
    found = ((one, live.get(application_key(one.application))) for one in mappings)
    counting = [
        (one, state) for one, state in found if state is not None and one.creation == state.creation
    ]
    return sorted(counting, key=lambda one: (one[1].application.casefold(), one[0].owner or ""))


def lean(mapping: Standing) -> Standing:
    """A mapping with each name in memory once, however many mappings have it."""
    return mapping._replace(
        application=intern(mapping.application),
        owner=None if mapping.owner is None else intern(mapping.owner),
        fields=tuple(map(intern, mapping.fields)),
        set_by=intern(mapping.set_by),
    )
