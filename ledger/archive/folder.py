"""The folder that an archive lies in, and what becomes of it when the disk or a kill says no.

    part-AFTER+1-SIZE.NNNNNN.segment     rows, each file whole under its name or not there
    part-AFTER+1-SIZE.manifest           the last to come: without it the part is unfinished
    NAME.new                             being written; left by a kill, taken away by the next run
    .lock                                held while a part is written

A folder may hold several parts, each going on from another. Files are written beside their name,
synced, renamed, and the folder is synced before the manifest gets its name and after.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from ledger.archive.manifest import (
    MANIFEST_BYTES_MAX,
    Manifest,
    Segment,
    damaged,
    parse_manifest,
)
from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Tampered, Unavailable
from ledger.places import folders_in
from ledger.private_files import sync_folder

_NAME = r"part-\d{16,19}-\d{16,19}"
_MANIFEST = re.compile(rf"{_NAME}\.manifest")
_OURS = re.compile(rf"{_NAME}\.(?:manifest|\d{{6}}\.segment)(?:\.new)?")
_NOT_A_FILE = {"lost+found"}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_THERE = (FileNotFoundError, NotADirectoryError)


class Unreadable(NamedTuple):
    """A part that is complete by its name, and whose manifest is none."""

    path: Path
    """Of its manifest."""
    size: int
    """Up to where the part goes, by its name."""
    error: Tampered | Unavailable


class ArchiveFolder:
    """One folder with parts of archives."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))

    def require_name(self) -> None:
        """`invalid-path` for a folder that no record could name, because it is no text."""
        try:
            str(self.path).encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                "invalid-path",
                "The folder's name, or that of one around it, is no valid Unicode.",
                hint="Give the folder another name; nothing was changed.",
            ) from error

    def manifests(self) -> list[Manifest]:
        """What is complete here; errors as `parts`, or what is wrong with one."""
        found, unreadable = self.parts()
        for one in unreadable:
            raise one.error
        return found

    def parts(self) -> tuple[list[Manifest], list[Unreadable]]:
        """What is complete here, and what is wrong of it; `no-archive`, `archive-unfinished`."""
        names = self._names()
        complete = sorted(name for name in names if _MANIFEST.fullmatch(name))
        if complete:
            found: list[Manifest] = []
            unreadable: list[Unreadable] = []
            for name in complete:
                try:
                    found.append(self._manifest(name))
                except (Tampered, Unavailable) as error:
                    unreadable.append(Unreadable(self.path / name, _size_of(name), error))
            return found, unreadable
        if any(_OURS.fullmatch(name) for name in names):
            raise NotFound(
                "archive-unfinished",
                "The archive was never finished: its manifest is missing.",
                hint="Run `credledger backup create` with this folder again, or use another.",
            )
        raise NotFound(
            "no-archive",
            "There is no archive in that folder.",
            hint="Check the folder; it is the one that was given to `credledger backup create`.",
        )

    def beside(self) -> Iterator[ArchiveFolder]:
        """The other folders in the same place."""
        for entry in folders_in(self.path.parent):
            if entry != self.path:
                yield ArchiveFolder(entry)

    def parts_if_any(self) -> tuple[list[Manifest], list[Unreadable]]:
        """As `parts`, and nothing where there is none; for looking around."""
        with contextlib.suppress(LedgerError):
            return self.parts()
        return [], []

    def readable_manifests(self) -> list[Manifest]:
        """What is complete here and can be read; for looking around."""
        return self.parts_if_any()[0]

    def holds_all(self, manifest: Manifest) -> bool:
        """Whether each segment file of a part is there, as long as it should be."""
        try:
            return all(
                (self.path / manifest.segment_name(number)).stat().st_size == told.stored_bytes
                for number, told in enumerate(manifest.segments)
            )
        except OSError:
            return False

    def stored(self, manifest: Manifest, number: int, told: Segment) -> bytes:
        """The bytes of a segment, no more than were told."""
        try:
            return self._read(manifest.segment_name(number), told.stored_bytes)
        except _NOT_THERE as error:
            raise damaged("A segment of the archive is missing.", told.first) from error

    @contextlib.contextmanager
    def being_written(self) -> Iterator[None]:
        """Alone with the folder, which is made if it is not there; leftovers of a kill are gone.

        `archive-folder-not-empty` where something else lies there, `archive-locked` where another
        process is writing.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self.path / ".lock", timeout=0, mode=0o600)
            lock.acquire()
        except Timeout as error:
            raise Unavailable(
                "archive-locked", "Another process writes an archive into that folder."
            ) from error
        except OSError as error:
            raise not_writable(error) from error
        try:
            self._require_ours()
            self._clear_leftovers()
            yield
        finally:
            lock.release()

    def write(self, name: str, content: bytes) -> None:
        """A file of this name and content; whole or absent whatever happens."""
        temporary = self.path / f"{name}.new"
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise not_writable(error) from error

    def complete(self, manifest: Manifest) -> None:
        """Write the manifest, and with it finish the part; durable on return."""
        self.sync()
        self.write(f"{manifest.name}.manifest", manifest.to_bytes())
        self.sync()

    def sync(self) -> None:
        """Make the names in the folder durable, and its own in the folder above."""
        try:
            for path in (self.path, self.path.parent):
                sync_folder(path)
        except OSError as error:
            raise not_writable(error) from error

    def _manifest(self, name: str) -> Manifest:
        try:
            content = self._read(name, MANIFEST_BYTES_MAX)
        except _NOT_THERE as error:
            raise damaged("The archive's manifest is missing.") from error
        manifest = parse_manifest(content)
        if name != f"{manifest.name}.manifest":
            raise damaged("The archive's manifest bears another part's name.")
        return manifest

    def _names(self) -> list[str]:
        try:
            return [entry.name for entry in self.path.iterdir()]
        except _NOT_THERE:
            return []
        except OSError as error:
            raise _not_readable() from error

    def _read(self, name: str, bytes_max: int) -> bytes:
        try:
            # A pipe with a name would be waited for without end; so opened it reads as empty.
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                return file.read(bytes_max + 1)
        except _NOT_THERE:
            raise
        except OSError as error:
            raise _not_readable() from error

    def _require_ours(self) -> None:
        for name in self._names():
            if not (_OURS.fullmatch(name) or name.startswith(".") or name in _NOT_A_FILE):
                raise Conflict(
                    "archive-folder-not-empty",
                    "The folder holds something else than an archive.",
                    hint="Give an empty folder, or one that is not there yet.",
                )

    def _clear_leftovers(self) -> None:
        names = self._names()
        complete = {name.removesuffix(".manifest") for name in names if _MANIFEST.fullmatch(name)}
        try:
            for name in names:
                left = name.endswith(".new") or name.partition(".")[0] not in complete
                if _OURS.fullmatch(name) and left:
                    (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise not_writable(error) from error


def holds_archive(folder: Path) -> bool:
    """Whether a part of an archive lies in a folder, such as a copy that no log tells of."""
    with contextlib.suppress(OSError):
        return any(_MANIFEST.fullmatch(entry.name) for entry in folder.iterdir())
    return False


def not_writable(error: OSError) -> Unavailable:
    """What the disk said, in our words."""
    if error.errno in _NO_ROOM:
        return Unavailable(
            "archive-disk-full",
            "The disk of the archive is full; nothing was recorded.",
            hint="Make room and run the command again with the same folder.",
        )
    return Unavailable(
        "archive-not-writable",
        "The archive cannot be written into that folder.",
        hint="Check the folder's rights and its disk.",
    )


def _size_of(manifest: str) -> int:
    return int(manifest.removesuffix(".manifest").rpartition("-")[2])


def _not_readable() -> Unavailable:
    return Unavailable(
        "archive-not-readable",
        "The archive cannot be read from that folder.",
        hint="Check the folder's rights and its disk.",
    )
