"""What a keyring's root wraps: the keys of all epochs and of stream names, the service's pairs.

    nonce (12) || AES-256-GCM under HKDF-Expand(root, "credledger/v1/keyring-wrap") of a msgpack map
        {"stream": key, "epochs": [[epoch, state, secret|nil, [120 access|nil]]]}
        and, where there are any, "service": [[made at, EC PKCS #8, RSA PKCS #8]]

The associated data is the keyring's binding, a digest of all else in the file.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ledger.errors import KeyUnavailable
from ledger.sealing.epochs import ACCESS_PERIODS, EPOCH_MAX, KEY_BYTES, EpochKeys
from ledger.sealing.service_keys import PAIRS_KEPT, ServicePair, pair_from

_NONCE_BYTES = 12


class WrappedKeys(NamedTuple):
    """The keys, in clear."""

    stream_key: bytes
    epochs: tuple[EpochKeys, ...]
    service: tuple[ServicePair, ...] = ()

    def sealed(self, root: bytes, binding: bytes) -> bytes:
        """What lies in the file."""
        listed = [[keys.epoch, keys.state, keys.secret, list(keys.access)] for keys in self.epochs]
        document: dict[str, Any] = {"stream": self.stream_key, "epochs": listed}
        if self.service:
            document["service"] = [pair.stored() for pair in self.service]
        text = msgpack.packb(document)
        # A function of the generation-bound content, under a key that is used for nothing else.
        nonce = hashlib.sha256(root + binding + text).digest()[:_NONCE_BYTES]
        return nonce + _cipher(root).encrypt(nonce, text, binding)


def unwrap(sealed: bytes, root: bytes, binding: bytes) -> WrappedKeys:
    """The keys of a file; `keyring-damaged` under another root, altered, or of a wrong shape."""
    try:
        text = _cipher(root).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], binding)
        document = msgpack.unpackb(text)
        return WrappedKeys(
            _key_from(document["stream"]),
            _epochs_from(document["epochs"]),
            _pairs_from(document.get("service", [])),
        )
    except (InvalidTag, ValueError, TypeError, KeyError) as error:
        raise keyring_damaged() from error


def keyring_damaged() -> KeyUnavailable:
    """The error for a file, or what is wrapped in it, that is no keyring."""
    return KeyUnavailable(
        "keyring-damaged",
        "The keyring is truncated, altered or no keyring at all.",
        hint="Put back a key backup with `credledger key restore`; this file is kept aside then.",
    )


def _epochs_from(listed: Any) -> tuple[EpochKeys, ...]:
    epochs = tuple(_epoch_from(*entry) for entry in listed)
    numbers = [keys.epoch for keys in epochs]
    if not numbers or numbers != sorted(set(numbers)):
        raise ValueError("no rising epochs")
    return epochs


def _pairs_from(listed: Any) -> tuple[ServicePair, ...]:
    pairs = tuple(pair_from(entry) for entry in listed)
    times = [pair.made_at for pair in pairs]
    if len(pairs) > PAIRS_KEPT or times != sorted(set(times)):
        raise ValueError("no rising pairs")
    return pairs


def _epoch_from(epoch: Any, state: Any, secret: Any, access: Any) -> EpochKeys:
    if type(epoch) is not int or not 1 <= epoch <= EPOCH_MAX or len(access) != ACCESS_PERIODS:
        raise ValueError("no epoch")
    return EpochKeys(
        epoch,
        _key_from(state),
        None if secret is None else _key_from(secret),
        tuple(None if key is None else _key_from(key) for key in access),
    )


def _key_from(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != KEY_BYTES:
        raise ValueError("no key")
    return value


def _cipher(root: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(SHA256(), 32, b"credledger/v1/keyring-wrap").derive(root))
