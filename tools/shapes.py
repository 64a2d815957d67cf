"""The JSON shapes of the command line for what the ledger answers with, and who may see them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ledger.errors import InvalidInput, NotFound
from ledger.identifiers import application_key
from ledger.policy import Verb
from ledger.usecases.desk import not_allowed
from ledger.values import value_to_json
from projections.documents import application_document
from tools.when import to_text

if TYPE_CHECKING:
    from ledger.aggregates.application import Application
    from ledger.aggregates.key_backups import KeyBackup
    from ledger.claims import Claim
    from ledger.policy import Caller
    from ledger.usecases.acting import Acting
    from ledger.usecases.outcomes import (
        IssuedTicket,
        MappingOutcome,
        Outcome,
        RestorePreview,
        Retrieved,
        RotationOutcome,
    )
    from tools.client import Changed, Credentials, MappingChanged
    from tools.wiring import Session

_ONE_BY_ONE_MAX = 50
"""Mappings of so many applications at most are asked for by application, and else by one walk."""


def outcome_document(outcome: Outcome | Changed) -> dict[str, object]:
    """`{"application"?, "changed", "version", "position", "readers"?, "readers_before"?}`.

    Rights are no application's; their changes lack what has a `?`.
    """
    document: dict[str, object] = {
        "changed": outcome.changed,
        "version": outcome.version,
        "position": outcome.position,
    }
    if outcome.application is None:
        return document
    return {
        "application": outcome.application,
        **document,
        "readers": outcome.readers,
        "readers_before": outcome.readers_before,
    }


def mapping_document(outcome: MappingOutcome | MappingChanged) -> dict[str, object]:
    """`{"application", "owner", "version", "position"}`."""
    return {
        "application": outcome.application,
        "owner": outcome.owner,
        "version": outcome.version,
        "position": outcome.position,
    }


def preview_document(preview: RestorePreview) -> dict[str, object]:
    """What `credential restore --dry-run` tells."""
    return {
        "application": preview.application,
        "owner": preview.owner,
        "version": preview.version,
        "becomes": preview.becomes,
        "set_at": to_text(preview.set_at),
        "set_by": preview.set_by,
        "key": "held" if preview.is_key_held else "destroyed",
    }


def retrieved_document(found: Retrieved | Credentials) -> dict[str, object]:
    """The released values with their metadata."""
    return {
        "application": found.application,
        "owner": found.owner,
        "version": found.version,
        "fields": {name: value_to_json(value) for name, value in found.fields.items()},
        "complete": found.complete,
        "missing": list(found.missing),
        "position": found.position,
    }


def ticket_document(issued: IssuedTicket) -> dict[str, Any]:
    """What `ticket issue` tells, the ticket itself included."""
    return {
        "ticket": issued.ticket.reveal(),
        "application": issued.application,
        "issued_at": to_text(issued.issued_at),
        "expires_at": None if issued.expires_at is None else to_text(issued.expires_at),
        "position": issued.position,
    }


def visible_applications(session: Session, acting: Acting) -> list[Application]:
    """All applications that whoever acts may see, in order of their IDs."""
    found = session.views.applications()
    names = [state.application for state in found]
    visible = session.ledger.allowed_among(acting, Verb.SHOW_APPLICATION, names)
    return [state for state in found if state.application in visible]


def usable_applications(session: Session, caller: Caller) -> list[Application]:
    """Those that the caller may get from, in order of their IDs."""
    found = session.views.applications()
    usable = session.ledger.may_get_among(caller, [state.application for state in found])
    return [state for state in found if state.application in usable]


def require_fields(session: Session, acting: Acting, application: str) -> Application:
    """The application if whoever acts may see it or get from it: its fields are theirs to know."""
    if acting.caller is not None and session.ledger.may_get(acting.caller, application):
        return session.ledger.application(application)
    return require_metadata(session, acting, application)


def usable_document(state: Application) -> dict[str, Any]:
    """What those who may get from an application are told of it: what a request has to suit."""
    return _part(state, "application", "name", "kind", "ticketing", "restricted", "fields")


def fields_document(state: Application) -> dict[str, Any]:
    """What `app fields` tells."""
    return _part(state, "application", "fields")


def claims_document(state: Application) -> dict[str, Any]:
    """Who has which role in an application."""
    return _part(state, "application", "administrators", "members", "ticket_redeemers")


def _part(state: Application, *names: str) -> dict[str, Any]:
    whole = application_document(state)
    return {name: whole[name] for name in names}


def require_metadata(
    session: Session, acting: Acting, application: str, verb: Verb = Verb.SHOW_APPLICATION
) -> Application:
    """The application if whoever acts may see it; strangers are refused alike without it."""
    try:
        state = session.ledger.application(application)
    except NotFound:
        if session.ledger.allowed(acting, verb):
            raise
        raise not_allowed() from None
    if not session.ledger.allowed(acting, verb, application):
        raise not_allowed()
    return state


def readable_credentials(
    session: Session,
    acting: Acting,
    application: str | None,
    owner: Claim | None,
    older_than_us: int | None,
) -> list[dict[str, Any]]:
    """Metadata of mappings that whoever acts may list: administered ones and their own.

    Of a ledger of which a caller may list a few applications, or none, no more is opened than that.
    """
    ask = partial(session.views.credentials, older_than_us=older_than_us, now=session.now())
    wanted = None if owner is None else str(session.ledger.canonical(owner))
    if acting.caller is None:
        if application is not None:
            session.ledger.application(application)
        return ask(application, wanted)
    own = str(session.ledger.canonical(acting.caller.claim))
    names = [application] if application is not None else _names(session)
    listed = session.ledger.allowed_among(acting, Verb.LIST_CREDENTIALS, names)
    is_part = len(listed) < len(names) and len(listed) <= _ONE_BY_ONE_MAX
    if wanted is None and (is_part or not listed):
        rows = ask(application, own)
        for one in sorted(listed):
            rows += [row for row in ask(one) if row["owner"] != own]
        rows.sort(key=lambda row: (row["application"].casefold(), row["owner"] or ""))
        return rows
    keys = set(map(application_key, listed))
    return [
        row
        for row in ask(application, wanted)
        if application_key(row["application"]) in keys or row["owner"] == own
    ]


def _names(session: Session) -> list[str]:
    return [state.application for state in session.views.applications()]


def applications_with(session: Session, owner: Claim) -> list[str]:
    """The applications where this owner has credentials set."""
    claim = session.ledger.canonical(owner)
    rows = session.views.credentials(owner=str(claim), now=session.now())
    return [str(row["application"]) for row in rows]


def mapping_history(
    session: Session, acting: Acting, application: str, owner: Claim | None
) -> list[dict[str, Any]]:
    """All versions of one mapping, for its owner and those who administer it.

    Whoever has none there and could have none is refused, for an empty list would tell a stranger
    that there is such an application.
    """
    caller = acting.caller
    own = None if caller is None else session.ledger.canonical(caller.claim)
    owner = None if owner is None else session.ledger.canonical(owner)
    if owner is None and own is not None:
        try:
            if not session.ledger.application(application).is_group:
                owner = own
        except NotFound:
            raise not_allowed() from None
    if own is None or owner != own:
        state = require_metadata(session, acting, application, Verb.LIST_CREDENTIALS)
        if state.is_group != (owner is None):
            raise InvalidInput(
                "owner-required" if owner is None else "owner-not-used",
                "An individual application's credentials have an owner, a group's have none.",
            )
    rows = session.views.history(application, None if owner is None else str(owner))
    if rows or caller is None or owner != own:
        return rows
    if not session.ledger.may_get(caller, application):
        raise not_allowed()
    return rows


def key_document(session: Session) -> dict[str, Any]:
    """Epochs with what rests on each, and slots, as `key status` tells them."""
    history = session.ledger.key_history()
    resting = session.views.epochs()
    backups = session.ledger.key_backups.history()
    held = {epoch: secret for epoch, _, _, secret in session.ledger.status().epochs}
    made_at = {slot.id: slot.created_at for slot in session.unlocked.keyring.slots}
    operator = session.unlocked.is_operator
    return {
        "epoch": history.current,
        "epochs": [
            {
                "epoch": epoch,
                "state": history.state_of(epoch),
                "created_at": _told(history.started_at.get(epoch)),
                "mappings": resting.get(epoch, 0),
                "secrets": "held" if held.get(epoch, False) or not operator else "destroyed",
                "in_backups": len(backups.with_secret(epoch)),
            }
            for epoch in sorted(history.committed)
        ],
        "slots": [
            {
                "id": slot.slot,
                "label": slot.label,
                "kind": slot.kind,
                "opens": slot.opens,
                "created_at": _told(made_at.get(slot.slot)),
            }
            for slot in sorted(history.slots.values(), key=lambda one: one.slot)
            if slot.slot not in history.removed
        ],
        "erased": [
            {"position": erasure.position, "until": erasure.until}
            for erasure in session.ledger.retention.state().erasures
        ],
        "kept_files": [
            {"path": str(file.path), "epochs": sorted({name.epoch for name in file.keys})}
            for file in session.ledger.key_backups.kept_files()
        ],
    }


def _told(moment: int | None) -> str | None:
    return None if moment is None else to_text(moment)


def rotation_document(
    outcome: RotationOutcome,
    still_in: Sequence[KeyBackup],
    kept_files: Sequence[str],
    seconds: float,
    backup_needed_from: int | None = None,
) -> dict[str, Any]:
    """What `key rotate` tells; `still_in` are key backups that hold keys which were destroyed.

    So do `kept_files`, which lie beside this host's keyring.
    A database backup must reach the position `backup_needed_from`, to need none of these.
    """
    return {
        "from": outcome.before,
        "to": outcome.epoch,
        "resealed": outcome.resealed,
        "destroyed_previous": list(outcome.destroyed),
        "values_gone": outcome.values_gone,
        "still_in": [{"position": one.position, "path": one.path} for one in still_in],
        "kept_files": list(kept_files),
        "backup_needed_from": backup_needed_from,
        "seconds": round(seconds, 3),
    }
