"""Changing who may unlock: keyring file and log together, the file first, under the file's lock.

Killed in between, file and log differ, and the log decides. A slot in the file that the log does
not know, or calls removed, neither unlocks nor signs nor stands in the way of another. Because the
lock is held until the log has answered, such a slot is nobody's work in progress: the next change
by an operator takes it out of the file, under a new root. A slot that the log knows and the file
has lost to a killed removal is removed again.

    lock ─▶ file and log as they are ─▶ drop what the log does not know ─▶ write ─▶ append ─▶ unlock

What the log refuses is taken back from the file. Where its answer did not come (`Unavailable`) the
file stays, as after a kill.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.aggregates.event import Event
from ledger.aggregates.keys import (
    AuditorExported,
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
    Unavailable,
)
from ledger.log.rows import BEGIN, END
from ledger.log.transaction import Request, Transaction
from ledger.log.writer import Writer
from ledger.sealing.keyring import Keyring, UnlockedKeyring
from ledger.sealing.keyring_file import (
    KeyringFile,
    changing,
    create_keyring_file,
    read_keyring,
    require_free,
)
from ledger.sealing.slots import Argon2Cost, Holding
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.founding import slot_added
from ledger.usecases.outcomes import SlotOutcome


@dataclass(frozen=True, slots=True)
class KeyringEvent:
    """One fact about slots, with a signer that begins or ends by it."""

    desk: Desk
    acting: Acting
    event: Event
    signer: tuple[bytes, str, str] | None = None

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position."""
        history = self.desk.key_history(transaction)
        if isinstance(self.event, SlotAdded) and self.event.slot in history.slots:
            raise _number_taken()
        if isinstance(self.event, AuditorExported) and not history.is_live(self.event.slot):
            raise Conflict("slot-removed-already", "The slot was removed before.")
        if self.signer is not None:
            transaction.add_signer(*self.signer)
        return transaction.append(
            self.desk.streams.keyring(),
            self.event,
            self.desk.actor(self.acting),
            self.acting.reason,
        ).position


@dataclass(frozen=True, slots=True)
class EndSlot:
    """The end of a slot and of its signing key, both as the log knows them."""

    desk: Desk
    acting: Acting
    slot: int

    def decide(self, transaction: Transaction) -> int:
        """Append it; `no-such-slot` or `slot-removed-already` where there is nothing to end."""
        known = self.require_live(self.desk.key_history(transaction))
        transaction.add_signer(known.signing_key, known.opens, END)
        return transaction.append(
            self.desk.streams.keyring(),
            SlotRemoved(self.slot),
            self.desk.actor(self.acting),
            self.acting.reason,
        ).position

    def require_live(self, history: KeyHistory) -> SlotAdded:
        """The slot as it was added, if it is live; errors as `decide`."""
        known = history.slots.get(self.slot)
        if known is None:
            raise NotFound(
                "no-such-slot",
                "There is no slot of this number.",
                hint="`credledger key slot list` shows the slots.",
            )
        if self.slot in history.removed:
            raise Conflict("slot-removed-already", "The slot was removed before.")
        return known


@dataclass(frozen=True, slots=True)
class SlotRemoval(SlotOutcome):
    """A slot that is gone from the file, and from the log if it was there."""

    recorded: bool
    """False where the log had nothing to end: it never knew the slot, or ended it before."""


class SlotKeeper:
    """The slots of one ledger's keyring."""

    def __init__(self, desk: Desk, writer: Writer, path: Path, clock: Callable[[], int]) -> None:
        self._desk = desk
        self._writer = writer
        self._path = path
        self._clock = clock
        self._unlocked = desk.unlocked

    def add(
        self,
        acting: Acting,
        *,
        label: str,
        opens: str,
        holding: Holding,
        auditor_file: Path | None,
        cost: Argon2Cost,
    ) -> SlotOutcome:
        """One more slot; an auditor's own keyring is written to `auditor_file`."""
        if auditor_file is not None:
            require_free(auditor_file)

        with self._changing() as (file, history):
            held = self._known(file.held, history)
            _require_newest(held.keyring, history)
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
                self._desk, acting, slot_added(slot), (slot.signing_public_key, opens, BEGIN)
            )
            position = self._write(file, keyring, held.root, event)
        if exported is not None and auditor_file is not None:
            _hand_over(auditor_file, exported)
        return SlotOutcome(slot.id, position)

    def remove(self, acting: Acting, slot_id: int, *, mislaid: bool) -> SlotRemoval:
        """End a slot; only as mislaid, because nothing is rotated.

        Finishes a removal that was cut off, and takes away a slot that was never recorded.
        """
        if slot_id == self._desk.unlocked.slot.id:
            raise Refused(
                "own-slot", "A slot cannot remove itself.", hint="Unlock with another slot."
            )
        if not mislaid:
            raise Refused(
                "rotation-needed",
                "Removing a slot that somebody may still use needs new keys.",
                hint="With --mislaid it is removed without; its holder could still read"
                " an old copy, so change those passwords at their back ends.",
            )

        end = EndSlot(self._desk, acting, slot_id)
        with self._changing() as (file, history):
            if all(slot.id != slot_id for slot in file.held.keyring.slots):
                end.require_live(history)
            held = self._known(file.held, history)
            keyring, root = held.keyring, held.root
            if any(slot.id == slot_id for slot in keyring.slots):
                keyring, root = held.remove_slot(slot_id, self._desk.random)
            recorded = history.is_live(slot_id)
            position = self._write(file, keyring, root, end if recorded else None)
        return SlotRemoval(slot_id, position, recorded)

    def export_auditor(self, acting: Acting, slot_id: int, destination: Path) -> SlotOutcome:
        """Write an auditor's own keyring again, without the auditor's passphrase.

        It is recorded first: whoever holds the file reads the history, and that is never unseen.
        """
        require_free(destination)
        unlocked = read_keyring(self._path).opened_by(self._unlocked)
        exported = unlocked.export_auditor(slot_id, self._desk.random)
        event = KeyringEvent(self._desk, acting, AuditorExported(slot_id))
        position = self._writer.run(event)
        _hand_over(destination, exported)
        return SlotOutcome(slot_id, position)

    def change_passphrase(
        self, acting: Acting, old: Holding, new: Holding, cost: Argon2Cost
    ) -> SlotOutcome:
        """Seal the unlocked slot's private half anew."""
        with self._changing() as (file, history):
            held = self._known(file.held, history)
            keyring = held.change_holding(old, new, random=self._desk.random, cost=cost)
            event = None
            if held.is_operator:
                event = KeyringEvent(self._desk, acting, PassphraseChanged(held.slot.id))
            position = self._write(file, keyring, held.root, event)
        return SlotOutcome(held.slot.id, position)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[KeyringFile, KeyHistory]]:
        """The file under its lock, and what the log, checked to its head, says meanwhile."""
        with changing(self._path, self._unlocked) as file:
            yield file, self._writer.look(self._desk.key_history)

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
            self._unlocked = file.held
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
                    self._unlocked = file.held
            raise


def _require_newest(keyring: Keyring, history: KeyHistory) -> None:
    """`slot-number-taken` where another host has added slots that this file does not have."""
    others = any(
        slot.id in history.slots and history.slots[slot.id].signing_key != slot.signing_public_key
        for slot in keyring.slots
    )
    if others or keyring.next_slot <= max(history.slots):
        raise _number_taken()


def _number_taken() -> Conflict:
    return Conflict(
        "slot-number-taken",
        "Another host has given this number to a slot of its own.",
        hint="Copy the newer keyring from that host, then add the slot again.",
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
