"""Writing a part of an archive while others append.

What is taken is settled in one short snapshot: the head, and the signers that it rests on. Rows
and commits up to that head never change, so they are read afterwards in pages, each in a snapshot
of its own. Then the part is read back as it lies on the disk and checked like a log, and only
then it gets its manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from ledger.archive.folder import ArchiveFolder
from ledger.archive.manifest import Manifest, Segment, ViewDigest
from ledger.archive.reading import Archive, Part
from ledger.archive.segment import SegmentDraft
from ledger.errors import Tampered
from ledger.log.following import CheckedHead, Follower
from ledger.log.rows import CommitRow, LedgerRow, LogRow, SignerRow, signers_digest
from ledger.log.store import Reading, Store
from ledger.replacing import replace
from ledger.tree import unpack_frontier

_PAGE_BYTES = 2 * 1024**2
_PAGE_ROWS_FIRST = 16
_PAGE_ROWS_MAX = 2000
_PAGE_COMMITS = 500
Progress = Callable[[int, int], None]


class Taken(msgspec.Struct, frozen=True):
    """What an archive is to hold, settled in one snapshot."""

    ledger: LedgerRow
    head: CommitRow
    signers: tuple[SignerRow, ...]
    keyring_stream: bytes
    """The name of the stream whose rows a manifest tells of."""
    views: tuple[ViewDigest, ...]
    after: int = 0
    previous: bytes | None = None


def take(
    reading: Reading,
    keyring_stream: bytes,
    *,
    views: tuple[ViewDigest, ...] = (),
    after: int = 0,
    previous: bytes | None = None,
) -> Taken:
    """Settle what is to be archived: everything up to this snapshot's head."""
    ledger, head = reading.ledger(), reading.head()
    if ledger is None or head is None:
        raise Tampered("no-head", "The ledger has no signed head.")
    if head.size <= after:
        raise forked_from_backup(after)
    return Taken(ledger, head, reading.signers(), keyring_stream, views, after, previous)


def write_part(store: Store, folder: ArchiveFolder, taken: Taken, progress: Progress) -> Manifest:
    """Write, read back, check, complete; durable on return. The caller is alone with the folder."""
    draft = Manifest(
        taken.ledger, taken.after, taken.previous, taken.head, taken.signers, (), taken.views
    )
    segments: list[Segment] = []
    keyring: list[int] = []
    for told, stored in _segments(store, taken, keyring, progress):
        folder.write(draft.segment_name(len(segments)), stored)
        segments.append(told)
    manifest = replace(draft, segments=tuple(segments), keyring=tuple(keyring))
    folder.sync()
    check_part(store, Part(folder, manifest), progress)
    folder.complete(manifest)
    return manifest


def check_part(store: Store, part: Part, progress: Progress) -> None:
    """Check every row and signature of one part as it lies on the disk, from its store on."""
    manifest = part.manifest

    def commit_below(size: int) -> CommitRow | None:
        with store.reading() as reading:
            return reading.commit_at(size)

    archive = Archive([part], commit_below)
    head = _head_at(store, manifest)
    follower = Follower(manifest.ledger, every_signature=True)
    while True:
        end = archive.segment_end(head.size + 1)
        moved = follower.follow(archive, head, until=end)
        if moved.size == head.size:
            break
        head = moved
        progress(head.size, manifest.head.size)
    archive.require_head()


def forked_from_backup(after: int) -> Tampered:
    """The log does not hold what its newest backup holds."""
    return Tampered(
        "backup-forked",
        "The log is not the one that the newest backup was taken of.",
        hint="Run `credledger log verify`; then take a full backup.",
        position=after,
    )


def _head_at(store: Store, manifest: Manifest) -> CheckedHead:
    """The head that the part goes on from, as the store tells it."""
    size = manifest.after
    if size == 0:
        return CheckedHead()
    with store.reading() as reading:
        commit, row = reading.commit_at(size), reading.row_at(size)
    frontier = None if commit is None else unpack_frontier(size, commit.frontier)
    if row is None or frontier is None:
        raise forked_from_backup(size)
    signers = signers_digest(manifest.ledger.id, manifest.signers, size)
    return CheckedHead(frontier, row.recorded_at, row.following_epoch, signers)


def _segments(
    store: Store, taken: Taken, keyring: list[int], progress: Progress
) -> Iterator[tuple[Segment, bytes]]:
    """What is to be written; the positions of the keyring's rows in it come into `keyring`."""
    draft = SegmentDraft(taken.after + 1)
    for row in _rows(store, taken):
        draft.put(row)
        if row.stream == taken.keyring_stream:
            keyring.append(row.position)
        if draft.is_full:
            yield draft.finished(_commits(store, draft.first, draft.last))
            progress(draft.last, taken.head.size)
            draft = SegmentDraft(draft.last + 1)
    if draft.last >= draft.first:
        yield draft.finished(_commits(store, draft.first, draft.last))
        progress(draft.last, taken.head.size)


def _rows(store: Store, taken: Taken) -> Iterator[LogRow]:
    """All rows in pages, shorter ones where rows are long."""
    position, limit = taken.after, _PAGE_ROWS_FIRST
    while position < taken.head.size:
        with store.reading() as reading:
            page = reading.rows_after(position, min(limit, taken.head.size - position))
        if not page:
            raise Tampered("missing-row", "A row is missing from the log.", position=position + 1)
        yield from page
        position = page[-1].position
        average = max(1, sum(len(row.sealed) for row in page) // len(page))
        limit = max(1, min(_PAGE_ROWS_MAX, 2 * limit, _PAGE_BYTES // average))


def _commits(store: Store, first: int, last: int) -> list[CommitRow]:
    """The commits whose last row lies among these."""
    found: list[CommitRow] = []
    size = first - 1
    while True:
        with store.reading() as reading:
            page = reading.commits_after(size, _PAGE_COMMITS)
        within = [commit for commit in page if commit.size <= last]
        found.extend(within)
        if len(within) < _PAGE_COMMITS:
            return found
        size = within[-1].size
