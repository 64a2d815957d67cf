r"""Checks a pack of `credledger audit pack` without the ledger: this one file and `cryptography`.

    python3 -E verify.py [DIR] [--ledger-id ID] [--anchors FILE] [--witness KEY]
                        [--time-stamps NEW-DIR] [--json]

It was written from the pages `log-format.md`, `sealing-format.md` and `pack-format.md`, shares no
line with what writes the log, and believes nothing of a pack that it has not computed:

    manifest.json ─▶ files as told       ledger.json ─▶ who may sign
    rows.bin ─▶ leaves ─▶ tree ─▶ roots ◀─ heads.bin: signatures of those who may
                 │
    access.jsonl ┴▶ each record opened with its key, compared with what is told of it

A pack is taken for hostile: files are opened only where they are plain ones under names that are
known, are read in pieces, and every length is looked at before it is used. A document that is taken
as a whole is looked at first: how long it is, and how many values or lines it can hold at most. So
memory stays below 400 MiB, and grows beyond that with the number of streams only (some 200 bytes
each, and 300 more where its records are opened).

Exit codes: 0 all holds, 2 wrong usage or nothing to read, 8 something does not hold. What a pack
cannot show: that the log did not go on after it, or that it is the ledger one thinks of. For the
second give the id that was written down when the ledger was made; for the first anchors, which are
heads that somebody else kept. Time stamps of an authority under anchors are not checked: that takes
a program that judges certificates, as OpenSSL does, and they are laid out for it on request. Why an
access record is left closed is told by whoever made the pack; what is in clear refutes most of what
could be made up there, and how many are left closed is said beside the verdict.

Whatever tells a time that has not come is held against the clock of the machine that this runs on.
"""

from __future__ import annotations

import sys

# Run as a program, it would import what lies beside it: a pack could bring a `json.py` of its own.
# So would it from the working folder, which an empty part of PYTHONPATH means.
if __name__ == "__main__":
    _places = sys.path if sys.flags.safe_path else sys.path[1:]
    sys.path = []  # what is imported now is in memory or frozen into the interpreter
    import os

    # `pathlib` lies in a file, so it waits until it is known where files are looked for.
    _folders = [os.path.dirname(one) for one in (__file__, os.path.realpath(__file__))]  # noqa: PTH120
    _hostile = {os.path.realpath(one) for one in ("", *_folders, *sys.argv)}
    _places = [one for one in _places if os.path.isabs(one)]  # noqa: PTH117
    sys.path = [one for one in _places if os.path.realpath(one) not in _hostile]

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import stat
import struct
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HOLDS, UNUSABLE, BROKEN = 0, 2, 8
MANIFEST = "manifest.json"
REQUIRED = (
    "checkpoint.txt",
    "heads.bin",
    "ledger.json",
    "report.txt",
    "rows.bin",
    "verify.py",
)
ACCESS = ("access.jsonl", "commitments.json")
"""Both are there, or neither."""
ANCHORS = "anchors.txt"
STAMP_ROOTS = "tsa-roots.pem"
"""Certificates of authorities, as the giver names them; where the manifest tells of stamps."""
OPTIONAL = (ANCHORS, *ACCESS, STAMP_ROOTS)
_TELLING = (MANIFEST, *(name for name in (*REQUIRED, *OPTIONAL) if name != "verify.py"))
"""A folder with none of these is no pack, rather than one that was altered."""

_KIB, _MIB = 1024, 1024**2
_MANIFEST_BYTES_MAX = 64 * _KIB
_DOCUMENT_BYTES_MAX = 64 * _MIB
_CHECKPOINT_BYTES_MAX = 64 * _KIB
_VALUES_MAX = 1_000_000
"""In one document: an empty list of three bytes takes more than seventy when it is parsed."""
_ANCHOR_LINES_MAX = 1_000_000
_LINE_BYTES_MAX = 8 * _MIB
_PIECE_BYTES = _MIB
_DEPTH_MAX = 16
_EMPTY = hashlib.sha256(b"").digest()
_FRONT = struct.Struct(">BB32sQ16sQH")
_BACK = struct.Struct(">IIq")
_HEAD = struct.Struct(">Q32s32s64s")
_COMMITMENTS = 120
_PERIOD_DAY_US = 86_400_000_000
_KEPT_DAYS_MIN = 31
"""So long access records are kept at least, whatever the policy."""
_ALWAYS_HELD = 2
"""Every keyring holds the first so many epochs, the second one unless its keys were replaced."""
_AHEAD_MAX_US = 300_000_000
"""How far a time may lie ahead of this clock: hosts are never quite together."""
_NOTE_ED25519, _NOTE_COSIGNATURE, _NOTE_OTHER = b"\x01", b"\x04", b"\xff"
_TIME_STAMP = b"credledger/v1/rfc3161"
_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"
_STAMPED = re.compile(rb"\x18[\x0f-\x1f](\d{14})(?:\.\d{1,9})?Z")
"""A time within a time stamp, as DER has it."""
_DASH = "\u2014 "


class Damage(Exception):
    """Something in the pack does not hold."""

    def __init__(self, detail: str, position: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.position = position


class Unusable(Exception):
    """What was given cannot be read at all, or is no argument."""


@dataclass(slots=True)
class Report:
    """What was checked, and what came of it."""

    checks: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    stamps: Sequence[Stamp] = ()
    """Time stamps under heads of the log, for another program to check."""

    @property
    def ok(self) -> bool:
        """Whether everything that was checked holds."""
        return all(check["ok"] for check in self.checks)

    def holds(self, name: str, detail: str) -> None:
        """Note a check that holds."""
        self.checks.append({"name": name, "ok": True, "detail": detail})

    def fails(self, name: str, damage: Damage) -> None:
        """Note one that does not."""
        check = {"name": name, "ok": False, "detail": damage.detail}
        if damage.position is not None:
            check["position"] = damage.position
        self.checks.append(check)

    def as_document(self) -> dict[str, Any]:
        """The JSON shape."""
        return {"ok": self.ok, **self.facts, "checks": self.checks}


# The folder and its files


class Pack:
    """The files of a pack, opened with no more trust than they deserve."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise Unusable("There is no such folder.")
        self.folder = folder
        content = self._whole(MANIFEST, _MANIFEST_BYTES_MAX)
        self.digest = hashlib.sha256(content).hexdigest()
        self.manifest = _manifest(content)
        self.files: dict[str, dict[str, Any]] = {
            told["name"]: told for told in self.manifest["files"]
        }

    def check_files(self) -> None:
        """Each file is the one of the manifest, and there is no other."""
        for name in [path.name for path in self.folder.iterdir()]:
            known = name in self.files or name == MANIFEST
            if not known and not name.startswith("."):
                raise Damage(f"{name!a} is none of the pack's files")
        for name, told in self.files.items():
            digest = hashlib.sha256()
            with self.open(name) as file:
                fits = os.fstat(file.fileno()).st_size == told["bytes"]
                while fits and (piece := file.read(_PIECE_BYTES)):
                    digest.update(piece)
            if not fits or digest.hexdigest() != told["sha256"]:
                raise Damage(f"{name} is not the file that the manifest tells of")

    def open(self, name: str) -> BinaryIO:
        """A file for reading; only a plain one, which no link stands for."""
        path = self.folder / name
        # A pipe with a name would be waited for without end, and a link may lead anywhere.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise Damage(f"{name} is no plain file")
            descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise Damage(f"{name} is missing") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Damage(f"{name} is no plain file")
        return os.fdopen(descriptor, "rb", _PIECE_BYTES)

    def document(self, name: str) -> Any:
        """A file that is one JSON document."""
        return parsed(self._whole(name, _DOCUMENT_BYTES_MAX), name)

    def anchors(self) -> bytes:
        """The heads that were kept, if there are any; nothing of them is looked at."""
        return self._whole(ANCHORS, _DOCUMENT_BYTES_MAX) if ANCHORS in self.files else b""

    def checkpoint(self) -> str:
        """What is said to be the last head."""
        name = "checkpoint.txt"
        return as_text(self._whole(name, _CHECKPOINT_BYTES_MAX), name)

    def _whole(self, name: str, bytes_max: int) -> bytes:
        with self.open(name) as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise Damage(f"{name} is longer than any that is written")
        return content


def _manifest(content: bytes) -> dict[str, Any]:
    given = parsed(content, MANIFEST)
    more = {"time_stamps"} & set(given) if isinstance(given, dict) else set()
    told = _shaped(given, MANIFEST, {"files", "format", "ledger_id", "root", "size"} | more)
    if _number(told["format"], 0, MANIFEST) != 1 or not isinstance(told["files"], list):
        raise Damage("the manifest is of a format that is not known here")
    _hex(told["ledger_id"], 32, MANIFEST)
    _hex(told["root"], 32, MANIFEST)
    _number(told["size"], 1, MANIFEST)
    names = []
    for entry in told["files"]:
        _shaped(entry, MANIFEST, {"bytes", "name", "sha256"})
        _hex(entry["sha256"], 32, MANIFEST)
        _number(entry["bytes"], 0, MANIFEST)
        names.append(entry["name"])
    if not all(isinstance(name, str) for name in names) or names != sorted(set(names)):
        raise Damage("the manifest does not name each file once")
    if set(names) - {*REQUIRED, *OPTIONAL} or set(REQUIRED) - set(names):
        raise Damage("the manifest names other files than those of a pack")
    if len(set(ACCESS) & set(names)) == 1:
        raise Damage("the manifest names access records without commitments, or the other way")
    if bool(more) != (STAMP_ROOTS in names) or (more and ANCHORS not in names):
        raise Damage("the manifest tells of time stamps without anchors or roots, or the other way")
    if more:
        _stamps_told(told["time_stamps"])
    return told


def _stamps_told(told: Any) -> None:
    """What whoever made the pack says of time stamps, in form."""
    _shaped(told, MANIFEST, {"authority", "checked", "size", "stamped_at"})
    _number(told["checked"], 1, MANIFEST)
    _number(told["size"], 1, MANIFEST)
    at = told["stamped_at"]
    if not isinstance(told["authority"], str) or not isinstance(at, str):
        raise Damage("the manifest tells of time stamps in another form than the page's")
    if not re.fullmatch(_MOMENT, at, re.ASCII):
        raise Damage("the manifest tells of time stamps in another form than the page's")


def parsed(content: bytes, name: str) -> Any:
    """JSON without floats, without a key that comes twice, not too deep and not too much."""
    # Each value but the first has a sign before it. Beyond ASCII a text may take four times its
    # length; where that is allowed, lines are short.
    signs = sum(content.count(sign) for sign in (b",", b"[", b"{"))
    if signs >= _VALUES_MAX or (len(content) > _LINE_BYTES_MAX and not content.isascii()):
        raise Damage(f"{name} holds more than any that is written")
    try:
        return json.loads(
            content.decode(),
            object_pairs_hook=_once,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError) as error:
        raise Damage(f"{name} is not well formed") from error


def as_text(content: bytes, name: str) -> str:
    """UTF-8 text."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Damage(f"{name} is not text") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_float(text: str) -> Any:
    raise ValueError(text)


def _shaped(value: Any, name: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise Damage(f"{name} has another form than the page tells")
    return value


def _hex(value: Any, size: int, name: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value):
        raise Damage(f"{name} holds no {size} bytes in hex where the page tells of them")
    return bytes.fromhex(value)


def _number(value: Any, least: int, name: str) -> int:
    if type(value) is not int or not least <= value < 2**63:
        raise Damage(f"{name} holds no number where the page tells of one")
    return value


# The log: header, leaf, tree


class Row(NamedTuple):
    """What is in clear of one row, and its leaf."""

    position: int
    stream: bytes
    version: int
    topic: str
    epoch: int
    period: int
    recorded_at: int
    header: bytes
    sealed: bytes
    """SHA-256 of the sealed bytes."""
    leaf: bytes


def rows_of(file: BinaryIO, ledger: bytes) -> Iterator[Row]:
    """The rows of `rows.bin`, one after the other, none of them believed yet."""
    position = 0
    while prefix := file.read(2):
        position += 1
        length = int.from_bytes(prefix, "big")
        content = file.read(length + 32)
        if len(prefix) < 2 or len(content) < length + 32:
            raise Damage("rows.bin ends within a row", position)
        yield _row(content[:length], content[length:], ledger, position)


def _row(header: bytes, sealed: bytes, ledger: bytes, position: int) -> Row:
    if len(header) < _FRONT.size + _BACK.size:
        raise Damage("a header is too short", position)
    form, suite, whose, told, stream, version, length = _FRONT.unpack_from(header)
    if (form, suite, whose) != (1, 1, ledger):
        raise Damage("a header is of another format or ledger", position)
    if len(header) != _FRONT.size + length + _BACK.size:
        raise Damage("a header's topic is longer or shorter than told", position)
    epoch, period, recorded_at = _BACK.unpack_from(header, _FRONT.size + length)
    try:
        topic = header[_FRONT.size : _FRONT.size + length].decode("ascii")
    except UnicodeDecodeError as error:
        raise Damage("a topic is not ASCII", position) from error
    leaf = hashlib.sha256(b"\x00" + header + sealed).digest()
    return Row(told, stream, version, topic, epoch, period, recorded_at, header, sealed, leaf)


class Tree:
    """The Merkle tree of RFC 6962 as far as its right edge."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """One leaf more."""
        size, node = self.size, leaf
        while size & 1:
            node = hashlib.sha256(b"\x01" + self._edge.pop() + node).digest()
            size >>= 1
        self._edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._edge:
            return _EMPTY
        root = self._edge[-1]
        for node in self._edge[-2::-1]:
            root = hashlib.sha256(b"\x01" + node + root).digest()
        return root


class Months:
    """The UTC month of a time, worked out once for each day."""

    def __init__(self) -> None:
        self._day = -1
        self._month = 0

    def of(self, recorded_at: int) -> int:
        """YYYYMM; -1 for a time that no calendar has."""
        day = recorded_at // _PERIOD_DAY_US
        if day != self._day:
            try:
                at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
                self._month = at.year * 100 + at.month
            except OverflowError:
                self._month = -1
            self._day = day
        return self._month


# Who may sign


class Signer(NamedTuple):
    """One row of the table of signers."""

    key: bytes
    signer_class: str
    change: str
    from_size: int
    introduced_by: bytes
    signature: bytes


@dataclass(slots=True)
class Span:
    """The sizes that a key may sign, and what it did sign."""

    signer_class: str
    begin: int
    end: int | None = None
    heads: int = 0
    stream: bytes | None = None
    """Of an auditor: the one that it keeps to."""

    def may_sign(self, size: int) -> bool:
        """Whether a head of this size may be its."""
        return self.begin < size and (self.end is None or size <= self.end)


class Signers:
    """All rows of signers, each checked, and what they allow."""

    def __init__(self, ledger: bytes, salt: bytes, rows: Sequence[Signer]) -> None:
        self.ledger = ledger
        self._salt = salt
        self._rows = rows
        self._sizes = sorted(row.from_size for row in rows)
        self._digests: dict[int, bytes] = {}
        self.spans: dict[bytes, Span] = {}

    @property
    def resting(self) -> set[int]:
        """The sizes whose roots the signer rows are signed over."""
        return set(self._sizes) - {0}

    def check(self, roots: dict[int, bytes]) -> None:
        """Each was introduced by an operator who might sign the next head; the first by itself."""
        for row in self._rows:
            root = _EMPTY if row.from_size == 0 else roots.get(row.from_size)
            content = self._content(row)
            if root is None or not is_signed(row.introduced_by, row.signature, content + root):
                raise Damage("a signer's row is not signed by whom it names", row.from_size + 1)
            if not (self._fits(row) if self.spans else self._founds(row)):
                raise Damage("a signer was not introduced by an operator", row.from_size + 1)
            if row.change == "begin":
                self.spans[row.key] = Span(row.signer_class, row.from_size)
            else:
                self.spans[row.key].end = row.from_size
        if not self.spans:
            raise Damage("nobody may sign")

    def allowed(self, key: bytes, size: int) -> Span | None:
        """The key's span, if it may sign a head of this size."""
        span = self.spans.get(key)
        return span if span is not None and span.may_sign(size) else None

    def text(self, size: int, root: bytes) -> bytes:
        """What the signature of a head of this size signs."""
        lines = (
            origin(self.ledger),
            str(size),
            base64.b64encode(root).decode(),
            f"signers {self._digest(size).hex()}",
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def _founds(self, row: Signer) -> bool:
        named = hashlib.sha256(b"credledger/v1/ledger" + row.key + self._salt).digest()
        return (
            (row.signer_class, row.change, row.from_size) == ("operator", "begin", 0)
            and row.introduced_by == row.key
            and named == self.ledger
        )

    def _fits(self, row: Signer) -> bool:
        by = self.allowed(row.introduced_by, row.from_size + 1)
        if by is None or by.signer_class != "operator":
            return False
        held = self.spans.get(row.key)
        if row.change == "begin":
            return held is None
        return held is not None and held.end is None and held.signer_class == row.signer_class

    def _content(self, row: Signer) -> bytes:
        parts = (
            b"credledger/v1/signer",
            self.ledger,
            row.key,
            row.signer_class.encode(),
            row.change.encode(),
            row.from_size.to_bytes(8, "big"),
            row.introduced_by,
        )
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    def _digest(self, size: int) -> bytes:
        below = bisect_left(self._sizes, size)
        if below not in self._digests:
            digest = hashlib.sha256()
            for row in self._rows:
                if row.from_size < size:
                    digest.update(self._content(row) + row.signature)
            self._digests[below] = digest.digest()
        return self._digests[below]


def signers_of(pack: Pack) -> Signers:
    """What `ledger.json` tells; nothing of it is checked but its form."""
    name = "ledger.json"
    told = _shaped(pack.document(name), name, {"format", "id", "salt", "signers"})
    if _number(told["format"], 0, name) != 1 or not isinstance(told["signers"], list):
        raise Damage("the ledger is of a format that is not known here")
    keys = {"change", "class", "from_size", "introduced_by", "public_key", "signature"}
    rows = []
    for entry in told["signers"]:
        _shaped(entry, name, keys)
        # Compared, not looked up: somebody may have put a list there, which has no hash.
        if entry["class"] not in ("operator", "auditor") or entry["change"] not in ("begin", "end"):
            raise Damage("a signer's row has another form than the page tells")
        rows.append(
            Signer(
                _hex(entry["public_key"], 32, name),
                entry["class"],
                entry["change"],
                _number(entry["from_size"], 0, name),
                _hex(entry["introduced_by"], 32, name),
                _hex(entry["signature"], 64, name),
            )
        )
    return Signers(_hex(told["id"], 32, name), _hex(told["salt"], 16, name), rows)


def origin(ledger: bytes) -> str:
    """The first line of each head."""
    return f"credledger/{ledger.hex()}"


def is_signed(key: bytes, signature: bytes, text: bytes) -> bool:
    """Whether an Ed25519 signature holds."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


class Head(NamedTuple):
    """One signed head."""

    size: int
    root: bytes
    signer: bytes
    signature: bytes


def heads_of(file: BinaryIO) -> Iterator[Head]:
    """The heads of `heads.bin`, growing in size; none of them believed yet."""
    size = 0
    while content := file.read(_HEAD.size):
        if len(content) < _HEAD.size:
            raise Damage("heads.bin ends within a head", size + 1)
        head = Head(*_HEAD.unpack(content))
        if head.size <= size:
            raise Damage("heads.bin does not grow in size", head.size)
        size = head.size
        yield head


# Walking over the log


class Walk:
    """Every rule of the log's page, row by row and head by head."""

    def __init__(self, signers: Signers, watched: set[int]) -> None:
        """`watched` are sizes whose roots are wanted besides."""
        self.tree = Tree()
        self.roots: dict[int, bytes] = {}
        self.heads = 0
        self.topics: dict[str, int] = {}
        self.first_at = 0
        self.last_at = 0
        self.epoch = 1
        self.newest: Head | None = None
        self._signers = signers
        self._watched = watched
        self._versions: dict[bytes, int] = {}
        self._months = Months()
        self._since_head: tuple[bytes | None, bool] = (None, True)
        """The stream of all rows since the last head, or nothing once there are two; and whether
        all their topics begin with `audit.`."""

    def run(self, pack: Pack, records: Records | None) -> None:
        """Walk to the end; `Damage` at the first thing that does not hold."""
        with pack.open("rows.bin") as rows, pack.open("heads.bin") as heads:
            waiting = heads_of(heads)
            head = next(waiting, None)
            for row in rows_of(rows, self._signers.ledger):
                if head is None:
                    raise Damage("a row lies beyond the last head", row.position)
                self._row(row)
                if records is not None:
                    records.see(row)
                if head.size == self.tree.size:
                    self._head(head)
                    head = next(waiting, None)
            if head is not None:
                raise Damage("a row is missing", self.tree.size + 1)
        if self.tree.size == 0:
            raise Damage("the log has no rows at all", 1)

    def _row(self, row: Row) -> None:
        position = self.tree.size + 1
        if row.position != position:
            raise Damage("a row stands at another's position", position)
        if row.recorded_at <= self.last_at:
            raise Damage("a row's time does not grow", position)
        if row.period != self._months.of(row.recorded_at):
            raise Damage("a row's period is not its month", position)
        if row.epoch != self.epoch:
            raise Damage("a row is sealed under a wrong epoch", position)
        if row.version != self._versions.get(row.stream, 0) + 1:
            raise Damage("a stream lacks a row", position)
        self._versions[row.stream] = row.version
        self.first_at = self.first_at or row.recorded_at
        self.last_at = row.recorded_at
        self.epoch += row.topic == "epoch.started" and position > 1
        self.topics[row.topic] = self.topics.get(row.topic, 0) + 1
        stream, is_audit = self._since_head
        first = position == (0 if self.newest is None else self.newest.size) + 1
        self._since_head = (
            row.stream if first or stream == row.stream else None,
            is_audit and row.topic.startswith("audit."),
        )
        self.tree.append(row.leaf)
        if position in self._watched:
            self.roots[position] = self.tree.root()

    def _head(self, head: Head) -> None:
        if self.tree.root() != head.root:
            raise Damage("a head's root is not that of its rows", head.size)
        span = self._signers.allowed(head.signer, head.size)
        text = self._signers.text(head.size, head.root)
        if span is None or not is_signed(head.signer, head.signature, text):
            raise Damage("a head is not signed by one who may", head.size)
        if span.signer_class == "auditor":
            self._auditors(span, head)
        span.heads += 1
        self.heads += 1
        self.newest = head
        self._since_head = (None, True)

    def _auditors(self, span: Span, head: Head) -> None:
        stream, is_audit = self._since_head
        if span.stream is None and stream not in {one.stream for one in self._auditors_spans()}:
            span.stream = stream
        if not is_audit or stream is None or stream != span.stream:
            raise Damage("an auditor signed what only an operator may", head.size)

    def _auditors_spans(self) -> Iterator[Span]:
        return (one for one in self._signers.spans.values() if one.signer_class == "auditor")


def claimed_roots(pack: Pack, sizes: set[int]) -> dict[int, bytes]:
    """The roots of heads of these sizes, as they are told; the walk shows whether they are true."""
    with pack.open("heads.bin") as file:
        return {head.size: head.root for head in heads_of(file) if head.size in sizes}


# Opened access records


class Held:
    """The epochs whose keys whoever made the pack had, and those whose keys he says he lacked.

    Nobody lacks any but the newest: a keyring comes to hold one epoch after the other, begins with
    the first two, and loses none of their `state` keys.
    """

    def __init__(self) -> None:
        self._newest = 0
        self._lacked: int | None = None
        self._always = _ALWAYS_HELD

    def see(self, row: Row) -> None:
        """Keys of the second epoch that were replaced may be held by nobody who packs."""
        if row.topic == "epoch.replaced" and row.epoch < self._always:
            self._always = row.epoch

    def holds(self, epoch: int) -> None:
        """Something was opened with this epoch's keys, or they are told of as destroyed."""
        if self._lacked is not None and epoch >= self._lacked:
            raise Damage("keys are said to be lacking, and those of that epoch or a later one not")
        self._newest = max(self._newest, epoch)

    def lacks(self, epoch: int) -> None:
        """Something stays closed because this epoch's keys were lacking."""
        if epoch <= self._always:
            raise Damage("keys are said to be lacking that every keyring of the ledger holds")
        if epoch <= self._newest:
            raise Damage("keys are said to be lacking that something else was opened with")
        self._lacked = epoch if self._lacked is None else min(self._lacked, epoch)


class Erasures:
    """Records that are told of as closed for good, and the erasures that can have closed them.

    An erasure takes the keys of whole months, of all epochs, the oldest first; the month must have
    ended 31 days ago. How far one reached is sealed, so what it can have closed is no proof.
    """

    def __init__(self) -> None:
        self.closed: dict[int, int] = {}
        """How many records of each month."""
        self._months = Months()
        self._reach = 0
        """Months before this one can have been erased by what the log tells."""
        self._before: Row | None = None

    def see(self, row: Row) -> None:
        """Whether this row tells of an erasure: only behind one that names keys does it."""
        before, self._before = self._before, row
        if row.topic != "history.erased" or before is None:
            return
        if (before.topic, before.stream) == ("keys.destroying", row.stream):
            self._reach = self._erasable_at(row.recorded_at)

    def close(self, row: Row, opened: Row | None) -> None:
        """This record is told of as erased; the last that was opened before it, if any."""
        if opened is not None:
            raise Damage("a record is said to be erased, and one before it is not")
        self.closed[row.period] = self.closed.get(row.period, 0) + 1

    def open(self, row: Row) -> None:
        """This record is opened."""
        if row.period in self.closed:
            raise Damage("a record is opened, and one of its month is said to be erased")

    def judge(self, now_us: int) -> None:
        """`Damage` where a month is too young to have been erased by anybody until now."""
        if any(month >= max(self._reach, self._erasable_at(now_us)) for month in self.closed):
            raise Damage("a record is said to be erased that is too young for it")

    @property
    def counted(self) -> tuple[int, int]:
        """How many an erasure in the log can have closed, and how many none in it can have."""
        within = sum(many for month, many in self.closed.items() if month < self._reach)
        return within, sum(self.closed.values()) - within

    def _erasable_at(self, moment_us: int) -> int:
        return self._months.of(moment_us - _KEPT_DAYS_MIN * _PERIOD_DAY_US)


class Commitments:
    """What `commitments.json` tells of each start of an epoch; a pack does not prove the hashes."""

    def __init__(self, pack: Pack, held: Held) -> None:
        self.epochs: set[int] = set()
        self.damage: Damage | None = None
        self._held = held
        self._told: dict[int, list[dict[str, Any]]] = {}
        self._newest: dict[int, dict[str, Any]] = {}
        try:
            for entry in _commitments_of(pack):
                self._told.setdefault(entry["position"], []).append(entry)
                self.epochs.add(entry["epoch"])
        except Damage as damage:
            self.damage = damage

    def see(self, row: Row) -> None:
        """What is told of a row that commits to keys must be told of these epochs, and fit."""
        if self.damage is None and row.topic in ("epoch.started", "epoch.replaced"):
            try:
                self._see(row, self._told.pop(row.position, []))
            except Damage as damage:
                self.damage = Damage(damage.detail, row.position)

    def finish(self) -> None:
        """`Damage` where something did not fit, or is told of a row that commits to nothing."""
        if self.damage is None and self._told:
            detail = "commitments.json tells of an epoch where the log starts none"
            self.damage = Damage(detail, min(self._told))
        if self.damage is not None:
            raise self.damage

    def _see(self, row: Row, told: Sequence[dict[str, Any]]) -> None:
        if not told:
            self._held.lacks(row.epoch)
            return
        self._held.holds(row.epoch)
        following = 1 if row.position == 1 else row.epoch + 1
        starts = row.topic == "epoch.started"
        wanted = [following, following + 1] if starts else [following]
        if [entry["epoch"] for entry in told] != wanted:
            raise Damage("commitments.json tells of other epochs than the log's row does")
        if starts and row.position > 1 and not _same(told[0], self._newest.get(following)):
            raise Damage("commitments.json tells two things of one epoch's keys")
        self._newest = {entry["epoch"]: entry for entry in told}


def _commitments_of(pack: Pack) -> list[dict[str, Any]]:
    name = "commitments.json"
    listed = pack.document(name)
    if not isinstance(listed, list):
        raise Damage("commitments.json has another form than the page tells")
    for entry in listed:
        _shaped(entry, name, {"access", "epoch", "position", "secret", "state"})
        _number(entry["epoch"], 1, name)
        _number(entry["position"], 1, name)
        if not isinstance(entry["access"], list) or len(entry["access"]) != _COMMITMENTS:
            raise Damage("commitments.json has another form than the page tells")
        for value in (entry["state"], entry["secret"], *entry["access"]):
            _hex(value, 32, name)
    return listed


def _same(one: dict[str, Any], other: dict[str, Any] | None) -> bool:
    """Whether two entries commit to the same keys; nothing contradicts where there is no other."""
    return other is None or all(one[key] == other[key] for key in ("access", "secret", "state"))


class Records:
    """The access records of a pack, opened one by one as the rows pass."""

    def __init__(self, file: BinaryIO, commitments: Commitments, held: Held) -> None:
        self.opened = 0
        self.lacking = 0
        """How many are closed because keys were lacking."""
        self.erasures = Erasures()
        self.commitments = commitments
        self.damage: Damage | None = None
        self._file = file
        self._held = held
        self._last: Row | None = None
        """The newest that was opened."""
        self._keys: dict[bytes, tuple[int, int, bytes]] = {}
        """Of each stream: epoch, month, and the key that opened its last record."""

    def see(self, row: Row) -> None:
        """The next row of the log: if it is an access record, the next line must be of it."""
        self._held.see(row)
        self.erasures.see(row)
        self.commitments.see(row)
        if row.topic.startswith("access."):
            self.take(row)

    def take(self, row: Row) -> None:
        """The next line must be of this row; the first that is not ends the check."""
        if self.damage is None:
            try:
                self._take(row)
            except Damage as damage:
                self.damage = Damage(damage.detail, row.position)

    def finish(self, now_us: int) -> None:
        """`Damage` if a record did not hold, or if one is left over."""
        if self.damage is None and self._file.read(1):
            self.damage = Damage("access.jsonl tells of more records than the log has")
        if self.damage is not None:
            raise self.damage
        self.erasures.judge(now_us)

    @property
    def closed(self) -> dict[str, int]:
        """How many are closed, by why."""
        within, later = self.erasures.counted
        return {
            "key-destroyed": within,
            "key-destroyed-later": later,
            "key-missing": self.lacking,
        }

    def told(self) -> str:
        """What came of it, in words."""
        within, later = self.erasures.counted
        why = (
            (within, "key-destroyed, which an erasure in the log allows"),
            (later, "key-destroyed after the end of this log"),
            (self.lacking, "key-missing"),
        )
        said = ", ".join(f"{many} {what}" for many, what in why if many)
        many = within + later + self.lacking
        closed = f"; {many} closed on the word of whoever made the pack: {said}" if many else ""
        return f"{self.opened} records opened from the log's own rows{closed}"

    def _take(self, row: Row) -> None:
        line = self._file.readline(_LINE_BYTES_MAX + 1)
        if not line.endswith(b"\n") or len(line) > _LINE_BYTES_MAX:
            raise Damage("access.jsonl lacks a record, or ends within one")
        told = parsed(line, "access.jsonl")
        if not isinstance(told, dict) or told.get("position") != row.position:
            raise Damage("access.jsonl tells of another record than the log's next")
        if set(told) == {"position", "unopened"}:
            self._close(row, told["unopened"])
            return
        _shaped(told, "access.jsonl", {"key", "position", "record", "sealed"})
        key = _hex(told["key"], 32, "access.jsonl")
        plain = unsealed(row, key, _base64(told["sealed"]))
        if canonical(unpacked(plain)) != canonical(told["record"]):
            raise Damage("what is told of a record is not what is sealed in the log")
        self._open(row, key)

    def _open(self, row: Row, key: bytes) -> None:
        self._held.holds(row.epoch)
        self.erasures.open(row)
        ours = (row.epoch, row.period, key)
        before = self._keys.get(row.stream)
        if before is not None and before[:2] == ours[:2] and before != ours:
            raise Damage("records of one stream and month are opened with two keys")
        self._keys[row.stream] = ours
        self._last = row
        self.opened += 1

    def _close(self, row: Row, why: Any) -> None:
        if why == "key-missing":
            self._held.lacks(row.epoch)
            self.lacking += 1
        elif why == "key-destroyed":
            self._held.holds(row.epoch)
            self.erasures.close(row, self._last)
        else:
            raise Damage("a record is left closed for no reason that is known")


def unsealed(row: Row, key: bytes, sealed: bytes) -> bytes:
    """What is sealed in a row."""
    if hashlib.sha256(sealed).digest() != row.sealed:
        raise Damage("sealed bytes are not those of the log's row")
    associated = row.header[:34] + row.header[42:-8]
    try:
        text = AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    except (InvalidTag, ValueError) as error:
        raise Damage("a record does not open with its key") from error
    length = int.from_bytes(text[:4], "big")
    if len(text) % 64 or length > len(text) - 4 or any(text[4 + length :]):
        raise Damage("a record is padded otherwise than the page tells")
    return text[4 : 4 + length]


def canonical(value: Any) -> str:
    """One text for each value, so that `1` and `true` differ."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise Damage("a record holds something that is no record's") from error


def unpacked(content: bytes) -> Any:
    """The one msgpack value that these bytes are."""
    reader = _Msgpack(content)
    value = reader.value(0)
    if reader.at != len(content):
        raise Damage("a record has something behind its end")
    return value


class _Msgpack:
    """Reads nil, booleans, integers, text, bytes, arrays and maps, which is all that is written."""

    def __init__(self, content: bytes) -> None:
        self.at = 0
        self._content = content

    def value(self, depth: int) -> Any:
        """The next value; bytes come as `{"base64": ...}`."""
        if depth > _DEPTH_MAX:
            raise Damage("a record is nested too deeply")
        kind = self._take(1)[0]
        if kind < 0x80 or kind >= 0xE0:
            return kind if kind < 0x80 else kind - 256
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if 0xCC <= kind <= 0xCF:
            return self._integer(1 << kind - 0xCC)
        if 0xD0 <= kind <= 0xD3:
            return self._integer(1 << kind - 0xD0, signed=True)
        if kind < 0x90 or kind in {0xDE, 0xDF}:
            return self._map(kind & 15 if kind < 0x90 else self._integer(2 << kind - 0xDE), depth)
        if kind < 0xA0 or kind in {0xDC, 0xDD}:
            many = kind & 15 if kind < 0xA0 else self._integer(2 << kind - 0xDC)
            return [self.value(depth + 1) for _ in range(self._possible(many))]
        if kind < 0xC0 or 0xD9 <= kind <= 0xDB:
            length = kind & 31 if kind < 0xC0 else self._integer(1 << kind - 0xD9)
            return as_text(self._take(length), "a record")
        if 0xC4 <= kind <= 0xC6:
            content = self._take(self._integer(1 << kind - 0xC4))
            return {"base64": base64.b64encode(content).decode()}
        raise Damage("a record holds something that is no record's")

    def _map(self, many: int, depth: int) -> dict[str, Any]:
        found = {}
        for _ in range(self._possible(many)):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in found:
                raise Damage("a record holds something that is no record's")
            found[key] = self.value(depth + 1)
        return found

    def _possible(self, many: int) -> int:
        if many > len(self._content) - self.at:
            raise Damage("a record ends too early")
        return many

    def _integer(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(length), "big", signed=signed)

    def _take(self, length: int) -> bytes:
        self._possible(length)
        self.at += length
        return self._content[self.at - length : self.at]


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def _base64(value: Any) -> bytes:
    """The bytes of canonical base64: one text for each."""
    try:
        content = base64.b64decode(value, validate=True)
    except (TypeError, ValueError) as error:
        raise Damage("something is not base64 where the page tells of it") from error
    if base64.b64encode(content).decode() != value:
        raise Damage("something is not base64 where the page tells of it")
    return content


# Anchors: heads that somebody kept


class Stamp(NamedTuple):
    """An authority's answer under a head of this log, by RFC 3161; not judged here."""

    size: int
    authority: str
    text: bytes
    response: bytes

    def tells(self, moment: str) -> bool:
        """Whether this time stands in it, to the second; that it is *the* time is not looked at."""
        wanted = re.sub(r"\D", "", moment[:19]).encode()
        return any(found[1] == wanted for found in _STAMPED.finditer(self.response))


@dataclass(frozen=True, slots=True)
class Anchor:
    """A signed note of a head, with all its signature lines."""

    text: str
    size: int
    lines: tuple[tuple[str, bytes], ...]
    """Of each signature: the name, and the decoded rest."""

    @property
    def is_plain(self) -> bool:
        """Whether all lines say that they are the log's own: whoever kept it expected no more."""
        return all(self.text.startswith(f"{name}\n") for name, _ in self.lines)

    def time_stamps(self) -> Iterator[Stamp]:
        """The lines that say that they are an authority's."""
        for name, content in self.lines:
            if content[:4] == note_hash(name, _NOTE_OTHER, _TIME_STAMP):
                yield Stamp(self.size, name, self.text.encode(), content[4:])


def anchors_of(content: bytes) -> tuple[list[Anchor], int]:
    """The notes in a file, one after the other, and how many pieces are of another kind."""
    found: list[Anchor] = []
    others = 0
    if content.count(b"\n") > _ANCHOR_LINES_MAX:
        raise Damage("there are more anchors than are looked at")
    content = content.strip(b"\n")
    for piece in re.split(rb"\n(?=credledger/)", content) if content else ():
        text = as_text(piece, "a file of anchors")
        if not text.startswith("credledger/"):
            others += 1
            continue
        body, _, behind = text.partition("\n\n")
        told = list(takewhile(lambda line: line.startswith(_DASH), behind.split("\n")))
        found.append(_anchor(body, told))
        others += bool("".join(behind.split("\n")[len(told) :]))
    return found, others


def _anchor(body: str, signatures: Sequence[str]) -> Anchor:
    """The note of a log; one that was cut or altered is not passed over as something else."""
    lines = body.split("\n")
    if len(lines) != 4 or not re.fullmatch(r"[1-9][0-9]{0,18}", lines[1]) or not signatures:
        raise Damage("an anchor is not well formed")
    return Anchor(f"{body}\n", int(lines[1]), tuple(_signature(line) for line in signatures))


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).rpartition(" ")
    return name, _base64(encoded)


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody whose cosignatures count, by a C2SP verifier key `NAME+HASH+BASE64`."""

    name: str
    key: bytes

    @property
    def key_hash(self) -> bytes:
        """Four bytes that its signature lines begin with."""
        return note_hash(self.name, _NOTE_COSIGNATURE, self.key)

    def cosigned_at(self, anchor: Anchor, now_us: int) -> int | None:
        """When it cosigned, in seconds since 1970; None if it did not.

        `Damage` where that does not hold, or has not come yet.
        """
        for name, content in anchor.lines:
            if name == self.name and content[:4] == self.key_hash:
                at = int.from_bytes(content[4:12], "big")
                text = f"cosignature/v1\ntime {at}\n{anchor.text}".encode()
                if len(content) != 76 or not is_signed(self.key, content[12:], text):
                    raise Damage(f"a cosignature of {self.name!a} does not hold", anchor.size)
                if at * 1_000_000 > now_us + _AHEAD_MAX_US:
                    moment = as_time(at * 1_000_000)
                    detail = f"a cosignature of {self.name!a} is dated in the future: {moment}"
                    raise Damage(detail, anchor.size)
                return at
        return None


def witness(text: str) -> Witness:
    """The witness of a verifier key."""
    name, _, rest = text.partition("+")
    told, _, encoded = rest.partition("+")
    try:
        content = base64.b64decode(encoded, validate=True)
        found = Witness(name, content[1:])
        fits = (content[:1], len(content), found.key_hash.hex()) == (_NOTE_COSIGNATURE, 33, told)
    except ValueError as error:  # of base64, or of a name that is no text
        raise Unusable("A witness is given as NAME+HASH+KEY.") from error
    if not fits:
        raise Unusable("A witness is given as NAME+HASH+KEY.")
    return found


def note_hash(name: str, kind: bytes, key: bytes) -> bytes:
    """The key hash of a signed note."""
    return hashlib.sha256(name.encode() + b"\n" + kind + key).digest()[:4]


class Anchors:
    """Kept heads, compared with the tree."""

    def __init__(self, content: bytes, witnesses: Sequence[Witness]) -> None:
        self._notes, self._others = anchors_of(content)
        self._witnesses = witnesses
        self.newest: int | None = None
        self.cosigned: tuple[int, int] | None = None
        """The size of the newest head that a named witness cosigned, and when."""
        self.stamps: list[Stamp] = []
        """Under heads that agree."""
        self.goes_on_to: int | None = None
        """The size of the largest head beyond the pack that is signed by its keys or a witness."""

    @property
    def sizes(self) -> set[int]:
        """The sizes whose roots are to be compared."""
        return {note.size for note in self._notes}

    @property
    def others(self) -> str:
        """How many pieces are no notes of a log, to be said behind something else."""
        return f"; {self._others} of a kind not known here" if self._others else ""

    def check(self, signers: Signers, roots: dict[int, bytes], size: int, now_us: int) -> str:
        """What they show; `Damage` where one is not of this log."""
        beyond = uncounted = 0
        for note in self._notes:
            if note.text.partition("\n")[0] != origin(signers.ledger):
                raise Damage("an anchor is of another ledger", note.size)
            signed_at = (one.cosigned_at(note, now_us) for one in self._witnesses)
            cosigned = [at for at in signed_at if at is not None]
            if note.size > size:
                beyond += 1
                self._see_beyond(note, signers, cosigned=bool(cosigned))
                continue
            if note.text.encode() != signers.text(note.size, roots[note.size]):
                raise Damage("an anchor is of another log than this one", note.size)
            claimed, holds = self._signed(note, signers)
            if not holds and (claimed or not (cosigned or self._is_others(note))):
                raise Damage("an anchor is not signed by one who may", note.size)
            if cosigned or note.is_plain:
                self.newest = max(self.newest or 0, note.size)
            else:
                uncounted += 1
            for at in cosigned:
                self.cosigned = max(self.cosigned or (0, 0), (note.size, at))
            self.stamps += note.time_stamps()
        return self._told(beyond, uncounted)

    def _told(self, beyond: int, uncounted: int) -> str:
        agreeing = len(self._notes) - beyond
        detail = f"{agreeing} of {len(self._notes)} lie within the pack and agree"
        if self.newest is not None:
            detail += f", the newest at size {self.newest}"
        if uncounted:
            detail += f"; {uncounted} not counted: of witnesses or authorities not checked here"
        if self.cosigned is not None:
            moment = as_time(self.cosigned[1] * 1_000_000)
            detail += f"; witnessed up to size {self.cosigned[0]}, {moment}"
        if self.goes_on_to is not None:
            detail += f"; the log goes on behind this pack, to size {self.goes_on_to} at least"
        return detail + self.others

    def _see_beyond(self, note: Anchor, signers: Signers, *, cosigned: bool) -> None:
        """It shows that there is more of the log where a key that is known here has signed it.

        By a key that came later it may be as well; that one is not in the pack.
        """
        claimed, holds = self._signed(note, signers)
        if claimed and not holds:
            raise Damage("an anchor is not signed by one who may", note.size)
        if holds or cosigned:
            self.goes_on_to = max(self.goes_on_to or 0, note.size)

    def _signed(self, note: Anchor, signers: Signers) -> tuple[bool, bool]:
        """Whether it says that a key of the log signed it, and whether one did that may.

        Where it says nothing of the kind, others stand for it; who named none of them has not
        checked it, and it does not count.
        """
        name, claimed = origin(signers.ledger), False
        for key, span in signers.spans.items():
            told = note_hash(name, _NOTE_ED25519, key)
            for of, content in note.lines:
                if of == name and content[:4] == told:
                    claimed = True
                    if span.may_sign(note.size) and is_signed(key, content[4:], note.text.encode()):
                        return True, True
        return claimed, False

    def _is_others(self, note: Anchor) -> bool:
        return all(not note.text.startswith(f"{of}\n") for of, _ in note.lines)


def check_time_stamps(pack: Pack, stamps: Sequence[Stamp], now_us: int) -> str:
    """That those are there which the manifest tells of; whether they hold is not looked at."""
    told = pack.manifest.get("time_stamps")
    detail = f"{len(stamps)}, which this program does not check; --time-stamps lays them out"
    if told is None:
        return detail
    there = [
        one for one in stamps if (one.size, one.authority) == (told["size"], told["authority"])
    ]
    if told["checked"] > len(stamps) or not there:
        raise Damage("the manifest tells of a time stamp that is not there", told["size"])
    if told["stamped_at"] > as_time(now_us + _AHEAD_MAX_US):
        raise Damage("the manifest tells of a time stamp of the future", told["size"])
    if not any(one.tells(told["stamped_at"]) for one in there):
        raise Damage("the manifest tells another time than the time stamp", told["size"])
    by = f"{told['authority']!a} at {told['stamped_at']}"
    return f"{detail}; the giver's word: of size {told['size']} by {by}"


def lay_out(stamps: Sequence[Stamp], folder: Path, pack: Path) -> list[dict[str, Any]]:
    """Write each with the text that it stamps into a new folder, for OpenSSL; what to ask it there.

    Without any there is no folder.
    """
    if folder.resolve().is_relative_to(pack.resolve()):
        raise Unusable("Time stamps are laid out outside of the pack, which they are no part of.")
    if not stamps:
        return []
    try:
        folder.mkdir()
        return [_laid(stamp, folder / str(number)) for number, stamp in enumerate(stamps, 1)]
    except OSError as error:
        raise Unusable(
            "Time stamps are laid out in a new folder, and none can be there."
        ) from error


def _laid(stamp: Stamp, place: Path) -> dict[str, Any]:
    text, response = place.with_suffix(".txt"), place.with_suffix(".tsr")
    text.write_bytes(stamp.text)
    response.write_bytes(stamp.response)
    # Of names in that folder: its own may be none that a shell or a terminal takes as it is.
    command = f"openssl ts -verify -data {text.name} -in {response.name} -CAfile ROOT.pem"
    return {"size": stamp.size, "authority": stamp.authority, "command": command}


# The whole


def verify(
    folder: Path,
    *,
    pinned: bytes | None = None,
    anchors: bytes = b"",
    witnesses: Sequence[Witness] = (),
    now_us: int | None = None,
) -> Report:
    """Check a pack; whatever does not hold is in the report, never raised.

    `now_us` is this machine's clock unless told, in microseconds.
    """
    report = Report()
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    try:
        pack = Pack(folder)
        signers = signers_of(pack)
    except Damage as damage:
        report.fails("files", damage)
        return report
    try:
        pack.check_files()
        report.holds("files", f"{len(pack.files)}, as the manifest tells")
    except Damage as damage:
        report.fails("files", damage)
    _check_id(report, pack, signers, pinned)
    try:
        notes = Anchors(b"\n".join((pack.anchors(), anchors)), witnesses)
    except Damage as damage:
        report.fails("anchors", damage)
        notes = Anchors(b"", witnesses)
    walk = Walk(signers, notes.sizes)
    records = _check_log(report, pack, signers, walk, now_us)
    if walk.newest is not None and report.ok:
        _check_anchors(report, signers, walk, notes, now_us)
        if report.ok and (notes.stamps or "time_stamps" in pack.manifest):
            _check_stamps(report, pack, notes.stamps, now_us)
    report.facts |= _facts(pack, signers, walk, notes, records)
    report.facts["pinned"] = pinned is not None
    return report


def _check_id(report: Report, pack: Pack, signers: Signers, pinned: bytes | None) -> None:
    if pack.manifest["ledger_id"] != signers.ledger.hex():
        report.fails("ledger-id", Damage("the manifest names another ledger"))
    elif pinned is None:
        report.holds("ledger-id", "not pinned: compare it with the one that was written down")
    elif pinned == signers.ledger:
        report.holds("ledger-id", "is the pinned one")
    else:
        report.fails("ledger-id", Damage("is not the pinned one"))


def _check_log(
    report: Report, pack: Pack, signers: Signers, walk: Walk, now_us: int
) -> Records | None:
    """The records that the pack opens, if it does and they could be read."""
    try:
        signers.check(claimed_roots(pack, signers.resting))
        report.holds("signers", f"{len(signers.spans)}, each introduced by an operator")
    except Damage as damage:
        report.fails("signers", damage)
        return None
    if ACCESS[0] not in pack.files:
        _check_rows(report, pack, signers, walk, None)
        return None
    try:
        file = pack.open(ACCESS[0])
    except Damage as damage:
        report.fails("access", damage)
        return None
    held = Held()
    with file:
        records = Records(file, Commitments(pack, held), held)
        if _check_rows(report, pack, signers, walk, records):
            _check_records(report, records, max(now_us + _AHEAD_MAX_US, walk.last_at))
    return records


def _check_rows(
    report: Report, pack: Pack, signers: Signers, walk: Walk, records: Records | None
) -> bool:
    try:
        walk.run(pack, records)
        _check_end(pack, signers, walk)
    except Damage as damage:
        report.fails("log", damage)
        return False
    report.holds("log", f"{walk.tree.size} rows, each under one of {walk.heads} signed heads")
    return True


def _check_end(pack: Pack, signers: Signers, walk: Walk) -> None:
    head = walk.newest
    assert head is not None
    if (pack.manifest["size"], pack.manifest["root"]) != (head.size, head.root.hex()):
        raise Damage("the manifest's head is not the last one", head.size)
    if pack.checkpoint() != _note(signers, head):
        raise Damage("checkpoint.txt is not the last head", head.size)


def _check_records(report: Report, records: Records, now_us: int) -> None:
    try:
        records.finish(now_us)
        report.holds("access", records.told())
    except Damage as damage:
        report.fails("access", damage)
    try:
        records.commitments.finish()
        epochs = len(records.commitments.epochs)
        report.holds("commitments", f"told for {epochs} epochs; a pack does not prove them")
    except Damage as damage:
        report.fails("commitments", damage)


def _check_anchors(
    report: Report, signers: Signers, walk: Walk, notes: Anchors, now_us: int
) -> None:
    if not notes.sizes:
        none = "none: that the log did not go on is not shown"
        report.holds("anchors", none + notes.others)
        return
    try:
        report.holds("anchors", notes.check(signers, walk.roots, walk.tree.size, now_us))
    except Damage as damage:
        report.fails("anchors", damage)


def _check_stamps(report: Report, pack: Pack, stamps: Sequence[Stamp], now_us: int) -> None:
    try:
        report.holds("time-stamps", check_time_stamps(pack, stamps, now_us))
        report.stamps = stamps
    except Damage as damage:
        report.fails("time-stamps", damage)


def _note(signers: Signers, head: Head) -> str:
    name, text = origin(signers.ledger), signers.text(head.size, head.root).decode()
    key_hash = note_hash(name, _NOTE_ED25519, head.signer)
    return f"{text}\n{_DASH}{name} {base64.b64encode(key_hash + head.signature).decode()}\n"


def _facts(
    pack: Pack, signers: Signers, walk: Walk, notes: Anchors, records: Records | None
) -> dict[str, Any]:
    """What is told besides the checks; of the part that was walked over without damage."""
    return {
        "digest": pack.digest,
        "ledger_id": signers.ledger.hex(),
        "size": walk.tree.size,
        "root": walk.tree.root().hex(),
        "anchored_to": notes.newest,
        "witnessed_to": None if notes.cosigned is None else notes.cosigned[0],
        "goes_on_to": notes.goes_on_to,
        "first_at": as_time(walk.first_at) if walk.first_at else None,
        "last_at": as_time(walk.last_at) if walk.last_at else None,
        "epochs": walk.epoch,
        "heads": walk.heads,
        "topics": dict(sorted(walk.topics.items())),
        "signers": [
            {
                "public_key": key.hex(),
                "class": span.signer_class,
                "from": span.begin + 1,
                "to": span.end,
                "heads": span.heads,
            }
            for key, span in signers.spans.items()
        ],
        "with_access": ACCESS[0] in pack.files,
        "opened": None if records is None else records.opened,
        "closed": None if records is None else records.closed,
        "time_stamps": len(notes.stamps),
    }


def as_time(microseconds: int) -> str:
    """RFC 3339 in UTC."""
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return "a time beyond all calendars"
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def printed(report: Report) -> str:
    """The report for people."""
    lines = []
    for check in report.checks:
        place = f" (position {check['position']})" if "position" in check else ""
        mark = "holds" if check["ok"] else "FAILS"
        lines.append(f"{mark}  {check['name']}: {check['detail']}{place}")
    facts = report.facts
    if facts:
        lines += [
            "",
            f"digest     {facts['digest']}",
            f"ledger id  {facts['ledger_id']}",
            f"size       {facts['size']}",
            f"root       {facts['root']}",
            f"recorded   {facts['first_at']} to {facts['last_at']}",
            f"epochs     {facts['epochs']}",
        ]
        for one in facts["signers"]:
            until = "on" if one["to"] is None else f"to {one['to']}"
            lines.append(f"signer     {one['public_key']}")
            heads = f"{one['class']}, {one['heads']} heads"
            lines.append(f"           {heads}, from position {one['from']} {until}")
        lines += [f"rows       {many:8} {topic}" for topic, many in facts["topics"].items()]
    if facts.get("laid_out") == []:
        lines += ["", "There are no time stamps, so nothing was laid out."]
    elif "laid_out" in facts:
        lines += [
            "",
            "Time stamps, each with the question for OpenSSL, to be asked in their folder;",
            "ROOT.pem is the root that the authority itself publishes:",
        ]
        lines += [_asking(one) for one in facts["laid_out"]]
    lines += ["", *(_limits(facts) if report.ok else ())]
    lines += ["This pack holds." if report.ok else "THIS PACK DOES NOT HOLD."]
    return "\n".join(_spelled(line) for line in lines)


def _limits(facts: dict[str, Any]) -> Iterator[str]:
    """What nobody should take the verdict to say."""
    attempts = sum(many for topic, many in facts["topics"].items() if topic.startswith("access."))
    closed = sum((facts["closed"] or {}).values())
    if attempts and not facts["with_access"]:
        yield f"None of its {attempts} access records is opened in it."
    if closed:
        yield f"Of its {attempts} access records {closed} are closed, and why is the giver's word."
    if facts["goes_on_to"] is not None:
        yield f"The log goes on behind it, to size {facts['goes_on_to']} at least."


def _asking(laid: dict[str, Any]) -> str:
    return f"size {laid['size']}, {laid['authority']!a}: {laid['command']}"


def _spelled(line: str) -> str:
    """One line of printable ASCII: a topic or a name may hold what moves a terminal's cursor."""
    return "".join(one if one.isascii() and one.isprintable() else ascii(one)[1:-1] for one in line)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Check a pack of a credledger log, offline.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--ledger-id", metavar="ID", help="as written down when it was made")
    parser.add_argument("--anchors", metavar="FILE", type=Path, help="heads that somebody kept")
    parser.add_argument("--witness", metavar="KEY", action="append", default=[])
    parser.add_argument(
        "--time-stamps", metavar="NEW-DIR", type=Path, help="lay them out there, for OpenSSL"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    try:
        report = verify(
            _folder(given.folder),
            pinned=_pinned(given.ledger_id) if given.ledger_id else None,
            anchors=_kept(given.anchors) if given.anchors else b"",
            witnesses=[witness(text) for text in given.witness],
        )
        if given.time_stamps is not None and report.ok:
            report.facts["laid_out"] = lay_out(report.stamps, given.time_stamps, given.folder)
    except (Unusable, OSError) as error:
        told = str(error) if isinstance(error, Unusable) else "The pack cannot be read."
        sys.stderr.write(f"{told}\n")
        return UNUSABLE
    document = json.dumps(report.as_document(), indent=2)
    sys.stdout.write(f"{document if given.json else printed(report)}\n")
    return HOLDS if report.ok else BROKEN


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise Unusable("There is no folder there: name the one that the pack is in.")
    # This file lies beside other things too; a pack that lost its manifest still has the rest.
    if not any(os.path.lexists(path / name) for name in _TELLING):
        raise Unusable("There is no pack in that folder: nothing that a pack consists of is there.")
    return path


def _pinned(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise Unusable("A ledger id is 64 hexadecimal digits.")
    return bytes.fromhex(text)


def _kept(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise Unusable("The file of anchors cannot be read.") from error
    if len(content) > _DOCUMENT_BYTES_MAX:
        raise Unusable("The file of anchors is too long.")
    with contextlib.suppress(Damage):  # which the report names
        notes, _ = anchors_of(content)
        if not notes:
            raise Unusable("The file of anchors holds none.")
    return content


if __name__ == "__main__":
    sys.exit(main())
