"""Every claim of a token, checked after RFC 8725 and RFC 9068. Pure: settings and time are given.

Header parameters are an allow-list, so what names a key (`jwk`, `jku`, `x5u`, `x5c`), what must be
understood (`crit`), what unpacks (`zip`), and whatever will be invented is refused alike. Of the
signed ones, a claim that is of the wrong type is as bad as a wrong one: `iss` is one exact string,
times are numbers, names are plain text. What is not known is passed over, as RFC 7519 has it, but
for `cnf`: whoever shows a token that is bound to a key must prove the key, and here nobody can.

    before the signature    check_signed_header, check_encrypted_header, issuer_named
    after it                believed, within
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from ledger.aggregates.issuers import Issuer
from ledger.aggregates.presented import PresentedToken
from ledger.claims import LOCAL, Claim, casefolded, parse_claim
from ledger.errors import InvalidInput
from ledger.identifiers import application_key
from ledger.tokens.doubt import NotBelievedError, Why
from ledger.tokens.jose import CONTENT_ALGORITHM, ENCRYPTION_ALGORITHMS

_SIGNED_HEADER = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})
_ENCRYPTED_HEADER = frozenset({"alg", "enc", "typ", "cty", "kid", "epk", "apu", "apv"})
_GROUPS_MAX = 256
_AUDIENCES_MAX = 32
_NAME_LENGTH_MAX = 512
_TIME_MAX = 253_402_300_799
"""The last second of the year 9999."""
_US = 1_000_000

Claims = Mapping[str, Any]


class Believed(msgspec.Struct, frozen=True):
    """What a token says that was verified."""

    claim: Claim
    groups: tuple[Claim, ...]
    token: PresentedToken


def check_signed_header(header: Claims) -> tuple[str, str | None]:
    """The algorithm and `kid` that a signed token names; `NotBelievedError`."""
    _require(header.keys() <= _SIGNED_HEADER, "header-not-allowed")
    algorithm = header.get("alg")
    _require(isinstance(algorithm, str), "algorithm-not-allowed")
    return str(algorithm), _kid(header)


def check_encrypted_header(header: Claims) -> tuple[str, str | None]:
    """The algorithm and `kid` that an encrypted token names; `NotBelievedError`.

    Inside must be a signed one, and it says so: `cty` is `JWT` (RFC 7519, section 5.2).
    """
    _require(header.keys() <= _ENCRYPTED_HEADER, "header-not-allowed")
    algorithm = header.get("alg")
    allowed = algorithm in ENCRYPTION_ALGORITHMS and header.get("enc") == CONTENT_ALGORITHM
    _require(allowed, "encryption-not-allowed")
    inside = header.get("cty")
    _require(isinstance(inside, str) and inside.upper() == "JWT", "type-not-allowed")
    return str(algorithm), _kid(header)


def issuer_named(claims: Claims) -> str:
    """Who a token says it is from, which is not believed yet; one string, never a list."""
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise NotBelievedError("issuer-not-trusted")
    return issuer


def check_type(header: Claims, issuer: Issuer) -> None:
    """Whether the token is of the issuer's type (RFC 8725, section 3.11)."""
    kind = header.get("typ")
    _require(isinstance(kind, str), "type-not-allowed")
    name = str(kind).lower().removeprefix("application/")
    _require(name == issuer.settings.token_type.lower(), "type-not-allowed")


def believed(claims: Claims, issuer: Issuer, now: int) -> Believed:
    """Whom a token speaks for whose signature is the issuer's; `now` is microseconds UTC."""
    settings = issuer.settings
    _require(claims.get("iss") == issuer.issuer, "issuer-not-trusted")
    _check_audience(claims, settings.audience)
    _require("cnf" not in claims, "bound-to-a-key")
    expires_at = _check_times(claims, issuer, now)
    if settings.token_type == "at+jwt":
        _require({"sub", "client_id", "iat", "jti"} <= claims.keys(), "claim-missing")
    if settings.refuses_replay:
        _require("jti" in claims, "claim-missing")
    name_in(claims, "sub")
    bound = name_in(claims, settings.application_claim) if settings.application_claim else ""
    token = PresentedToken(
        issuer=issuer.issuer,
        settings=issuer.position,
        application=_application(bound),
        id=name_in(claims, "jti"),
        client=name_in(claims, "client_id") or name_in(claims, "azp"),
        acting=_acting(claims, issuer.issuer),
        expires_at=expires_at,
    )
    return Believed(user_of(claims, issuer), _groups(claims, issuer), token)


def user_of(claims: Claims, issuer: Issuer) -> Claim:
    """The claim of the user that a token names; `NotBelievedError`."""
    value = claims.get(issuer.settings.user_claim)
    if value is None:
        raise NotBelievedError("claim-missing")
    return _claim(issuer, "user", value)


def within(token: PresentedToken, issuer: Issuer, now: int) -> bool:
    """Whether a token that was believed before has not expired since."""
    return now < token.expires_at + issuer.settings.skew_s * _US


def _check_audience(claims: Claims, audience: str) -> None:
    named = claims.get("aud")
    listed = named if isinstance(named, list) else [named]
    plain = len(listed) <= _AUDIENCES_MAX and all(isinstance(one, str) for one in listed)
    _require(plain and audience in listed, "wrong-audience")


def _check_times(claims: Claims, issuer: Issuer, now: int) -> int:
    """When the token expires, in microseconds UTC."""
    skew = issuer.settings.skew_s * _US
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    _require(issued < expires, "invalid-time")
    _require(expires - issued <= issuer.settings.life_s_max * _US, "too-long-lived")
    _require(issued <= now + skew, "not-yet-valid")
    if "nbf" in claims:
        _require(_time(claims, "nbf") <= now + skew, "not-yet-valid")
    _require(now < expires + skew, "expired")
    return expires


def _time(claims: Claims, name: str) -> int:
    """A time in microseconds UTC; fractions of a second are allowed (RFC 7519, section 2)."""
    value = claims.get(name)
    if value is None:
        raise NotBelievedError("claim-missing")
    number = type(value) is int or (type(value) is float and math.isfinite(value))
    if not number or not 0 <= value <= _TIME_MAX:
        raise NotBelievedError("invalid-time")
    return int(value * _US)


def _groups(claims: Claims, issuer: Issuer) -> tuple[Claim, ...]:
    name = issuer.settings.groups_claim
    value = claims.get(name) if name else None
    if value is None:
        return ()
    listed = value if isinstance(value, list) else [value]
    _require(len(listed) <= _GROUPS_MAX, "invalid-claim")
    return tuple(dict.fromkeys(_claim(issuer, "group", one) for one in listed))


def _claim(issuer: Issuer, kind: str, value: object) -> Claim:
    """A claim of the issuer's with this very value; one that would be trimmed is refused."""
    if not isinstance(value, str) or value != value.strip() or not value:
        raise NotBelievedError("invalid-claim")
    whose = "" if issuer.claims_issuer == LOCAL else f"{issuer.claims_issuer}#"
    try:
        claim = parse_claim(f"{whose}{kind}:{value}")
        if issuer.settings.case_blind:
            claim = casefolded(claim)
    except InvalidInput as error:
        raise NotBelievedError("invalid-claim") from error
    # What was put together is read back, so no value can pass for another issuer or type.
    _require((claim.issuer, claim.type) == (issuer.claims_issuer, kind), "invalid-claim")
    return claim


def _acting(claims: Claims, issuer: str) -> str:
    """Who acts for the subject, by its name, and its issuer where that is another."""
    if "act" not in claims:
        return ""
    party = claims["act"]
    if not isinstance(party, dict):
        raise NotBelievedError("invalid-claim")
    name, other = name_in(party, "sub"), name_in(party, "iss")
    _require(bool(name), "invalid-claim")
    return name if other in {"", issuer} else f"{other}#{name}"


def _application(text: str) -> str:
    try:
        return text if not text or application_key(text) else ""
    except InvalidInput as error:
        raise NotBelievedError("invalid-claim") from error


def name_in(claims: Claims, name: str) -> str:
    """A claim that is plain text; empty where it is not there, `NotBelievedError` else."""
    if name not in claims:
        return ""
    value = claims[name]
    fits = isinstance(value, str) and 0 < len(value) <= _NAME_LENGTH_MAX and value.isprintable()
    _require(fits, "invalid-claim")
    return str(value)


def _kid(header: Claims) -> str | None:
    kid = header.get("kid")
    _require("kid" not in header or isinstance(kid, str), "header-not-allowed")
    return kid


def _require(holds: bool, why: Why) -> None:
    if not holds:
        raise NotBelievedError(why)
