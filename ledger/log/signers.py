"""Who may sign heads: the signer rows checked against each other, and this process's own key.

The first signer row is bound to the ledger id; every later one is signed by an operator's key that
was live at its size. A key signs only sizes after its beginning and up to its end.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import Refused, Tampered
from ledger.identifiers import ledger_id_of
from ledger.log.checkpoint import head_text, is_signed
from ledger.log.rows import (
    BEGIN,
    OPERATOR,
    CommitRow,
    LedgerRow,
    SignerRow,
    signers_digest,
)
from ledger.log.store import LogReading
from ledger.tree import EMPTY_ROOT, Frontier

RootAt = Callable[[int], bytes | None]
"""Tells the root of the tree at a size above 0; None where there is no head of that size."""


def roots_in(reading: LogReading) -> RootAt:
    """The roots that a log's heads tell; a signature over one is checked by whoever asks."""

    def root_at(size: int) -> bytes | None:
        commit = reading.commit_at(size)
        return commit.root if commit is not None and commit.is_sound else None

    return root_at


class SignerBook:
    """The keys that may sign heads, each with the sizes it may sign."""

    def __init__(
        self,
        ledger: LedgerRow,
        rows: tuple[SignerRow, ...],
        root_at: RootAt,
        *,
        partly: bool = False,
    ) -> None:
        """Check every signer row; `bad-signer` where one was not introduced by a live operator.

        `partly` holds that back in `damage` where heads below rest on sound rows only: a signer's
        row does not hold either where the root that it was signed with is altered, so who walks
        over a log looks at those heads first. `altered-ledger` for a ledger's row that is none.
        """
        if not ledger.is_sound:
            raise Tampered("altered-ledger", "The ledger's row is none that this version writes.")
        self.ledger = ledger
        self.rows = rows
        self.damage: Tampered | None = None
        """Why a row, and with it those after it, was not admitted."""
        self.reach = 0
        """Where there is damage, the last size whose heads rest on none of those rows."""
        self._spans: dict[bytes, tuple[str, int, int | None]] = {}
        self._digests: dict[int, bytes] = {}
        for at, row in enumerate(rows):
            try:
                self._admit(row, root_at)
            except Tampered as damage:
                self.reach = min(_begins(one) for one in rows[at:])
                if not partly or self.reach == 0:
                    raise
                self.damage = damage
                break

    def class_at(self, public_key: bytes, size: int) -> str | None:
        """The key's class if it may sign a head of this size."""
        span = self._spans.get(public_key)
        if span is None:
            return None
        signer_class, first, last = span
        live = first < size and (last is None or size <= last)
        return signer_class if live else None

    def operators(self) -> list[bytes]:
        """All keys that ever were an operator's."""
        return [key for key, span in self._spans.items() if span[0] == OPERATOR]

    def require(self, commit: CommitRow) -> str:
        """The signer's class if the commit's signature holds; `bad-signature` otherwise.

        `altered-commit` for one whose columns hold something else than a ledger writes.
        """
        if not commit.is_sound:
            raise Tampered("altered-commit", "A head cannot be one the ledger wrote.")
        signer_class = self.class_at(commit.signer, commit.size)
        text = head_text(self.ledger.id, commit.size, commit.root, self.digest_at(commit.size))
        if signer_class is None or not is_signed(commit.signer, commit.signature, text):
            raise Tampered(
                "bad-signature", "A head is not signed by a live key.", position=commit.size
            )
        return signer_class

    def digest_at(self, size: int) -> bytes:
        """The digest of the signer rows that a head of this size rests on."""
        # Those below a size are those below a smaller one and others, so how many says which.
        below = sum(row.from_size < size for row in self.rows)
        digest = self._digests.get(below)
        if digest is None:
            digest = self._digests[below] = signers_digest(self.ledger.id, self.rows, size)
        return digest

    def _admit(self, row: SignerRow, root_at: RootAt) -> None:
        require_sound(row)
        root = root_at(row.from_size) if row.from_size > 0 else EMPTY_ROOT
        signed = root is not None and is_signed(
            row.introduced_by, row.signature, row.message(self.ledger.id, root)
        )
        if not (signed and self._may_introduce(row)):
            raise Tampered(
                "bad-signer",
                "A signing key was not introduced by an operator.",
                position=_first_resting(row),
            )
        if row.change == BEGIN:
            self._spans[row.public_key] = (row.signer_class, row.from_size, None)
        else:
            first = self._spans[row.public_key][1]
            self._spans[row.public_key] = (row.signer_class, first, row.from_size)

    def _may_introduce(self, row: SignerRow) -> bool:
        if not self._spans:
            return (
                row.change == BEGIN
                and row.signer_class == OPERATOR
                and row.from_size == 0
                and row.introduced_by == row.public_key
                and ledger_id_of(row.public_key, self.ledger.salt) == self.ledger.id
            )
        known = self._spans.get(row.public_key)
        fits = (
            known is None
            if row.change == BEGIN
            else (known is not None and known[2] is None and known[0] == row.signer_class)
        )
        # Who introduces must be able to sign the very next head, or an ended key could go on.
        return fits and self.class_at(row.introduced_by, row.from_size + 1) == OPERATOR


def names_itself(ledger: LedgerRow, rows: tuple[SignerRow, ...]) -> bool:
    """Whether the ledger's id is that of its own first signer: whole, whichever ledger it is."""
    return (
        ledger.is_sound
        and bool(rows)
        and rows[0].is_sound
        and ledger_id_of(rows[0].public_key, ledger.salt) == ledger.id
    )


def require_sound(row: SignerRow) -> None:
    """`bad-signer` where a column holds something else than a ledger writes."""
    if not row.is_sound:
        raise Tampered(
            "bad-signer",
            "A signer's row cannot be one the ledger wrote.",
            position=_first_resting(row),
        )


def require_counted(rows: tuple[SignerRow, ...], size: int) -> None:
    """`bad-signer` where a row lies at the newest head's size or beyond: no head counts it.

    A ledger appends a signer's row together with the head that counts it.
    """
    beyond = min((_begins(row) for row in rows if _begins(row) >= size), default=None)
    if beyond is not None:
        raise Tampered(
            "bad-signer", "The signers' table holds a row that no head counts.", position=beyond + 1
        )


def _begins(row: SignerRow) -> int:
    """The size from which on it counts; 0 where that cannot be one."""
    return row.from_size if isinstance(row.from_size, int) and row.from_size > 0 else 0


def _first_resting(row: SignerRow) -> int:
    """The first position whose head would rest on this row."""
    return _begins(row) + 1


class HeadSigner:
    """The unlocked slot's signing key, and what it may sign."""

    def __init__(self, ledger: LedgerRow, key: Ed25519PrivateKey, signer_class: str) -> None:
        self.ledger = ledger
        self.signer_class = signer_class
        self.public_key = key.public_key().public_bytes_raw()
        """Thirty-two bytes."""
        self._key = key

    def commit(self, frontier: Frontier, signers: bytes) -> CommitRow:
        """The signed head of a log that ends here."""
        root = frontier.root()
        text = head_text(self.ledger.id, frontier.size, root, signers)
        return CommitRow(
            frontier.size, root, frontier.packed(), self.public_key, self._key.sign(text)
        )

    def introduce(
        self, public_key: bytes, signer_class: str, change: str, frontier: Frontier
    ) -> SignerRow:
        """A signer row that begins or ends a key in a log that ends here."""
        row = SignerRow(public_key, signer_class, change, frontier.size, self.public_key, b"")
        return row._replace(signature=self._key.sign(row.message(self.ledger.id, frontier.root())))

    def require_live(self, book: SignerBook, size: int) -> None:
        """`slot-removed` unless this key may sign the head after `size`."""
        if book.class_at(self.public_key, size + 1) != self.signer_class:
            raise Refused("slot-removed", "The slot that is unlocked may not sign any more.")
