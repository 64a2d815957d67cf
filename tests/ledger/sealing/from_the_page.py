"""A reader of keyrings and sealed bytes, written from the reference pages alone.

It imports nothing of the ledger and makes HPKE (RFC 9180, base mode, single shot) from X25519,
HMAC and AES-GCM, so that what the ledger writes is checked by something that did not write it.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

import msgpack
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

_KEM_ID = b"KEM\x00\x20"  # DHKEM(X25519, HKDF-SHA256)
_HPKE_ID = b"HPKE\x00\x20\x00\x01\x00\x02"  # with HKDF-SHA256 and AES-256-GCM


def expand(key, info, length=32):
    """HKDF-Expand, RFC 5869, up to two blocks."""
    first = hmac.digest(key, info + b"\x01", "sha256")
    return (first + hmac.digest(key, first + info + b"\x02", "sha256"))[:length]


def _extract(suite, salt, label, key):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")


def _labelled(suite, key, label, info, length):
    return expand(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def hpke_open(sealed, private, info):
    """RFC 9180, sections 4.1 and 5.1, mode 0."""
    encapsulated, text = sealed[:32], sealed[32:]
    own = X25519PrivateKey.from_private_bytes(private)
    shared = own.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + own.public_key().public_bytes_raw()
    prk = _extract(_KEM_ID, b"", b"eae_prk", shared)
    secret = _labelled(_KEM_ID, prk, b"shared_secret", context, 32)
    schedule = (
        b"\x00"
        + _extract(_HPKE_ID, b"", b"psk_id_hash", b"")
        + _extract(_HPKE_ID, b"", b"info_hash", info)
    )
    secret = _extract(_HPKE_ID, secret, b"secret", b"")
    key = _labelled(_HPKE_ID, secret, b"key", schedule, 32)
    nonce = _labelled(_HPKE_ID, secret, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, text, b"")


def open_envelope(key, sealed, associated_data):
    """The plaintext of an envelope."""
    text = AESGCM(key).decrypt(sealed[:12], sealed[12:], associated_data)
    length = int.from_bytes(text[:4], "big")
    assert text[4 + length :] == bytes(len(text) - 4 - length)
    return text[4 : 4 + length]


def commitment(epoch, compartment, index, key):
    """What the log says of one key."""
    text = b"credledger/v1/commitment" + epoch.to_bytes(4, "big") + compartment.encode()
    return hashlib.sha256(text + index.to_bytes(2, "big") + key).digest()


def stream(key, *parts):
    """The sixteen bytes of a stream."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    text = b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
    return hmac.new(key, text, hashlib.sha256).digest()[:16]


def open_keyring(content, *, words=None, key_file=None, half=None):
    """Body, root, the slot's signing key, and the wrapped map of a keyring file."""
    magic, digest, raw = content[:21], content[21:53], content[53:]
    assert magic == b"CREDLEDGER-KEYRING 1\n"
    assert digest == hashlib.sha256(raw).digest()
    body = msgpack.unpackb(raw)
    kind = "shares" if half else "passphrase" if words is not None else "key-file"
    slot = next(slot for slot in body["slots"] if slot["kind"] == kind)
    info = b"credledger/v1/slot\x00" + body["ledger_id"] + slot["id"].to_bytes(4, "big")
    sealed = slot["sealed_private_key"]
    if half:
        assert sealed == b""
    elif words is not None:
        holding_key = Argon2id(
            salt=slot["salt"],
            length=32,
            iterations=slot["cost"]["iterations"],
            lanes=slot["cost"]["lanes"],
            memory_cost=slot["cost"]["memory_kib"],
        ).derive(unicodedata.normalize("NFC", words).encode())
    else:
        holding_key = expand(key_file, b"credledger/v1/key-file" + slot["salt"])
    private = half or AESGCM(holding_key).decrypt(sealed[:12], sealed[12:], info + b"private")
    root = hpke_open(slot["sealed_root"], private, info + b"root")
    signing = hpke_open(slot["sealed_signing_key"], private, info + b"signing")
    clear = {key: value for key, value in body.items() if key != "wrapped"}
    binding = b"credledger/v1/keyring" + hashlib.sha256(msgpack.packb(clear)).digest()
    wrapped = body["wrapped"]
    key = expand(root, b"credledger/v1/keyring-wrap")
    text = AESGCM(key).decrypt(wrapped[:12], wrapped[12:], binding)
    assert wrapped[:12] == hashlib.sha256(root + binding + text).digest()[:12]
    return body, root, signing, msgpack.unpackb(text)
