"""The compact serialization of a token, taken apart with suspicion and without any key.

    signed     header . payload . signature                              RFC 7515, section 3.1
    encrypted  header . encrypted key . iv . ciphertext . tag            RFC 7516, section 3.1

Each part is base64url without padding in its one canonical form: bits that do not count must be
zero, so that nobody can make a second token out of one. Sizes are looked at before anything else.
What comes out is not believed yet; it only has one reading.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, ClassVar

import msgspec

from ledger.discreet import Discreet
from ledger.tokens.doubt import NotBelievedError
from ledger.tokens.strict_json import parse_object

TOKEN_BYTES_MAX = 16 * 1024
HEADER_BYTES_MAX = 1024
_SIGNED_PARTS, _ENCRYPTED_PARTS = 3, 5
_PART = re.compile(rb"[A-Za-z0-9_-]*\Z")


class Signed(Discreet, msgspec.Struct, frozen=True):
    """A token as it was signed."""

    SHOWN: ClassVar = ()

    text: bytes
    header: dict[str, Any]
    claims: dict[str, Any]
    """What it says; believed by nobody before the signature."""


class Encrypted(Discreet, msgspec.Struct, frozen=True):
    """A token inside a sealed one."""

    SHOWN: ClassVar = ()

    text: bytes
    header: dict[str, Any]


def take_apart(token: bytes) -> Signed | Encrypted:
    """The token's form and header, and what it says if it is signed; `NotBelievedError`."""
    if len(token) > TOKEN_BYTES_MAX:
        raise NotBelievedError("too-large")
    parts = token.split(b".", _ENCRYPTED_PARTS)
    try:
        if len(parts) == _SIGNED_PARTS:
            header, payload, _ = map(_present, parts)
            return Signed(token, _header(header), parse_object(payload))
        if len(parts) == _ENCRYPTED_PARTS:
            _decoded(parts[1])  # is empty where the key is agreed on and not sent
            header, *_ = map(_present, (parts[0], *parts[2:]))
            return Encrypted(token, _header(header))
    except ValueError as error:
        raise NotBelievedError("malformed") from error
    raise NotBelievedError("malformed")


def _header(text: bytes) -> dict[str, Any]:
    if len(text) > HEADER_BYTES_MAX:
        raise ValueError("too long")
    return parse_object(text)


def _present(part: bytes) -> bytes:
    if not part:
        raise ValueError("a part is missing")
    return _decoded(part)


def _decoded(part: bytes) -> bytes:
    if not _PART.match(part):
        raise ValueError("no base64url")
    try:
        found = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("no base64url") from error
    if base64.urlsafe_b64encode(found).rstrip(b"=") != part:
        raise ValueError("not canonical")
    return found
