"""Key backups as the command line makes, puts back and shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.errors import InvalidInput
from tools.settings import Settings, real_path
from tools.when import to_text

if TYPE_CHECKING:
    from ledger.aggregates.key_backups import KeyBackup
    from ledger.sealing.keyring import UnlockedKeyring
    from ledger.sealing.slots import Holding
    from ledger.usecases.acting import Acting
    from tools.cli.command import Run
    from tools.documents import StandardInput
    from tools.wiring import Session


def database_folders(session: Session) -> list[Path]:
    """The folders in which the database and its recorded backups lie, as this host sees them."""
    store = session.settings.sqlite_path
    backups = [Path(directory) for directory in session.ledger.backups().directories]
    return backups if store is None else [store.parent, *backups]


def back_up(session: Session, acting: Acting, destination: str) -> tuple[dict[str, object], bool]:
    """Make a key backup; its JSON shape, and whether it shares a device with what it outlives."""
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
    return document, beside


def restore_from(
    run: Run, source: Path, *, shares: bool, shares_file: str | None
) -> tuple[dict[str, object], bool]:
    """Put a key backup back; its JSON shape, and whether it lacks the epoch after the current."""
    from ledger.sealing.key_backup_file import read_key_backup

    if shares and shares_file is not None:
        raise InvalidInput("usage", "Give --shares or --shares-file, not both.")
    place = real_path(str(source))
    found, content = read_key_backup(place)

    def unlock(
        settings: Settings, standard_input: StandardInput
    ) -> tuple[Holding, UnlockedKeyring]:
        holding = _holding(settings, standard_input, shares=shares, shares_file=shares_file)
        return holding, found.unlock(holding, settings.slot)

    with run.session(unlock=unlock) as session:
        outcome = session.ledger.key_backups.restore(run.acting(), place, content)
    document: dict[str, object] = {
        "path": str(outcome.path),
        "epoch": outcome.epoch,
        "digest": outcome.digest.hex(),
        "position": outcome.position,
        "source": str(place),
        "kept": None if outcome.kept is None else str(outcome.kept),
    }
    return document, outcome.lacks_next


def backup_document(backup: KeyBackup) -> dict[str, Any]:
    """One recorded key backup."""
    return {
        "position": backup.position,
        "recorded_at": to_text(backup.recorded_at),
        "by": backup.by,
        "path": backup.path,
        "digest": backup.digest.hex(),
        "epochs": [epoch for epoch, _ in backup.epochs],
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
    from tools.holdings import present_holding
    from tools.recovery import SharesGiven

    if shares or shares_file is not None:
        return SharesGiven(shares_file).holding(standard_input)
    return present_holding(settings, standard_input)
