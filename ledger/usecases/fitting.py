"""Whether a keyring fits a log, asked before anything is written.

An open ledger asks its own log. A restore asks the archive first, which nobody has checked yet: its
keyring's stream is read as far as the held keys open it, so that a keyring which will not do is
told of before the first row is brought. What the archive says is believed only for this refusal;
rows, signatures and keyring are checked all the same while it is restored and when it is opened.
"""

from __future__ import annotations

import msgspec

from ledger.aggregates.key_backups import KeyBackupHistory, fold_key_backups
from ledger.aggregates.keys import KeyHistory, fold_keys
from ledger.archive.reading import Archive
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, Tampered
from ledger.log.rows import END
from ledger.sealing.epochs import EPOCH_MAX
from ledger.sealing.keyring import EPOCHS_AHEAD, GivenUp, UnlockedKeyring
from ledger.sealing.streams import StreamNames
from ledger.usecases.held_keys import holds_next
from ledger.usecases.key_backups import require_holding


class Archived(msgspec.Struct, frozen=True):
    """What an archive tells of the keyring, as far as the keys at hand open it."""

    keys: KeyHistory
    backups: KeyBackupHistory
    whole: bool
    """Whether all of it could be opened."""


def require_fit(
    unlocked: UnlockedKeyring, history: KeyHistory, *, ahead: bool = False, behind: bool = False
) -> None:
    """Errors as `UnlockedKeyring.check`, and `slot-removed` for a slot that the log does not know.

    With `ahead` the keyring may be ahead of the log by any number of epochs; with `behind` it may
    lack any number of the newest.
    """
    accepted = EPOCH_MAX if ahead else history.accepted_epoch
    newest = max(keys.epoch for keys in unlocked.epochs)
    current = min(history.current, newest) if behind else history.current
    unlocked.check(history.committed, current, accepted)
    slot = history.slots.get(unlocked.slot.id)
    # The file's own word for the class is not believed: the log signed for key and class.
    known = (
        slot is not None
        and slot.signing_key == unlocked.slot.signing_public_key
        and slot.opens == unlocked.slot.opens
    )
    if not known or unlocked.slot.id in history.removed:
        raise slot_removed()


def slot_removed() -> KeyUnavailable:
    """For a slot that the log does not know, or has ended."""
    return KeyUnavailable(
        "slot-removed",
        "The log does not know the slot that is unlocked, or calls it removed.",
        hint="Unlock with another slot; the operator can add this one again.",
    )


def require_fit_of_archive(
    archive: Archive, unlocked: UnlockedKeyring, streams: StreamNames, mapper: EventMapper
) -> Archived:
    """The same for a log that is to be restored, and `keyring-behind`; what it tells of keys."""
    told = _told(archive, streams.keyring(), mapper)
    newest = archive.rows_after(archive.last_position() - 1, 1)
    current = max(told.keys.current, newest[-1].epoch if newest else 0)
    require_holding(unlocked, current, lambda: told.backups, "give, with `--key-backup`,")
    astray = unlocked.astray(told.keys.committed, current)
    lean = unlocked.without(GivenUp(told.keys.destroying, astray))
    lean.check(told.keys.committed, current, EPOCH_MAX)
    if told.whole:
        require_fit(lean.preferring(_live_signing_keys(archive)), told.keys, ahead=True)
    return told


def epoch_ahead(unlocked: UnlockedKeyring, history: KeyHistory) -> int:
    """The newest epoch that is held, if the keyring shows that this log is an older one; else 0.

    It does by epochs too far beyond it, and by any that is held beyond the next one where that is
    not held as the log has it: it was started with other keys on another branch, or further on.
    """
    newest, current = max(keys.epoch for keys in unlocked.epochs), history.current
    is_further_on = newest > current + 1 and not holds_next(unlocked, history)
    return newest if is_further_on or newest > current + EPOCHS_AHEAD else 0


def _told(archive: Archive, stream: bytes, mapper: EventMapper) -> Archived:
    keys: KeyHistory | None = None
    backups: KeyBackupHistory | None = None
    whole = True
    for version, row in enumerate(archive.keyring_rows(stream), 1):
        try:
            recorded = mapper.open(row) if row.version == version else None
        except (KeyUnavailable, Tampered):
            recorded = None
        if recorded is None:
            # Keys are lacking, or rows: both are told where they are looked for.
            whole = False
            break
        keys = fold_keys(keys, recorded)
        backups = fold_key_backups(backups, recorded)
    if keys is None:  # every log begins with a row of this stream
        return Archived(KeyHistory(), KeyBackupHistory(), whole=False)
    return Archived(keys, backups or KeyBackupHistory(), whole)


def _live_signing_keys(archive: Archive) -> set[bytes]:
    ended = {row.public_key for row in archive.signers() if row.change == END}
    return {row.public_key for row in archive.signers()} - ended
