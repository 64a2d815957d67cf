"""JSON as a token may hold it: one reading only, and small.

Readers differ on a key that comes twice, on numbers that are none, on text that is not Unicode. A
token that two readers could understand in two ways is refused (RFC 7515 section 4, RFC 8725
section 2.4), and so is whatever is deeper, longer or wider than any honest one.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

DEPTH_MAX = 8
ENTRIES_MAX = 1024
"""In one object or list."""
TEXT_LENGTH_MAX = 4096


def parse_object(text: bytes) -> dict[str, Any]:
    """The object in UTF-8 JSON; ValueError for anything else, and beyond the limits."""
    try:
        found = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_number,
        )
        _check(found, 1)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 # one kind of failure for one reader
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _check(value: object, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deep")
    match value:
        case str():
            _check_text(value)
        case dict():
            _check_width(len(value))
            for key, inner in value.items():
                _check_text(key)
                _check(inner, depth + 1)
        case list():
            _check_width(len(value))
            for inner in value:
                _check(inner, depth + 1)


def _check_width(entries: int) -> None:
    if entries > ENTRIES_MAX:
        raise ValueError("too many entries")


def _check_text(text: str) -> None:
    if len(text) > TEXT_LENGTH_MAX:
        raise ValueError("too long")
    text.encode("utf-8")  # half a surrogate pair is no text
