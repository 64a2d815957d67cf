"""Who sees the rows of a log while it is followed, and when.

    rows ──▶ come by ──▶ ... ──▶ a head fits that holds them ──▶ vouched

A commit may be as long as the log: whoever writes to the database can take the heads between away,
and the next one holds their rows as well. So its rows are not kept until its head fits, but for
those who must have them then, and these are given them once more (`Milestones`):

- who *compares* (a check of the whole log) sees rows as they come by. What it finds is held back
  until their head fits, because what is wrong with row or head comes first;
- who *holds* them (a question, a fold, a host's memory) is given no row before its head fits;
- *milestones* are noted of a commit that is too long to be held. Once its head fits, the tree up to
  each is one that leads to a signed root, and no other rows do (RFC 6962): rows that are read again
  and come to the same root are as good as the head.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ledger.errors import Tampered
from ledger.log.columns import Columns, Edge, Looked
from ledger.log.rows import LogRow, log_row
from ledger.log.tips import StreamTips, Tip
from ledger.tree import Frontier

Compare = Callable[[Columns, Frontier], None]
"""Sees rows that no head vouches for yet, and the tree before them; `Tampered` with what it finds.
For who counts and compares, and says nothing before the end."""
Observe = Callable[[list[LogRow]], None]


class Observer(Protocol):
    """Sees the rows of one page."""

    keeps: bool
    """Whether it needs the rows themselves, and not their columns only."""

    def come_by(self, looked: Looked, frontier: Frontier) -> None:
        """The next rows, looked at, which no head vouches for yet; and the tree before them."""
        ...

    def vouched(self, size: int) -> None:
        """A head of this size fits the rows up to it; `Tampered` with what was found in them."""
        ...

    def end(self) -> None:
        """The page is believed as far as it was vouched for."""
        ...


class Nobody:
    """Sees nothing."""

    keeps = False

    def come_by(self, looked: Looked, frontier: Frontier) -> None:
        """Nothing."""

    def vouched(self, size: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Comparing(Nobody):
    """Shows rows at once, and keeps what is found until their head fits."""

    def __init__(self, compare: Compare) -> None:
        self._compare = compare
        self._found: Tampered | None = None

    def come_by(self, looked: Looked, frontier: Frontier) -> None:
        """Have them compared; what comes after something that was found is of no interest."""
        if self._found is None:
            try:
                self._compare(looked.columns, frontier)
            except Tampered as found:
                self._found = found

    def vouched(self, size: int) -> None:
        """Raise what was found up to there."""
        if self._found is not None and (self._found.position or 0) <= size:
            raise self._found


class Holding:
    """Keeps rows until their head fits; tips move at the end of the page."""

    keeps = True

    def __init__(self, observe: Observe | None, tips: StreamTips | None) -> None:
        self._observe = observe
        self._tips = tips
        self._moved: dict[bytes, Tip] = {}
        self._rows: list[LogRow] = []
        self._given = 0
        """So many of the rows that are held were given already."""

    def come_by(self, looked: Looked, frontier: Frontier) -> None:
        """Keep them behind those that wait."""
        del frontier
        self._rows = [*self._rows[self._given :], *map(log_row, looked.rows)]
        self._given = 0

    def vouched(self, size: int) -> None:
        """Give the rows up to there."""
        begin = self._given
        self._given = begin + size - self._rows[begin].position + 1
        rows = self._rows[begin : self._given]
        if self._observe is not None:
            self._observe(rows)
        if self._tips is not None:
            self._tips.after(rows, self._moved)

    def end(self) -> None:
        """Move the tips."""
        if self._tips is not None:
            self._tips.move(self._moved)


class Milestone(NamedTuple):
    """A tree on the way to a head, and what goes on from it."""

    frontier: Frontier
    edge: Edge


class Milestones(Nobody):
    """The trees on the way to a head, about so many rows apart."""

    def __init__(self, rows: int, begin: Milestone) -> None:
        self._rows = rows
        self._edge = begin.edge
        self.passed = [begin]
        """The first one is where the way begins."""

    def come_by(self, looked: Looked, frontier: Frontier) -> None:
        """Note the tree before these rows if it is far enough from the one before."""
        if frontier.size - self.passed[-1].frontier.size >= self._rows:
            self.passed.append(Milestone(frontier, self._edge))
        self._edge = looked.edge


class Way(NamedTuple):
    """The way to a head that was checked, from milestone to milestone."""

    milestones: Sequence[Milestone]
    """From the tree where it begins to that of the head itself."""
    signers: bytes
    """Digest of all signer rows that the head was signed over: rows are as good as it by these."""

    @property
    def begin(self) -> int:
        """The size where it begins."""
        return _size(self.milestones[0])

    @property
    def size(self) -> int:
        """The size of the head."""
        return _size(self.milestones[-1])

    def after(self, frontier: Frontier) -> Milestone | None:
        """The milestone after this tree, if that is one on the way."""
        at = bisect_right(self.milestones, frontier.size, key=_size)
        if not 0 < at < len(self.milestones):
            return None
        return self.milestones[at] if self.milestones[at - 1].frontier == frontier else None

    def before(self, position: int) -> Milestone | None:
        """The last milestone at or before a position on the way; None for one elsewhere."""
        at = bisect_right(self.milestones, position, key=_size)
        return self.milestones[at - 1] if 0 < at < len(self.milestones) else None


def _size(milestone: Milestone) -> int:
    return milestone.frontier.size


class Spread:
    """Of which streams and topics the rows of a commit are."""

    def __init__(self) -> None:
        self.stream: bytes | None = None
        """That of the first row."""
        self.is_of_one_stream = True
        self.is_of_questions = True
        """Whether all topics are `audit.*`."""

    def take(self, columns: Columns) -> None:
        """Take in the next rows."""
        if not columns.leaves:
            return
        if self.stream is None:
            self.stream = columns.streams[0]
        self.is_of_one_stream &= set(columns.streams) == {self.stream}
        self.is_of_questions &= all(topic.startswith("audit.") for topic in set(columns.topics))
