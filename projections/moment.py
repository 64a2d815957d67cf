"""The state as it was: a fold of the log up to a time or position, and what differs between two.

"As of T" and "as of N" mean after the last event at or before it. Access records are passed over
unopened. What is held in memory is the state itself, never the log.
"""

from __future__ import annotations

from typing import Any

from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.mapping import CredentialMapping, mapping_from
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
from ledger.log.store import Store
from projections.documents import application_document, mapping_document, time_text
from projections.streams import log_events
from projections.view import Progress


def state_at(
    store: Store,
    mapper: EventMapper,
    *,
    position: int | None = None,
    at: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`{"position", "at", "applications", "credentials"}` as of a position or time."""
    states: dict[str, Application] = {}
    mappings: dict[bytes, CredentialMapping] = {}
    last = _position_at(store, at) if position is None else position
    recorded_at = _time_at(store, last)
    for recorded in log_events(
        store, mapper, ("application.", "credential."), until=last, progress=progress
    ):
        if recorded.topic.startswith("application."):
            key = application_key(recorded.event.application)  # type: ignore[attr-defined] # all of these have one
            state = fold_application(states.get(key), recorded)
            if state is not None:
                states[key] = state
        else:
            mapping = mapping_from(recorded)
            if mapping is not None:
                mappings[recorded.stream] = mapping
    live = {key: state for key, state in states.items() if not state.deleted}
    credentials = [
        mapping_document(mapping, live[application_key(mapping.application)])
        for mapping in mappings.values()
        if _counts(mapping, live)
    ]
    return {
        "position": last,
        "at": recorded_at,
        "applications": [application_document(live[key]) for key in sorted(live)],
        "credentials": sorted(
            credentials, key=lambda one: (one["application"].casefold(), one["owner"] or "")
        ),
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


def _counts(mapping: CredentialMapping, live: dict[str, Application]) -> bool:
    state = live.get(application_key(mapping.application))
    return state is not None and mapping.counts_in(state.creation)


def _position_at(store: Store, at: int | None) -> int:
    with store.reading() as reading:
        low, high = 0, reading.last_position()
        while at is not None and low < high:
            middle = (low + high + 1) // 2
            row = reading.row_at(middle)
            if row is not None and row.recorded_at <= at:
                low = middle
            else:
                high = middle - 1
    return high


def _time_at(store: Store, position: int) -> str | None:
    with store.reading() as reading:
        row = reading.row_at(position)
    return time_text(row.recorded_at) if row is not None else None
