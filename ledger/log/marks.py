"""What a log says at chosen sizes, noted while it is walked over and checked.

Somebody outside knows what the tree was at some sizes: this host's memory, an anchor. Each such
size is a *mark*. A walk stops there, so that the root can be told from the frontier. Where no head
has that size, because it was taken away (the next one's tree holds its rows as well) or because the
log is another one, the rows of the commit that goes across tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ledger.log.following import CheckedHead
from ledger.log.rows import LogRow


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
        asked = {size for size in sizes if size > 0}
        self._waiting = sorted(asked - self.found.keys(), reverse=True)
        self._rows: list[LogRow] = []

    def next(self) -> int:
        """Where to stop next; 0 where nothing is asked for any more."""
        return self._waiting[-1] if self._waiting else 0

    def see(self, rows: list[LogRow]) -> None:
        """Take in the rows of the next commit, which fit its head."""
        self._rows = rows

    def passed(self, before: CheckedHead, after: CheckedHead) -> None:
        """Note the marks between two heads; a walk that stops at `next` passes one commit at most.

        That is because a page that holds more than one commit ends at a mark or before.
        """
        while self._waiting and self._waiting[-1] <= after.size:
            size = self._waiting.pop()
            head = after if size == after.size else before.after(self._rows[: size - before.size])
            assert head.size == size
            self.found[size] = Mark(size, head.frontier.root(), head.recorded_at)
