"""The keys at hand in one process, which change while it runs.

A rotation adds an epoch, a destruction takes keys away, and another process or host may do either.
Whoever changes the keyring's file, or reads it again, hands what it holds now to the ciphers that
everybody in this process uses. What the log calls destroyed is let go as soon as this process has
followed the log that far, in the middle of its run; the file comes next, when nobody else is at it.

    log: keys.destroying ─▶ ciphers of this process (at once) ─▶ this host's file (right after)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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
        self._history = KeyHistory()
        """As far as this process has followed it."""
        self._owing = False
        """Whether the file may hold what this process has let go."""

    def take(self, unlocked: UnlockedKeyring) -> None:
        """Use these keys from now on, but for those that the log calls destroyed."""
        lean = unlocked.without(GivenUp(self._history.destroying))
        if lean.epochs != self.unlocked.epochs:
            self._mapper.hold(lean.epochs)
            self._box.hold(lean.epochs)
        self.unlocked = lean

    def renew(self) -> None:
        """Use what the file holds now; if it cannot be read or has a new root, nothing changes."""
        with contextlib.suppress(KeyUnavailable, Conflict):
            self.take(read_keyring(self.path).opened_by(self.unlocked))

    def renew_if_changed(self) -> None:
        """The same, if the file is not the one that was there before; costs a look at its name."""
        found = _identity(self.path)
        if found != self._file:
            self._file = found
            self.renew()

    def follow(self, history: KeyHistory) -> None:
        """Let go of what the log calls destroyed now; `settle` sees to the file."""
        if history.current < self._history.current or (
            history.destroying < self._history.destroying
        ):
            return  # another thread has followed it further
        self._history, before = history, self.unlocked
        self.take(before)
        self._owing |= self.unlocked is not before

    def settle(self) -> None:
        """Take out of the file what was let go, unless somebody is changing it at this moment.

        Where it cannot be written, the next opening tries again.
        """
        if not self._owing:
            return
        try:
            with self.changing(wait=False):
                pass
        except LedgerError as error:
            self._owing = error.code == "keyring-locked"

    @contextlib.contextmanager
    def changing(self, *, wait: bool = True) -> Iterator[KeyringFile]:
        """The file under its lock, without what the log calls destroyed.

        What it holds in the end is used from then on. `keyring-locked` where somebody else is
        changing it: after a while, or at once without `wait`.
        """
        with changing(self.path, self.unlocked, wait=wait) as file:
            try:
                drop(file, self._history)
                self._owing = False
                yield file
            finally:
                self.take(file.held)

    def destroy(self, history: KeyHistory) -> None:
        """Take out of the file what the log calls destroyed, or say why it cannot be written."""
        self.follow(history)
        with self.changing():
            pass

    def give_up(self, history: KeyHistory) -> None:
        """Drop what the log calls destroyed, and epochs held ready that it did not choose.

        The file follows if it can be written; if not, this process has dropped them all the same.
        """
        self.follow(history)
        lean = self.unlocked.without(given_up_by(self.unlocked, history))
        if lean is self.unlocked and not self._owing:
            return
        with contextlib.suppress(LedgerError):
            self.destroy(history)
        self.take(self.unlocked.without(given_up_by(self.unlocked, history)))


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
