"""What the log records of database backups, their drills and restores."""

from __future__ import annotations

from ledger.aggregates.backups import BackupCreated, BackupRestored, Backups
from ledger.aggregates.keys import RollbackAccepted
from ledger.log.writer import Writer
from ledger.usecases.acting import Acting
from ledger.usecases.backups import (
    BackupEvent,
    LookAtBackups,
    LookForRecorded,
    RecordBackup,
    configuration_after,
)
from ledger.usecases.desk import Desk


class BackupRecords:
    """The records of one ledger."""

    def __init__(self, desk: Desk, writer: Writer) -> None:
        """Appends by this writer."""
        self._desk = desk
        self._writer = writer

    def known(self) -> Backups:
        """The newest database backup and the newest drill."""
        return self._writer.look(LookAtBackups(self._desk).decide)

    def recorded(self) -> tuple[BackupCreated | BackupRestored, ...]:
        """All archives that were recorded, the oldest record first: written, or restored from."""
        return self._writer.look(LookForRecorded(self._desk).decide)

    def archives(self) -> frozenset[bytes]:
        """The digests of them."""
        return frozenset(one.digest for one in self.recorded())

    def changed_since(self) -> int | None:
        """The first change of configuration or credentials that no database backup holds.

        Its position; None where the newest backup covers all of them.
        """
        newest = self.known().newest
        return configuration_after(self._desk, self._writer, newest.position if newest else 0)

    def record(
        self,
        acting: Acting,
        *events: BackupEvent,
        rollback: RollbackAccepted | None = None,
    ) -> int:
        """Record that something was backed up, restored or drilled; the last one's position."""
        return self._writer.run(RecordBackup(self._desk, acting, events, rollback))
