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

What lies between the two, stream to period, is the row's *place*; it is encoded once for both.
"""

from __future__ import annotations

import functools
import struct

FORMAT = 1
SUITE_AES_256_GCM = 1

STREAM_BYTES = 16
_PREFIX = struct.Struct(">BB32s")
_POSITION = struct.Struct(">Q")
_TIME = struct.Struct(">q")


def encode_place(stream: bytes, version: int, topic: str, epoch: int, period: int) -> bytes:
    """What header and associated data have in common; `ValueError` for a wrong stream."""
    if len(stream) != STREAM_BYTES:
        raise ValueError(stream)  # packing would cut it or fill it up unseen
    name, form = _topic(topic)
    return form.pack(stream, version, len(name), name, epoch, period)


def header_of(ledger_id: bytes, position: int, place: bytes, recorded_at: int) -> bytes:
    """The header bytes around an encoded place; `recorded_at` is in microseconds UTC."""
    return prefix_of(ledger_id) + _POSITION.pack(position) + place + _TIME.pack(recorded_at)


def associated_data_of(ledger_id: bytes, place: bytes) -> bytes:
    """The cipher's associated data around an encoded place."""
    return prefix_of(ledger_id) + place


def changing_part(topic: str) -> tuple[bytes, struct.Struct]:
    """A topic's bytes, and how all of a header behind `prefix_of` is packed in one go.

    For whoever hashes one row after the other: pack(position, stream, version, length of topic,
    topic, epoch, period, recorded_at). The caller sees to it that the stream has its length.
    """
    name = topic.encode("ascii")
    return name, struct.Struct(f">Q{_place_form(name)}q")


@functools.lru_cache(maxsize=64)
def prefix_of(ledger_id: bytes) -> bytes:
    """What every header of a ledger begins with: format, suite and ledger id."""
    return _PREFIX.pack(FORMAT, SUITE_AES_256_GCM, ledger_id)


@functools.lru_cache(maxsize=256)
def _topic(topic: str) -> tuple[bytes, struct.Struct]:
    name = topic.encode("ascii")
    return name, struct.Struct(f">{_place_form(name)}")


def _place_form(name: bytes) -> str:
    return f"16sQH{len(name)}sII"
