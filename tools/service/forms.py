"""The two forms of a body: JSON, and msgpack, where bytes are bytes.

Size is bounded before anything is decoded, depth by the structs that are decoded into. A key that
comes twice is no form at all, because whoever looks at bodies on the way could read the other one.
What does not fit is told by its place only; a place that is a name or a value of the caller's is
left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgpack
import msgspec

from ledger.errors import InvalidInput
from tools.service.bodies import Body

BODY_BYTES_MAX = 4 * 1024 * 1024
"""32 values of 64 KiB in base64, with room for their names."""
DEPTH_MAX = 4
"""Of numbers in a body: those of an application of `apply` lie three deep."""
_IS_FLOAT = "got `float`"
_PLACE = re.compile(r" - at `(\$[\w.\[\]…]*)`$")


class _Encoder(Protocol):
    def encode(self, obj: Any) -> bytes: ...


class _Decoder(Protocol):
    def decode(self, buf: bytes) -> Any: ...


@dataclass(frozen=True, slots=True)
class Form:
    """One form."""

    media_type: bytes
    has_bytes: bool
    encoder: _Encoder
    decoders: dict[type[Body], _Decoder]
    plain: _Decoder
    """Into dicts and lists."""
    check: Callable[[bytes], object]
    """Reads once more what could be decoded; ValueError or TypeError where a key comes twice."""

    def decode(self, body: type[Body], content: bytes) -> Any:
        """The struct; `malformed-body`, or `invalid-body` where it does not fit."""
        try:
            decoded = self._decoded(body, content)
            self.check(content)
        except msgspec.ValidationError as error:
            found = _PLACE.search(str(error))
            place = "" if found is None else f" at {found[1]}"
            raise InvalidInput(
                "invalid-body",
                f"The body does not fit the operation{place}.",
                hint="`GET /openapi.json` describes what each operation takes.",
            ) from None  # the cause may quote what was sent
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
            raise InvalidInput(
                "malformed-body",
                f"The body is no well-formed {self.media_type.decode()}.",
                hint="Nothing was changed; look at what the client sends.",
            ) from None
        return decoded

    def _decoded(self, body: type[Body], content: bytes) -> Any:
        """The struct; a whole number may be written as 7.0, which JSON Schema calls an integer."""
        try:
            return self.decoders[body].decode(content)
        except msgspec.ValidationError as error:
            if _IS_FLOAT not in str(error):  # nothing that is whole would mend it
                raise
            found: list[float] = []
            plain = self.plain.decode(content)
            wanted = _with_whole_numbers(plain, found)
            if not found:
                raise
            return msgspec.convert(wanted, body)


def _with_whole_numbers(value: Any, found: list[float], depth: int = DEPTH_MAX) -> Any:
    """The same with integers in place of floats that are whole; which those were is `found`."""
    if isinstance(value, float) and value.is_integer():
        found.append(value)
        return int(value)
    if depth and isinstance(value, dict):
        return {key: _with_whole_numbers(one, found, depth - 1) for key, one in value.items()}
    if depth and isinstance(value, list):
        return [_with_whole_numbers(one, found, depth - 1) for one in value]
    return value


def forms_for(bodies: Iterable[type[Body]]) -> tuple[Form, Form]:
    """JSON and msgpack, with decoders for these bodies."""
    kinds = tuple(dict.fromkeys(bodies))
    return (
        Form(
            b"application/json",
            False,
            msgspec.json.Encoder(),
            {kind: msgspec.json.Decoder(kind) for kind in kinds},
            msgspec.json.Decoder(),
            _check_json,
        ),
        Form(
            b"application/msgpack",
            True,
            msgspec.msgpack.Encoder(),
            {kind: msgspec.msgpack.Decoder(kind) for kind in kinds},
            msgspec.msgpack.Decoder(),
            partial(msgpack.unpackb, object_pairs_hook=_unrepeated, strict_map_key=False),
        ),
    )


def _check_json(content: bytes) -> None:
    # A key has a colon behind it: where there is but one, no key can come twice.
    if content.count(b":") > 1:
        _strict_json.decode(content.decode())


def _unrepeated(pairs: list[tuple[Any, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key comes twice")


_strict_json = json.JSONDecoder(object_pairs_hook=_unrepeated)
"""Made once: making it takes longer than reading a body."""
