"""One row of the log, checked into a signed head, for what must not rest on the database's word.

Whoever writes to the database can change a row's time, put its leaf right and change it back
later. A row's leaf under a signed root they cannot change: the frontier of the commit before the
row's, and the leaves computed from the stored rows up to its own commit, must give the root that
is signed there. Wherever the frontier came from, no other leaves lead to that root (RFC 6962).

This asks for a signature and the rows of one transaction. It does not ask whether rows were taken
away elsewhere: see `ledger.log.verification`.
"""

from __future__ import annotations

import struct

from ledger.errors import Tampered
from ledger.log.rows import CommitRow, LogRow
from ledger.log.signers import SignerBook
from ledger.log.store import Reading
from ledger.tree import Frontier, unpack_frontier


def signed_row(reading: Reading, book: SignerBook, position: int) -> LogRow:
    """The row at this position, as it was signed for; tampered if it is not that one."""
    commit = _first_beyond(reading, position - 1)
    if commit is None:
        raise Tampered("unsigned-rows", "A row lies beyond the signed head.", position=position)
    book.require(commit)
    frontier = _frontier_before(reading, position)
    rows = reading.rows_after(frontier.size, commit.size - frontier.size)
    leaves = [_leaf(book.ledger.id, row) for row in rows]
    if [row.position for row in rows] != list(range(frontier.size + 1, commit.size + 1)):
        raise Tampered("log-gap", "The log lacks a row.", position=position)
    if frontier.extend(leaves).root() != commit.root:
        raise Tampered("altered-row", "A row is not the one that was recorded.", position=position)
    return rows[position - frontier.size - 1]


def _first_beyond(reading: Reading, size: int) -> CommitRow | None:
    """The first commit of more than this size."""
    commit = next(iter(reading.commits_after(size, 1)), None)
    if commit is not None and not commit.is_sound:
        raise _altered_commit(size + 1)
    return commit


def _frontier_before(reading: Reading, position: int) -> Frontier:
    """The tree's edge at the newest commit below a position, as the store tells it."""
    low, high = 0, position - 1
    while low < high:
        middle = (low + high) // 2
        commit = _first_beyond(reading, middle)
        if commit is not None and commit.size < position:
            low = commit.size
        else:
            high = middle
    if low == 0:
        return Frontier()
    found = reading.commit_at(low)
    frontier = None if found is None or not found.is_sound else unpack_frontier(low, found.frontier)
    if frontier is None:
        raise _altered_commit(low)
    return frontier


def _leaf(ledger_id: bytes, row: LogRow) -> bytes:
    try:
        return row.computed_leaf(ledger_id)
    except (TypeError, ValueError, AttributeError, struct.error) as error:
        raise Tampered(
            "altered-row", "A row is not the one that was recorded.", position=row.position
        ) from error


def _altered_commit(position: int) -> Tampered:
    return Tampered("altered-commit", "A head cannot be one the ledger wrote.", position=position)
