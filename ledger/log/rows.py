"""The four kinds of rows that a ledger stores, exactly as they lie in the tables.

    ledger(id, format, salt)                                            one row
    signers(public_key, class, change, from_size, introduced_by, signature)
    log(position, stream, version, topic, epoch, period, recorded_at, sealed, leaf)
    commits(size, root, frontier, signer, signature)                    one row a transaction

All are append-only; the head of the log is its last commit.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from ledger.codec.header import (
    FORMAT,
    STREAM_BYTES,
    changing_part,
    encode_header,
    prefix_of,
)
from ledger.tree import HASH_BYTES, LEAF_PREFIX

TABLES = ("ledger", "signers", "log", "commits")
EPOCH_STARTED = "epoch.started"
OPERATOR, AUDITOR = "operator", "auditor"
NO_ROW = (ValueError, OverflowError, TypeError, AttributeError, struct.error)
"""What comes of hashing something that no ledger wrote."""
BEGIN, END = "begin", "end"
Packing = Callable[..., bytes]
FIRST_MOMENT_US, LAST_MOMENT_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999: calendars here have no other times, and no ledger writes one."""


class LedgerRow(msgspec.Struct, frozen=True):
    """What names the ledger."""

    id: bytes
    format: int
    salt: bytes

    @property
    def is_sound(self) -> bool:
        """Whether every column holds what this version writes there."""
        return (
            _is_bytes(self.id, 32)
            and type(self.format) is int
            and self.format == FORMAT
            and isinstance(self.salt, bytes)
        )


class LogRow(NamedTuple):
    """One recorded event, sealed; a plain tuple because millions are read in a row."""

    position: int
    stream: bytes
    version: int
    topic: str
    epoch: int
    period: int
    recorded_at: int
    sealed: bytes
    leaf: bytes

    @property
    def is_sound(self) -> bool:
        """Whether every column holds what a ledger writes there: databases are not strict."""
        # Asked of every row that is walked over, hence without a call for each column.
        position, stream, version, topic, epoch, period, recorded_at, sealed, leaf = self
        return (
            type(position) is int
            and position >= 1
            and type(stream) is bytes
            and len(stream) == STREAM_BYTES
            and type(version) is int
            and version >= 1
            and type(topic) is str
            and type(epoch) is int
            and epoch >= 1
            and type(period) is int
            and period >= 0
            and type(recorded_at) is int
            and FIRST_MOMENT_US <= recorded_at <= LAST_MOMENT_US
            and type(sealed) is bytes
            and type(leaf) is bytes
            and len(leaf) == HASH_BYTES
        )

    @property
    def following_epoch(self) -> int:
        """The epoch that the next row must be in."""
        return following_epoch(self.position, self.topic, self.epoch)

    def header(self, ledger_id: bytes) -> bytes:
        """What the leaf binds, and the cipher but for two numbers; `NO_ROW` for what is no row."""
        position, stream, version, topic, epoch, period, recorded_at, _, _ = self
        return encode_header(
            ledger_id, position, stream, version, topic, epoch, period, recorded_at
        )

    def computed_leaf(self, ledger_id: bytes) -> bytes:
        """The leaf that this row ought to have."""
        return leaves_of(ledger_id, (self,))[0]


log_row: Callable[[Sequence[object]], LogRow] = partial(tuple.__new__, LogRow)
"""A row as it was read; `LogRow._make` without its frame, as a log is read by the million."""


def following_epoch(position: int, topic: str, epoch: int) -> int:
    """The epoch that the row after another must be in.

    Row 1 starts epoch 1 and is in it; any later row that starts an epoch is in the one it ends.
    """
    return epoch + (topic == EPOCH_STARTED and position > 1)


class Extent(NamedTuple):
    """How far a log goes, unchecked."""

    last: int
    """The highest position; 0 without rows."""
    size: int
    """The size of the newest commit; 0 without commits."""
    frontier: bytes
    """The packed frontier of the newest commit; empty without commits."""


class Counts(NamedTuple):
    """How many rows lie in the two tables that grow."""

    rows: int
    commits: int


class CommitRow(NamedTuple):
    """One transaction's signed head."""

    size: int
    root: bytes
    frontier: bytes
    signer: bytes
    signature: bytes

    @property
    def is_sound(self) -> bool:
        """Whether every column holds what a ledger writes there."""
        return (
            _is_number(self.size, 1)
            and _is_bytes(self.root, 32)
            and isinstance(self.frontier, bytes)
            and _is_bytes(self.signer, 32)
            and _is_bytes(self.signature, 64)
        )


class Proven(NamedTuple):
    """What the proof of one row is about, as it lies there, unchecked."""

    row: LogRow | None
    head: CommitRow | None
    """The newest that one of the signers asked about signed for it."""
    signers: int
    """How many signer rows there are."""


class SignerRow(NamedTuple):
    """The beginning or end of a key that may sign heads."""

    public_key: bytes
    signer_class: str
    change: str
    from_size: int
    introduced_by: bytes
    signature: bytes

    @property
    def is_sound(self) -> bool:
        """Whether every column holds what a ledger writes there."""
        return (
            _is_bytes(self.public_key, 32)
            and self.signer_class in {OPERATOR, AUDITOR}
            and self.change in {BEGIN, END}
            and _is_number(self.from_size, 0)
            and _is_bytes(self.introduced_by, 32)
            and _is_bytes(self.signature, 64)
        )

    def content(self, ledger_id: bytes) -> bytes:
        """All fields but the signature, length-prefixed, bound to the ledger."""
        parts = (
            b"credledger/v1/signer",
            ledger_id,
            self.public_key,
            self.signer_class.encode(),
            self.change.encode(),
            self.from_size.to_bytes(8, "big"),
            self.introduced_by,
        )
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    def message(self, ledger_id: bytes, root: bytes) -> bytes:
        """What `signature` signs: all fields and the root of the log at `from_size`."""
        return self.content(ledger_id) + root


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and value >= least


def signers_digest(ledger_id: bytes, signers: tuple[SignerRow, ...], size: int) -> bytes:
    """SHA-256 over all signer rows that a head of this size rests on, in order of storing."""
    digest = sha256()
    for row in signers:
        if row.from_size < size:
            digest.update(row.content(ledger_id))
            digest.update(row.signature)
    return digest.digest()


def leaves_of(ledger_id: bytes, rows: Iterable[tuple[Any, ...]]) -> list[bytes]:
    """The leaves that these rows of a ledger ought to have.

    The same as `leaf_hash` over `encode_header`, in as few steps as can be: whoever walks over a
    log does this for every row of it. A row's columns are enough, in their order. What comes from
    no ledger raises one of `NO_ROW`: a column of another type has no place in a header.
    """
    begun, empty = _begun(ledger_id).copy, _EMPTY.copy
    forms: dict[str, tuple[bytes, int, Packing]] = {}
    leaves = list[bytes]()
    add = leaves.append
    for position, stream, version, topic, epoch, period, recorded_at, sealed, _ in rows:
        form = forms.get(topic)
        if form is None:
            form = forms[topic] = _leaf_form(topic)
        if len(stream) != STREAM_BYTES:
            raise ValueError(stream)  # packing would cut it or fill it up unseen
        name, length, pack = form
        inner, leaf = empty(), begun()
        inner.update(sealed)
        leaf.update(
            pack(
                position, stream, version, length, name, epoch, period, recorded_at, inner.digest()
            )
        )
        add(leaf.digest())
    return leaves


_EMPTY = sha256()
"""Copied, as what `_begun` gives, which takes less time than another one begun."""


@functools.lru_cache(maxsize=64)
def _begun(ledger_id: bytes) -> hashlib._Hash:
    """The hash of a ledger's leaf as far as all of them are the same."""
    return sha256(LEAF_PREFIX + prefix_of(ledger_id))


@functools.lru_cache(maxsize=256)
def _leaf_form(topic: str) -> tuple[bytes, int, Packing]:
    """A topic's bytes, how many, and what packs the rest that a leaf is hashed from."""
    name, header = changing_part(topic)
    packing = struct.Struct(f"{header.format}{HASH_BYTES}s")
    return name, len(name), packing.pack
