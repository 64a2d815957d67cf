"""What the log is told of its own backups, and what it answers about the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.aggregates.backups import (
    CONFIGURATION,
    BackupCreated,
    BackupDrilled,
    BackupRestored,
    Backups,
    fold_backups,
)
from ledger.aggregates.keys import RollbackAccepted
from ledger.errors import Refused
from ledger.log.store import Store
from ledger.log.transaction import Transaction
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk

_PAGE_TOPICS = 5000
BackupEvent = BackupCreated | BackupDrilled | BackupRestored


class Topics(Protocol):
    """Whatever shows the topics of rows: a snapshot, or a transaction."""

    def topics_after(self, position: int, limit: int) -> list[tuple[int, str]]:
        """Position and topic of the next rows."""
        ...


@dataclass(frozen=True, slots=True)
class RecordBackup:
    """Facts about backups, all in one transaction; by an operator only."""

    desk: Desk
    acting: Acting
    events: Sequence[BackupEvent]
    rollback: RollbackAccepted | None = None
    """What a host gave up with them."""

    def decide(self, transaction: Transaction) -> int:
        """Append them; the position of the last. `operator-needed` for an auditor."""
        if not self.desk.unlocked.is_operator:
            raise Refused("operator-needed", "Only an operator's unlock may do this.")
        actor, reason = self.desk.actor(self.acting), self.acting.reason
        if self.rollback is not None:
            transaction.append(self.desk.streams.keyring(), self.rollback, actor, reason)
        stream = self.desk.streams.backups()
        for event in self.events:
            transaction.append(stream, event, actor, reason)
        return transaction.next_position - 1


@dataclass(frozen=True, slots=True)
class LookAtBackups:
    """The newest backup and the newest drill."""

    desk: Desk

    def decide(self, transaction: Transaction) -> Backups:
        """Nothing is appended."""
        return transaction.load(self.desk.streams.backups(), fold_backups) or Backups()


@dataclass(frozen=True, slots=True)
class LookForRecorded:
    """The digests of all archives that the log knows: written, or restored from."""

    desk: Desk

    def decide(self, transaction: Transaction) -> frozenset[bytes]:
        """Nothing is appended."""
        events = (recorded.event for recorded in transaction.history(self.desk.streams.backups()))
        kept = (event for event in events if isinstance(event, BackupCreated | BackupRestored))
        return frozenset(event.digest for event in kept)


def configuration_after(store: Store, position: int) -> int | None:
    """The first position after this one that changed configuration or credentials; None if none."""
    return look_through(store, position)[0]


def look_through(store: Store, position: int) -> tuple[int | None, int]:
    """The same, and the position up to which there is none.

    Reads topics only, in pages; access records and the bookkeeping of recovery do not count.
    """
    while True:
        with store.reading() as reading:
            last = reading.last_position()
            changed, position = first_change(reading, position)
        if changed is not None or position >= last:
            return changed, position


def first_change(reading: Topics, position: int) -> tuple[int | None, int]:
    """Such a change among the next rows, and the position up to which none was found."""
    for at, topic in reading.topics_after(position, _PAGE_TOPICS):
        if topic.startswith(CONFIGURATION):
            return at, position
        position = at
    return None, position
