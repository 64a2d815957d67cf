"""Recovery shares: a slot that no single person opens, for the day when nobody can unlock.

    create:   private half ─▶ k of n shares ─▶ slot added with its public half ─▶ recorded ─▶ shown
    restore:  k shares ─▶ unlock ─▶ another slot added, with a passphrase or key file ─▶ recorded

The words are given out once the slot is recorded, and are kept nowhere. If that answer is lost, the
slot opens nothing for anybody: it is removed and made again. Restoring takes nothing from the
shares; whoever has seen them together can use them again, so afterwards a new set is made and the
slot of the old one removed.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.recovery_shares import (
    ShareHistory,
    SharesCreated,
    SharesRestored,
    fold_shares,
)
from ledger.errors import KeyUnavailable
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.confidential import Confidential
from ledger.sealing.epochs import KEY_BYTES
from ledger.sealing.shares import Scheme, split
from ledger.sealing.slots import OPERATOR, SHARES, Argon2Cost, Holding, shares_of
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.outcomes import SlotOutcome
from ledger.usecases.slots import SlotKeeper


class SharesMade(Confidential, msgspec.Struct, frozen=True):
    """A new slot of recovery shares, and the only copy of their words."""

    SHOWN: ClassVar = ("slot", "label", "scheme", "position")

    slot: int
    label: str
    scheme: Scheme
    position: int
    words: tuple[str, ...]
    """The words of each share."""


class SharesUnlocked(msgspec.Struct, frozen=True):
    """The slot that recovery shares have opened."""

    slot: int
    label: str
    threshold: int
    count: int


class RecoveryShares:
    """The recovery shares of one ledger."""

    def __init__(self, desk: Desk, writer: Writer, slots: SlotKeeper) -> None:
        self._desk = desk
        self._writer = writer
        self._slots = slots

    def history(self) -> ShareHistory:
        """The schemes of all slots of recovery shares."""
        return self._writer.look(lambda view: share_history(self._desk, view))

    def create(self, acting: Acting, scheme: Scheme, label: str) -> SharesMade:
        """A new slot that any `threshold` of the shares open; errors as for other slots."""
        private_key = self._desk.random(KEY_BYTES)
        words = split(private_key, scheme)
        outcome = self._slots.add(
            acting,
            label=label,
            opens=OPERATOR,
            holding=shares_of(private_key),
            auditor_file=None,
            cost=Argon2Cost(),
            also=lambda slot: SharesCreated(slot.id, scheme.threshold, scheme.count),
        )
        return SharesMade(outcome.slot, label, scheme, outcome.position, words)

    def unlocked(self) -> SharesUnlocked:
        """The slot of recovery shares that is unlocked."""
        slot = self._require_unlocked()
        threshold, count = self.history().schemes[slot]
        return SharesUnlocked(slot, self._desk.unlocked.slot.label, threshold, count)

    def restore(
        self, acting: Acting, *, label: str, holding: Holding, cost: Argon2Cost
    ) -> SlotOutcome:
        """One more operator's slot, for whoever unlocked with shares."""
        slot = self._require_unlocked()
        return self._slots.add(
            acting,
            label=label,
            opens=OPERATOR,
            holding=holding,
            auditor_file=None,
            cost=cost,
            also=lambda added: SharesRestored(slot, added.id),
            recovering=True,
        )

    def _require_unlocked(self) -> int:
        slot = self._desk.unlocked.slot
        if slot.kind != SHARES:
            raise KeyUnavailable("wrong-shares", "It was not recovery shares that unlocked.")
        return slot.id


def share_history(desk: Desk, view: Transaction) -> ShareHistory:
    """All recovery shares, as a transaction sees them."""
    return view.load(desk.streams.keyring(), fold_shares) or ShareHistory()
