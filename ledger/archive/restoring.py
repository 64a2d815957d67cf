"""Putting an archive into an empty store of either engine, page by page.

    archive ─▶ check rows, heads, signatures, versions ─▶ store: rows, commits, signers, views

Each page is one transaction of the store, which a second thread puts in while the next page is
read, checked and folded, and ends with a commit of the ledger. So at any moment the store holds a
whole log, only a shorter one; but for a commit that is too long for a page, whose head comes with
its last rows. The last page makes all durable. A restore that was killed is run
again: what is there must be the archive's beginning, and it goes on after that. Until it is
recorded that the restore came to its end, the store bears a mark, and nobody opens the ledger in
it: a log that is whole but shorter would give out values of before, and would be appended to. So a
ledger without the mark is gone on with by nobody either, however the archive begins.

Views take the rows in by the same transaction and the same fold as live appends, as far as the
keyring opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from ledger.archive.pages import Page
from ledger.archive.reading import Archive
from ledger.errors import Conflict
from ledger.log.following import CheckedHead
from ledger.log.memory import HostMemory
from ledger.log.store import Connection, Reading, Store, Writing
from ledger.log.tips import StreamTips, Tip, is_remembered

F = TypeVar("F")
_FRESH_TIPS_MAX = 20_000
_KNOWN_TIPS_MAX = 1_000
"""Few streams of a log are gone on with soon, and the memory knows the others."""
Progress = Callable[[int, int], None]


class Refold(Protocol[F]):
    """What folds an archive's rows, and brings what came of it into views."""

    def pages(self, there: int) -> Iterator[Page[F]]:
        """As `checked_pages`."""
        ...

    def begin(self, writing: Writing) -> None:
        """Make the views of an empty store ready for a whole log."""
        ...

    def end(self, writing: Writing) -> None:
        """Make them ready to be asked; nothing where they are already."""
        ...

    def take_in(self, connection: Connection, folded: F) -> None:
        """Write what a page's rows do to the views, in the transaction that writes the rows."""
        ...


class Restoration(Generic[F]):
    """One archive on its way into one store."""

    def __init__(
        self,
        archive: Archive,
        store: Store,
        refold: Refold[F],
        *,
        memory: HostMemory | None = None,
        recorded: bool = False,
    ) -> None:
        """`memory` is a fresh one, which then knows all that was checked here.

        `recorded` is a restore whose record is in the store already, right after the archive.
        """
        self._archive = archive
        self._store = store
        self._refold = refold
        self._memory = memory
        self._recorded = recorded
        self._tips = StreamTips(memory, known_max=_KNOWN_TIPS_MAX)

    def run(self, progress: Progress) -> CheckedHead:
        """Check and insert everything; the head that the store then ends with.

        `store-not-empty` where the store holds anything but what a restore of this archive that was
        cut off has brought; every finding of the row checks (tampered), with the store ending
        before it.
        """
        there = self.there()
        head = signed = CheckedHead()
        total = self._archive.last_position()
        pages = self._refold.pages(there)
        with ThreadPoolExecutor(1) as writer:
            coming: Future[None] | None = None
            while head.size < total:
                try:
                    page = self._next(pages)
                finally:
                    # Whatever is found in this page, the store ends with the one before it.
                    if coming is not None:
                        coming.result()
                        progress(head.size, total)
                landed, head, signed = signed, page.head, page.signed
                is_there = head.size <= there
                coming = None if is_there else writer.submit(self._take_in, page, landed.size)
                at_end = head.size == total
                if coming is not None and at_end:
                    coming = coming.result()
                if coming is None:
                    landed = signed
                    progress(head.size, total)
                # The head of what is in the store: this page is still being written, and within a
                # commit there is none. Tips may be newer than the head they are remembered with.
                self._remember(landed, always=at_end)
        self._archive.require_head()
        with self._store.reading() as reading:
            if not self._recorded and reading.extent().last != total:
                raise _changed_meanwhile()
            if reading.commit_at(total) != self._archive.manifest.head:
                raise _changed_meanwhile()
        return head

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Make the views ready to be asked; they may be read meanwhile, but not by what they index.

        To be entered, with something to do or without, once `run` has come to its end.
        """
        with ThreadPoolExecutor(1) as writer:
            ended = writer.submit(self._end)
            yield
            ended.result()

    def _end(self) -> None:
        with self._store.writing() as writing:
            self._refold.end(writing)

    def _next(self, pages: Iterator[Page[F]]) -> Page[F]:
        page = next(pages)
        moved: dict[bytes, Tip] = {}
        self._tips.warm({row.stream for row in page.rows if is_remembered(row.topic)})
        self._tips.after(page.rows, moved)
        self._tips.move(moved)
        return page

    def _take_in(self, page: Page[F], signed_before: int) -> None:
        # What a crash takes of the last pages is brought again; the end of all is durable.
        at_end = page.head.size == self._archive.last_position()
        with self._store.writing(durable=at_end) as writing:
            if page.after == 0 and writing.ledger() is None:
                writing.insert_ledger(self._archive.ledger())
                writing.begin_restoring()
                self._refold.begin(writing)
            if writing.extent()[:2] != (page.after, signed_before):
                raise _changed_meanwhile()
            self._append(writing, page)
            if page.folded is not None:
                self._refold.take_in(writing.connection, page.folded)

    def _append(self, writing: Writing, page: Page[F]) -> None:
        resting = [row for row in self._archive.signers() if row.from_size < page.head.size]
        writing.insert_rows(page.rows)
        writing.insert_signers(resting[len(writing.signers()) :])
        for commit in page.commits:
            writing.insert_commit(commit)

    def there(self) -> int:
        """How much of the archive the store holds already; `store-not-empty` as above."""
        with self._store.reading() as reading:
            ledger = reading.ledger()
            if ledger is None:
                return 0
            last, size, _ = reading.extent()
            if self._recorded:
                last = size = self._archive.last_position()
            fits = (
                (self._recorded or reading.is_restoring())
                and ledger == self._archive.ledger()
                and (size == 0 or reading.commit_at(size) == self._archive.commit_at(size))
                and (last == size or self._is_within_commit(reading, size, last))
                and reading.signers()
                == tuple(row for row in self._archive.signers() if row.from_size < last)
            )
        if not fits:
            raise _not_empty()
        return last

    def _is_within_commit(self, reading: Reading, size: int, last: int) -> bool:
        """Whether the rows beyond the newest head there are of the archive's next commit."""
        following = self._archive.commits_after(size, 1)
        return (
            bool(following)
            and size < last < following[0].size
            and [reading.row_at(last)] == self._archive.rows_after(last - 1, 1)
        )

    def _remember(self, head: CheckedHead, *, always: bool) -> None:
        if not head.size:
            return
        if self._memory is not None and (always or self._tips.fresh > _FRESH_TIPS_MAX):
            tips, passing = self._tips.unremembered(), self._tips.passing()
            self._memory.remember(head, tips, passing)
            self._tips.remembered(tips, passing)


def finish(store: Store) -> None:
    """Let the ledger in the store be opened: all is brought and recorded."""
    with store.writing() as writing:
        writing.end_restoring()


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
