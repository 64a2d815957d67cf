"""Administration's history, read from the log itself: who changed what, never a sealed byte.

The part of the log that is asked about is checked into its signed heads on the way, so nothing can
be taken out of the answer or put into it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from ledger.aggregates.application import ApplicationCreated
from ledger.aggregates.event import Event
from ledger.aggregates.issuers import IssuerAdded, IssuerChanged
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable
from ledger.identifiers import application_key
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.digests import compared
from projections.documents import time_text
from projections.streams import Walk
from projections.stretch import WHOLE, Stretch, newest_first

ADMINISTRATION = (
    "application.",
    "credential.",
    "role.",
    "issuer.",
    "service-key.",
    "slot.",
    "epoch.",
    "passphrase.",
    "auditor.",
    "rollback.",
    "async.",
    "clock.",
    "memory.",
    "shares.",
    "key.",
    "keys.",
    "backup.",
    "retention.",
    "hold.",
    "history.",
    "host.",
)
_DETAILS = (
    "role",
    "claim",
    "right",
    "owner",
    "value_version",
    "slot",
    "label",
    "opens",
    "mislaid",
    "epoch",
    "changes",
    "field",
    "restored_version",
    "fork",
    "threshold",
    "count",
    "added",
    "path",
    "backup",
    "directory",
    "base_elsewhere",
    "lacking",
    "mappings",
    "keys",
    "days",
    "hold",
    "until",
    "newest",
    "issuer",
    "kids",
)
_BEGINNING = (
    "kind",
    "ticketing",
    "restricted",
    "open",
    "administrators",
    "members",
    "ticket_redeemers",
)
"""Told of an application that was created as far as it is so: the rest is false, or nobody."""


def changes(
    store: Store,
    mapper: EventMapper,
    *,
    application: str | None = None,
    by: str | None = None,
    stretch: Stretch = WHOLE,
    after: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Changes by application, author and time, newest first; `after` is where a page ended.

    They are given as the walk comes by them, each once it lies under a signed head. A row whose key
    is not held could be any of them, so it is listed as unreadable.
    """
    key = None if application is None else application_key(application)

    def told(walk: Walk) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def unreadable(row: LogRow, error: KeyUnavailable) -> None:
            found.append(_unreadable(row, error))

        for recorded in walk.events(ADMINISTRATION, unreadable=unreadable):
            named = getattr(recorded.event, "application", None)
            if key is not None and (named is None or compared(named) != key):
                continue
            if by is None or recorded.actor.claim == by:
                found.append(change_document(recorded))
        return found

    return newest_first(store, mapper, stretch, after, told)


def change_document(recorded: Recorded) -> dict[str, Any]:
    """What `audit changes` tells of one event: names and claims, never sealed bytes."""
    event = recorded.event
    return {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "event": recorded.topic,
        "application": getattr(event, "application", None),
        "by": recorded.actor.claim,
        "authenticated_by": recorded.actor.authenticated_by,
        "reason": recorded.reason,
        "detail": {
            **{name: getattr(event, name) for name in _DETAILS if hasattr(event, name)},
            **_beginning(event),
            **_trust(event),
        },
    }


def _beginning(event: Event) -> dict[str, Any]:
    """What an application is from its creation on, and whom it names: nobody granted them that."""
    if not isinstance(event, ApplicationCreated):
        return {}
    told = {name: getattr(event, name) for name in _BEGINNING}
    return {name: value for name, value in told.items() if value}


def _trust(event: Event) -> dict[str, Any]:
    """An issuer's settings, where it was added or changed; of its keys their names."""
    if not isinstance(event, IssuerAdded | IssuerChanged):
        return {}
    settings = msgspec.structs.asdict(event.settings)
    keys = json.loads(event.settings.keys)["keys"] if event.settings.keys else []
    told = {**settings, "algorithms": list(settings["algorithms"])}
    return {"settings": {**told, "keys": [key.get("kid") for key in keys]}}


def _unreadable(row: LogRow, error: KeyUnavailable) -> dict[str, Any]:
    return {
        "position": row.position,
        "recorded_at": time_text(row.recorded_at),
        "event": row.topic,
        "application": None,
        "by": None,
        "authenticated_by": None,
        "reason": None,
        "detail": {"unreadable": error.code},
    }
