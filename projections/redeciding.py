"""Accesses decided again by several processes at once, each a stretch of the log at a time.

    borders   0 ────────── 20,000 ────────── 40,000 ────────── 60,000 ─────▶ wherever the log ends
    one       judged            taken             judged            taken
    other     taken             judged            taken             judged

Whoever judges a stretch follows it into its signed heads and decides each access in it. Of the
stretches that others judge he *takes* what deciding rests on: the rows of policy and of tickets,
and no others. They are believed for now, as the store tells them. Stretches are handed out in
order, so each process takes or judges every row of policy once, however many stretches there are.

Then all is put together. A stretch must begin with exactly the head that the one before it came to,
as when a log is checked by several processes (`ledger.log.stretches`). And for each stretch, the
leaves of the rows that were taken, computed from these rows, must hash to what those hash to which
its judge followed into a signed head. So nothing was decided by a row that nobody checked, nor by
one that was another for one process than for the next (decision 30).

Nothing is told of damage here. Where something does not fit, or in an epoch that began since the
keys were handed over, the answer is None, and one process decides everything again: what it finds
stands. Borders are sizes of commits. What goes with a ticket is two rows of one commit; where
somebody with the keys parted them, whoever judges the next stretch knows the row before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from ledger.aggregates.retention import Retention
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable, LedgerError, Tampered
from ledger.log.following import CheckedHead
from ledger.log.rows import NO_ROW, LogRow, leaves_of
from ledger.log.store import LogReading, Store
from ledger.log.stretches import Joined, Stretch, size_at, told_head
from projections.rechecked import Rechecked
from projections.redecide import POLICY_PREFIXES, PREFIXES, Redecision
from projections.streams import Walk, follower_of
from projections.stretch import WHOLE, Bounds
from projections.stretch import Stretch as Asked

STRETCH_ROWS = 20_000
_PAGE_ROWS = 2000


class Decided(NamedTuple):
    """What one process came to in one stretch."""

    number: int
    """Which stretch it is, counted from 0."""
    stretch: Stretch
    found: Rechecked
    policy: bytes
    """The hash over the leaves of the rows of policy and tickets that were followed in it."""
    taken: Mapping[int, bytes]
    """The same, by number, of those that were taken from stretches before it."""


class StretchWalk(Walk):
    """A walk from one head to another as the store tells them; to the end where none is told.

    Of what lies behind the end of what is asked about no row is given, and the last walk follows no
    further than to the first head behind it.
    """

    def __init__(
        self,
        store: Store,
        mapper: EventMapper,
        begin: int,
        end: int | None,
        asked: Asked = WHOLE,
    ) -> None:
        super().__init__(store, mapper, until=asked.until, until_position=asked.position)
        self.stretch = Stretch(CheckedHead(), CheckedHead(), 0, {}, {})
        """What it came to, once it has come to its end."""
        self.policy = sha256()
        self._begin = begin
        self._end = end

    def _pages(self) -> Iterator[list[LogRow]]:
        page: list[LogRow] = []
        with self._store.reading() as reading:
            follower = follower_of(reading, self._mapper, page.extend)
            first = head = told_head(reading, follower, self._begin)
        if first is None or head is None:
            raise Tampered("missing-commit", "A head is gone.", position=self._begin)
        while self._end is None or head.size < self._end:
            with self._store.reading() as reading:
                moved = follower.follow(reading, head, until=self._end or 0)
            if moved.size == head.size:
                break
            head = moved
            for row in page:
                if row.topic.startswith(POLICY_PREFIXES):
                    self.policy.update(row.leaf)
            is_beyond = self.goes_on = self._is_beyond(page[-1])
            yield [row for row in page if not self._is_beyond(row)] if is_beyond else page
            page.clear()
            if is_beyond and self._end is None:
                break
        self.stretch = Stretch(first, head, follower.commits, {}, follower.audit_streams)


class Decider:
    """Decides stretches, each one behind the one before."""

    def __init__(
        self,
        store: Store,
        mapper: EventMapper,
        retention: Retention,
        borders: Sequence[int],
        newest_epoch: int,
        bounds: Bounds | None = None,
    ) -> None:
        """`newest_epoch` is the last of which it was looked whether its keys are held.

        `bounds` are of what is asked about; None is the whole log.
        """
        self._store = store
        self._mapper = mapper
        self._opening = mapper.opening()
        self._stretches = [*pairwise(borders), (borders[-1], None)]
        self._newest_epoch = newest_epoch
        self._asked = WHOLE if bounds is None else bounds.stretch
        self._is_cut = bounds is not None and bounds.is_cut
        self._redecision = Redecision(retention, self._asked.since)
        self._next = 0

    def decide(self, number: int) -> Decided | None:
        """Judge a stretch, after taking those that are left out; None where something is amiss."""
        begin, end = self._stretches[number]
        try:
            taken = {left_out: self._take(left_out) for left_out in range(self._next, number)}
            self._next = number + 1
            return self._judge(number, begin, end, taken)
        except LedgerError:
            return None

    def _judge(
        self, number: int, begin: int, end: int | None, taken: Mapping[int, bytes]
    ) -> Decided:
        redecision = self._redecision
        redecision.begin(begin)
        walk = StretchWalk(self._store, self._mapper, begin, end, self._asked)
        events = walk.events(PREFIXES, unreadable=self._pass_over, known=redecision.knows)
        for recorded in events:
            redecision.see(recorded)
        # Where a time lies was looked up only; whether rows lie behind it is told by the walk.
        is_cut = self._is_cut if self._asked.until is None else walk.goes_on
        if end is None and not is_cut:
            found = redecision.end()
        else:
            found = redecision.pause(end or max(begin, walk.position))
        return Decided(number, walk.stretch, found, walk.policy.digest(), taken)

    def _pass_over(self, row: LogRow, error: KeyUnavailable) -> None:
        self._require_known(row, error)
        self._redecision.pass_over(row, error)

    def _require_known(self, row: LogRow, error: KeyUnavailable) -> None:
        """What another process might open is not for this one."""
        if row.epoch > self._newest_epoch:
            raise error

    def _take(self, number: int) -> bytes:
        """Fold the policy and tickets of a stretch that another process judges."""
        begin, end = self._stretches[number]
        assert end is not None
        policy = sha256()
        while True:
            with self._store.reading() as reading:
                rows = reading.rows_of_topics(POLICY_PREFIXES, begin, end, _PAGE_ROWS)
            try:
                leaves = leaves_of(self._mapper.ledger_id, rows)
            except NO_ROW as error:
                raise Tampered("altered-row", "A row cannot be one the ledger wrote.") from error
            policy.update(b"".join(leaves))
            for row in rows:
                self._fold(row)
            if len(rows) < _PAGE_ROWS:
                return policy.digest()
            begin = rows[-1].position

    def _fold(self, row: LogRow) -> None:
        try:
            text = self._opening.text(row)
        except KeyUnavailable as error:
            self._require_known(row, error)
            self._redecision.lack(row)
        else:
            self._redecision.take(self._opening.told(row, text))


class Joining:
    """Stretches put together in order, however they come in."""

    def __init__(self, borders: Sequence[int], retention: Retention) -> None:
        self._count = len(borders)
        self._erasures = frozenset(erasure.why for erasure in retention.erasures)
        self._waiting: dict[int, Decided] = {}
        self._followed: list[bytes] = []
        self._taken: list[tuple[int, bytes]] = []
        self._joined = Joined()
        self._found = Rechecked()

    @property
    def size(self) -> int:
        """How far the log was followed without a gap."""
        return self._joined.head.size

    def take(self, decided: Decided) -> bool:
        """Put in one more; False where it does not go on from where the one before it ended."""
        self._waiting[decided.number] = decided
        self._taken.extend(decided.taken.items())
        while (ready := self._waiting.pop(len(self._followed), None)) is not None:
            if not self._joined.take(ready.stretch):
                return False
            self._followed.append(ready.policy)
            self._found.take(ready.found, self._erasures)
        return True

    def found(self) -> Rechecked | None:
        """What all found; None if one is missing, or took other rows than were followed."""
        if len(self._followed) != self._count:
            return None
        same = all(self._followed[number] == policy for number, policy in self._taken)
        return self._found if same else None


def borders_of(
    reading: LogReading, stretch_rows: int = STRETCH_ROWS, last: int | None = None
) -> list[int]:
    """Where stretches begin: sizes of heads, about so many rows apart, the first one 0.

    None begins close before the end, or the `last` position, where it would hardly be one.
    """
    borders = [0]
    size = reading.extent().size if last is None else last
    for target in range(stretch_rows, size - stretch_rows // 2, stretch_rows):
        border = size_at(reading, target)
        if border is not None and borders[-1] < border < size:
            borders.append(border)
    return borders
