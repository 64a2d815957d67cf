"""What `doctor` finds of keys and backups: what a loss would cost now, and what is unfinished."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.archive.folder import holds_archive
from ledger.archive.nearness import lies_with_database
from ledger.places import share_a_place
from ledger.sealing.key_backup_file import lies_with_keyring
from tools.doctor.findings import ERROR, WARNING, Finding
from tools.doctor.hosts import host_findings
from tools.exits import EXIT_CODES
from tools.recovering.key_backups import database_folders
from tools.when import counted

if TYPE_CHECKING:
    from tools.wiring import Session

SEALED_WARNED = 1 << 29
"""So many events of one epoch are far from what a key may seal, and near enough to plan."""


def recovery_findings(session: Session) -> Iterator[Finding]:
    """For an operator; an auditor can mend none of it."""
    if not session.unlocked.is_operator:
        return
    yield from _lost_values(session)
    yield from _database_backup_findings(session)
    yield from _key_backup_findings(session)
    yield from _archives_beside(session)
    yield from _kept_files(session)
    yield from _unfinished(session)
    yield from host_findings(session)
    yield from _budget(session)
    yield from _retention(session)


def _lost_values(session: Session) -> Iterator[Finding]:
    """Live mappings that nobody can be given any more, as after an older archive was restored.

    Or, where there is none, that nothing can be set until keys are rotated.
    """
    status = session.ledger.status()
    held = {epoch for epoch, *_, secret in status.epochs if secret}
    lost = {epoch: count for epoch, count in session.views.epochs().items() if epoch not in held}
    if lost:
        epochs = ", ".join(map(str, lost))
        yield Finding(
            "values-lost",
            ERROR,
            f"{sum(lost.values())} credentials rest on keys of values that this keyring does not"
            f" hold: epoch {epochs}.",
            "`credledger key restore` a key backup of before they were destroyed, or copy the keyring"
            " of a host that holds them. If there is none, delete those credentials,"
            " `credledger key rotate`, and set them anew.",
            EXIT_CODES["key-unavailable"],
        )
    elif status.epoch not in held:
        yield Finding(
            "value-key-missing",
            ERROR,
            f"The key of values of epoch {status.epoch} is destroyed: no credentials can be set.",
            "credledger key rotate",
            EXIT_CODES["key-unavailable"],
        )


def _database_backup_findings(session: Session) -> Iterator[Finding]:
    """What the loss of the database would cost."""
    backups = session.ledger.backups.known()
    if backups.newest is None:
        yield Finding(
            "no-database-backup",
            WARNING,
            "No backup of the database was ever made.",
            "credledger backup create /media/tape/full",
        )
        return
    if backups.newest.position < session.ledger.key_history().whole_from:
        yield Finding(
            "database-backup-on-destroyed-keys",
            WARNING,
            "The newest backup of the database rests on keys that were destroyed: its values are"
            " lost with the last key backup that holds them.",
            "credledger backup create /media/tape/next",
        )
    elif session.ledger.backups.changed_since() is not None:
        yield Finding(
            "database-backup-old",
            WARNING,
            "Configuration or credentials changed since the last backup of the database.",
            "credledger backup create /media/tape/next --since-backup",
        )
    if backups.drilled is None:
        yield Finding(
            "no-drill",
            WARNING,
            "It was never tried whether a backup of the database can be restored.",
            "credledger backup drill",
        )


def _key_backup_findings(session: Session) -> Iterator[Finding]:
    """What the loss of the keyring's file would cost, and who finds both kinds together."""
    history = session.ledger.key_backups.history()
    if not history.of_this_epoch():
        yield Finding(
            "no-key-backup",
            WARNING,
            "No key backup was made in this epoch: if the keyring is lost, values may be too.",
            "credledger key backup /media/safe/keyring",
        )
    elif not history.with_next_epoch():
        yield Finding(
            "no-key-backup",
            WARNING,
            f"No key backup holds epoch {history.epoch + 1}, which the next rotation starts: they"
            " were made from a keyring that was behind.",
            "credledger key backup /media/safe/keyring, on the host that rotated last",
        )
    elif not history.sufficing():
        yield Finding(
            "key-backup-opens-nothing",
            WARNING,
            "Every slot that opens a key backup of this epoch was removed since: if the keyring is"
            " lost, all is lost.",
            "credledger key backup /media/safe/keyring",
        )
    elif slots := history.slots_without():
        labels = {slot.slot: slot.label for slot in session.ledger.key_history().live()}
        named = ", ".join(f"{slot} ({labels[slot]})" for slot in slots)
        yield Finding(
            "key-backup-old",
            WARNING,
            f"No key backup opens as the keyring does by slot {named}: it was added, or given"
            " another passphrase, since.",
            "credledger key backup /media/safe/keyring",
        )
    folders = database_folders(session)
    for backup in history.standing():
        place = Path(backup.path)
        if lies_with_database(place, folders):
            yield Finding(
                "key-backup-with-database",
                WARNING,
                f"The key backup {backup.path} lies with the database or a backup of it.",
                "Make one elsewhere, destroy this one, then `credledger key backup"
                f" attest-replaced {backup.position}`.",
            )
        if lies_with_keyring(place, session.settings.keyring):
            yield Finding(
                "key-backup-with-keyring",
                WARNING,
                f"The key backup {backup.path} lies in the keyring's folder: what takes that folder"
                " takes both.",
                "Make one elsewhere, destroy this one, then `credledger key backup"
                f" attest-replaced {backup.position}`.",
            )


def _archives_beside(session: Session) -> Iterator[Finding]:
    """Archives that are here, and that share a place with what opens or what they are to outlive.

    None is made there; but a keyring or a database may be put beside one, as by a restore.
    """
    settings = session.settings
    if lies_with_database(settings.keyring, database_folders(session)):
        yield Finding(
            "keyring-with-archive",
            WARNING,
            f"The keyring {settings.keyring} lies with a backup of the database: both together are"
            " the credentials.",
            "Move the keyring into a folder of its own, and name it with --keyring.",
        )
    store = settings.sqlite_path
    for directory in map(Path, session.ledger.backups.known().directories):
        if store is None or not holds_archive(directory):
            continue
        if share_a_place(directory, store.parent):
            yield Finding(
                "archive-with-store",
                WARNING,
                f"The archive {directory} shares a folder with the database: what takes one takes"
                " both.",
                "Make a full one elsewhere with `credledger backup create`, then remove this one.",
            )


def _kept_files(session: Session) -> Iterator[Finding]:
    """What a restore of the keyring, or a kill, left beside it, where destroyed keys go on."""
    for file in session.ledger.key_backups.kept_files():
        remove, others = f"rm {shlex.quote(str(file.path))}", ""
        if file.has_others:
            others = (
                " It holds keys of a log that was given up as well, which are not in the keyring."
            )
            remove = (
                "As long as an archive of that log may be needed, move it to where no database and no"
                f" keyring lies; then, or if none is: `{remove}`"
            )
        yield Finding(
            "kept-keyring-opens-destroyed",
            WARNING,
            f"The file {file.path} beside the keyring holds keys that were destroyed, or cannot be"
            f" shown not to: what they open is not gone.{others}",
            remove,
        )


def _unfinished(session: Session) -> Iterator[Finding]:
    history = session.ledger.key_history()
    if history.is_rotating:
        yield Finding(
            "rotation-unfinished",
            WARNING,
            f"The rotation to epoch {history.current} was cut off: credentials rest on two epochs.",
            "credledger key rotate",
        )
    elif history.is_destroying:
        yield Finding(
            "destruction-unfinished",
            WARNING,
            "Keys of earlier values were to be destroyed, and it was cut off.",
            "credledger key rotate",
        )
    if history.accesses_destroying:
        yield Finding(
            "erasure-unfinished",
            WARNING,
            "Keys of old access records were to be destroyed, and it was cut off.",
            "credledger key retention apply",
        )
    if all(epoch != history.current + 1 for epoch, *_ in session.ledger.status().epochs):
        yield Finding(
            "next-epoch-missing",
            WARNING,
            "This keyring lacks the next epoch: another host has rotated since it was copied.",
            "Copy the newer keyring from that host; one more rotation, and this one stops. If it is"
            " lost on every host: credledger key replace-next",
        )


def _budget(session: Session) -> Iterator[Finding]:
    sealed = session.ledger.sealed_in_epoch()
    if sealed >= SEALED_WARNED:
        yield Finding(
            "epoch-much-used",
            WARNING,
            f"The current epoch's keys have sealed up to {sealed:,} events.",
            "credledger key rotate",
        )


def _retention(session: Session) -> Iterator[Finding]:
    planned = session.ledger.retention.planned()
    if planned.months and not planned.holds:
        yield Finding(
            "retention-due",
            WARNING,
            f"Access records of {counted(len(planned.months), 'month')} are older than the policy"
            " keeps them.",
            "credledger key retention apply",
        )
