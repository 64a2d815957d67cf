"""One row of the log, checked into a signed head, for what must not rest on the database's word.

Whoever writes to the database can change a row's time, put its leaf right and change it back
later. A row's leaf under a signed root they cannot change: the frontier of a commit before the
row, and the leaves computed from the stored rows from there on, must give the root that is signed.
Wherever the frontier came from, no other leaves lead to that root (RFC 6962).

It does not ask whether rows were taken away elsewhere: see `ledger.log.verification`.
"""

from __future__ import annotations

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
