"""What has to happen so that things are again as they were at some moment.

A *plan* is made of these steps, one for each stream that stands otherwise than it did. Each step
names the version at which the plan saw its stream, so that whoever takes it can tell whether
somebody has changed the stream since. Nothing is rewritten: a step appends.

What is fixed when an application is created (its ID as written, kind, ticketing, restricted, and
its fields) can only differ from what it was where the application was deleted and created again.
It is then deleted and created once more; otherwise the present creation stays, and so does every
field that was added since, because fields are never taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ledger.aggregates.application import (
    ROLES,
    Application,
    ApplicationClosed,
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationGranted,
    ApplicationOpened,
    ApplicationRevoked,
    Field,
    update,
)
from ledger.aggregates.event import Event
from ledger.replacing import replace


class ApplicationStep(msgspec.Struct, frozen=True):
    """One application, brought back as a whole."""

    application: str
    version: int
    """Of its stream when the plan was made."""
    then: Application | None
    """As it was; None where there was none."""
    is_anew: bool
    """Whether it is created again, so that no mapping of before counts."""


class MappingStep(NamedTuple):
    """One mapping whose values are brought back, or which is deleted; many are held at once."""

    application: str
    owner: str | None
    version: int
    """Of its stream when the plan was made."""
    source: int | None
    """The version in its stream of the newest row that carries the values; None is a deletion."""
    epoch: int
    """Of that row: whose key opens the values."""


class RolesStep(msgspec.Struct, frozen=True):
    """The service-level rights, brought back as a whole."""

    version: int
    """Of their stream when the plan was made."""
    granted: tuple[tuple[str, str], ...]
    """(right, claim) that were held and are not."""
    revoked: tuple[tuple[str, str], ...]
    """(right, claim) that are held and were not."""


def restored(present: Application | None, then: Application | None) -> tuple[Event, ...]:
    """The events that make an application what it was; none where it is so already."""
    is_there = present is not None and not present.deleted
    if then is None or then.deleted:
        return (ApplicationDeleted(present.application),) if present and is_there else ()
    if present is None or not is_there:
        return (_created(then),)
    if is_another(present, then):
        return (ApplicationDeleted(present.application), _created(then))
    return (*_settings(present, then), *_claims(present, then), *_openness(present, then))


def is_another(present: Application, then: Application) -> bool:
    """Whether something differs that is fixed at creation, so that no change can undo it."""
    there = {field.name: field.type for field in present.fields}
    lacking = any(there.get(field.name) != field.type for field in then.fields)
    return lacking or _fixed(present) != _fixed(then)


def fields_added(present: Application, then: Application) -> tuple[Field, ...]:
    """The fields that came since and stay."""
    were = {field.name for field in then.fields}
    return tuple(field for field in present.fields if field.name not in were)


def as_restored(present: Application | None, then: Application) -> Application:
    """The application as it will be: as it was, with the fields that came since."""
    if present is None or present.deleted or is_another(present, then):
        return then
    masked = {field.name: field.masked for field in then.fields}
    fields = tuple(
        replace(field, masked=masked.get(field.name, field.masked)) for field in present.fields
    )
    return replace(then, fields=fields)


def _fixed(state: Application) -> tuple[str, str, bool, bool]:
    return (state.application, state.kind, state.ticketing, state.restricted)


def _created(then: Application) -> ApplicationCreated:
    return ApplicationCreated(
        application=then.application,
        kind=then.kind,
        ticketing=then.ticketing,
        restricted=then.restricted,
        open=then.open,
        name=then.name,
        contact=then.contact,
        fields=tuple((field.name, field.type, field.masked) for field in then.fields),
        administrators=tuple(sorted(map(str, then.administrators))),
        members=tuple(sorted(map(str, then.members))),
        ticket_redeemers=tuple(sorted(map(str, then.ticket_redeemers))),
        ticket_timeout_s=then.ticket_timeout_s,
        credential_page=then.credential_page,
    )


def _settings(present: Application, then: Application) -> tuple[Event, ...]:
    return update(
        present,
        name=then.name,
        contact=then.contact,
        ticket_timeout_s=then.ticket_timeout_s,
        credential_page=then.credential_page,
        masked={field.name: field.masked for field in then.fields},
    )


def _claims(present: Application, then: Application) -> Iterator[Event]:
    """Those that came since go before those that went come back."""
    for role in ROLES:
        held, were = present.claims_of(role), then.claims_of(role)
        for claim in sorted(map(str, held - were)):
            yield ApplicationRevoked(present.application, role, claim)
        for claim in sorted(map(str, were - held)):
            yield ApplicationGranted(present.application, role, claim)


def _openness(present: Application, then: Application) -> Iterator[Event]:
    # Naming a member closes, so whatever is to be open in the end is opened last.
    closed = bool(then.members - present.members)
    is_open = present.open and not closed
    if then.open and not is_open:
        yield ApplicationOpened(present.application)
    elif is_open and not then.open:
        yield ApplicationClosed(present.application)
