"""Files of one's own: read if nobody else may, written whole or not at all, one writer at a time.

    .NAME.<16 hex digits>.new, fsync ── link or rename ──▶ NAME, fsync of the folder

A file that takes no other's place is linked to its name, so that it is whole or absent and replaces
nothing; what a kill leaves has a name of its own and goes with the next write. Mode 0600.

What cannot be done comes out as OSError, or as the error that the caller has handed in: only the
caller knows what the file was for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ledger.errors import KeyUnavailable, LedgerError

_LEFTOVER = r"\.{name}\.[0-9a-f]{{16}}\.new"
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def real_place(path: Path) -> Path:
    """The path with all links followed; it never fails, not even on links that lead in a circle."""
    return Path(os.path.realpath(path))


def read_private(path: Path, what: str, *, bytes_max: int, when_lost: str = "") -> bytes:
    """A file's content if nobody else may read it; `WHAT-missing`, `WHAT-too-open` otherwise.

    One byte more than `bytes_max` at most, so that a longer file shows. `when_lost` ends the hint.
    """
    try:
        # A pipe with a name would be waited for without end; opened like this it reads as empty.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise KeyUnavailable(
                    f"{what}-too-open",
                    f"The {what.replace('-', ' ')} may be read by others than its owner.",
                    hint="Run `chmod 600` on it, and consider who has read it until now.",
                )
            return file.read(bytes_max + 1)
    except OSError as error:
        raise KeyUnavailable(
            f"{what}-missing",
            f"The {what.replace('-', ' ')} is not there or cannot be read.",
            hint=f"Check where the {what.replace('-', ' ')} lies and who may read it{when_lost}.",
        ) from error


def create_private_file(path: Path, content: bytes) -> None:
    """Write a file where none is, whole or not at all, mode 0600; durable on return.

    FileExistsError where something is, other kinds of OSError where it cannot be written.
    """
    _put_private_file(path, content, link)


def replace_private_file(path: Path, content: bytes) -> None:
    """The same in the place of whatever is there, which stays as it is until then."""
    _put_private_file(path, content, Path.replace)


@contextlib.contextmanager
def private_file(path: Path, room: int) -> Iterator[Callable[[bytes], None]]:
    """The same in two steps: that it can be written shows at once, and `write` gives it its name.

    So many bytes of `room` are taken up on the disk meanwhile. Where nothing is written, nothing
    is there afterwards.
    """
    clear_leftovers(path)
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "exists")
    temporary = _beside(path)

    def write(content: bytes) -> None:
        with temporary.open("r+b") as file:
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        link(temporary, path)
        sync_folder(path.parent)

    try:
        write_new(temporary, bytes(room))
        yield write
    finally:
        temporary.unlink(missing_ok=True)


def clear_leftovers(path: Path) -> None:
    """Take away what a kill left while `create_private_file` made this file, or had made it."""
    place = real_place(path)
    left = re.compile(_LEFTOVER.format(name=re.escape(place.name)))
    with contextlib.suppress(OSError):
        for entry in place.parent.iterdir():
            if left.fullmatch(entry.name):
                entry.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(
    lock: Path, timeout_s: float, *, busy: LedgerError, not_writable: LedgerError
) -> Iterator[None]:
    """Nobody else holds this lock file meanwhile; `busy` if somebody did for so many seconds."""
    held = FileLock(lock, timeout=timeout_s, mode=0o600)
    try:
        held.acquire()
    except Timeout as error:
        raise busy from error
    except OSError as error:
        raise not_writable from error
    try:
        yield
    finally:
        held.release()


def write_new(path: Path, content: bytes) -> None:
    """A file that was not there, on disk; its name is not durable yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def link(temporary: Path, path: Path) -> None:
    """Give a file one more name; FileExistsError where something has it."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # No hard links here, as on many a stick: the look before the rename has to do.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "exists") from error
        temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_private_file(path: Path, content: bytes, put: Callable[[Path, Path], object]) -> None:
    clear_leftovers(path)
    temporary = _beside(path)
    try:
        write_new(temporary, content)
        put(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    if not path.name:  # the root of all folders, which is there
        raise FileExistsError(errno.EEXIST, "exists")
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
