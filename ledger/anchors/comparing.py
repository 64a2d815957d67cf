"""Anchors held against a log that was walked over: what each of them proves, or disproves.

    note ── of this ledger? ── each line: signed? by whom? when? ── same root and signers there?

A note is *authentic* when the log's own signature holds, or a witness's whose key was named. An
authentic note that the log does not bear out is damage, whoever it counts for. It *counts* when

- it is a plain checkpoint: no line but those of the log's own keys;
- or one of the witnesses under it was named and its cosignature holds;
- or an authority's stamp under it leads to a root that was named, and the note is authentic.

A note of witnesses and authorities of whom none was named counts for nothing: whoever keeps it
expected more of it than the log's own word. A line that claims a named key and does not hold, or
tells a time that has not come, is a failed check.

The log's own signature is looked up in the store's signers. Where these lack the key, a plain note
is nobody's: either it was never this ledger's, or a signer was taken away with all that it signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import msgspec
from cryptography import x509

from ledger.anchors.cosignature import WitnessKey
from ledger.anchors.head import NotedHead, noted_head
from ledger.anchors.signed_note import NoteSignature, SignedNote
from ledger.discreet import Discreet
from ledger.errors import InvalidInput, Tampered
from ledger.log.checkpoint import is_signed, key_hash, origin
from ledger.log.marks import Mark
from ledger.log.rows import SignerRow, signers_digest
from ledger.log.signers import SignerBook, roots_in
from ledger.log.store import LogSource
from ledger.log.verification import Verification

AHEAD_MAX_S = 300
"""How far a time may lie ahead of this clock: hosts are never quite together."""


class Trusted(msgspec.Struct, frozen=True):
    """Whom the caller named."""

    witnesses: tuple[WitnessKey, ...] = ()
    roots: tuple[x509.Certificate, ...] = ()


class Kept(NamedTuple):
    """A note, and the head that it tells."""

    note: SignedNote
    head: NotedHead


class Word(NamedTuple):
    """What one line under a note says, and whether it is believed."""

    kind: str
    """`checkpoint`, `cosignature` or `time-stamp`; `unknown` where nobody was named for it."""
    name: str
    at_us: int | None
    """When, microseconds UTC; None for the log's own signature, which tells no time."""
    verdict: str
    """`holds`, `not trusted`, or the code of the check that fails."""
    detail: str


class Judgement(msgspec.Struct, frozen=True):
    """One anchor held against the log."""

    head: NotedHead
    words: tuple[Word, ...]
    counted: bool
    failed: str | None
    """The code of what does not hold; None where all does."""
    detail: str
    position: int | None = None

    def believed(self) -> Iterator[Word]:
        """The lines that hold."""
        return (word for word in self.words if word.verdict == "holds")


class Walked(Discreet, msgspec.Struct, frozen=True):
    """A log as it was walked over, and who may sign in it."""

    SHOWN: ClassVar = ("size", "whole", "may_be_older", "marks", "ledger_id", "signers")

    size: int
    whole: bool
    """Whether the walk came to the end of a log that holds."""
    may_be_older: bool
    """Whether it may end before what others have seen, as an archive may."""
    marks: Mapping[int, Mark]
    ledger_id: bytes
    signers: tuple[SignerRow, ...] = ()
    book: SignerBook | None = None
    """None where the signers themselves do not hold."""


def kept_heads(notes: Iterable[SignedNote], ledger_id: bytes) -> list[Kept]:
    """The heads that the notes tell, in the order of their sizes; all must be of this ledger.

    `unknown-anchor` and `anchor-of-another-ledger` otherwise.
    """
    kept = [Kept(note, noted_head(note)) for note in notes]
    for note, head in kept:
        if head.ledger_id != ledger_id:
            raise InvalidInput(
                "anchor-of-another-ledger",
                f"The file with anchors holds one of another ledger (line {note.line}).",
                hint="Check --store and --anchors. If both are right, somebody has put another"
                " ledger in this one's place: pin the id with --ledger-id to have that reported.",
            )
    return sorted(kept, key=lambda one: one.head.size)


def walked(source: LogSource, found: Verification, *, may_be_older: bool) -> Walked | None:
    """The log that was walked over, with its signers; None where it does not say which it is."""
    with source.reading() as reading:
        ledger = reading.ledger()
        if ledger is None or not ledger.is_sound:
            return None
        signers = reading.signers()
        try:
            book = SignerBook(ledger, signers, roots_in(reading))
        except Tampered:
            book = None
    whole = any(check.name == "log" and check.ok for check in found.checks)
    return Walked(found.size, whole, may_be_older, found.marks, ledger.id, signers, book)


def judge(kept: Kept, log: Walked, trusted: Trusted, now_us: int) -> Judgement:
    """What this anchor says of the log, and whether the log bears it out."""
    words = tuple(_word(kept, line, log, trusted, now_us) for line in kept.note.signatures)
    bad = next((word for word in words if word.verdict not in {"holds", "not trusted"}), None)
    if bad is not None:
        return _failed(kept, words, bad.verdict, f"{bad.detail} by {bad.name}")
    kinds = {word.kind for word in words if word.verdict == "holds"}
    authentic = bool(kinds & {"checkpoint", "cosignature"})
    if not authentic:
        return _unauthentic(kept, words)
    contradiction = _contradiction(kept, log, words)
    if contradiction is not None:
        return contradiction
    if kept.head.size not in log.marks:
        return Judgement(kept.head, words, False, None, _why_not_compared(kept.head, log))
    plain = all(word.kind == "checkpoint" for word in words)
    if plain or kinds & {"cosignature", "time-stamp"}:
        return Judgement(kept.head, words, True, None, "the log has this root here")
    return Judgement(kept.head, words, False, None, _first_distrusted(words))


def _word(kept: Kept, line: NoteSignature, log: Walked, trusted: Trusted, now_us: int) -> Word:
    text = kept.note.text
    if line.name == origin(log.ledger_id):
        return _own_word(kept, line, log)
    witness = next((one for one in trusted.witnesses if one.is_of(line)), None)
    if witness is not None:
        time_s = witness.time_signed(text, line)
        at_us = None if time_s is None else time_s * 1_000_000
        return _dated("cosignature", line.name, at_us, now_us)
    from ledger.anchors.time_stamp import is_stamp, time_stamped

    if not is_stamp(line):
        return Word("unknown", line.name, None, "not trusted", "not trusted: key not given")
    if not trusted.roots:
        return Word("time-stamp", line.name, None, "not trusted", "not trusted: root not given")
    return _dated("time-stamp", line.name, time_stamped(text, line.content, trusted.roots), now_us)


def _own_word(kept: Kept, line: NoteSignature, log: Walked) -> Word:
    """The log's own signature: by a key of its signers that was live at that size."""
    name, text, size = line.name, kept.note.text, kept.head.size
    keys = {row.public_key for row in log.signers} if log.book is not None else set()
    own = [key for key in keys if key_hash(log.ledger_id, key) == line.key_id]
    if not own:
        return Word("checkpoint", name, None, "not trusted", "signed by a key that the log lacks")
    assert log.book is not None
    for key in own:
        if log.book.class_at(key, size) and is_signed(key, line.content, text):
            return Word("checkpoint", name, None, "holds", "signed by the log")
    return Word("checkpoint", name, None, "anchor-signature", "not signed")


def _dated(kind: str, name: str, at_us: int | None, now_us: int) -> Word:
    if at_us is None:
        code = "anchor-signature" if kind == "cosignature" else "anchor-time-stamp"
        return Word(kind, name, None, code, "not signed")
    if at_us > now_us + AHEAD_MAX_S * 1_000_000:
        return Word(kind, name, at_us, "anchor-future-dated", "dated in the future")
    return Word(kind, name, at_us, "holds", "holds")


def _unauthentic(kept: Kept, words: tuple[Word, ...]) -> Judgement:
    return _failed(
        kept,
        words,
        "anchor-signer-unknown",
        "signed by nobody whom the log has or who was named: it is not this log's, or a signer is"
        " gone from the log with all that it signed",
    )


def _contradiction(kept: Kept, log: Walked, words: tuple[Word, ...]) -> Judgement | None:
    """The damage that this authentic anchor shows, if any."""
    head, mark = kept.head, log.marks.get(kept.head.size)
    if mark is None:
        if log.whole and head.size > log.size and not log.may_be_older:
            detail = f"rows that were anchored are gone: the log ends with {log.size}"
            return _failed(kept, words, "rolled-back", detail, log.size + 1)
        return None
    if mark.root != head.root:
        return _failed(kept, words, "forked", "not the log that was anchored")
    if log.book is not None and signers_digest(log.ledger_id, log.signers, head.size) != (
        head.signers
    ):
        return _failed(kept, words, "bad-signer", "the signers are not those that were anchored")
    return None


def _why_not_compared(head: NotedHead, log: Walked) -> str:
    if log.may_be_older and head.size > log.size:
        return f"goes further, to {head.size}: not compared"
    return "not compared: the check of the log stopped before it"


def _first_distrusted(words: Sequence[Word]) -> str:
    return next(word.detail for word in words if word.verdict == "not trusted")


def _failed(
    kept: Kept, words: tuple[Word, ...], code: str, detail: str, position: int | None = None
) -> Judgement:
    where = kept.head.size if position is None else position
    return Judgement(kept.head, words, False, code, detail, where)
