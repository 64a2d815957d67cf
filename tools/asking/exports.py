"""Exporting the log row by row, to standard output or into a file that grows.

Each row is one line of JSON in ASCII, so that no text in it can end a line or steer a terminal. The
last line's position is the cursor: `--after` goes on behind it. A file keeps its own cursor: an
export into a file that is there goes on behind its last whole line, and cuts off what a kill left
of a line. So the same command, run again and again, is all that a shipper needs, and no row comes
twice into one file. That last row must be the log's still: where an older copy of the store was put
back and went on, the file holds rows that were given up, and nothing is put behind them.

How many rows will be given is known beforehand, because every row is; so that the history is read
is recorded before the first line goes out, and the record is not in the very export it tells of.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger.errors import Conflict, InvalidInput, NotFound, Unavailable
from projections.export import Exported, exported
from projections.ocsf import ocsf_document
from projections.streams import signed_position_at
from tools.asking.moments import past_moment
from tools.asking.questions import Recording
from tools.settings import real_path
from tools.showing.show import progress

if TYPE_CHECKING:
    from tools.wiring import Session

OCSF, JSONL = "ocsf", "jsonl"
_LINE_BYTES_MAX = 16 * 1024**2
_CHUNK_BYTES = 64 * 1024
_FORMATS: Mapping[str, Callable[[Exported], dict[str, Any]]] = {
    OCSF: ocsf_document,
    JSONL: lambda row: row.document,
}
_POSITION_MAX = 2**63 - 1
Write = Callable[[str], object]
LeafAt = Callable[[int], str | None]


class Asked(NamedTuple):
    """Which rows, in which form."""

    form: str
    after: int | None
    """The cursor; None for the file's own, or the beginning."""
    until: str | None
    limit: int | None
    """None is all."""


class Span(NamedTuple):
    """The rows to export, as the log stands now."""

    after: int
    last: int
    """The last position that may be in it."""
    until: int | None
    """Microseconds UTC."""
    rows: int


def export_log(
    session: Session, record: Recording, asked: Asked, out: str | None
) -> dict[str, Any]:
    """Record that the log is read, then give its rows out; what was given, and how to go on."""
    if out is None:
        document = _export(session, record, asked, asked.after or 0, sys.stdout.write)
        sys.stdout.flush()
        return document
    path = real_path(out)
    ledger_id = session.mapper.ledger_id.hex()
    with _grown(path, asked, ledger_id, partial(_leaf_at, session)) as (after, write):
        return {**_export(session, record, asked, after, write), "out": str(path)}


def _leaf_at(session: Session, position: int) -> str | None:
    """The leaf that the log has there, unchecked; None beyond its end."""
    with session.store.reading() as reading:
        row = reading.row_at(position)
    return None if row is None else row.leaf.hex()


def _export(
    session: Session, record: Recording, asked: Asked, after: int, write: Write
) -> dict[str, Any]:
    span = _span(session, asked, after)
    told = {"format": asked.form, "after": after, "until": asked.until, "limit": asked.limit}
    record(told, span.rows)
    rows = unreadable = 0
    position = after
    form = _FORMATS[asked.form]
    for row in _rows(session, span):
        write(json.dumps(form(row)) + "\n")
        rows, position = rows + 1, row.row.position
        unreadable += row.recorded is None
    return {
        "format": asked.form,
        "rows": rows,
        "unreadable": unreadable,
        "position": position,
        "out": None,
    }


def _rows(session: Session, span: Span) -> Iterator[Exported]:
    if not span.rows:
        return
    slots = session.ledger.key_history().slots.values()
    with progress("Exporting") as show:
        yield from exported(
            session.store,
            session.mapper,
            after=span.after,
            until=span.until,
            until_position=span.last,
            retention=session.ledger.retention.state(),
            askers={session.streams.audit(one.signing_key): one for one in slots},
            progress=show,
        )


def _span(session: Session, asked: Asked, after: int) -> Span:
    """The rows asked for; `beyond-the-log` for a cursor that no export of this log gave."""
    until = None if asked.until is None else past_moment(session, asked.until)
    with session.store.reading() as reading:
        last = reading.last_position()
        end = last if until is None else signed_position_at(reading, session.mapper, until)
    if after > last:
        raise NotFound(
            "beyond-the-log",
            "The log does not reach that position.",
            hint="The cursor is another ledger's, or an older copy of the store was put back.",
        )
    if asked.limit is not None:
        last, end = min(last, after + asked.limit), min(end, after + asked.limit)
    return Span(after, last, until, max(0, end - after))


class _Growing:
    """A file that whole lines are put behind, many at once."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._held_bytes = 0

    def write(self, line: str) -> None:
        """Put one more line behind the others, if not at once; `export-not-writable`."""
        self._lines.append(line.encode("ascii"))
        self._held_bytes += len(line)
        if self._held_bytes >= _CHUNK_BYTES:
            self.write_out()

    def write_out(self) -> None:
        """Write what is held; of a line that there is no room for, nothing stays."""
        content = memoryview(b"".join(self._lines))
        self._lines, self._held_bytes = [], 0
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                _cut_torn_line(self._file)
            raise _not_writable() from error

    def make_durable(self) -> None:
        """Write what is held, down to the disk."""
        self.write_out()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _not_writable() from error


@contextmanager
def _grown(
    path: Path, asked: Asked, ledger_id: str, leaf_at: LeafAt
) -> Iterator[tuple[int, Write]]:
    """Where the file's rows end, and what writes one more; durable at the end.

    Whatever ends it before, the lines that were written stay, and stay whole. `not-this-export`,
    `export-forked`, `export-running`, `export-goes-on` or `export-not-writable`.
    """
    is_new = not path.exists()
    with _opened(path) as file:
        after = _cursor(file, asked, ledger_id, leaf_at)
        growing = _Growing(file)
        try:
            yield after, growing.write
            growing.make_durable()
        except BaseException:
            with contextlib.suppress(Unavailable):
                growing.write_out()
            if is_new and not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)
            raise


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """The file, made if it is not there, and nobody else's as long as it is open."""
    try:
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    except OSError as error:
        raise _not_writable() from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _not_writable()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                "export-running",
                "Another export is writing to that file.",
                hint="Wait for it, or name another file.",
            ) from error
        yield file


def _not_writable() -> Unavailable:
    return Unavailable(
        "export-not-writable",
        "The export cannot be written there.",
        hint="Check the folder's rights and the free space; the same command goes on.",
    )


def _cursor(file: FileIO, asked: Asked, ledger_id: str, leaf_at: LeafAt) -> int:
    """The position of the file's last row, with which the file ends from here on."""
    if file.seek(0, os.SEEK_END) == 0:
        return asked.after or 0
    found = _last_row(file, asked.form, ledger_id)
    if found is None:
        raise Conflict(
            "not-this-export",
            "The file does not end with a row of this ledger in this format.",
            hint="Name a file that is not there yet, or one that this export has begun.",
        )
    position, leaf = found
    if leaf_at(position) not in {None, leaf}:  # beyond the log's end that is told elsewhere
        raise Conflict(
            "export-forked",
            "The file's last row is not the one that the log has at that position.",
            hint="An older copy of the store was put back, and the log went on from there. Begin a new"
            " file: the old one keeps what was given up, and `audit changes` tells since when.",
        )
    if asked.after not in {None, position}:
        raise InvalidInput(
            "export-goes-on",
            "The file goes on behind its own last row; --after says another.",
            hint="Leave --after out, or name a file that is not there yet.",
        )
    _cut_torn_line(file)
    return position


def _last_row(file: FileIO, form: str, ledger_id: str) -> tuple[int, object] | None:
    """Position and leaf in the last whole line; None where it is no row of this ledger or form."""
    end = _end_of_lines(file, file.seek(0, os.SEEK_END))
    begin = _end_of_lines(file, end - 1) if end else 0
    if not 0 < end - begin <= _LINE_BYTES_MAX:
        return None
    file.seek(begin)
    try:
        row = json.loads(file.read(end - begin))
        if form == OCSF:
            told = row["metadata"]
            named, position = told["tenant_uid"], told["sequence"]
            leaf = row["unmapped"]["leaf"]
        else:
            named, position, leaf = row["ledger_id"], row["position"], row["leaf"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    is_position = type(position) is int and 1 <= position <= _POSITION_MAX
    is_row = named == ledger_id and is_position and isinstance(leaf, str)
    return (position, leaf) if is_row else None


def _cut_torn_line(file: FileIO) -> None:
    """End the file with its last whole line."""
    end = _end_of_lines(file, file.seek(0, os.SEEK_END))
    file.seek(end)
    file.truncate()


def _end_of_lines(file: FileIO, before: int) -> int:
    """Where the last line that ends before this place ends; 0 if none does."""
    while before > 0:
        begin = max(0, before - _CHUNK_BYTES)
        file.seek(begin)
        found = file.read(before - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        before = begin
    return 0
