"""The shapes in which questions are answered; times are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any, NamedTuple

from ledger import moments
from ledger.aggregates.access import Access
from ledger.aggregates.application import Application
from ledger.aggregates.mapping import CredentialMapping
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import Erasure
from ledger.errors import KeyUnavailable
from ledger.log.rows import LogRow


def time_text(microseconds: int) -> str:
    """A time as RFC 3339 with microseconds, in UTC."""
    return moments.time_text(microseconds)


def application_document(state: Application) -> dict[str, Any]:
    """What `app show` tells."""
    return {
        "application": state.application,
        "kind": state.kind,
        "ticketing": state.ticketing,
        "restricted": state.restricted,
        "open": state.open,
        "name": state.name,
        "contact": state.contact,
        "fields": [
            {"name": field.name, "type": field.type, "masked": field.masked}
            for field in state.fields
        ],
        "administrators": sorted(str(claim) for claim in state.administrators),
        "members": sorted(str(claim) for claim in state.members),
        "ticket_redeemers": sorted(str(claim) for claim in state.ticket_redeemers),
        "ticket_timeout_s": state.ticket_timeout_s,
        "credential_page": state.credential_page,
        "version": state.version,
        "created_at": time_text(state.created_at),
        "updated_at": time_text(state.updated_at),
        "updated_by": state.updated_by,
    }


class Standing(NamedTuple):
    """A mapping without its values, as small as can be, to be held in great numbers."""

    application: str
    owner: str | None
    creation: int
    version: int
    """Of the value."""
    epoch: int
    fields: tuple[str, ...]
    set_at: int
    set_by: str


def standing(mapping: CredentialMapping) -> Standing:
    """What is told of a mapping that is set."""
    return Standing(
        mapping.application,
        mapping.owner,
        mapping.creation,
        mapping.value_version,
        mapping.recorded.epoch,
        mapping.fields,
        mapping.set_at,
        mapping.set_by,
    )


def mapping_document(mapping: Standing, state: Application) -> dict[str, Any]:
    """What `credential list` tells."""
    return {
        "application": state.application,
        "owner": mapping.owner,
        "version": mapping.version,
        "epoch": mapping.epoch,
        "complete": all(field.name in mapping.fields for field in state.fields),
        "set_at": time_text(mapping.set_at),
        "set_by": mapping.set_by,
    }


def access_document(recorded: Recorded, record: Access) -> dict[str, Any]:
    """What `audit access` tells."""
    return {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "outcome": recorded.topic.removeprefix("access."),
        "caller": record.caller,
        "on_behalf_of": record.on_behalf_of,
        "owner": record.owner,
        "application": record.application,
        "version": record.value_version,
        "fields": list(record.fields),
        "through": record.through,
        "authenticated_by": recorded.actor.authenticated_by,
        "reason": recorded.reason,
        "detail": record.detail,
        "acting_party": token.acting or None if (token := recorded.actor.token) else None,
    }


def unreadable_access(row: LogRow, error: KeyUnavailable) -> dict[str, Any]:
    """The same for a record whose key is not held: that it is there, and when."""
    return _closed_access(row, "unreadable", error.code)


def erased_access(row: LogRow, erasure: Erasure) -> dict[str, Any]:
    """The same for one that was erased, and what erased it."""
    return _closed_access(row, "erased", erasure.why)


def _closed_access(row: LogRow, outcome: str, detail: str) -> dict[str, Any]:
    return {
        "position": row.position,
        "recorded_at": time_text(row.recorded_at),
        "outcome": outcome,
        "caller": None,
        "on_behalf_of": None,
        "owner": None,
        "application": None,
        "version": None,
        "fields": [],
        "through": None,
        "authenticated_by": None,
        "reason": None,
        "detail": detail,
        "acting_party": None,
    }
