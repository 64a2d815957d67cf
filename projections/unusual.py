"""Which reads are unusual, by three plain rules with numbers that whoever asks may choose.

    first-time     the person was never given this owner's credentials of this application before
    out-of-hours   outside the hours of a working day, on the clock of the zone that is given
    bulk           one of so many reads, or more, that one person made within a span of time

A rule says that a read is worth a look, not that it is wrong. All reads are judged in order of
time; who and what are compared only, so digests serve as well as names.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from datetime import time, tzinfo
from typing import NamedTuple

import msgspec

from ledger.moments import local_time

FIRST_TIME, OUT_OF_HOURS, BULK = "first-time", "out-of-hours", "bulk"
RULES = (FIRST_TIME, OUT_OF_HOURS, BULK)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SECOND_US = 1_000_000


class Read(NamedTuple):
    """Credentials that were given to somebody."""

    position: int
    recorded_at: int
    """Microseconds UTC."""
    who: bytes
    application: bytes
    owner: bytes

    @property
    def what(self) -> tuple[bytes, bytes, bytes]:
        """Who was given what."""
        return (self.who, self.application, self.owner)


class Rules(msgspec.Struct, frozen=True):
    """The numbers of the rules."""

    begins: time = time(7)
    ends: time = time(19)
    """Hours that end before they begin go over midnight; equal ones are the whole day."""
    first_day: int = 0
    """0 is Monday."""
    last_day: int = 4
    """Days that end before they begin go over Sunday."""
    bulk_reads: int = 50
    bulk_window_s: int = 600
    zone: tzinfo | None = None
    """None is the local one."""

    @property
    def bulk_window_us(self) -> int:
        """The span of the last rule in microseconds."""
        return self.bulk_window_s * _SECOND_US

    def stated(self) -> dict[str, str]:
        """Each rule as a sentence."""
        hours = f"{self.begins:%H:%M}-{self.ends:%H:%M}"
        days = f"{DAYS[self.first_day]}-{DAYS[self.last_day]}"
        return {
            FIRST_TIME: "never before given to this person",
            OUT_OF_HOURS: f"outside {hours}, {days}",
            BULK: f"{self.bulk_reads} reads or more by this person within {self.bulk_window_s} s",
        }

    def in_hours(self, moment_us: int) -> bool:
        """Whether a time lies within the hours of a working day."""
        local = local_time(moment_us, self.zone)
        day = _within(local.weekday(), self.first_day, self.last_day)
        at, begins, ends = local.time(), self.begins, self.ends
        if begins == ends:
            return day
        return day and (begins <= at < ends if begins < ends else at >= begins or at < ends)


class Watch:
    """Judges one read after the other, in order of time."""

    def __init__(self, rules: Rules, known: Iterable[tuple[bytes, bytes, bytes]] = ()) -> None:
        """`known` is what was given to whom before the first of them."""
        self._rules = rules
        self._given = set(known)
        self._recent: dict[bytes, deque[Read]] = defaultdict(deque)
        self._told: dict[bytes, int] = {}
        """The last of each person's reads that was told as bulk."""

    def see(self, read: Read) -> Iterator[tuple[int, str]]:
        """What this read makes unusual, itself or earlier ones: positions and rules, each once."""
        if read.what not in self._given:
            self._given.add(read.what)
            yield read.position, FIRST_TIME
        if not self._rules.in_hours(read.recorded_at):
            yield read.position, OUT_OF_HOURS
        for one in _bulk(self._recent[read.who], read, self._rules):
            if one.position > self._told.get(one.who, 0):
                self._told[one.who] = one.position
                yield one.position, BULK


def unusual(
    reads: Iterable[Read], known: Iterable[tuple[bytes, bytes, bytes]], rules: Rules
) -> dict[int, tuple[str, ...]]:
    """The rules that each read breaks, by position; those that break none are left out.

    `reads` are in order of time; `known` is what was given to whom before the first of them.
    """
    broken: dict[int, set[str]] = defaultdict(set)
    watch = Watch(rules, known)
    for read in reads:
        for position, rule in watch.see(read):
            broken[position].add(rule)
    return {
        position: tuple(rule for rule in RULES if rule in rules_broken)
        for position, rules_broken in broken.items()
    }


def _bulk(recent: deque[Read], read: Read, rules: Rules) -> list[Read]:
    """Those that a read makes bulk: itself, and at the first of them all within the span."""
    was_bulk = len(recent) >= rules.bulk_reads
    recent.append(read)
    while recent[0].recorded_at <= read.recorded_at - rules.bulk_window_us:
        recent.popleft()
    if len(recent) < rules.bulk_reads:
        return []
    return [read] if was_bulk else list(recent)


def _within(day: int, first: int, last: int) -> bool:
    return first <= day <= last if first <= last else day >= first or day <= last
