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

import struct

FORMAT = 1
SUITE_AES_256_GCM = 1

STREAM_BYTES = 16
_PREFIX = struct.Struct(">BB32s")
_PLACE = struct.Struct(">Q")
_STREAM = struct.Struct(">16sQH")
_KEYS = struct.Struct(">II")
_TIME = struct.Struct(">q")


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
    """The header bytes; `recorded_at` is in microseconds UTC, `ValueError` for a wrong stream."""
    if len(stream) != STREAM_BYTES:
        raise ValueError(stream)  # packing would cut it or fill it up unseen
    name = topic.encode("ascii")
    return b"".join(
        (
            _PREFIX.pack(FORMAT, SUITE_AES_256_GCM, ledger_id),
            _PLACE.pack(position),
            _STREAM.pack(stream, version, len(name)),
            name,
            _KEYS.pack(epoch, period),
            _TIME.pack(recorded_at),
        )
    )


def encode_associated_data(
    ledger_id: bytes, stream: bytes, version: int, topic: str, epoch: int, period: int
) -> bytes:
    """The header without position and recorded_at, as the cipher's associated data."""
    name = topic.encode("ascii")
    return b"".join(
        (
            _PREFIX.pack(FORMAT, SUITE_AES_256_GCM, ledger_id),
            _STREAM.pack(stream, version, len(name)),
            name,
            _KEYS.pack(epoch, period),
        )
    )
