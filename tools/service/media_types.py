"""Media types as heads name them (RFC 9110): what a body is in, and what its answer may be in.

Of ranges in `Accept` the closest one counts for a type: itself, its kind (`application/*`), then
all (`*/*`). Parameters but `q` change nothing, and what is no range at all is passed over.

A header of media types is looked through on the loop that all callers share, so one that is longer
than any real one, or has more parts, is refused before that, for a count of its bytes (RFC 9110,
section 5.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ledger.errors import InvalidInput

MEDIA_TYPES_BYTES_MAX: Final = 1024
"""Of all `Accept` headers of a request together, or of its `Content-Type`; browsers say 200."""
MEDIA_TYPES_PARTS_MAX: Final = 32
"""How many commas and semicolons they may have."""
_BLANKS = b" \t"
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?$)', re.DOTALL)
_QUALITY = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_UNICODE = (b"utf-8", b"utf8")


def type_of(content_type: bytes) -> bytes:
    """The type that a Content-Type names, in lower case.

    `charset-not-taken`, `malformed-header`.
    """
    given, *parameters = bounded("Content-Type", content_type).split(b";")
    for name, value in map(_parameter, parameters):
        if name == b"charset" and value.strip(b'"') not in _UNICODE:
            raise InvalidInput(
                "charset-not-taken",
                "A body is in UTF-8.",
                hint="Send it in that charset, or without naming one.",
            )
    return given.strip(_BLANKS).lower()


def liked_best(accepted: bytes, types: Iterable[bytes], otherwise: bytes) -> bytes:
    """Which of these types is wanted most; `otherwise` among equals, and where none is wanted.

    `malformed-header`.
    """
    told = _qualities(bounded("Accept", accepted))
    liked = {one: _quality(told, one) for one in types}
    most = max(liked.values())
    if most == 0 or liked[otherwise] == most:
        return otherwise
    return next(one for one, quality in liked.items() if quality == most)


def bounded(name: str, value: bytes) -> bytes:
    """The same; `malformed-header` where it is more than anybody needs to say."""
    is_long = len(value) > MEDIA_TYPES_BYTES_MAX
    if is_long or value.count(b",") + value.count(b";") > MEDIA_TYPES_PARTS_MAX:
        raise InvalidInput(
            "malformed-header",
            f"{name} has at most {MEDIA_TYPES_BYTES_MAX} bytes, and {MEDIA_TYPES_PARTS_MAX}"
            " commas and semicolons.",
            hint="Name the forms that are wanted, and no others.",
        )
    return value


def _qualities(accepted: bytes) -> dict[bytes, float]:
    """How much each range is wanted."""
    found: dict[bytes, float] = {}
    for element in _QUOTED.sub(b'""', accepted).split(b","):
        name, *parameters = element.split(b";")
        quality = dict(map(_parameter, parameters)).get(b"q", b"1")
        if _QUALITY.fullmatch(quality):
            found[name.strip(_BLANKS).lower()] = float(quality)
    return found


def _quality(told: dict[bytes, float], media_type: bytes) -> float:
    kind = media_type.partition(b"/")[0] + b"/*"
    ranges = (media_type, kind, b"*/*")
    return next((told[one] for one in ranges if one in told), 0.0)


def _parameter(text: bytes) -> tuple[bytes, bytes]:
    name, _, value = text.partition(b"=")
    return name.strip(_BLANKS).lower(), value.strip(_BLANKS).lower()
