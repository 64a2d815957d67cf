"""Proofs made from a store: that a row was recorded, and that one signed log begins with another.

No key is needed. A proof is about a signed head, whose signature is checked. The right edge of its
tree stands in the same row of the store and must fold to the signed root; everything else comes
from tiles and leaves that are not believed. The path must lead to the signed root before the proof
is handed out. Where it does not, the tiles are made anew from the leaves, and it is tried once
more. Where it does not then, the rows are not those that were signed for, and the log is walked
over from its beginning to say where.

A proof says nothing of other rows: whether the log holds is for `ledger.log.verification`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from ledger.errors import InvalidInput, NotFound, Tampered
from ledger.log.following import CheckedHead, Follower
from ledger.log.proof_document import ConsistencyProof, InclusionProof, Introduced, Trust
from ledger.log.rows import AUDITOR, NO_ROW, CommitRow, LedgerRow, LogRow, Proven
from ledger.log.signers import SignerBook, roots_in
from ledger.log.store import Reading, Store
from ledger.log.subtrees import LogSubtrees, NoTiles, Progress, Tiles
from ledger.proofs import Subtrees, SubtreesByEdge, consistency_path, inclusion_path
from ledger.tree import EMPTY_ROOT, Frontier, unpack_frontier

P = TypeVar("P", InclusionProof, ConsistencyProof)
Path = Callable[[Subtrees], list[bytes]]


class Prover:
    """Makes proofs of one ledger; may be kept and asked again."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerRow,
        tiles: Tiles | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._store = store
        self._progress = progress or _unseen
        self._ledger = ledger
        self._tiles = tiles or NoTiles()
        self._follower = Follower(ledger)
        self._book: SignerBook | None = None
        """The signers that were checked last."""
        self._trusted: tuple[object, Trust] | None = None
        """The signers and the head that were checked last, and what came of it."""

    def inclusion(self, position: int, size: int | None = None) -> InclusionProof:
        """That the row at this position is in the log of this size.

        Without a size it is the newest that an operator signed for. Rows beyond that are an
        auditor's, and are proven by the head that came with them.

        `no-such-position`, `no-signed-head` (not found), `size-too-small`, `auditors-head`
        (invalid); Tampered with whatever following the log finds.
        """
        if size is not None and size < position:
            raise InvalidInput("size-too-small", "The log of that size ends before the position.")
        try:
            return self._inclusion(position, size)
        except Tampered:
            if self._book is None:
                raise
        # As many signers as were checked may be others: an older log was put back, and has gone on.
        self._book = None
        return self._inclusion(position, size)

    def _inclusion(self, position: int, size: int | None) -> InclusionProof:
        with self._store.reading() as reading:
            book, proven = self._proven(reading, position)
            row = proven.row
            newest = proven.head if size is None else _head(reading, size)
            head = newest or _next(reading, position)
            trust = self._trust(reading, book, head)
            _require_class(reading, book, head, row)
            subtrees = self._subtrees(reading, head, position - 1)
        header, digest = self._in_clear(row, position, head)

        def proof(path: tuple[bytes, ...]) -> InclusionProof:
            return InclusionProof(trust, head, header, digest, path)

        def path(subtrees: Subtrees) -> list[bytes]:
            return inclusion_path(subtrees, position - 1, head.size)

        return self._checked(subtrees, proof, path, position - 1, head, self._edge(head))

    def _proven(self, reading: Reading, position: int) -> tuple[SignerBook, Proven]:
        """The row, its newest head by an operator, and the signers as they are now.

        Signers that were checked are not read again while there are as many: rows are only ever
        added, and one that was altered since does not count before the one that was checked.
        """
        book = self._book or self._follower.book(reading)
        proven = reading.proven(position, book.operators())
        if proven.signers != len(book.rows):
            book = self._follower.book(reading)
            proven = reading.proven(position, book.operators())
        self._book = book
        return book, proven

    def consistency(self, first: int, second: int | None = None) -> ConsistencyProof:
        """That the log of the second size begins with that of the first; both are signed sizes.

        Without a second size it is the newest that an operator signed for, or the first itself
        where none lies beyond it. Errors as of `inclusion`.
        """
        if second is not None and second < first:
            raise InvalidInput("size-too-small", "The later size is smaller than the earlier one.")
        with self._store.reading() as reading:
            book = self._follower.book(reading)
            old = _head(reading, first)
            new = _head(reading, second) if second else _newest(reading, book, first) or old
            book.require(old)
            trust = self._trust(reading, book, new)
            subtrees = self._subtrees(reading, new, old.size - 1)

        def proof(path: tuple[bytes, ...]) -> ConsistencyProof:
            return ConsistencyProof(trust, old, new, path)

        def path(subtrees: Subtrees) -> list[bytes]:
            return consistency_path(subtrees, old.size, new.size)

        edges = (self._edge(old), self._edge(new))
        return self._checked(subtrees, proof, path, old.size - 1, new, *edges)

    def _checked(
        self,
        subtrees: LogSubtrees,
        proof: Callable[[tuple[bytes, ...]], P],
        path: Path,
        along: int,
        head: CommitRow,
        *edges: Frontier,
    ) -> P:
        """The proof once it holds; with tiles made anew where it does not at first.

        `along` is the index of the leaf beside whose way to the root the path lies.
        """

        def attempt(subtrees: LogSubtrees) -> P:
            made = proof(tuple(path(SubtreesByEdge(subtrees, *edges))))
            made.require_fit()
            return made

        try:
            return attempt(subtrees)
        except Tampered:
            self._tiles.forget()
        with self._store.reading() as reading:
            subtrees = self._subtrees(reading, head, along)
        try:
            return attempt(subtrees)
        except Tampered as error:
            raise self._damage(head, error) from error

    def _subtrees(self, reading: Reading, head: CommitRow, along: int) -> LogSubtrees:
        subtrees = LogSubtrees(self._store, head.size, self._tiles, self._progress)
        subtrees.look_along(reading, along)
        return subtrees

    def _trust(self, reading: Reading, book: SignerBook, head: CommitRow) -> Trust:
        """All signer rows that the head rests on, each with the root that it was signed over."""
        key, known = (book.rows, head), self._trusted
        if known is None or known[0] != key:
            book.require(head)
            root_at = roots_in(reading)
            signers = tuple(
                Introduced(row, root_at(row.from_size) or EMPTY_ROOT)  # no head is of size 0
                for row in book.rows
                if row.from_size < head.size
            )
            known = self._trusted = key, Trust(self._ledger, signers)
        return known[1]

    def _in_clear(self, row: LogRow | None, position: int, head: CommitRow) -> tuple[bytes, bytes]:
        """Header and digest of the row as it lies there."""
        if row is None:
            gone = Tampered("missing-row", "A row is missing from the log.", position=position)
            raise self._damage(head, gone)
        try:
            return row.header(self._ledger.id), sha256(row.sealed).digest()
        except NO_ROW as error:
            what = "A row cannot be one the ledger wrote."
            raise self._damage(head, Tampered("altered-row", what, position=position)) from error

    def _edge(self, head: CommitRow) -> Frontier:
        """The right edge of the head's tree, once it folds to the signed root."""
        frontier = unpack_frontier(head.size, head.frontier)
        if frontier is None or frontier.root() != head.root:
            what = "A head does not fit its rows."
            raise self._damage(head, Tampered("wrong-frontier", what, position=head.size))
        return frontier

    def _damage(self, head: CommitRow, found: Tampered) -> Tampered:
        """What a walk up to this head stumbles over first; what was found, where it gets there."""
        follower, reached = Follower(self._ledger), CheckedHead()
        try:
            while reached.size < head.size:
                with self._store.reading() as reading:
                    moved = follower.follow(reading, reached, until=head.size)
                if moved.size == reached.size:
                    break
                reached = moved
                self._progress(reached.size, head.size)
        except Tampered as error:
            return error
        return found


def _head(reading: Reading, size: int) -> CommitRow:
    """The head of exactly this size; `no-signed-head` where nobody signed for it."""
    head = reading.commit_at(size)
    if head is not None:
        return head
    following = reading.commits_after(size, 1)
    hint = (
        f"The next size that was signed for is {following[0].size}."
        if following
        else f"The newest size that was signed for is {reading.extent().size}."
    )
    raise NotFound("no-signed-head", "There is no signed head of that size.", hint=hint)


def _newest(reading: Reading, book: SignerBook, size: int) -> CommitRow | None:
    """The newest head of at least this size that an operator signed, if there is one."""
    return reading.newest_head_by(book.operators(), size)


def _next(reading: Reading, position: int) -> CommitRow:
    """The head that came with the row at this position."""
    following = reading.commits_after(position - 1, 1)
    if not following:
        raise NotFound(
            "no-such-position",
            "The log has no row at that position.",
            hint=f"It ends with position {reading.last_position()}.",
        )
    return following[0]


def _require_class(reading: Reading, book: SignerBook, head: CommitRow, row: LogRow | None) -> None:
    """`auditors-head` where an auditor's head is to prove what an auditor cannot sign for."""
    signer_class = book.class_at(head.signer, head.size)
    if signer_class != AUDITOR or row is None or str(row.topic).startswith("audit."):
        return
    newer = _newest(reading, book, head.size)
    raise InvalidInput(
        "auditors-head",
        "An auditor signed the head of that size, which proves auditors' rows only.",
        hint=f"An operator signed for size {newer.size}." if newer else "Leave the size out.",
    )


def _unseen(done: int, total: int) -> None:
    """Nobody watches."""
