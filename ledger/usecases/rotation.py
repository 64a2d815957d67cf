"""New keys: the epoch held ready begins, and every live mapping is sealed under it.

    keyring: one more epoch ─▶ log: epoch.started ─▶ credential.resealed ... ─▶ epoch.resealed

The keyring always holds the epoch after the current one, and the log has committed to it. So the
file is changed first, by an epoch that nobody uses yet, and then the log in one event; processes
and hosts that hold the present file go on at once. Resealing appends the same values under the
new epoch's key, a few mappings to a request and a breath between requests, while others read and
write: whatever they set meanwhile is in the new epoch already, and no mapping is without a key
that opens it at any moment.

Killed anywhere, the next run goes on: an epoch added to the file is used, a started one is
resealed to its end, and only then is a rotation finished. Of two runs at once the log takes one
start, and both reseal: what one has done the other finds done.

What is read and sealed before the lock is taken counts only if its row is still the newest of its
stream under the lock, so nothing that was set in between is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.aggregates.keys import (
    EpochResealed,
    EpochStarted,
    KeyHistory,
)
from ledger.aggregates.mapping import CredentialMapping, CredentialResealed, mapping_from
from ledger.errors import Conflict, KeyUnavailable, Refused, Tampered
from ledger.log.pace import Pace
from ledger.log.rows import LogRow
from ledger.log.transaction import Place, Transaction
from ledger.log.writer import Writer
from ledger.sealing.envelope import NONCE_BYTES
from ledger.sealing.epochs import EpochKeys, period_of
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.destruction import IntendDestruction, RecordDestruction
from ledger.usecases.founding import committed
from ledger.usecases.held_keys import HeldKeys, drop
from ledger.usecases.outcomes import RotationOutcome
from ledger.usecases.safeguards import Safeguards, lacking

RESEALED_TOGETHER_MAX = 1000
EPOCHS_PAST = 2
"""So many epochs on, none of the keys that a keyring held is used for anything new."""
_WINDOW = 20_000
"""So many positions are looked through in one snapshot, which therefore stays short."""
Progress = Callable[[int, int], None]
"""Told how many positions are looked through, of how many."""


@dataclass(frozen=True, slots=True)
class StartEpoch:
    """The epoch held ready becomes the current one."""

    desk: Desk
    acting: Acting
    started: EpochKeys
    following: EpochKeys
    safeguards: Safeguards

    def decide(self, transaction: Transaction) -> bool:
        """Append its start; False if somebody else has started it, or a later one."""
        if self.desk.key_history(transaction).current >= self.started.epoch:
            return False
        self.safeguards.hold(transaction)
        transaction.append(
            self.desk.streams.keyring(),
            EpochStarted(self.started.epoch, committed(self.started), committed(self.following)),
            self.desk.actor(self.acting),
            self.acting.reason,
        )
        return True


class Found(NamedTuple):
    """A mapping whose newest row rests on an earlier epoch."""

    row: LogRow
    mapping: CredentialMapping
    secret: bytes


class Prepared(NamedTuple):
    """One mapping's values sealed for the next event of its stream, before the lock is taken."""

    row: LogRow
    """The newest of its stream when it was read."""
    event: CredentialResealed


class Resealed(NamedTuple):
    """What became of some prepared mappings."""

    resealed: int
    ended: int
    """Of applications that were deleted: nobody can be given these values."""
    missed: int
    """To be looked at once more: the month or the epoch changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Reseal:
    """The same values under a newer key, for mappings that nobody has changed since."""

    desk: Desk
    acting: Acting
    epoch: int
    period: int
    prepared: Sequence[Prepared]

    def decide(self, transaction: Transaction) -> Resealed:
        """Append what still fits its place."""
        fits = transaction.epoch == self.epoch
        fits &= period_of(transaction.recorded_at()) == self.period
        if not fits:
            return Resealed(0, 0, len(self.prepared))
        actor = self.desk.actor(self.acting)
        resealed = ended = 0
        for row, event in self.prepared:
            if not transaction.stands_at(row.stream, row.version, row.leaf):
                continue  # set or deleted meanwhile, and in the new epoch if there are values
            if not _is_live(self.desk, transaction, event.application, event.creation):
                ended += 1
                continue
            transaction.append(row.stream, event, actor, self.acting.reason)
            resealed += 1
        return Resealed(resealed, ended, 0)


@dataclass(frozen=True, slots=True)
class FinishRotation:
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
                self.desk.actor(self.acting),
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
        Safeguards(self._desk, acting, lacking(self._desk, self._writer), waived=False).require()

    def run(
        self, acting: Acting, *, without_backup: bool, progress: Progress | None
    ) -> RotationOutcome:
        """Start the next epoch, unless a rotation is unfinished, and reseal to the end.

        `next-epoch-missing` where this keyring does not hold the keys of the next epoch, and the
        errors of `Safeguards.hold`.
        """
        self._require_operator()
        history = self._history()
        if not history.is_rotating:
            self._start(acting, history.current + 1, without_backup=without_backup)
        return self._finish(acting, progress)

    def run_past(self, acting: Acting, position: int, progress: Progress | None) -> RotationOutcome:
        """See that two epochs were started after this position, and reseal to the end.

        The second is one whose keys nobody held who had a copy of the keyring then. Backups are
        not asked for, and it is recorded where they were lacking.
        """
        self._require_operator()
        while (history := self._history()).started_since(position) < EPOCHS_PAST:
            self._start(acting, history.current + 1, without_backup=True)
        return self._finish(acting, progress)

    def _require_operator(self) -> None:
        if not self._desk.unlocked.is_operator:
            raise Refused("operator-needed", "Only an operator's unlock may rotate keys.")

    def _finish(self, acting: Acting, progress: Progress | None) -> RotationOutcome:
        history = self._history()
        epoch = history.current
        resealed, _ = self._reseal(acting, history, progress or _silent)
        self._writer.run(FinishRotation(self._desk, acting, epoch, resealed))
        return RotationOutcome(epoch - 1, epoch, resealed)

    def destroy_previous(self, acting: Acting, rotated: RotationOutcome) -> RotationOutcome:
        """Destroy the keys of values of all earlier epochs; `mappings-resting` if any is needed."""
        history = self._history()
        until = history.started_where[history.current]
        _, ended = self._reseal(acting, history, _silent)
        intent = IntendDestruction(self._desk, acting, until, ended)
        keys = self._writer.run(intent)
        if keys:
            self._held.destroy(self._history())
            self._writer.run(RecordDestruction(self._desk, acting, keys))
        with self._writer.store.reading() as reading:
            gone = reading.values_left(until, history.current)
        epochs = tuple(name.epoch for name in keys)
        return RotationOutcome(rotated.before, rotated.epoch, rotated.resealed, epochs, gone)

    def _history(self) -> KeyHistory:
        return self._writer.look(self._desk.key_history)

    def _start(self, acting: Acting, epoch: int, *, without_backup: bool) -> None:
        """Add an epoch to the keyring's file, then start the one it held ready."""
        with self._held.changing() as file:
            history = self._history()
            if history.current >= epoch:
                return  # another process was first, while this one waited for the file
            safeguards = Safeguards(
                self._desk, acting, lacking(self._desk, self._writer), waived=without_backup
            )
            safeguards.require()
            drop(file, history)
            held = {keys.epoch: keys for keys in file.held.epochs}
            if epoch not in held:
                raise _next_missing(epoch)
            if epoch + 1 not in held:
                after = file.held.with_next_epoch(self._desk.random)
                file.write(after.keyring, after.root)
                held = {keys.epoch: keys for keys in file.held.epochs}
            start = StartEpoch(self._desk, acting, held[epoch], held[epoch + 1], safeguards)
            if not self._writer.run(start):
                drop(file, self._history())

    def _reseal(self, acting: Acting, history: KeyHistory, progress: Progress) -> tuple[int, int]:
        """Seal anew whatever rests on earlier epochs; how many, and how many ended ones stay."""
        epoch, until = history.current, history.started_where[history.current]
        done, pace = 0, Pace()
        while True:
            ended = missed = 0
            for rows, reached in self._resting(until, epoch, pace):
                live, of_ended = self._live(rows)
                ended += of_ended
                request = self._prepared(acting, epoch, live)
                pace.take_lock()
                outcome = self._writer.run(request)
                done += outcome.resealed
                ended += outcome.ended
                missed += outcome.missed
                pace.let_go(self._writer.head.size - done)
                progress(reached, until)
            progress(until, until)
            if not missed:
                return done, ended
            if self._history().current != epoch:
                raise Conflict(
                    "rotated-again",
                    "Somebody else started a further epoch meanwhile.",
                    hint="Run `credledger key rotate` again; it finishes what is unfinished.",
                )

    def _resting(self, until: int, epoch: int, pace: Pace) -> Iterator[tuple[list[LogRow], int]]:
        """Rows to be sealed anew, page by page, and the position up to which all were looked at."""
        position = 0
        while position < until:
            end = min(position + _WINDOW, until)
            limit = min(pace.rows, RESEALED_TOGETHER_MAX)
            with self._writer.store.reading() as reading:
                rows = reading.resting(position, end, epoch, limit)
            position = rows[-1].position if len(rows) == limit else end
            if rows:
                yield rows, position

    def _live(self, rows: Sequence[LogRow]) -> tuple[list[Found], int]:
        """Those that are to be sealed anew, and how many are of deleted applications.

        The keys of both these and of rows that are no longer the newest of their streams may be
        destroyed already.
        """
        desk = self._desk
        found = [_found(row, mapping_from(desk.mapper.open(row))) for row in rows]

        def look(transaction: Transaction) -> tuple[list[Found], int]:
            standing = [one for one in found if _stands(transaction, one.row)]
            live = [
                one
                for one in standing
                if _is_live(desk, transaction, one.mapping.application, one.mapping.creation)
            ]
            return live, len(standing) - len(live)

        self._writer.warm(row.stream for row in rows)
        return self._writer.look(look)

    def _prepared(self, acting: Acting, epoch: int, found: Sequence[Found]) -> Reseal:
        period = period_of(max(self._clock(), self._writer.head.recorded_at + 1))
        prepared = tuple(
            sealed for one in found if (sealed := self._sealed_anew(one, epoch, period)) is not None
        )
        return Reseal(self._desk, acting, epoch, period, prepared)

    def _sealed_anew(self, found: Found, epoch: int, period: int) -> Prepared | None:
        """None where another run has sealed it anew and destroyed its key since it was read."""
        desk, row, mapping = self._desk, found.row, found.mapping
        place = Place(row.stream, row.version + 1, CredentialResealed.TOPIC, epoch, period)
        try:
            secret = desk.box.reseal(
                row.epoch,
                found.secret,
                desk.mapper.associated_data(row),
                epoch,
                desk.mapper.associated_data(place),
                desk.random(NONCE_BYTES),
            )
        except KeyUnavailable:
            if self._writer.look(lambda transaction: _stands(transaction, row)):
                raise
            return None
        event = CredentialResealed(
            application=mapping.application,
            owner=mapping.owner,
            creation=mapping.creation,
            value_version=mapping.value_version,
            fields=mapping.fields,
            secret=secret,
            set_at=mapping.set_at,
            set_by=mapping.set_by,
        )
        return Prepared(row, event)


def _found(row: LogRow, mapping: CredentialMapping | None) -> Found:
    if mapping is None or mapping.secret is None:
        raise Tampered("wrong-stream", "A mapping's row has no values.", position=row.position)
    return Found(row, mapping, mapping.secret)


def _stands(transaction: Transaction, row: LogRow) -> bool:
    return transaction.stands_at(row.stream, row.version, row.leaf)


def _is_live(desk: Desk, transaction: Transaction, application: str, creation: int) -> bool:
    """Whether the mapping of such a creation still belongs to a live application."""
    found = desk.application(transaction, application)
    return found is not None and not found.deleted and found.creation == creation


def _next_missing(epoch: int) -> KeyUnavailable:
    return KeyUnavailable(
        "next-epoch-missing",
        f"This keyring does not hold the keys of epoch {epoch}, which another host has made.",
        hint="Copy the keyring from the host that rotated last, then rotate here.",
    )


def _silent(done: int, total: int) -> None:
    pass
