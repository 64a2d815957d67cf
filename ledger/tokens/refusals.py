"""Refused tokens on their way into the log: whose they are singly, the rest in summaries.

    verified, first in its minute      one `token.refused`
    verified, shown again in it        counted
    unverified                         counted: one `token.refusals` for a source and a minute

A stranger can make any number of tokens that nobody signed, so all that can be counted is where
they came from. More sources than `SOURCES_MAX` in one minute are counted together, so a minute adds
a bounded number of events, whoever sends whatever. Even one genuine token that expired long ago can
be shown ten thousand times; it is recorded once a minute.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import msgspec

from ledger.aggregates.event import Event
from ledger.aggregates.token_use import TokenRefused, TokensRefused

MINUTE_US = 60_000_000
SOURCES_MAX = 64
OTHERS = "other sources"
_SHOWN_MAX = 1024
_SOURCE_LENGTH_MAX = 64

Record = Callable[[tuple[Event, ...]], None]
"""Append these events, durably."""


class _Count(msgspec.Struct):
    """What one source sent in one minute."""

    since: int
    until: int
    reasons: Counter[str] = msgspec.field(default_factory=Counter)


class Refusals:
    """Those of one process."""

    def __init__(self, record: Record, clock: Callable[[], int]) -> None:
        self._record = record
        self._clock = clock
        self._guard = threading.Lock()
        self._minute = 0
        self._counts: dict[str, _Count] = {}
        self._shown: set[bytes] = set()

    def verified(self, refused: TokenRefused, digest: bytes) -> None:
        """Record what became of a token that an issuer did sign, known by its digest."""
        now = self._clock()
        self._begin(now)
        with self._guard:
            again = digest in self._shown or len(self._shown) >= _SHOWN_MAX
            if again:
                self._count(refused.why, refused.source, now)
            else:
                self._shown.add(digest)
        if again:
            return
        try:
            self._record((refused,))
        except BaseException:
            with self._guard:
                self._shown.discard(digest)  # or nothing would tell whose it was
            raise

    def unverified(self, why: str, source: str) -> None:
        """Count what anybody can send."""
        now = self._clock()
        self._begin(now)
        with self._guard:
            self._count(why, source, now)

    def settle(self, *, everything: bool = False) -> None:
        """Record the summaries of a minute that is over, or all that there are."""
        self._begin(self._clock(), everything=everything)

    def _begin(self, now: int, *, everything: bool = False) -> None:
        """Go on to the minute of this time; what was counted before it is recorded.

        What cannot be recorded is counted further and tried again with the next one.
        """
        with self._guard:
            minute = now // MINUTE_US
            if minute == self._minute and not everything:
                return
            self._minute = minute
            self._shown.clear()
            counted, self._counts = self._counts, {}
        if not counted:
            return
        try:
            self._record(tuple(_summary(source, count) for source, count in counted.items()))
        except BaseException:
            with self._guard:
                self._take_back(counted)
            raise

    def _take_back(self, counted: dict[str, _Count]) -> None:
        for source, count in counted.items():
            newer = self._counts.setdefault(source, count)
            if newer is not count:
                newer.since = count.since
                newer.reasons.update(count.reasons)

    def _count(self, why: str, source: str, now: int) -> None:
        name = shown_source(source)
        if name not in self._counts and len(self._counts) >= SOURCES_MAX:
            name = OTHERS
        count = self._counts.setdefault(name, _Count(now, now))
        count.until = now
        count.reasons[why] += 1


def shown_source(source: str) -> str:
    """A source as it is recorded: short and printable."""
    cut = source[:_SOURCE_LENGTH_MAX]
    return "".join(one if one.isprintable() else "?" for one in cut) or "unknown"


def _summary(source: str, count: _Count) -> TokensRefused:
    reasons = tuple(sorted(count.reasons.items()))
    return TokensRefused(source, count.since, count.until, count.reasons.total(), reasons)
