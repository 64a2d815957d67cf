"""The service's own key pairs, to which issuers encrypt tokens.

A *pair* is one EC key (P-256, for ECDH-ES) and one RSA key (for RSA-OAEP-256), made together and
replaced together. The public halves are published as a JWKS; the private ones never leave the
keyring. Two pairs are held: the newest, which is published, and the one before it, so that tokens
that were on their way still open while issuers learn of the new one.

    in the keyring, among the wrapped keys: [made at, EC PKCS #8, RSA PKCS #8]

A key's `kid` is its thumbprint (RFC 7638), so it need not be stored and cannot be another's.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, ClassVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey as EcKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey as RsaKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from ledger.errors import KeyUnavailable
from ledger.sealing.confidential import Confidential

PAIRS_KEPT = 2
_RSA_BITS = 3072
_POINT_BYTES = 32
_DER_BYTES_MAX = 8192


class ServicePair(Confidential, msgspec.Struct, frozen=True):
    """An EC and an RSA key, made together; sealed bytes until somebody needs them."""

    SHOWN: ClassVar = ("made_at",)

    made_at: int
    """Microseconds UTC; tells a keyring's pairs apart."""
    elliptic: bytes
    """PKCS #8, DER."""
    rsa: bytes
    """PKCS #8, DER."""

    def stored(self) -> list[Any]:
        """As it lies in the keyring."""
        return [self.made_at, self.elliptic, self.rsa]

    def opened(self) -> tuple[EcKey, RsaKey]:
        """Both keys; takes most of a second, so what opens tokens keeps them.

        `keyring-damaged` where they are none.
        """
        try:
            one = load_der_private_key(self.elliptic, None)
            two = load_der_private_key(self.rsa, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _damaged() from error
        fits = isinstance(one, EcKey) and isinstance(one.curve, SECP256R1)
        if not (fits and isinstance(two, RsaKey) and two.key_size == _RSA_BITS):
            raise _damaged()
        assert isinstance(one, EcKey)
        return one, two

    def public_jwks(self) -> tuple[dict[str, str], dict[str, str]]:
        """What is published of it: the EC and the RSA key, each with its `kid`."""
        one, two = self.opened()
        return published(one), published(two)


def new_pair(made_at: int) -> ServicePair:
    """Fresh keys; from the system's randomness, as the RSA primes take what they need."""
    one = ec.generate_private_key(SECP256R1())
    return ServicePair(made_at, _der(one), _der(rsa.generate_private_key(65537, _RSA_BITS)))


def pair_from(stored: Any) -> ServicePair:
    """A pair from a keyring; ValueError or TypeError for anything that cannot be one."""
    made_at, elliptic, other = stored
    if type(made_at) is not int or made_at < 0:
        raise ValueError("no time")
    for der in (elliptic, other):
        if not isinstance(der, bytes) or not 0 < len(der) <= _DER_BYTES_MAX:
            raise ValueError("no key")
    return ServicePair(made_at, elliptic, other)


def published(key: EcKey | RsaKey) -> dict[str, str]:
    """The public half as a JWK for encryption."""
    if isinstance(key, EcKey):
        point = key.public_key().public_numbers()
        members = {
            "crv": "P-256",
            "kty": "EC",
            "x": _number(point.x, _POINT_BYTES),
            "y": _number(point.y, _POINT_BYTES),
        }
    else:
        numbers = key.public_key().public_numbers()
        exponent = (numbers.e.bit_length() + 7) // 8
        modulus = _number(numbers.n, _RSA_BITS // 8)
        members = {"e": _number(numbers.e, exponent), "kty": "RSA", "n": modulus}
    return {**members, "kid": _thumbprint(members), "use": "enc"}


def _der(key: EcKey | RsaKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _number(value: int, size: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(size, "big")).rstrip(b"=").decode()


def _thumbprint(public: dict[str, str]) -> str:
    text = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()


def _damaged() -> KeyUnavailable:
    return KeyUnavailable(
        "keyring-damaged",
        "The keyring's service keys are none.",
        hint="Make new ones with `credledger key service rotate`.",
    )
