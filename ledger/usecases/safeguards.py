"""The backups that a rotation asks for, or the record that somebody went on without them.

Keys that are lost with a host, and a database whose only copy rests on keys that are gone, are what
people lose credentials by. So a rotation begins only where

- a database backup holds every change of configuration and credentials, and
- the keyring was backed up since the epoch that is current now was started, the keys included
  that it holds ready and the rotation starts, and a slot opens that backup which is live still.

The log is looked through outside the lock; under it only what was appended since. Both times each
row is checked into a signed head: a change cannot be made to pass for a read. Key backups are asked
for again under the lock, where one that was counted on may have been attested replaced.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ledger.aggregates.keys import BackupWaived
from ledger.errors import Refused
from ledger.log.following import CheckedHead
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.usecases.acting import Acting
from ledger.usecases.backups import LookAtBackups, first_change, look_through
from ledger.usecases.desk import Desk
from ledger.usecases.key_backups import key_backup_history

DATABASE, KEYRING = "database", "keyring"


class Lacking(NamedTuple):
    """What is not backed up, as far as the log was looked through."""

    backups: tuple[str, ...]
    """`database`, `keyring`, or both."""
    seen: CheckedHead
    """The head up to which no change was found that the database backup does not hold."""


def lacking(desk: Desk, writer: Writer) -> Lacking:
    """Look through the log, in pages."""
    newest = writer.look(LookAtBackups(desk).decide).newest
    missing = writer.look(lambda view: _lacking_keyring(desk, view))
    changed, seen = look_through(desk, writer, 0 if newest is None else newest.position)
    return Lacking(missing if changed is None else (DATABASE, *missing), seen)


class Safeguards(msgspec.Struct, frozen=True):
    """The look at backups that a request makes before it appends anything."""

    desk: Desk
    acting: Acting
    lacking: Lacking
    waived: bool

    def require(self) -> None:
        """Refuse by what was seen so far, before anything is changed."""
        if self.lacking.backups and not self.waived:
            raise _needed(self.lacking.backups[0])

    def hold(self, transaction: Transaction) -> None:
        """Refuse, or record what is gone on without.

        `database-backup-needed`, `key-backup-needed`.
        """
        missing = _lacking_keyring(self.desk, transaction)
        changed = DATABASE in self.lacking.backups
        unseen = () if changed else transaction.rows_after(self.lacking.seen)
        if changed or first_change(unseen) is not None:
            missing = (DATABASE, *missing)
        if not missing:
            return
        if not self.waived:
            raise _needed(missing[0])
        transaction.append(
            self.desk.streams.keyring(),
            BackupWaived(missing),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        )


def _lacking_keyring(desk: Desk, view: Transaction) -> tuple[str, ...]:
    return () if key_backup_history(desk, view).sufficing() else (KEYRING,)


def _needed(backup: str) -> Refused:
    if backup == DATABASE:
        return Refused(
            "database-backup-needed",
            "There were changes since the last backup of the database; no keys were rotated.",
            hint="Run `credledger backup create DIR`; --without-backup goes on, and is recorded.",
        )
    return Refused(
        "key-backup-needed",
        "No key backup on record counts for this rotation; no keys were rotated.",
        hint="Run `credledger key backup DEST`: one counts if it was made since the last rotation,"
        " from a keyring that can rotate, and a slot that is still there opens it."
        " --without-backup goes on, and is recorded.",
    )
