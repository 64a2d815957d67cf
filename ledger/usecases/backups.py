"""What the log is told of its own backups, and what it answers about the newest one."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class RecordBackup:
    """One fact about backups; by an operator only."""

    desk: Desk
    acting: Acting
    event: BackupCreated | BackupDrilled | BackupRestored
    rollback: RollbackAccepted | None = None
    """What a host gave up with it, recorded in the same transaction."""

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position. `operator-needed` for an auditor."""
        if not self.desk.unlocked.is_operator:
            raise Refused("operator-needed", "Only an operator's unlock may do this.")
        actor, reason = self.desk.actor(self.acting), self.acting.reason
        if self.rollback is not None:
            transaction.append(self.desk.streams.keyring(), self.rollback, actor, reason)
        stream = self.desk.streams.backups()
        return transaction.append(stream, self.event, actor, reason).position


@dataclass(frozen=True, slots=True)
class LookAtBackups:
    """The newest backup and the newest drill."""

    desk: Desk

    def decide(self, transaction: Transaction) -> Backups:
        """Nothing is appended."""
        return transaction.load(self.desk.streams.backups(), fold_backups) or Backups()


def configuration_after(store: Store, position: int) -> int | None:
    """The first position after this one that changed configuration or credentials; None if none.

    Reads topics only, in pages; access records and the bookkeeping of recovery do not count.
    """
    while True:
        with store.reading() as reading:
            page = reading.topics_after(position, _PAGE_TOPICS)
        for at, topic in page:
            if topic.startswith(CONFIGURATION):
                return at
        if len(page) < _PAGE_TOPICS:
            return None
        position = page[-1][0]
