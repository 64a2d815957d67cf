"""Rows and commits as the content of one segment file.

    zlib( row row row ... commit commit ... )

Each row is a msgpack array of the nine columns of `log`, each commit one of the five of `commits`;
positions are dense, and a commit lies in the segment that holds the row its size names. How many of
each there are, and how long the content is, stands in the manifest, so a reader never inflates
more than was promised. What is sealed hardly gets smaller; the rest does.
"""

from __future__ import annotations

import hashlib
import operator
import zlib
from itertools import islice

import msgpack
import msgspec

from ledger.archive.manifest import CONTENT_BYTES_MAX, Segment, damaged
from ledger.errors import InvalidInput
from ledger.log.rows import CommitRow, LogRow, log_row

SEGMENT_BYTES = 4 * 1024**2
"""A segment is ended by the row that takes its content beyond this."""
SEGMENT_ROWS = 10_000
_LEVEL = 1
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
        self._rows = 0
        self._content: list[bytes] = []
        self._content_bytes = 0
        self._packer = msgpack.Packer()

    @property
    def last(self) -> int:
        """The position of the newest row in it; the one before the first where it is empty."""
        return self.first + self._rows - 1

    @property
    def is_full(self) -> bool:
        """Whether the next row goes into another segment."""
        return self._content_bytes >= SEGMENT_BYTES or self._rows >= SEGMENT_ROWS

    def put(self, row: LogRow) -> None:
        """Put the next row in; `archive-damaged` unless its position is the next."""
        if row.position != self.last + 1:
            raise damaged("A row is missing from the log that is archived.", row.position)
        self._rows += 1
        self._add(row)

    def finished(self, commits: list[CommitRow]) -> tuple[Segment, bytes]:
        """What the manifest says of it, and the file's bytes."""
        for commit in commits:
            self._add(commit)
        if self._content_bytes > CONTENT_BYTES_MAX:
            raise InvalidInput("segment-too-large", "The log holds a row that is too large.")
        content = b"".join(self._content)
        stored = zlib.compress(content, _LEVEL)
        told = Segment(
            self.first,
            self.last,
            len(commits),
            len(stored),
            len(content),
            hashlib.sha256(stored).digest(),
        )
        return told, stored

    def _add(self, row: LogRow | CommitRow) -> None:
        packed = self._packer.pack(tuple(row))
        self._content.append(packed)
        self._content_bytes += len(packed)


def load_segment(told: Segment, stored: bytes) -> Loaded:
    """The rows and commits of a segment file; `archive-damaged` unless all is as told."""
    content = inflated(told, stored)
    try:
        return _unpacked(told, content)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise damaged("A segment of the archive cannot be read.", told.first) from error


def inflated(told: Segment, stored: bytes) -> bytes:
    """The content of a segment file, not looked into; `archive-damaged` if it is another one."""
    require_as_told(told, stored)
    try:
        inflating = zlib.decompressobj()
        content = inflating.decompress(stored, told.content_bytes + 1)
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


def _unpacked(told: Segment, content: bytes) -> Loaded:
    # Each row and commit takes a byte at least, so no count can make a list beyond the content.
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=len(content))
    unpacker.feed(content)
    positions = range(told.first, told.last + 1)
    rows = list(map(log_row, islice(unpacker, len(positions))))
    commits = list(map(CommitRow._make, islice(unpacker, told.commits)))
    if unpacker.tell() != len(content) or len(commits) != told.commits:
        raise ValueError("more or less than was promised")
    if set(map(len, rows)) != {len(LogRow._fields)}:
        raise ValueError("rows that are none")
    if list(map(_position, rows)) != list(positions):
        raise damaged("A segment of the archive holds other rows than it should.", told.first)
    size = told.first - 1
    for commit in commits:
        if not (commit.is_sound and size < commit.size <= told.last):
            raise damaged("A segment of the archive holds a commit of elsewhere.", told.first)
        size = commit.size
    return Loaded(rows, commits)
