"""Copies of the keyring: made, attested replaced, and put back, each of them recorded.

A backup is written and verified first and recorded second, under the keyring's lock, so that no
change of the keyring comes between. Killed in between, the file is there and unrecorded; the same
command again finds that it is the same, and records it. A record that came first would name a
backup that was perhaps never written, and somebody would rely on it.

    backup:   lock ─▶ copy the file ─▶ write, read back ─▶ append
    restore:  backup opens, and fits the log ─▶ lock ─▶ nothing is lost ─▶ write it beside
              ─▶ append ─▶ keep the old file aside, give the new one its name

That a backup is put back is recorded once nothing but two names is left to be changed; killed
there, the same command again records and does it again.

Who restores has lost the file or can no longer open it, or has restored an older log that needs
what was destroyed since. A file that opens as the backup does and holds as much is not lost, and
is left alone; one that holds keys which the log has committed to and the backup lacks is never
replaced; any other is kept aside under another name, with what it holds of other branches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ledger.aggregates.key_backups import (
    KeyBackedUp,
    KeyBackup,
    KeyBackupHistory,
    KeyBackupReplaced,
    KeyRestored,
    fold_key_backups,
)
from ledger.aggregates.keys import KeyHistory
from ledger.archive.nearness import refuse_beside_database
from ledger.errors import (
    Conflict,
    KeyUnavailable,
    LedgerError,
    NotFound,
    Refused,
    Tampered,
    Unavailable,
)
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.epochs import EpochKeys
from ledger.sealing.kept_files import KeptFile, kept_files_with
from ledger.sealing.key_backup_file import (
    checked_path,
    refuse_beside_keyring,
    refuse_itself,
    remove_key_backup,
    write_key_backup,
)
from ledger.sealing.keyring import Keyring, UnlockedKeyring
from ledger.sealing.keyring_file import keyring_bytes, placing
from ledger.sealing.keyring_parsing import parse_keyring
from ledger.sealing.slots import AUDITOR, OPERATOR, Holding
from ledger.usecases.acting import Acting
from ledger.usecases.backups import LookAtBackups
from ledger.usecases.desk import Desk
from ledger.usecases.held_keys import HeldKeys, drop, making_way
from ledger.usecases.slots import KeyringEvent

NEEDS_EXPORT = "Ask an operator for a new export of this auditor's keyring."
_PAGE_ROWS = 500


class KeyBackupOutcome(msgspec.Struct, frozen=True):
    """A key backup that was written, or put back."""

    path: Path
    epoch: int
    """The ledger's current epoch."""
    digest: bytes
    """SHA-256 of the backup."""
    position: int
    kept: Path | None = None
    """What the file that was replaced is called now."""
    lacks_next: bool = False
    """Whether the epoch after the current one is missing, without which nobody can rotate."""


class AttestReplaced(msgspec.Struct, frozen=True):
    """The attested end of one recorded key backup."""

    desk: Desk
    acting: Acting
    backup: int

    def decide(self, transaction: Transaction) -> int:
        """Append it; `no-such-key-backup`, `key-backup-replaced-already`.

        `database-backup-rests-on-it` for the last one with a key on which that backup's values
        rest.
        """
        backups = key_backup_history(self.desk, transaction)
        backup = backups.at(self.backup)
        if backup is None:
            raise NotFound(
                "no-such-key-backup",
                "No key backup was recorded at this position.",
                hint="`credledger key backup list` shows the recorded ones.",
            )
        if not backup.stands:
            raise Conflict(
                "key-backup-replaced-already", "The end of this key backup was attested before."
            )
        self._require_spare(transaction, backup, backups)
        return transaction.append(
            self.desk.streams.keyring(),
            KeyBackupReplaced(self.backup),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        ).position

    def _require_spare(
        self, transaction: Transaction, backup: KeyBackup, backups: KeyBackupHistory
    ) -> None:
        history = self.desk.key_history(transaction)
        archived = LookAtBackups(self.desk).decide(transaction).newest
        if archived is None or archived.position >= history.whole_from:
            return
        for epoch in range(1, history.current):
            alone = backups.with_secret(epoch) == (backup,)
            if alone and history.state_of(epoch) in {"destroying", "destroyed"}:
                raise Refused(
                    "database-backup-rests-on-it",
                    f"No other key backup holds the key of values of epoch {epoch}, on which the"
                    " newest backup of the database rests.",
                    hint="Run `credledger backup create DIR` first, then this again.",
                )


class KeyBackups:
    """The key backups of one ledger, and its keyring's place."""

    def __init__(self, desk: Desk, writer: Writer, held: HeldKeys) -> None:
        self._desk = desk
        self._writer = writer
        self._held = held
        self._keyring = held.path

    def history(self) -> KeyBackupHistory:
        """All that were recorded."""
        return self._writer.look(lambda view: key_backup_history(self._desk, view))

    def kept_files(self) -> tuple[KeptFile, ...]:
        """Files beside this host's keyring that hold keys which the log calls destroyed."""
        history = self._writer.look(self._desk.key_history)
        gone = history.destroying
        if not gone:
            return ()
        return kept_files_with(self._keyring, self._held.unlocked, gone, history.committed)

    def create(
        self, acting: Acting, destination: Path, forbidden: Sequence[Path]
    ) -> KeyBackupOutcome:
        """Copy the keyring to a place that lies with nothing in the `forbidden` folders.

        One that lacks the next epoch is copied too, for it may be the last that there is; the
        outcome tells, and it suffices for no rotation.

        Nor with any archive, nor with the keyring itself. Errors as `refuse_beside_database`,
        `refuse_beside_keyring` and `write_key_backup`.
        """
        place = checked_path(destination)
        refuse_beside_database(place, forbidden)
        refuse_itself(place, self._keyring)
        refuse_beside_keyring(place, self._keyring)
        with self._held.changing(lambda: self._writer.look(self._desk.key_history)) as (
            file,
            history,
        ):
            drop(file, history)
            content = keyring_bytes(self._keyring)
            held = file.held
            # Nobody changes the file meanwhile, so what is copied is what was opened.
            assert parse_keyring(content) == held.keyring
            digest = hashlib.sha256(content).digest()
            made = write_key_backup(place, content)
            if not made:
                self._refuse_recorded(place, digest)
            # What the log did not choose, or will not, is no epoch of its own, whatever number it
            # has.
            astray = held.astray(history.committed, history.current) | making_way(held, history)
            epochs = tuple(
                (keys.epoch, keys.secret is not None)
                for keys in held.epochs
                if keys.epoch not in astray
            )
            slots = _live_operators(held.keyring, history)
            event = KeyBackedUp(str(place), digest, epochs, held.keyring.generation, slots)
            try:
                position = self._writer.run(KeyringEvent(self._desk, acting, event))
            except Unavailable:
                # It may be recorded all the same; run again, what is there is gone on with.
                raise
            except LedgerError:
                if made:
                    remove_key_backup(place)
                raise
        lacks_next = all(epoch != history.current + 1 for epoch, _ in epochs)
        return KeyBackupOutcome(place, history.current, digest, position, lacks_next=lacks_next)

    def attest_replaced(self, acting: Acting, backup: int) -> int:
        """Record that the backup recorded at this position no longer exists; the position."""
        return self._writer.run(AttestReplaced(self._desk, acting, backup))

    def restore(self, acting: Acting, source: Path, content: bytes) -> KeyBackupOutcome:
        """Put a key backup in the keyring's place; the ledger was opened with that very backup.

        `keyring-not-lost`, `keyring-holds-more`, `keyring-exists` where what is there stays.
        """
        backup, path = self._held.unlocked, checked_path(source)
        digest = hashlib.sha256(content).digest()
        with placing(self._keyring) as place:
            history = self._writer.look(self._desk.key_history)
            there = place.content()
            present = None if there is None else _whole(there)
            if present is not None:
                _refuse_loss(backup, present, history)
            aside = place.free_name()
            event = KeyRestored(str(path), digest, "" if aside is None else str(aside))
            with place.putting(_fitted(backup, content, history), aside):
                position = self._writer.run(KeyringEvent(self._desk, acting, event))
        held = {keys.epoch for keys in backup.epochs}
        return KeyBackupOutcome(
            place.path,
            history.current,
            digest,
            position,
            aside,
            lacks_next=history.current + 1 not in held,
        )

    def _refuse_recorded(self, place: Path, digest: bytes) -> None:
        """`key-backup-exists` for a file that was not left unrecorded by a kill."""
        for backup in self.history().standing():
            if (backup.path, backup.digest) == (str(place), digest):
                raise Conflict(
                    "key-backup-exists",
                    "This very key backup is there already, and recorded.",
                    hint=f"It is recorded at position {backup.position}; nothing was changed.",
                )


def require_replaceable(keyring: Path, backup: UnlockedKeyring, history: KeyHistory) -> None:
    """Errors as `KeyBackups.restore`, before anything else is done; nothing is changed."""
    with placing(keyring) as place:
        there = place.content()
        present = None if there is None else _whole(there)
        if present is not None:
            _refuse_loss(backup, present, history)


def key_backup_history(desk: Desk, view: Transaction) -> KeyBackupHistory:
    """All recorded key backups, as a transaction sees them."""
    return view.load(desk.streams.keyring(), fold_key_backups) or KeyBackupHistory()


def _live_operators(keyring: Keyring, history: KeyHistory) -> tuple[int, ...]:
    """The numbers of operators' slots in a keyring which the log knows by the same signing key."""
    return tuple(
        slot.id
        for slot in keyring.slots
        if slot.opens == OPERATOR
        and history.is_live(slot.id)
        and history.slots[slot.id].signing_key == slot.signing_public_key
    )


def require_not_behind(desk: Desk, writer: Writer, unlocked: UnlockedKeyring) -> None:
    """`keyring-behind` where the log has started epochs whose keys are not held.

    It goes by the checked head, which needs no key. What the keyring's stream tells of key backups
    is read as far as the held keys open it, to name the one that helps.
    """
    require_holding(
        unlocked,
        writer.head.epoch,
        lambda: _readable_history(desk, writer),
        "`credledger key restore`",
    )


def require_holding(
    unlocked: UnlockedKeyring, current: int, readable: Callable[[], KeyBackupHistory], how: str
) -> None:
    """`keyring-behind` unless all epochs up to the current one are held.

    `readable` tells of recorded key backups as far as the held keys open the log, and `how` one is
    put back.
    """
    held = {keys.epoch for keys in unlocked.epochs}
    lacking = [epoch for epoch in range(1, current + 1) if epoch not in held]
    if not lacking:
        return
    epochs = f"epoch {lacking[0]}" if len(lacking) == 1 else f"epochs {lacking[0]} to {lacking[-1]}"
    raise KeyUnavailable(
        "keyring-behind",
        f"The keyring lacks {epochs}, which the log has started.",
        hint=_what_helps(readable(), current, max(held), how)
        if unlocked.is_operator
        else NEEDS_EXPORT,
    )


def _what_helps(readable: KeyBackupHistory, current: int, newest_held: int, how: str) -> str:
    """Where the keys of the current epoch are to be had, as far as the held keys tell."""
    helping, newest = readable.newest_with(current), readable.newest()
    if helping is not None:
        return (
            f"{how[0].upper()}{how[1:]} the key backup recorded at position {helping.position}:"
            f" {helping.path} ({helping.by}, SHA-256 {helping.digest.hex()}), or copy the newer"
            " keyring from the host that rotated."
        )
    if newest is not None and newest.newest_epoch > newest_held:
        return (
            "Copy the newer keyring from the host that rotated. As far as this one can read the"
            f" log, no key backup holds epoch {current}; {newest.path} ({newest.by}, SHA-256"
            f" {newest.digest.hex()}) holds up to epoch {newest.newest_epoch}; {how} that one, which"
            " names the next."
        )
    return (
        f"Copy the newer keyring from the host that rotated, or {how} a newer key backup; as far as this one can read the log, none is recorded that holds epoch"
        f" {current}."
    )


def _readable_history(desk: Desk, writer: Writer) -> KeyBackupHistory:
    """Recorded key backups, from those rows of the keyring's stream that the held keys open.

    A row under other keys than those that are held for its epoch is one that they do not open.
    """
    state: KeyBackupHistory | None = None
    version = 0
    stream = desk.streams.keyring()
    while True:
        with writer.store.reading() as reading:
            rows = reading.stream_rows(stream, version, _PAGE_ROWS)
        for row in rows:
            version = row.version
            try:
                state = fold_key_backups(state, desk.mapper.open(row))
            except KeyUnavailable:
                continue
            except Tampered as error:
                if error.code != "sealed-unreadable":
                    raise
        if not rows:
            return state or KeyBackupHistory()


def _whole(content: bytes) -> Keyring | None:
    """A keyring's content; None where nothing can be read from it any more."""
    try:
        return parse_keyring(content)
    except KeyUnavailable as error:
        if error.code != "keyring-damaged":
            raise
        return None


def _fitted(backup: UnlockedKeyring, content: bytes, history: KeyHistory) -> bytes:
    """The backup as it is; counted on where slots were added since, whose numbers are taken.

    Put back as it is, it could add no slot: the next number in it is known to the log.
    """
    next_slot = max(history.slots) + 1
    if backup.keyring.next_slot >= next_slot:
        return content
    counted_on = backup.numbering_from(next_slot, backup.keyring.generation + 1)
    return counted_on.keyring.to_bytes()


def _refuse_loss(backup: UnlockedKeyring, present: Keyring, history: KeyHistory) -> None:
    """Errors as `KeyBackups.restore`, where the file that is there must stay."""
    if present.ledger_id != backup.ledger_id or present.kind == AUDITOR:
        raise Conflict(
            "keyring-exists",
            "The keyring at this place is another ledger's or an auditor's.",
            hint="Check --keyring; nothing was changed.",
        )
    seen = present.seen_by(backup)
    if seen is None:
        _require_all_committed(backup, history)
        return
    # What the log calls destroyed is no loss, and the backup at hand holds none of it any more.
    # What the log has not committed to is needed on another branch of it, if at all: it is kept
    # aside with the file. So is the next epoch, under which nothing is sealed, where the backup
    # brings back keys of those that were started: no file may have both.
    held = tuple(
        keys.without(history.destroying)
        for keys in seen
        if keys.epoch in history.committed and history.committed[keys.epoch].fit(keys)
    )
    started = _started(held, history)
    brings_back = _keep(backup.epochs, started) and not _keep(
        started, _started(backup.epochs, history)
    )
    if not (_keep(backup.epochs, held) or brings_back):
        raise Conflict(
            "keyring-holds-more",
            "The keyring that is there holds keys that the key backup lacks.",
            hint="It stays as it is: unlock it by another slot or by recovery shares, or restore a"
            " newer key backup.",
        )
    slots = {slot.id for slot in present.slots}
    lost = [slot for slot in backup.keyring.slots if slot.id not in slots]
    unchanged = _keep(held, backup.epochs) and not any(history.is_live(slot.id) for slot in lost)
    if unchanged and _opens(present, backup.holding):
        raise Conflict(
            "keyring-not-lost",
            "The keyring that is there opens as the key backup does, and holds all of its keys.",
            hint="There is no keyring to restore, and nothing was changed; `credledger backup restore`"
            " does without --key-backup here.",
        )


def _require_all_committed(backup: UnlockedKeyring, history: KeyHistory) -> None:
    """For a file that nobody can look into: then the backup must hold all that the log knows of."""
    held = {keys.epoch: keys for keys in backup.epochs}
    lacking = [
        epoch
        for epoch, known in sorted(history.committed.items())
        if epoch not in held or not known.fit(held[epoch])
    ]
    if lacking:
        raise Conflict(
            "keyring-holds-more",
            f"The key backup lacks epoch {lacking[0]}, which the keyring that is there may hold.",
            hint="Restore a newer key backup, or move that file away if it is beyond use.",
        )


def _keep(epochs: Sequence[EpochKeys], before: Sequence[EpochKeys]) -> bool:
    """Whether these hold each key of those before."""
    ours = {keys.epoch: keys for keys in epochs}
    return all(keys.epoch in ours and ours[keys.epoch].keeps(keys) for keys in before)


def _started(epochs: Sequence[EpochKeys], history: KeyHistory) -> tuple[EpochKeys, ...]:
    return tuple(keys for keys in epochs if keys.epoch <= history.current)


def _opens(present: Keyring, holding: Holding | None) -> bool:
    try:
        return holding is not None and bool(present.unlock(holding))
    except KeyUnavailable:
        return False
