"""One sealed piece: padded, then AES-256-GCM.

    sealed = nonce (12) || ciphertext of (length u32 || plaintext || zeros) || tag (16)

`state` and `access` are padded to steps of 64 bytes, `secret` to 256, 512, 1024 ... bytes, so a
stored size tells little of what is inside. Nonces are random, 96 bits; keys are demanded to be
renewed long before 2^32 messages (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import Tampered
from ledger.sealing.compartments import Compartment

NONCE_BYTES = 12
TAG_BYTES = 16
_STEP = 64
_SECRET_BUCKET = 256
_LENGTH = struct.Struct(">I")


def padded(plaintext: bytes, compartment: Compartment) -> bytes:
    """Length, plaintext and zeros up to the compartment's next size."""
    needed = _LENGTH.size + len(plaintext)
    if compartment is Compartment.SECRET:
        size = _SECRET_BUCKET
        while size < needed:
            size *= 2
    else:
        size = -(-needed // _STEP) * _STEP
    return (_LENGTH.pack(len(plaintext)) + plaintext).ljust(size, b"\0")


def seal(
    cipher: AESGCM, plaintext: bytes, aad: bytes, nonce: bytes, compartment: Compartment
) -> bytes:
    """Seal under a fresh 12-byte nonce."""
    return seal_padded(cipher, padded(plaintext, compartment), aad, nonce)


def seal_padded(cipher: AESGCM, text: bytes, aad: bytes, nonce: bytes) -> bytes:
    """The same for a plaintext that was padded before."""
    return nonce + cipher.encrypt(nonce, text, aad)


def open_sealed(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    """The plaintext; `sealed-unreadable` if one byte, the place or the key is not the same."""
    return unpadded(_padded_in(cipher, sealed, aad))


def reseal(
    cipher: AESGCM, sealed: bytes, aad: bytes, to: AESGCM, to_aad: bytes, nonce: bytes
) -> bytes:
    """The same text under another key for another place, its padding included; errors as above."""
    text = _padded_in(cipher, sealed, aad)
    unpadded(text)
    return seal_padded(to, text, to_aad, nonce)


def unpadded(text: bytes) -> bytes:
    """The plaintext without its length and padding; `sealed-unreadable` where it has none."""
    try:
        (length,) = _LENGTH.unpack_from(text)
    except struct.error as error:
        raise _unreadable() from error
    if length > len(text) - _LENGTH.size:
        raise _unreadable()
    return text[_LENGTH.size : _LENGTH.size + length]


def _padded_in(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except (InvalidTag, ValueError) as error:
        raise _unreadable() from error


def _unreadable() -> Tampered:
    return Tampered(
        "sealed-unreadable", "A sealed event does not open: it was altered or moved elsewhere."
    )
