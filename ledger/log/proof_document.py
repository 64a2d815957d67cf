"""Proofs as documents: what somebody else keeps, and checks without the store or any key.

    inclusion     this row was recorded at this position, in the log that this head is signed for
    consistency   the log of the second head begins with that of the first

A document is self-contained. The ledger id is a hash over the first signer's key and the salt; that
signer introduced the others, each over the root at its time; and one of them signed the head, over
its root and all of them. So whoever pins the ledger id needs nothing else, and whoever does not
should compare the id that the document names. The shape: docs/reference/proof-format.md.

There is one way to write a document: what follows from the rest of it (the fields of a header, the
leaf, the index, the text of a head) must stand there as it follows. So no part can be altered
unseen, be it one that a checker has no need of.

An auditor's key signs for that auditor's questions only. A head that an auditor signed proves rows
of `audit.*` and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from typing import Any, NamedTuple

import msgspec

from ledger.codec.header import FORMAT, Header, decode_header
from ledger.errors import InvalidInput, Tampered
from ledger.log.checkpoint import head_text, note
from ledger.log.rows import AUDITOR, CommitRow, LedgerRow, SignerRow, signers_digest
from ledger.log.signers import SignerBook
from ledger.moments import FIRST_US, LAST_US, time_text
from ledger.proofs import included_root, is_consistent
from ledger.tree import EMPTY_ROOT, HASH_BYTES, leaf_hash_by_digest

NAME, VERSION = "credledger-proof", 1
INCLUSION, CONSISTENCY = "inclusion", "consistency"
BYTES_MAX = 4 * 1024 * 1024
"""Of a document. One with ten signers has about 10 KiB."""
_NUMBER_MAX = 2**63 - 1
_PATH_MAX = 130
"""No tree of 2^63 leaves has a longer one."""
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_SIGNATURE_BYTES, _KEY_BYTES, _KEY_HASH_BYTES = 64, 32, 4


class Introduced(NamedTuple):
    """A signer's row and the root that it was signed over, which is that at its `from_size`."""

    row: SignerRow
    root: bytes


class Trust(msgspec.Struct, frozen=True):
    """What leads from the ledger id to the signature of a head."""

    ledger: LedgerRow
    signers: tuple[Introduced, ...]
    """All that began or ended below the head's size, in order of storing."""

    def class_of(self, head: CommitRow) -> str:
        """Of the key that signed a head; `bad-signer` or `bad-signature` where nothing holds."""
        roots = {0: EMPTY_ROOT}
        for row, root in self.signers:
            if roots.setdefault(row.from_size, root) != root:
                raise Tampered(
                    "bad-signer",
                    "A signing key was not introduced by an operator.",
                    position=row.from_size + 1,
                )
        rows = tuple(one.row for one in self.signers)
        return SignerBook(self.ledger, rows, roots.get).require(head)

    def note_of(self, head: CommitRow) -> str:
        """The head as a C2SP signed note."""
        rows = tuple(one.row for one in self.signers)
        digest = signers_digest(self.ledger.id, rows, head.size)
        text = head_text(self.ledger.id, head.size, head.root, digest)
        return note(self.ledger.id, text, head.signer, head.signature)

    def head_document(self, head: CommitRow) -> dict[str, Any]:
        """A head as it stands in a document."""
        return {
            "size": head.size,
            "root": head.root.hex(),
            "signer": head.signer.hex(),
            "note": self.note_of(head),
        }

    def document(self) -> dict[str, Any]:
        """The parts of a document that name the ledger and its signers."""
        return {
            "ledger": {"id": self.ledger.id.hex(), "salt": self.ledger.salt.hex()},
            "signers": [_signer_document(one) for one in self.signers],
        }

    def require_pinned(self, pinned: bytes | None) -> None:
        """`proof-foreign` where somebody wrote down another ledger's id."""
        if pinned is not None and pinned != self.ledger.id:
            raise Tampered(
                "proof-foreign",
                "The proof is of another ledger than the pinned one.",
                hint="Compare the id that the proof names with the one that init printed.",
            )


class InclusionProof(msgspec.Struct, frozen=True):
    """That a row was recorded."""

    trust: Trust
    head: CommitRow
    header: bytes
    """The row's."""
    sealed_digest: bytes
    """SHA-256 of what the row holds."""
    path: tuple[bytes, ...]

    @property
    def fields(self) -> Header:
        """What is in clear of the row."""
        return decode_header(self.header)

    @property
    def leaf(self) -> bytes:
        """The row's leaf."""
        return leaf_hash_by_digest(self.header, self.sealed_digest)

    def check(self, pinned: bytes | None = None) -> str:
        """The class of who signed the head; Tampered where the proof does not hold."""
        self.trust.require_pinned(pinned)
        signer_class = self.trust.class_of(self.head)
        said = self.fields
        if signer_class == AUDITOR and not said.topic.startswith("audit."):
            raise Tampered(
                "out-of-class",
                "An auditor's key signed what only an operator may.",
                position=said.position,
            )
        self.require_fit()
        return signer_class

    def require_fit(self) -> None:
        """`proof-row-astray` unless the path leads from the row to the head's root."""
        said = self.fields
        root = included_root(self.leaf, said.position - 1, self.head.size, self.path)
        if said.ledger_id != self.trust.ledger.id or root != self.head.root:
            raise Tampered(
                "proof-row-astray",
                "The row of the proof is not in the log that its head is signed for.",
                hint=_HINT,
                position=said.position,
            )

    def as_document(self) -> dict[str, Any]:
        """The JSON shape."""
        said = self.fields
        return {
            "format": NAME,
            "version": VERSION,
            "kind": INCLUSION,
            **self.trust.document(),
            "row": {
                "position": said.position,
                "stream": said.stream.hex(),
                "version": said.version,
                "topic": said.topic,
                "epoch": said.epoch,
                "period": said.period,
                "recorded_at": time_text(said.recorded_at),
                "header": self.header.hex(),
                "sealed_sha256": self.sealed_digest.hex(),
                "leaf": self.leaf.hex(),
            },
            "index": said.position - 1,
            "size": self.head.size,
            "path": [one.hex() for one in self.path],
            "head": self.trust.head_document(self.head),
        }


class ConsistencyProof(msgspec.Struct, frozen=True):
    """That one log begins with another."""

    trust: Trust
    first: CommitRow
    second: CommitRow
    path: tuple[bytes, ...]

    def check(self, pinned: bytes | None = None) -> str:
        """The class of who signed the second head; Tampered where the proof does not hold."""
        self.trust.require_pinned(pinned)
        self.trust.class_of(self.first)
        signer_class = self.trust.class_of(self.second)
        self.require_fit()
        return signer_class

    def require_fit(self) -> None:
        """`proof-heads-astray` unless the path leads to the roots of both heads."""
        first, second = self.first, self.second
        if not is_consistent(first.size, first.root, second.size, second.root, self.path):
            raise Tampered(
                "proof-heads-astray",
                "The log of the second head does not begin with that of the first.",
                hint=_HINT,
                position=first.size,
            )

    def as_document(self) -> dict[str, Any]:
        """The JSON shape."""
        return {
            "format": NAME,
            "version": VERSION,
            "kind": CONSISTENCY,
            **self.trust.document(),
            "from": self.trust.head_document(self.first),
            "to": self.trust.head_document(self.second),
            "path": [one.hex() for one in self.path],
        }


Proof = InclusionProof | ConsistencyProof
_HINT = "It proves nothing; ask whoever handed it over for another."


def read_proof(document: Any) -> Proof:
    """The proof in a document, unchecked but for being written in the one way that there is.

    `not-a-proof` or `proof-newer` for something else; `proof-altered` where a part of it does not
    follow from the others.
    """
    told = _Told(document)
    if told.value("format") != NAME:
        raise _no_proof("Its format is another one.")
    if told.number("version") > VERSION:
        raise InvalidInput(
            "proof-newer",
            "The proof was made by a newer version of credledger.",
            hint="Check it with that version or a later one.",
        )
    try:
        proof = _proof(told)
        written = proof.as_document()
    except (ValueError, OverflowError, struct.error, binascii.Error) as error:
        raise _no_proof("Its header or its note is none that a ledger writes.") from error
    _require_same(document, written)
    return proof


def _proof(told: _Told) -> Proof:
    kind = told.value("kind")
    ledger = told.part("ledger")
    trust = Trust(
        LedgerRow(ledger.hex("id", 32), FORMAT, ledger.hex("salt", None)),
        tuple(_introduced(one) for one in told.parts("signers")),
    )
    path = told.hashes("path")
    if kind == CONSISTENCY:
        return ConsistencyProof(trust, _head(told.part("from")), _head(told.part("to")), path)
    if kind != INCLUSION:
        raise _no_proof("It is of another kind.")
    row = told.part("row")
    header, digest = row.hex("header", None), row.hex("sealed_sha256", HASH_BYTES)
    proof = InclusionProof(trust, _head(told.part("head")), header, digest, path)
    if not FIRST_US <= proof.fields.recorded_at <= LAST_US:
        raise ValueError(header)  # a time of no calendar is no row's
    return proof


def _head(told: _Told) -> CommitRow:
    """A head; its text is made anew, so of the note only the signature counts."""
    encoded = told.text("note").rstrip("\n").rpartition(" ")[2]
    signature = base64.b64decode(encoded, validate=True)[_KEY_HASH_BYTES:]
    if len(signature) != _SIGNATURE_BYTES:
        raise ValueError(encoded)
    root, signer = told.hex("root", HASH_BYTES), told.hex("signer", _KEY_BYTES)
    return CommitRow(told.number("size"), root, b"", signer, signature)


def _introduced(told: _Told) -> Introduced:
    row = SignerRow(
        told.hex("public_key", _KEY_BYTES),
        told.text("class"),
        told.text("change"),
        told.number("from_size"),
        told.hex("introduced_by", _KEY_BYTES),
        told.hex("signature", _SIGNATURE_BYTES),
    )
    return Introduced(row, told.hex("root", HASH_BYTES))


def _signer_document(one: Introduced) -> dict[str, Any]:
    row = one.row
    return {
        "public_key": row.public_key.hex(),
        "class": row.signer_class,
        "change": row.change,
        "from_size": row.from_size,
        "introduced_by": row.introduced_by.hex(),
        "signature": row.signature.hex(),
        "root": one.root.hex(),
    }


def _require_same(document: dict[str, Any], written: dict[str, Any]) -> None:
    """`proof-altered` where the two differ in anything but the order of keys."""
    if set(document) != set(written):
        raise _no_proof("It holds other parts than a proof has.")
    for name, part in written.items():
        # As text, because to Python 1, 1.0 and true are the same.
        if json.dumps(document[name], sort_keys=True) != json.dumps(part, sort_keys=True):
            raise Tampered(
                "proof-altered",
                f"What the proof says under `{name}` does not follow from the rest of it.",
                hint=_HINT,
            )


def _no_proof(why: str) -> InvalidInput:
    return InvalidInput(
        "not-a-proof",
        f"This is no proof of a ledger. {why}",
        hint="Proofs are what `credledger log proof` and `credential get --receipt` write.",
    )


class _Told:
    """One JSON object, asked for values of a kind; `not-a-proof` where they are none."""

    def __init__(self, document: Any) -> None:
        if not isinstance(document, dict):
            raise _no_proof("A part of it is no JSON object.")
        self._document = document

    def value(self, name: str) -> Any:
        if name not in self._document:
            raise _no_proof(f"It lacks `{name}`.")
        return self._document[name]

    def text(self, name: str) -> str:
        found = self.value(name)
        if not isinstance(found, str):
            raise _no_proof(f"Its `{name}` is no text.")
        return found

    def number(self, name: str) -> int:
        found = self.value(name)
        if type(found) is not int or not 0 <= found <= _NUMBER_MAX:
            raise _no_proof(f"Its `{name}` is no number from 0 on.")
        return found

    def hex(self, name: str, size: int | None) -> bytes:
        return _bytes(self.value(name), name, size)

    def hashes(self, name: str) -> tuple[bytes, ...]:
        found = self.value(name)
        if not isinstance(found, list) or len(found) > _PATH_MAX:
            raise _no_proof(f"Its `{name}` is no list of hashes.")
        return tuple(_bytes(one, name, HASH_BYTES) for one in found)

    def part(self, name: str) -> _Told:
        return _Told(self.value(name))

    def parts(self, name: str) -> list[_Told]:
        found = self.value(name)
        if not isinstance(found, list):
            raise _no_proof(f"Its `{name}` is no list.")
        return [_Told(one) for one in found]


def _bytes(found: Any, name: str, size: int | None) -> bytes:
    if not isinstance(found, str) or not _HEX.fullmatch(found):
        raise _no_proof(f"Its `{name}` is not in lower-case hexadecimal digits.")
    content = bytes.fromhex(found)
    if size is not None and len(content) != size:
        raise _no_proof(f"Its `{name}` has not {size} bytes.")
    return content
