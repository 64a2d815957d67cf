"""Putting an archive into an empty store of either engine, page by page.

    archive ─▶ check rows, heads, signatures, versions ─▶ store: rows, commits, signers, views

Each page ends with a commit of the ledger and is one transaction of the store, which a second
thread puts in while the next page is read, checked and opened. So at any moment the
store holds a whole log, only a shorter one; the last page makes all durable. A restore that was
killed is run again: what is there must be the archive's beginning, and it goes on after that. Until
it is recorded that the restore came to its end, the store bears a mark, and nobody opens the ledger
in it: a log that is whole but shorter would give out values of before, and would be appended to. So
a ledger without the mark is gone on with by nobody either, however the archive begins.
Views are folded in the same transaction by the same fold as live appends, as far as the keyring
opens the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ledger.aggregates.recorded import Recorded
from ledger.archive.reading import Archive
from ledger.codec.mapper import EventMapper
from ledger.errors import Conflict, KeyUnavailable
from ledger.log.following import CheckedHead, Follower
from ledger.log.memory import HostMemory
from ledger.log.rows import EPOCH_STARTED, CommitRow, LogRow
from ledger.log.store import Maintainer, Reading, Store, Writing
from ledger.log.tips import StreamTips
from ledger.log.verification import Versions

_PAGE_COMMITS = 500
_FRESH_TIPS_MAX = 20_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Refold:
    """What folds the restored rows into views."""

    mapper: EventMapper
    maintainers: Sequence[Maintainer]


class Restoration:
    """One archive on its way into one store."""

    def __init__(
        self,
        archive: Archive,
        store: Store,
        refold: Refold,
        *,
        memory: HostMemory | None = None,
        audit_stream_of: Callable[[bytes], bytes] | None = None,
        recorded: bool = False,
    ) -> None:
        """`memory` is a fresh one, which then knows all that was checked here.

        `recorded` is a restore whose record is in the store already, right after the archive.
        """
        self._archive = archive
        self._store = store
        self._refold = refold
        self._opening = refold.mapper.opening()
        self._memory = memory
        self._recorded = recorded
        self._tips = StreamTips(memory)
        self._versions = Versions()
        self._page: list[LogRow] = []
        self._folding = True
        self._follower = Follower(
            archive.ledger(),
            every_signature=True,
            audit_stream_of=audit_stream_of,
            observe=self._see,
            tips=self._tips,
        )

    def run(self, progress: Progress) -> CheckedHead:
        """Check and insert everything; the head that the store then ends with.

        `store-not-empty` where the store holds anything but what a restore of this archive that was
        cut off has brought; every finding of the row checks (tampered), with the store ending
        before it.
        """
        there = self._there()
        head, total = CheckedHead(), self._archive.last_position()
        with ThreadPoolExecutor(1) as writer:
            coming: Future[None] | None = None
            while head.size < total:
                try:
                    moved, page = self._next(head, there)
                finally:
                    # Whatever is found in this page, the store ends with the one before it.
                    if coming is not None:
                        coming.result()
                        progress(head.size, total)
                coming = None if page is None else writer.submit(self._take_in, page)
                head, at_end = moved, moved.size == total
                if coming is not None and (at_end or self._tips.fresh > _FRESH_TIPS_MAX):
                    coming = coming.result()
                if coming is None:
                    self._remember(head, always=at_end)
                    progress(head.size, total)
        self._archive.require_head()
        with self._store.reading() as reading:
            if not self._recorded and reading.extent().last != total:
                raise _changed_meanwhile()
            if reading.commit_at(total) != self._archive.manifest.head:
                raise _changed_meanwhile()
        return head

    def _see(self, rows: list[LogRow]) -> None:
        self._versions.see(rows)
        self._page.extend(rows)

    def _next(self, head: CheckedHead, there: _There) -> tuple[CheckedHead, _Page | None]:
        """The next page, checked and opened; None for one that the store holds already."""
        end = self._archive.segment_end(head.size + 1)
        if head.size < there.size:
            end = min(end, there.size)
        self._page = []
        moved = self._follower.follow(self._archive, head, until=end)
        if moved.size <= there.size:
            # Views hold these already; what is left to learn is when each epoch began.
            self._opened([row for row in self._page if row.topic == EPOCH_STARTED])
            return moved, None
        recorded = self._opened(self._page) if self._folding else []
        commits = self._commits(head.size, moved.size)
        return moved, _Page(head.size, moved.size, self._page, commits, recorded)

    def _take_in(self, page: _Page) -> None:
        # What a crash takes of the last pages is brought again; the end of all is durable.
        at_end = page.size == self._archive.last_position()
        with self._store.writing(durable=at_end) as writing:
            if page.after == 0 and writing.ledger() is None:
                writing.insert_ledger(self._archive.ledger())
                writing.begin_restoring()
            if writing.extent()[:2] != (page.after, page.after):
                raise _changed_meanwhile()
            self._append(writing, page)
            for maintainer in self._refold.maintainers:
                maintainer.maintain(writing.connection, page.recorded)

    def _append(self, writing: Writing, page: _Page) -> None:
        resting = [row for row in self._archive.signers() if row.from_size < page.size]
        writing.insert_rows(page.rows)
        writing.insert_signers(resting[len(writing.signers()) :])
        for commit in page.commits:
            writing.insert_commit(commit)

    def _opened(self, rows: Sequence[LogRow]) -> list[Recorded]:
        """The rows as views fold them; none any more once a key is lacking.

        Views then stay behind, and whoever brings them forward tells what becomes of such a row.
        """
        opened: list[Recorded] = []
        try:
            opened.extend(self._opening.recorded(row) for row in rows)
        except KeyUnavailable:
            self._folding = False
        return opened

    def _commits(self, after: int, until: int) -> list[CommitRow]:
        found: list[CommitRow] = []
        while after < until:
            page = self._archive.commits_after(after, _PAGE_COMMITS)
            found.extend(commit for commit in page if commit.size <= until)
            after = page[-1].size
        return found

    def _there(self) -> _There:
        """How much of the archive the store holds already."""
        with self._store.reading() as reading:
            ledger = reading.ledger()
            if ledger is None:
                return _There(0)
            size = self._archive.last_position() if self._recorded else self._size(reading)
            fits = (
                (self._recorded or reading.is_restoring())
                and ledger == self._archive.ledger()
                and (size == 0 or reading.commit_at(size) == self._archive.commit_at(size))
                and reading.signers()
                == tuple(row for row in self._archive.signers() if row.from_size < size)
            )
        if not fits:
            raise _not_empty()
        return _There(size)

    def _size(self, reading: Reading) -> int:
        extent = reading.extent()
        if extent.last != extent.size:
            raise _not_empty()
        return extent.size

    def _remember(self, head: CheckedHead, *, always: bool) -> None:
        if self._memory is not None and (always or self._tips.fresh > _FRESH_TIPS_MAX):
            tips, passing = self._tips.unremembered(), self._tips.passing()
            self._memory.remember(head, tips, passing)
            self._tips.remembered(tips, passing)


def finish(store: Store) -> None:
    """Let the ledger in the store be opened: all is brought and recorded."""
    with store.writing() as writing:
        writing.end_restoring()


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows that were checked into signed heads, and all that goes into the store with them."""

    after: int
    """The position before its first row."""
    size: int
    """The position of its last row."""
    rows: Sequence[LogRow]
    commits: Sequence[CommitRow]
    recorded: Sequence[Recorded]
    """Their events, as far as views are folded."""


@dataclass(frozen=True, slots=True)
class _There:
    """What a restore that was cut off has brought so far."""

    size: int


def _not_empty() -> Conflict:
    return Conflict(
        "store-not-empty",
        "The store is not empty, and holds something else than a restore of this archive.",
        hint="Restore into an empty place: a new file, or a schema that is not there yet.",
    )


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "restore-overtaken",
        "Somebody else wrote into the store while it was being restored.",
        hint="Keep others away from it and run the command again.",
    )
