"""What one entry of another store holds, before anybody has said where it belongs.

A KeePass entry and a secret of Vault's are the same thing here: a path whose last part names it,
and values under keys. Which application, owner and fields that becomes is said by `rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from ledger.errors import InvalidInput
from ledger.values import FieldValue
from tools.sources.importing import Rejected

SOURCE_BYTES_MAX = 64 * 1024 * 1024
"""A file of another store; twice and more of it is in memory while it is read."""
ENTRIES_MAX = 200_000


class Gone(StrEnum):
    """Why an entry of a source is no credential any more."""

    RECYCLE_BIN = "recycle-bin"
    DELETED = "deleted"


class Entry(msgspec.Struct, frozen=True):
    """One entry: where it stands in its source, and its values."""

    number: int
    """Its place in the order of the source, from 1."""
    path: tuple[str, ...]
    values: Mapping[str, FieldValue]
    """By key; none is empty."""
    protected: frozenset[str] = frozenset()
    """Keys that the source itself calls secret."""
    unusable: frozenset[str] = frozenset()
    """Further keys, whose values no field can have."""
    gone: Gone | None = None

    @property
    def place(self) -> str:
        """The path as people read it."""
        return "/".join(self.path)


class Source(Protocol):
    """Another store's file."""

    name_keys: frozenset[str]
    """Keys that only name an entry: whether they find a field is nobody's question."""
    keys_by_type: Mapping[str, str]
    """The key that holds what a field of this type is for, where the source has such."""

    def entries(self) -> Iterator[Entry | Rejected]:
        """Every entry, the unreadable ones as `Rejected`."""
        ...


def too_many() -> InvalidInput:
    """More entries than are imported from one source."""
    return InvalidInput(
        "too-many-entries",
        f"A source of more than {ENTRIES_MAX} entries is not read at once.",
        hint="Import it in parts.",
    )
