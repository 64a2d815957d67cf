"""Reading a file of credentials to import, line by line, with bounded memory.

JSONL: one object a line, `{"application": ..., "owner": ..., "fields": {...}}`; `owner` is null or
absent in a group application. CSV: columns `application`, `owner` and one for each field; an empty
cell is no value. UTF-8 (with or without a mark) or UTF-16 (with one); empty lines are skipped, and
so is the first line `#TYPE ...` that `Export-Csv` of Windows PowerShell writes.

The file is read twice: once to check every line, once to import. It must not change in between:
the second reading hands out a batch only if the bytes so far have the digest that they had in the
first (`file-changed`).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

import msgspec

from ledger.claims import Claim, parse_owner
from ledger.discreet import Discreet
from ledger.errors import Conflict, InvalidInput, LedgerError
from ledger.identifiers import application_key
from ledger.values import FieldValue, values_from_json
from tools.people.documents import (
    STANDARD_INPUT,
    StandardInput,
    parse_json,
    read_bytes,
    shown,
    unreadable,
)

BATCH_LINES_MAX = 500
LINE_CHARACTERS_MAX = 4 * 1024 * 1024
"""32 fields of 64 KiB in base64, with room for their names."""
STANDARD_INPUT_BYTES_MAX = 256 * 1024 * 1024
JSONL, CSV = "jsonl", "csv"
_KEYS = {"application", "owner", "fields"}
TYPE_MARK = "#TYPE "
"""Begins the line in which `Export-Csv` of Windows PowerShell names the type of what it wrote."""
_OTHER_SEPARATORS = ";\t|"
_PURPOSE = "credentials to import"


class Line(msgspec.Struct, frozen=True):
    """One line's mapping."""

    number: int
    application: str
    owner: Claim | None
    values: Mapping[str, FieldValue]
    entry: str | None = None
    """Where it stands in another store's file; then the number is its place in the order there."""

    @property
    def key(self) -> bytes:
        """A digest of (application, owner), by which repeated lines are found."""
        return mapping_digest(self.application, None if self.owner is None else str(self.owner))


class Rejected(msgspec.Struct, frozen=True):
    """One line that cannot be imported, and why."""

    line: int
    code: str
    message: str
    entry: str | None = None

    def as_document(self) -> dict[str, object]:
        """The JSON shape."""
        named = {} if self.entry is None else {"entry": self.entry}
        return {"line": self.line, **named, "code": self.code, "message": self.message}


class LeftOut(msgspec.Struct, frozen=True):
    """Something of a source that is not imported, and in how many entries it stands."""

    why: str
    application: str | None
    key: str | None
    entries: int

    def as_document(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "why": self.why,
            "application": self.application,
            "key": self.key,
            "entries": self.entries,
        }


class Lines(Protocol):
    """What is imported: lines that can be read more than once."""

    def batches(self) -> Iterator[list[Line | Rejected]]:
        """The lines in batches of at most `BATCH_LINES_MAX`, the same at each reading."""
        ...

    def left_out(self) -> Sequence[LeftOut]:
        """What of the source is not imported, in a settled order."""
        ...


class ImportFile(Discreet, msgspec.Struct):
    """A file of credentials that can be read more than once."""

    SHOWN: ClassVar = ("path", "format")

    path: Path | None
    """None when it came from standard input."""
    format: str
    _held: bytes = b""
    _borders: list[bytes] = msgspec.field(default_factory=list)
    """Digests of all bytes read so far, after each batch of the first reading and at its end."""
    _read_before: bool = False

    def lines(self) -> Iterator[Line | Rejected]:
        """Every line in order, the bad ones as `Rejected`."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[Line | Rejected]]:
        """The lines in batches of at most `BATCH_LINES_MAX`.

        A second reading hands out a batch only if all bytes up to its end are those of the first:
        `file-changed` otherwise, and for a file that ends elsewhere.
        """
        digest = hashlib.sha256()
        borders = iter(self._borders) if self._read_before else None
        with self._open() as raw:
            place = STANDARD_INPUT if self.path is None else str(self.path)
            texts = _texts(_Hashing(raw, digest, place), place)
            lines = self._csv(texts) if self.format == CSV else self._jsonl(texts)
            ended = False
            while not ended:
                batch = list(islice(lines, BATCH_LINES_MAX))
                ended = len(batch) < BATCH_LINES_MAX
                if borders is None:
                    self._borders.append(digest.digest())
                elif next(borders, None) != digest.digest():
                    raise _changed()
                if batch:
                    yield batch
        self._read_before = True

    def left_out(self) -> Sequence[LeftOut]:
        """Nothing: a line is imported or rejected."""
        return ()

    def _open(self) -> BinaryIO:
        if self.path is None:
            return io.BytesIO(self._held)
        try:
            return self.path.open("rb")
        except OSError as error:
            raise unreadable(_PURPOSE, str(self.path), error) from error

    def _jsonl(self, texts: Iterator[tuple[int, str]]) -> Iterator[Line | Rejected]:
        base = self.path.parent if self.path is not None else Path.cwd()
        for number, text in texts:
            if text.strip():
                yield _guarded(number, lambda n, t: _from_json(n, t, base), text)

    def _csv(self, texts: Iterator[tuple[int, str]]) -> Iterator[Line | Rejected]:
        csv.field_size_limit(LINE_CHARACTERS_MAX)
        reader = csv.reader((text for _, text in texts), strict=True)
        ended = 0
        try:
            cells = next(reader, [])
            if cells and cells[0].startswith(TYPE_MARK):
                cells = next(reader, [])
            columns = [name.strip() for name in cells]
            fault = _fault_of_heading(columns)
            if fault is not None:
                yield Rejected(max(1, reader.line_num), "invalid-heading", fault)
                return
            ended = reader.line_num
            for cells in reader:
                if any(cells):
                    yield _guarded(reader.line_num, lambda n, c: _from_cells(n, columns, c), cells)
                ended = reader.line_num
        except csv.Error as error:
            # What went wrong may be told at the end of the file, far behind where it began.
            told = f"The line is not well-formed CSV: {error}."
            yield Rejected(ended + 1, "invalid-csv", told)


def open_import(place: str, format_name: str | None, standard_input: StandardInput) -> ImportFile:
    """The file to import; the format follows from its name unless it is told."""
    chosen = format_name or (CSV if place.lower().endswith(".csv") else JSONL)
    if place == STANDARD_INPUT:
        held = read_bytes(place, _PURPOSE, STANDARD_INPUT_BYTES_MAX, standard_input)
        return ImportFile(None, chosen, held)
    path = Path(place)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidInput(
            "not-a-file",
            "A file to import is read twice, and a pipe or device can be read once only.",
            hint="Pipe it to `credledger credential import -` instead.",
        )
    return ImportFile(path, chosen)


def mapping_digest(application: str, owner: str | None) -> bytes:
    """What stands for one mapping while many are counted."""
    text = f"{application_key(application)}\0{owner or ''}"
    return hashlib.sha256(text.encode()).digest()[:16]


def _changed() -> Conflict:
    return Conflict(
        "file-changed",
        "The file changed while it was being imported.",
        hint="Run the import again; what is current already stays unchanged.",
    )


class _Hashing(io.RawIOBase):
    """A raw stream that digests what passes through it."""

    def __init__(self, raw: BinaryIO, digest: hashlib._Hash, place: str) -> None:
        super().__init__()
        self._raw = raw
        self._digest = digest
        self._place = place

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._raw.read(len(buffer))
        except OSError as error:
            raise unreadable(_PURPOSE, self._place, error) from error
        self._digest.update(data)
        buffer[: len(data)] = data
        return len(data)


def _texts(raw: io.RawIOBase, place: str) -> Iterator[tuple[int, str]]:
    buffered = io.BufferedReader(raw)
    mark = buffered.peek(2)[:2]
    encoding = "utf-16" if mark in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    text = io.TextIOWrapper(buffered, encoding=encoding, newline="")
    number = 0
    while True:
        number += 1
        try:
            line = text.readline(LINE_CHARACTERS_MAX + 1)
        except UnicodeError as error:
            raise InvalidInput(
                "not-text",
                f"{shown(place)} is neither UTF-8 nor UTF-16 text near line {number}.",
                hint="Save it anew as UTF-8, which spreadsheets call `CSV UTF-8`.",
            ) from error
        if not line:
            return
        if len(line) > LINE_CHARACTERS_MAX:
            raise InvalidInput(
                "too-large",
                f"Line {number} of {shown(place)} exceeds {LINE_CHARACTERS_MAX} characters.",
            )
        yield number, line


def _guarded(number: int, read: Any, content: Any) -> Line | Rejected:
    try:
        line = read(number, content)
        assert isinstance(line, Line)
        return line
    except LedgerError as error:
        return Rejected(number, error.code, error.message)


def _fault_of_heading(columns: Sequence[str]) -> str | None:
    """What is wrong with a first line of CSV; its cells may be values, and stay untold."""
    lacking = [f"no column {name}" for name in ("application", "owner") if name not in columns]
    if not columns:
        return "The file is empty; a first line names application, owner and fields."
    if len(columns) == 1 and set(columns[0]) & set(_OTHER_SEPARATORS):
        return "The first line is one cell; commas stand between cells, not semicolons or tabs."
    if lacking:
        return f"The first line names {' and '.join(lacking)} (in small letters)."
    for number, name in enumerate(columns):
        first = columns.index(name)
        if first != number:
            return f"Columns {first + 1} and {number + 1} of the first line have the same name."
    return None


def _from_json(number: int, text: str, base: Path) -> Line:
    document = parse_json(text.strip(), "this line", first_line=number)
    if not isinstance(document, dict) or not set(document) <= _KEYS:
        raise InvalidInput("invalid-line", "A line is an object of application, owner and fields.")
    application, owner, fields = (document.get(k) for k in ("application", "owner", "fields"))
    if not isinstance(application, str) or not isinstance(fields, dict):
        raise InvalidInput("invalid-line", "A line needs application (text) and fields (object).")
    if owner is not None and not isinstance(owner, str):
        raise InvalidInput("invalid-line", "The owner must be a text or null.")
    return _line(number, application, owner, values_from_json(fields, base))


def _from_cells(number: int, columns: list[str], cells: list[str]) -> Line:
    if len(cells) != len(columns):
        raise InvalidInput(
            "invalid-line",
            f"The line has {len(cells)} cells, and the first line names {len(columns)}.",
        )
    named = dict(zip(columns, cells, strict=True))
    application, owner = named.pop("application"), named.pop("owner").strip() or None
    fields = {name: cell for name, cell in named.items() if cell}
    return _line(number, application, owner, values_from_json(fields, None))


def _line(
    number: int, application: str, owner: str | None, values: Mapping[str, FieldValue]
) -> Line:
    application_key(application)
    return Line(number, application, None if owner is None else parse_owner(owner), values)
