"""Changing applications, and looking at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates.application import Application, Field, make_field
from ledger.errors import Conflict, InvalidInput
from ledger.identifiers import application_key
from projections.documents import application_document
from tools.applications_file import checked_tables
from tools.applying import apply_tables
from tools.service import answers, bodies
from tools.service.counter import Counter, Question
from tools.shapes import (
    fields_document,
    outcome_document,
    require_fields,
    require_metadata,
    usable_applications,
    usable_document,
    visible_applications,
)

if TYPE_CHECKING:
    from ledger.usecases.outcomes import Outcome


async def create(
    counter: Counter, question: Question[bodies.CreateApplication]
) -> answers.ApplicationChanged:
    """A new application."""
    body = question.body
    optional = {
        "ticket_timeout_s": body.ticket_timeout_s,
        "credential_page": body.credential_page,
    }
    told: Mapping[str, Any] = {key: one for key, one in optional.items() if one is not None}
    fields = _fields_in(body.fields)
    return _outcome(
        await counter.wait(
            lambda: counter.ledger.create_application(
                question.acting,
                body.application,
                kind=body.kind,
                ticketing=body.ticketing,
                restricted=body.restricted,
                name=body.name,
                contact=body.contact,
                fields=fields,
                administrators=body.administrators,
                members=body.members,
                ticket_redeemers=body.ticket_redeemers,
                **told,
            )
        )
    )


async def update(
    counter: Counter, question: Question[bodies.UpdateApplication]
) -> answers.ApplicationChanged:
    """Other settings, and more fields."""
    body = question.body
    said: dict[str, object] = {
        "name": body.name,
        "contact": body.contact,
        "ticket_timeout_s": body.ticket_timeout_s,
        "credential_page": body.credential_page,
        "masked": {**dict.fromkeys(body.mask, True), **dict.fromkeys(body.unmask, False)} or None,
    }
    changes = {key: one for key, one in said.items() if one is not None}
    fields = _fields_in(body.add_fields)
    if not changes and not fields and not body.open:
        raise InvalidInput("nothing-to-change", "Say what to change.")
    return _outcome(
        await counter.wait(
            lambda: counter.ledger.update_application(
                question.acting,
                body.application,
                changes=changes,
                add_fields=fields,
                open_to_all=body.open,
            )
        )
    )


async def delete(
    counter: Counter, question: Question[bodies.DeleteApplication]
) -> answers.ApplicationChanged:
    """The end of an application."""
    return _outcome(
        await counter.wait(
            lambda: counter.ledger.delete_application(question.acting, question.body.application)
        )
    )


async def grant(
    counter: Counter, question: Question[bodies.ChangeRole]
) -> answers.ApplicationChanged:
    """One more claim in a role."""
    role = question.body
    return _outcome(
        await counter.wait(
            lambda: counter.ledger.grant(question.acting, role.application, role.role, role.claim)
        )
    )


async def revoke(
    counter: Counter, question: Question[bodies.ChangeRole]
) -> answers.ApplicationChanged:
    """One claim less in a role."""
    role = question.body
    return _outcome(
        await counter.wait(
            lambda: counter.ledger.revoke(question.acting, role.application, role.role, role.claim)
        )
    )


async def apply(
    counter: Counter, question: Question[bodies.ApplyApplications]
) -> answers.ApplicationsApplied:
    """What is said of many, all together or none."""
    body = question.body
    wanted = checked_tables(msgspec.to_builtins(body.applications))
    confirmed = {application_key(name) for name in body.deletes}

    def confirm(doomed: Sequence[str]) -> None:
        if {application_key(name) for name in doomed} != confirmed:
            raise Conflict(
                "deletions-unconfirmed",
                "Other applications would be deleted than were named; nothing was changed.",
                hint='Ask with "dry_run", and name in "deletes" exactly those that it tells.',
            )

    document = await counter.wait(
        lambda: apply_tables(
            counter.session,
            question.acting,
            wanted,
            prune=body.prune,
            dry_run=body.dry_run,
            confirm=confirm,
        )
    )
    return msgspec.convert(document, answers.ApplicationsApplied)


async def list_(counter: Counter, question: Question[bodies.Nothing]) -> answers.ApplicationsShown:
    """Those whose settings the caller may see."""
    found = await counter.wait(lambda: visible_applications(counter.session, question.acting))
    return answers.ApplicationsShown(tuple(map(_application, found)))


async def show(
    counter: Counter, question: Question[bodies.Application]
) -> answers.ApplicationShown:
    """One with its settings."""
    return _application(
        await counter.wait(
            lambda: require_metadata(counter.session, question.acting, question.named)
        )
    )


async def fields(counter: Counter, question: Question[bodies.Application]) -> answers.FieldsShown:
    """Its fields, for those who may see its settings or get from it."""
    state = await counter.wait(
        lambda: require_fields(counter.session, question.acting, question.named)
    )
    return msgspec.convert(fields_document(state), answers.FieldsShown)


async def claims(counter: Counter, question: Question[bodies.Application]) -> answers.ClaimsShown:
    """Who has which role in it."""
    state = await show(counter, question)
    return answers.ClaimsShown(
        state.application, state.administrators, state.members, state.ticket_redeemers
    )


async def mine(counter: Counter, question: Question[bodies.Nothing]) -> answers.ApplicationsUsable:
    """Those that the caller may get from."""
    found = await counter.wait(lambda: usable_applications(counter.session, question.caller))
    told = {"applications": [usable_document(state) for state in found]}
    return msgspec.convert(told, answers.ApplicationsUsable)


def _outcome(outcome: Outcome) -> answers.ApplicationChanged:
    return msgspec.convert(outcome_document(outcome), answers.ApplicationChanged)


def _application(state: Application) -> answers.ApplicationShown:
    return msgspec.convert(application_document(state), answers.ApplicationShown)


def _fields_in(given: Sequence[bodies.FieldGiven]) -> tuple[Field, ...]:
    return tuple(make_field(one.name, one.type, masked=one.masked) for one in given)
