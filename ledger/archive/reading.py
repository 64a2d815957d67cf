"""An archive read like a log: the questions of a verifier, answered from segment files.

    full part ◀── incremental part ◀── incremental part          each names the one before by digest

Parts are looked for in the folder that is named, in those given besides, and in the folders beside
the first. Whatever is answered comes from segments whose hash the manifest tells; whether it is
the ledger's is for `ledger.log.verification` to say. Two segments are held at a time: a
commit may go across their border.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ledger.archive.folder import ArchiveFolder, Unreadable
from ledger.archive.manifest import Manifest, Segment, damaged
from ledger.archive.segment import Loaded, inflated, load_segment, require_as_told
from ledger.errors import LedgerError, NotFound
from ledger.log.rows import CommitRow, Counts, Extent, LedgerRow, LogRow, SignerRow

_LOOKED_INTO_AT_ONCE = 2
_HELD_SEGMENTS = 2
CommitBelow = Callable[[int], CommitRow | None]


class Part(NamedTuple):
    """A complete part and where it lies."""

    folder: ArchiveFolder
    manifest: Manifest


class _Placed(NamedTuple):
    part: Part
    number: int
    segment: Segment


class Archive:
    """Parts that go on from each other, as one log."""

    def __init__(self, parts: Sequence[Part], commit_below: CommitBelow | None = None) -> None:
        """`commit_below` tells the commits before the first part, where that is no full one."""
        self.parts = tuple(parts)
        self._commit_below = commit_below
        self._placed = [
            _Placed(part, number, segment)
            for part in self.parts
            for number, segment in enumerate(part.manifest.segments)
        ]
        self._lasts = [placed.segment.last for placed in self._placed]
        self._held: OrderedDict[int, Loaded] = OrderedDict()

    @property
    def manifest(self) -> Manifest:
        """That of the newest part."""
        return self.parts[-1].manifest

    @contextlib.contextmanager
    def reading(self) -> Iterator[Archive]:
        """Itself: an archive does not change."""
        yield self

    def ledger(self) -> LedgerRow:
        """The row that names the ledger."""
        return self.manifest.ledger

    def signers(self) -> tuple[SignerRow, ...]:
        """All signer rows that the head rests on."""
        return self.manifest.signers

    def last_position(self) -> int:
        """The position of the last row."""
        return self.manifest.head.size

    def extent(self) -> Extent:
        """How far it goes."""
        head = self.manifest.head
        return Extent(head.size, head.size, head.frontier)

    def counts(self) -> Counts:
        """How many rows and commits the segments hold, by their lists."""
        segments = [placed.segment for placed in self._placed]
        rows = sum(segment.last - segment.first + 1 for segment in segments)
        return Counts(rows, sum(segment.commits for segment in segments))

    def rows_after(self, position: int, limit: int) -> list[LogRow]:
        """The next rows in order of position; at most those of one segment."""
        following = max(position, self.parts[0].manifest.after) + 1
        number = self._number_of(following)
        if number is None:
            return []
        at = following - self._placed[number].segment.first
        return self._load(number).rows[at : at + limit]

    def tuples_after(self, position: int, limit: int) -> list[LogRow]:
        """The same: they were unpacked as rows."""
        return self.rows_after(position, limit)

    def keyring_rows(self, stream: bytes) -> Iterator[LogRow]:
        """The rows of the keyring's stream, which is told by its name, in order of position.

        The manifest tells where they are. In format 1 it does not: segments whose bytes do not hold
        the name are not unpacked. All of them are hashed, so an archive that is not as it was told
        is found here; a few at once, as hashing and inflating leave the interpreter to others.
        """

        def holds(number: int) -> bool:
            placed = self._placed[number]
            told, stored = placed.part.manifest.keyring, self._stored(placed)
            if told is None:
                return stream in inflated(placed.segment, stored)
            require_as_told(placed.segment, stored)
            at = bisect_left(told, placed.segment.first)
            return at < len(told) and told[at] <= placed.segment.last

        with ThreadPoolExecutor(_LOOKED_INTO_AT_ONCE) as looking:
            for number, held in enumerate(looking.map(holds, range(len(self._placed)))):
                if held:
                    yield from (row for row in self._load(number).rows if row.stream == stream)

    def commits_after(self, size: int, limit: int) -> list[CommitRow]:
        """The next commits in order of size; at most those of one segment."""
        number = self._number_of(max(size, self.parts[0].manifest.after) + 1)
        while number is not None and number < len(self._placed):
            if self._placed[number].segment.commits:
                found = [one for one in self._load(number).commits if one.size > size]
                if found:
                    return found[:limit]
            number += 1
        return []

    def commit_at(self, size: int) -> CommitRow | None:
        """The commit of exactly this size."""
        if size <= self.parts[0].manifest.after:
            return self._commit_below(size) if self._commit_below is not None else None
        number = self._number_of(size)
        if number is None:
            return None
        return next((one for one in self._load(number).commits if one.size == size), None)

    def segment_end(self, position: int) -> int:
        """The last position of the segment that holds this one, or of the whole archive."""
        number = self._number_of(position)
        return self.last_position() if number is None else self._placed[number].segment.last

    def require_head(self) -> None:
        """`archive-damaged` unless the manifests' heads are the commits that the segments hold."""
        for part in self.parts:
            if self.commit_at(part.manifest.head.size) != part.manifest.head:
                raise damaged("The archive's manifest and its rows have different heads.")

    def _number_of(self, position: int) -> int | None:
        number = bisect_left(self._lasts, position)
        return number if number < len(self._placed) else None

    def _load(self, number: int) -> Loaded:
        held = self._held.get(number)
        if held is None:
            while len(self._held) >= _HELD_SEGMENTS:
                self._held.popitem(last=False)
            placed = self._placed[number]
            held = self._held[number] = load_segment(placed.segment, self._stored(placed))
        self._held.move_to_end(number)
        return held

    def let_go(self) -> None:
        """Hold no segment: each is unpacked anew by whoever asks for it next."""
        self._held.clear()

    def _stored(self, placed: _Placed) -> bytes:
        return placed.part.folder.stored(placed.part.manifest, placed.number, placed.segment)


def open_archive(
    directory: Path,
    besides: Sequence[Path] = (),
    digest: bytes | None = None,
    position: int | None = None,
) -> Archive:
    """The newest archive in a folder, or the one of this digest, with all that it goes on from.

    With a `position`, the newest that ends there or before. A manifest that cannot be read stands
    in nobody's way who does not need it.

    `no-archive`, `archive-unfinished`, `archive-part-missing` where something is not there;
    `archive-damaged`, `archive-newer`.
    """
    folder = ArchiveFolder(directory)
    known: list[Part] = []
    unreadable: list[Unreadable] = []
    for one in (folder, *(ArchiveFolder(path) for path in besides)):
        manifests, others = one.parts()
        known += [Part(one, manifest) for manifest in manifests]
        unreadable += others
    end = float("inf") if position is None else position
    chosen = [
        part
        for part in known
        if digest in {None, part.manifest.digest} and part.manifest.head.size <= end
    ]
    newest = max(
        chosen, key=lambda part: (part.manifest.head.size, -part.manifest.after), default=None
    )
    reached = 0 if newest is None else newest.manifest.head.size
    for other in unreadable:
        if reached < other.size <= end and (digest is None or newest is None):
            raise _in_the_way(other, reached)
    if newest is None:
        raise _none_chosen(digest)
    return Archive(_chain(newest, known, unreadable, folder))


def _in_the_way(part: Unreadable, reached: int) -> LedgerError:
    error = part.error
    if not reached:
        return error
    hint = (
        "Use another copy of this archive; `--position"
        f" {reached}` takes the newest one before it, up to that position."
    )
    return type(error)(error.code, error.message, hint=hint)


def _none_chosen(digest: bytes | None) -> NotFound:
    if digest is None:
        return NotFound(
            "no-archive",
            "No archive in that folder ends at that position or before.",
            hint="Check the folder, or give a later position.",
        )
    return NotFound(
        "no-archive",
        "The archive that the log tells of is not in that folder any more.",
        hint="Give the folder that it was moved to.",
    )


def _copy(parts: Sequence[Part], digest: bytes) -> Part | None:
    """The part of this digest; of several copies one whose segments are all there, if any is."""
    copies = [part for part in parts if part.manifest.digest == digest]
    whole = (part for part in copies if part.folder.holds_all(part.manifest))
    return next(whole, copies[0] if copies else None)


def _beside(folder: ArchiveFolder) -> tuple[list[Part], list[Unreadable]]:
    parts: list[Part] = []
    unreadable: list[Unreadable] = []
    for one in folder.beside():
        manifests, others = one.parts_if_any()
        parts += [Part(one, manifest) for manifest in manifests]
        unreadable += others
    return parts, unreadable


def _base_unreadable(part: Unreadable) -> LedgerError:
    """What the archive goes on from is there, by its name at least."""
    error = part.error
    message = f"{error.message} It is {part.path}, from which the archive goes on."
    return type(error)(error.code, message, hint=error.hint)


def _chain(
    newest: Part, known: list[Part], unreadable: list[Unreadable], folder: ArchiveFolder
) -> list[Part]:
    chain = [newest]
    beside: list[Part] | None = None
    while (wanted := chain[0].manifest.previous) is not None:
        found = _copy(known, wanted)
        if found is None:
            if beside is None:
                beside, others = _beside(folder)
                unreadable = [*unreadable, *others]
            found = _copy(beside, wanted)
        if found is None:
            for other in unreadable:
                if other.size == chain[0].manifest.after:
                    raise _base_unreadable(other)
            raise NotFound(
                "archive-part-missing",
                "The archive goes on from another one, which is not there.",
                hint="Name the other one's folder besides, or put it beside this one.",
            )
        following = chain[0].manifest
        fits = (
            found.manifest.ledger == following.ledger
            and found.manifest.head.size == following.after
            and following.signers[: len(found.manifest.signers)] == found.manifest.signers
        )
        if not fits:
            raise damaged("The archive does not go on from the one that it names.")
        chain.insert(0, found)
    return chain
