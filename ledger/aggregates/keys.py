"""Epochs and slots, as the keyring's stream tells them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.event import UPCASTERS, Event, event
from ledger.aggregates.hosts import Hosts, fold_hosts
from ledger.aggregates.recorded import Recorded
from ledger.replacing import replace
from ledger.sealing.compartments import Compartment
from ledger.sealing.epochs import EpochCommitments, KeyName

Committed = tuple[int, bytes, bytes, tuple[bytes, ...]]
"""An epoch, and the commitments to its keys: state, secret, access[120]."""


@event
class EpochStarted(Event, frozen=True):
    """An epoch begins, with commitments to its keys and to those of the next one."""

    TOPIC: ClassVar[str] = "epoch.started"
    epoch: int
    started: Committed
    """(epoch, state, secret, access[120]) of the epoch that begins."""
    next: Committed
    """The same of the one held ready."""


@event
class EpochResealed(Event, frozen=True):
    """A rotation is finished: no live mapping rests on an earlier epoch any more."""

    TOPIC: ClassVar[str] = "epoch.resealed"
    epoch: int
    mappings: int
    """So many were resealed by the run that finished it."""


@event
class EpochReplaced(Event, frozen=True):
    """The keys held ready for the next epoch are lost; others stand in their place from now on."""

    TOPIC: ClassVar[str] = "epoch.replaced"
    next: Committed
    """(epoch, state, secret, access[120]) of the one held ready now."""


@event
class BackupWaived(Event, frozen=True):
    """A rotation went on without the backups that it asks for."""

    TOPIC: ClassVar[str] = "backup.waived"
    lacking: tuple[str, ...]
    """`database`, `keyring`, or both."""


@event
class KeysDestroying(Event, frozen=True):
    """From here on these keys may be gone from any keyring."""

    TOPIC: ClassVar[str] = "keys.destroying"
    keys: tuple[tuple[int, str, int], ...]
    """(epoch, compartment, month) of each; see `KeyName`."""


@event
class KeysDestroyed(Event, frozen=True):
    """The keyring of the host that destroys holds these keys no more."""

    TOPIC: ClassVar[str] = "keys.destroyed"
    keys: tuple[tuple[int, str, int], ...]


@event
class SlotAdded(Event, frozen=True):
    """A way to unlock came to the keyring."""

    TOPIC: ClassVar[str] = "slot.added"
    slot: int
    label: str
    kind: str
    opens: str
    public_key: bytes
    signing_key: bytes


@event
class SlotRemoved(Event, frozen=True, tag=2):
    """A slot may neither unlock nor sign any more."""

    TOPIC: ClassVar[str] = "slot.removed"
    slot: int
    mislaid: bool
    """Whether nobody else was said to have it, so that no rotation was to follow; false in events
    of schema 1, which do not tell."""


UPCASTERS[SlotRemoved.TOPIC] = (lambda stored: {**stored, "mislaid": False},)


@event
class PassphraseChanged(Event, frozen=True):
    """A slot's private half was sealed anew."""

    TOPIC: ClassVar[str] = "passphrase.changed"
    slot: int


@event
class AuditorExported(Event, frozen=True, tag=2):
    """An auditor's own keyring was written again."""

    TOPIC: ClassVar[str] = "auditor.exported"
    slot: int
    half: bytes
    """Digest of the sealed private half in it; empty in events of schema 1."""


UPCASTERS[AuditorExported.TOPIC] = (lambda stored: {**stored, "half": b""},)


@event
class AuditorPassphraseChanged(Event, frozen=True):
    """An auditor's private half was sealed anew in the auditor's own file; on that one's stream."""

    TOPIC: ClassVar[str] = "audit.passphrase-changed"
    slot: int
    before: bytes
    """Digest of the sealed private half that was replaced."""
    after: bytes


@event
class ClockAccepted(Event, frozen=True):
    """An operator confirmed a clock far ahead of the log."""

    TOPIC: ClassVar[str] = "clock.accepted"
    reading: int


@event
class AsyncAccepted(Event, frozen=True):
    """An operator went on although commits wait for no standby."""

    TOPIC: ClassVar[str] = "async.accepted"


@event
class RollbackAccepted(Event, frozen=True, tag=2):
    """An operator goes on from a store that is not the one this host remembers."""

    TOPIC: ClassVar[str] = "rollback.accepted"
    fork: int
    abandoned_size: int
    abandoned_root: bytes
    newest_epoch: int
    """The newest epoch of the keyring, where it is too far ahead of this log; 0 if it is not, and
    in events of schema 1."""


UPCASTERS[RollbackAccepted.TOPIC] = (lambda stored: {**stored, "newest_epoch": 0},)


@event
class MemoryAccepted(Event, frozen=True):
    """An operator gave this host a new memory after the old one had become unreadable."""

    TOPIC: ClassVar[str] = "memory.accepted"
    size: int


class KeyHistory(msgspec.Struct, frozen=True):
    """What the log says of epochs and slots."""

    current: int = 0
    committed: dict[int, EpochCommitments] = msgspec.field(default_factory=dict)
    first_periods: dict[int, int] = msgspec.field(default_factory=dict)
    started_at: dict[int, int] = msgspec.field(default_factory=dict)
    slots: dict[int, SlotAdded] = msgspec.field(default_factory=dict)
    added_at: dict[int, int] = msgspec.field(default_factory=dict)
    """Microseconds UTC, by slot."""
    exported: dict[int, tuple[int, bytes]] = msgspec.field(default_factory=dict)
    """By auditor's slot: position of the newest export, and the half that was in it."""
    removed: frozenset[int] = frozenset()
    removed_where: dict[int, int] = msgspec.field(default_factory=dict)
    """The position of each slot's end."""
    mislaid: frozenset[int] = frozenset()
    """Removed slots that nobody else was said to have."""
    started_where: dict[int, int] = msgspec.field(default_factory=dict)
    """The position of each epoch's start."""
    resealed: int = 1
    """The newest epoch whose rotation is finished."""
    resealed_where: dict[int, int] = msgspec.field(default_factory=dict)
    """The position from which on every live mapping rests on this epoch, or a later one."""
    destroying: frozenset[KeyName] = frozenset()
    """Keys that may be gone, those that are destroyed included."""
    destroyed: frozenset[KeyName] = frozenset()
    accepted_epoch: int = 0
    """A keyring may hold epochs up to this one, however far behind it the log is: an operator went
    on from an older log than the keyring's."""
    hosts: Hosts = msgspec.field(default_factory=dict)
    """By the number that a host has given itself."""

    @property
    def is_rotating(self) -> bool:
        """Whether mappings may rest on epochs before the current one."""
        return self.resealed < self.current

    @property
    def values_destroying(self) -> tuple[KeyName, ...]:
        """Keys of values that were to be destroyed, which was never recorded as done."""
        left = sorted(self.destroying - self.destroyed)
        return tuple(name for name in left if name.compartment == Compartment.SECRET.value)

    @property
    def is_destroying(self) -> bool:
        """Whether there are such keys."""
        return bool(self.values_destroying)

    @property
    def accesses_destroying(self) -> tuple[KeyName, ...]:
        """Keys of access records of which the same is so."""
        left = sorted(self.destroying - self.destroyed)
        return tuple(name for name in left if name.compartment == Compartment.ACCESS.value)

    @property
    def whole_from(self) -> int:
        """From this position on no live mapping rests on a destroyed key; 0 where there is none."""
        gone = [one.epoch for one in self.destroying if one.compartment == Compartment.SECRET.value]
        if not gone:
            return 0
        return min(
            (at for epoch, at in self.resealed_where.items() if epoch > max(gone)), default=0
        )

    def state_of(self, epoch: int) -> str:
        """`next`, `current`, `previous`, and `destroying` or `destroyed` by its key of values."""
        if epoch >= self.current:
            return "current" if epoch == self.current else "next"
        secret = KeyName(epoch, Compartment.SECRET.value)
        if secret in self.destroyed:
            return "destroyed"
        return "destroying" if secret in self.destroying else "previous"

    def live(self) -> tuple[SlotAdded, ...]:
        """The slots that were added and not removed since, by number."""
        return tuple(added for slot, added in sorted(self.slots.items()) if self.is_live(slot))

    def is_left_after(self, position: int, epochs: int) -> bool:
        """Whether so many epochs are still to be started after this position, or one resealed."""
        started = self.started_since(position)
        return started < epochs or (started == epochs and self.is_rotating)

    def started_since(self, position: int) -> int:
        """How many epochs were started after this position."""
        return sum(where > position for where in self.started_where.values())

    def has_ended_lately(self, epochs: int) -> bool:
        """Whether a slot was removed and fewer epochs than these were started since."""
        return any(self.started_since(where) < epochs for where in self.removed_where.values())

    def is_live(self, slot: int) -> bool:
        """Whether the slot was added and not removed since."""
        return slot in self.slots and slot not in self.removed


def fold_keys(state: KeyHistory | None, recorded: Recorded) -> KeyHistory | None:
    """Epochs and slots after one more event."""
    state = state or KeyHistory()
    match recorded.event:
        case EpochStarted(epoch=epoch, started=started, next=following):
            return replace(
                state,
                current=epoch,
                committed={**state.committed, **_committed(started), **_committed(following)},
                first_periods={**state.first_periods, epoch: recorded.period},
                started_at={**state.started_at, epoch: recorded.recorded_at},
                started_where={**state.started_where, epoch: recorded.position},
            )
        case EpochReplaced(next=following):
            return replace(state, committed={**state.committed, **_committed(following)})
        case EpochResealed(epoch=epoch):
            where = {epoch: recorded.position, **state.resealed_where}
            return replace(state, resealed=max(state.resealed, epoch), resealed_where=where)
        case KeysDestroying(keys=keys):
            return replace(state, destroying=state.destroying | _names(keys))
        case KeysDestroyed(keys=keys):
            return replace(state, destroyed=state.destroyed | _names(keys))
        case RollbackAccepted(newest_epoch=reached):
            return replace(state, accepted_epoch=max(state.accepted_epoch, reached))
        case SlotAdded() as added:
            return replace(
                state,
                slots={**state.slots, added.slot: added},
                added_at={**state.added_at, added.slot: recorded.recorded_at},
            )
        case AuditorExported(slot=slot, half=half) if half:
            newest = (recorded.position, half)
            return replace(state, exported={**state.exported, slot: newest})
        case SlotRemoved(slot=slot, mislaid=mislaid):
            return replace(
                state,
                removed=state.removed | {slot},
                mislaid=state.mislaid | {slot} if mislaid else state.mislaid,
                removed_where={**state.removed_where, slot: recorded.position},
            )
    hosts = fold_hosts(state.hosts, recorded)
    return state if hosts is state.hosts else replace(state, hosts=hosts)


def _committed(listed: Committed) -> dict[int, EpochCommitments]:
    epoch, state, secret, access = listed
    return {epoch: EpochCommitments(epoch, state, secret, access)}


def _names(keys: tuple[tuple[int, str, int], ...]) -> frozenset[KeyName]:
    return frozenset(KeyName(*key) for key in keys)
