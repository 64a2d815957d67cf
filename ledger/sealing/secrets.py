"""Field values: the one place that seals and opens the `secret` compartment.

The associated data is "credledger/v1/secret" before that of the row that carries the blob, so the
same values cannot be moved to another mapping, version or epoch. The read side may not import
this module; an auditor's keyring has nothing to give it.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import KeyUnavailable
from ledger.sealing.compartments import Compartment
from ledger.sealing.confidential import Confidential
from ledger.sealing.envelope import open_sealed, seal
from ledger.sealing.epochs import EpochKeys

_LABEL = b"credledger/v1/secret"


class SecretBox(Confidential):
    """Ciphers of the `secret` keys that a keyring holds."""

    def __init__(self, epochs: Iterable[EpochKeys]) -> None:
        self._ciphers = {
            keys.epoch: AESGCM(keys.secret) for keys in epochs if keys.secret is not None
        }

    def seal(self, epoch: int, packed: bytes, row_aad: bytes, nonce: bytes) -> bytes:
        """Seal packed field values for the row with this associated data."""
        return seal(self._of(epoch), packed, _LABEL + row_aad, nonce, Compartment.SECRET)

    def open(self, epoch: int, sealed: bytes, row_aad: bytes) -> bytes:
        """The packed field values; `sealed-unreadable` or `secret-key-missing`."""
        return open_sealed(self._of(epoch), sealed, _LABEL + row_aad)

    def _of(self, epoch: int) -> AESGCM:
        cipher = self._ciphers.get(epoch)
        if cipher is None:
            raise KeyUnavailable(
                "secret-key-missing",
                f"The keyring does not hold the secret key of epoch {epoch}.",
                hint="An auditor's keyring never does; an operator's may have destroyed it.",
            )
        return cipher
