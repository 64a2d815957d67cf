"""Issuers as they are out there: tokens minted by jwcrypto, which shares nothing with ours."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from jwcrypto import jwe, jwk, jws

ISSUER = "https://sts.contoso.example"
OTHER = "https://login.fabrikam.example/v2"
AUDIENCE = "credledger"
_KEYS: dict[str, jwk.JWK] = {}


def key(kind: str) -> jwk.JWK:
    """One key of each kind for all tests of a process, as making RSA keys takes its time."""
    if kind not in _KEYS:
        made = {
            "RSA": {"kty": "RSA", "size": 2048},
            "RSA-weak": {"kty": "RSA", "size": 1024},
            "EC": {"kty": "EC", "crv": "P-256"},
            "P-384": {"kty": "EC", "crv": "P-384"},
            "OKP": {"kty": "OKP", "crv": "Ed25519"},
        }[kind.removeprefix("stranger's ").removeprefix("other's ")]
        _KEYS[kind] = jwk.JWK.generate(kid=kind, **made)
    return _KEYS[kind]


def jwks(*kinds: str, **members: object) -> str:
    """What an issuer publishes."""
    return json.dumps(
        {"keys": [{**key(kind).export_public(as_dict=True), **members} for kind in kinds]}
    )


def b64(content: bytes | str | dict) -> str:
    """base64url without padding, of JSON where it is a map."""
    if isinstance(content, dict):
        content = json.dumps(content)
    raw = content.encode() if isinstance(content, str) else content
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: dict | str, payload: dict | str | bytes, by: jwk.JWK, algorithm: str) -> str:
    """A token of exactly these bytes, signed past all that a library would refuse to sign."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    core = jws.JWSCore(algorithm, by, None, payload="x", algs=[algorithm])
    made = core.engine.sign(core.key, signing_input.encode())
    return f"{signing_input}.{b64(made)}"


@dataclass
class Minted:
    """A good token, and any part of it told otherwise."""

    now: int
    """Seconds UTC."""
    claims: dict = field(default_factory=dict)
    header: dict = field(default_factory=dict)
    kind: str = "EC"
    algorithm: str = "ES256"
    without: tuple[str, ...] = ()

    @property
    def whole(self) -> dict:
        good = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "alice",
            "client_id": "report",
            "jti": "7d9f",
            "iat": self.now,
            "exp": self.now + 600,
        }
        said = {**good, **self.claims}
        return {name: value for name, value in said.items() if name not in self.without}

    @property
    def heading(self) -> dict:
        said = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kind, **self.header}
        return {name: value for name, value in said.items() if value is not None}

    def text(self) -> str:
        return signed(self.heading, self.whole, key(self.kind), self.algorithm)


def mint(now: int, *, by: str = "EC", alg: str = "ES256", header=None, without=(), **claims) -> str:
    """A good token with these claims put in; an underscore ends a name that Python keeps."""
    said = {name.rstrip("_"): value for name, value in claims.items()}
    return Minted(now, said, header or {}, by, alg, tuple(without)).text()


def encrypt(text: str | bytes, to: dict, alg: str = "ECDH-ES", **header: object) -> str:
    """A token encrypted to a published key; what is not said of the header is as it should be."""
    heading = {"alg": alg, "enc": "A256GCM", "cty": "JWT", "kid": to.get("kid"), **header}
    heading = {name: value for name, value in heading.items() if value is not None}
    content = text if isinstance(text, bytes) else text.encode()
    allowed = [
        "ECDH-ES", "ECDH-ES+A256KW", "ECDH-ES+A128KW", "RSA-OAEP-256", "RSA-OAEP", "RSA1_5",
        "A256GCM", "A128GCM", "A128CBC-HS256",
    ]  # fmt: skip
    token = jwe.JWE(content, json.dumps(heading), algs=allowed)
    token.add_recipient(jwk.JWK(**{k: v for k, v in to.items() if k != "use"}))
    return token.serialize(compact=True)
