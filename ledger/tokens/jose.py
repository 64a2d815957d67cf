"""The one place that knows the JOSE library: signatures, decryption, and public keys.

Which algorithm is used is never the token's choice alone: whoever calls names it, and the key must
be of the one kind that it works with, so an RSA key is no HMAC secret and no key of one curve
serves another (RFC 8725, sections 3.1 and 3.2). Keys come from a trusted issuer's JWKS or from the
keyring, never from a token's header.

    RS256, PS256    RSA of 2048 to 8192 bits            ECDH-ES, ECDH-ES+A256KW    P-256
    ES256           P-256                               RSA-OAEP-256               RSA
    EdDSA           Ed25519                             content: A256GCM only, never compressed
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from ledger.discreet import Discreet
from ledger.errors import InvalidInput
from ledger.sealing.confidential import Confidential
from ledger.sealing.service_keys import ServicePair, published
from ledger.tokens.strict_json import parse_object

JWKS_BYTES_MAX = 64 * 1024
_KEYS_MAX = 64
_RSA_BITS = range(2048, 8193)
_KID_LENGTH_MAX = 256
_AGREEING, _TRANSPORTING = ("ECDH-ES", "ECDH-ES+A256KW"), ("RSA-OAEP-256",)
ENCRYPTION_ALGORITHMS = (*_AGREEING, *_TRANSPORTING)
CONTENT_ALGORITHM = "A256GCM"
_SERVES = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""Which algorithms a key of this type and curve serves."""
_KEPT = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""What is kept of a key of this type."""
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

Key = RSAKey | ECKey | OKPKey
_NOT_SO = (JoseError, ValueError, TypeError, KeyError, AssertionError, ArithmeticError)
"""What the library raises for bytes that are not what they should be."""


class VerifyingKey(Discreet, msgspec.Struct, frozen=True):
    """One public key of an issuer."""

    SHOWN: ClassVar = ("kid", "algorithms")

    kid: str | None
    algorithms: tuple[str, ...]
    """Those that it may be used with."""
    entry: Mapping[str, str]
    """Its public members and nothing else."""
    key: Key


class DecryptingKey(Confidential, msgspec.Struct, frozen=True):
    """One private key of the service."""

    SHOWN: ClassVar = ("kid", "algorithms")

    kid: str
    algorithms: tuple[str, ...]
    key: Key


class _Registry(JWSRegistry):
    """One algorithm, named by the caller; the library's own defaults do not count."""

    def get_alg(self, name: str) -> Any:  # its type is not exported
        assert self.allowed is not None
        if name not in self.allowed:
            raise ValueError("not the algorithm that was asked for")
        return self.algorithms[name]


def read_keys(document: bytes) -> tuple[VerifyingKey, ...]:
    """The keys of a JWKS that signatures can be verified with; `invalid-jwks`.

    Keys for other purposes are passed over. A set that holds any secret is refused as a whole.
    """
    found = keys_in(document)
    if not found:
        raise none_verifies()
    return found


def keys_in(document: bytes) -> tuple[VerifyingKey, ...]:
    """The same of a set that may have none, as an issuer publishes who has withdrawn them all."""
    if len(document) > JWKS_BYTES_MAX:
        raise _invalid(f"A key set has at most {JWKS_BYTES_MAX // 1024} KiB.")
    try:
        entries = parse_object(document)["keys"]
        if not isinstance(entries, list) or len(entries) > _KEYS_MAX:
            raise _invalid(f"A key set lists at most {_KEYS_MAX} keys.")
        found = [key for entry in entries if (key := _verifying_key(entry)) is not None]
    except _NOT_SO as error:
        raise _invalid("This is no JWKS (RFC 7517) with sound public keys.") from error
    seen: set[tuple[str | None, str]] = set()
    for one in found:
        for algorithm in one.algorithms:
            if (one.kid, algorithm) in seen:
                raise _invalid("Two keys of the set cannot be told apart by their `kid`.")
            seen.add((one.kid, algorithm))
    return tuple(found)


def none_verifies() -> InvalidInput:
    """A key set is sound, and of no use here."""
    return _invalid("The key set has no key that signatures of tokens can be verified with.")


def keys_text(keys: tuple[VerifyingKey, ...]) -> str:
    """The same keys as a JWKS with nothing else in it."""
    return json.dumps({"keys": [dict(key.entry) for key in keys]}, separators=(",", ":"))


def is_signed_by(text: bytes, algorithm: str, key: VerifyingKey) -> bool:
    """Whether this key made the signature of a compact token, with this algorithm."""
    if algorithm not in key.algorithms:
        return False
    try:
        jws.deserialize_compact(text, key.key, registry=_Registry(algorithms=[algorithm]))
    except _NOT_SO:
        return False
    return True


def decrypting_keys(pair: ServicePair) -> tuple[DecryptingKey, ...]:
    """A pair's keys, ready; takes most of a second."""
    elliptic, rsa = pair.opened()
    return (
        DecryptingKey(published(elliptic)["kid"], _AGREEING, ECKey(elliptic, elliptic)),
        DecryptingKey(published(rsa)["kid"], _TRANSPORTING, RSAKey(rsa, rsa)),
    )


def decrypted(text: bytes, algorithm: str, key: DecryptingKey) -> bytes | None:
    """What a compact token holds that was encrypted to this key; None if it was not."""
    if algorithm not in key.algorithms:
        return None
    registry = jwe.JWERegistry(algorithms=[algorithm, CONTENT_ALGORITHM])
    try:
        return jwe.decrypt_compact(text, key.key, registry=registry).plaintext
    except _NOT_SO:
        return None


def _verifying_key(entry: Any) -> VerifyingKey | None:
    if not isinstance(entry, dict) or _SECRET & entry.keys() or entry.get("kty") == "oct":
        raise ValueError("no public key")
    kid, kind, curve = entry.get("kid"), entry.get("kty"), entry.get("crv")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _KID_LENGTH_MAX):
        raise ValueError("no kid")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        raise TypeError("no kind of key")
    serves = _SERVES.get((kind, curve), ())
    if "alg" in entry:
        serves = tuple(name for name in serves if name == entry["alg"])
    operations = entry.get("key_ops", ["verify"])
    if not serves or entry.get("use", "sig") != "sig" or "verify" not in operations:
        return None
    names = ("kty", *_KEPT[kind], *(name for name in ("kid", "alg") if name in entry))
    kept = {name: entry[name] for name in names}
    if not all(isinstance(value, str) for value in kept.values()):
        raise ValueError("a member is no text")
    if kind == "RSA":
        _require_sound(kept)
    key = JWKRegistry.import_key(kept)
    assert isinstance(key, RSAKey | ECKey | OKPKey)
    return VerifyingKey(kid, serves, kept, key)


def _require_sound(entry: Mapping[str, str]) -> None:
    """ValueError for an RSA key that is weak, before anything is done with it."""
    modulus, exponent = (_number(entry[name]) for name in ("n", "e"))
    if modulus.bit_length() not in _RSA_BITS or exponent < 3 or exponent % 2 == 0:
        raise ValueError("a weak key")


def _number(text: str) -> int:
    raw = text.encode()
    return int.from_bytes(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)), "big")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(
        "invalid-jwks",
        message,
        hint="Give what the issuer publishes as its `jwks_uri`; nothing was changed.",
    )
