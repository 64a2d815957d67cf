"""New values in msgpack, which are texts, bytes, or `{"base64": "..."}`.

msgspec takes no union of texts and bytes, so values are left as they came until the body has turned
out to fit besides, which there are at most 32 of; each is then decoded by what it begins with.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ledger.values import FIELDS_MAX
from tools.service.bodies import Body, BytesGiven, Name, OwnerText, Reason, Set

_BINARY: Final = (0xC4, 0xC5, 0xC6)
"""What bytes begin with: bin 8, bin 16 and bin 32."""


class _Packed(Body, frozen=True):
    """`Set`, whose values are still as they came."""

    fields: Annotated[dict[str, msgspec.Raw], Meta(min_length=1, max_length=FIELDS_MAX)]
    application: Name | None = None
    owner: OwnerText | None = None
    reason: Reason = ""


class SetDecoder:
    """Decodes new values from msgpack."""

    def __init__(self) -> None:
        self._packed = msgspec.msgpack.Decoder(_Packed)
        self._bytes = msgspec.msgpack.Decoder(bytes)
        self._other = msgspec.msgpack.Decoder(str | BytesGiven)

    def decode(self, buf: bytes) -> Set:
        """The body; whatever a decoder of msgspec raises."""
        packed = self._packed.decode(buf)
        fields: dict[str, Any] = {name: self._value(one) for name, one in packed.fields.items()}
        return Set(fields, packed.application, packed.owner, packed.reason)

    def _value(self, raw: msgspec.Raw) -> str | bytes | BytesGiven:
        content = memoryview(raw)
        try:
            if content[0] in _BINARY:
                return self._bytes.decode(content)
            return self._other.decode(content)
        except msgspec.ValidationError:
            # Its place is that of the value in itself.
            raise msgspec.ValidationError("no value - at `$.fields[...]`") from None
