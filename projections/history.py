"""One mapping's events, from its own stream: what happened to it, never a value."""

from __future__ import annotations

from typing import Any

from ledger.aggregates.mapping import mapping_from
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
from ledger.log.store import Store
from ledger.sealing.streams import StreamNames
from projections.documents import time_text
from projections.streams import know_newest, stream_events


def mapping_history(
    store: Store, mapper: EventMapper, streams: StreamNames, application: str, owner: str | None
) -> list[dict[str, Any]]:
    """Every event of one mapping, oldest first; empty where nothing was ever set."""
    stream = streams.mapping(application_key(application), owner)
    know_newest(store, mapper)
    with store.reading() as reading:
        return [_document(recorded) for recorded in stream_events(reading, mapper, stream)]


def _document(recorded: Recorded) -> dict[str, Any]:
    mapping = mapping_from(recorded)
    return {
        "version": mapping.value_version if mapping else None,
        "event": recorded.topic.removeprefix("credential."),
        "recorded_at": time_text(recorded.recorded_at),
        "by": recorded.actor.claim,
        "reason": recorded.reason,
        "position": recorded.position,
    }
