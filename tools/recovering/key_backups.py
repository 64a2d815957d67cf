"""Key backups as the command line makes, puts back and shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ledger.discreet import Discreet
from ledger.errors import InvalidInput, NotFound
from tools.settings import Settings, real_path
from tools.when import to_text

RENEW_COPIES = (
    "Make a new key backup with `credledger key backup DEST`, and copy the keyring to the other"
    " hosts: earlier copies open as they did when they were made."
)
"""Told after every change of who may unlock."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ledger.aggregates.key_backups import KeyBackup
    from ledger.sealing.keyring import Keyring, UnlockedKeyring
    from ledger.sealing.slots import Holding
    from ledger.usecases.acting import Acting
    from ledger.usecases.ledger import Ledger
    from tools.people.documents import StandardInput
    from tools.wiring import Session, Unlock

_BOTH_LOST = (
    "Check --store; if the database is lost too, give the key backup to"
    " `credledger backup restore DIR --key-backup SRC`."
)


def database_folders(session: Session) -> list[Path]:
    """The folders in which the database and its recorded backups lie, as this host sees them."""
    store = session.settings.sqlite_path
    backups = [Path(directory) for directory in session.ledger.backups.known().directories]
    return backups if store is None else [store.parent, *backups]


def back_up(
    session: Session, acting: Acting, destination: str
) -> tuple[dict[str, object], bool, bool]:
    """Make a key backup: its JSON shape, and what is to be told of it.

    Whether it lies on the device of what it is to outlive, and whether it lacks the epoch after the
    current one.
    """
    from ledger.sealing.key_backup_file import shares_device

    folders = database_folders(session)
    outcome = session.ledger.key_backups.create(acting, real_path(destination), folders)
    beside = shares_device(outcome.path, [session.settings.keyring, *folders])
    document: dict[str, object] = {
        "path": str(outcome.path),
        "epoch": outcome.epoch,
        "digest": outcome.digest.hex(),
        "position": outcome.position,
    }
    return document, beside, outcome.lacks_next


class Presented(Discreet, msgspec.Struct, frozen=True):
    """A key backup that somebody wants in the keyring's place, and what opens it."""

    SHOWN: ClassVar = ("place", "shares", "shares_file")

    place: Path
    keyring: Keyring
    content: bytes
    shares: bool = False
    """Whether recovery shares unlock it, typed unless they are in a file."""
    shares_file: str | None = None

    def unlock(
        self, settings: Settings, standard_input: StandardInput
    ) -> tuple[Holding, UnlockedKeyring]:
        """What was handed in, and the backup opened with it."""
        holding = _holding(
            settings, standard_input, shares=self.shares, shares_file=self.shares_file
        )
        return holding, self.keyring.unlock(holding, settings.slot)

    def put_back(self, ledger: Ledger, acting: Acting) -> tuple[dict[str, object], bool]:
        """Put it back and record that; see `restore_from` for what is answered."""
        outcome = ledger.key_backups.restore(acting, self.place, self.content)
        document: dict[str, object] = {
            "path": str(outcome.path),
            "epoch": outcome.epoch,
            "digest": outcome.digest.hex(),
            "position": outcome.position,
            "source": str(self.place),
            "kept": None if outcome.kept is None else str(outcome.kept),
        }
        return document, outcome.lacks_next


def presented(source: Path, *, shares: bool, shares_file: str | None) -> Presented:
    """The key backup in a file; errors as `read_key_backup`."""
    from ledger.sealing.key_backup_file import read_key_backup

    if shares and shares_file is not None:
        raise InvalidInput("usage", "Give --shares or --shares-file, not both.")
    place = real_path(str(source))
    keyring, content = read_key_backup(place)
    return Presented(place, keyring, content, shares, shares_file)


def restore_from(
    source: Path,
    opened: Callable[[Unlock], AbstractContextManager[Session]],
    acting: Acting,
    *,
    shares: bool,
    shares_file: str | None,
) -> tuple[dict[str, object], bool]:
    """Put a key backup back; its JSON shape, and whether it lacks the epoch after the current.

    `opened` is the ledger, by what unlocks the backup.
    """
    backup = presented(source, shares=shares, shares_file=shares_file)
    try:
        with opened(backup.unlock) as session:
            return backup.put_back(session.ledger, acting)
    except NotFound as error:
        if error.code != "no-ledger":
            raise
        raise NotFound(error.code, error.message, hint=_BOTH_LOST) from error


def backup_document(backup: KeyBackup) -> dict[str, Any]:
    """One recorded key backup."""
    return {
        "position": backup.position,
        "recorded_at": to_text(backup.recorded_at),
        "by": backup.by,
        "path": backup.path,
        "digest": backup.digest.hex(),
        "epochs": [epoch for epoch, _ in backup.epochs],
        "slots": list(backup.slots),
        "replaced": backup.replaced_at,
    }


def last_key_backup(session: Session) -> dict[str, Any] | None:
    """The newest recorded key backup that may still exist, as `status` tells it."""
    newest = session.ledger.key_backups.history().newest()
    if newest is None:
        return None
    return {
        "path": newest.path,
        "digest": newest.digest.hex(),
        "epochs": [epoch for epoch, _ in newest.epochs],
        "position": newest.position,
        "recorded_at": to_text(newest.recorded_at),
    }


def _holding(
    settings: Settings, standard_input: StandardInput, *, shares: bool, shares_file: str | None
) -> Holding:
    from tools.people.holdings import present_holding
    from tools.recovering.recovery import SharesGiven

    if shares or shares_file is not None:
        return SharesGiven(shares_file).holding(standard_input)
    return present_holding(settings, standard_input)
