"""The state as it was: a fold of the log up to a time or position, and what differs between two.

"As of T" and "as of N" mean after the last event at or before it. Access records are passed over
unopened. What is held in memory is the state itself, without the sealed values, never the log.
Every row up to there is checked into a signed head on the way (`projections.streams`), so somebody
who writes to the database can stop this answer and not change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any

from ledger.aggregates.application import Application, ApplicationEvent, fold_application
from ledger.aggregates.mapping import mapping_from
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
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


def state_at(
    store: Store,
    mapper: EventMapper,
    *,
    position: int | None = None,
    at: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`{"position", "at", "applications", "credentials"}` as of a position or time.

    `at` is microseconds UTC in the call, RFC 3339 in the answer: when the last event that counts
    was recorded. Neither given is now; a position beyond the log is its end.
    """
    states: dict[str, Application] = {}
    mappings: dict[bytes, Standing] = {}
    if position is None and at is None:
        with store.reading() as reading:
            position = reading.last_position()
    walk = Walk(store, mapper, until=at, until_position=position, progress=progress)
    for recorded in walk.events(("application.", "credential.")):
        if isinstance(recorded.event, ApplicationEvent):
            key = application_key(recorded.event.application)
            state = fold_application(states.get(key), recorded)
            if state is not None:
                states[key] = state
        else:
            mapping = mapping_from(recorded)
            if mapping is None or mapping.secret is None:
                mappings.pop(recorded.stream, None)
            else:
                mappings[recorded.stream] = lean(standing(mapping))
    live = {key: state for key, state in states.items() if not state.deleted}
    return {
        "position": walk.position,
        "at": None if walk.recorded_at is None else time_text(walk.recorded_at),
        "applications": [application_document(live[key]) for key in sorted(live)],
        "credentials": [
            mapping_document(mapping, state)
            for mapping, state in _counting(mappings.values(), live)
        ],
    }


def diff(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was added, removed and changed between two states."""
    return {
        "from": {"position": before["position"], "at": before["at"]},
        "to": {"position": after["position"], "at": after["at"]},
        "applications": _difference(before["applications"], after["applications"], _named),
        "credentials": _difference(before["credentials"], after["credentials"], _owned),
    }


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
