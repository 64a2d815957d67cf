"""The backups that a rotation asks for, or the record that somebody went on without them.

Keys that are lost with a host, and a database whose only copy rests on keys that are gone, are what
people lose credentials by. So a rotation begins only where

- a database backup holds every change of configuration and credentials, and
- the keyring was backed up since the epoch that is current now was started, the keys included
  that it holds ready and the rotation starts, a slot opens that backup which is live still, and it
  lies, as far as this host sees, neither with an archive nor in the keyring's own folder.

The log is looked through outside the lock; under it only what was appended since. Both times each
row is checked into a signed head: a change cannot be made to pass for a read. Key backups are asked
for again under the lock, where one that was counted on may have been attested replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ledger.aggregates.keys import BackupWaived
from ledger.archive.nearness import lies_with_database
from ledger.errors import Refused
from ledger.log.following import CheckedHead
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.key_backup_file import lies_with_keyring
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
    together: frozenset[int]
    """Positions of key backups that do not count, for where they lie."""


def lacking(desk: Desk, writer: Writer, keyring: Path) -> Lacking:
    """Look through the log, in pages, and where the key backups lie."""
    archived = writer.look(LookAtBackups(desk).decide)
    newest, folders = archived.newest, [Path(one) for one in archived.directories]
    made = writer.look(lambda view: key_backup_history(desk, view)).sufficing()
    together = frozenset(
        one.position for one in made if _lies_with_another(Path(one.path), keyring, folders)
    )
    missing = writer.look(lambda view: _lacking_keyring(desk, view, together))
    changed, seen = look_through(desk, writer, 0 if newest is None else newest.position)
    return Lacking(missing if changed is None else (DATABASE, *missing), seen, together)


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
        missing = _lacking_keyring(self.desk, transaction, self.lacking.together)
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


def _lacking_keyring(desk: Desk, view: Transaction, together: frozenset[int]) -> tuple[str, ...]:
    made = key_backup_history(desk, view).sufficing()
    return () if any(one.position not in together for one in made) else (KEYRING,)


def _lies_with_another(copy: Path, keyring: Path, archives: Sequence[Path]) -> bool:
    return lies_with_keyring(copy, keyring) or lies_with_database(copy, archives)


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
        " from a keyring that can rotate, a slot that is still there opens it, and it lies apart"
        " from the keyring and from backups of the database."
        " --without-backup goes on, and is recorded.",
    )
