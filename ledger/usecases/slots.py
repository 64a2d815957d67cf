"""Changing who may unlock: keyring file and log together, the file first.

Killed in between, a slot stands in the file that the log does not know: it can neither sign nor
unlock, and adding or removing it again mends that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ledger.aggregates.event import Event
from ledger.aggregates.keys import AuditorExported, PassphraseChanged, SlotAdded, SlotRemoved
from ledger.errors import Conflict, NotFound, Refused
from ledger.log.rows import BEGIN, END
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.keyring import Keyring, UnlockedKeyring
from ledger.sealing.keyring_file import (
    create_keyring_file,
    read_keyring,
    require_free,
    update_keyring_file,
)
from ledger.sealing.slots import AUDITOR, Argon2Cost, Holding, Slot
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.founding import slot_added
from ledger.usecases.outcomes import SlotOutcome

T = TypeVar("T")


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
            raise Conflict(
                "slot-number-taken",
                "Another host has given this number to a slot of its own.",
                hint="Copy the newer keyring from that host, then add the slot again.",
            )
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
        history = self.desk.key_history(transaction)
        known = history.slots.get(self.slot)
        if known is None:
            raise NotFound("no-such-slot", "The log knows no slot of this number.")
        if self.slot in history.removed:
            raise Conflict("slot-removed-already", "The slot was removed before.")
        transaction.add_signer(known.signing_key, known.opens, END)
        return transaction.append(
            self.desk.streams.keyring(),
            SlotRemoved(self.slot),
            self.desk.actor(self.acting),
            self.acting.reason,
        ).position


class SlotKeeper:
    """The slots of one ledger's keyring."""

    def __init__(self, desk: Desk, writer: Writer, path: Path, clock: Callable[[], int]) -> None:
        self._desk = desk
        self._writer = writer
        self._path = path
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
    ) -> SlotOutcome:
        """One more slot; an auditor's own keyring is written to `auditor_file`."""
        if auditor_file is not None:
            require_free(auditor_file)

        def change(
            _: Keyring, unlocked: UnlockedKeyring
        ) -> tuple[Keyring, bytes, tuple[Slot, Keyring | None]]:
            keyring, slot, exported = unlocked.add_slot(
                label,
                opens,
                holding,
                created_at=self._clock(),
                random=self._desk.random,
                cost=cost,
            )
            return keyring, unlocked.root, (slot, exported)

        slot, exported = self._update(change)
        event = KeyringEvent(
            self._desk, acting, slot_added(slot), (slot.signing_public_key, opens, BEGIN)
        )
        position = self._writer.run(event)
        if exported is not None and auditor_file is not None:
            create_keyring_file(auditor_file, exported)
        return SlotOutcome(slot.id, position)

    def remove(self, acting: Acting, slot_id: int, *, mislaid: bool) -> SlotOutcome:
        """End a slot; only as mislaid, because nothing is rotated."""
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

        def change(found: Keyring, unlocked: UnlockedKeyring) -> tuple[Keyring, bytes, None]:
            if all(slot.id != slot_id for slot in found.slots):
                return found, unlocked.root, None  # an earlier removal got as far as the file
            keyring, root = unlocked.remove_slot(slot_id, self._desk.random)
            return keyring, root, None

        self._update(change)
        return SlotOutcome(slot_id, self._writer.run(EndSlot(self._desk, acting, slot_id)))

    def export_auditor(self, acting: Acting, slot_id: int, destination: Path) -> SlotOutcome:
        """Write an auditor's own keyring again, without the auditor's passphrase.

        It is recorded first: whoever holds the file reads the history, and that is never unseen.
        """
        require_free(destination)
        unlocked = read_keyring(self._path).opened_by(self._desk.unlocked)
        exported = unlocked.export_auditor(slot_id, self._desk.random)
        event = KeyringEvent(self._desk, acting, AuditorExported(slot_id))
        position = self._writer.run(event)
        create_keyring_file(destination, exported)
        return SlotOutcome(slot_id, position)

    def change_passphrase(
        self, acting: Acting, old: Holding, new: Holding, cost: Argon2Cost
    ) -> SlotOutcome:
        """Seal the unlocked slot's private half anew."""
        slot = self._desk.unlocked.slot

        def change(_: Keyring, unlocked: UnlockedKeyring) -> tuple[Keyring, bytes, None]:
            changed = unlocked.change_holding(old, new, random=self._desk.random, cost=cost)
            return changed, unlocked.root, None

        self._update(change)
        position = 0
        if slot.opens != AUDITOR:
            event = KeyringEvent(self._desk, acting, PassphraseChanged(slot.id))
            position = self._writer.run(event)
        return SlotOutcome(slot.id, position)

    def _update(self, change: Callable[[Keyring, UnlockedKeyring], tuple[Keyring, bytes, T]]) -> T:
        def on_file(found: UnlockedKeyring) -> tuple[Keyring, bytes, T]:
            return change(found.keyring, found)

        return update_keyring_file(self._path, self._desk.unlocked, on_file)
