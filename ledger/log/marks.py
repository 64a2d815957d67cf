"""What a log says at chosen sizes, noted while it is walked over and checked.

Somebody outside knows what the tree was at some sizes: this host's memory, an anchor. Each such
size is a *mark*. A walk stops there, so that the root can be told from the frontier. Where no head
has that size, because it was taken away (the next one's tree holds its rows as well) or because the
log is another one, the rows of the commit that goes across tell it, as soon as its head fits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec

from ledger.log.columns import Columns
from ledger.log.following import CheckedHead
from ledger.tree import Frontier


class Mark(msgspec.Struct, frozen=True):
    """The log as far as one size: its rows were checked, and lead to this root."""

    size: int
    root: bytes
    recorded_at: int
    """Microseconds UTC of the last row up to there."""


class Marks:
    """The sizes that are asked for, and what was found at those that were reached."""

    def __init__(self, sizes: Iterable[int], found: Mapping[int, Mark] | None = None) -> None:
        """`found` is what others have noted already, as far as they walked."""
        self.found: dict[int, Mark] = dict(found or {})
        self._sizes = sorted({size for size in sizes if size > 0} - self.found.keys())
        self._passed = 0
        """So many of them lie below where the walk is."""
        self._ahead: dict[int, Mark] = {}
        """What the rows say of those that wait, before their head is known to fit."""
        self._recorded_at = 0
        """Of the last row that was seen."""

    def next(self) -> int:
        """Where to stop next; 0 where nothing is asked for any more."""
        return self._sizes[self._passed] if self._passed < len(self._sizes) else 0

    def see(self, columns: Columns, frontier: Frontier) -> None:
        """Take in the next rows, which fit each other, and the tree before them."""
        begin = bisect_left(self._sizes, columns.after, self._passed)
        end = bisect_left(self._sizes, columns.last, begin)  # one there is told by what follows
        at, recorded_at = frontier, self._recorded_at
        for size in self._sizes[begin:end]:
            rows = columns.between(at.size, size)
            at = at.extend(rows.leaves)
            recorded_at = rows.times[-1] if rows.times else recorded_at
            self._ahead[size] = Mark(size, at.root(), recorded_at)
        self._recorded_at = columns.times[-1] if columns.times else self._recorded_at

    def passed(self, head: CheckedHead) -> None:
        """Note the marks up to this head, to which rows were followed from the one before.

        Of marks between two heads the rows have told, as a page that ends beyond the next mark
        holds one commit only.
        """
        while 0 < self.next() <= head.size:
            size = self.next()
            at_head = Mark(size, head.frontier.root(), head.recorded_at)
            self.found[size] = at_head if size == head.size else self._ahead[size]
            self._passed += 1
        self._ahead.clear()
