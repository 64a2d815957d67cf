"""One mapping's events, from its own stream: what happened to it, never a value."""

from __future__ import annotations

from typing import Any

from ledger.aggregates.application import fold_application
from ledger.aggregates.mapping import mapping_from
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
from ledger.log.store import Store
from ledger.sealing.streams import StreamNames
from projections.documents import time_text
from projections.streams import fold_streams, know_newest, stream_events


def mapping_history(
    store: Store, mapper: EventMapper, streams: StreamNames, application: str, owner: str | None
) -> list[dict[str, Any]]:
    """Every event of one mapping, oldest first; empty where nothing was ever set.

    `ended` are those of an application of this ID that was deleted since.
    """
    stream = streams.mapping(application_key(application), owner)
    own = streams.application(application_key(application))
    know_newest(store, mapper)
    with store.reading() as reading:
        state = fold_streams(reading, mapper, [own], fold_application)[own]
        creation = None if state is None or state.deleted else state.creation
        return [
            _document(recorded, creation) for recorded in stream_events(reading, mapper, stream)
        ]


def _document(recorded: Recorded, creation: int | None) -> dict[str, Any]:
    mapping = mapping_from(recorded)
    return {
        "version": mapping.value_version if mapping else None,
        "event": recorded.topic.removeprefix("credential."),
        "recorded_at": time_text(recorded.recorded_at),
        "by": recorded.actor.claim,
        "reason": recorded.reason,
        "position": recorded.position,
        "ended": mapping is not None and mapping.creation != creation,
    }
