"""Changing applications and rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.aggregates import application as applications
from ledger.aggregates import roles as rights
from ledger.aggregates.application import Application, Field
from ledger.aggregates.event import Event
from ledger.claims import Claim
from ledger.identifiers import application_key
from ledger.log.transaction import Transaction
from ledger.policy import Verb, decide
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk, no_such_application, not_allowed
from ledger.usecases.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class CreateApplication:
    """A new application; whoever is no operator becomes its administrator."""

    desk: Desk
    acting: Acting
    application: str
    settings: Mapping[str, Any]

    def decide(self, transaction: Transaction) -> Outcome:
        """Append the creation; `application-exists` in any case or form of the ID."""
        caller = self.acting.caller
        present = self.desk.application(transaction, self.application)
        roles = self.desk.roles(transaction)
        if not decide(Verb.CREATE_APPLICATION, None, roles, caller).allowed:
            raise not_allowed()
        settings = dict(self.settings)
        if caller is not None:
            named: Sequence[Claim] = settings.get("administrators", ())
            settings["administrators"] = (*named, caller.claim)
        events = applications.create(present, self.application, **settings)
        stream = self.desk.streams.application(application_key(self.application))
        return _append(self.desk, self.acting, transaction, stream, events, self.application)


@dataclass(frozen=True, slots=True)
class ChangeApplication:
    """Any change of one application, as functions from its state to events."""

    desk: Desk
    acting: Acting
    application: str
    verb: Verb
    changes: tuple[Callable[[Application], tuple[Event, ...]], ...]

    def decide(self, transaction: Transaction) -> Outcome:
        """Append what the changes ask for; nothing where all is so already."""
        stream = self.desk.streams.application(application_key(self.application))
        outcome: Outcome | None = None
        changed = False
        for change in self.changes:
            state = self.desk.permitted_application(
                transaction, self.acting, self.verb, self.application
            )
            outcome = _append(
                self.desk, self.acting, transaction, stream, change(state), state.application
            )
            changed = changed or outcome.changed
        if outcome is None:
            raise no_such_application()
        return Outcome(outcome.application, changed, outcome.version, outcome.position)


@dataclass(frozen=True, slots=True)
class ChangeRoles:
    """A right granted or revoked."""

    desk: Desk
    acting: Acting
    right: str
    claim: Claim
    revoke: bool

    def decide(self, transaction: Transaction) -> Outcome:
        """Append the change; nothing where it is so already."""
        roles = self.desk.roles(transaction)
        if not decide(Verb.MANAGE_ROLES, None, roles, self.acting.caller).allowed:
            raise not_allowed()
        change = rights.revoke if self.revoke else rights.grant
        events = change(roles, self.right, self.claim)
        return _append(self.desk, self.acting, transaction, self.desk.streams.roles(), events, None)


def updating(
    changes: Mapping[str, Any], fields: Sequence[Field], *, open_to_all: bool
) -> tuple[Callable[[Application], tuple[Event, ...]], ...]:
    """The changes of one `app update`."""
    steps: list[Callable[[Application], tuple[Event, ...]]] = [
        lambda state: applications.update(state, **changes)
    ]
    steps.extend(_adding(field) for field in fields)
    if open_to_all:
        steps.append(applications.open_to_all)
    return tuple(steps)


def _adding(field: Field) -> Callable[[Application], tuple[Event, ...]]:
    return lambda state: applications.add_field(state, field)


def _append(
    desk: Desk,
    acting: Acting,
    transaction: Transaction,
    stream: bytes,
    events: tuple[Event, ...],
    application: str | None,
) -> Outcome:
    position = transaction.next_position - 1
    for happened in events:
        position = transaction.append(stream, happened, desk.actor(acting), acting.reason).position
    return Outcome(application, bool(events), transaction.version(stream), position)
