r"""Signed notes as they lie in a file, one after the other.

    <text, one or more lines>\n
    \n
    — <name> <base64 of key id (4 bytes) || signature>\n        one line or more

Whatever signs a text adds a line and changes nothing else, so notes grow and stay readable by other
tools. Between two notes of a file there may be empty lines, and nothing else. No text of ours holds
an empty line, so the first one ends it.

Source: C2SP signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

import msgspec

from ledger.errors import InvalidInput

FILE_BYTES_MAX = 64 * 1024 * 1024
FILE_LINES_MAX = 1_000_000
"""Those of 140,000 heads with a cosignature each. Split into short ones, a file takes up to 45
times its length in memory."""
TEXT_BYTES_MAX = 4096
LINE_BYTES_MAX = 128 * 1024
"""Of one signature line; a time stamp brings its certificates along."""
SIGNATURES_MAX = 64
KEY_ID_BYTES = 4
_MARK = "\u2014 "
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")


class NoteSignature(msgspec.Struct, frozen=True):
    """One line under a note."""

    name: str
    key_id: bytes
    content: bytes
    """The signature itself, in the form that its kind has."""

    def line(self) -> str:
        """As it stands in a file, with its newline."""
        encoded = base64.b64encode(self.key_id + self.content).decode()
        return f"{_MARK}{self.name} {encoded}\n"


class SignedNote(msgspec.Struct, frozen=True):
    """A text and what was signed under it."""

    text: bytes
    """With its last newline: the bytes that signatures sign."""
    signatures: tuple[NoteSignature, ...]
    line: int = 1
    """Where it begins in its file."""

    def to_text(self) -> str:
        """As it stands in a file."""
        return f"{self.text.decode()}\n{''.join(one.line() for one in self.signatures)}"


def key_id(name: str, kind: bytes, key: bytes) -> bytes:
    """The four bytes that say which key a line is of; `kind` is the kind's number and more."""
    return hashlib.sha256(name.encode() + b"\n" + kind + key).digest()[:KEY_ID_BYTES]


def is_name(text: str) -> bool:
    """Whether a signer may be called so: no spaces, no plus sign, nothing unprintable."""
    return bool(_NAME.fullmatch(text)) and text.isprintable()


def read_notes(content: bytes) -> list[SignedNote]:
    """All notes of a file; `unknown-anchor` with the line for what is none."""
    if len(content) > FILE_BYTES_MAX:
        raise InvalidInput("too-large", f"The file with anchors exceeds {FILE_BYTES_MAX} bytes.")
    if content.count(b"\n") > FILE_LINES_MAX:
        raise InvalidInput("too-large", f"The file with anchors exceeds {FILE_LINES_MAX} lines.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise unknown_anchor(1 + content[: error.start].count(b"\n")) from error
    if text and not text.endswith("\n"):
        raise unknown_anchor(1 + text.count("\n"))
    notes = list(_notes(text.split("\n")[:-1]))
    if not notes:
        raise InvalidInput("no-anchors", "The file with anchors holds none.")
    return notes


def whole_bytes(content: bytes) -> int:
    """How much of a file that is written to at its end only is whole lines of whole notes.

    What lies behind has been cut off by a power failure while it was written.
    """
    at = content.rfind(b"\n" + _MARK.encode())
    end = content.find(b"\n", at + 1) if at >= 0 else -1
    if end >= 0:
        return end + 1
    return 0 if at < 0 else whole_bytes(content[: at + 1])


def unknown_anchor(line: int) -> InvalidInput:
    """Something in the file is no anchor."""
    return InvalidInput(
        "unknown-anchor",
        f"The file with anchors holds something else than signed notes of a log (line {line}).",
        hint="Anchors are what `log checkpoint` and `log witness sign` write, one after the other.",
    )


def _notes(lines: list[str]) -> Iterator[SignedNote]:
    at = 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        begin = at
        while at < len(lines) and lines[at]:
            at += 1
        text = "".join(f"{line}\n" for line in lines[begin:at]).encode()
        at += 1
        signatures = []
        while at < len(lines) and lines[at].startswith(_MARK):
            signatures.append(_signature(lines[at], at + 1))
            at += 1
        if not 1 <= len(signatures) <= SIGNATURES_MAX or len(text) > TEXT_BYTES_MAX:
            raise unknown_anchor(begin + 1)
        yield SignedNote(text, tuple(signatures), begin + 1)


def _signature(line: str, number: int) -> NoteSignature:
    name, _, encoded = line.removeprefix(_MARK).partition(" ")
    try:
        content = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise unknown_anchor(number) from error
    if len(content) <= KEY_ID_BYTES or len(line) > LINE_BYTES_MAX or not is_name(name):
        raise unknown_anchor(number)
    return NoteSignature(name, content[:KEY_ID_BYTES], content[KEY_ID_BYTES:])
