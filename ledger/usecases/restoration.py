"""Bringing applications, rights and mappings back to what they were, by appending.

An operator's work: no right of an application's administrators reaches so far back, because what
comes back includes who had rights there. Values are opened and sealed again in this process and
never shown.

Each request checks under the lock that every stream it continues stands where the plan saw it. If
one does not, somebody has changed it since: `changed-meanwhile`, and nothing of the request stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from ledger.aggregates.application import Application
from ledger.aggregates.event import Event
from ledger.aggregates.mapping import CredentialDeleted, CredentialMapping, CredentialRestored
from ledger.aggregates.restoration import ApplicationStep, MappingStep, RolesStep, restored
from ledger.aggregates.roles import RoleGranted, RoleRevoked
from ledger.claims import Claim, parse_claim
from ledger.discreet import Discreet
from ledger.errors import NEEDS_OPERATOR, Conflict, InvalidInput, Refused
from ledger.identifiers import application_key
from ledger.log.transaction import Transaction
from ledger.sealing.envelope import NONCE_BYTES
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk, not_allowed
from ledger.usecases.outcomes import RestorationOutcome

RESTORED_TOGETHER_MAX = 500
Source = CredentialMapping | None
"""A mapping at the row whose values are brought back; None where it is deleted."""


class RestoreApplication(msgspec.Struct, frozen=True):
    """One application as it was, all or nothing."""

    desk: Desk
    acting: Acting
    step: ApplicationStep

    def decide(self, transaction: Transaction) -> RestorationOutcome:
        """Append what makes it so; the outcome tells its creation, if it is there in the end."""
        require_operator(self.desk, self.acting)
        step, desk = self.step, self.desk
        stream = desk.streams.application(application_key(step.application))
        present = desk.application(transaction, step.application)
        if transaction.version(stream) != step.version:
            raise _changed(f"application {step.application}")
        position = _append_all(self, transaction, stream, restored(present, step.then))
        after = desk.application(transaction, step.application)
        is_there = after is not None and not after.deleted
        return RestorationOutcome(position, after.creation if after and is_there else None)


class RestoreRoles(msgspec.Struct, frozen=True):
    """The service-level rights as they were."""

    desk: Desk
    acting: Acting
    step: RolesStep

    def decide(self, transaction: Transaction) -> RestorationOutcome:
        """Append what was granted and revoked the other way round."""
        require_operator(self.desk, self.acting)
        stream = self.desk.streams.roles()
        if transaction.version(stream) != self.step.version:
            raise _changed("service-level rights")
        events = (
            *(RoleRevoked(right, claim) for right, claim in self.step.revoked),
            *(RoleGranted(right, claim) for right, claim in self.step.granted),
        )
        return RestorationOutcome(_append_all(self, transaction, stream, events))


class FindSources(msgspec.Struct, frozen=True):
    """Where the values of some steps are, read before the lock is taken."""

    desk: Desk
    steps: Sequence[MappingStep]

    @property
    def streams(self) -> list[bytes]:
        """The streams of these mappings."""
        return [_stream(self.desk, step) for step in self.steps]

    def look(self, transaction: Transaction) -> list[Source]:
        """One for each step; each stream is held against what this host knows of it."""
        return [self._source(transaction, step) for step in self.steps]

    def _source(self, transaction: Transaction, step: MappingStep) -> Source:
        if step.source is None:
            return None
        for mapping in self.desk.versions(transaction, _stream(self.desk, step)):
            if mapping.recorded.version == step.source and mapping.secret is not None:
                return mapping
        raise _changed(_told(step))


class RestoreMappings(Discreet, msgspec.Struct, frozen=True):
    """Up to 500 mappings as they were, all or nothing."""

    SHOWN: ClassVar = ("desk", "acting", "steps", "creations")

    desk: Desk
    acting: Acting
    steps: Sequence[MappingStep]
    sources: Sequence[Source]
    creations: Mapping[str, int]
    """By the key of each application: the creation that the plan rests on."""

    def decide(self, transaction: Transaction) -> RestorationOutcome:
        """Append the earlier values under new versions, and the deletions."""
        require_operator(self.desk, self.acting)
        if len(self.steps) > RESTORED_TOGETHER_MAX:
            raise InvalidInput("batch-too-large", f"A batch holds at most {RESTORED_TOGETHER_MAX}.")
        position = transaction.head.size
        for step, source in zip(self.steps, self.sources, strict=True):
            position = self._take(transaction, step, source)
        return RestorationOutcome(position)

    def _take(self, transaction: Transaction, step: MappingStep, source: Source) -> int:
        desk, owner = self.desk, _owner(step)
        application = desk.application(transaction, step.application)
        if (
            application is None
            or application.deleted
            or application.creation != self.creations.get(application.key)
        ):
            raise _changed(f"application {step.application}")
        stream = desk.mapping_stream(application, owner)
        if transaction.version(stream) != step.version:
            raise _changed(_told(step))
        newest = desk.mapping(transaction, application, owner)
        if newest is None:
            raise _changed(_told(step))
        happened = (
            _deleted(application, newest)
            if source is None
            else self._restored(transaction, stream, application, newest, source)
        )
        return _append_all(self, transaction, stream, (happened,))

    def _restored(
        self,
        transaction: Transaction,
        stream: bytes,
        application: Application,
        newest: CredentialMapping,
        source: CredentialMapping,
    ) -> CredentialRestored:
        desk, row = self.desk, source.recorded
        assert source.secret is not None
        place = transaction.place(stream, CredentialRestored.TOPIC)
        secret = desk.box.reseal(
            row.epoch,
            source.secret,
            desk.mapper.associated_data(row),
            place.epoch,
            desk.mapper.associated_data(place),
            desk.random(NONCE_BYTES),
        )
        return CredentialRestored(
            application=application.application,
            owner=source.owner,
            creation=application.creation,
            value_version=newest.value_version + 1,
            fields=source.fields,
            secret=secret,
            set_at=transaction.recorded_at(),
            set_by=desk.actor(transaction, self.acting).claim,
            restored_version=source.value_version,
        )


def require_operator(desk: Desk, acting: Acting) -> None:
    """`operator-needed` for an auditor's unlock, `not-allowed` for whoever is acted for."""
    if not desk.unlocked.is_operator:
        raise Refused(
            "operator-needed",
            "Only an operator's unlock may restore to a moment.",
            hint=NEEDS_OPERATOR,
        )
    if acting.caller is not None:
        raise not_allowed()


def _append_all(
    request: RestoreApplication | RestoreRoles | RestoreMappings,
    transaction: Transaction,
    stream: bytes,
    events: Sequence[Event],
) -> int:
    actor, position = request.desk.actor(transaction, request.acting), transaction.next_position - 1
    for happened in events:
        position = transaction.append(stream, happened, actor, request.acting.reason).position
    return position


def _deleted(application: Application, newest: CredentialMapping) -> CredentialDeleted:
    return CredentialDeleted(
        application=application.application,
        owner=newest.owner,
        creation=application.creation,
        value_version=newest.value_version,
    )


def _stream(desk: Desk, step: MappingStep) -> bytes:
    return desk.streams.mapping(application_key(step.application), step.owner)


def _owner(step: MappingStep) -> Claim | None:
    return None if step.owner is None else parse_claim(step.owner)


def _told(step: MappingStep) -> str:
    whose = "" if step.owner is None else f" of {step.owner}"
    return f"credentials{whose} in {step.application}"


def _changed(what: str) -> Conflict:
    return Conflict(
        "changed-meanwhile",
        f"Somebody has changed what was to be restored: {what}.",
        hint="What was done before stands; run the same command again, and it goes on from there.",
    )
