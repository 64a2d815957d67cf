"""Changing who may unlock: keyring file and log together, the file first, under the file's lock.

Killed in between, file and log differ, and the log decides. A slot in the file that the log does
not know, or calls removed, neither unlocks nor signs nor stands in the way of another. Because the
lock is held until the log has answered, such a slot is nobody's work in progress: the next change
by an operator takes it out of the file, under a new root. A slot that the log knows and the file
has lost to a killed removal is removed again.

    lock ─▶ file and log as they are ─▶ drop what the log does not know ─▶ write ─▶ append ─▶ unlock

What the log refuses is taken back from the file. Where its answer did not come (`Unavailable`) the
file stays, as after a kill.

Hosts have copies of the file, and the newest is copied to the others. So that there is a newest, an
operator changes slots and passphrases only in a file that holds the epoch after the current one:
else one file had the newer slots and another the newer keys, and whichever was copied, something
was lost. Recovery shares add a slot to any file, because nobody could unlock a better one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ledger.aggregates.event import Event
from ledger.aggregates.keys import (
    AuditorExported,
    AuditorPassphraseChanged,
    KeyHistory,
    PassphraseChanged,
    SlotAdded,
    SlotRemoved,
)
from ledger.errors import (
    Conflict,
    KeyUnavailable,
    LedgerError,
    NotFound,
    Refused,
    Tampered,
    Unavailable,
)
from ledger.log.rows import BEGIN, END, LogRow
from ledger.log.transaction import Request, Transaction
from ledger.log.writer import Writer
from ledger.sealing.auditors_keyring import auditors_slot, export_auditor, with_auditors_half
from ledger.sealing.keyring import Keyring, UnlockedKeyring
from ledger.sealing.keyring_file import (
    KeyringFile,
    create_keyring_file,
    read_keyring,
    require_free,
)
from ledger.sealing.slots import PASSPHRASE, Argon2Cost, Holding, Slot
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.founding import slot_added
from ledger.usecases.held_keys import HeldKeys, holds_next
from ledger.usecases.outcomes import SlotOutcome

_PAGE_ROWS = 500


class KeyringEvent(msgspec.Struct, frozen=True):
    """One fact about slots, with a signer that begins or ends by it."""

    desk: Desk
    acting: Acting
    event: Event
    signer: tuple[bytes, str, str] | None = None
    also: Event | None = None
    """A second fact that is recorded with the first, or not at all."""

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position of the last."""
        history = self.desk.key_history(transaction)
        if isinstance(self.event, SlotAdded) and self.event.slot in history.slots:
            raise _number_taken()
        if isinstance(self.event, AuditorExported) and not history.is_live(self.event.slot):
            raise Conflict("slot-removed-already", "The slot was removed before.")
        if self.signer is not None:
            transaction.add_signer(*self.signer)
        stream, actor = self.desk.streams.keyring(), self.desk.actor(transaction, self.acting)
        position = transaction.append(stream, self.event, actor, self.acting.reason).position
        if self.also is not None:
            position = transaction.append(stream, self.also, actor, self.acting.reason).position
        return position


class EndSlot(msgspec.Struct, frozen=True):
    """The end of a slot and of its signing key, both as the log knows them."""

    desk: Desk
    acting: Acting
    slot: int
    mislaid: bool

    def decide(self, transaction: Transaction) -> int:
        """Append it; `no-such-slot` or `slot-removed-already` where there is nothing to end."""
        known = require_live_slot(self.desk.key_history(transaction), self.slot)
        transaction.add_signer(known.signing_key, known.opens, END)
        return transaction.append(
            self.desk.streams.keyring(),
            SlotRemoved(self.slot, self.mislaid),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        ).position


class AuditorsOwnEvent(msgspec.Struct, frozen=True):
    """One fact that an auditor may record, and an operator too: on the key's own stream."""

    desk: Desk
    acting: Acting
    event: Event

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position."""
        stream = self.desk.streams.audit(self.desk.unlocked.slot.signing_public_key)
        return transaction.append(
            stream, self.event, self.desk.actor(transaction, self.acting), self.acting.reason
        ).position


ERASED_HALF = b""
"""Stands for a half that was changed to in a record which is erased: equal to no other."""


class Halves(msgspec.Struct, frozen=True):
    """The sealed private halves of one auditor that are known, as digests."""

    newest: bytes | None
    """What was last exported or changed to; None where neither was ever recorded."""
    older: frozenset[bytes]

    def require_newest(self, half: bytes) -> None:
        """`auditor-passphrase-changed` where the log knows a newer one."""
        if self.newest is not None and half != self.newest:
            raise Conflict(
                "auditor-passphrase-changed",
                "The auditor changed the passphrase; this keyring has the older one only.",
                hint="Give the auditor's present file with --from; nothing was changed.",
            )

    def require_not_older(self, half: bytes) -> None:
        """`auditor-file-older` for a half that the log knows to be replaced.

        One that it does not know is from a change that was cut off before its record.
        """
        if half in self.older and self.newest is not None:
            raise Conflict(
                "auditor-file-older",
                "The file is from before the auditor's last change of passphrase.",
                hint="Give the auditor's present file with --from; nothing was changed.",
            )


class SlotRemoval(SlotOutcome, frozen=True):
    """A slot that is gone from the file, and from the log if it was there."""

    recorded: bool
    """False where the log had nothing to end: it never knew the slot, or ended it before."""
    rotated_to: int | None = None
    """The epoch that is current after the rotations that followed."""


class SlotKeeper:
    """The slots of one ledger's keyring."""

    def __init__(
        self, desk: Desk, writer: Writer, held: HeldKeys, clock: Callable[[], int]
    ) -> None:
        self._desk = desk
        self._writer = writer
        self._held = held
        self._clock = clock

    def add(
        self,
        acting: Acting,
        *,
        label: str,
        opens: str,
        holding: Holding,
        auditor_file: Path | None,
        cost: Argon2Cost,
        also: Callable[[Slot], Event] | None = None,
        recovering: bool = False,
    ) -> SlotOutcome:
        """One more slot; an auditor's own keyring is written to `auditor_file`.

        `also` makes a second fact of the new slot, recorded in the same transaction. Its number is
        the next one that neither file nor log has given. `keyring-not-newest`, `slot-number-taken`
        where the keyring is behind, unless it is `recovering`.
        """
        if auditor_file is not None:
            require_free(auditor_file)

        with self._changing() as (file, history):
            if not recovering:
                require_next_epoch(file.held, history)
            held = self._known(file.held, history)
            if not recovering:
                _require_all_slots(held.keyring, history)
            held = _numbered(held, history)
            if any(slot.label == label for slot in history.live()):
                raise Conflict("slot-exists", "A slot of this label is there already.")
            keyring, slot, exported = held.add_slot(
                label,
                opens,
                holding,
                created_at=self._clock(),
                random=self._desk.random,
                cost=cost,
            )
            event = KeyringEvent(
                self._desk,
                acting,
                slot_added(slot),
                (slot.signing_public_key, opens, BEGIN),
                None if also is None else also(slot),
            )
            position = self._write(file, keyring, held.root, event)
        if exported is not None and auditor_file is not None:
            _hand_over(auditor_file, exported)
        return SlotOutcome(slot.id, position)

    def require_removable(self, slot_id: int, history: KeyHistory) -> None:
        """`own-slot`, and `no-such-slot` for one that neither log nor file has ever had."""
        if slot_id == self._desk.unlocked.slot.id:
            raise Refused(
                "own-slot", "A slot cannot remove itself.", hint="Unlock with another slot."
            )
        in_file = {slot.id for slot in self._held.unlocked.keyring.slots}
        if slot_id not in in_file | history.slots.keys():
            require_live_slot(history, slot_id)

    def is_in_file(self, slot_id: int) -> bool:
        """Whether the keyring's file has the slot, as it was last read."""
        return any(slot.id == slot_id for slot in self._held.unlocked.keyring.slots)

    def remove(self, acting: Acting, slot_id: int, *, mislaid: bool = False) -> SlotRemoval:
        """End a slot; keys are rotated by whoever asks for this, unless it was `mislaid`.

        Finishes a removal that was cut off, and takes away a slot that was never recorded.
        """
        end = EndSlot(self._desk, acting, slot_id, mislaid)
        with self._changing() as (file, history):
            self.require_removable(slot_id, history)
            require_next_epoch(file.held, history)
            if all(slot.id != slot_id for slot in file.held.keyring.slots):
                require_live_slot(history, slot_id)
            held = self._known(file.held, history)
            keyring, root = held.keyring, held.root
            if any(slot.id == slot_id for slot in keyring.slots):
                keyring, root = held.remove_slot(slot_id, self._desk.random)
            recorded = history.is_live(slot_id)
            position = self._write(file, keyring, root, end if recorded else None)
        return SlotRemoval(slot_id, position, recorded)

    def export_auditor(
        self, acting: Acting, slot_id: int, destination: Path, present: Path | None
    ) -> SlotOutcome:
        """Write an auditor's own keyring again, without the auditor's passphrase.

        `present` is the auditor's file as it is: after a change of passphrase only that file has
        the newest sealed private half (`auditor-passphrase-changed` without it). It is recorded
        first: whoever holds the file reads the history, and that is never unseen.
        """
        require_free(destination)
        theirs = None if present is None else read_keyring(present)
        with self._changing() as (file, history):
            held = self._known(file.held, history)
            require_live_slot(history, slot_id)
            kept = auditors_slot(held, slot_id)
            generation = held.keyring.generation
            halves = self._halves(history, kept)
            if theirs is None:
                halves.require_newest(kept.half())
            else:
                held = with_auditors_half(held, slot_id, theirs)
                halves.require_not_older(auditors_slot(held, slot_id).half())
                generation = max(generation, theirs.generation)
            exported = export_auditor(held, slot_id, self._desk.random, generation + 1)
            event = AuditorExported(slot_id, exported.slots[0].half())
            keyring = held.keyring.bumped(held.root, generation)
            position = self._write(
                file, keyring, held.root, KeyringEvent(self._desk, acting, event)
            )
        _hand_over(destination, exported)
        return SlotOutcome(slot_id, position)

    def change_passphrase(
        self, acting: Acting, old: Holding, new: Holding, cost: Argon2Cost
    ) -> SlotOutcome:
        """Seal the unlocked slot's private half anew; an auditor's in the auditor's own file."""
        require_passphrase(old)
        with self._changing() as (file, history):
            if file.held.is_operator:
                require_next_epoch(file.held, history)
            held = self._known(file.held, history)
            keyring = held.change_holding(old, new, random=self._desk.random, cost=cost)
            event: Request[int] = KeyringEvent(self._desk, acting, PassphraseChanged(held.slot.id))
            if not held.is_operator:
                after = next(slot for slot in keyring.slots if slot.id == held.slot.id)
                changed = AuditorPassphraseChanged(held.slot.id, held.slot.half(), after.half())
                event = AuditorsOwnEvent(self._desk, acting, changed)
            position = self._write(file, keyring, held.root, event)
        return SlotOutcome(held.slot.id, position)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[KeyringFile, KeyHistory]]:
        """The file under its lock, and what the log, checked to its head, says meanwhile."""
        with self._held.changing(lambda: self._writer.look(self._desk.key_history)) as changing:
            yield changing

    def _halves(self, history: KeyHistory, slot: Slot) -> Halves:
        """What the log tells of an auditor's sealed private halves, the auditor's stream included.

        The whole stream is read in pages, because only here it matters.
        """
        facts = [history.exported[slot.id]] if slot.id in history.exported else []
        older = {slot.half(), *(half for _, half in facts)}
        stream = self._desk.streams.audit(slot.signing_public_key)
        version = 0
        while rows := self._stream_page(stream, version):
            for row in rows:
                version += 1
                if row.version != version:
                    raise Tampered("stream-gap", "A stream lacks an event.", position=row.position)
                if row.topic == AuditorPassphraseChanged.TOPIC:
                    changed = self._changed(row)
                    if changed is None:
                        facts.append((row.position, ERASED_HALF))
                        continue
                    facts.append((row.position, changed.after))
                    older |= {changed.before, changed.after}
        newest = max(facts)[1] if facts else None
        return Halves(newest, frozenset(older - {newest}))

    def _changed(self, row: LogRow) -> AuditorPassphraseChanged | None:
        """An auditor's change of passphrase; None where its record was erased."""
        try:
            changed = self._desk.mapper.open(row).event
        except KeyUnavailable as error:
            if error.code != "key-destroyed":
                raise
            return None
        assert isinstance(changed, AuditorPassphraseChanged)
        return changed

    def _stream_page(self, stream: bytes, after_version: int) -> list[LogRow]:
        with self._writer.store.reading() as reading:
            return reading.stream_rows(stream, after_version, _PAGE_ROWS)

    def _known(self, held: UnlockedKeyring, history: KeyHistory) -> UnlockedKeyring:
        """An operator's keyring without the slots that the log does not call live."""
        unknown = {slot.id for slot in held.keyring.slots if not history.is_live(slot.id)}
        if held.slot.id in unknown:
            raise KeyUnavailable("slot-removed", "The slot that is unlocked was removed.")
        if not unknown or not held.is_operator:
            return held
        return held.without_slots(unknown, self._desk.random)

    def _write(
        self, file: KeyringFile, keyring: Keyring, root: bytes, request: Request[int] | None
    ) -> int:
        """File, then log; the position of the record, or of the head where there is none."""
        before = file.held
        if keyring is not before.keyring:
            file.write(keyring, root)
        if request is None:
            return self._writer.head.size
        try:
            return self._writer.run(request)
        except Unavailable:
            raise
        except LedgerError:
            if file.held is not before:
                with contextlib.suppress(Unavailable):
                    file.write(before.keyring, before.root)
            raise


def require_live_slot(history: KeyHistory, slot: int) -> SlotAdded:
    """The slot as it was added; `no-such-slot`, `slot-removed-already`."""
    known = history.slots.get(slot)
    if known is None:
        raise NotFound(
            "no-such-slot",
            "There is no slot of this number.",
            hint="`credledger key slot list` shows the slots.",
        )
    if slot in history.removed:
        raise Conflict("slot-removed-already", "The slot was removed before.")
    return known


def require_next_epoch(held: UnlockedKeyring, history: KeyHistory) -> None:
    """`keyring-not-newest` where the epoch that the next rotation starts is not held."""
    if not holds_next(held, history):
        raise KeyUnavailable(
            "keyring-not-newest",
            f"This keyring lacks epoch {history.current + 1}, which another host holds ready: slots and"
            " passphrases are changed in the newest keyring only.",
            hint="Copy the keyring from the host that rotated last, then run it again here; if it"
            " is lost, run `credledger key replace-next` first. Nothing was changed.",
        )


def require_passphrase(holding: Holding) -> None:
    """`no-passphrase` for a slot that something else unlocks: that would open nothing any more."""
    if holding.kind != PASSPHRASE:
        raise Conflict(
            "no-passphrase",
            "The slot is not unlocked by a passphrase, so it has none to change.",
            hint="Add a slot with `credledger key slot add passphrase`, and remove the other one.",
        )


def _require_all_slots(keyring: Keyring, history: KeyHistory) -> None:
    """`slot-number-taken` where another host has added slots that this file does not have."""
    others = any(
        slot.id in history.slots and history.slots[slot.id].signing_key != slot.signing_public_key
        for slot in keyring.slots
    )
    if others or any(slot.slot >= keyring.next_slot for slot in history.live()):
        raise _number_taken()


def _numbered(held: UnlockedKeyring, history: KeyHistory) -> UnlockedKeyring:
    """The same, giving no number to a new slot that the log has given."""
    following = max(history.slots) + 1
    if held.keyring.next_slot >= following:
        return held
    return held.numbering_from(following, held.keyring.generation + 1)


def _number_taken() -> Conflict:
    return Conflict(
        "slot-number-taken",
        "Another host has given this number to a slot of its own.",
        hint="Copy the newer keyring from that host, or end that slot with `credledger key slot"
        " remove NUMBER --mislaid`; then add the slot again.",
    )


def _hand_over(place: Path, exported: Keyring) -> None:
    """Write an auditor's file of which the log knows already."""
    try:
        create_keyring_file(place, exported)
    except LedgerError as error:
        number = exported.slots[0].id
        raise Unavailable(
            "auditor-file-not-written",
            "It is recorded, but the auditor's own keyring could not be written.",
            hint=f"Write it with `credledger key slot export-auditor {number} FILE`.",
        ) from error
