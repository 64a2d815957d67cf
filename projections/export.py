"""The log as others may have it: one document a row, in order of position, none left out.

    {"ledger_id", "position", "recorded_at", "event", "leaf", "head_size", "stream", "version",
     "epoch", "application", "by", "authenticated_by", "reason", "detail", "unreadable"}

`leaf` is the row's own in the Merkle tree and `head_size` the size of the first signed head that
holds it: with these two anybody can have it proven later that this very row is in the log. They do
not depend on when the export was made, so the same row is the same document for ever; only one
that was erased, or whose key is gone, comes later with less in it, and says so.

Who did something is told by the event, but an auditor's keys seal any author. Each slot's questions
lie in a stream that only its own signature can write to; a row there that names somebody else is
told without its contents.

What of an event is told stands in `TOLD`, name by name: a field that nobody put there is not told.
Sealed values never are, and neither are commitments to keys, of which an epoch has hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct, structs

from ledger.aggregates.event import Event
from ledger.aggregates.keys import SlotAdded
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.codec.mapper import EventMapper, compartment_of
from ledger.log.rows import LogRow
from ledger.log.store import Store
from ledger.sealing.compartments import Compartment
from projections.documents import time_text
from projections.streams import CheckedRow, Walk
from projections.view import Progress

TOLD = frozenset(
    {
        # applications and rights
        *("application", "kind", "ticketing", "restricted", "open", "name", "contact", "fields"),
        *("administrators", "members", "ticket_redeemers", "ticket_timeout_s", "credential_page"),
        *("changes", "field", "role", "claim", "right"),
        # credentials, by their metadata
        *("owner", "creation", "value_version", "set_at", "set_by", "restored_version"),
        # attempts to read
        *("caller", "claims", "requested", "rules", "through", "mapping_position", "complete"),
        *("missing", "detail", "on_behalf_of", "compared", "unchanged"),
        # tickets, of which nothing is told that could be held against one
        *("user", "issued", "issued_at", "expires_at", "behalf", "redeemers"),
        # questions
        *("filter", "rows"),
        # reviews
        *("granted", "denied", "not_set", "note"),
        # keys, slots and hosts
        *("epoch", "mappings", "lacking", "keys", "slot", "label", "opens", "public_key"),
        *("signing_key", "reading", "fork", "abandoned_size"),
        *("abandoned_root", "newest_epoch", "size", "threshold", "count", "added", "path"),
        *("digest", "epochs", "generation", "slots", "backup", "kept", "host", "newest", "mislaid"),
        # keeping and erasing
        *("days", "hold", "until"),
        # tokens and their issuers
        *("issuer", "settings", "id", "why", "source", "first_at", "last_at", "reasons"),
        *("expires_at", "made_at", "kids", "jwks"),
        # backups of the database
        *("position", "root", "archive_bytes", "directory", "base_elsewhere", "remembered"),
        "milliseconds",
    }
)
"""The fields of events that leave the ledger."""
WITHHELD = frozenset({"secret", "started", "next", "half", "before", "after", "ticket", "asked"})
"""Those that do not: sealed values, commitments to keys, digests of halves, tickets, requests."""
_TIMES = frozenset(
    {"set_at", "reading", "issued_at", "first_at", "last_at", "expires_at", "made_at"}
)
FOREIGN_AUTHOR = "foreign-author"
Askers = Mapping[bytes, SlotAdded]
"""By stream: the slot whose signature alone can write to it."""
NOBODY: Askers = MappingProxyType({})


class Exported(NamedTuple):
    """One row on its way out."""

    row: LogRow
    recorded: Recorded | None
    """None where it is not told what is in it."""
    document: dict[str, Any]


def exported(
    store: Store,
    mapper: EventMapper,
    *,
    after: int = 0,
    until: int | None = None,
    until_position: int | None = None,
    retention: Retention = KEEPS_ALL,
    askers: Askers = NOBODY,
    progress: Progress | None = None,
) -> Iterator[Exported]:
    """Every row beyond the position `after`, each checked into a signed head.

    `until` is microseconds UTC, and included, as `until_position` is. An erased record is told as
    such, whoever still holds its key. Tampered with everything that following the log finds.
    """
    walk = Walk(
        store,
        mapper,
        after_position=after,
        until=until,
        until_position=until_position,
        progress=progress,
    )
    for checked in walk.rows():
        yield exported_row(checked, mapper.ledger_id.hex(), retention, askers)


def exported_row(
    checked: CheckedRow,
    ledger_id: str,
    retention: Retention = KEEPS_ALL,
    askers: Askers = NOBODY,
) -> Exported:
    """One row with its document; without contents where it was erased, does not open, or lies."""
    row = checked.row
    recorded, why = readable(checked, retention)
    if recorded is not None and not is_by(recorded, askers.get(row.stream)):
        recorded, why = None, FOREIGN_AUTHOR
    document = {
        "ledger_id": ledger_id,
        "position": row.position,
        "recorded_at": time_text(row.recorded_at),
        "event": row.topic,
        "leaf": row.leaf.hex(),
        "head_size": checked.head_size,
        "stream": row.stream.hex(),
        "version": row.version,
        "epoch": row.epoch,
        **(_nothing() if recorded is None else _content(recorded)),
        "unreadable": why,
    }
    return Exported(row, recorded, document)


def readable(checked: CheckedRow, retention: Retention) -> tuple[Recorded | None, str | None]:
    """The event in a row, or why it may not be told: erased, or its key is not held."""
    row, content = checked.row, checked.content
    if compartment_of(row.topic) is Compartment.ACCESS:
        erasure = retention.erasure_of(row.position)
        if erasure is not None:
            return None, erasure.why
    return (content, None) if isinstance(content, Recorded) else (None, content.code)


def is_by(recorded: Recorded, asker: SlotAdded | None) -> bool:
    """Whether the author that an event names can be the slot whose stream it lies in."""
    if asker is None:
        return True  # whatever else there is, operators signed for
    return (recorded.actor.slot, recorded.actor.opens) == (asker.slot, asker.opens)


def told(event: Event) -> dict[str, Any]:
    """What of an event leaves the ledger, as JSON knows it: bytes in hex, times in RFC 3339."""
    return {
        name: time_text(value) if name in _TIMES and isinstance(value, int) else _plain(value)
        for name, value in structs.asdict(event).items()
        if name in TOLD
    }


def _content(recorded: Recorded) -> dict[str, Any]:
    detail = told(recorded.event)
    return {
        "application": detail.pop("application", None),
        "by": recorded.actor.claim,
        "authenticated_by": recorded.actor.authenticated_by,
        "token": _token(recorded.actor.token),
        "reason": recorded.reason,
        "detail": detail,
    }


def _token(presented: PresentedToken | None) -> dict[str, Any] | None:
    """What was recorded of the token that spoke for whoever acted."""
    if presented is None:
        return None
    return {
        "issuer": presented.issuer,
        "settings": presented.settings,
        "application": presented.application or None,
        "id": presented.id or None,
        "client": presented.client or None,
        "acting_party": presented.acting or None,
        "expires_at": time_text(presented.expires_at),
    }


def _nothing() -> dict[str, Any]:
    names = ("application", "by", "authenticated_by", "token", "reason", "detail")
    return dict.fromkeys(names)


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.hex()
        case Struct():
            return {name: _plain(one) for name, one in structs.asdict(value).items()}
        case tuple() | list():
            return [_plain(one) for one in value]
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
    return str(value)  # an auditor can seal anything in a stream of his own
