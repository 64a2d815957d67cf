"""Key backups, as the keyring's stream tells them: which were made, and which still hold what.

A backup *stands* from its record on, until an operator attests that it was destroyed or replaced.
The ledger cannot see it any more; what is asked here is answered by what was recorded.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import msgspec

from ledger.aggregates.event import UPCASTERS, Event, event
from ledger.aggregates.keys import (
    EpochReplaced,
    EpochStarted,
    PassphraseChanged,
    SlotAdded,
    SlotRemoved,
)
from ledger.aggregates.recorded import Recorded
from ledger.replacing import replace
from ledger.sealing.slots import OPERATOR


@event
class KeyBackedUp(Event, frozen=True, tag=2):
    """A copy of the keyring was written, read back and found to be the same."""

    TOPIC: ClassVar[str] = "key.backed-up"
    path: str
    """Where it was written, on the host of who acted."""
    digest: bytes
    """SHA-256 of the file."""
    epochs: tuple[tuple[int, bool], ...]
    """(epoch, whether its `secret` key is in it), rising."""
    generation: int
    """Of the keyring that was copied."""
    slots: tuple[int, ...] | None
    """Live operators' slots that are in it; None in events of schema 1."""


UPCASTERS[KeyBackedUp.TOPIC] = (lambda stored: {**stored, "slots": None},)


@event
class KeyBackupReplaced(Event, frozen=True):
    """An operator attested that a key backup was destroyed, or replaced by another."""

    TOPIC: ClassVar[str] = "key.backup-replaced"
    backup: int
    """The position at which it was recorded."""


@event
class KeyRestored(Event, frozen=True):
    """A key backup was put in the keyring's place."""

    TOPIC: ClassVar[str] = "key.restored"
    path: str
    """Where the backup was read from."""
    digest: bytes
    """SHA-256 of the backup."""
    kept: str
    """What the file that was there before is called now; empty where there was none."""


class KeyBackup(msgspec.Struct, frozen=True):
    """One recorded key backup."""

    position: int
    recorded_at: int
    """Microseconds UTC."""
    by: str
    """Who made it, and on which host: `operator:2/alice@host`."""
    path: str
    digest: bytes
    epochs: tuple[tuple[int, bool], ...]
    """(epoch, whether its `secret` key is in it), rising."""
    slots: tuple[int, ...]
    """Operators' slots that open it; of one recorded without them, only that of who made it."""
    replaced_at: int | None = None
    """The position at which its end was attested."""

    @property
    def stands(self) -> bool:
        """Whether it may still exist, as far as was recorded."""
        return self.replaced_at is None

    @property
    def newest_epoch(self) -> int:
        """The highest epoch whose keys it holds."""
        return self.epochs[-1][0]

    def holds(self, epoch: int) -> bool:
        """Whether it has keys of this epoch."""
        return any(held == epoch for held, _ in self.epochs)

    def without_epoch(self, epoch: int) -> KeyBackup:
        """The same, keys of this epoch not being counted."""
        return replace(self, epochs=tuple(held for held in self.epochs if held[0] != epoch))

    def holds_secret(self, epoch: int) -> bool:
        """Whether it has the key that opens values of this epoch."""
        return (epoch, True) in self.epochs


class KeyBackupHistory(msgspec.Struct, frozen=True):
    """All recorded key backups, oldest first."""

    made: tuple[KeyBackup, ...] = ()
    epoch: int = 0
    """The current one."""
    epoch_started_at: int = 0
    """Position at which it was started, or the one held ready was replaced."""
    changed: dict[int, int] = msgspec.field(default_factory=dict)
    """By operators' live slot: the position from which on it opens by what it opens by now."""
    removed: frozenset[int] = frozenset()
    """Slots that open nothing any more."""

    def at(self, position: int) -> KeyBackup | None:
        """The backup that was recorded there."""
        return next((backup for backup in self.made if backup.position == position), None)

    def standing(self) -> tuple[KeyBackup, ...]:
        """Those of which nobody has attested the end."""
        return tuple(backup for backup in self.made if backup.stands)

    def newest(self) -> KeyBackup | None:
        """The newest that stands."""
        return next(reversed(self.standing()), None)

    def newest_with(self, epoch: int) -> KeyBackup | None:
        """The newest that stands, can be opened, and has keys of this epoch."""
        return next(
            (one for one in reversed(self.standing()) if one.holds(epoch) and self.opens(one)), None
        )

    def opens(self, backup: KeyBackup) -> bool:
        """Whether it has a slot that was not removed since: by no other is it ever put back."""
        return not self.removed.issuperset(backup.slots)

    def with_secret(self, epoch: int) -> tuple[KeyBackup, ...]:
        """Those that stand and have the key that opens values of this epoch."""
        return tuple(backup for backup in self.standing() if backup.holds_secret(epoch))

    def holding_any(self, epochs: Collection[int]) -> tuple[KeyBackup, ...]:
        """Those that stand and have the key that opens values of one of these epochs."""
        return tuple(one for one in self.standing() if any(map(one.holds_secret, epochs)))

    def of_this_epoch(self) -> tuple[KeyBackup, ...]:
        """Those that stand and were made since the current epoch was started."""
        return tuple(one for one in self.standing() if one.position > self.epoch_started_at)

    def with_next_epoch(self) -> tuple[KeyBackup, ...]:
        """Those of them that have the keys held ready, which the next rotation starts.

        A host one rotation behind still writes, and can make a backup that lacks them.
        """
        return tuple(one for one in self.of_this_epoch() if one.holds(self.epoch + 1))

    def sufficing(self) -> tuple[KeyBackup, ...]:
        """Those from which everything could go on, were the keyring lost now or rotated next."""
        return tuple(one for one in self.with_next_epoch() if self.opens(one))

    def slots_without(self) -> tuple[int, ...]:
        """Live operators' slots that are in none of these as they are now."""
        return tuple(
            slot
            for slot, since in sorted(self.changed.items())
            if not any(slot in one.slots and one.position > since for one in self.sufficing())
        )


def fold_key_backups(state: KeyBackupHistory | None, recorded: Recorded) -> KeyBackupHistory | None:
    """Key backups after one more event of the keyring's stream."""
    state = state or KeyBackupHistory()
    match recorded.event:
        case KeyBackedUp(path=path, digest=digest, epochs=epochs, slots=slots):
            made = KeyBackup(
                recorded.position,
                recorded.recorded_at,
                recorded.actor.authenticated_by,
                path,
                digest,
                epochs,
                (recorded.actor.slot,) if slots is None else slots,
            )
            return replace(state, made=(*state.made, made))
        case KeyBackupReplaced(backup=position):
            return replace(
                state,
                made=tuple(
                    replace(one, replaced_at=recorded.position) if one.position == position else one
                    for one in state.made
                ),
            )
        case EpochReplaced(next=(epoch, *_)):
            # What they hold of it is of no use any more, and there is no copy of what is now.
            made_before = tuple(one.without_epoch(epoch) for one in state.made)
            return replace(state, made=made_before, epoch_started_at=recorded.position)
        case EpochStarted(epoch=epoch):
            return replace(state, epoch=epoch, epoch_started_at=recorded.position)
        case SlotAdded(slot=slot, opens=opens) if opens == OPERATOR:
            return replace(state, changed={**state.changed, slot: recorded.position})
        case PassphraseChanged(slot=slot) if slot in state.changed:
            return replace(state, changed={**state.changed, slot: recorded.position})
        case SlotRemoved(slot=slot):
            live = {one: since for one, since in state.changed.items() if one != slot}
            return replace(state, changed=live, removed=state.removed | {slot})
    return state
