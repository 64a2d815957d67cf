"""Reading files and standard input with limits, and parsing them only then.

Size is checked before a byte is parsed, depth and repeated keys while parsing. Standard input can
be used for one thing in a command; a second use is refused rather than left empty.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ledger.errors import InvalidInput, NotFound

STANDARD_INPUT = "-"
DEPTH_MAX = 16
TOML_BYTES_MAX = 4 * 1024 * 1024
VALUES_BYTES_MAX = 4 * 1024 * 1024
"""32 fields of 64 KiB in base64, with room for their names."""
_BLANKS = re.compile(r"[ \t\r\n]*")


class StandardInput:
    """The one standard input of this process, handed out once."""

    def __init__(self) -> None:
        self._taken_for: str | None = None

    def take(self, purpose: str) -> BinaryIO:
        """The raw stream; `stdin-used-twice` when something else reads it already."""
        if self._taken_for is not None:
            raise InvalidInput(
                "stdin-used-twice",
                f"Standard input cannot give both {self._taken_for} and {purpose}.",
                hint="Put one of the two into a file.",
            )
        self._taken_for = purpose
        return sys.stdin.buffer


def read_bytes(place: str, purpose: str, limit: int, standard_input: StandardInput) -> bytes:
    """The content of a file or of `-`; `too-large` beyond `limit` bytes."""
    if place == STANDARD_INPUT:
        content = standard_input.take(purpose).read(limit + 1)
    else:
        _refuse_pipe(place, purpose)
        try:
            with Path(place).open("rb") as stream:
                content = stream.read(limit + 1)
        except OSError as error:
            raise unreadable(purpose, place, error) from error
    if len(content) > limit:
        raise InvalidInput("too-large", f"{_the_file(purpose, place)} exceeds {limit} bytes.")
    return content


def within(purpose: str, place: str) -> str:
    """What a text is for and where it stands, for what is told of its faults."""
    return f"{purpose} {'on' if place == STANDARD_INPUT else 'in'} {shown(place)}"


def shown(place: str) -> str:
    """A file's path, or what `-` stands for."""
    return "standard input" if place == STANDARD_INPUT else place


def _the_file(purpose: str, place: str) -> str:
    return f"The file with {purpose} ({shown(place)})"


def _refuse_pipe(place: str, purpose: str) -> None:
    """A pipe with a name would be waited for without end; one that a shell hands over is read."""
    if not place.startswith("/dev/fd/") and Path(place).is_fifo():
        raise InvalidInput("not-a-file", f"{_the_file(purpose, place)} is a pipe, not a file.")


def unreadable(purpose: str, place: str, error: OSError) -> InvalidInput | NotFound:
    """Our error for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return NotFound(
            "no-such-file", f"{_the_file(purpose, place)} does not exist.", hint="Check the path."
        )
    return InvalidInput(
        "file-unreadable",
        f"{_the_file(purpose, place)} cannot be read: {error.strerror}.",
        hint="Check the path and its permissions.",
    )


def decode_text(content: bytes, purpose: str) -> str:
    """UTF-8 with or without a mark, or UTF-16 with one; `not-text` otherwise."""
    utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "not-text", f"The text with {purpose} is neither UTF-8 nor UTF-16."
        ) from error


def parse_json(text: str, purpose: str, *, first_line: int = 1) -> Any:
    """A JSON document; `invalid-json` for what is malformed, repeated or nested too deep.

    `first_line` is where the text begins in its file.
    """
    if _depth(text) > DEPTH_MAX:
        raise InvalidInput("invalid-json", f"The JSON with {purpose} is nested too deep.")
    try:
        return json.loads(text, object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InvalidInput(
            "invalid-json",
            f"The JSON with {purpose} is malformed at line {line}, column {error.colno}.",
        ) from None  # the cause holds the whole document, values included
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "invalid-json",
            f"The JSON with {purpose} repeats a key or holds a number that is none.",
        ) from error


def parse_json_sequence(text: str, purpose: str) -> Iterator[Any]:
    """JSON documents one after the other, numbers as they are written; `invalid-json` as above."""
    if _depth(text) > DEPTH_MAX:
        raise InvalidInput("invalid-json", f"The JSON with {purpose} is nested too deep.")
    decoder = json.JSONDecoder(
        object_pairs_hook=_unrepeated,
        parse_constant=_no_constant,
        parse_int=str,
        parse_float=str,
    )
    place = _skipped(text, 0)
    while place < len(text):
        try:
            document, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise InvalidInput(
                "invalid-json",
                f"The JSON with {purpose} is malformed at line {error.lineno},"
                f" column {error.colno}.",
            ) from None  # the cause holds the whole document, values included
        except (ValueError, RecursionError) as error:
            raise InvalidInput(
                "invalid-json",
                f"The JSON with {purpose} repeats a key or holds a number that is none.",
            ) from error
        yield document
        place = _skipped(text, place)


def parse_toml(text: str, purpose: str) -> dict[str, Any]:
    """A TOML document; `invalid-toml` with the place where it breaks off."""
    import tomllib

    if _depth(text) > DEPTH_MAX:
        raise InvalidInput("invalid-toml", f"The TOML with {purpose} is nested too deep.")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InvalidInput(
            "invalid-toml", f"The TOML with {purpose} is malformed: {error}."
        ) from error


def _skipped(text: str, place: int) -> int:
    """Where the next document begins, after blanks."""
    found = _BLANKS.match(text, place)
    return found.end() if found else place


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_: str) -> float:
    raise ValueError


def _depth(text: str) -> int:
    """How deep brackets nest outside of double-quoted strings; an upper bound."""
    depth = deepest = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
