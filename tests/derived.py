"""Keys of passphrases that a process of tests has derived before are not derived anew.

A derivation is slow because it must be, even at the least cost that is allowed, and the same few
passphrases open the same few slots over and over. What is remembered is what Argon2id itself gave
for the same secret, salt and cost; whatever is new, or fails, is left to it.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import ledger.sealing.slots

_derived: dict[tuple[Any, ...], bytes] = {}


class DerivedOnce:
    """Argon2id to those who derive a key with it."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def derive(self, secret: bytes) -> bytes:
        asked = (secret, *sorted(self._settings.items()))
        if asked not in _derived:
            _derived[asked] = Argon2id(**self._settings).derive(secret)
        return _derived[asked]


def derive_once() -> None:
    """Let slots be sealed and opened so in this process from now on, and in those it forks."""
    ledger.sealing.slots.Argon2id = DerivedOnce
