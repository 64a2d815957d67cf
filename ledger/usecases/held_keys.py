"""The keys at hand in one process, which change while it runs.

A rotation adds an epoch, a destruction takes keys away, and another process of this host may do
either: whoever changes the keyring's file, or reads it again, hands what it holds now to the
ciphers that everybody in this process uses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from ledger.aggregates.keys import KeyHistory
from ledger.codec.mapper import EventMapper
from ledger.errors import Conflict, KeyUnavailable, LedgerError
from ledger.sealing.confidential import Confidential
from ledger.sealing.keyring import GivenUp, UnlockedKeyring
from ledger.sealing.keyring_file import KeyringFile, changing, read_keyring
from ledger.sealing.secrets import SecretBox


class HeldKeys(Confidential):
    """One unlocked keyring, its file, and the ciphers made of it."""

    def __init__(
        self, path: Path, unlocked: UnlockedKeyring, mapper: EventMapper, box: SecretBox
    ) -> None:
        self.unlocked = unlocked
        """As it was last read or written."""
        self.path = path
        """Where the file lies, or is to lie."""
        self._mapper = mapper
        self._box = box
        self._file = _identity(path)

    def take(self, unlocked: UnlockedKeyring) -> None:
        """Use these keys from now on."""
        if unlocked.epochs != self.unlocked.epochs:
            self._mapper.hold(unlocked.epochs)
            self._box.hold(unlocked.epochs)
        self.unlocked = unlocked

    def renew(self) -> None:
        """Use what the file holds now; where it cannot be read or opened, nothing changes."""
        with contextlib.suppress(KeyUnavailable, Conflict):
            self.take(read_keyring(self.path).opened_by(self.unlocked))

    def renew_if_changed(self) -> None:
        """The same, if the file is not the one that was there before; costs a look at its name."""
        found = _identity(self.path)
        if found != self._file:
            self._file = found
            self.renew()

    @contextlib.contextmanager
    def changing(self) -> Iterator[KeyringFile]:
        """The file under its lock; what it holds in the end is used from then on."""
        with changing(self.path, self.unlocked) as file:
            try:
                yield file
            finally:
                self.take(file.held)

    def destroy(self, told: Callable[[], KeyHistory]) -> None:
        """Take out of the file what the log calls destroyed, or say why it cannot be written.

        The log is asked under the file's lock: keys that another process puts into the file, and
        has the log choose before it lets the file go, are not taken for others.
        """
        with self.changing() as file:
            drop(file, told())

    def give_up(self, told: Callable[[], KeyHistory]) -> None:
        """Drop what the log calls destroyed, and epochs held ready that it did not choose.

        The file follows if it can be written; if not, this process has dropped them all the same.
        """
        if self.unlocked.without(given_up_by(self.unlocked, told())) is self.unlocked:
            return
        with contextlib.suppress(LedgerError):
            self.destroy(told)
        self.take(self.unlocked.without(given_up_by(self.unlocked, told())))


def drop(file: KeyringFile, history: KeyHistory) -> None:
    """Write the file without what the log says it need not hold, if it holds any of that."""
    given_up = given_up_by(file.held, history)
    after = file.held.without(given_up)
    if after is not file.held:
        file.write(after.keyring, after.root, given_up)


def given_up_by(unlocked: UnlockedKeyring, history: KeyHistory) -> GivenUp:
    """What this keyring need not hold any more, as the log says."""
    return GivenUp(history.destroying, unlocked.astray(history.committed, history.current))


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that it replaced."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
