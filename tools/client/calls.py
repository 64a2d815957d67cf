"""Everything that can be asked of the service, one function for each operation.

    client.send(calls.grant("payroll", "member", "group:finance"))

A call is a value: where it goes, what it says, how its answer is read, and whether it may be sent
again. A change carries a retry key, made with the call, so that the call sent twice happens once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ledger.discreet import Discreet
from ledger.values import FieldValue, fields_named
from tools.client import answers
from tools.client.answers import Changed, Credentials, MappingChanged, Ticket

T = TypeVar("T")


class Call(Discreet, msgspec.Struct, Generic[T], frozen=True):
    """One request."""

    SHOWN: ClassVar = ("path", "repeatable", "retry_key")

    path: str
    body: Mapping[str, object]
    """It may hold values in clear."""
    read: Callable[[bytes], T]
    repeatable: bool = True
    """Whether it does no harm to send it again when it is not known whether it arrived."""
    retry_key: str | None = None

    @property
    def is_change(self) -> bool:
        """Whether something else is so behind it; that a read is recorded is no change."""
        return self.retry_key is not None or not self.repeatable


def get(
    application: str | None = None,
    *,
    fields: Sequence[str] | None = None,
    restricted: bool = False,
    reason: str = "",
) -> Call[Credentials]:
    """The caller's own credentials, or the group's; sent again, it is one more recorded read.

    All fields unless some are named; `no-fields-named` for an empty list.
    """
    body = {
        "application": application,
        "fields": fields_named(fields) or None,
        "restricted": restricted or None,
        "reason": reason,
    }
    return Call("/v1/credentials/get", _said(body), answers.credentials)


def set_(
    application: str | None,
    values: Mapping[str, FieldValue | str | bytes],
    *,
    owner: str | None = None,
    reason: str = "",
) -> Call[MappingChanged]:
    """New values for every field, of the caller unless an owner is told."""
    given = {
        name: value.reveal() if isinstance(value, FieldValue) else value
        for name, value in values.items()
    }
    body = {"application": application, "owner": owner, "fields": given, "reason": reason}
    return _change("/v1/credentials/set", body, _mapping)


def delete(
    application: str | None = None, *, owner: str | None = None, reason: str = ""
) -> Call[MappingChanged]:
    """Nothing is set any more for one mapping."""
    body = {"application": application, "owner": owner, "reason": reason}
    return _change("/v1/credentials/delete", body, _mapping)


def delete_all(*, owner: str | None = None, reason: str = "") -> Call[tuple[MappingChanged, ...]]:
    """One owner's credentials end in every application."""
    body = _said({"owner": owner, "reason": reason})
    return Call("/v1/credentials/delete-all", body, answers.deleted, repeatable=False)


def restore(
    application: str | None = None,
    *,
    owner: str | None = None,
    version: int | None = None,
    at: str | None = None,
    reason: str = "",
) -> Call[MappingChanged]:
    """An earlier version becomes the current one, unseen; by its number or by a moment."""
    body = {
        "application": application,
        "owner": owner,
        "version": version,
        "at": at,
        "reason": reason,
    }
    return _change("/v1/credentials/restore", body, _mapping)


def preview_restore(
    application: str | None = None,
    *,
    owner: str | None = None,
    version: int | None = None,
    at: str | None = None,
) -> Call[dict[str, Any]]:
    """What `restore` would do, by a version's number or by a moment; nothing changes."""
    body = {"application": application, "owner": owner, "version": version, "at": at}
    return _look("/v1/credentials/preview-restore", body, answers.document)


def list_(
    application: str | None = None, *, owner: str | None = None, older_than: str | None = None
) -> Call[list[dict[str, Any]]]:
    """What is set, never the values."""
    body = {"application": application, "owner": owner, "older_than": older_than}
    return _look("/v1/credentials/list", body, partial(answers.listed, "credentials"))


def history(
    application: str | None = None, *, owner: str | None = None
) -> Call[list[dict[str, Any]]]:
    """The versions of a mapping, never the values."""
    body = {"application": application, "owner": owner}
    return _look("/v1/credentials/history", body, partial(answers.listed, "versions"))


def issue_ticket(application: str | None = None, *, reason: str = "") -> Call[Ticket]:
    """A ticket by which a redeemer gets the caller's credentials, once."""
    return _look(
        "/v1/tickets/issue", {"application": application, "reason": reason}, answers.ticket
    )


def redeem_ticket(
    application: str | None,
    ticket: FieldValue | str,
    *,
    fields: Sequence[str] | None = None,
    reason: str = "",
) -> Call[Credentials]:
    """The credentials of whom a ticket was issued to; it is used up by this."""
    text = ticket.reveal() if isinstance(ticket, FieldValue) else ticket
    body = _said(
        {
            "application": application,
            "ticket": text,
            "fields": fields_named(fields) or None,
            "reason": reason,
        }
    )
    return Call("/v1/tickets/redeem", body, answers.credentials, repeatable=False)


def create(application: str, kind: str, **settings: object) -> Call[Changed]:
    """A new application; `settings` are the keys of the operation's body."""
    body = {"application": application, "kind": kind, **settings}
    return _change("/v1/applications/create", body, _changed)


def update(application: str, **settings: object) -> Call[Changed]:
    """Other settings of an application, or more fields."""
    return _change("/v1/applications/update", {"application": application, **settings}, _changed)


def delete_application(application: str, *, reason: str = "") -> Call[Changed]:
    """An application ends, and its mappings with it."""
    body = {"application": application, "reason": reason}
    return _change("/v1/applications/delete", body, _changed)


def grant(application: str, role: str, claim: str, *, reason: str = "") -> Call[Changed]:
    """A claim gets a role in an application."""
    body = {"application": application, "role": role, "claim": claim, "reason": reason}
    return _change("/v1/applications/grant", body, _changed)


def revoke(application: str, role: str, claim: str, *, reason: str = "") -> Call[Changed]:
    """A claim loses a role in an application."""
    body = {"application": application, "role": role, "claim": claim, "reason": reason}
    return _change("/v1/applications/revoke", body, _changed)


def apply(
    tables: Mapping[str, Mapping[str, object]],
    *,
    prune: bool = False,
    deletes: Sequence[str] = (),
    dry_run: bool = False,
    reason: str = "",
) -> Call[dict[str, Any]]:
    """Applications become what the tables say, all together; `deletes` confirms a `prune`."""
    told = {"prune": prune or None, "deletes": tuple(deletes) or None, "dry_run": dry_run or None}
    body = _said({"applications": tables, **told, "reason": reason})
    return Call("/v1/applications/apply", body, answers.document, repeatable=dry_run)


def applications() -> Call[list[dict[str, Any]]]:
    """The applications whose settings the caller may see."""
    return _look("/v1/applications/list", {}, partial(answers.listed, "applications"))


def application(name: str) -> Call[dict[str, Any]]:
    """An application with its settings."""
    return _look("/v1/applications/show", {"application": name}, answers.document)


def fields_of(name: str | None = None) -> Call[dict[str, Any]]:
    """An application's fields, for those who may see its settings or get from it."""
    return _look("/v1/applications/fields", {"application": name}, answers.document)


def claims_of(name: str | None = None) -> Call[dict[str, Any]]:
    """Who has which role in an application."""
    return _look("/v1/applications/claims", {"application": name}, answers.document)


def usable() -> Call[list[dict[str, Any]]]:
    """The applications that the caller may get from."""
    return _look("/v1/applications/mine", {}, partial(answers.listed, "applications"))


def receipt(position: int) -> Call[dict[str, Any]]:
    """The proof that the caller's own attempt to read is recorded."""
    return _look("/v1/receipts/make", {"position": position}, answers.receipt)


def _look(path: str, body: Mapping[str, object], read: Callable[[bytes], T]) -> Call[T]:
    return Call(path, _said(body), read)


def _change(path: str, body: Mapping[str, object], read: Callable[[bytes], T]) -> Call[T]:
    return Call(path, _said(body), read, retry_key=secrets.token_urlsafe(24))


def _said(body: Mapping[str, object]) -> dict[str, object]:
    """What was said, without what was left out."""
    return {key: value for key, value in body.items() if value is not None and value != ""}


def _mapping(content: bytes) -> MappingChanged:
    return answers.decoded(content, MappingChanged)


def _changed(content: bytes) -> Changed:
    return answers.decoded(content, Changed)
