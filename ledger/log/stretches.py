"""A log checked by several processes at once, each a stretch of it at a time.

    targets   0 ────────── 10,000 ────────── 20,000 ────────── 30,000       the head at the start
    stretch     ◀──── one ────▶◀──── another ────▶◀──── a third ────▶
                     heads: the first at each target or after it

A process begins a stretch with the head there *as the store tells it*, follows rows and heads to
the head where it ends (`ledger.log.following`, every signature), and answers what it came to.
Then stretches are put together in order: each must begin with exactly what the one before it came
to (frontier, time, epoch), its streams must go on with their next version, and each auditor must
keep to one stream. So the head at which they end was followed from the first row, by the same code
and with the same rules as one process follows it. Marks (`ledger.log.marks`) are noted within
stretches, so however many there are, they make no more of these.

Nothing is told of damage here. Wherever something does not fit, or a process ends, the answer is
None, and the log is followed by one process, whose findings stand. So it costs time to be damaged,
and never changes what is found.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, NamedTuple

import msgspec

from ledger.errors import LedgerError
from ledger.log.columns import Columns
from ledger.log.following import VERIFIED_ROWS, CheckedHead, Follower
from ledger.log.marks import Mark, Marks
from ledger.log.rows import LedgerRow
from ledger.log.store import LogReading, LogSource
from ledger.tree import Frontier, unpack_frontier

STRETCH_ROWS = 10_000
"""Short, so that at the end no process waits long for another's last one."""
SHARED_ROWS = 80_000
"""A shorter log is checked by one process before others have started."""
_WAITING = 2
"""Stretches that are handed out for each process: one that is checked, and the next."""
Reopen = Callable[[], LogSource]
"""Opens the same log in another process; it is handed over as it is, so it must be picklable."""
Pool = Callable[..., Executor]
"""Makes what works: as the executors of the standard library are made."""
Progress = Callable[[int, int], None]


def processes(jobs: int, **how: Any) -> Executor:
    """So many processes, each an interpreter of its own: nothing that is open here is in them."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), **how)


class Stretch(msgspec.Struct, frozen=True):
    """What one process came to."""

    begin: CheckedHead
    """As the store tells it; to be compared with what the stretch before came to."""
    end: CheckedHead
    commits: int
    versions: Mapping[bytes, tuple[int, int]]
    """The first and the newest version of each stream, all between them there."""
    audit_streams: Mapping[bytes, bytes]
    """By auditor's key."""
    marks: Mapping[int, Mark] = msgspec.field(default_factory=dict)
    """What was found at the sizes within it that were to be looked at."""


class Joined(msgspec.Struct):
    """Stretches put together, from the first row on."""

    head: CheckedHead = msgspec.field(default_factory=CheckedHead)
    commits: int = 0
    versions: dict[bytes, int] = msgspec.field(default_factory=dict)
    audit_streams: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    marks: dict[int, Mark] = msgspec.field(default_factory=dict)
    """What was found at the sizes that were to be looked at."""

    def take(self, stretch: Stretch) -> bool:
        """Put the next one behind; False where it does not go on from here."""
        if stretch.begin != self.head:
            return False
        self.head = stretch.end
        self.commits += stretch.commits
        self.marks.update(stretch.marks)
        return self._take_versions(stretch) and self._take_auditors(stretch)

    def _take_versions(self, stretch: Stretch) -> bool:
        known = self.versions
        for stream, (first, newest) in stretch.versions.items():
            if known.get(stream, 0) + 1 != first:
                return False
            known[stream] = newest
        return True

    def _take_auditors(self, stretch: Stretch) -> bool:
        for auditor, stream in stretch.audit_streams.items():
            known = self.audit_streams.get(auditor)
            if known is None and stream not in self.audit_streams.values():
                self.audit_streams[auditor] = stream
            elif known != stream:
                return False
        return True


def joined_stretches(
    reopen: Reopen,
    ledger: LedgerRow,
    size: int,
    *,
    jobs: int,
    marks: Collection[int] = (),
    progress: Progress | None = None,
    stretch_rows: int = STRETCH_ROWS,
    pool: Pool = processes,
) -> Joined | None:
    """The log followed up to a head of about this size, by so many processes; None where not.

    `marks` are sizes at which it is to be told what the log says.
    """
    joined = Joined()
    try:
        with pool(jobs, initializer=_open, initargs=(reopen, ledger)) as executor:
            for stretch in _checked(executor, _parts(size, stretch_rows, marks), _WAITING * jobs):
                if stretch is None or not joined.take(stretch):
                    executor.shutdown(wait=False, cancel_futures=True)
                    return None
                if progress is not None:
                    progress(joined.head.size, size)
    except BrokenProcessPool:
        return None
    # A commit may reach far beyond a target; what was looked for in no stretch is for one process.
    return joined if all(mark in joined.marks for mark in marks if 0 < mark <= size) else None


class _Part(NamedTuple):
    """What one process is asked to check."""

    begin: int
    """It goes from the first head here or after it"""
    end: int
    """to the first one here or after it."""
    marks: Sequence[int]
    """Those that may lie in it."""


def _parts(size: int, stretch_rows: int, marks: Collection[int]) -> Iterator[_Part]:
    """The parts one by one: nobody has looked yet whether a size is true."""
    marked = sorted(mark for mark in marks if 0 < mark <= size)
    for begin in range(0, size, stretch_rows):
        end = min(begin + stretch_rows, size)
        # Its last commit goes beyond its end, where the next part has no head to begin with.
        reach = bisect_right(marked, begin), bisect_right(marked, end + stretch_rows)
        yield _Part(begin, end, marked[slice(*reach)])


def _checked(
    executor: Executor, parts: Iterator[_Part], waiting_max: int
) -> Iterator[Stretch | None]:
    """The stretches in order, only so many of them handed out at a time."""
    waiting: deque[Future[Stretch | None]] = deque()
    for part in parts:
        waiting.append(executor.submit(_check, part))
        if len(waiting) >= waiting_max:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_opened: list[tuple[LogSource, LedgerRow]] = []
"""What a process that works has open, for all its stretches."""


def _open(reopen: Reopen, ledger: LedgerRow) -> None:
    _opened[:] = [(reopen(), ledger)]


def _check(part: _Part) -> Stretch | None:
    ((source, ledger),) = _opened
    return check_stretch(source, ledger, part.begin, part.end, part.marks)


def check_stretch(
    source: LogSource, ledger: LedgerRow, begin: int, end: int, marks: Sequence[int] = ()
) -> Stretch | None:
    """Follow the log between the heads at two targets; None where something does not hold."""
    versions, marked = _Versions(), Marks(())

    def compare(columns: Columns, frontier: Frontier) -> None:
        versions.see(columns)
        marked.see(columns, frontier)

    follower = Follower(ledger, every_signature=True, compare=compare, page_rows=VERIFIED_ROWS)
    try:
        with source.reading() as reading:
            head = first = told_head(reading, follower, begin)
            size = size_at(reading, end)
        if head is None or first is None or size is None:
            return None
        marked = Marks(mark for mark in marks if first.size < mark <= size)
        while head.size < size:
            with source.reading() as reading:
                moved = follower.follow(reading, head, until=marked.next() or size)
            marked.passed(moved)
            head = moved
    except LedgerError:
        return None
    if not versions.dense or head.size != size:
        return None
    spans, streams = versions.spans(), follower.audit_streams
    return Stretch(first, head, follower.commits, spans, streams, marked.found)


class _Versions:
    """That versions are dense within a stretch, wherever each stream begins in it."""

    def __init__(self) -> None:
        self.dense = True
        self._first: dict[bytes, int] = {}
        self._newest: dict[bytes, int] = {}

    def see(self, columns: Columns) -> None:
        newest = self._newest
        for stream, version in zip(columns.streams, columns.versions, strict=True):
            before = newest.get(stream)
            if before is None:
                self._first[stream] = version
            elif version != before + 1:
                self.dense = False
            newest[stream] = version

    def spans(self) -> dict[bytes, tuple[int, int]]:
        return {stream: (first, self._newest[stream]) for stream, first in self._first.items()}


def size_at(reading: LogReading, target: int) -> int | None:
    """The size of the first head at a target or after it; None where there is none."""
    if target == 0:
        return 0
    found = reading.commits_after(target - 1, 1)
    return found[0].size if found and found[0].is_sound else None


def told_head(reading: LogReading, follower: Follower, target: int) -> CheckedHead | None:
    """The head there as the store tells it; None where it cannot be one."""
    size = size_at(reading, target)
    if not size:
        return None if size is None else CheckedHead()
    commit, rows = reading.commit_at(size), reading.rows_after(size - 1, 1)
    if (
        commit is None
        or not commit.is_sound
        or not rows
        or not rows[0].is_sound
        or rows[0].position != size
    ):
        return None
    frontier = unpack_frontier(commit.size, commit.frontier)
    if frontier is None:
        return None
    signers = follower.signers_digest(reading, size)
    return CheckedHead(frontier, rows[0].recorded_at, rows[0].following_epoch, signers)
