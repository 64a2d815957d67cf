"""Values sealed anew: what rests on earlier epochs comes under the key of the current one.

    rotation's thread    found, opened, sealed │ page 2      │ page 3
    writer's thread                    page 1  └▶ appended   └▶ appended ...

As long as nobody else appends, a page is sealed while a server writes the one before. Where
somebody does, one follows the other, so that half of the time is theirs (`ledger.log.pace`); so it
is where the store works in this process, which would do no more at once.

What is read and sealed before the lock is taken counts only if its row is still the newest of its
stream under the lock, so nothing that was set in between is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import NamedTuple

import msgspec

from ledger.aggregates.mapping import CredentialResealed
from ledger.errors import KeyUnavailable
from ledger.log.pace import Pace
from ledger.log.rows import LogRow
from ledger.log.transaction import Place, Transaction
from ledger.log.writer import Writer
from ledger.sealing.envelope import NONCE_BYTES
from ledger.sealing.epochs import period_after, period_of, period_start
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.resting import Creation, Found, Lives, Page, resting

Progress = Callable[[int, int], None]
"""Told how many positions are looked through, of how many."""


class Mine:
    """How many rows of a log this work has appended, of which one batch may be on its way."""

    def __init__(self) -> None:
        self.landed = 0
        """Those that are known to be durable."""
        self._coming: tuple[int, int] | None = None

    def begin(self, size: int, rows: int) -> None:
        """A log of this size is about to get so many."""
        self._coming = size, rows

    def end(self, rows: int) -> None:
        """So many of the batch are there."""
        self._coming = None
        self.landed += rows

    def in_log(self, size: int) -> int:
        """How many are in a log of this size, as it was read a moment ago."""
        # It is told of a batch before that can be read, and read before it is asked here.
        coming = self._coming
        return self.landed + (coming[1] if coming is not None and size > coming[0] else 0)


class Prepared(NamedTuple):
    """One mapping's values sealed for the next event of its stream, before the lock is taken."""

    row: LogRow
    """The newest of its stream when it was read."""
    event: CredentialResealed


class Resealed(NamedTuple):
    """What became of some prepared mappings."""

    resealed: int
    ended: tuple[Creation, ...]
    """Applications that were deleted meanwhile: nobody can be given these values."""
    missed: int
    """To be looked at once more: the month or the epoch changed meanwhile."""


class Reseal(msgspec.Struct, frozen=True):
    """The same values under a newer key, for mappings that nobody has changed since."""

    desk: Desk
    acting: Acting
    epoch: int
    period: int
    prepared: Sequence[Prepared]
    pace: Pace
    mine: Mine
    others: int
    """Their applications were live in a log that had so many rows of others'."""

    def decide(self, transaction: Transaction) -> Resealed:
        """Append what still fits its place."""
        self.pace.take_lock()
        first = transaction.recorded_at()
        if transaction.epoch != self.epoch or period_of(first) != self.period:
            return Resealed(0, (), len(self.prepared))
        # Each event has a microsecond of its own, and the month may end before the last one's.
        fitting = self.prepared[: period_start(period_after(self.period, 1)) - first]
        actor = self.desk.actor(transaction, self.acting)
        lives = Lives(self.desk, transaction)
        is_as_found = transaction.next_position - 1 == self.others + self.mine.landed
        standing: list[tuple[bytes, CredentialResealed]] = []
        ended: list[Creation] = []
        for row, event in fitting:
            if not transaction.stands_at(row.stream, row.version, row.leaf):
                continue  # set or deleted meanwhile, and in the new epoch if there are values
            if not is_as_found:
                creation = Creation(event.application, event.creation)
                if creation not in lives:
                    ended.append(creation)
                    continue
            standing.append((row.stream, event))
        self.mine.begin(transaction.head.size, len(standing))
        transaction.append_together(standing, actor, self.acting.reason)
        return Resealed(len(standing), tuple(ended), len(self.prepared) - len(fitting))


class Looked(NamedTuple):
    """What one walk through the log has come to."""

    ended: frozenset[Creation]
    """Applications whose values were left: they are deleted."""
    missed: int
    """So many have to be looked at once more."""


class Resealing:
    """Everything that rests on epochs before the current one, sealed anew."""

    def __init__(
        self, desk: Desk, writer: Writer, acting: Acting, epoch: int, clock: Callable[[], int]
    ) -> None:
        self.mine = Mine()
        self._desk = desk
        self._writer = writer
        self._acting = acting
        self._epoch = epoch
        self._clock = clock
        self._pace = Pace()
        self._coming: Future[Resealed] | None = None
        self._ended: set[Creation] = set()
        self._missed = 0

    def run(self, until: int, progress: Progress) -> Looked:
        """Walk once through all that was recorded up to the start of the epoch, at `until`."""
        self._ended, self._missed = set(), 0
        desk, writer, pace, in_log = self._desk, self._writer, self._pace, self.mine.in_log
        try:
            for page in resting(desk, writer, pace, until=until, epoch=self._epoch, mine=in_log):
                self._ended.update(found.creation for found in page.ended)
                prepared = self._prepared(page) if page.live else None
                self._wait()
                if prepared is None:
                    pace.take_lock()  # and nobody waited for it
                    pace.let_go(writer.head.size - self.mine.landed)
                elif pace.is_calm and writer.store.works_elsewhere:
                    self._coming = writer.submit(prepared)
                else:
                    self._take_in(writer.run(prepared))
                progress(page.reached, until)
            self._wait()
        finally:
            if self._coming is not None:
                wait([self._coming])
        return Looked(frozenset(self._ended), self._missed)

    def _wait(self) -> None:
        """See what becomes of the page that is on its way, if one is."""
        if self._coming is not None:
            outcome = self._coming.result()
            self._coming = None
            self._take_in(outcome)

    def _take_in(self, outcome: Resealed) -> None:
        self.mine.end(outcome.resealed)
        self._ended.update(outcome.ended)
        self._missed += outcome.missed
        self._pace.let_go(self._writer.head.size - self.mine.landed)

    def _prepared(self, page: Page) -> Reseal:
        found, epoch = page.live, self._epoch
        period = period_of(max(self._clock(), self._writer.head.recorded_at + 1))
        nonces = self._desk.random(NONCE_BYTES * len(found))
        prepared: list[Prepared] = []
        for at, one in enumerate(found):
            nonce = nonces[NONCE_BYTES * at : NONCE_BYTES * (at + 1)]
            sealed = self._sealed_anew(one, period, nonce)
            if sealed is not None:
                prepared.append(sealed)
        return Reseal(
            self._desk, self._acting, epoch, period, prepared, self._pace, self.mine, page.others
        )

    def _sealed_anew(self, found: Found, period: int, nonce: bytes) -> Prepared | None:
        """None where another run has sealed it anew and destroyed its key since it was read."""
        desk, row, values, epoch = self._desk, found.row, found.values, self._epoch
        place = Place(row.stream, row.version + 1, CredentialResealed.TOPIC, epoch, period)
        try:
            secret = desk.box.reseal(
                row.epoch,
                values.secret,
                desk.mapper.associated_data(row),
                epoch,
                desk.mapper.associated_data(place),
                nonce,
            )
        except KeyUnavailable as error:
            if self._writer.look(lambda transaction: _stands(transaction, row)):
                raise values_lost(row.epoch) from error
            return None
        event = CredentialResealed(
            application=values.application,
            owner=values.owner,
            creation=values.creation,
            value_version=values.value_version,
            fields=values.fields,
            secret=secret,
            set_at=values.set_at,
            set_by=values.set_by,
        )
        return Prepared(row, event)


def _stands(transaction: Transaction, row: LogRow) -> bool:
    return transaction.stands_at(row.stream, row.version, row.leaf)


def values_lost(epoch: int) -> KeyUnavailable:
    """Values rest on a key that is gone without a word in the log."""
    return KeyUnavailable(
        "values-lost",
        f"Credentials rest on the key of values of epoch {epoch}, which this keyring does not hold.",
        hint="`credledger key restore` a key backup of before it was destroyed, or copy the keyring of"
        " a host that holds it, and run the command again. If there is none, delete those credentials"
        " first (`credledger credential list` shows the epoch of each), and set them anew then.",
    )
