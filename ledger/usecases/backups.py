"""What the log is told of its own backups, and what it answers about the newest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ledger.aggregates.backups import (
    CONFIGURATION,
    BackupCreated,
    BackupDrilled,
    BackupRestored,
    Backups,
    fold_backups,
)
from ledger.aggregates.keys import RollbackAccepted
from ledger.errors import NEEDS_OPERATOR, Refused
from ledger.log.following import CheckedHead
from ledger.log.rows import LogRow
from ledger.log.transaction import Transaction
from ledger.log.walk import Walk
from ledger.log.writer import Writer
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk

BackupEvent = BackupCreated | BackupDrilled | BackupRestored


class RecordBackup(msgspec.Struct, frozen=True):
    """Facts about backups, all in one transaction; by an operator only."""

    desk: Desk
    acting: Acting
    events: Sequence[BackupEvent]
    rollback: RollbackAccepted | None = None
    """What a host gave up with them."""

    def decide(self, transaction: Transaction) -> int:
        """Append them; the position of the last. `operator-needed` for an auditor."""
        if not self.desk.unlocked.is_operator:
            raise Refused(
                "operator-needed", "Only an operator's unlock may do this.", hint=NEEDS_OPERATOR
            )
        actor, reason = self.desk.actor(transaction, self.acting), self.acting.reason
        if self.rollback is not None:
            transaction.append(self.desk.streams.keyring(), self.rollback, actor, reason)
        stream = self.desk.streams.backups()
        for event in self.events:
            transaction.append(stream, event, actor, reason)
        return transaction.next_position - 1


class LookAtBackups(msgspec.Struct, frozen=True):
    """The newest backup and the newest drill."""

    desk: Desk

    def decide(self, transaction: Transaction) -> Backups:
        """Nothing is appended."""
        return transaction.load(self.desk.streams.backups(), fold_backups) or Backups()


class LookForRecorded(msgspec.Struct, frozen=True):
    """All archives that the log knows: written, or restored from."""

    desk: Desk

    def decide(self, transaction: Transaction) -> tuple[BackupCreated | BackupRestored, ...]:
        """Nothing is appended."""
        events = (recorded.event for recorded in transaction.history(self.desk.streams.backups()))
        return tuple(event for event in events if isinstance(event, BackupCreated | BackupRestored))


def configuration_after(desk: Desk, writer: Writer, position: int) -> int | None:
    """The first position after this one that changed configuration or credentials; None if none."""
    return look_through(desk, writer, position)[0]


def look_through(desk: Desk, writer: Writer, position: int) -> tuple[int | None, CheckedHead]:
    """The same, and the head up to which the log was looked through if there is none.

    What a row is about is believed only of rows that were checked into that head: Tampered else.
    Access records and the bookkeeping of recovery do not count.
    """
    head = writer.catch_up()
    walk = Walk(writer.store.reading, writer.signer.ledger, head, desk.streams.audit)
    for rows in walk.after_position(position):
        changed = first_change(rows)
        if changed is not None:
            return changed, head
    return None, head


def first_change(rows: Iterable[LogRow]) -> int | None:
    """The position of the first of these rows that changes configuration or credentials."""
    return next((row.position for row in rows if row.topic.startswith(CONFIGURATION)), None)
