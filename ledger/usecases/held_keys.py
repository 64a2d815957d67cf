"""The keys at hand in one process, which change while it runs.

A rotation adds an epoch, a destruction takes keys away, and another process or host may do either.
Whoever changes the keyring's file, or reads it again, hands what it holds now to the ciphers that
everybody in this process uses. What the log calls destroyed is let go as soon as this process has
followed the log that far, in the middle of its run; the file comes next, when nobody else is at it.

    log: keys.destroying ─▶ ciphers of this process (at once) ─▶ this host's file (right after)

A host that remembers nothing cannot tell whether the log is one that was given up, in which keys
were destroyed that the one of now needs. There the file is left alone, unless the log goes on to a
further destruction or the file is changed; it comes next when the ledger is opened again.

Those of a key backup that is to be put back are held apart from the file in its place: what lies
there is neither read nor changed, for it is what the backup is compared with.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ledger.aggregates.keys import KeyHistory
from ledger.codec.mapper import EventMapper, Random
from ledger.errors import Conflict, KeyUnavailable, LedgerError
from ledger.log.forking import renew_in_children
from ledger.sealing.confidential import Confidential
from ledger.sealing.epochs import EPOCH_MAX, KeyName
from ledger.sealing.keyring import GivenUp, UnlockedKeyring
from ledger.sealing.keyring_file import KeyringFile, changing, read_keyring
from ledger.sealing.secrets import SecretBox

EPOCHS_PAST = 2
"""So many epochs on, none of the keys that a keyring held is used for anything new."""


class HeldKeys(Confidential):
    """One unlocked keyring, its file, and the ciphers made of it."""

    def __init__(
        self,
        path: Path,
        unlocked: UnlockedKeyring,
        mapper: EventMapper,
        box: SecretBox,
        *,
        apart: bool = False,
    ) -> None:
        self.unlocked = unlocked
        """As it was last read or written."""
        self.path = path
        """Where the file lies, or is to lie."""
        self._mapper = mapper
        self._box = box
        self._apart = apart
        """Whether they are a key backup's, and the file is another."""
        self._is_known = True
        self._file = _identity(path)
        self._history = KeyHistory()
        """As far as this process has followed it."""
        self._followed = 0
        """The size of the log then."""
        self._owing = False
        """Whether the file may hold what this process has let go."""
        self._left_out_from = EPOCH_MAX + 1
        """The first epoch that is not used, whatever the file holds of it."""
        self._guard = threading.RLock()
        """Whoever looks and whoever commits follow the log in threads of their own."""
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """The child has a lock of its own."""
        self._guard = threading.RLock()

    def spare_file(self) -> None:
        """Take nothing out of the file for what the log calls destroyed already.

        This host meets it just now. Whoever changes the file drops these keys from it all the same.
        """
        self._is_known = False

    def leave_out_from(self, epoch: int | None) -> None:
        """Use no keys of this epoch and those after it, whatever the file holds of them."""
        with self._guard:
            self._left_out_from = EPOCH_MAX + 1 if epoch is None else epoch
            self.take(self.unlocked)

    def take(self, unlocked: UnlockedKeyring) -> None:
        """Use these keys from now on, but for those that the log calls destroyed."""
        with self._guard:
            left_out = {one.epoch for one in unlocked.epochs if one.epoch >= self._left_out_from}
            destroyed = _destroyed(unlocked, self._history)
            lean = unlocked.without(GivenUp(destroyed, frozenset(left_out)))
            if lean.epochs != self.unlocked.epochs:
                self._mapper.hold(lean.epochs)
                self._box.hold(lean.epochs)
            self.unlocked = lean

    def renew(self) -> None:
        """Use what the file holds now; where it cannot be read or opened, nothing changes."""
        self._renewed()

    def _renewed(self) -> bool:
        """Whether what the file holds is used now."""
        if self._apart:
            return True
        # Read under the guard as well: a thread that read an older file would put its keys in the
        # place of those that another has read since, and nobody looks for what is known to be held.
        with self._guard, contextlib.suppress(KeyUnavailable, Conflict):
            self.take(read_keyring(self.path).opened_by(self._chosen()))
            return True
        return False

    def renew_if_changed(self) -> None:
        """The same, if the file is not the one that was there before; costs a look at its name."""
        with self._guard:
            found = _identity(self.path)
            # One that cannot be read yet may be by the next look, with nothing else changed of it.
            if found != self._file and self._renewed():
                self._file = found

    def follow(self, history: KeyHistory, size: int) -> None:
        """Let go of what the log of this size calls destroyed; `settle` sees to the file.

        Of two threads the one that has followed it further counts. One that has grown and calls
        fewer keys destroyed is an older one that was put back: what was let go may be needed again,
        if the file has it.
        """
        with self._guard:
            if size < self._followed:
                return
            if self._followed and not history.destroying <= self._history.destroying:
                self._is_known = True
            went_back = not history.destroying >= self._history.destroying
            self._history, self._followed, before = history, size, self.unlocked
            if went_back:
                self.renew()
            self.take(self.unlocked)
            self._owing |= self.unlocked is not before

    def begin_anew(self) -> None:
        """Go by what is followed next, however small that log is: an operator has accepted it."""
        with self._guard:
            self._followed = 0
            self._owing = False  # what is to go is told by the log that is followed next

    def settle(self) -> None:
        """Take out of the file what was let go, unless somebody is changing it at this moment.

        Where it cannot be written, the next opening tries again.
        """
        if self._apart or not (self._owing and self._is_known):
            return
        try:
            with self._changing(wait=False) as file:
                self._catch_up(file)
        except LedgerError as error:
            self._owing = error.code == "keyring-locked"

    @contextlib.contextmanager
    def changing(self, told: Callable[[], KeyHistory]) -> Iterator[tuple[KeyringFile, KeyHistory]]:
        """The file under its lock, without what the log calls destroyed, and what the log tells.

        The log is asked under the lock: an older one may have been put back, and need keys that the
        one of before calls destroyed. What the file holds in the end is used from then on.
        `keyring-locked` where somebody else is changing it all the while.
        """
        with self._changing(wait=True) as file:
            history = told()
            self._catch_up(file)
            yield file, history

    @contextlib.contextmanager
    def _changing(self, *, wait: bool) -> Iterator[KeyringFile]:
        with changing(self.path, self._chosen(), wait=wait) as file:
            try:
                yield file
            finally:
                self.take(file.held)

    def _chosen(self) -> UnlockedKeyring:
        """What is held, without epochs that the log, as far as it was followed, did not choose.

        By the others a file under a new root is known: these may have made way in it, as after a
        rotation that was killed and a slot that was removed, or on a log that was put back. Of one
        that is yet to be followed only the first epoch is known: it is in every branch of the log.
        """
        committed = self._history.committed
        if committed and not self._followed:
            committed = {1: committed[1]}
        others = frozenset(
            keys.epoch
            for keys in self.unlocked.epochs
            if committed and not (keys.epoch in committed and committed[keys.epoch].fit(keys))
        )
        return self.unlocked.without(GivenUp(epochs=others))

    def _catch_up(self, file: KeyringFile) -> None:
        """Take out of the file what this process has let go.

        Epochs held ready are left alone: this process may not know yet what was chosen.
        """
        with self._guard:
            if self._followed:
                _let_go(file, GivenUp(_destroyed(file.held, self._history)))
            self._owing = False

    def destroy(self, told: Callable[[], KeyHistory]) -> None:
        """Take out of the file what the log calls destroyed, or say why it cannot be written.

        The log is asked under the file's lock: keys that another process puts into the file, and
        has the log choose before it lets the file go, are not taken for others.
        """
        with self.changing(told) as (file, history):
            drop(file, history)

    def give_up(self, told: Callable[[], KeyHistory]) -> None:
        """Drop what the log calls destroyed, and epochs held ready that it did not choose.

        The file follows, as far as `drop` has it, if it can be written and is not spared; if not,
        this process has dropped them all the same.
        """
        history = told()
        given_up = given_up_by(self.unlocked, history)
        if self.unlocked.without(given_up) is self.unlocked and not self._owing:
            return
        if self._is_known and not self._apart:
            with contextlib.suppress(LedgerError):
                self.destroy(told)
        self.take(self.unlocked.without(given_up_by(self.unlocked, told())))


def drop(file: KeyringFile, history: KeyHistory) -> None:
    """Write the file without what the log says it need not hold, if it holds any of that.

    An epoch that the log did not choose stays where another is held beyond it: it was started then,
    on another branch of the log or further on than an older copy of it tells.
    """
    given_up = given_up_by(file.held, history)
    ready = file.held.epochs[-1].epoch
    _let_go(file, given_up._replace(epochs=given_up.epochs & {ready}))


def let_go_of_removed(file: KeyringFile, history: KeyHistory, random: Random) -> None:
    """Write the file without slots that the log calls removed, if it holds any.

    A key backup of before has them. Their holders would open whatever keys the file gets next.
    `slot-removed` where the one that is unlocked is among them.
    """
    removed = {slot.id for slot in file.held.keyring.slots if slot.id in history.removed}
    if file.held.slot.id in removed:
        raise KeyUnavailable("slot-removed", "The slot that is unlocked was removed.")
    if removed:
        held = file.held.without_slots(removed, random)
        file.write(held.keyring, held.root)


def given_up_by(unlocked: UnlockedKeyring, history: KeyHistory) -> GivenUp:
    """What this keyring need not hold any more, as the log says."""
    astray = unlocked.astray(history.committed, history.current)
    return GivenUp(_destroyed(unlocked, history), astray)


def holds_next(unlocked: UnlockedKeyring, history: KeyHistory) -> bool:
    """Whether the epoch after the current one is held as the log has committed to it."""
    following = history.current + 1
    committed = history.committed[following]
    return any(keys.epoch == following and committed.fit(keys) for keys in unlocked.epochs)


def making_way(unlocked: UnlockedKeyring, history: KeyHistory) -> frozenset[int]:
    """Epochs held that the log has not committed to, and in whose place rotations make others.

    Those from the first one on of which keys are destroyed, any that a slot's holder may have, and
    any beyond a next one that is not held as the log has it.
    """
    unknown = tuple(keys for keys in unlocked.epochs if keys.epoch not in history.committed)
    if history.has_ended_lately(EPOCHS_PAST) or not holds_next(unlocked, history):
        return frozenset(keys.epoch for keys in unknown)
    maimed = min((keys.epoch for keys in unknown if not keys.is_whole), default=EPOCH_MAX + 1)
    return frozenset(keys.epoch for keys in unknown if keys.epoch >= maimed)


def _destroyed(unlocked: UnlockedKeyring, history: KeyHistory) -> frozenset[KeyName]:
    """Which keys the log calls destroyed, of epochs that are held as it has committed to them.

    A log that was put back may come to an epoch of the same number with other keys: these stay.
    """
    named = {name.epoch for name in history.destroying}
    meant = {
        keys.epoch
        for keys in unlocked.epochs
        if keys.epoch in named and history.committed[keys.epoch].fit(keys)
    }
    return frozenset(name for name in history.destroying if name.epoch in meant)


def _let_go(file: KeyringFile, given_up: GivenUp) -> None:
    after = file.held.without(given_up)
    if after is not file.held:
        file.write(after.keyring, after.root, given_up)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that it replaced."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
