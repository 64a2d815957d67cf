"""Rows and commits as the content of one segment file.

    zlib( row row row ... commit commit ... ) sealed sealed sealed ...

Each row is a msgpack array of the nine columns of `log`, with the length of what is sealed in its
place; each commit one of the five of `commits`. Positions are dense, and a commit lies in the
segment that holds the row its size names. What is sealed does not get smaller, so it lies behind
the rest as it is. In format 1 it was in its row, and all was compressed.

How many of each there are, and how long everything is, stands in the manifest, so a reader never
inflates more than was promised.
"""

from __future__ import annotations

import hashlib
import operator
import zlib
from itertools import accumulate, islice
from typing import Any

import msgpack
import msgspec

from ledger.archive.manifest import CONTENT_BYTES_MAX, STORED_BYTES_MAX, Segment, damaged
from ledger.errors import InvalidInput
from ledger.log.rows import CommitRow, LogRow, log_row

SEGMENT_BYTES = 4 * 1024**2
"""A segment is ended by the row that takes it beyond this."""
SEGMENT_ROWS = 10_000
_LEVEL = 1
_SEALED = LogRow._fields.index("sealed")
_position = operator.itemgetter(LogRow._fields.index("position"))


class Loaded(msgspec.Struct, frozen=True):
    """What a segment holds."""

    rows: list[LogRow]
    commits: list[CommitRow]


class SegmentDraft:
    """A segment that rows are put into, one after the other."""

    def __init__(self, first: int) -> None:
        self.first = first
        """The position of its first row."""
        self._content: list[bytes] = []
        self._sealed: list[bytes] = []
        self._bytes = 0
        self._packer = msgpack.Packer()

    @property
    def last(self) -> int:
        """The position of the newest row in it; the one before the first where it is empty."""
        return self.first + len(self._sealed) - 1

    @property
    def is_full(self) -> bool:
        """Whether the next row goes into another segment."""
        return self._bytes >= SEGMENT_BYTES or len(self._sealed) >= SEGMENT_ROWS

    def put(self, row: LogRow) -> None:
        """Put the next row in; `archive-damaged` unless its position is the next."""
        if row.position != self.last + 1:
            raise damaged("A row is missing from the log that is archived.", row.position)
        self._sealed.append(row.sealed)
        self._bytes += len(row.sealed)
        self._add((*row[:_SEALED], len(row.sealed), *row[_SEALED + 1 :]))

    def finished(self, commits: list[CommitRow]) -> tuple[Segment, bytes]:
        """What the manifest says of it, and the file's bytes."""
        for commit in commits:
            self._add(commit)
        content = b"".join(self._content)
        packed = zlib.compress(content, _LEVEL)
        stored = packed + b"".join(self._sealed)
        if len(content) > CONTENT_BYTES_MAX or len(stored) > STORED_BYTES_MAX:
            raise InvalidInput("segment-too-large", "The log holds a row that is too large.")
        told = Segment(
            self.first,
            self.last,
            len(commits),
            len(stored),
            len(content),
            hashlib.sha256(stored).digest(),
            len(packed),
        )
        return told, stored

    def _add(self, columns: tuple[object, ...]) -> None:
        packed = self._packer.pack(tuple(columns))
        self._content.append(packed)
        self._bytes += len(packed)


def load_segment(told: Segment, stored: bytes) -> Loaded:
    """The rows and commits of a segment file; `archive-damaged` unless all is as told."""
    content = inflated(told, stored)
    try:
        return _unpacked(told, content, stored)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise damaged("A segment of the archive cannot be read.", told.first) from error


def inflated(told: Segment, stored: bytes) -> bytes:
    """What is compressed in a segment file, not looked into; `archive-damaged` if it is another."""
    require_as_told(told, stored)
    packed = stored if told.packed_bytes is None else stored[: told.packed_bytes]
    try:
        inflating = zlib.decompressobj()
        content = inflating.decompress(packed, told.content_bytes + 1)
        whole = inflating.eof and not inflating.unused_data and len(content) == told.content_bytes
    except zlib.error as error:
        raise damaged("A segment of the archive cannot be read.", told.first) from error
    if not whole:
        raise damaged("A segment of the archive is not as long as it should be.", told.first)
    return content


def require_as_told(told: Segment, stored: bytes) -> None:
    """`archive-damaged` unless these are the bytes that the manifest tells of."""
    if len(stored) != told.stored_bytes or hashlib.sha256(stored).digest() != told.sha256:
        raise damaged("A segment of the archive is altered or cut off.", told.first)


def _unpacked(told: Segment, content: bytes, stored: bytes) -> Loaded:
    # Each row and commit takes a byte at least, so no count can make a list beyond the content.
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=len(content))
    unpacker.feed(content)
    positions = range(told.first, told.last + 1)
    packed = list(islice(unpacker, len(positions)))
    commits = list(map(CommitRow._make, islice(unpacker, told.commits)))
    if unpacker.tell() != len(content) or len(commits) != told.commits:
        raise ValueError("more or less than was promised")
    if set(map(len, packed)) != {len(LogRow._fields)}:
        raise ValueError("rows that are none")
    if told.packed_bytes is not None:
        packed = _with_sealed(packed, told.packed_bytes, stored)
    rows = list(map(log_row, packed))
    if list(map(_position, rows)) != list(positions):
        raise damaged("A segment of the archive holds other rows than it should.", told.first)
    size = told.first - 1
    for commit in commits:
        if not (commit.is_sound and size < commit.size <= told.last):
            raise damaged("A segment of the archive holds a commit of elsewhere.", told.first)
        size = commit.size
    return Loaded(rows, commits)


def _with_sealed(packed: list[tuple[Any, ...]], begin: int, stored: bytes) -> list[tuple[Any, ...]]:
    """The rows with what is sealed in place of its length; it lies behind `begin`, in order."""
    columns = list(zip(*packed, strict=True))
    lengths = columns[_SEALED]
    if set(map(type, lengths)) != {int} or min(lengths) < 0:
        raise ValueError("lengths that are none")
    ends = list(accumulate(lengths, initial=begin))
    if ends[-1] != len(stored):
        raise ValueError("more or less than was promised")
    columns[_SEALED] = tuple(map(stored.__getitem__, map(slice, ends, ends[1:])))
    return list(zip(*columns, strict=True))
