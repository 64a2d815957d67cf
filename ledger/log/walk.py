"""A walk over rows that lie below a checked head, each held against that very head.

Whoever writes to the database can change a row's epoch or topic for the moment in which somebody
counts rows by them. So what must not be overlooked is never looked for by columns: every row on the
way is read, its leaf computed from it, and the leaves must lead from one signed head to the next
and in the end to the head that this process has checked. No other rows do (RFC 6962).

What was seen on the way counts only once the walk has come to its end without `Tampered`: a page
is signed for, but only the last one shows that all of them are of this log, and not of an abandoned
branch of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ledger.errors import Tampered
from ledger.log.following import CheckedHead, Follower, forked, rolled_back
from ledger.log.rows import LedgerRow, LogRow
from ledger.log.store import Reading

PAGE_ROWS = 5000
"""So many rows are read in one snapshot, and at hand at once, unless one commit holds more."""
Snapshots = Callable[[], AbstractContextManager[Reading]]
"""Opens a snapshot for each page; inside a transaction, always the same one."""


class Walk:
    """The way to one checked head of one ledger."""

    def __init__(
        self,
        snapshots: Snapshots,
        ledger: LedgerRow,
        head: CheckedHead,
        audit_stream_of: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._head = head
        self._page: list[LogRow] = []
        self._follower = Follower(
            ledger,
            audit_stream_of=audit_stream_of,
            observe=self._page.extend,
            page_rows=PAGE_ROWS,
        )

    def after_position(self, position: int) -> Iterator[list[LogRow]]:
        """The rows beyond a position, page by page.

        The head to begin with is the store's word, and is proven by where the walk ends.
        """
        position = min(position, self._head.size)
        with self._snapshots() as reading:
            begin = self._follower.unchecked_head(reading, position)
        for page in self.after(begin):
            rows = [row for row in page if row.position > position]
            if rows:
                yield rows

    def after(self, begin: CheckedHead) -> Iterator[list[LogRow]]:
        """The rows beyond a head, page by page; Tampered with whatever does not lead to the end."""
        reached = begin
        while reached.size < self._head.size:
            self._page.clear()
            with self._snapshots() as reading:
                moved = self._follower.follow(reading, reached, until=self._head.size)
            if moved.size == reached.size:
                raise rolled_back(reached.size)
            reached = moved
            yield list(self._page)
        if reached.frontier.root() != self._head.frontier.root():
            raise forked(self._head)


def require_remembered(row: LogRow, version: int) -> None:
    """`stream-altered` where the host remembers less of a row's stream than the log has."""
    if version < row.version:
        raise Tampered(
            "stream-altered",
            "A stream is not the one that this host has checked.",
            position=row.position,
        )
