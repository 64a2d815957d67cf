"""The newest row of every stream that decisions rest on, as this host has checked it.

A signed tree says what the whole log is, but nobody reads the whole log before each release. So
that a single row cannot be taken out of the stream of a policy, a mapping or a ticket unseen, the
host keeps for each of these, all streams outside the `access` compartment and tickets', a *tip*:

    version    of the newest row
    position   of the newest row
    before     running hash of all rows of the stream below it, 32 bytes
    leaf       of the newest row, 32 bytes

    running(0) = 32 zero bytes
    running(n) = SHA256(running(n-1) || leaf(n))

Tips move only over rows that were checked against a signed head. Whoever folds a stream compares
what he ends with; whoever needs the newest row alone compares its leaf. A stream without a tip has
no rows: what the database shows of it then is not the log's.

Tips that the host's memory does not hold yet are *fresh*; the rest is looked up there by key.

A ticket is over within a day, so the memory lets go of the tips of tickets' streams once they have
ended and two days have been recorded since their issue; *passing* ones are those. Until then they
also tell which tickets nobody has ended yet. A ticket's stream without a tip is
one that nobody knows, whatever comes of it later.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ledger.aggregates.tickets import ONE_TIME_TOPICS, TicketIssued
from ledger.codec.mapper import compartment_of
from ledger.errors import Tampered
from ledger.log.rows import LogRow
from ledger.sealing.compartments import Compartment

NOTHING_RUN = bytes(32)
_OPEN_TICKETS_PAGE = 1_000
KNOWN_MAX = 50_000
_WITHOUT_MAX = 5_000


class Tip(NamedTuple):
    """The newest row of one stream."""

    version: int
    position: int
    before: bytes
    leaf: bytes

    @property
    def running(self) -> bytes:
        """The running hash over all rows of the stream."""
        return run_on(self.before, self.leaf)


def run_on(before: bytes, leaf: bytes) -> bytes:
    """The running hash after one more leaf."""
    return hashlib.sha256(before + leaf).digest()


@functools.lru_cache(maxsize=256)
def is_remembered(topic: str) -> bool:
    """Whether streams of this topic have tips: tickets' own, and all outside of `access`."""
    return topic in ONE_TIME_TOPICS or compartment_of(topic) is not Compartment.ACCESS


class Remembered(Protocol):
    """What a host remembers of streams; see `ledger.log.memory`."""

    def tip(self, stream: bytes) -> Tip | None:
        """The remembered tip of a stream; None for a stream without rows."""
        ...

    def tips(self, streams: Sequence[bytes]) -> dict[bytes, Tip]:
        """The same for many streams; those without rows are left out."""
        ...

    def open_tickets(
        self, before: int, after: tuple[int, bytes], limit: int
    ) -> list[tuple[int, bytes]]:
        """Time of issue and stream of tickets that have not ended, in that order."""
        ...


class StreamTips:
    """The tips that one process knows, over those that its host remembers."""

    def __init__(self, remembered: Remembered | None = None, *, known_max: int = KNOWN_MAX) -> None:
        """So many of the remembered ones are at hand, besides the fresh ones."""
        self._remembered = remembered
        self._known_max = known_max
        self._fresh: dict[bytes, Tip] = {}
        self._known: dict[bytes, Tip] = {}
        self._without: set[bytes] = set()
        """Streams that the memory was asked for and does not know: they have no rows yet."""
        self._moves = 0
        self._passing: dict[bytes, int] = {}
        self._guard = threading.Lock()
        self._adopted = 0
        self._kept_to = 0
        """Up to this size the host's memory knows all tips, whoever wrote it."""
        self._ended: set[bytes] = set()
        """Streams that end where the tip at hand says, or have no rows, as the log says too."""

    def of(self, stream: bytes) -> Tip | None:
        """The stream's tip; None for a stream without rows."""
        tip = self._fresh.get(stream) or self._known.get(stream)
        if tip is None and self._remembered is not None and stream not in self._without:
            before = self._adopted, self._moves
            tip = self._remembered.tip(stream)
            with self._guard:
                # Else another thread may know a newer one by now, or have known and let go of it.
                if before == (self._adopted, self._moves):
                    if tip is not None:
                        self._keep(stream, tip)
                    else:
                        # Decisions ask for rights and issuers each time; mostly there are none.
                        self._note_without(stream)
        return tip

    def warm(self, streams: Iterable[bytes]) -> None:
        """Look up together what is about to be asked for one by one."""
        asked = [one for one in streams if one not in self._fresh and one not in self._known]
        if self._remembered is None or not asked:
            return
        before = self._adopted, self._moves
        found = self._remembered.tips(asked)
        with self._guard:
            if before == (self._adopted, self._moves):
                for stream in asked:
                    if stream in found:
                        self._keep(stream, found[stream])
                    else:
                        self._note_without(stream)

    def adopt(self, size: int) -> None:
        """The host's memory, which another process wrote, knows all tips up to this size."""
        with self._guard:
            self._adopted = max(self._adopted, size)
            self._kept_to = max(self._kept_to, size)
            self._known.clear()
            self._ended.clear()
            self._without.clear()
            for stream in [one for one, tip in self._fresh.items() if tip.position <= size]:
                del self._fresh[stream]

    def is_end(self, stream: bytes) -> bool:
        """Whether the log was followed to the stream's tip here, or asked if it goes on beyond it.

        Of one that the host's memory told, where another process wrote it, nobody knows that yet.
        """
        return stream in self._fresh or stream in self._ended

    def found_end(self, stream: bytes, size: int) -> None:
        """In a log of this size the stream does not go on beyond its tip."""
        with self._guard:
            if size >= self._adopted:
                if len(self._ended) >= self._known_max:
                    self._ended.clear()
                self._ended.add(stream)

    def after(self, rows: Iterable[LogRow], moved: dict[bytes, Tip]) -> None:
        """Note in `moved` where these rows, which are being checked, would move the tips."""
        for position, stream, version, topic, _, _, recorded_at, _, leaf in rows:
            if not is_remembered(topic):
                continue
            tip = moved.get(stream) or self.of(stream)
            if tip is not None and tip.position >= position:
                continue  # another thread or process of this host was here before
            if tip is None and version > 1 and topic in ONE_TIME_TOPICS:
                continue  # of a ticket that another process of this host let go of
            if topic == TicketIssued.TOPIC:
                with self._guard:
                    self._passing[stream] = recorded_at
            if version != (tip.version if tip is not None else 0) + 1:
                raise Tampered("stream-gap", "A stream lacks an event.", position=position)
            before = run_on(tip.before, tip.leaf) if tip is not None else NOTHING_RUN
            moved[stream] = Tip(version, position, before, leaf)

    def move(self, moved: Mapping[bytes, Tip]) -> None:
        """Believe these tips: the rows up to them are checked, or committed by this process.

        Whoever checked them may have been overtaken meanwhile by a thread that went on from what
        the host's memory knows, or wrote it. Up to there it has these tips, or newer ones.
        """
        with self._guard:
            self._moves += bool(moved)
            self._without.difference_update(moved)
            for stream, tip in moved.items():
                if tip.position <= self._kept_to:
                    continue
                held = self._fresh.get(stream) or self._known.get(stream)
                if held is None or held.position < tip.position:
                    self._fresh[stream] = tip

    @property
    def fresh(self) -> int:
        """How many tips the host's memory does not hold yet."""
        return len(self._fresh)

    def unremembered(self) -> dict[bytes, Tip]:
        """The tips that the host's memory does not hold yet."""
        with self._guard:
            return dict(self._fresh)

    def passing(self) -> dict[bytes, int]:
        """When the tickets were issued that the host's memory is not told of yet."""
        with self._guard:
            return dict(self._passing)

    def open_tickets(self, before: int) -> Iterator[bytes]:
        """Streams of tickets issued before this time, microseconds UTC, that nobody has ended.

        The oldest first, but for those of the last moment. They are what may be looked at: what a
        ticket is, its stream says.
        """
        with self._guard:
            fresh = {one: at for one, at in self._passing.items() if at < before}
        page, after = [], (0, b"")
        while self._remembered is not None:
            page = self._remembered.open_tickets(before, after, _OPEN_TICKETS_PAGE)
            yield from (one for _, one in page if one not in fresh and self._may_be_open(one))
            if len(page) < _OPEN_TICKETS_PAGE:
                break
            after = page[-1]
        yield from (one for one in sorted(fresh, key=fresh.__getitem__) if self._may_be_open(one))

    def _may_be_open(self, stream: bytes) -> bool:
        tip = self._fresh.get(stream) or self._known.get(stream)
        return tip is None or tip.version == 1

    def remembered(
        self, kept: Mapping[bytes, Tip], passing: Iterable[bytes] = (), size: int = 0
    ) -> None:
        """The host's memory holds these now, and so all up to this size."""
        with self._guard:
            self._kept_to = max(self._kept_to, size)
            for stream in passing:
                self._passing.pop(stream, None)
            for stream, tip in kept.items():
                if self._fresh.get(stream) == tip:
                    # Known before it is no longer fresh: `of` asks without the guard, and must not
                    # come upon an older one between the two.
                    self._keep(stream, tip)
                    self._ended.add(stream)
                    del self._fresh[stream]

    def renew_after_fork(self) -> None:
        """A lock that another thread held at the fork is held for ever in the child."""
        self._guard = threading.Lock()

    def _note_without(self, stream: bytes) -> None:
        if len(self._without) < _WITHOUT_MAX:
            self._without.add(stream)

    def _keep(self, stream: bytes, tip: Tip) -> None:
        self._without.discard(stream)
        if self._remembered is None:
            self._fresh[stream] = tip  # nobody else would know it
            return
        if len(self._known) >= self._known_max:
            self._known.clear()
            self._ended.clear()
        held = self._known.get(stream)
        if held is None or held.position < tip.position:
            self._known[stream] = tip
