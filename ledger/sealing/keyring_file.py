"""The keyring's file: read with suspicion, changed under a lock, replaced as a whole.

A change takes the lock file beside it, reads the file anew, lets the change be made on what it
finds, and writes: temporary file, fsync, rename, fsync of the folder. So two processes lose
nothing of each other's, and a kill leaves the old file or the new one. Symbolic links are followed
first, so that a file has one lock whatever name it is called by, and a link stays a link. Mode
0600; a file that others may read is refused.

No change may drop or alter a key that the file held: what is written is opened with its root
first and compared. The exceptions are named one by one by whoever has asked the log: keys that it
calls destroyed or about to be, and epochs held ready that it did not choose.

A key file is made as every private file is (`ledger.private_files`), and so is a key backup. Where
a backup is put in the keyring's place, what was there stays as `NAME.replaced-1`, `-2` ...
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ledger.errors import Conflict, KeyUnavailable, Unavailable
from ledger.places import is_missing, is_there, is_within
from ledger.private_files import (
    create_private_file,
    link,
    locked,
    read_private,
    real_place,
    sync_folder,
    write_new,
)
from ledger.sealing.keyring import GivenUp, Keyring, UnlockedKeyring
from ledger.sealing.keyring_parsing import BYTES_MAX, parse_keyring

T = TypeVar("T")
Change = Callable[[UnlockedKeyring], tuple[Keyring, bytes, T]]
"""Of what the file holds now: the new keyring, the root that opens it, and an answer."""
NOTHING = GivenUp()
_LOCK_TIMEOUT_S = 30.0
_WHEN_LOST = "; if it is lost, `credledger key restore SRC` puts a backup back"


def read_keyring(path: Path) -> Keyring:
    """Read and parse; see `keyring.parse_keyring`."""
    return parse_keyring(keyring_bytes(path))


def keyring_bytes(path: Path) -> bytes:
    """What the file holds; `keyring-missing`, `keyring-too-open` as `read_private` has them."""
    return read_private(path, "keyring", bytes_max=BYTES_MAX, when_lost=_WHEN_LOST)


def create_keyring_file(path: Path, keyring: Keyring) -> None:
    """Write a keyring where none is; `keyring-exists` otherwise; durable on return."""
    path = real_place(path)
    _make_folder(path)
    with _locked(path):
        require_free(path)
        _replace_file(path, keyring.to_bytes())


def require_free(path: Path) -> None:
    """`keyring-exists` where something is already, `keyring-not-writable` where nobody can look."""
    if is_there(path):
        raise Conflict("keyring-exists", "There is a keyring at this place already.")
    if not is_missing(path):
        raise _not_writable()


class KeyringFile:
    """A keyring's file while its lock is held."""

    def __init__(self, path: Path, found: UnlockedKeyring) -> None:
        self._path = path
        self.held = found
        """What the file holds now."""

    def write(self, keyring: Keyring, root: bytes, given_up: GivenUp = NOTHING) -> None:
        """Replace the file by a keyring of a higher generation; durable on return.

        `keyring-would-lose-keys` where it lacks a key that is held, `keyring-damaged` where the
        root does not open it; the file stays as it was then.
        """
        generation = max(self.held.keyring.generation, keyring.generation) + 1
        after = keyring.bumped(root, generation)
        held = after.with_keys_of(self.held, root, given_up)
        _replace_file(self._path, after.to_bytes())
        self.held = held


@contextlib.contextmanager
def changing(path: Path, unlocked: UnlockedKeyring, *, wait: bool = True) -> Iterator[KeyringFile]:
    """The file under its lock, opened with an earlier unlock; errors as `Keyring.opened_by`.

    `keyring-locked` where another process does not let go of it, at once if nobody is to `wait`.
    """
    path = real_place(path)
    with _locked(path, _LOCK_TIMEOUT_S if wait else 0):
        yield KeyringFile(path, read_keyring(path).opened_by(unlocked))


def update_keyring_file(path: Path, unlocked: UnlockedKeyring, change: Change[T]) -> T:
    """Change what the file holds now, in one step; the change's answer."""
    with changing(path, unlocked) as file:
        after, root, answer = change(file.held)
        file.write(after, root)
    return answer


class KeyringPlace:
    """Where a keyring belongs while its lock is held, whatever lies there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def content(self) -> bytes | None:
        """What lies there; None where nothing does. Errors as `read_private`.

        `keyring-place-taken` for a folder, which cannot be kept aside as a file is.
        """
        if not os.path.lexists(self.path):
            return None
        if self.path.is_dir():
            raise Conflict(
                "keyring-place-taken",
                "At the keyring's place is a folder.",
                hint="Move it away, and run the command again; nothing was changed.",
            )
        return read_private(self.path, "keyring", bytes_max=BYTES_MAX)

    def free_name(self) -> Path | None:
        """What the file that is there will go by when another takes its place; None without one."""
        if not os.path.lexists(self.path):
            return None
        names = (
            self.path.with_name(f"{self.path.name}.replaced-{number}")
            for number in itertools.count(1)
        )
        return next(name for name in names if not os.path.lexists(name))

    @contextlib.contextmanager
    def putting(self, content: bytes, aside: Path | None) -> Iterator[None]:
        """Write another file beside it first; put it there once the body has come to its end.

        What was there is called `aside` then. Durable on return; `keyring-not-writable`.
        """
        temporary = _temporary(self.path)
        try:
            _write_temporary(temporary, content)
            yield
            try:
                if aside is not None:
                    link(self.path, aside)
                _take_place(temporary, self.path)
            except OSError as error:
                raise _not_writable() from error
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def placing(path: Path) -> Iterator[KeyringPlace]:
    """The place of a keyring under its lock; the folder is made if need be."""
    path = real_place(path)
    _make_folder(path)
    with _locked(path):
        yield KeyringPlace(path)


def create_key_file(path: Path, content: bytes) -> None:
    """Write a key file where none is, whole or not at all; durable on return.

    `key-file-exists` where something is, `key-file-not-writable` where it cannot be written.
    """
    place = real_place(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_private_file(place, content)
    except FileExistsError as error:
        raise Conflict("key-file-exists", "There is a key file at this place already.") from error
    except OSError as error:
        raise Unavailable(
            "key-file-not-writable",
            "The key file cannot be written there.",
            hint="Check the folder's rights and the free space of its disk.",
        ) from error


def refuse_beside_store(keyring: Path, store: Path) -> None:
    """Keyring and database must not share a folder: whoever copies one must not get both."""
    if is_within(real_place(keyring).parent, real_place(store).parent):
        raise KeyUnavailable(
            "keyring-beside-store",
            "The keyring lies in the database's folder or below it.",
            hint="Keep the keyring in a folder of its own, best on another disk.",
        )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _not_writable() from error


def _locked(
    path: Path, timeout_s: float = _LOCK_TIMEOUT_S
) -> contextlib.AbstractContextManager[None]:
    busy = Unavailable("keyring-locked", "Another process changes the keyring.")
    lock = path.with_name(f"{path.name}.lock")
    return locked(lock, timeout_s, busy=busy, not_writable=_not_writable())


def _replace_file(path: Path, content: bytes) -> None:
    temporary = _temporary(path)
    _write_temporary(temporary, content)
    try:
        _take_place(temporary, path)
    except OSError as error:
        raise _not_writable() from error


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _write_temporary(temporary: Path, content: bytes) -> None:
    try:
        temporary.unlink(missing_ok=True)  # left by a kill; nobody else writes under the lock
        write_new(temporary, content)
    except OSError as error:
        raise _not_writable() from error


def _take_place(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    sync_folder(path.parent)


def _not_writable() -> Unavailable:
    return Unavailable(
        "keyring-not-writable",
        "The keyring's folder cannot be written; the keyring is unchanged.",
        hint="Check the folder's rights and the free space of its disk.",
    )
