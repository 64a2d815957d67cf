"""Random bytes that are the same in every run, so that vectors can be written down."""

from __future__ import annotations

import hashlib

from ledger.sealing.slots import Argon2Cost, key_file, passphrase

CHEAP = Argon2Cost(19 * 1024, 2, 1)
KEY = key_file(bytes(range(32)))
OTHER_KEY = key_file(bytes(range(1, 33)))
WORDS = passphrase("correct planets orbit quietly")


class Counted:
    """SHA-256 of a seed and a counter, cut to what is asked for."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed.encode()
        self._count = 0

    def __call__(self, length: int) -> bytes:
        out = b""
        while len(out) < length:
            out += hashlib.sha256(self._seed + self._count.to_bytes(8, "big")).digest()
            self._count += 1
        return out[:length]
