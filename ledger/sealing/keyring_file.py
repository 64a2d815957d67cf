"""The keyring's file: read with suspicion, changed under a lock, replaced as a whole.

A change takes the lock file beside it, reads the file anew, lets the change be made on what it
finds, and writes: temporary file, fsync, rename, fsync of the folder. So two processes lose
nothing of each other's, and a kill leaves the old file or the new one. Symbolic links are followed
first, so that a file has one lock whatever name it is called by, and a link stays a link. Mode
0600; a file that others may read is refused.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from ledger.errors import Conflict, KeyUnavailable, Unavailable
from ledger.sealing.keyring import BYTES_MAX, Keyring, parse_keyring

T = TypeVar("T")
_LOCK_TIMEOUT_S = 30.0


def read_private(path: Path, what: str, *, bytes_max: int = BYTES_MAX) -> bytes:
    """A file's content if nobody else may read it; `WHAT-missing`, `WHAT-too-open` otherwise."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise KeyUnavailable(
                    f"{what}-too-open",
                    f"The {what} may be read by others than its owner.",
                    hint="Run `chmod 600` on it, and consider who has read it until now.",
                )
            return file.read(bytes_max + 1)
    except OSError as error:
        raise KeyUnavailable(
            f"{what}-missing",
            f"The {what} is not there or cannot be read.",
            hint=f"Check where the {what} lies and who may read it.",
        ) from error


def read_keyring(path: Path) -> Keyring:
    """Read and parse; see `keyring.parse_keyring`."""
    return parse_keyring(read_private(path, "keyring"))


def create_keyring_file(path: Path, keyring: Keyring) -> None:
    """Write a keyring where none is; `keyring-exists` otherwise; durable on return."""
    path = _real(path)
    _make_folder(path)
    with _locked(path):
        require_free(path)
        _replace_file(path, keyring.to_bytes())


def require_free(path: Path) -> None:
    """`keyring-exists` where something is already."""
    if path.exists():
        raise Conflict("keyring-exists", "There is a keyring at this place already.")


def update_keyring_file(path: Path, change: Callable[[Keyring], tuple[Keyring, bytes, T]]) -> T:
    """Change what the file holds now; `change` returns keyring, its root, and an answer."""
    path = _real(path)
    with _locked(path):
        before = read_keyring(path)
        after, root, answer = change(before)
        _replace_file(path, after.bumped(root, before.generation + 1).to_bytes())
    return answer


def refuse_beside_store(keyring: Path, store: Path) -> None:
    """Keyring and database must not share a folder: whoever copies one must not get both."""
    ours, theirs = _real(keyring).parent, _real(store).parent
    if ours == theirs or theirs in ours.parents:
        raise KeyUnavailable(
            "keyring-beside-store",
            "The keyring lies in the database's folder or below it.",
            hint="Keep the keyring in a folder of its own, best on another disk.",
        )


def _real(path: Path) -> Path:
    # Unlike Path.resolve this never fails, not even on links that lead in a circle.
    return Path(os.path.realpath(path))


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _not_writable() from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=_LOCK_TIMEOUT_S, mode=0o600)
    try:
        with lock:
            yield
    except Timeout as error:
        raise Unavailable("keyring-locked", "Another process changes the keyring.") from error
    except OSError as error:
        raise _not_writable() from error


def _replace_file(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # left by a kill; nobody else writes under the lock
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _not_writable() from error


def _not_writable() -> Unavailable:
    return Unavailable(
        "keyring-not-writable",
        "The keyring's folder cannot be written; the keyring is unchanged.",
        hint="Check the folder's rights and the free space of its disk.",
    )
