"""What use cases answer; all of it is durable when it is returned."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ledger.aggregates.keys import SlotAdded
from ledger.sealing.tickets import Ticket
from ledger.values import FieldValue


class Outcome(msgspec.Struct, frozen=True):
    """A change of an application or of rights."""

    application: str | None
    changed: bool
    version: int
    """Version of the stream after it."""
    position: int
    """Position of its last event, or of the head where nothing changed."""
    readers: str | None = None
    """Who may read from the application now (`aggregates.application.readers`); None for rights."""
    readers_before: str | None = None
    """Who could before; None where there was no application."""


class LeavingOutcome(msgspec.Struct, frozen=True):
    """What was taken from somebody who leaves, or would be."""

    position: int
    """Of the last event, or of the head where nothing was appended."""
    roles: tuple[tuple[str, str], ...]
    """Application and role of each."""
    rights: tuple[str, ...]
    """Service-level ones."""


class MappingOutcome(msgspec.Struct, frozen=True):
    """A change of a credential mapping."""

    application: str
    owner: str | None
    version: int
    """Version of the value."""
    position: int


class RestorePreview(msgspec.Struct, frozen=True):
    """What restoring one mapping would do."""

    application: str
    owner: str | None
    version: int
    """Whose values would become the current ones."""
    becomes: int
    """The version that they would get."""
    set_at: int
    set_by: str
    is_key_held: bool
    """Whether the values open at all."""


class RestorationOutcome(msgspec.Struct, frozen=True):
    """One step back to an earlier moment."""

    position: int
    """Of its last event, or of the head where nothing was appended."""
    creation: int | None = None
    """Of the application that was restored; None where it is not there now."""


class ImportOutcome(msgspec.Struct, frozen=True):
    """One batch of an import."""

    changed: tuple[bool, ...]
    """Of each mapping, in the order given: whether it was set, or had these values already."""
    last_position: int

    @property
    def imported(self) -> int:
        """How many mappings were set."""
        return sum(self.changed)

    @property
    def unchanged(self) -> int:
        """How many had these values already."""
        return len(self.changed) - self.imported


class Retrieved(msgspec.Struct, frozen=True):
    """Released values, and the record that says so."""

    application: str
    owner: str | None
    version: int
    fields: Mapping[str, FieldValue]
    complete: bool
    missing: tuple[str, ...]
    position: int
    """Position of the access record, durable before the values were opened."""


class IssuedTicket(msgspec.Struct, frozen=True):
    """A ticket in its user's hands, and the record that says so."""

    ticket: Ticket
    application: str | None
    """The only one it is good for; None for any."""
    issued_at: int
    """Microseconds UTC, by the clock's reading."""
    expires_at: int | None
    """Microseconds UTC; None where each application's timeout decides."""
    position: int


class SlotOutcome(msgspec.Struct, frozen=True):
    """A change of the keyring's slots."""

    slot: int
    position: int


class RotationOutcome(msgspec.Struct, frozen=True):
    """A rotation that is finished."""

    before: int
    """The epoch that it led from."""
    epoch: int
    resealed: int
    """Mappings that this run sealed anew; an earlier run of the same rotation may have others."""
    destroyed: tuple[int, ...] = ()
    """Epochs whose keys of values were destroyed."""
    values_gone: int = 0
    """Earlier values that nobody can open any more."""


class Doomed(msgspec.Struct, frozen=True):
    """What would be gone for good by a destruction of earlier keys, as the log stands."""

    epochs: tuple[int, ...]
    """Whose keys of values would be destroyed."""
    values: int
    """Earlier values that nobody could open any more."""


class NextEpochOutcome(msgspec.Struct, frozen=True):
    """A next epoch with other keys."""

    epoch: int
    position: int


class HoldOutcome(msgspec.Struct, frozen=True):
    """A hold that was set or released."""

    name: str
    position: int
    decided: int | None = None
    """Where an erasure is recorded that is not done yet, and that no hold stops any more."""


class ErasureOutcome(msgspec.Struct, frozen=True):
    """Access records that were erased, or would be."""

    days: int | None
    """The policy; None keeps everything."""
    holds: tuple[str, ...]
    months: tuple[int, ...]
    """Whose keys are destroyed, as YYYYMM."""
    keys: int
    records: int
    until: int
    """The last position that is erased, by earlier runs where this one erased nothing."""
    position: int | None
    """Where it is recorded; None where nothing was erased."""
    finishes: int | None = None
    """Where an erasure is recorded that an earlier run decided and that this one finishes."""


class RollbackOutcome(msgspec.Struct, frozen=True):
    """A store accepted although it is not the one this host remembered."""

    position: int
    fork: int
    abandoned_size: int
    revived: tuple[SlotAdded, ...] = ()
    """Slots that live in this log and are not in the keyring: they were removed further on."""


class LedgerStatus(msgspec.Struct, frozen=True):
    """The ledger at a glance."""

    ledger_id: bytes
    position: int
    root: bytes
    epoch: int
    unlocked_by: str
    epochs: tuple[tuple[int, str, int, bool], ...]
    """(epoch, state, started at in microseconds or 0, whether its secret key is held)."""
    slots: tuple[tuple[int, str, str, str, int], ...]
    """(slot, label, kind, opens, created at in microseconds)."""
    clock_behind_us: int
    """How far the clock is behind the last recorded event; 0 when it is not."""
