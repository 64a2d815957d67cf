"""One sealed piece opens where it was sealed, and nowhere else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Tampered
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import NONCE_BYTES, TAG_BYTES, open_sealed, seal

CIPHER = AESGCM(bytes(32))
NONCE = bytes(range(12))
OVERHEAD = NONCE_BYTES + TAG_BYTES


@given(st.binary(max_size=3000), st.binary(max_size=100), st.sampled_from(Compartment))
def test_what_is_sealed_opens_again(plaintext, aad, compartment):
    """Any bytes come back from any compartment."""
    sealed = seal(CIPHER, plaintext, aad, NONCE, compartment)
    assert open_sealed(CIPHER, sealed, aad) == plaintext


@given(st.integers(0, 2000))
def test_sizes_tell_steps_only(length):
    """`state` and `access` grow by 64 bytes, `secret` by doubling from 256."""
    for compartment in (Compartment.STATE, Compartment.ACCESS):
        size = len(seal(CIPHER, bytes(length), b"", NONCE, compartment)) - OVERHEAD
        assert size % 64 == 0
        assert length + 4 <= size < length + 4 + 64
    size = len(seal(CIPHER, bytes(length), b"", NONCE, Compartment.SECRET)) - OVERHEAD
    assert size >= 256
    assert size & (size - 1) == 0
    assert size == 256 or size < 2 * (length + 4)


def test_every_altered_bit_is_noticed():
    """No bit of nonce, ciphertext or tag can be flipped."""
    sealed = seal(CIPHER, b"value", b"place", NONCE, Compartment.STATE)
    for index in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[index] ^= 1 << bit
            with pytest.raises(Tampered, match="does not open"):
                open_sealed(CIPHER, bytes(altered), b"place")


@pytest.mark.parametrize("length", range(OVERHEAD + 64))
def test_every_truncation_is_noticed(length):
    """A shorter piece does not open, not even an empty one."""
    sealed = seal(CIPHER, b"value", b"place", NONCE, Compartment.STATE)
    with pytest.raises(Tampered) as caught:
        open_sealed(CIPHER, sealed[:length], b"place")
    assert caught.value.code == "sealed-unreadable"


def test_another_place_or_key_does_not_open():
    """The associated data and the key must be those of the sealing."""
    sealed = seal(CIPHER, b"value", b"place", NONCE, Compartment.STATE)
    for cipher, aad in ((CIPHER, b"elsewhere"), (AESGCM(b"\x01" * 32), b"place")):
        with pytest.raises(Tampered):
            open_sealed(cipher, sealed, aad)


def test_a_length_beyond_the_text_is_refused():
    """A holder of the key cannot make a reader look outside the piece."""
    for text in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x02x", b"", b"\x00"):
        with pytest.raises(Tampered):
            open_sealed(CIPHER, NONCE + CIPHER.encrypt(NONCE, text, b""), b"")
