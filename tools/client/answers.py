"""What the service answered, as values; keys that are not known here are passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from ledger.discreet import Discreet
from ledger.errors import InvalidInput, Unavailable
from ledger.identifiers import field_key
from ledger.values import FieldValue

T = TypeVar("T")


class Values(Mapping[str, FieldValue]):
    """Values by the names of their fields, which are compared as the ledger compares them."""

    def __init__(self, values: Mapping[str, FieldValue]) -> None:
        """`invalid-field-name` for a name that no field has."""
        self._values = dict(values)
        self._names = {field_key(name): name for name in self._values}

    def __getitem__(self, name: str) -> FieldValue:
        """The value of a field, its name in any case; a `KeyError` that tells the names."""
        try:
            return self._values[self._names[field_key(name)]]
        except (KeyError, InvalidInput):
            told = f"No field {name!r} was released, but: {', '.join(self) or 'none'}."
            raise KeyError(told) from None

    def __iter__(self) -> Iterator[str]:
        """The names as the application writes them, in its order."""
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class Credentials(msgspec.Struct, frozen=True):
    """Released values; the position is that of the record that says so."""

    application: str
    owner: str | None
    version: int
    fields: Values
    complete: bool
    missing: tuple[str, ...]
    position: int

    def __getitem__(self, field: str) -> FieldValue:
        """The value of a field, by its name in any case; a `KeyError` that tells the names."""
        return self.fields[field]


class MappingChanged(msgspec.Struct, frozen=True):
    """A mapping after its change; the version is that of its values."""

    application: str
    owner: str | None
    version: int
    position: int


class Changed(msgspec.Struct, frozen=True):
    """An application after its change, or as it was where there was nothing to change.

    `readers` and `readers_before` are `every-owner`, `members` or `nobody`; None where there was no
    application, or where the service is of a release that does not tell.
    """

    application: str
    changed: bool
    version: int
    position: int
    readers: str | None = None
    readers_before: str | None = None


class Ticket(msgspec.Struct, frozen=True):
    """A ticket, which is a secret; without an end where it is good for any application."""

    ticket: FieldValue
    application: str | None
    """The only one it is good for; None for any."""
    issued_at: str
    expires_at: str | None
    position: int


class _Released(Discreet, msgspec.Struct):
    application: str
    owner: str | None
    version: int
    fields: dict[str, Any]
    complete: bool
    missing: tuple[str, ...]
    position: int


class _Issued(Discreet, msgspec.Struct):
    ticket: str
    application: str | None
    issued_at: str
    expires_at: str | None
    position: int


class _Deleted(msgspec.Struct):
    deleted: tuple[MappingChanged, ...]


def decoded(content: bytes, kind: type[T]) -> T:
    """An answer of this shape; `answer-unreadable` otherwise, which quotes nothing of it."""
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise unreadable() from None  # the cause may quote a value


def credentials(content: bytes) -> Credentials:
    """Released values."""
    found = decoded(content, _Released)
    if not all(isinstance(value, str | bytes) for value in found.fields.values()):
        raise unreadable()
    try:
        fields = Values({name: FieldValue(value) for name, value in found.fields.items()})
    except InvalidInput:
        raise unreadable() from None
    return Credentials(
        found.application,
        found.owner,
        found.version,
        fields,
        found.complete,
        found.missing,
        found.position,
    )


def ticket(content: bytes) -> Ticket:
    """An issued ticket."""
    found = decoded(content, _Issued)
    return Ticket(
        FieldValue(found.ticket),
        found.application,
        found.issued_at,
        found.expires_at,
        found.position,
    )


def deleted(content: bytes) -> tuple[MappingChanged, ...]:
    """The mappings that ended."""
    return decoded(content, _Deleted).deleted


def document(content: bytes) -> dict[str, Any]:
    """An answer as it stands; none of these holds a value."""
    return decoded(content, dict[str, Any])


def receipt(content: bytes) -> dict[str, Any]:
    """The document of a proof."""
    return msgspec.convert(document(content).get("receipt"), dict[str, Any])


def listed(key: str, content: bytes) -> list[dict[str, Any]]:
    """The one list of an answer."""
    return msgspec.convert(document(content).get(key), list[dict[str, Any]])


def unreadable() -> Unavailable:
    """What came is no answer of the service's."""
    return Unavailable(
        "answer-unreadable",
        "The service answered something that is none of its answers.",
        hint="Check that the address is the service's own, and that both are of one release.",
    )
