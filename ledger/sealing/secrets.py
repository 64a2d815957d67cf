"""Field values: the one place that seals and opens the `secret` compartment.

The associated data is "credledger/v1/secret" before that of the row that carries the blob, so the
same values cannot be moved to another mapping, version or epoch. The read side may not import
this module; an auditor's keyring has nothing to give it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import KeyUnavailable
from ledger.sealing.compartments import Compartment
from ledger.sealing.confidential import Confidential
from ledger.sealing.envelope import open_sealed, reseal, seal
from ledger.sealing.epochs import EpochKeys

_LABEL = b"credledger/v1/secret"


class SecretKeys(NamedTuple):
    """The ciphers that were held at some moment; what is given out can still be opened by them."""

    ciphers: dict[int, AESGCM]
    destroyed: frozenset[int]
    """Epochs whose other keys are held."""

    def open(self, epoch: int, sealed: bytes, row_aad: bytes) -> bytes:
        """As `SecretBox.open`."""
        return open_sealed(self.of(epoch), sealed, _LABEL + row_aad)

    def of(self, epoch: int) -> AESGCM:
        """The cipher of an epoch; `key-destroyed`, `secret-key-missing`."""
        cipher = self.ciphers.get(epoch)
        if cipher is None and epoch in self.destroyed:
            raise KeyUnavailable(
                "key-destroyed",
                f"The secret key of epoch {epoch} was destroyed; this keyring does not open its values.",
                hint="`credledger credential history` shows later versions that can be restored; of"
                " what is set now `credledger doctor` says what may bring it back.",
            )
        if cipher is None:
            raise KeyUnavailable(
                "secret-key-missing",
                f"The keyring does not hold the secret key of epoch {epoch}.",
                hint="An auditor's keyring never does; of an operator's `credledger doctor` says what"
                " may bring it back.",
            )
        return cipher


class SecretBox(Confidential):
    """Ciphers of the `secret` keys that a keyring holds."""

    def __init__(self, epochs: Iterable[EpochKeys]) -> None:
        self.hold(epochs)

    def hold(self, epochs: Iterable[EpochKeys]) -> None:
        """Hold these keys from now on, and no others."""
        held = {keys.epoch: keys.secret for keys in epochs}
        ciphers = {epoch: AESGCM(secret) for epoch, secret in held.items() if secret is not None}
        destroyed = held.keys() - ciphers.keys() if ciphers else ()
        self.now = SecretKeys(ciphers, frozenset(destroyed))
        """What is held at this moment."""

    def holds(self, epoch: int) -> bool:
        """Whether values of this epoch open."""
        return epoch in self.now.ciphers

    def seal(self, epoch: int, packed: bytes, row_aad: bytes, nonce: bytes) -> bytes:
        """Seal packed field values for the row with this associated data; errors as `open`."""
        try:
            cipher = self.now.of(epoch)
        except KeyUnavailable as error:
            raise KeyUnavailable(
                error.code,
                f"No value can be sealed: the keyring does not hold the secret key of epoch {epoch}.",
                hint="`credledger doctor` says what may bring it back, or how to go on without.",
            ) from error
        return seal(cipher, packed, _LABEL + row_aad, nonce, Compartment.SECRET)

    def open(self, epoch: int, sealed: bytes, row_aad: bytes) -> bytes:
        """The packed values; `sealed-unreadable`, `key-destroyed`, `secret-key-missing`."""
        return self.now.open(epoch, sealed, row_aad)

    def reseal(
        self, epoch: int, sealed: bytes, row_aad: bytes, to: int, to_aad: bytes, nonce: bytes
    ) -> bytes:
        """The same values under another epoch's key, for another row; nobody looks at them."""
        held = self.now
        before, after = held.of(epoch), held.of(to)
        return reseal(before, sealed, _LABEL + row_aad, after, _LABEL + to_aad, nonce)
