"""Field values: text or bytes that never print, and the types that fields have.

A value in JSON is a string (kept exactly as given), or bytes as `{"base64": "..."}`, or on input
`{"file": "PATH"}`; a form that has bytes of its own gives those. Nothing is parsed as a certificate
or key. At most 64 KiB each, 32 fields.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Never

import msgpack

from ledger.errors import InvalidInput, Tampered

VALUE_BYTES_MAX = 64 * 1024
FIELDS_MAX = 32
FIELD_TYPES = (
    "user-name",
    "password",
    "windows-user-name",
    "windows-password",
    "pin",
    "key",
    "generic",
    "certificate",
    "certificate-password",
)
MASKED_TYPES = frozenset({"password", "windows-password", "pin", "key", "certificate-password"})


def fields_named(names: Sequence[str] | None) -> tuple[str, ...]:
    """The fields that are asked for, as a request keeps them: none where all are wanted.

    `no-fields-named` for an empty list, by which somebody who wants nothing would get everything;
    `too-many-fields`.
    """
    if names is None:
        return ()
    if not names:
        raise InvalidInput(
            "no-fields-named",
            "An empty list names no field.",
            hint="Leave the list out for all fields, or name at least one; nothing was released.",
        )
    if len(names) > FIELDS_MAX:
        raise InvalidInput("too-many-fields", f"There are at most {FIELDS_MAX} fields.")
    return tuple(names)


class FieldValue:
    """One secret value; prints as dots, does not pickle, compares in constant time."""

    __slots__ = ("_content",)

    def __init__(self, content: str | bytes) -> None:
        size = len(content)
        if isinstance(content, str) and not content.isascii():
            try:
                size = len(content.encode())
            except UnicodeEncodeError:
                # The cause would carry the value to whoever prints causes.
                raise InvalidInput("invalid-value", "A value is no valid Unicode text.") from None
        if size > VALUE_BYTES_MAX:
            raise InvalidInput("value-too-long", f"A value has at most {VALUE_BYTES_MAX} bytes.")
        self._content = content

    def reveal(self) -> str | bytes:
        """The value itself; call it only where it leaves for its owner."""
        return self._content

    def as_bytes(self) -> bytes:
        """The value as bytes; text in UTF-8."""
        return self._content.encode() if isinstance(self._content, str) else self._content

    @property
    def is_text(self) -> bool:
        """Whether it was given as text."""
        return isinstance(self._content, str)

    def __repr__(self) -> str:
        return "•••"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "•••"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldValue):
            return NotImplemented
        same = hmac.compare_digest(self.as_bytes(), other.as_bytes())
        return same and self.is_text == other.is_text

    def __hash__(self) -> Never:
        raise TypeError("a field value has no hash, which would tell of the secret")

    def __reduce__(self) -> Never:
        raise TypeError("a field value is never stored outside the ledger")


def values_from_json(document: object, folder: Path | None = None) -> dict[str, FieldValue]:
    """Values by field name; `invalid-values` if the document is no such object.

    `folder` allows `{"file": ...}`, relative to it.
    """
    if not isinstance(document, dict) or not document:
        raise _invalid("Field values are a JSON object of field name to value.")
    if len(document) > FIELDS_MAX:
        raise _invalid(f"There are at most {FIELDS_MAX} fields.")
    return {name: _value_from_json(value, folder) for name, value in document.items()}


def value_to_json(value: FieldValue) -> str | dict[str, str]:
    """The JSON form of one value."""
    content = value.reveal()
    if isinstance(content, str):
        return content
    return {"base64": base64.b64encode(content).decode()}


def pack_values(values: Mapping[str, FieldValue]) -> bytes:
    """The bytes that are sealed: a msgpack map of field name to text or bytes."""
    return bytes(msgpack.packb({name: value.reveal() for name, value in values.items()}))


def unpack_values(packed: bytes) -> dict[str, FieldValue]:
    """The reverse of `pack_values`."""
    try:
        document: dict[str, Any] = msgpack.unpackb(packed)
        return {name: FieldValue(content) for name, content in document.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise Tampered("values-unreadable", "Sealed field values are malformed.") from error


def _value_from_json(value: object, folder: Path | None) -> FieldValue:
    if isinstance(value, str | bytes):
        return FieldValue(value)
    if isinstance(value, dict) and len(value) == 1:
        ((form, content),) = value.items()
        if form == "base64" and isinstance(content, str):
            try:
                return FieldValue(base64.b64decode(content, validate=True))
            except (binascii.Error, ValueError) as error:
                raise _invalid("A base64 value is malformed.") from error
        if form == "file" and isinstance(content, str) and folder is not None:
            return FieldValue(_file_content(folder / content))
    raise _invalid('A value is text, {"base64": "..."} or {"file": "PATH"}.')


def _file_content(path: Path) -> bytes:
    try:
        # A pipe with a name would be waited for without end; one that a shell hands over is read.
        if not str(path).startswith("/dev/fd/") and path.is_fifo():
            raise _invalid("A value's file is a pipe.")
        with path.open("rb") as file:
            return file.read(VALUE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise _invalid("A value's file cannot be read.") from error


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("invalid-values", message)
