r"""The header of a row: what is in clear, in the one byte order that leaves and ciphers bind.

All integers are big-endian and of fixed width::

    offset  bytes  what
         0      1  format = 1
         1      1  suite  = 1 (AES-256-GCM)
         2     32  ledger id
        34      8  position, from 1
        42     16  stream
        58      8  version in the stream, from 1
        66      2  length of topic, n
        68      n  topic, ASCII
      68+n      4  epoch
      72+n      4  period, YYYYMM of recorded_at in UTC
      76+n      8  recorded_at, microseconds since 1970-01-01 UTC

The *associated data* of the row's cipher is the same without position and recorded_at: those two
are given under the writer's lock and bound by leaf and signature, while everything that says
where a ciphertext belongs is bound by the cipher itself, so one moved elsewhere does not open.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

FORMAT = 1
SUITE_AES_256_GCM = 1

STREAM_BYTES = 16
_PREFIX = struct.Struct(">BB32s")
_PLACE = struct.Struct(">Q16sQH")
_TIME = struct.Struct(">IIq")
NUMBER_BYTES = 8
"""Of a position, a version and a time."""


def encode_header(
    ledger_id: bytes,
    position: int,
    stream: bytes,
    version: int,
    topic: str,
    epoch: int,
    period: int,
    recorded_at: int,
) -> bytes:
    """The header bytes; `ValueError` for a stream of a wrong length, else `struct.error`."""
    if len(stream) != STREAM_BYTES:
        raise ValueError(stream)  # packing would cut it or fill it up unseen
    name, packing = changing_part(topic)
    return prefix_of(ledger_id) + packing.pack(
        position, stream, version, len(name), name, epoch, period, recorded_at
    )


class Header(NamedTuple):
    """What a header says."""

    ledger_id: bytes
    position: int
    stream: bytes
    version: int
    topic: str
    epoch: int
    period: int
    recorded_at: int
    """Microseconds UTC."""


def decode_header(header: bytes) -> Header:
    """What these bytes say; `ValueError` or `struct.error` where they are no header of ours."""
    begin, end = _PREFIX.size + _PLACE.size, len(header) - _TIME.size
    header_format, suite, ledger_id = _PREFIX.unpack_from(header)
    position, stream, version, length = _PLACE.unpack_from(header, _PREFIX.size)
    if (header_format, suite, length) != (FORMAT, SUITE_AES_256_GCM, end - begin):
        raise ValueError(header)
    topic = header[begin:end].decode("ascii")
    return Header(ledger_id, position, stream, version, topic, *_TIME.unpack_from(header, end))


def associated_data_in(header: bytes) -> bytes:
    """The cipher's associated data: the header without position and recorded_at."""
    place = header[_PREFIX.size + NUMBER_BYTES : -NUMBER_BYTES]
    return header[: _PREFIX.size] + place


def encode_associated_data(
    ledger_id: bytes, stream: bytes, version: int, topic: str, epoch: int, period: int
) -> bytes:
    """The same where position and time are not given, or of no interest."""
    if len(stream) != STREAM_BYTES:
        raise ValueError(stream)  # packing would cut it or fill it up unseen
    name, packing = _bound_part(topic)
    return prefix_of(ledger_id) + packing.pack(stream, version, len(name), name, epoch, period)


def associated_data_around(
    ledger_id: bytes, stream: bytes, topic: str, epoch: int, period: int
) -> tuple[bytes, bytes]:
    """What comes before the version in it, and what comes after."""
    whole = encode_associated_data(ledger_id, stream, 0, topic, epoch, period)
    begin = _PREFIX.size + STREAM_BYTES
    return whole[:begin], whole[begin + NUMBER_BYTES :]


@functools.lru_cache(maxsize=64)
def prefix_of(ledger_id: bytes) -> bytes:
    """What every header of a ledger begins with: format, suite and ledger id."""
    return _PREFIX.pack(FORMAT, SUITE_AES_256_GCM, ledger_id)


@functools.lru_cache(maxsize=256)
def changing_part(topic: str) -> tuple[bytes, struct.Struct]:
    """A topic's bytes, and how all of a header behind `prefix_of` is packed, in its order.

    For whoever hashes one row after the other, and sees to it that each stream has its length.
    """
    name = topic.encode("ascii")
    return name, struct.Struct(f">Q16sQH{len(name)}sIIq")


@functools.lru_cache(maxsize=256)
def _bound_part(topic: str) -> tuple[bytes, struct.Struct]:
    """The same of the associated data."""
    name = topic.encode("ascii")
    return name, struct.Struct(f">16sQH{len(name)}sII")
