"""The two forms of a body: JSON, and msgpack, where bytes are bytes.

Size is bounded before anything is decoded, depth by the structs that are decoded into. What does
not fit is told by its place only; a place that is a name or a value of the caller's is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ledger.errors import InvalidInput
from tools.service.bodies import Body

BODY_BYTES_MAX = 4 * 1024 * 1024
"""32 values of 64 KiB in base64, with room for their names."""
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

    def decode(self, body: type[Body], content: bytes) -> Any:
        """The struct; `malformed-body`, or `invalid-body` where it does not fit."""
        try:
            return self.decoders[body].decode(content)
        except msgspec.ValidationError as error:
            found = _PLACE.search(str(error))
            place = "" if found is None else f" at {found[1]}"
            raise InvalidInput(
                "invalid-body",
                f"The body does not fit the operation{place}.",
                hint="`GET /openapi.json` describes what each operation takes.",
            ) from None  # the cause may quote what was sent
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise InvalidInput(
                "malformed-body",
                f"The body is no well-formed {self.media_type.decode()}.",
                hint="Nothing was changed; look at what the client sends.",
            ) from None


def forms_for(bodies: Iterable[type[Body]]) -> tuple[Form, Form]:
    """JSON and msgpack, with decoders for these bodies."""
    kinds = tuple(dict.fromkeys(bodies))
    return (
        Form(
            b"application/json",
            False,
            msgspec.json.Encoder(),
            {kind: msgspec.json.Decoder(kind) for kind in kinds},
        ),
        Form(
            b"application/msgpack",
            True,
            msgspec.msgpack.Encoder(),
            {kind: msgspec.msgpack.Decoder(kind) for kind in kinds},
        ),
    )
