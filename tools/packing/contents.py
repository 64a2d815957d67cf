"""What goes from the log into a pack: rows without their sealed bytes, heads, and who may sign.

What is packed is settled in one short snapshot: a signed head and what it rests on. Rows and heads
up to there never change, so they are read afterwards in pages, each in a snapshot of its own, while
others append. Nothing is judged here: the verifier judges what was written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from ledger.errors import InvalidInput, NotFound, Tampered
from ledger.log.checkpoint import head_text, note
from ledger.log.rows import NO_ROW, CommitRow, LedgerRow, LogRow, SignerRow, signers_digest
from ledger.log.signers import require_counted, require_sound
from ledger.log.store import LogReading, LogSource
from ledger.tree import LEAF_PREFIX
from tools.packing.folder import PackFolder

ROWS, HEADS, LEDGER, CHECKPOINT = "rows.bin", "heads.bin", "ledger.json", "checkpoint.txt"
MANIFEST = "manifest.json"
ACCESS_TOPICS = "access."
Progress = Callable[[int, int], None]
Seen = Callable[[list[LogRow]], None]
_PAGE_BYTES = 2 * 1024**2
_PAGE_ROWS_FIRST = 16
_PAGE_ROWS_MAX = 2000
_PAGE_COMMITS = 500


class Settled(msgspec.Struct, frozen=True):
    """What a pack is to hold."""

    ledger: LedgerRow
    head: CommitRow
    signers: tuple[SignerRow, ...]

    @property
    def checkpoint(self) -> str:
        """The head as a C2SP signed note."""
        digest = signers_digest(self.ledger.id, self.signers, self.head.size)
        text = head_text(self.ledger.id, self.head.size, self.head.root, digest)
        return note(self.ledger.id, text, self.head.signer, self.head.signature)


class Tally(msgspec.Struct):
    """What was packed, counted."""

    topics: Counter[str] = msgspec.field(default_factory=Counter)
    heads: Counter[bytes] = msgspec.field(default_factory=Counter)
    """By the key that signed."""
    first_at: int = 0
    """Microseconds UTC."""
    last_at: int = 0

    @property
    def accesses(self) -> int:
        """How many access records there are."""
        return sum(many for topic, many in self.topics.items() if topic.startswith(ACCESS_TOPICS))


def settle(source: LogSource, until: int | None) -> Settled:
    """The newest head, or the newest at `until` or before.

    `beyond-the-log` where the log does not reach so far, `no-head-there` where nothing so early was
    signed by itself. `bad-signer` where a signer's row is beyond all heads: the verifier could not
    see it, because what no head of the pack counts is left out of it.
    """
    with source.reading() as reading:
        ledger, last = reading.ledger(), reading.extent().size
        if ledger is None or not ledger.is_sound or last == 0:
            raise Tampered("no-head", "The ledger has no signed head.")
        if until is not None and until > last:
            raise NotFound(
                "beyond-the-log",
                "The log does not reach that position yet.",
                hint="`credledger status` shows the newest position.",
            )
        head = _head_within(reading, last if until is None else until)
        signers = reading.signers()
    for row in signers:
        require_sound(row)
    require_counted(signers, last)
    return Settled(ledger, head, tuple(row for row in signers if row.from_size < head.size))


def write_log(
    source: LogSource, folder: PackFolder, settled: Settled, seen: Seen, progress: Progress
) -> Tally:
    """Write rows, heads, signers and checkpoint; `seen` is shown each page of rows."""
    tally = Tally()
    with folder.file(ROWS) as file:
        for page in pages(source, settled.head.size):
            file.write(_packed(settled.ledger.id, page, tally))
            seen(page)
            progress(page[-1].position, settled.head.size)
    with folder.file(HEADS) as file:
        for heads in _heads(source, settled.head.size):
            file.write(b"".join(_packed_head(one) for one in heads))
            tally.heads.update(one.signer for one in heads)
    folder.write(LEDGER, document(_ledger_document(settled)))
    folder.write(CHECKPOINT, settled.checkpoint.encode())
    return tally


def write_manifest(folder: PackFolder, settled: Settled, more: Mapping[str, object]) -> str:
    """Write what names all other files, and what else it tells; its SHA-256."""
    content = document(
        {
            "files": folder.entries(),
            "format": 1,
            "ledger_id": settled.ledger.id.hex(),
            "root": settled.head.root.hex(),
            "size": settled.head.size,
            **more,
        }
    )
    folder.write(MANIFEST, content)
    return sha256(content).hexdigest()


def document(value: Any) -> bytes:
    """One JSON document as it lies in a pack."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def pages(source: LogSource, size: int, after: int = 0) -> Iterator[list[LogRow]]:
    """All rows up to a size in order, fewer at once where they are long; those behind `after`."""
    position, limit = after, _PAGE_ROWS_FIRST
    while position < size:
        with source.reading() as reading:
            page = reading.rows_after(position, min(limit, size - position))
        if not page:
            raise Tampered("missing-row", "A row is missing from the log.", position=position + 1)
        for at, row in enumerate(page, position + 1):
            if not row.is_sound:
                raise Tampered("altered-row", "A row cannot be one the ledger wrote.", position=at)
            if row.position != at:
                code, what = (
                    ("repeated-row", "A position has more than one row.")
                    if row.position < at
                    else ("missing-row", "A row is missing from the log.")
                )
                raise Tampered(code, what, position=min(row.position, at))
        yield page
        position = page[-1].position
        average = max(1, sum(len(row.sealed) for row in page) // len(page))
        limit = max(1, min(_PAGE_ROWS_MAX, 2 * limit, _PAGE_BYTES // average))


def _head_within(reading: LogReading, position: int) -> CommitRow:
    """The newest head of at most this size, not looked for from the log's beginning."""
    back, found = _PAGE_COMMITS, reading.commit_at(position)
    while found is None or not found.is_sound:
        begin = max(0, position - back)
        found = _last_between(reading, begin, position)
        if found is None and begin == 0:
            raise InvalidInput(
                "no-head-there",
                "No transaction ends at that position or before.",
                hint="Give a later position; `credledger log events` lists them.",
            )
        back *= 8
    return found


def _last_between(reading: LogReading, after: int, until: int) -> CommitRow | None:
    found = None
    while page := reading.commits_after(after, _PAGE_COMMITS):
        within = [one for one in page if one.is_sound and one.size <= until]
        if within:
            found = within[-1]
        if len(within) < len(page):
            break
        after = within[-1].size
    return found


def _packed(ledger_id: bytes, page: list[LogRow], tally: Tally) -> bytes:
    """The rows as they lie in a pack; `altered-row` where a stored leaf is not its row's."""
    parts: list[bytes] = []
    for row in page:
        header, digest = _clear(ledger_id, row)
        if sha256(LEAF_PREFIX + header + digest).digest() != row.leaf:
            raise Tampered(
                "altered-row", "A row is not the one that was recorded.", position=row.position
            )
        parts += (len(header).to_bytes(2, "big"), header, digest)
        tally.topics[row.topic] += 1
    tally.first_at = tally.first_at or page[0].recorded_at
    tally.last_at = page[-1].recorded_at
    return b"".join(parts)


def _clear(ledger_id: bytes, row: LogRow) -> tuple[bytes, bytes]:
    """A row's header, and the digest of what is sealed in it."""
    try:
        return row.header(ledger_id), sha256(row.sealed).digest()
    except NO_ROW as error:
        raise Tampered(
            "altered-row", "A row cannot be one the ledger wrote.", position=row.position
        ) from error


def _heads(source: LogSource, size: int) -> Iterator[list[CommitRow]]:
    after = 0
    while after < size:
        with source.reading() as reading:
            page = reading.commits_after(after, _PAGE_COMMITS)
        for commit in page:
            if not commit.is_sound or commit.size <= after:
                raise Tampered(
                    "altered-commit", "A head cannot be one the ledger wrote.", position=after + 1
                )
            after = commit.size
        if not page:
            raise Tampered("missing-commit", "The head that was checked is gone.", position=size)
        yield [commit for commit in page if commit.size <= size]


def _packed_head(commit: CommitRow) -> bytes:
    return commit.size.to_bytes(8, "big") + commit.root + commit.signer + commit.signature


def _ledger_document(settled: Settled) -> dict[str, Any]:
    return {
        "format": settled.ledger.format,
        "id": settled.ledger.id.hex(),
        "salt": settled.ledger.salt.hex(),
        "signers": [
            {
                "change": row.change,
                "class": row.signer_class,
                "from_size": row.from_size,
                "introduced_by": row.introduced_by.hex(),
                "public_key": row.public_key.hex(),
                "signature": row.signature.hex(),
            }
            for row in settled.signers
        ],
    }
