"""Changing applications and rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ledger.aggregates import application as applications
from ledger.aggregates import roles as rights
from ledger.aggregates.application import Application, Field
from ledger.aggregates.event import Event
from ledger.aggregates.issuers import Issuers
from ledger.aggregates.recorded import Recorded
from ledger.claims import Claim, parse_claim
from ledger.errors import InvalidInput
from ledger.identifiers import application_key
from ledger.log.transaction import Request, Transaction
from ledger.policy import Verb, decide
from ledger.replacing import replace
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk, no_such_application, not_allowed
from ledger.usecases.outcomes import Outcome

Change = Callable[[Application, Issuers], tuple[Event, ...]]
"""What to append to an application's stream, by its state and the issuers that are trusted."""
_CLAIM_LISTS = ("administrators", "members", "ticket_redeemers")


class CreateApplication(msgspec.Struct, frozen=True):
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
        issuers = self.desk.issuers(transaction)
        if not decide(Verb.CREATE_APPLICATION, None, roles, caller, issuers=issuers).allowed:
            raise not_allowed()
        stream = self.desk.streams.application(application_key(self.application))
        done = self.desk.repeated(transaction, self.acting, stream)
        if done is not None:
            return _once(transaction, done)
        settings = dict(self.settings)
        if caller is not None:
            named: Sequence[Claim] = settings.get("administrators", ())
            settings["administrators"] = (*named, caller.claim)
        for name in _CLAIM_LISTS:
            if name in settings:
                settings[name] = tuple(map(issuers.nameable, settings[name]))
        events = applications.create(present, self.application, **settings)
        outcome = _append(self.desk, self.acting, transaction, stream, events, self.application)
        return replace(outcome, readers=_readers(transaction, stream))


class ChangeApplication(msgspec.Struct, frozen=True):
    """Any change of one application, as functions from its state to events."""

    desk: Desk
    acting: Acting
    application: str
    verb: Verb
    changes: tuple[Change, ...]

    def decide(self, transaction: Transaction) -> Outcome:
        """Append what the changes ask for; nothing where all is so already."""
        stream = self.desk.streams.application(application_key(self.application))
        done = self.desk.repeated(transaction, self.acting, stream)
        if done is not None:
            return _once(transaction, done)
        outcome: Outcome | None = None
        changed, readers_before = False, _readers(transaction, stream)
        for change in self.changes:
            state = self.desk.permitted_application(
                transaction, self.acting, self.verb, self.application
            )
            events = change(state, self.desk.issuers(transaction))
            outcome = _append(
                self.desk, self.acting, transaction, stream, events, state.application
            )
            changed = changed or outcome.changed
        if outcome is None:
            raise no_such_application()
        return replace(
            outcome,
            changed=changed,
            readers=_readers(transaction, stream),
            readers_before=readers_before,
        )


class ChangeRoles(msgspec.Struct, frozen=True):
    """A right granted or revoked."""

    desk: Desk
    acting: Acting
    right: str
    claim: Claim
    revoke: bool

    def decide(self, transaction: Transaction) -> Outcome:
        """Append the change; nothing where it is so already."""
        roles = self.desk.roles(transaction)
        issuers = self.desk.issuers(transaction)
        if not decide(Verb.MANAGE_ROLES, None, roles, self.acting.caller, issuers=issuers).allowed:
            raise not_allowed()
        if self.revoke:
            events = rights.revoke(roles, self.right, issuers.canonical(self.claim))
        else:
            events = rights.grant(roles, self.right, issuers.nameable(self.claim))
        return _append(self.desk, self.acting, transaction, self.desk.streams.roles(), events, None)


class Together(msgspec.Struct, frozen=True):
    """Several changes in one transaction, all or none."""

    requests: Sequence[Request[Outcome]]

    def decide(self, transaction: Transaction) -> list[Outcome]:
        """Decide each; a later one sees what the earlier ones appended."""
        return [request.decide(transaction) for request in self.requests]


class ApplicationChanges:
    """Every change of an application as a request, with claims as text."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def create(self, acting: Acting, application: str, **settings: Any) -> Request[Outcome]:
        """A new application; settings as `aggregates.application.create`."""
        for name in _CLAIM_LISTS:
            if name in settings:
                settings[name] = tuple(parse_claim(text) for text in settings[name])
        return CreateApplication(self._desk, acting, application, settings)

    def update(
        self,
        acting: Acting,
        application: str,
        *,
        changes: Mapping[str, Any],
        add_fields: Sequence[Field] = (),
        open_to_all: bool = False,
    ) -> Request[Outcome]:
        """Changed settings and added fields."""
        if not set(changes) <= applications.UPDATABLE:
            raise InvalidInput("unknown-setting", "That setting of an application cannot change.")
        steps: list[Change] = [lambda state, _: applications.update(state, **changes)]
        steps.extend(_adding(field) for field in add_fields)
        if open_to_all:
            steps.append(lambda state, _: applications.open_to_all(state))
        return self._managing(acting, application, *steps)

    def grant(self, acting: Acting, application: str, role: str, claim: str) -> Request[Outcome]:
        """One more administrator, member or ticket redeemer."""
        holder = parse_claim(claim)
        return self._managing(
            acting,
            application,
            lambda state, issuers: applications.grant(state, role, issuers.nameable(holder)),
        )

    def revoke(self, acting: Acting, application: str, role: str, claim: str) -> Request[Outcome]:
        """One administrator, member or ticket redeemer less."""
        holder = parse_claim(claim)
        return self._managing(
            acting,
            application,
            lambda state, issuers: applications.revoke(state, role, issuers.canonical(holder)),
        )

    def delete(self, acting: Acting, application: str) -> Request[Outcome]:
        """The end of an application and its mappings."""
        return ChangeApplication(
            self._desk,
            acting,
            application,
            Verb.DELETE_APPLICATION,
            (lambda state, _: applications.delete(state),),
        )

    def _managing(self, acting: Acting, application: str, *steps: Change) -> Request[Outcome]:
        return ChangeApplication(self._desk, acting, application, Verb.MANAGE_APPLICATION, steps)


def _adding(field: Field) -> Change:
    return lambda state, _: applications.add_field(state, field)


def _readers(transaction: Transaction, stream: bytes) -> str | None:
    state = transaction.load(stream, applications.fold_application)
    return None if state is None else state.readers


def _once(transaction: Transaction, done: Recorded) -> Outcome:
    """What came of a request that was carried out when it was sent before.

    Of a request's events none but the last changes who may read.
    """
    assert isinstance(done.event, applications.ApplicationEvent)
    before: Application | None = None
    after: Application | None = None
    for recorded in transaction.history(done.stream):
        before, after = after, applications.fold_application(after, recorded)
        if recorded.version == done.version:
            break
    return Outcome(
        done.event.application,
        changed=True,
        version=done.version,
        position=done.position,
        readers=None if after is None else after.readers,
        readers_before=None if before is None else before.readers,
    )


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
        actor, request = desk.actor(transaction, acting), acting.request
        recorded = transaction.append(stream, happened, actor, acting.reason, request=request)
        position = recorded.position
    if events:
        desk.take_key(transaction, acting)
    return Outcome(application, bool(events), transaction.version(stream), position)
