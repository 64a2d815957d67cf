"""Setting, restoring and deleting credentials, and importing many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ledger.aggregates.access import ImportCompared
from ledger.aggregates.application import Application, check_values
from ledger.aggregates.mapping import (
    CredentialDeleted,
    CredentialMapping,
    CredentialRestored,
    CredentialSet,
    mapping_from,
)
from ledger.claims import Claim
from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Refused
from ledger.identifiers import field_key
from ledger.log.transaction import Transaction
from ledger.policy import Verb, decide, is_believed
from ledger.usecases.acting import Acting, retry_key_reused
from ledger.usecases.desk import Desk, not_allowed
from ledger.usecases.outcomes import ImportOutcome, MappingOutcome, RestorePreview
from ledger.values import FieldValue

IMPORT_BATCH_MAX = 500


class SetCredentials(msgspec.Struct, frozen=True):
    """New values for one mapping; with `only_check` nothing is appended."""

    desk: Desk
    acting: Acting
    application: str
    owner: Claim | None
    values: Mapping[str, FieldValue]
    only_check: bool = False

    def decide(self, transaction: Transaction) -> MappingOutcome:
        """Append the values; every field of the application is mandatory."""
        application, owner = _target(
            self.desk, self.acting, transaction, Verb.SET_CREDENTIALS, self.application, self.owner
        )
        done = self._done(transaction, application, owner)
        if done is not None:
            return done
        values = check_values(application, self.values)
        mapping = self.desk.mapping(transaction, application, owner)
        if self.only_check:
            return MappingOutcome(
                application.application,
                str(owner) if owner else None,
                mapping.value_version if mapping else 0,
                transaction.head.size,
            )
        return _set(self.desk, self.acting, transaction, application, owner, mapping, values)

    def _done(
        self, transaction: Transaction, application: Application, owner: Claim | None
    ) -> MappingOutcome | None:
        """What came of the same request with the same values when it was sent before."""
        done = _repeated(self.desk, self.acting, transaction, application, owner)
        if done is not None:
            before = self._values_of(transaction, done)
            given = {field_key(name): value for name, value in self.values.items()}
            same = [given.get(field_key(name)) == value for name, value in before.items()]
            if not all(same) or len(before) != len(self.values):
                raise retry_key_reused()
        return None if done is None else _outcome(application, done)

    def _values_of(
        self, transaction: Transaction, done: CredentialMapping
    ) -> dict[str, FieldValue]:
        """A version's values; `retry-key-too-old` without their key.

        Out of the row that set them, or where its key is destroyed out of its newest one.
        """
        carrying = done
        if not self.desk.box.holds(done.recorded.epoch):
            carrying = [
                mapping
                for mapping in self.desk.versions(transaction, done.recorded.stream)
                if mapping.value_version == done.value_version and mapping.secret is not None
            ][-1]
        assert carrying.secret is not None
        if not self.desk.box.holds(carrying.recorded.epoch):
            raise Conflict(
                "retry-key-too-old",
                "The values that this retry key stands for are destroyed and cannot be compared.",
                hint="Look at the mapping's history, and set under a new key what is to be so now.",
            )
        return self.desk.open_values(carrying.recorded, carrying.secret)


class RestoreCredentials(msgspec.Struct, frozen=True):
    """An earlier version becomes the current one; nobody sees it."""

    desk: Desk
    acting: Acting
    application: str
    owner: Claim | None
    version: int | None = None
    at: int | None = None
    """Microseconds UTC: what was current then."""

    def decide(self, transaction: Transaction) -> MappingOutcome:
        """Append the earlier values under a new version; `no-such-version` if there is none."""
        application, owner = self._target(transaction)
        done = _done(self.desk, self.acting, transaction, application, owner)
        if done is not None:
            return done
        source, latest = self._found(transaction, application, owner)
        stream = source.recorded.stream
        assert source.secret is not None
        values = self.desk.open_values(source.recorded, source.secret)
        restored = CredentialRestored(
            application=application.application,
            owner=source.owner,
            creation=application.creation,
            value_version=latest + 1,
            fields=tuple(values),
            secret=self.desk.seal_values(transaction, stream, CredentialRestored.TOPIC, values),
            set_at=transaction.recorded_at(),
            set_by=self.desk.actor(transaction, self.acting).claim,
            restored_version=source.value_version,
        )
        recorded = transaction.append(
            stream,
            restored,
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
            request=self.acting.request,
        )
        self.desk.take_key(transaction, self.acting)
        return MappingOutcome(
            application.application, restored.owner, latest + 1, recorded.position
        )

    def preview(self, transaction: Transaction) -> RestorePreview:
        """What `decide` would do; nothing is appended or opened."""
        application, owner = self._target(transaction)
        source, latest = self._found(transaction, application, owner)
        return RestorePreview(
            application.application,
            source.owner,
            source.value_version,
            latest + 1,
            source.set_at,
            source.set_by,
            self.desk.box.holds(source.recorded.epoch),
        )

    def _target(self, transaction: Transaction) -> tuple[Application, Claim | None]:
        verb = Verb.RESTORE_CREDENTIALS
        return _target(self.desk, self.acting, transaction, verb, self.application, self.owner)

    def _found(
        self, transaction: Transaction, application: Application, owner: Claim | None
    ) -> tuple[CredentialMapping, int]:
        """The mapping at the row to take the values from, and the latest version.

        Of several rows that carry the same version the newest is taken: its key is the last to be
        destroyed.
        """
        meant: CredentialMapping | None = None
        ended: CredentialMapping | None = None
        newest: dict[int, CredentialMapping] = {}
        latest = 0
        stream = self.desk.mapping_stream(application, owner)
        for mapping in self.desk.versions(transaction, stream):
            latest = mapping.value_version
            if mapping.creation != application.creation:
                if mapping.secret is not None and self._is_meant(mapping):
                    ended = mapping
                continue
            if mapping.secret is not None:
                newest[mapping.value_version] = mapping
            if self._is_meant(mapping):
                meant = mapping
        if meant is None and ended is not None:
            raise _of_an_ended_application(ended)
        if meant is None or meant.secret is None:
            raise NotFound(
                "no-such-version",
                "There are no values of that version or moment to restore.",
                hint="`credledger credential history` lists the versions.",
            )
        return newest[meant.value_version], latest

    def _is_meant(self, mapping: CredentialMapping) -> bool:
        if self.version is not None:
            return mapping.value_version == self.version and mapping.secret is not None
        return self.at is not None and mapping.recorded.recorded_at <= self.at


def _of_an_ended_application(mapping: CredentialMapping) -> NotFound:
    place = mapping.recorded.position
    return NotFound(
        "no-such-version",
        "That was set in an application of this ID that was deleted since.",
        hint=f"`credledger replay restore --position {place} --app ID` brings that application back"
        " as it was then; look at it with --dry-run first.",
    )


class DeleteCredentials(msgspec.Struct, frozen=True):
    """Nothing is set any more for one mapping."""

    desk: Desk
    acting: Acting
    application: str
    owner: Claim | None

    def decide(self, transaction: Transaction) -> MappingOutcome:
        """Append the deletion; `credentials-not-set` if nothing is there."""
        application, owner = _target(
            self.desk,
            self.acting,
            transaction,
            Verb.DELETE_CREDENTIALS,
            self.application,
            self.owner,
        )
        done = _done(self.desk, self.acting, transaction, application, owner)
        if done is not None:
            return done
        mapping = self.desk.mapping(transaction, application, owner)
        if mapping is None or not mapping.counts_in(application.creation):
            raise NotFound("credentials-not-set", "No credentials are set there.")
        deleted = CredentialDeleted(
            application=application.application,
            owner=mapping.owner,
            creation=application.creation,
            value_version=mapping.value_version,
        )
        recorded = transaction.append(
            self.desk.mapping_stream(application, owner),
            deleted,
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
            request=self.acting.request,
        )
        self.desk.take_key(transaction, self.acting)
        return MappingOutcome(
            application.application, mapping.owner, mapping.value_version, recorded.position
        )


class DeleteAll(msgspec.Struct, frozen=True):
    """One owner's credentials in several applications, all or nothing.

    A stranger is refused alike whether there are any or not.
    """

    desk: Desk
    acting: Acting
    owner: Claim
    applications: Sequence[str]

    def decide(self, transaction: Transaction) -> list[MappingOutcome]:
        """Append the deletions of all that are set; `not-allowed` in other people's names."""
        outcomes = []
        for application in self.applications:
            one = DeleteCredentials(self.desk, self.acting, application, self.owner)
            try:
                outcomes.append(one.decide(transaction))
            except NotFound:
                continue  # deleted since the list was made
        if not self.applications and not self._may_know(transaction):
            raise not_allowed()
        return outcomes

    def _may_know(self, transaction: Transaction) -> bool:
        """Whether who acts may be told that nothing is set anywhere."""
        caller = self.acting.caller
        if caller is None or caller.claim == self.owner:
            return True
        roles = self.desk.roles(transaction)
        issuers = self.desk.issuers(transaction)
        everywhere = roles.holder("all-applications", caller.claims) is not None
        decision = decide(Verb.DELETE_CREDENTIALS, None, roles, caller, issuers=issuers)
        return decision.allowed or (everywhere and is_believed(issuers, caller))


class ImportItem(msgspec.Struct, frozen=True):
    """One mapping to import."""

    application: str
    owner: Claim | None
    values: Mapping[str, FieldValue]


class CheckBatch(msgspec.Struct, frozen=True):
    """Whether mappings can be set as they are given; nothing is appended."""

    desk: Desk
    acting: Acting
    items: Sequence[ImportItem]

    def decide(self, transaction: Transaction) -> list[LedgerError | None]:
        """For each mapping what setting it would raise because of what was given."""
        return [self._refusal(transaction, item) for item in self.items]

    def _refusal(self, transaction: Transaction, item: ImportItem) -> LedgerError | None:
        request = SetCredentials(
            self.desk, self.acting, item.application, item.owner, item.values, only_check=True
        )
        try:
            request.decide(transaction)
        except (InvalidInput, NotFound, Refused, Conflict) as error:
            return error
        return None


class ImportBatch(msgspec.Struct, frozen=True):
    """Up to 500 mappings, all or nothing; those whose values are current stay as they are."""

    desk: Desk
    acting: Acting
    items: Sequence[ImportItem]

    def decide(self, transaction: Transaction) -> ImportOutcome:
        """Append what differs, and how many were compared in process."""
        if len(self.items) > IMPORT_BATCH_MAX:
            raise InvalidInput("batch-too-large", f"A batch holds at most {IMPORT_BATCH_MAX}.")
        if self.acting.caller is not None:
            raise not_allowed()
        changed: list[bool] = []
        compared = 0
        last = transaction.head.size
        for item in self.items:
            application, owner = _target(
                self.desk,
                self.acting,
                transaction,
                Verb.SET_CREDENTIALS,
                item.application,
                item.owner,
            )
            values = check_values(application, item.values)
            mapping = self.desk.mapping(transaction, application, owner)
            if mapping is not None and mapping.counts_in(application.creation):
                compared += 1
                if self._is_current(mapping, values):
                    changed.append(False)
                    continue
            last = _set(
                self.desk, self.acting, transaction, application, owner, mapping, values
            ).position
            changed.append(True)
        if compared:
            record = ImportCompared(compared=compared, unchanged=changed.count(False))
            last = transaction.append_access(
                record, self.desk.actor(transaction, self.acting), self.acting.reason
            ).position
        return ImportOutcome(tuple(changed), last)

    def _is_current(self, mapping: CredentialMapping, values: dict[str, FieldValue]) -> bool:
        if mapping.secret is None or set(mapping.fields) != set(values):
            return False
        present = self.desk.open_values(mapping.recorded, mapping.secret)
        same = [present.get(name) == value for name, value in values.items()]
        return all(same) and len(present) == len(values)


def _target(
    desk: Desk,
    acting: Acting,
    transaction: Transaction,
    verb: Verb,
    application: str,
    owner: Claim | None,
) -> tuple[Application, Claim | None]:
    meant = owner or (acting.caller.claim if acting.caller else None)
    found = desk.permitted_application(transaction, acting, verb, application, owner=meant)
    whose = desk.owner_of(transaction, found, acting, owner)
    if whose is not None and verb is Verb.SET_CREDENTIALS:
        whose = desk.issuers(transaction).nameable(whose)
    return found, whose


def _done(
    desk: Desk,
    acting: Acting,
    transaction: Transaction,
    application: Application,
    owner: Claim | None,
) -> MappingOutcome | None:
    """What came of the very same request when it was sent before, if it was."""
    done = _repeated(desk, acting, transaction, application, owner)
    return None if done is None else _outcome(application, done)


def _repeated(
    desk: Desk,
    acting: Acting,
    transaction: Transaction,
    application: Application,
    owner: Claim | None,
) -> CredentialMapping | None:
    """The mapping as the very same request left it when it was sent before, if it was."""
    stream = desk.mapping_stream(application, owner)
    mapping = mapping_from(desk.repeated(transaction, acting, stream))
    if mapping is None or mapping.creation != application.creation:
        return None
    return mapping


def _outcome(application: Application, done: CredentialMapping) -> MappingOutcome:
    position = done.recorded.position
    return MappingOutcome(application.application, done.owner, done.value_version, position)


def _set(
    desk: Desk,
    acting: Acting,
    transaction: Transaction,
    application: Application,
    owner: Claim | None,
    mapping: CredentialMapping | None,
    values: dict[str, FieldValue],
) -> MappingOutcome:
    stream = desk.mapping_stream(application, owner)
    version = (mapping.value_version if mapping else 0) + 1
    happened = CredentialSet(
        application=application.application,
        owner=str(owner) if owner else None,
        creation=application.creation,
        value_version=version,
        fields=tuple(values),
        secret=desk.seal_values(transaction, stream, CredentialSet.TOPIC, values),
        set_at=transaction.recorded_at(),
        set_by=desk.actor(transaction, acting).claim,
    )
    actor = desk.actor(transaction, acting)
    recorded = transaction.append(stream, happened, actor, acting.reason, request=acting.request)
    desk.take_key(transaction, acting)
    return MappingOutcome(application.application, happened.owner, version, recorded.position)
