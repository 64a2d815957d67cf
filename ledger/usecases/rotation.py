"""New keys: the epoch held ready begins, and every live mapping is sealed under it.

    keyring: one more epoch ─▶ log: epoch.started ─▶ credential.resealed ... ─▶ epoch.resealed

The keyring always holds the epoch after the current one, and the log has committed to it. So the
file is changed first, by an epoch that nobody uses yet, and then the log in one event; processes
and hosts that hold the present file go on at once. Resealing appends the same values under the
new epoch's key, a few mappings to a request and a breath between requests, while others read and
write: whatever they set meanwhile is in the new epoch already, and no mapping is without a key
that opens it at any moment.

After an older log was restored the keyring may be ahead of it, by epochs of which keys were
destroyed further on. Such an epoch is gone past: the one after it is started in the same
transaction, so that nobody sets anything in it whose keyring holds it whole still. One that the log
has not committed to makes way for another.

Killed anywhere, the next run goes on: an epoch added to the file is used, unless a slot was removed
lately whose holder may have it, a started one is resealed to its end, and only then is a rotation
finished. Of two runs at once the log takes one start, and both reseal: what one has done the other
finds done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ledger.aggregates.keys import (
    EpochResealed,
    EpochStarted,
    KeyHistory,
)
from ledger.errors import NEEDS_OPERATOR, Conflict, KeyUnavailable, Refused
from ledger.log.pace import Pace
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.replacing import replace
from ledger.sealing.compartments import Compartment
from ledger.sealing.epochs import (
    EpochKeys,
    KeyName,
    commitments,
    period_of,
)
from ledger.sealing.keyring import EPOCHS_AHEAD, GivenUp
from ledger.sealing.keyring_file import KeyringFile
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.destruction import IntendDestruction, RecordDestruction
from ledger.usecases.founding import committed
from ledger.usecases.held_keys import EPOCHS_PAST, HeldKeys, drop, let_go_of_removed, making_way
from ledger.usecases.key_backups import require_not_behind
from ledger.usecases.outcomes import Doomed, RotationOutcome
from ledger.usecases.resealing import Progress, Resealing, values_lost
from ledger.usecases.resting import Creation, resting, values_of
from ledger.usecases.safeguards import Safeguards, lacking


class StartEpoch(msgspec.Struct, frozen=True):
    """The epoch held ready becomes the current one, or one after it where that one is passed."""

    desk: Desk
    acting: Acting
    started: Sequence[EpochKeys]
    """One after the other, with nothing in between; the last one is there to stay."""
    following: EpochKeys
    """Held ready after the last one."""
    safeguards: Safeguards
    removed: frozenset[int]
    """The slots that were removed when it was decided which keys follow."""

    def decide(self, transaction: Transaction) -> bool:
        """Append each start; False if somebody else has started the first, or replaced its keys."""
        history, first = self.desk.key_history(transaction), self.started[0]
        if history.current >= first.epoch:
            return False
        if not history.committed[first.epoch].fit(first):
            return False
        if history.removed != self.removed:
            raise Conflict(
                "slot-removed-meanwhile",
                "A slot was removed meanwhile; no keys were rotated.",
                hint="Run the command again; it makes keys that the slot's holder cannot have.",
            )
        safeguards = self.safeguards
        for keys, following in zip(self.started, (*self.started[1:], self.following), strict=True):
            safeguards.hold(transaction)
            self._append(transaction, keys.epoch, following)
            safeguards = replace(safeguards, waived=True)  # asked for once
        return True

    def _append(self, transaction: Transaction, epoch: int, following: EpochKeys) -> None:
        # As the log has it already: keys of it may be destroyed, and then commit to nothing.
        told = self.desk.key_history(transaction).committed[epoch]
        started = (told.epoch, told.state, told.secret, told.access)
        transaction.append(
            self.desk.streams.keyring(),
            EpochStarted(epoch, started, committed(following)),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        )


class FinishRotation(msgspec.Struct, frozen=True):
    """Every live mapping rests on the current epoch."""

    desk: Desk
    acting: Acting
    epoch: int
    resealed: int

    def decide(self, transaction: Transaction) -> None:
        """Append it, unless somebody else has."""
        if self.desk.key_history(transaction).resealed < self.epoch:
            transaction.append(
                self.desk.streams.keyring(),
                EpochResealed(self.epoch, self.resealed),
                self.desk.actor(transaction, self.acting),
                self.acting.reason,
            )


class Rotation:
    """The rotation of one ledger's keys, by an operator."""

    def __init__(
        self, desk: Desk, writer: Writer, held: HeldKeys, clock: Callable[[], int]
    ) -> None:
        self._desk = desk
        self._writer = writer
        self._held = held
        self._clock = clock

    def require_backups(self, acting: Acting) -> None:
        """Refuse what `run` would refuse for want of backups."""
        Safeguards(
            self._desk, acting, lacking(self._desk, self._writer, self._held.path), waived=False
        ).require()

    def run(
        self, acting: Acting, *, without_backup: bool, progress: Progress | None
    ) -> RotationOutcome:
        """Start the next epoch, unless a rotation is unfinished, and reseal to the end.

        Where keys were destroyed that the epoch needs, the one after it is started too. Backups are
        asked for once, and it is recorded where the second start lacked them.
        `values-lost` where credentials cannot be sealed anew, `next-epoch-missing` where this
        keyring does not hold the keys of the next epoch, `keyring-behind` where it lacks those of
        the current one, and the errors of `Safeguards.hold`.
        """
        self._require_operator()
        history = self._history()
        if not history.is_rotating:
            self._require_values(history)
            self._start(acting, history.current + 1, without_backup=without_backup)
        while not self._serves(started := self._history()):
            self._start(acting, started.current + 1, without_backup=True)
        before = history.current - 1 if history.is_rotating else history.current
        return self._finish(acting, progress, before)

    def run_past(self, acting: Acting, position: int, progress: Progress | None) -> RotationOutcome:
        """See that two epochs were started after this position, and reseal to the end.

        The second is one whose keys nobody held who had a copy of the keyring then: they are made
        after this position, whatever epochs the file held (see `_start`). Backups are not asked
        for, and it is recorded where they were lacking. Errors as `run`.
        """
        self._require_operator()
        if not (history := self._history()).is_rotating:
            self._require_values(history)
        while (history := self._history()).started_since(position) < EPOCHS_PAST:
            self._start(acting, history.current + 1, without_backup=True)
        return self._finish(acting, progress, history.current - 1)

    def doomed(self) -> Doomed:
        """What `run` and then `destroy_previous` would destroy; the log is walked over twice."""
        self._require_operator()
        history = self._history()
        is_last_started = history.is_rotating or history.is_destroying
        epoch = history.current if is_last_started else history.current + 1
        epochs = tuple(
            earlier
            for earlier in range(1, epoch)
            if KeyName(earlier, Compartment.SECRET.value) not in history.destroyed
        )
        if not epochs:
            return Doomed((), 0)
        until = history.started_where[epoch] if is_last_started else self._writer.head.size
        pages = resting(self._desk, self._writer, Pace(), until=until, epoch=epoch)
        live = sum(len(page.live) for page in pages)
        return Doomed(epochs, values_of(self._desk, self._writer, epochs[0], epoch) - live)

    def _require_operator(self) -> None:
        if not self._desk.unlocked.is_operator:
            raise Refused(
                "operator-needed", "Only an operator's unlock may rotate keys.", hint=NEEDS_OPERATOR
            )

    def _finish(self, acting: Acting, progress: Progress | None, before: int) -> RotationOutcome:
        history = self._history()
        epoch = history.current
        resealed, _ = self._reseal(acting, history, progress or _silent)
        self._writer.run(FinishRotation(self._desk, acting, epoch, resealed))
        return RotationOutcome(before, epoch, resealed)

    def destroy_previous(self, acting: Acting, rotated: RotationOutcome) -> RotationOutcome:
        """Destroy the keys of values of all earlier epochs; `mappings-resting` if any is needed."""
        history = self._history()
        _, ended = self._reseal(acting, history, _silent)
        self._writer.run(IntendDestruction(self._desk, acting, history.current, ended))
        return self._finish_destruction(acting, rotated)

    def finish_destruction(self, acting: Acting, rotated: RotationOutcome) -> RotationOutcome:
        """Destroy the keys of values that an earlier intent named, and no others."""
        self._require_operator()
        return self._finish_destruction(acting, rotated)

    def _finish_destruction(self, acting: Acting, rotated: RotationOutcome) -> RotationOutcome:
        """Do what was intended, and count what is gone by it.

        Intents name all epochs up to some one that no earlier intent named, so a value is gone by
        them if no row carries it from there on, and one carries it from their first epoch on.
        """
        history = self._history()
        keys = history.values_destroying
        if keys:
            self._held.destroy(self._history)
            self._writer.run(RecordDestruction(self._desk, acting, keys))
        epochs = tuple(sorted({*rotated.destroyed, *(name.epoch for name in keys)}))
        if not epochs:
            return rotated  # another process was first
        gone = values_of(self._desk, self._writer, epochs[0], epochs[-1] + 1)
        return replace(rotated, destroyed=epochs, values_gone=gone)

    def _history(self) -> KeyHistory:
        return self._writer.look(self._desk.key_history)

    def _require_values(self, history: KeyHistory) -> None:
        """`values-lost` where live mappings rest on keys that are gone without a word in this log.

        So it is after an older log was restored than the one in which they were destroyed. A key
        backup of before may have them, and it lacks the epochs that a rotation makes now.
        """
        gone = {
            keys.epoch
            for keys in self._held.unlocked.epochs
            if keys.epoch <= history.current
            and keys.secret is None
            and KeyName(keys.epoch, Compartment.SECRET.value) not in history.destroying
        }
        if not gone:
            return
        until, epoch = self._writer.head.size, history.current + 1
        for page in resting(self._desk, self._writer, Pace(), until=until, epoch=epoch):
            for found in page.live:
                if found.row.epoch in gone:
                    raise values_lost(found.row.epoch)

    def _serves(self, history: KeyHistory) -> bool:
        """Whether the current epoch's keys are there to set values, and to record a read now.

        `keyring-behind` where none of them is: another host has started it since this one opened.
        """
        require_not_behind(self._desk, self._writer, self._held.unlocked)
        (keys,) = (one for one in self._held.unlocked.epochs if one.epoch == history.current)
        return self._is_of_use(keys, history.first_periods[history.current])

    def _is_of_use(self, keys: EpochKeys, first_period: int | None = None) -> bool:
        """The same of an epoch that began in this month, or begins now."""
        period = period_of(max(self._clock(), self._writer.head.recorded_at + 1))
        return keys.secret is not None and keys.seals_access(first_period or period, period)

    def _start(self, acting: Acting, epoch: int, *, without_backup: bool) -> None:
        """Add an epoch to the keyring's file, then start the one it held ready, and all to pass.

        One that is in the file and not in the log, left by a rotation that was killed, is used. But
        whoever had a slot until lately may have copied it, or put it there: it makes way for
        another. So does one of which keys are destroyed, on a branch of the log that was given up.
        No removed slot, which a key backup brought back, is left to get the new keys.
        """
        with self._held.changing(self._history) as (file, history):
            if history.current >= epoch:
                return  # another process was first, while this one waited for the file
            safeguards = Safeguards(
                self._desk,
                acting,
                lacking(self._desk, self._writer, self._held.path),
                waived=without_backup,
            )
            safeguards.require()
            drop(file, history)
            let_go_of_removed(file, history, self._desk.random)
            started, following = self._ready(file, history, epoch)
            start = StartEpoch(self._desk, acting, started, following, safeguards, history.removed)
            if not self._writer.run(start):
                since = self._history()
                drop(file, since)
                if since.current < epoch:
                    raise next_missing(epoch)

    def _ready(
        self, file: KeyringFile, history: KeyHistory, epoch: int
    ) -> tuple[Sequence[EpochKeys], EpochKeys]:
        """The epochs that are to be started, and the one after them, with all of them in the file.

        The file gets no further ahead of the log than it may be found, should this be cut off.
        """
        started: list[EpochKeys] = []
        ahead_max = max(history.current + EPOCHS_AHEAD, history.accepted_epoch)
        while True:
            held = {keys.epoch: keys for keys in file.held.epochs}
            if epoch not in held or not history.committed[epoch].fit(held[epoch]):
                raise next_missing(epoch)
            if epoch + 1 not in held or epoch + 1 in making_way(file.held, history):
                unknown = GivenUp(epochs=frozenset(held.keys() - history.committed.keys()))
                after = file.held.without(unknown).with_next_epoch(self._desk.random)
                file.write(after.keyring, after.root, unknown)
                held = {keys.epoch: keys for keys in file.held.epochs}
            started.append(held[epoch])
            following = held[epoch + 1]
            if self._is_of_use(held[epoch]) or following.epoch + 1 > ahead_max:
                return started, following
            told = {**history.committed, following.epoch: commitments(following)}
            history, epoch = replace(history, current=epoch, committed=told), epoch + 1

    def _reseal(
        self, acting: Acting, history: KeyHistory, progress: Progress
    ) -> tuple[int, frozenset[Creation]]:
        """Seal anew whatever rests on earlier epochs; how many, and whose is left: ended ones."""
        work = Resealing(self._desk, self._writer, acting, history.current, self._clock)
        until = history.started_where[history.current]
        while True:
            found = work.run(until, progress)
            if not found.missed:
                return work.mine.landed, found.ended
            if self._history().current != history.current:
                raise Conflict(
                    "rotated-again",
                    "Somebody else started a further epoch meanwhile.",
                    hint="Run `credledger key rotate` again; it finishes what is unfinished.",
                )


def next_missing(epoch: int) -> KeyUnavailable:
    """The epoch that is to be started is held by another host, or by nobody any more."""
    return KeyUnavailable(
        "next-epoch-missing",
        f"This keyring does not hold the keys of epoch {epoch}, which another host has made.",
        hint="Copy the keyring from the host that rotated last, then rotate here; if its keyring is"
        " lost and no key backup holds them, run `credledger key replace-next`.",
    )


def _silent(done: int, total: int) -> None:
    pass
