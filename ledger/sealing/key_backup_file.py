"""A key backup: the keyring's file as it is, in another place, private and verified.

It must not lie with the database or with a copy of it (`archive.nearness`): whoever gets hold of
one folder, disk or archive would have both. Nor does it lie in the keyring's own folder, with which
it would be lost. A folder is the same by whatever name or mount it is reached.

    refuse the place ─▶ write beside it, fsync, link ─▶ drop the cache, read back, compare

The folder must be there already: where a stick is not mounted, one made in its place would be on
the disk that the backup is to outlive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ledger.errors import Conflict, InvalidInput, KeyUnavailable, LedgerError, Refused, Unavailable
from ledger.places import identity, is_within
from ledger.private_files import create_private_file, read_private
from ledger.sealing.keyring import Keyring
from ledger.sealing.keyring_parsing import BYTES_MAX, parse_keyring

WHAT = "key-backup"
PATH_LENGTH_MAX = 4096


def checked_path(path: Path) -> Path:
    """The real path of a destination; `invalid-path` for one that cannot be recorded as text."""
    real = Path(os.path.realpath(path))
    text = str(real)
    if len(text) > PATH_LENGTH_MAX or not text.isprintable():
        raise InvalidInput(
            "invalid-path", "The path is too long, or has characters that are not printable."
        )
    return real


def refuse_beside_keyring(destination: Path, keyring: Path) -> None:
    """`key-backup-beside-keyring` in the keyring's folder or below it, by whatever name."""
    if lies_with_keyring(destination, keyring):
        raise Refused(
            "key-backup-beside-keyring",
            "The key backup would lie in the keyring's folder or below it.",
            hint="What takes that folder takes both; choose a place of its own, best on a medium"
            " that is stored elsewhere.",
        )


def lies_with_keyring(copy: Path, keyring: Path) -> bool:
    """Whether a key backup lies in the keyring's folder or below it."""
    return is_within(copy.parent, Path(os.path.realpath(keyring)).parent)


def shares_device(destination: Path, others: Iterable[Path]) -> bool:
    """Whether a file lies on the same device as one of these files or folders."""
    device = _device(destination)
    return device is not None and any(_device(other) == device for other in others)


def refuse_itself(destination: Path, keyring: Path) -> None:
    """`key-backup-exists` for the keyring's own file, under whatever name."""
    found = identity(destination)
    if found is not None and found == identity(keyring):
        raise Conflict(
            "key-backup-exists",
            "There is something at the key backup's place already.",
            hint="It is the keyring itself; name a file that is not there yet, on another medium.",
        )


def write_key_backup(destination: Path, content: bytes) -> bool:
    """Write a key backup and read it back; durable and verified on return.

    False where the very same file was there already, as after a kill before it was recorded.

    `key-backup-exists` where something else is, `key-backup-not-writable`,
    `key-backup-not-private`, `key-backup-differs`.
    """
    made = True
    try:
        create_private_file(destination, content)
    except FileExistsError as error:
        if not _is_there(destination, content):
            raise Conflict(
                "key-backup-exists",
                "There is something at the key backup's place already.",
                hint="Name a file that is not there yet, for instance with today's date in it.",
            ) from error
        made = False
    except OSError as error:
        raise Unavailable(
            "key-backup-not-writable",
            "The key backup cannot be written there.",
            hint="Check that the medium is mounted, its free space, and the folder's rights;"
            " the folder must be there already.",
        ) from error
    _forget_cached(destination)
    if _open_to_others(destination):
        remove_key_backup(destination)
        raise Unavailable(
            "key-backup-not-private",
            "The medium lets others read the key backup; it was taken away again.",
            hint="Mount it with fmask=0177, or use one whose file system keeps file modes.",
        )
    if not _is_there(destination, content):
        raise Unavailable(
            "key-backup-differs",
            "The key backup does not read as it was written; it is not recorded.",
            hint="The medium may be failing: use another one, and delete that file.",
        )
    return made


def remove_key_backup(path: Path) -> None:
    """Take away a key backup that could not be recorded."""
    path.unlink(missing_ok=True)


def read_key_backup(path: Path) -> tuple[Keyring, bytes]:
    """A key backup and its bytes; `key-backup-missing`, `-too-open`, `-damaged`."""
    content = read_private(path, WHAT, bytes_max=BYTES_MAX)
    try:
        return parse_keyring(content), content
    except KeyUnavailable as error:
        if error.code != "keyring-damaged":
            raise
        raise KeyUnavailable(
            "key-backup-damaged",
            "The key backup is truncated, altered or no keyring at all.",
            hint="Use another key backup; `credledger key backup list` or the emergency sheet"
            " tells where they are.",
        ) from error


def _is_there(path: Path, content: bytes) -> bool:
    try:
        return read_private(path, WHAT, bytes_max=BYTES_MAX) == content
    except LedgerError:
        return False


def _open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _forget_cached(path: Path) -> None:
    """Have what is read next come from the medium, where the system can be asked for that."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _device(path: Path) -> int | None:
    found = identity(path)
    return None if found is None else found[0]
