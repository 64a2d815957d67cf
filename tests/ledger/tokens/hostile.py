"""Tokens that must not be believed: what to send, what is recorded of it, and of whom.

Each is made of a good token by changing one thing, so that nothing but this can be why it is
refused. `ISSUER` and `OTHER` are trusted; `SEALED` is, if its tokens are encrypted. Nobody trusts
the stranger.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from jwcrypto import jwe, jwk

from tests.ledger.tokens.minting import (
    AUDIENCE,
    ISSUER,
    OTHER,
    Minted,
    b64,
    encrypt,
    jwks,
    key,
    mint,
    signed,
)

SEALED = "https://sealed.contoso.example"
SKEW_S, LIFE_S = 30, 3600


@dataclass(frozen=True, eq=False)
class Scene:
    """What an attacker knows: the time, and the public keys of everybody."""

    now: int
    elliptic: dict
    """The service's public EC key."""
    rsa: dict


@dataclass(frozen=True)
class Hostile:
    """One token that is refused."""

    make: Callable[[Scene], str | bytes]
    why: str
    verified: bool = False
    """Whether a trusted issuer did sign it, so that it is recorded singly."""
    application: str | None = None
    """What the request names."""
    after: Callable[[Scene], str] | None = None
    """A good token that is used before it."""


def good(scene: Scene, **said) -> str:
    return mint(scene.now, **said)


def parts(scene: Scene) -> list[str]:
    return good(scene).split(".")


def hmac_signed(scene: Scene, secret: bytes) -> str:
    """HS256 with a public key as the secret."""
    head, payload = b64({"alg": "HS256", "typ": "at+jwt", "kid": "RSA"}), parts(scene)[1]
    mac = hmac.digest(secret, f"{head}.{payload}".encode(), hashlib.sha256)
    return f"{head}.{payload}.{b64(mac)}"


def by_stranger(scene: Scene, **header) -> str:
    """Signed by a stranger, with whatever should make us look for the stranger's key."""
    return mint(scene.now, by="stranger's EC", header={"kid": "EC", **header})


def own_key() -> dict:
    return key("stranger's EC").export_public(as_dict=True)


def raw_claims(scene: Scene, text: str | bytes) -> str:
    """Signed by the issuer, whatever the text is."""
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "EC"}
    return signed(header, text, key("EC"), "ES256")


def raw_header(scene: Scene, text: str) -> str:
    return signed(text, json.loads(_payload(scene)), key("EC"), "ES256")


def _payload(scene: Scene) -> str:
    return json.dumps(Minted(scene.now).whole)


def with_signature(scene: Scene, change: Callable[[bytes], bytes]) -> str:
    head, payload, signature = parts(scene)
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{head}.{payload}.{b64(change(raw))}"


def cut(token: str) -> str:
    """The same without the end of its ciphertext."""
    told = token.split(".")
    told[3] = b64(base64.urlsafe_b64decode(told[3] + "==")[:-6])
    return ".".join(told)


def uncanonical(scene: Scene) -> str:
    """The same bytes in another spelling: bits of the last letter that do not count."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = good(scene)
    return token[:-1] + letters[letters.index(token[-1]) | 1]


def compressed(scene: Scene) -> str:
    """Ten megabytes in a few kilobytes, behind `zip`."""
    bomb = zlib.compress(b" " * 10_000_000, 9)[2:-4]
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "zip": "DEF"}
    token = jwe.JWE(bomb, json.dumps({name: header[name] for name in ("alg", "enc", "cty")}))
    token.add_recipient(jwk.JWK(**{n: v for n, v in scene.elliptic.items() if n != "use"}))
    return _reheaded(token.serialize(compact=True), zip="DEF")


def _reheaded(token: str, **header) -> str:
    head, *rest = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(head + "=="))
    return ".".join((b64({**told, **header}), *rest))


def of_other(scene: Scene, **said) -> str:
    """One of the other issuer's, which are of another type, and good for one use."""
    return mint(scene.now, **{"by": "other's EC", "header": {"typ": "JWT"}, "iss": OTHER, **said})


@functools.cache
def used(scene: Scene, jti: str) -> str:
    """The same bytes each time: they are shown once, and then again."""
    return of_other(scene, jti=jti)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


HOSTILE: dict[str, Hostile] = {
    # what is no token
    "nothing": Hostile(lambda s: "", "malformed"),
    "one part": Hostile(lambda s: "eyJhbGciOiJub25lIn0", "malformed"),
    "two parts": Hostile(lambda s: ".".join(parts(s)[:2]), "malformed"),
    "four parts": Hostile(lambda s: good(s) + ".AAAA", "malformed"),
    "six parts": Hostile(lambda s: good(s) + ".AAAA.AAAA.AAAA", "malformed"),
    "bytes that are no text": Hostile(lambda s: b"\xff\xfe.\x00.\x01", "malformed"),
    "JSON serialization": Hostile(
        lambda s: json.dumps(
            dict(zip(("protected", "payload", "signature"), parts(s), strict=True))
        ),
        "malformed",
    ),
    "huge": Hostile(lambda s: good(s, pad="x" * 20_000), "too-large"),
    "a million bytes": Hostile(lambda s: "A" * 1_000_000, "too-large"),
    "a blank before it": Hostile(lambda s: " " + good(s), "malformed"),
    "a line end inside": Hostile(lambda s: good(s).replace(".", ".\n", 1), "malformed"),
    "padded": Hostile(lambda s: good(s) + "==", "malformed"),
    "base64 of the other alphabet": Hostile(lambda s: good(s)[:-4] + "+/+/", "malformed"),
    "another spelling of its signature": Hostile(uncanonical, "malformed"),
    "truncated": Hostile(lambda s: with_signature(s, lambda raw: raw[:-15]), "bad-signature"),
    "truncated to an empty signature": Hostile(
        lambda s: good(s).rsplit(".", 1)[0] + ".", "malformed"
    ),
    "a header that is a list": Hostile(lambda s: raw_header(s, '["ES256"]'), "malformed"),
    "a header that is no JSON": Hostile(lambda s: raw_header(s, "ES256"), "malformed"),
    "a header with a key twice": Hostile(
        lambda s: raw_header(s, '{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"EC"}'),
        "malformed",
    ),
    "a huge header": Hostile(lambda s: good(s, header={"kid": "k" * 2000}), "malformed"),
    "claims with a key twice": Hostile(
        lambda s: raw_claims(s, _payload(s)[:-1] + ', "sub": "root"}'), "malformed"
    ),
    "claims that are a list": Hostile(lambda s: raw_claims(s, f"[{_payload(s)}]"), "malformed"),
    "claims nested too deep": Hostile(
        lambda s: raw_claims(s, f'{_payload(s)[:-1]}, "x": {nested(20)}}}'), "malformed"
    ),
    "claims nested ten thousand deep": Hostile(lambda s: raw_claims(s, nested(5000)), "malformed"),
    "claims that are not UTF-8": Hostile(
        lambda s: raw_claims(s, _payload(s).encode("utf-16")), "malformed"
    ),
    "claims with half a surrogate pair": Hostile(
        lambda s: raw_claims(s, _payload(s).replace("alice", "al\\ud800ice")), "malformed"
    ),
    "claims with NaN": Hostile(
        lambda s: raw_claims(s, _payload(s)[:-1] + ', "nbf": NaN}'), "malformed"
    ),
    # algorithms
    "none": Hostile(lambda s: f"{b64({'alg': 'none'})}.{parts(s)[1]}.", "malformed"),
    "none with a signature": Hostile(
        lambda s: good(s, header={"alg": "none"}), "algorithm-not-allowed"
    ),
    "None in capitals": Hostile(
        lambda s: good(s, header={"alg": "nOnE"}), "algorithm-not-allowed"
    ),
    "signature stripped": Hostile(
        lambda s: f"{parts(s)[0]}.{parts(s)[1]}.{b64(bytes(64))}", "bad-signature"
    ),
    "a signature of zeros for an RSA key": Hostile(
        lambda s: ".".join((*good(s, by="RSA", alg="RS256").split(".")[:2], b64(bytes(256)))),
        "bad-signature",
    ),
    "HMAC with the public key as secret": Hostile(
        lambda s: hmac_signed(s, key("RSA").export_to_pem()), "algorithm-not-allowed"
    ),
    "HMAC with the published key set as secret": Hostile(
        lambda s: hmac_signed(s, jwks("RSA").encode()), "algorithm-not-allowed"
    ),
    "an algorithm that the issuer does not use": Hostile(
        lambda s: good(s, by="RSA", alg="PS256"), "algorithm-not-allowed"
    ),
    "an RSA signature called ES256": Hostile(
        lambda s: good(s, by="RSA", alg="RS256", header={"alg": "ES256"}), "key-unknown"
    ),
    "PS256 called RS256": Hostile(
        lambda s: good(s, by="RSA", alg="PS256", header={"alg": "RS256"}), "bad-signature"
    ),
    "ES256 called EdDSA": Hostile(
        lambda s: good(s, header={"alg": "EdDSA", "kid": "OKP"}), "bad-signature"
    ),
    "an algorithm that is a list": Hostile(
        lambda s: good(s, header={"alg": ["ES256"]}), "algorithm-not-allowed"
    ),
    "no algorithm": Hostile(lambda s: good(s, header={"alg": None}), "algorithm-not-allowed"),
    # keys from the header
    "an embedded key": Hostile(lambda s: by_stranger(s, jwk=own_key()), "header-not-allowed"),
    "a key by URL": Hostile(
        lambda s: by_stranger(s, jku="https://evil.example/keys"), "header-not-allowed"
    ),
    "a certificate by URL": Hostile(
        lambda s: by_stranger(s, x5u="https://evil.example/cert"), "header-not-allowed"
    ),
    "an embedded certificate": Hostile(lambda s: by_stranger(s, x5c=["MIIB"]), "header-not-allowed"),
    "an embedded key beside a good signature": Hostile(
        lambda s: good(s, header={"jwk": key("EC").export_public(as_dict=True)}),
        "header-not-allowed",
    ),
    "a critical header": Hostile(
        lambda s: good(s, header={"crit": ["exp"], "exp": 1}), "header-not-allowed"
    ),
    "a critical header of nothing": Hostile(
        lambda s: good(s, header={"crit": []}), "header-not-allowed"
    ),
    "an unencoded payload": Hostile(
        lambda s: good(s, header={"b64": False, "crit": ["b64"]}), "header-not-allowed"
    ),
    "a header nobody knows": Hostile(lambda s: good(s, header={"trust": "me"}), "header-not-allowed"),
    "a key that there is not": Hostile(lambda s: good(s, header={"kid": "EC-2"}), "key-unknown"),
    "a key name that is a path": Hostile(
        lambda s: good(s, header={"kid": "../../etc/passwd"}), "key-unknown"
    ),
    "a key name that is a number": Hostile(
        lambda s: good(s, header={"kid": 7}), "header-not-allowed"
    ),
    "a stranger's signature": Hostile(by_stranger, "bad-signature"),
    "a stranger's signature, no key named": Hostile(
        lambda s: by_stranger(s, kid=None), "bad-signature"
    ),
    "another issuer's signature": Hostile(
        lambda s: mint(s.now, by="other's EC", header={"kid": "EC"}), "bad-signature"
    ),
    "one bit of the signature": Hostile(
        lambda s: with_signature(s, lambda raw: bytes((raw[0] ^ 1,)) + raw[1:]), "bad-signature"
    ),
    "a signature in DER": Hostile(
        lambda s: with_signature(s, lambda raw: b"0D\x02 " + raw[:32] + b"\x02 " + raw[32:]),
        "bad-signature",
    ),
    "claims changed under the signature": Hostile(
        lambda s: f"{parts(s)[0]}.{b64(_payload(s).replace('alice', 'root'))}.{parts(s)[2]}",
        "bad-signature",
    ),
    # type
    "of no type": Hostile(lambda s: good(s, header={"typ": None}), "type-not-allowed"),
    "an ID token": Hostile(lambda s: good(s, header={"typ": "JWT"}), "type-not-allowed"),
    "a logout token": Hostile(lambda s: good(s, header={"typ": "logout+jwt"}), "type-not-allowed"),
    "a type that is a list": Hostile(
        lambda s: good(s, header={"typ": ["at+jwt"]}), "type-not-allowed"
    ),
    # issuer
    "an issuer nobody trusts": Hostile(
        lambda s: good(s, iss="https://evil.example"), "issuer-not-trusted"
    ),
    "issuers as a list": Hostile(lambda s: good(s, iss=[ISSUER]), "issuer-not-trusted"),
    "two issuers": Hostile(lambda s: good(s, iss=["https://evil.example", ISSUER]), "issuer-not-trusted"),
    "no issuer": Hostile(lambda s: good(s, without=("iss",)), "issuer-not-trusted"),
    "an issuer as a map": Hostile(lambda s: good(s, iss={"url": ISSUER}), "issuer-not-trusted"),
    "an issuer with a slash more": Hostile(lambda s: good(s, iss=ISSUER + "/"), "issuer-not-trusted"),
    "an issuer in capitals": Hostile(lambda s: good(s, iss=ISSUER.upper()), "issuer-not-trusted"),
    "an issuer with a blank": Hostile(lambda s: good(s, iss=ISSUER + " "), "issuer-not-trusted"),
    "an issuer with a zero byte": Hostile(
        lambda s: good(s, iss=ISSUER + "\0"), "issuer-not-trusted"
    ),
    "local as an issuer": Hostile(lambda s: good(s, iss="local"), "issuer-not-trusted"),
    "one issuer in the name of another": Hostile(lambda s: good(s, iss=OTHER), "type-not-allowed"),
    # audience, after the signature: recorded singly
    "no audience": Hostile(lambda s: good(s, without=("aud",)), "wrong-audience", True),
    "another audience": Hostile(lambda s: good(s, aud="billing"), "wrong-audience", True),
    "an audience that begins alike": Hostile(
        lambda s: good(s, aud=AUDIENCE + "-test"), "wrong-audience", True
    ),
    "an audience in capitals": Hostile(lambda s: good(s, aud="CREDLEDGER"), "wrong-audience", True),
    "no audience in the list": Hostile(lambda s: good(s, aud=[]), "wrong-audience", True),
    "a number among audiences": Hostile(
        lambda s: good(s, aud=[AUDIENCE, 7]), "wrong-audience", True
    ),
    "a list in the list of audiences": Hostile(
        lambda s: good(s, aud=[[AUDIENCE]]), "wrong-audience", True
    ),
    "an audience as a map": Hostile(lambda s: good(s, aud={AUDIENCE: 1}), "wrong-audience", True),
    # times
    "expired a second beyond the skew": Hostile(
        lambda s: good(s, iat=s.now - 600, exp=s.now - SKEW_S - 1), "expired", True
    ),
    "expired to the second with the skew": Hostile(
        lambda s: good(s, iat=s.now - 600, exp=s.now - SKEW_S), "expired", True
    ),
    "no expiry": Hostile(lambda s: good(s, without=("exp",)), "claim-missing", True),
    "expiry as text": Hostile(lambda s: good(s, exp=str(s.now + 600)), "invalid-time", True),
    "expiry true": Hostile(lambda s: good(s, exp=True), "invalid-time", True),
    "expiry beyond all time": Hostile(lambda s: good(s, exp=1e300), "invalid-time", True),
    "expiry in milliseconds": Hostile(
        lambda s: good(s, exp=(s.now + 600) * 1000), "invalid-time", True
    ),
    "expiry before its issue": Hostile(lambda s: good(s, exp=s.now - 1), "invalid-time", True),
    "expiry before the beginning of time": Hostile(lambda s: good(s, exp=-1), "invalid-time", True),
    "no time of issue": Hostile(lambda s: good(s, without=("iat",)), "claim-missing", True),
    "issued in the future": Hostile(
        lambda s: good(s, iat=s.now + SKEW_S + 5, exp=s.now + 600), "not-yet-valid", True
    ),
    "not valid yet": Hostile(lambda s: good(s, nbf=s.now + SKEW_S + 5), "not-yet-valid", True),
    "not valid before a text": Hostile(lambda s: good(s, nbf="0"), "invalid-time", True),
    "too long-lived": Hostile(
        lambda s: good(s, exp=s.now + LIFE_S + 1), "too-long-lived", True
    ),
    # names
    "no user": Hostile(lambda s: good(s, without=("sub",)), "claim-missing", True),
    "an empty user": Hostile(lambda s: good(s, sub=""), "invalid-claim", True),
    "a user of blanks": Hostile(lambda s: good(s, sub="  "), "invalid-claim", True),
    "a user with a blank before": Hostile(lambda s: good(s, sub=" alice"), "invalid-claim", True),
    "a user with a line end": Hostile(lambda s: good(s, sub="alice\nroot"), "invalid-claim", True),
    "a user with a zero byte": Hostile(lambda s: good(s, sub="alice\0"), "invalid-claim", True),
    "users as a list": Hostile(lambda s: good(s, sub=["alice"]), "invalid-claim", True),
    "a user as a number": Hostile(lambda s: good(s, sub=7), "invalid-claim", True),
    "a user as null": Hostile(lambda s: good(s, sub=None), "invalid-claim", True),
    "a user too long": Hostile(lambda s: good(s, sub="a" * 1100), "invalid-claim", True),
    "no token ID in an access token": Hostile(
        lambda s: good(s, without=("jti",)), "claim-missing", True
    ),
    "no client in an access token": Hostile(
        lambda s: good(s, without=("client_id",)), "claim-missing", True
    ),
    "a token ID that is a number": Hostile(lambda s: good(s, jti=7), "invalid-claim", True),
    "groups as a map": Hostile(lambda s: good(s, groups={"a": 1}), "invalid-claim", True),
    "a number among groups": Hostile(lambda s: good(s, groups=["a", 1]), "invalid-claim", True),
    "an empty group": Hostile(lambda s: good(s, groups=["a", ""]), "invalid-claim", True),
    "three hundred groups": Hostile(
        lambda s: good(s, groups=[f"g{n}" for n in range(300)]), "invalid-claim", True
    ),
    "an acting party as a text": Hostile(lambda s: good(s, act="robot"), "invalid-claim", True),
    "an acting party without a name": Hostile(lambda s: good(s, act={}), "invalid-claim", True),
    "an acting party as a list": Hostile(
        lambda s: good(s, act={"sub": ["robot"]}), "invalid-claim", True
    ),
    "bound to a key": Hostile(
        lambda s: good(s, cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        "bound-to-a-key",
        True,
    ),
    "bound to another application": Hostile(
        lambda s: good(s, app="payroll"), "other-application", True, application="billing"
    ),
    "an application that is a list": Hostile(
        lambda s: good(s, app=["payroll"]), "invalid-claim", True, application="payroll"
    ),
    "an application that can be none": Hostile(
        lambda s: good(s, app="pay/roll"), "invalid-claim", True, application="payroll"
    ),
    # what was used
    "used before": Hostile(
        lambda s: used(s, "once"), "replayed", True, after=lambda s: used(s, "once")
    ),
    "another token of a used ID": Hostile(
        lambda s: of_other(s, jti="twice", sub="bob", exp=s.now + 900),
        "replayed",
        True,
        after=lambda s: of_other(s, jti="twice"),
    ),
    "used before, encrypted since": Hostile(
        lambda s: encrypt(used(s, "sealed"), s.elliptic),
        "replayed",
        True,
        after=lambda s: used(s, "sealed"),
    ),
    "used before under encryption": Hostile(
        lambda s: used(s, "opened"),
        "replayed",
        True,
        after=lambda s: encrypt(used(s, "opened"), s.elliptic),
    ),
    # encryption
    "a compressed bomb": Hostile(compressed, "header-not-allowed"),
    "plain though it must be encrypted": Hostile(
        lambda s: good(s, iss=SEALED, by="EC"), "unencrypted", True
    ),
    "encrypted and not signed": Hostile(
        lambda s: encrypt(_payload(s), s.elliptic), "malformed"
    ),
    "encrypted with none inside": Hostile(
        lambda s: encrypt(f"{b64({'alg': 'none'})}.{parts(s)[1]}.", s.elliptic), "malformed"
    ),
    "encrypted twice": Hostile(
        lambda s: encrypt(encrypt(good(s), s.elliptic), s.elliptic), "malformed"
    ),
    "encrypted, signed by a stranger": Hostile(
        lambda s: encrypt(by_stranger(s), s.elliptic), "bad-signature"
    ),
    "encrypted, signed by another trusted issuer": Hostile(
        lambda s: encrypt(good(s, by="other's EC", header={"kid": "EC"}), s.elliptic),
        "bad-signature",
    ),
    "encrypted, signed by another trusted issuer under its own key's name": Hostile(
        lambda s: encrypt(good(s, by="other's EC"), s.elliptic), "key-unknown"
    ),
    "encrypted, of another trusted issuer, signed by the first": Hostile(
        lambda s: encrypt(of_other(s, by="EC", header={"typ": "JWT", "kid": "other's EC"}), s.elliptic),
        "bad-signature",
    ),
    "encrypted, of the issuer that must, signed by another trusted one": Hostile(
        lambda s: encrypt(good(s, iss=SEALED, by="other's EC", header={"kid": "EC"}), s.elliptic),
        "bad-signature",
    ),
    "encrypted, of another trusted issuer than the header says": Hostile(
        lambda s: encrypt(of_other(s, jti="outside"), s.elliptic, iss=SEALED), "header-not-allowed"
    ),
    "encrypted, of another trusted issuer, for another audience": Hostile(
        lambda s: encrypt(of_other(s, aud="billing"), s.elliptic), "wrong-audience", True
    ),
    "encrypted, of another trusted issuer, of the first one's type": Hostile(
        lambda s: encrypt(of_other(s, header={}), s.elliptic), "type-not-allowed"
    ),
    "encrypted to another trusted issuer": Hostile(
        lambda s: encrypt(good(s), key("other's EC").export_public(as_dict=True)), "undecryptable"
    ),
    "encrypted to another trusted issuer under our key's name": Hostile(
        lambda s: encrypt(
            good(s),
            {**key("other's EC").export_public(as_dict=True), "kid": s.elliptic["kid"]},
        ),
        "undecryptable",
    ),
    "encrypted, and signed outside": Hostile(
        lambda s: signed(
            {"alg": "ES256", "typ": "at+jwt", "kid": "EC"},
            encrypt(good(s), s.elliptic),
            key("EC"),
            "ES256",
        ),
        "malformed",
    ),
    "encrypted, and signed outside as a token in a token": Hostile(
        lambda s: signed(
            {"alg": "ES256", "typ": "at+jwt", "kid": "EC", "cty": "JWT"},
            encrypt(good(s), s.elliptic),
            key("EC"),
            "ES256",
        ),
        "malformed",
    ),
    "encrypted, of an issuer nobody trusts": Hostile(
        lambda s: encrypt(good(s, iss="https://evil.example"), s.elliptic), "issuer-not-trusted"
    ),
    "encrypted, expired": Hostile(
        lambda s: encrypt(good(s, iat=s.now - 600, exp=s.now - 90), s.elliptic), "expired", True
    ),
    "encrypted to somebody else": Hostile(
        lambda s: encrypt(good(s), {**own_key(), "kid": "EC"}), "undecryptable"
    ),
    "encrypted to somebody else under our key's name": Hostile(
        lambda s: encrypt(good(s), {**own_key(), "kid": s.elliptic["kid"]}), "undecryptable"
    ),
    "encrypted with RSA PKCS 1": Hostile(
        lambda s: encrypt(good(s), s.rsa, "RSA1_5"), "encryption-not-allowed"
    ),
    "encrypted with RSA-OAEP of SHA-1": Hostile(
        lambda s: encrypt(good(s), s.rsa, "RSA-OAEP"), "encryption-not-allowed"
    ),
    "encrypted with a smaller cipher": Hostile(
        lambda s: encrypt(good(s), s.elliptic, enc="A128GCM"), "encryption-not-allowed"
    ),
    "encrypted with another mode": Hostile(
        lambda s: encrypt(good(s), s.elliptic, enc="A128CBC-HS256"), "encryption-not-allowed"
    ),
    "encrypted with a smaller wrap": Hostile(
        lambda s: encrypt(good(s), s.elliptic, "ECDH-ES+A128KW"), "encryption-not-allowed"
    ),
    "encrypted with a shared secret": Hostile(
        lambda s: _reheaded(encrypt(good(s), s.elliptic), alg="dir"), "encryption-not-allowed"
    ),
    "encrypted, of another content": Hostile(
        lambda s: encrypt(good(s), s.elliptic, cty="json"), "type-not-allowed"
    ),
    "encrypted, of no content": Hostile(
        lambda s: encrypt(good(s), s.elliptic, cty=None), "type-not-allowed"
    ),
    "encrypted, with a critical header": Hostile(
        lambda s: _reheaded(encrypt(good(s), s.elliptic), crit=["zip"]), "header-not-allowed"
    ),
    "encrypted, the ephemeral key off the curve": Hostile(
        lambda s: _reheaded(
            encrypt(good(s), s.elliptic),
            epk={"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\2" * 32)},
        ),
        "undecryptable",
    ),
    "encrypted, the ephemeral key of another curve": Hostile(
        lambda s: _reheaded(
            encrypt(good(s), s.elliptic), epk=key("P-384").export_public(as_dict=True)
        ),
        "undecryptable",
    ),
    "encrypted, no ephemeral key": Hostile(
        lambda s: _reheaded(encrypt(good(s), s.elliptic), epk=None), "undecryptable"
    ),
    "encrypted, its tag changed": Hostile(
        lambda s: encrypt(good(s), s.elliptic).rsplit(".", 1)[0] + "." + b64(bytes(16)),
        "undecryptable",
    ),
    "encrypted, its header changed": Hostile(
        lambda s: _reheaded(encrypt(good(s), s.elliptic), apu="AAAA"), "undecryptable"
    ),
    "encrypted, the ciphertext cut": Hostile(
        lambda s: cut(encrypt(good(s), s.elliptic)),
        "undecryptable",
    ),
}  # fmt: skip
