"""One row of the log, checked into a signed head, for what must not rest on the database's word.

Whoever writes to the database can change a row's time, put its leaf right and change it back
later. A row's leaf under a signed root they cannot change: the frontier of a commit before the
row, and the leaves computed from the stored rows from there on, must give the root that is signed.
Wherever the frontier came from, no other leaves lead to that root (RFC 6962).

A place that is looked up by time is proven by the two rows beside it, as times grow.

It does not ask whether rows were taken away elsewhere: see `ledger.log.verification`.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.errors import Tampered
from ledger.log.following import Follower
from ledger.log.rows import LedgerRow, LogRow
from ledger.log.store import Reading

_PAGE_ROWS = 1000


def signed_row(reading: Reading, ledger: LedgerRow, position: int) -> LogRow | None:
    """The row at this position, as it was signed for; None outside the log.

    Tampered with whatever following the log finds there.
    """
    page: list[LogRow] = []
    follower = Follower(ledger, observe=page.extend, page_rows=_PAGE_ROWS)
    head = follower.unchecked_head(reading, position - 1)
    while head.size < position:
        page.clear()
        moved = follower.follow(reading, head)
        if moved.size == head.size:
            return None
        head = moved
    return next((row for row in page if row.position == position), None)


class Place(NamedTuple):
    """Where a time lies in the log: between two rows that were checked into signed heads."""

    before: LogRow | None
    """The last one recorded at or before it; None before the first."""
    behind: LogRow | None
    """The one after that; None at the end."""

    @property
    def position(self) -> int:
        """The last position recorded at or before the time; 0 for none."""
        return 0 if self.before is None else self.before.position


def signed_place_at(reading: Reading, ledger: LedgerRow, size: int, at: int) -> Place:
    """Where a time lies among the rows up to a size.

    The time is in microseconds UTC. `altered-row` if times were changed.
    """
    low = told_position_at(reading, size, at)

    def beside(position: int) -> LogRow | None:
        if not 1 <= position <= size:
            return None
        row = signed_row(reading, ledger, position)
        if row is None or (row.recorded_at <= at) != (position == low):
            raise Tampered("altered-row", "A row's time was changed.", position=position)
        return row

    return Place(beside(low), beside(low + 1))


def signed_position_at(reading: Reading, ledger: LedgerRow, size: int, at: int) -> int:
    """The last position recorded at or before a time, of the rows up to a size; as above."""
    return signed_place_at(reading, ledger, size, at).position


def told_position_at(reading: Reading, size: int, at: int) -> int:
    """The same, with all times believed as they are stored."""
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        row = reading.row_at(middle)
        if row is None:
            raise Tampered("log-gap", "The log lacks a row.", position=middle)
        if not row.is_sound:
            raise Tampered("altered-row", "A row cannot be one the ledger wrote.", position=middle)
        if row.recorded_at <= at:
            low = middle
        else:
            high = middle - 1
    return low
