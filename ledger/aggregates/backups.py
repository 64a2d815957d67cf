"""Backups of the database, as their own stream tells them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.event import UPCASTERS, Event, event
from ledger.aggregates.recorded import Recorded
from ledger.replacing import replace

FULL, INCREMENTAL = "full", "incremental"
CONFIGURATION = (
    "application.",
    "credential.",
    "role.",
    "issuer.",
    "service-key.",
    "epoch.",
    "slot.",
    "passphrase.",
    "auditor.",
    "retention.",
    "hold.",
)
"""Prefixes of the topics after which a backup no longer holds all that matters.

What is not here only tells of reading, of questions, or of recovery itself.
"""


@event
class BackupCreated(Event, frozen=True, tag=2):
    """An archive of the log was written and verified."""

    TOPIC: ClassVar[str] = "backup.created"
    kind: str
    """`full` or `incremental`."""
    position: int
    """The archive holds the log up to here."""
    root: bytes
    digest: bytes
    """SHA-256 of the archive's manifest."""
    archive_bytes: int
    directory: str
    """Where the operator put it."""
    base_elsewhere: bool
    """Whether nobody looked for what it goes on from, because somebody vouched that it is kept
    elsewhere; false in events of schema 1, which do not tell."""


UPCASTERS[BackupCreated.TOPIC] = (lambda stored: {**stored, "base_elsewhere": False},)


@event
class BackupRestored(Event, frozen=True):
    """The log goes on from an archive."""

    TOPIC: ClassVar[str] = "backup.restored"
    kind: str
    position: int
    root: bytes
    digest: bytes
    remembered: int
    """How far the host remembered the log; positions after `position` up to here are gone."""
    directory: str


@event
class BackupDrilled(Event, frozen=True):
    """An archive was restored into a scratch place, and all that it should give was there."""

    TOPIC: ClassVar[str] = "backup.drilled"
    position: int
    root: bytes
    digest: bytes
    milliseconds: int
    directory: str


class Kept(msgspec.Struct, frozen=True):
    """One archive as the log tells of it."""

    position: int
    """The archive holds the log up to here."""
    recorded_at: int
    """Microseconds UTC."""
    digest: bytes
    directory: str
    kind: str = ""


class Backups(msgspec.Struct, frozen=True):
    """The newest of each."""

    newest: Kept | None = None
    """The archive that reaches furthest: written, or restored from, which proves it as well."""
    chain: tuple[Kept, ...] = ()
    """That one, and before it all that were recorded since the last full one, and that one."""
    drilled: Kept | None = None
    directories: tuple[str, ...] = ()
    """Where archives were put or found, each once, the oldest first."""


def fold_backups(state: Backups | None, recorded: Recorded) -> Backups | None:
    """The backups after one more event."""
    state = state or Backups()
    match recorded.event:
        case BackupCreated() | BackupRestored() as kept:
            known = state.directories
            directories = known if kept.directory in known else (*known, kept.directory)
            state = replace(state, directories=directories)
            newest = _kept(kept, recorded, kept.kind)
            if state.newest is not None and newest.position < state.newest.position:
                return state  # of two that were written at once, the shorter one was recorded last
            chain = (newest,) if kept.kind == FULL else (*state.chain, newest)
            return replace(state, newest=newest, chain=chain)
        case BackupDrilled() as drilled:
            return replace(state, drilled=_kept(drilled, recorded))
    return state


def _kept(
    told: BackupCreated | BackupRestored | BackupDrilled, recorded: Recorded, kind: str = ""
) -> Kept:
    return Kept(told.position, recorded.recorded_at, told.digest, told.directory, kind)
