"""A log in lists, as whoever writes to the database can make it, and how much of it is at hand."""

from __future__ import annotations

from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.identifiers import ledger_id_of
from ledger.log.rows import OPERATOR, Counts, Extent, LedgerRow, LogRow, signers_digest
from ledger.log.signers import HeadSigner
from ledger.tree import Frontier

STARTED_US = 1_000_000


class Sealed(bytes):
    """What is sealed in a row, which tells how many there are of it."""

    alive = 0
    most = 0

    def __new__(cls, content):
        cls.alive += 1
        cls.most = max(cls.most, cls.alive)
        return super().__new__(cls, content)

    def __del__(self):
        Sealed.alive -= 1


class InLists:
    """Rows and heads of one operator, each row with the next version of one of some streams."""

    def __init__(self, rows: int, rows_a_commit: int, streams: int = 3) -> None:
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        public_key = key.public_key().public_bytes_raw()
        self.row = LedgerRow(ledger_id_of(public_key, b"salt"), 1, b"salt")
        self.signer = HeadSigner(self.row, key, OPERATOR)
        self.introduced = self.signer.introduce(public_key, OPERATOR, "begin", Frontier())
        self.rows = [
            self.fitted(
                LogRow(
                    number,
                    (number % streams).to_bytes(16, "big"),
                    (number - 1) // streams + 1,
                    "credential.set",
                    1,
                    197001,
                    STARTED_US + number,
                    b"sealed",
                    bytes(32),
                )
            )
            for number in range(1, rows + 1)
        ]
        self.commits = []
        self.sign(rows_a_commit)

    def fitted(self, row: LogRow) -> LogRow:
        return row._replace(leaf=row.computed_leaf(self.row.id))

    def sign(self, rows_a_commit: int) -> None:
        """New heads, each of so many rows."""
        self.commits, frontier = [], Frontier()
        while frontier.size < len(self.rows):
            coming = self.rows[frontier.size : frontier.size + rows_a_commit]
            frontier = frontier.extend([row.leaf for row in coming])
            signers = signers_digest(self.row.id, self.signers(), frontier.size)
            self.commits.append(self.signer.commit(frontier, signers))

    @contextmanager
    def reading(self):
        yield self

    def ledger(self):
        return self.row

    def signers(self):
        return (self.introduced,)

    def last_position(self):
        return len(self.rows)

    def extent(self):
        return Extent(len(self.rows), self.commits[-1].size, self.commits[-1].frontier)

    def counts(self):
        return Counts(len(self.rows), len(self.commits))

    def rows_after(self, position, limit):
        return self.rows[position : position + limit]

    def tuples_after(self, position, limit):
        return self.rows_after(position, limit)

    def commits_after(self, size, limit):
        return [commit for commit in self.commits if commit.size > size][:limit]

    def commit_at(self, size):
        return next((commit for commit in self.commits if commit.size == size), None)


class Counted(InLists):
    """What is sealed in its rows tells how much of it is at hand."""

    def tuples_after(self, position, limit):
        rows = self.rows_after(position, limit)
        if any(row.leaf != row.computed_leaf(self.row.id) for row in rows):
            return rows  # looked at one by one, by the exact types of their columns
        return [(*row[:7], Sealed(row.sealed), row.leaf) for row in rows]
