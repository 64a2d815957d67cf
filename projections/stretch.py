"""The part of the log that a question is about, and walks over it from its end to its beginning.

A stretch ends with a *moment*: a time, or a position. What was recorded later is not looked at, so
the answer is the one that would have been given then. Of times both ends belong to it.

Answers that come newest first walk the log in parts, the newest first, each checked into a signed
head as a walk from the beginning is (`projections.streams`). The parts follow each other without a
gap, each to its end though the log was cut off meanwhile, and the last one shows the row before the
stretch, so nothing can be left out between them; and no more is held than a part, however long the
log is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import msgspec

from ledger.codec.mapper import EventMapper
from ledger.log.following import rolled_back
from ledger.log.store import Reading, Store
from projections.streams import Walk, position_at

T = TypeVar("T")
_PART_ROWS = 4000


class Stretch(msgspec.Struct, frozen=True):
    """Where a question begins and ends; None is no bound."""

    since: int | None = None
    """Microseconds UTC, included."""
    until: int | None = None
    """Microseconds UTC, included."""
    position: int | None = None
    """The last that counts."""

    def before(self, reading: Reading) -> int:
        """The position before the first that counts."""
        return 0 if self.since is None else position_at(reading, self.since - 1)

    def last(self, reading: Reading) -> int:
        """The last position that counts, as the log stands."""
        ends = [reading.last_position()]
        if self.position is not None:
            ends.append(self.position)
        if self.until is not None:
            ends.append(position_at(reading, self.until))
        return min(ends)

    def holds(self, position: int, recorded_at: int) -> bool:
        """Whether a row lies in it."""
        return (
            (self.since is None or self.since <= recorded_at)
            and (self.until is None or recorded_at <= self.until)
            and (self.position is None or position <= self.position)
        )


WHOLE = Stretch()
"""All of the log."""


class Bounds(NamedTuple):
    """Where a stretch ends in a log as it stands."""

    stretch: Stretch
    last: int
    """The last position that counts."""
    is_cut: bool
    """Whether the log goes on behind it."""


def bounds_of(reading: Reading, stretch: Stretch = WHOLE) -> Bounds:
    """Where a stretch ends; its time is looked up, and whoever walks there checks it."""
    last = stretch.last(reading)
    return Bounds(stretch, last, last < reading.last_position())


def newest_first(
    store: Store,
    mapper: EventMapper,
    stretch: Stretch,
    after: int | None,
    told: Callable[[Walk], list[T]],
    is_enough: Callable[[], bool] = lambda: False,
) -> Iterator[T]:
    """What is told of each part's walk, turned round, from the newest part on.

    `after` is the position that a page ended with: only what lies before it is walked over. No
    further part is walked over once it `is_enough`.
    """
    with store.reading() as reading:
        first, last = stretch.before(reading), stretch.last(reading)
    # Times are looked up only, to have a place to begin at: where the answer ends is told by rows
    # that were walked over, the one behind a time and the one before the stretch.
    end = last if stretch.until is None else stretch.position
    if after is not None:
        last = min(last, after - 1)
        end = after - 1 if end is None else min(end, after - 1)
    way = None
    while not is_enough():
        begin = max(last - _PART_ROWS, 0)
        if begin < first:
            begin, first = max(min(first, last) - 1, 0), 0
        part = Walk(
            store,
            mapper,
            since=stretch.since,
            until=stretch.until,
            after_position=begin,
            until_position=end,
            way=way,
        )
        found = told(part)
        if part.reached < last:  # and what was told of the parts before would hide it
            raise rolled_back(part.reached)
        yield from reversed(found)
        if begin == 0 or part.begins_before:
            return
        way = part.way
        end = last = begin
