"""The open ledger: every use case as one method, each durable when it returns.

It is opened by `ledger.usecases.opening`. Reading policy and mappings goes to the log itself, never
to a view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ledger.aggregates.access import AuditQueried, AuditReviewed
from ledger.aggregates.application import Application, Field
from ledger.aggregates.issuers import NO_ISSUERS
from ledger.aggregates.keys import (
    KeyHistory,
    SlotAdded,
)
from ledger.aggregates.roles import NO_ROLES, Roles
from ledger.claims import LOCAL, Claim, parse_claim
from ledger.errors import (
    LedgerError,
    Tampered,
    Unavailable,
)
from ledger.log.host_file import ThisHost
from ledger.log.proof_document import InclusionProof
from ledger.log.proving import Prover
from ledger.log.rows import CommitRow
from ledger.log.transaction import Request, Transaction
from ledger.log.writer import Watch, Writer
from ledger.policy import Caller, Verb, decide, decide_get
from ledger.replacing import replace
from ledger.sealing.epochs import no_access_key, period_of
from ledger.sealing.keys import KeySet
from ledger.sealing.slots import Argon2Cost, Holding
from ledger.usecases.acting import Acting, checked_reason
from ledger.usecases.administration import ApplicationChanges, ChangeRoles, Together
from ledger.usecases.backup_records import BackupRecords
from ledger.usecases.credentials import (
    CheckBatch,
    DeleteAll,
    DeleteCredentials,
    ImportBatch,
    ImportItem,
    SetCredentials,
)
from ledger.usecases.decisions import asked_for
from ledger.usecases.desk import Desk
from ledger.usecases.fitting import epoch_ahead
from ledger.usecases.held_keys import EPOCHS_PAST, HeldKeys
from ledger.usecases.hosts import HostKeeper
from ledger.usecases.key_backups import KeyBackups
from ledger.usecases.leaving import Leave
from ledger.usecases.next_epoch import NextEpoch
from ledger.usecases.outcomes import (
    Doomed,
    ImportOutcome,
    LeavingOutcome,
    LedgerStatus,
    MappingOutcome,
    Outcome,
    Retrieved,
    RotationOutcome,
    SlotOutcome,
)
from ledger.usecases.recovery_shares import RecoveryShares
from ledger.usecases.resealing import Progress
from ledger.usecases.restorer import Restorer
from ledger.usecases.retention import Retainer
from ledger.usecases.retrieval import Opener, Retrieve
from ledger.usecases.rotation import Rotation
from ledger.usecases.slots import AuditorsOwnEvent, SlotKeeper, SlotRemoval
from ledger.usecases.ticket_office import Tickets
from ledger.usecases.trust import TrustKeeper
from ledger.values import FieldValue

T = TypeVar("T")
_TOGETHER = 200
"""So many applications at most are decided about in one look."""


class Ledger:
    """One unlocked ledger."""

    def __init__(
        self,
        desk: Desk,
        writer: Writer,
        held: HeldKeys,
        host: ThisHost | None,
        clock: Callable[[], int],
        prover: Prover,
    ) -> None:
        """Use `ledger.usecases.opening`."""
        self.changes = ApplicationChanges(desk)
        """Changes of applications as requests, for `change_together`."""
        self.key_backups = KeyBackups(desk, writer, held)
        """Copies of the keyring."""
        self._desk = desk
        self._writer = writer
        self._held = held
        self._slots = SlotKeeper(desk, writer, held, clock)
        self._opener = Opener(desk, held)
        self.tickets = Tickets(desk, writer, self._opener, clock)
        """Tickets for a caller, and what their redeemers get."""
        self.restoring = Restorer(desk, writer)
        """Credentials, applications and rights as they were."""
        self.backups = BackupRecords(desk, writer)
        """What is recorded of database backups."""
        self.shares = RecoveryShares(desk, writer, self._slots)
        """Recovery shares of a slot of their own."""
        self._rotation = Rotation(desk, writer, held, clock)
        self.next_epoch = NextEpoch(desk, writer, held)
        """The keys held ready for the next rotation."""
        self.retention = Retainer(desk, writer, held)
        """How long access records are kept, and their erasure."""
        self.hosts = HostKeeper(desk, writer, host)
        """Which hosts hold which epochs, as far as they have told."""
        self.trust = TrustKeeper(desk, writer, held, clock)
        """Issuers of tokens, and the service's key pair."""
        self._clock = clock
        self._prover = prover

    def close(self) -> None:
        """Finish what waits and keep the head in this host's memory.

        What is recorded stands, whatever becomes of the memory: see `unremembered`.
        """
        self._writer.close()

    @property
    def unremembered(self) -> Unavailable | None:
        """Why this host's memory could not be written when it was last tried; None if it could."""
        return self._writer.unremembered

    def watch_commits(self, watch: Watch) -> None:
        """Enter this for each commit, with the number of requests that share it; it must not fail.

        It is left without an exception where the commit is durable.
        """
        self._writer.watch = watch

    def create_application(self, acting: Acting, application: str, **settings: Any) -> Outcome:
        """A new target application; settings as `aggregates.application.create`, claims as text."""
        return self._writer.run(self.changes.create(acting, application, **settings))

    def update_application(
        self,
        acting: Acting,
        application: str,
        *,
        changes: Mapping[str, Any],
        add_fields: Sequence[Field] = (),
        open_to_all: bool = False,
    ) -> Outcome:
        """Changed settings and added fields, in one transaction."""
        request = self.changes.update(
            acting, application, changes=changes, add_fields=add_fields, open_to_all=open_to_all
        )
        return self._writer.run(request)

    def grant(self, acting: Acting, application: str, role: str, claim: str) -> Outcome:
        """One more administrator, member or ticket redeemer."""
        return self._writer.run(self.changes.grant(acting, application, role, claim))

    def revoke(self, acting: Acting, application: str, role: str, claim: str) -> Outcome:
        """One administrator, member or ticket redeemer less."""
        return self._writer.run(self.changes.revoke(acting, application, role, claim))

    def delete_application(self, acting: Acting, application: str) -> Outcome:
        """The end of an application and its mappings."""
        return self._writer.run(self.changes.delete(acting, application))

    def change_together(self, requests: Sequence[Request[Outcome]]) -> list[Outcome]:
        """Several of `changes` in one transaction, all or none."""
        return self._writer.run(Together(requests))

    def role_grant(self, acting: Acting, right: str, claim: str) -> Outcome:
        """One more service-level right."""
        request = ChangeRoles(self._desk, acting, right, parse_claim(claim), revoke=False)
        return self._writer.run(request)

    def role_revoke(self, acting: Acting, right: str, claim: str) -> Outcome:
        """One service-level right less."""
        request = ChangeRoles(self._desk, acting, right, parse_claim(claim), revoke=True)
        return self._writer.run(request)

    def leave(
        self,
        acting: Acting,
        claim: Claim,
        applications: Callable[[], Sequence[str]],
        *,
        exposed: int,
        only_look: bool = False,
    ) -> LeavingOutcome:
        """Every role and right of a claim taken, in one transaction; see `usecases.leaving`.

        `applications` lists the IDs of all there are. With `only_look` it says what would be taken.
        """
        head = self._writer.catch_up()
        request = Leave(self._desk, acting, claim, applications(), head, exposed, only_look)
        return self._look(request.decide) if only_look else self._writer.run(request)

    def application(self, application: str) -> Application:
        """The application as it is; `no-such-application` if there is none."""
        return self._look(lambda view: self._desk.live_application(view, application))

    def canonical(self, claim: Claim) -> Claim:
        """The claim as it is compared and recorded; see `Issuers.canonical`."""
        if claim.issuer == LOCAL:
            return claim
        return self._look(self._desk.issuers).canonical(claim)

    def roles(self) -> Roles:
        """Who holds which service-level right."""
        return self._look(self._desk.roles)

    def require_all_opened(self) -> None:
        """`auditor-file-behind` for an auditor's keyring that lacks epochs and was let in."""
        if self._writer.refusal is not None:
            raise self._writer.refusal

    def key_history(self) -> KeyHistory:
        """Epochs and slots as the log tells them."""
        return self._look(self._desk.key_history)

    def allowed(
        self,
        acting: Acting,
        verb: Verb,
        application: Application | str | None = None,
        owner: Claim | None = None,
    ) -> bool:
        """Whether who acts may do this; nothing is appended."""

        def look(view: Transaction) -> bool:
            found = (
                self._desk.application(view, application)
                if isinstance(application, str)
                else application
            )
            return self._permits(view, acting, verb)(found, owner)

        return self._look(look)

    def allowed_among(
        self, acting: Acting, verb: Verb, applications: Sequence[str]
    ) -> frozenset[str]:
        """Those of these applications in which who acts may do this; nothing is appended."""

        def look(some: Sequence[str], view: Transaction) -> list[str]:
            permits = self._permits(view, acting, verb)
            return [one for one in some if permits(self._desk.application(view, one), None)]

        return self._in_pages(applications, look)

    def may_get(self, caller: Caller, application: str) -> bool:
        """Whether this caller would be let at values there, in a request that suits its kind.

        Whether there are any is not looked at, and nothing is appended: only a retrieval is one.
        """
        return bool(self.may_get_among(caller, (application,)))

    def may_get_among(self, caller: Caller, applications: Sequence[str]) -> frozenset[str]:
        """Those of these applications of which `may_get` is so."""

        def look(some: Sequence[str], view: Transaction) -> list[str]:
            roles, issuers = self._desk.roles(view), self._desk.issuers(view)

            def is_let(application: Application | None) -> bool:
                restricted = application is not None and application.restricted
                return decide_get(
                    application, roles, caller, restricted=restricted, issuers=issuers
                ).allowed

            return [one for one in some if is_let(self._desk.application(view, one))]

        return self._in_pages(applications, look)

    def set_credentials(
        self,
        acting: Acting,
        application: str,
        owner: Claim | None,
        values: Mapping[str, FieldValue],
    ) -> MappingOutcome:
        """New values for the owner, or for the group."""
        return self._writer.run(SetCredentials(self._desk, acting, application, owner, values))

    def check_credentials(
        self,
        acting: Acting,
        application: str,
        owner: Claim | None,
        values: Mapping[str, FieldValue],
    ) -> None:
        """Raise what `set_credentials` would; nothing is appended."""
        request = SetCredentials(self._desk, acting, application, owner, values, only_check=True)
        self._look(request.decide)

    def delete_credentials(
        self, acting: Acting, application: str, owner: Claim | None
    ) -> MappingOutcome:
        """Nothing is set any more."""
        return self._writer.run(DeleteCredentials(self._desk, acting, application, owner))

    def delete_all(
        self, acting: Acting, owner: Claim, applications: Sequence[str]
    ) -> list[MappingOutcome]:
        """One owner's credentials in all these applications, all or nothing."""
        return self._writer.run(DeleteAll(self._desk, acting, owner, applications))

    def retrieve(
        self,
        caller: Caller,
        application: str,
        *,
        restricted: bool = False,
        fields: Sequence[str] | None = None,
        reason: str = "",
    ) -> Retrieved:
        """The caller's credentials; recorded durably before they are opened.

        `access-denied` (with the record's position as reference) or `credentials-not-set`.
        """
        request = self._retrieval(caller, application, restricted, fields, reason)
        return self._opener.open(self._writer.run(request))

    async def retrieve_async(
        self,
        caller: Caller,
        application: str,
        *,
        restricted: bool = False,
        fields: Sequence[str] | None = None,
        reason: str = "",
    ) -> Retrieved:
        """The same for a coroutine; who is cancelled gets nothing, though a record may stand."""
        request = self._retrieval(caller, application, restricted, fields, reason)
        return self._opener.open(await self._writer.run_async(request))

    def receipt(self, position: int) -> InclusionProof:
        """That what was recorded at this position stands in the signed log; appends nothing.

        Made of a retrieval that was answered, it is what nobody can deny later. It holds no name,
        reason or value: what is in clear of the row, hashes and signatures.
        """
        return self._prover.inclusion(position)

    def check_batch(self, acting: Acting, items: Sequence[ImportItem]) -> list[LedgerError | None]:
        """For each mapping what keeps it from being imported; nothing is appended."""
        return self._look(CheckBatch(self._desk, acting, items).decide)

    def import_batch(self, acting: Acting, items: Sequence[ImportItem]) -> ImportOutcome:
        """Up to 500 mappings in one transaction."""
        return self._writer.run(ImportBatch(self._desk, acting, items))

    def record_query(
        self,
        acting: Acting,
        filter: str,  # noqa: A002 # the field's name
        rows: int,
    ) -> int:
        """Record that the history was read; the position."""

        def ask(transaction: Transaction) -> int:
            actor = self._desk.actor(transaction, acting)
            event = AuditQueried(filter, rows)
            if self._desk.unlocked.is_operator:
                return transaction.append_access(event, actor, acting.reason).position
            stream = self._desk.streams.audit(self._desk.unlocked.slot.signing_public_key)
            return transaction.append(stream, event, actor, acting.reason).position

        return self._writer.run(_Asking(ask))

    def record_review(self, acting: Acting, review: AuditReviewed) -> int:
        """Record that accesses were reviewed, in the unlocked slot's own stream; the position."""
        return self._writer.run(AuditorsOwnEvent(self._desk, acting, review))

    def add_slot(
        self,
        acting: Acting,
        *,
        label: str,
        opens: str,
        holding: Holding,
        auditor_file: Path | None = None,
        cost: Argon2Cost | None = None,
    ) -> SlotOutcome:
        """One more way to unlock."""
        return self._slots.add(
            acting,
            label=label,
            opens=opens,
            holding=holding,
            auditor_file=auditor_file,
            cost=cost or Argon2Cost(),
        )

    def remove_slot(
        self,
        acting: Acting,
        slot: int,
        *,
        mislaid: bool,
        without_backup: bool = False,
        progress: Progress | None = None,
    ) -> SlotRemoval:
        """One way to unlock less, and unless it was mislaid two epochs of keys further on.

        Killed on the way, the same call goes on with the rotations. So it does where the slot
        was mislaid until now, but then backups are asked for: no rotation has begun. And where none
        could begin (`values-lost`) and the key backup that was put back has the slot still.
        """
        history = self.key_history()
        self._slots.require_removable(slot, history)
        ended = history.removed_where.get(slot)
        left = ended is not None and not mislaid and history.is_left_after(ended, EPOCHS_PAST)
        cut_off = left and slot not in history.mislaid
        if not (mislaid or without_backup or cut_off):
            self._rotation.require_backups(acting)
        if ended is not None and left:
            if self._slots.is_in_file(slot):
                self._slots.remove(acting, slot)
            removal = SlotRemoval(slot, ended, recorded=True)
        else:
            removal = self._slots.remove(acting, slot, mislaid=mislaid)
        if mislaid:
            return removal
        rotated = self._rotation.run_past(acting, removal.position, progress)
        return replace(removal, rotated_to=rotated.epoch)

    def export_auditor(
        self, acting: Acting, slot: int, destination: Path, present: Path | None = None
    ) -> SlotOutcome:
        """An auditor's own keyring, written again; `present` is that auditor's file as it is."""
        return self._slots.export_auditor(acting, slot, destination, present)

    def change_passphrase(
        self, acting: Acting, old: Holding, new: Holding, cost: Argon2Cost | None = None
    ) -> SlotOutcome:
        """The unlocked slot opens with something else from now on."""
        return self._slots.change_passphrase(acting, old, new, cost or Argon2Cost())

    def rotate(
        self,
        acting: Acting,
        *,
        without_backup: bool = False,
        destroy_previous: bool = False,
        progress: Progress | None = None,
    ) -> RotationOutcome:
        """A new epoch of keys, and every live mapping sealed under it; see `usecases.rotation`.

        A rotation or destruction that was cut off is finished, and no other rotation started. What
        is finished of a destruction are the keys that its intent named; others go only if asked.
        """
        history = self.key_history()
        outcome = RotationOutcome(history.current - 1, history.current, 0)
        if history.is_rotating or not history.is_destroying:
            outcome = self._rotation.run(acting, without_backup=without_backup, progress=progress)
        if history.is_destroying:
            outcome = self._rotation.finish_destruction(acting, outcome)
        if destroy_previous:
            return self._rotation.destroy_previous(acting, outcome)
        return outcome

    def doomed(self) -> Doomed:
        """What `rotate` would destroy for good with `destroy_previous`, as the log stands."""
        return self._rotation.doomed()

    def records_access(self, period: int) -> bool:
        """Whether the keyring holds the key that access records of this month are sealed under."""
        history = self.key_history()
        first = history.first_periods[history.current]
        return any(
            keys.epoch == history.current and keys.seals_access(first, period)
            for keys in self._held.unlocked.epochs
        )

    def require_clock(self) -> None:
        """`clock-ahead` where the clock keeps this process from recording anything."""
        self._writer.clock_reading()

    def require_recording(self) -> None:
        """Raise what keeps every access from being recorded now, as far as is known without one.

        The errors of a look at the log, `clock-ahead`, `access-key-missing`.
        """
        self.head()
        recorded_at = max(self._writer.clock_reading(), self._writer.head.recorded_at)
        if not self.records_access(period_of(recorded_at)):
            raise no_access_key()

    def epoch_ahead(self) -> int:
        """The newest epoch held, if it is further ahead than a rotation leaves it; else 0."""
        return epoch_ahead(self._held.unlocked, self.key_history())

    def revived(self) -> tuple[SlotAdded, ...]:
        """Slots that live in the log and are not in the keyring that is unlocked."""
        ours = {slot.id for slot in self._held.unlocked.keyring.slots}
        return tuple(one for one in self.key_history().live() if one.slot not in ours)

    def key_set(self) -> KeySet:
        """Ciphers of the `state` and `access` keys that are held now."""
        return self._held.unlocked.key_set()

    def sealed_in_epoch(self) -> int:
        """How many events the current epoch's keys have sealed, at most: those since its start."""
        history = self.key_history()
        return self._writer.head.size - history.started_where.get(history.current, 0)

    def reach(self) -> int:
        """How many rows this process has checked."""
        return self._writer.head.size

    def catch_up(self) -> None:
        """Check whatever others appended; `rolled-back` where the log ends before that."""
        self._writer.catch_up()

    def newest_at(self) -> int:
        """When the newest row was recorded, microseconds UTC, as it was checked."""
        return self._writer.catch_up().recorded_at

    def head(self) -> CommitRow:
        """The newest commit, checked."""
        size = self._writer.catch_up().size  # others may record once the snapshot is taken
        with self._writer.store.reading() as reading:
            commit = reading.commit_at(size)
        if commit is None:
            raise Tampered("missing-commit", "The head that was checked is gone.")
        return commit

    def status(self) -> LedgerStatus:
        """The ledger at a glance."""
        history = self.key_history()
        head = self._writer.head
        unlocked = self._desk.unlocked
        return LedgerStatus(
            ledger_id=unlocked.ledger_id,
            position=head.size,
            root=head.frontier.root(),
            epoch=history.current,
            unlocked_by=f"{unlocked.slot.opens}:{unlocked.slot.id}/{unlocked.slot.label}",
            epochs=tuple(
                (
                    keys.epoch,
                    history.state_of(keys.epoch),
                    history.started_at.get(keys.epoch, 0),
                    keys.secret is not None,
                )
                for keys in self._held.unlocked.epochs
            ),
            slots=tuple(
                (slot.slot, slot.label, slot.kind, slot.opens, history.added_at[slot.slot])
                for slot in history.live()
            ),
            clock_behind_us=max(0, head.recorded_at - self._clock()),
        )

    def _retrieval(
        self,
        caller: Caller,
        application: str,
        restricted: bool,
        fields: Sequence[str] | None,
        reason: str,
    ) -> Retrieve:
        asked = asked_for(caller, application, restricted, fields)
        return Retrieve(self._desk, asked, checked_reason(reason))

    def _permits(
        self, view: Transaction, acting: Acting, verb: Verb
    ) -> Callable[[Application | None, Claim | None], bool]:
        """Whether who acts may do this in an application, to an owner's mapping there."""
        caller = acting.caller
        # Rights are somebody's; whoever acts for nobody may have a keyring that is behind them.
        roles = NO_ROLES if caller is None else self._desk.roles(view)
        issuers = NO_ISSUERS if caller is None else self._desk.issuers(view)

        def permits(application: Application | None, owner: Claim | None) -> bool:
            return decide(verb, application, roles, caller, owner=owner, issuers=issuers).allowed

        return permits

    def _in_pages(
        self,
        applications: Sequence[str],
        look: Callable[[Sequence[str], Transaction], list[str]],
    ) -> frozenset[str]:
        """What it finds of all of these, many at a look, so that none of those lasts."""
        found: set[str] = set()
        for begin in range(0, len(applications), _TOGETHER):
            some = applications[begin : begin + _TOGETHER]
            found.update(self._look(partial(look, some)))
        return frozenset(found)

    def _look(self, look: Callable[[Transaction], T]) -> T:
        """Read through a transaction that is never written."""
        return self._writer.look(look)


class _Asking(msgspec.Struct, frozen=True):
    """A request made of one function."""

    ask: Callable[[Transaction], int]

    def decide(self, transaction: Transaction) -> int:
        return self.ask(transaction)
