"""Erasure of access records by policy: the keys of whole months are destroyed.

    log: keys.destroying, history.erased ─▶ keyring: without these keys ─▶ log: keys.destroyed

Every month of every epoch has an `access` key of its own. A month goes when its end is older than
the policy's days: which months these are follows from the clock and the signed policy alone, so
nobody who can write to the database makes the policy reach further. Policy, holds, keys and the
position up to which records are gone are decided under the lock, in one step with the two events.

From these events on the records count as erased, for every host and every view. Killed before the
keys are out of the file, the next opening takes them out, and the next run records it. What is
decided is finished even where a hold was set since: other hosts may have dropped the keys already.
So whoever sets a hold is told of it, and a run that finishes it is not refused for the hold.

The log keeps every row and verifies as before. A copy of a keyring from before, and an auditor's
old file, still open what they hold until they are opened by this ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ledger.aggregates.keys import KeyHistory, KeysDestroying
from ledger.aggregates.retention import (
    KEEPS_ALL,
    HistoryErased,
    Hold,
    HoldReleased,
    HoldSet,
    Retention,
    RetentionSet,
    fold_retention,
)
from ledger.codec.mapper import compartment_of
from ledger.errors import NEEDS_OPERATOR, Conflict, InvalidInput, NotFound, Refused
from ledger.identifiers import display_name, hold_key
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.compartments import Compartment
from ledger.sealing.epochs import (
    ACCESS_PERIODS,
    DAY_US,
    KeyName,
    period_after,
    period_of,
    period_start,
)
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.destruction import RecordDestruction
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.outcomes import ErasureOutcome, HoldOutcome, Outcome

DAYS_MIN = 31
"""No month is longer, so the current one never goes."""
DAYS_MAX = 36_500
_WINDOW = 20_000
"""So many positions are counted in one snapshot, which therefore stays short."""


class Erasable(NamedTuple):
    """What the policy, as it is, lets go at this moment."""

    retention: Retention
    until: int
    """The last position of the months that go, or the one that is erased already."""
    keys: tuple[KeyName, ...]
    """Of these months, as far as the log does not call them destroying."""
    months: tuple[int, ...]
    """Those that the keys are of, as YYYYMM."""


class SetPolicy(msgspec.Struct, frozen=True):
    """How long access records are kept from now on."""

    desk: Desk
    acting: Acting
    days: int | None

    def decide(self, transaction: Transaction) -> Outcome:
        """Append it, unless it is so already."""
        stream = self.desk.streams.keyring()
        changed = retention_of(self.desk, transaction).days != self.days
        if changed:
            transaction.append(
                stream,
                RetentionSet(self.days),
                self.desk.actor(transaction, self.acting),
                self.acting.reason,
            )
        version = transaction.version(stream)
        return Outcome(None, changed, version, transaction.next_position - 1)


class ChangeHold(msgspec.Struct, frozen=True):
    """A hold is set, or released."""

    desk: Desk
    acting: Acting
    name: str
    release: bool

    def decide(self, transaction: Transaction) -> HoldOutcome:
        """Append it; `hold-exists` or `no-such-hold`."""
        held = retention_of(self.desk, transaction).holds.get(hold_key(self.name))
        if self.release and held is None:
            raise NotFound(
                "no-such-hold",
                "There is no hold of this name.",
                hint="`credledger key hold list` shows those that are set.",
            )
        if not self.release and held is not None:
            raise Conflict(
                "hold-exists",
                "A hold of this name is set already.",
                hint="Give another name: each hold is released alone.",
            )
        name = held.name if held is not None else display_name(self.name)
        recorded = transaction.append(
            self.desk.streams.keyring(),
            HoldReleased(name) if self.release else HoldSet(name),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        )
        return HoldOutcome(name, recorded.position, undone(self.desk, transaction))


class Erase(msgspec.Struct, frozen=True):
    """From here on the records of all months that the policy lets go are erased."""

    desk: Desk
    acting: Acting
    finished: bool
    """Whether an erasure of before was finished; then a hold only lets nothing more be erased."""

    def decide(self, transaction: Transaction) -> tuple[Erasable, int | None]:
        """What is erased, and where it is recorded; `legal-hold` while any hold is set."""
        erasable = erasable_now(self.desk, transaction)
        if erasable.retention.holds:
            if self.finished:
                return erasable._replace(until=erasable.retention.until, keys=(), months=()), None
            raise Refused(
                "legal-hold",
                "A hold is set; nothing was erased.",
                hint="`credledger key hold list` shows the holds and why they were set.",
            )
        if not erasable.keys:
            return erasable, None
        stream, actor = self.desk.streams.keyring(), self.desk.actor(transaction, self.acting)
        transaction.append(stream, KeysDestroying(erasable.keys), actor, self.acting.reason)
        recorded = transaction.append(
            stream, HistoryErased(erasable.until), actor, self.acting.reason
        )
        return erasable, recorded.position


class Retainer:
    """The keeping and erasing of one ledger's access records."""

    def __init__(self, desk: Desk, writer: Writer, held: HeldKeys) -> None:
        self._desk = desk
        self._writer = writer
        self._held = held

    def state(self) -> Retention:
        """Policy, holds and erasures as the log tells them."""
        return self._writer.look(lambda view: retention_of(self._desk, view))

    def set_policy(self, acting: Acting, days: int | None) -> Outcome:
        """Keep access records so many days, or None: for good; `invalid-retention`."""
        self._require_operator()
        if days is not None and not DAYS_MIN <= days <= DAYS_MAX:
            raise InvalidInput(
                "invalid-retention",
                f"Access records are kept for {DAYS_MIN} to {DAYS_MAX} days, or for good.",
            )
        return self._writer.run(SetPolicy(self._desk, acting, days))

    def hold(self, acting: Acting, name: str) -> HoldOutcome:
        """Let nothing be erased until this is released; why is the reason."""
        return self._change_hold(acting, name, release=False)

    def release(self, acting: Acting, name: str) -> HoldOutcome:
        """This hold stops no erasure any more; others may."""
        return self._change_hold(acting, name, release=True)

    def holds(self) -> tuple[Hold, ...]:
        """Those that are set, in order of setting."""
        return tuple(sorted(self.state().holds.values(), key=lambda hold: hold.position))

    def planned(self) -> ErasureOutcome:
        """What `apply` would erase if no hold were set; nothing is changed."""
        return self._outcome(
            self._writer.look(lambda view: erasable_now(self._desk, view)),
            position=None,
            finishes=self.undone(),
        )

    def undone(self) -> int | None:
        """Where an erasure is recorded that is decided, and not yet recorded as done."""
        return self._writer.look(lambda view: undone(self._desk, view))

    def untold(self) -> tuple[int, ...]:
        """Months whose keys are destroyed while this log tells of no erasure, as YYYYMM.

        So it is after an archive was restored that was taken before the erasure.
        """
        history = self._writer.look(self._desk.key_history)
        held = {keys.epoch: keys for keys in self._held.unlocked.epochs}
        beyond = period_after(period_of(self._writer.head.recorded_at), 1)
        gone = {
            month
            for name, month in _access_keys(history, beyond)
            if name not in history.destroying
            and name.epoch in held
            and not held[name.epoch].holds(name)
        }
        return tuple(sorted(gone))

    def apply(self, acting: Acting) -> ErasureOutcome:
        """Erase what the policy lets go, and finish what an earlier run began.

        `legal-hold` while any hold is set and there is nothing to finish. It is erased when this
        returns, on this host: others drop the keys when they next open the ledger or follow the
        log. Killed anywhere, the next run finishes it.
        """
        self._require_operator()
        finishes = self.undone()
        self._finish(acting)
        erase = Erase(self._desk, acting, finished=finishes is not None)
        erasable, position = self._writer.run(erase)
        self._finish(acting)
        return self._outcome(erasable, position, finishes)

    def _finish(self, acting: Acting) -> None:
        """Take keys that the log calls destroying out of the file, and record that it was done."""
        keys = self._writer.look(self._desk.key_history).accesses_destroying
        if keys:
            self._held.destroy(lambda: self._writer.look(self._desk.key_history))
            self._writer.run(RecordDestruction(self._desk, acting, keys))

    def _outcome(
        self, erasable: Erasable, position: int | None, finishes: int | None
    ) -> ErasureOutcome:
        before = erasable.retention.until
        return ErasureOutcome(
            days=erasable.retention.days,
            holds=tuple(hold.name for hold in erasable.retention.holds.values()),
            months=erasable.months,
            keys=len(erasable.keys),
            records=self._records(before, erasable.until),
            until=erasable.until,
            position=position,
            finishes=finishes,
        )

    def _records(self, after: int, until: int) -> int:
        """How many rows of the `access` compartment lie there."""
        count = 0
        for start in range(after, until, _WINDOW):
            with self._writer.store.reading() as reading:
                topics = reading.topics_between(start, min(start + _WINDOW, until))
            count += sum(
                rows
                for topic, rows in topics.items()
                if compartment_of(topic) is Compartment.ACCESS
            )
        return count

    def _change_hold(self, acting: Acting, name: str, *, release: bool) -> HoldOutcome:
        self._require_operator()
        hold_key(name)
        return self._writer.run(ChangeHold(self._desk, acting, name, release))

    def _require_operator(self) -> None:
        if not self._desk.unlocked.is_operator:
            raise Refused(
                "operator-needed",
                "Only an operator's unlock decides what is kept and erased.",
                hint=NEEDS_OPERATOR,
            )


def retention_of(desk: Desk, transaction: Transaction) -> Retention:
    """Policy, holds and erasures as a transaction sees them."""
    return transaction.load(desk.streams.keyring(), fold_retention) or KEEPS_ALL


def undone(desk: Desk, transaction: Transaction) -> int | None:
    """Where an erasure is recorded whose keys the log does not call destroyed yet."""
    if not desk.key_history(transaction).accesses_destroying:
        return None
    return retention_of(desk, transaction).erasures[-1].position


def erasable_now(desk: Desk, transaction: Transaction) -> Erasable:
    """What the policy lets go by the clock's own reading; a clock behind the log lets go less."""
    retention = retention_of(desk, transaction)
    nothing = Erasable(retention, retention.until, (), ())
    if retention.days is None:
        return nothing
    stays = period_of(max(0, transaction.clock_reading - retention.days * DAY_US))
    until = transaction.position_at(period_start(stays) - 1)
    if until <= retention.until:
        return nothing
    history = desk.key_history(transaction)
    found = {
        name: month
        for name, month in _access_keys(history, stays)
        if name not in history.destroying
    }
    return Erasable(retention, until, tuple(found), tuple(sorted(set(found.values()))))


def _access_keys(history: KeyHistory, stays: int) -> Iterator[tuple[KeyName, int]]:
    """The keys that records before a month can be sealed under, each with its month.

    An epoch seals from the month it starts in to the one in which the next starts, both included.
    """
    for epoch in range(1, history.current + 1):
        first = history.first_periods[epoch]
        last = history.first_periods.get(epoch + 1, stays)
        for index in range(ACCESS_PERIODS):
            month = period_after(first, index)
            if month >= stays or month > last:
                break
            yield KeyName(epoch, Compartment.ACCESS.value, index), month
