"""Epochs and slots, as the keyring's stream tells them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ledger.aggregates.event import UPCASTERS, Event, event
from ledger.aggregates.recorded import Recorded
from ledger.sealing.epochs import EpochCommitments


@event
@dataclass(frozen=True, slots=True)
class EpochStarted(Event):
    """An epoch begins, with commitments to its keys and to those of the next one."""

    TOPIC: ClassVar[str] = "epoch.started"
    epoch: int
    started: tuple[Any, ...]
    """(epoch, state, secret, access[120]) of the epoch that begins."""
    next: tuple[Any, ...]
    """The same of the one held ready."""


@event
@dataclass(frozen=True, slots=True)
class SlotAdded(Event):
    """A way to unlock came to the keyring."""

    TOPIC: ClassVar[str] = "slot.added"
    slot: int
    label: str
    kind: str
    opens: str
    public_key: bytes
    signing_key: bytes


@event
@dataclass(frozen=True, slots=True)
class SlotRemoved(Event):
    """A slot may neither unlock nor sign any more."""

    TOPIC: ClassVar[str] = "slot.removed"
    slot: int


@event
@dataclass(frozen=True, slots=True)
class PassphraseChanged(Event):
    """A slot's private half was sealed anew."""

    TOPIC: ClassVar[str] = "passphrase.changed"
    slot: int


@event
@dataclass(frozen=True, slots=True)
class AuditorExported(Event):
    """An auditor's own keyring was written again."""

    TOPIC: ClassVar[str] = "auditor.exported"
    SCHEMA: ClassVar[int] = 2
    slot: int
    half: bytes
    """Digest of the sealed private half in it; empty in events of schema 1."""


UPCASTERS[AuditorExported.TOPIC] = (lambda stored: {**stored, "half": b""},)


@event
@dataclass(frozen=True, slots=True)
class AuditorPassphraseChanged(Event):
    """An auditor's private half was sealed anew, in the auditor's own file; on that one's stream."""

    TOPIC: ClassVar[str] = "audit.passphrase-changed"
    slot: int
    before: bytes
    """Digest of the sealed private half that was replaced."""
    after: bytes


@event
@dataclass(frozen=True, slots=True)
class ClockAccepted(Event):
    """An operator confirmed a clock far ahead of the log."""

    TOPIC: ClassVar[str] = "clock.accepted"
    reading: int


@event
@dataclass(frozen=True, slots=True)
class AsyncAccepted(Event):
    """An operator went on although commits wait for no standby."""

    TOPIC: ClassVar[str] = "async.accepted"


@event
@dataclass(frozen=True, slots=True)
class RollbackAccepted(Event):
    """An operator goes on from a store that is not the one this host remembers."""

    TOPIC: ClassVar[str] = "rollback.accepted"
    fork: int
    abandoned_size: int
    abandoned_root: bytes


@event
@dataclass(frozen=True, slots=True)
class MemoryAccepted(Event):
    """An operator gave this host a new memory after the old one had become unreadable."""

    TOPIC: ClassVar[str] = "memory.accepted"
    size: int


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """What the log says of epochs and slots."""

    current: int = 0
    committed: dict[int, EpochCommitments] = field(default_factory=dict)
    first_periods: dict[int, int] = field(default_factory=dict)
    started_at: dict[int, int] = field(default_factory=dict)
    slots: dict[int, SlotAdded] = field(default_factory=dict)
    added_at: dict[int, int] = field(default_factory=dict)
    """Microseconds UTC, by slot."""
    exported: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """By auditor's slot: position of the newest export, and the half that was in it."""
    removed: frozenset[int] = frozenset()

    def live(self) -> tuple[SlotAdded, ...]:
        """The slots that were added and not removed since, by number."""
        return tuple(added for slot, added in sorted(self.slots.items()) if self.is_live(slot))

    def is_live(self, slot: int) -> bool:
        """Whether the slot was added and not removed since."""
        return slot in self.slots and slot not in self.removed


def fold_keys(state: KeyHistory | None, recorded: Recorded) -> KeyHistory | None:
    """Epochs and slots after one more event."""
    state = state or KeyHistory()
    match recorded.event:
        case EpochStarted(epoch=epoch, started=started, next=following):
            committed = {**state.committed}
            for listed in (started, following):
                commitment = EpochCommitments(listed[0], listed[1], listed[2], listed[3])
                committed[commitment.epoch] = commitment
            return replace(
                state,
                current=epoch,
                committed=committed,
                first_periods={**state.first_periods, epoch: recorded.period},
                started_at={**state.started_at, epoch: recorded.recorded_at},
            )
        case SlotAdded() as added:
            return replace(
                state,
                slots={**state.slots, added.slot: added},
                added_at={**state.added_at, added.slot: recorded.recorded_at},
            )
        case AuditorExported(slot=slot, half=half) if half:
            newest = (recorded.position, half)
            return replace(state, exported={**state.exported, slot: newest})
        case SlotRemoved(slot=slot):
            return replace(state, removed=state.removed | {slot})
    return state
