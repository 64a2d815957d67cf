"""Asking for credentials, and changing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.errors import InvalidInput
from tools.asking.moments import past_moment
from tools.service import answers, bodies
from tools.service.counter import Counter, Question, owner_in
from tools.shapes import (
    applications_with,
    mapping_document,
    mapping_history,
    preview_document,
    readable_credentials,
)
from tools.when import parse_span

if TYPE_CHECKING:
    from ledger.usecases.outcomes import MappingOutcome, RestorePreview, Retrieved


async def get(counter: Counter, question: Question[bodies.Get]) -> answers.Retrieved:
    """The caller's own values, or the group's."""
    body = question.body
    found = await counter.ledger.retrieve_async(
        question.caller,
        question.named,
        restricted=body.restricted,
        fields=body.fields,
        reason=question.reason,
    )
    return retrieved(found, as_bytes=question.as_bytes)


async def set_(counter: Counter, question: Question[bodies.Set]) -> answers.MappingChanged:
    """New values."""
    body = question.body
    owner, values = owner_in(body.owner), body.values()
    return _mapping(
        await counter.wait(
            lambda: counter.ledger.set_credentials(question.acting, question.named, owner, values)
        )
    )


async def delete(counter: Counter, question: Question[bodies.Delete]) -> answers.MappingChanged:
    """Nothing is set any more."""
    owner = owner_in(question.body.owner)
    return _mapping(
        await counter.wait(
            lambda: counter.ledger.delete_credentials(question.acting, question.named, owner)
        )
    )


async def delete_all(counter: Counter, question: Question[bodies.DeleteAll]) -> answers.AllDeleted:
    """One owner's credentials end everywhere."""
    owner = owner_in(question.body.owner) or question.caller.claim

    def work() -> Sequence[MappingOutcome]:
        applications = applications_with(counter.session, owner)
        return counter.ledger.delete_all(question.acting, owner, applications)

    return answers.AllDeleted(tuple(map(_mapping, await counter.wait(work))))


async def restore(counter: Counter, question: Question[bodies.Restore]) -> answers.MappingChanged:
    """An earlier version becomes the current one."""
    body = question.body
    owner = owner_in(body.owner)
    _require_one(body)

    def work() -> MappingOutcome:
        at_us = _moment(counter, body)
        return counter.ledger.restoring.credentials(
            question.acting, question.named, owner, version=body.version, at_us=at_us
        )

    return _mapping(await counter.wait(work))


async def preview_restore(
    counter: Counter, question: Question[bodies.PreviewRestore]
) -> answers.RestorePreviewed:
    """What `restore` would do."""
    body = question.body
    owner = owner_in(body.owner)
    _require_one(body)

    def work() -> RestorePreview:
        at_us = _moment(counter, body)
        return counter.ledger.restoring.preview(
            question.acting, question.named, owner, version=body.version, at_us=at_us
        )

    return msgspec.convert(preview_document(await counter.wait(work)), answers.RestorePreviewed)


async def list_(counter: Counter, question: Question[bodies.List]) -> answers.Mappings:
    """Metadata of what the caller may list."""
    body, owner = question.body, owner_in(question.body.owner)
    older_than_us = None if body.older_than is None else parse_span(body.older_than)
    rows = await counter.wait(
        lambda: readable_credentials(
            counter.session, question.acting, question.application, owner, older_than_us
        )
    )
    return msgspec.convert({"credentials": rows}, answers.Mappings)


async def history(counter: Counter, question: Question[bodies.History]) -> answers.MappingVersions:
    """The versions of one mapping."""
    owner = owner_in(question.body.owner)
    rows = await counter.wait(
        lambda: mapping_history(counter.session, question.acting, question.named, owner)
    )
    return msgspec.convert({"versions": rows}, answers.MappingVersions)


def retrieved(found: Retrieved, *, as_bytes: bool) -> answers.Retrieved:
    """Released values in the answer's form."""
    values = {name: value.reveal() for name, value in found.fields.items()}
    shown: dict[str, Any] = values
    if not as_bytes and not all(isinstance(value, str) for value in values.values()):
        shown = {name: _in_json(value) for name, value in values.items()}
    return answers.Retrieved(
        found.application,
        found.owner,
        found.version,
        shown,
        found.complete,
        found.missing,
        found.position,
    )


def _require_one(body: bodies.Restore | bodies.PreviewRestore) -> None:
    if (body.version is None) == (body.at is None):
        raise InvalidInput("version-or-moment", "Give either a version or a moment.")


def _moment(counter: Counter, body: bodies.Restore | bodies.PreviewRestore) -> int | None:
    """Microseconds UTC where a moment is told that has come, and not a version; asks the store."""
    return None if body.at is None else past_moment(counter.session, body.at)


def _in_json(value: str | bytes) -> str | dict[str, bytes]:
    # The encoder writes bytes as base64.
    return value if isinstance(value, str) else {"base64": value}


def _mapping(outcome: MappingOutcome) -> answers.MappingChanged:
    return msgspec.convert(mapping_document(outcome), answers.MappingChanged)
