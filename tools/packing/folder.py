"""The folder that a pack is to lie in, and what becomes of it when the disk or a kill says no.

    DIR             not there, or an empty folder, until the whole pack takes its place
    .NAME.new       beside it: the pack while it is written and checked; left by a kill
    .NAME.lock      beside it: held meanwhile

The files are written and synced in the folder beside, checked there by the stand-alone verifier,
and the folder gets its name by one rename. So whatever bears the name is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from ledger.errors import Conflict, Unavailable
from ledger.private_files import sync_folder

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BUFFER_BYTES = 1024**2


class PackFile:
    """One file of a pack while it is written; its length and digest are kept as it grows."""

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        self.length = 0
        self._stream = stream
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        """Append; `pack-disk-full`, `pack-not-writable`."""
        try:
            self._stream.write(content)
        except OSError as error:
            raise not_writable(error) from error
        self._digest.update(content)
        self.length += len(content)

    def entry(self) -> dict[str, object]:
        """What the manifest tells of it."""
        return {"bytes": self.length, "name": self.name, "sha256": self._digest.hexdigest()}


class PackFolder:
    """Where a pack is to lie, and the folder beside it where it is made."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.draft = self.path.with_name(f".{self.path.name}.new")
        self._files: list[PackFile] = []

    @contextlib.contextmanager
    def being_written(self) -> Iterator[None]:
        """Alone with the place; nothing of the draft stays where the `with` ends in an exception.

        `pack-folder-not-empty` where something lies at the place, `pack-locked` where another
        process is writing there.
        """
        lock_path = self.path.with_name(f".{self.path.name}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(lock_path, timeout=0, mode=0o600)
            lock.acquire()
        except Timeout as error:
            if not lock_path.exists():  # nobody holds it: no lock can be made there
                raise not_writable(OSError()) from error
            raise Unavailable(
                "pack-locked", "Another process writes a pack into that folder."
            ) from error
        except OSError as error:
            raise not_writable(error) from error
        try:
            self._require_empty()
            self._clear()
            with _as_ours():
                self.draft.mkdir(mode=0o700)
            yield
        finally:
            with contextlib.suppress(Unavailable):
                self._clear()
            with contextlib.suppress(OSError):
                lock_path.unlink(missing_ok=True)
            lock.release()

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[PackFile]:
        """A new file of the draft; durable once the `with` is left."""
        with _as_ours():
            descriptor = os.open(self.draft / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            stream = os.fdopen(descriptor, "wb", _BUFFER_BYTES)
        made = PackFile(name, stream)
        try:
            yield made
            with _as_ours():
                stream.flush()
                os.fsync(stream.fileno())
            self._files.append(made)
        finally:
            with contextlib.suppress(OSError):
                stream.close()

    def write(self, name: str, content: bytes) -> None:
        """A whole file of the draft."""
        with self.file(name) as made:
            made.write(content)

    def entries(self) -> list[dict[str, object]]:
        """What the manifest tells of all files so far, by name."""
        return [made.entry() for made in sorted(self._files, key=lambda made: made.name)]

    @property
    def length(self) -> int:
        """All bytes written so far."""
        return sum(made.length for made in self._files)

    def publish(self) -> None:
        """Give the draft its name; durable on return."""
        with _as_ours():
            sync_folder(self.draft)
            self.draft.rename(self.path)  # an empty folder gives way
            sync_folder(self.path.parent)

    def _require_empty(self) -> None:
        with _as_ours():
            nothing = not os.path.lexists(self.path)
            if nothing or (self.path.is_dir() and not any(self.path.iterdir())):
                return
        raise Conflict(
            "pack-folder-not-empty",
            "There is something in that folder already.",
            hint="Give a folder that is not there yet, or an empty one.",
        )

    def _clear(self) -> None:
        with _as_ours():
            if self.draft.is_symlink() or self.draft.is_file():
                self.draft.unlink()
            elif self.draft.exists():
                shutil.rmtree(self.draft)


def not_writable(error: OSError) -> Unavailable:
    """What the disk said, in our words."""
    if error.errno in _NO_ROOM:
        return Unavailable(
            "pack-disk-full",
            "The disk of the pack is full; there is no pack.",
            hint="Make room and run the command again, or give a folder on another disk.",
        )
    return Unavailable(
        "pack-not-writable",
        "The pack cannot be written there.",
        hint="Give a folder that is not there yet, in one that you may write to.",
    )


@contextlib.contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_writable(error) from error
