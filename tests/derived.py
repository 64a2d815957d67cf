"""Keys of passphrases that a process of tests has derived before are not derived anew.

A derivation is slow because it must be, even at the least cost that is allowed, and the same few
passphrases open the same few slots over and over. What is remembered is what Argon2id itself gave
for the same secret, salt and cost; whatever is new, or fails, is left to it.

Processes that are forked for one command each remember for one another in a folder: a file of the
derived key, under the hash of all that it was derived from. One that cannot be written or read is
one that is derived again.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import ledger.sealing.slots

_derived: dict[tuple[Any, ...], bytes] = {}
_folder: list[Path] = []
"""Where this process and those it forks remember for one another, if anywhere."""


class DerivedOnce:
    """Argon2id to those who derive a key with it."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def derive(self, secret: bytes) -> bytes:
        asked = (bytes(secret), *sorted(self._settings.items()))
        if asked not in _derived:
            _derived[asked] = self._remembered(asked) if _folder else self._new(secret)
        return _derived[asked]

    def _remembered(self, asked: tuple[Any, ...]) -> bytes:
        file = _folder[0] / hashlib.sha256(repr(asked).encode()).hexdigest()
        with contextlib.suppress(OSError):
            kept = file.read_bytes()
            if len(kept) == self._settings["length"]:
                return kept
        derived = self._new(asked[0])
        with contextlib.suppress(OSError):
            file.write_bytes(derived)
        return derived

    def _new(self, secret: bytes) -> bytes:
        return Argon2id(**self._settings).derive(secret)


def derive_once(folder: Path | None = None) -> None:
    """Let slots be sealed and opened so in this process from now on, and in those it forks."""
    _folder[:] = [folder] if folder else []
    ledger.sealing.slots.Argon2id = DerivedOnce
