"""What `doctor` finds of files and folders: who else may read them, or put others in their place.

Files of the ledger are for their owner only; what makes them sees to that, and a copy, a move or a
mounted medium may undo it. A folder may be looked into, for names tell little, but whoever may
write there can take files away or replace them, unless it has the sticky bit, as `/tmp` has. Of
what the log recorded, that is looked at which is there on this host.
"""

from __future__ import annotations

import contextlib
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.log.memory import memory_path
from tools.doctor.findings import WARNING, Finding
from tools.file_modes import is_open_to_others, mode_of
from tools.settings import STANDARD_INPUT, Settings

if TYPE_CHECKING:
    from tools.wiring import Session

_OTHERS_WRITE = 0o022


def file_findings(settings: Settings) -> Iterator[Finding]:
    """Of what the settings name, whether or not the ledger opens."""
    secret = settings.passphrase_file
    if secret is not None and secret != STANDARD_INPUT:
        yield from _file("passphrase-file", "passphrase file", Path(secret))
    if settings.sqlite_path is not None:
        yield from _file("store", "store", settings.sqlite_path)
        yield from _folder("store's", settings.sqlite_path.parent)
    yield from _file("memory", "host's memory", memory_path(settings.keyring))
    yield from _folder("keyring's", settings.keyring.parent)


def recorded_file_findings(session: Session) -> Iterator[Finding]:
    """Of the key backups and archives that the log knows of; for an operator, who made them."""
    if not session.unlocked.is_operator:
        return
    folders: dict[Path, str] = {}
    for backup in session.ledger.key_backups.history().standing():
        yield from _file("key-backup", "key backup", Path(backup.path))
        folders[Path(backup.path).parent] = "key backups'"
    for directory in map(Path, session.ledger.backups.known().directories):
        yield from _archive(directory)
        folders[directory] = "archive's"
    for folder, whose in folders.items():
        yield from _folder(whose, folder)


def _archive(directory: Path) -> Iterator[Finding]:
    """One finding for all of its files."""
    if any(is_open_to_others(path) for path in _parts(directory)):
        yield Finding(
            "archive-too-open",
            WARNING,
            f"Files of the archive {directory} may be read by others than their owner.",
            f"chmod go= {shlex.quote(str(directory))}/part-*",
        )


def _parts(directory: Path) -> list[Path]:
    """The files of an archive; none where this account may not look."""
    with contextlib.suppress(OSError):
        return [entry for entry in directory.iterdir() if entry.name.startswith("part-")]
    return []


def _file(code: str, what: str, path: Path) -> Iterator[Finding]:
    if is_open_to_others(path):
        yield Finding(
            f"{code}-too-open",
            WARNING,
            f"The {what} {path} may be read by others than its owner.",
            f"chmod 600 {shlex.quote(str(path))}",
        )


def _folder(whose: str, path: Path) -> Iterator[Finding]:
    mode = mode_of(path)
    if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
        yield Finding(
            "folder-too-open",
            WARNING,
            f"Others than its owner may replace what is in the {whose} folder {path}.",
            f"chmod go-w {shlex.quote(str(path))}",
        )
