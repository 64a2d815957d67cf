"""Kept heads that go with a pack: held against its log, and told of in it.

    --anchors ─▶ notes ─┬▶ anchors.txt
                        └▶ judged as `log verify --anchors` judges them ─▶ report, manifest
    --tsa-root ─▶ tsa-roots.pem, where time stamps were checked under them

Roots at the heads' sizes are worked out from the leaves that are packed; where a head lies beyond
them, from those that follow in the log, which is read on so far. What `log verify` calls damage
ends the packing with the same code, wherever it lies. Time stamps are checked here alone: the
stand-alone verifier reads none, and lays them out for a program that does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.anchors.comparing import Judgement, Walked, Word, judge
from ledger.anchors.signed_note import FILE_BYTES_MAX, FILE_LINES_MAX
from ledger.errors import InvalidInput, Tampered
from ledger.log.marks import Mark
from ledger.log.rows import LogRow
from ledger.log.signers import SignerBook, roots_in
from ledger.log.store import LogSource
from ledger.tree import Frontier
from tools.evidence.anchors import Anchors
from tools.packing.contents import Settled, pages
from tools.packing.folder import PackFolder
from tools.showing.show import printable, progress
from tools.when import to_text

ANCHORS, ROOTS = "anchors.txt", "tsa-roots.pem"
_DAMAGE = {
    one.code: one
    for one in (
        Tampered("anchor-signature", "A signature under an anchor does not hold."),
        Tampered("anchor-time-stamp", "A time stamp under an anchor does not hold."),
        Tampered("anchor-future-dated", "An anchor is dated in the future."),
        Tampered("anchor-signer-unknown", "An anchor is signed by nobody whom the log has."),
        Tampered("forked", "The log is not the one that was anchored."),
        Tampered("rolled-back", "Rows that were anchored are gone from the log."),
        Tampered("bad-signer", "The log's signers are not those that were anchored."),
    )
}
"""What `log verify --anchors` tells as a check that fails."""


class Anchored(msgspec.Struct, frozen=True):
    """Heads that somebody kept, and what came of holding a log against them."""

    anchors: Anchors
    judgements: tuple[Judgement, ...] = ()
    """Of those that lie within the pack."""

    @property
    def sizes(self) -> list[int]:
        """The sizes whose roots are wanted."""
        return [note_head.head.size for note_head in self.anchors.of(self.anchors.ledger_id)]

    def of_kind(self, kind: str) -> Iterator[tuple[int, Word]]:
        """The lines of a kind that were believed, with the size of the head above each."""
        for one in self.judgements:
            yield from ((one.head.size, word) for word in one.believed() if word.kind == kind)

    def newest(self, kind: str) -> tuple[int, Word] | None:
        """The believed line of a kind under the newest head that has one."""
        return max(self.of_kind(kind), key=lambda one: one[0], default=None)

    @property
    def counted_to(self) -> int | None:
        """The size of the newest head that counts, as `log verify` counts."""
        return max((one.head.size for one in self.judgements if one.counted), default=None)

    def witness_keys(self) -> list[str]:
        """The keys of witnesses that were believed: who receives the pack needs them."""
        names = {word.name for _, word in self.of_kind("cosignature")}
        return [one.to_text() for one in self.anchors.trusted.witnesses if one.name in names]

    def unchecked(self) -> Iterator[str]:
        """What nobody was named for, as words of a sentence."""
        words = [word for one in self.judgements for word in one.words if word.kind != "checkpoint"]
        distrusted = {word.kind for word in words if word.verdict == "not trusted"}
        kinds = Counter(word.kind for word in words)
        many = kinds["unknown"]
        if many and not self.anchors.trusted.witnesses:
            yield "no witness was named, so cosignatures were not checked"
        elif many:
            lines = many + kinds["cosignature"]
            yield f"of {lines} lines of witnesses {many} are of nobody named, and were not checked"
        if "time-stamp" in distrusted:
            yield "no root of an authority was named, so time stamps were not checked"

    def told(self) -> list[str]:
        """What the report says of them, in lines."""
        lines = [f"in {ANCHORS}"]
        for kind, plural in (("cosignature", "cosignatures"), ("time-stamp", "time stamps")):
            newest = self.newest(kind)
            if newest is not None:
                size, word = newest
                assert word.at_us is not None
                names = printable(", ".join(sorted({one.name for _, one in self.of_kind(kind)})))
                lines.append(f"{plural} were checked of {names}")
                lines.append(f"  the newest at size {size}, {to_text(word.at_us)}")
        lines += [f"  to check them again: --witness {key}" for key in self.witness_keys()]
        if self.newest("time-stamp") is not None:
            lines.append(f"  under the roots in {ROOTS}: compare them with the authority's own")
        return [*lines, *self.unchecked()]

    def manifest(self) -> dict[str, object]:
        """What the manifest says of time stamps; nothing where none was checked."""
        newest = self.newest("time-stamp")
        if newest is None:
            return {}
        size, word = newest
        assert word.at_us is not None
        told = {
            "authority": word.name,
            "checked": sum(1 for _ in self.of_kind("time-stamp")),
            "size": size,
            "stamped_at": to_text(word.at_us),
        }
        return {"time_stamps": told}

    def write(self, folder: PackFolder) -> None:
        """Put the notes into the pack, and the roots that time stamps were checked under."""
        folder.write(ANCHORS, _text(self.anchors))
        if self.newest("time-stamp") is not None:
            folder.write(ROOTS, b"".join(_pem(one) for one in self.anchors.trusted.roots))


class Watch:
    """The tree at the sizes of kept heads, worked out as rows pass whose leaves are theirs."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self.marks: dict[int, Mark] = {}
        self._waiting = sorted(set(sizes), reverse=True)
        self._tree = Frontier()

    def last_within(self, size: int) -> int:
        """The largest size that it waits for in a log of this size; 0 where there is none."""
        return next((one for one in self._waiting if one <= size), 0)

    def see(self, page: Sequence[LogRow]) -> None:
        """Take in the next rows."""
        begin = self._tree.size
        while self._waiting and self._waiting[-1] <= page[-1].position:
            size = self._waiting.pop()
            self._grow(page[self._tree.size - begin : size - begin])
            self.marks[size] = Mark(size, self._tree.root(), page[size - begin - 1].recorded_at)
        self._grow(page[self._tree.size - begin :])

    def _grow(self, rows: Sequence[LogRow]) -> None:
        if rows:
            self._tree = self._tree.extend(row.leaf for row in rows)


def anchors_to_pack(anchors: Anchors) -> Anchored:
    """Kept heads as they were read; `too-large` where several files make more than a pack holds."""
    text = _text(anchors)
    if len(text) > FILE_BYTES_MAX or text.count(b"\n") > FILE_LINES_MAX:
        raise InvalidInput(
            "too-large",
            f"The anchors of all files exceed {FILE_BYTES_MAX} bytes or {FILE_LINES_MAX} lines.",
            hint="Give those that matter: the newest, and one for each time that is to be shown.",
        )
    return Anchored(anchors)


def held_against(
    anchored: Anchored, source: LogSource, settled: Settled, watch: Watch, *, may_be_older: bool
) -> Anchored:
    """The same heads with what each says of the log; `watch` has seen the rows that are packed.

    With the code that `log verify --anchors` gives it where one does not hold, and
    `anchor-of-another-ledger`; then `witness-without-cosignature`, and `option-not-used` for roots
    without a time stamp. `may_be_older` is for an archive, which others may have seen more than.
    """
    kept = anchored.anchors.of(settled.ledger.id)
    with source.reading() as reading:
        signers, size = reading.signers(), reading.extent().size
        book = SignerBook(settled.ledger, signers, roots_in(reading))
    _read_on(source, settled.head.size, size, watch)
    log = Walked(size, True, may_be_older, watch.marks, settled.ledger.id, signers, book)
    now_us = time.time_ns() // 1000
    judgements = [judge(one, log, anchored.anchors.trusted, now_us) for one in kept]
    for one in judgements:
        if one.failed is not None:
            raise _damage(one, one.failed)
    _require_cosignatures(anchored.anchors)
    anchored.anchors.require_time_stamps()
    within = (one for one in judgements if one.head.size <= settled.head.size)
    return Anchored(anchored.anchors, tuple(within))


def _require_cosignatures(anchors: Anchors) -> None:
    """`witness-without-cosignature` where one was named whose cosignature is under no head."""
    lines = [line for note in anchors.notes for line in note.signatures]
    for witness in anchors.trusted.witnesses:
        if not any(witness.is_of(line) for line in lines):
            raise InvalidInput(
                "witness-without-cosignature",
                f"No anchor is cosigned by {printable(witness.name)}, who was named as a witness.",
                hint="Check the key. Give the anchors that it cosigned, or leave the witness out.",
            )


def _read_on(source: LogSource, packed: int, size: int, watch: Watch) -> None:
    """Show the watch what lies behind the pack, up to the last size that it waits for."""
    last = watch.last_within(size)
    with progress("Comparing anchors") as show:
        for page in pages(source, last, after=packed):
            watch.see(page)
            show(page[-1].position, last)


def _damage(judgement: Judgement, code: str) -> Tampered:
    known = _DAMAGE[code]
    return Tampered(
        known.code,
        f"{known.message[:-1]}: size {judgement.head.size}, {judgement.detail}.",
        hint="There is no pack. `credledger log verify --anchors` tells of all of them.",
        position=judgement.position,
    )


def _text(anchors: Anchors) -> bytes:
    return "".join(note.to_text() for note in anchors.notes).encode()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
