"""Trusted issuers of tokens: whose signature counts, for whom it speaks, and how strictly.

All of them are one stream, and one fold of it is part of the policy. Each event carries an
issuer's settings whole. A token is verified by the settings of one event, and counts at a position
only if that event is still the issuer's newest there (see `Issuers.stands_behind`): whoever removes
an issuer, or changes what it may say, changes it for every later position at once.

    issuer.added ─▶ issuer.changed* ─▶ issuer.removed ─▶ issuer.added ...

Claims of an issuer are written `ISSUER#user:VALUE`; those of the one issuer that speaks for `local`
are local ones.

Whether an issuer's values are the same in any case is said when it is first added and holds for
the ledger's life, because roles are held and credentials lie under the form that is compared. Until
then nobody knows, so of an issuer never added only names that folding leaves alone are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.recorded import Recorded
from ledger.claims import LOCAL, Claim, casefolded
from ledger.errors import Conflict, InvalidInput, NotFound
from ledger.replacing import replace

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""What a signature may be made with (RFC 7518, RFC 8037); never `none`, never a shared secret."""
TOKEN_TYPES = ("at+jwt", "JWT")
"""What `typ` an issuer's tokens have: access tokens after RFC 9068, or the plain one."""
ISSUERS_MAX = 32
SKEW_S_MAX = 300
LIFE_S_MAX = 24 * 3600
TEXT_LENGTH_MAX = 512
_SECOND_US = 1_000_000


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """How one issuer's tokens are verified."""

    audience: str
    """What must stand in `aud`, exactly."""
    algorithms: tuple[str, ...]
    """Those of `ALGORITHMS` that its tokens may be signed with."""
    keys: str
    """Its public keys as a JWKS; empty where they are fetched from `keys_url`."""
    keys_url: str
    """Where its JWKS is fetched from; empty where `keys` holds it."""
    token_type: str = "at+jwt"
    user_claim: str = "sub"
    """The claim whose value is the user."""
    groups_claim: str = ""
    """The claim whose values are groups; empty where groups are not taken from tokens."""
    application_claim: str = ""
    """The claim that binds a token to one application; empty where none does."""
    skew_s: int = 30
    """How far the issuer's clock and ours may be apart."""
    life_s_max: int = 3600
    """The longest life from `iat` to `exp`."""
    case_blind: bool = False
    """Whether its values are the same in any case; they are casefolded then."""
    speaks_for_local: bool = False
    """Whether its claims are `local` ones; at most one issuer's are."""
    refuses_replay: bool = False
    """Whether a token is good for one use only, by its `jti`."""
    requires_encryption: bool = False
    """Whether its tokens must be encrypted to the service's key pair."""


@event
class IssuerAdded(Event, frozen=True):
    """Tokens of an issuer are trusted from here on."""

    TOPIC: ClassVar[str] = "issuer.added"
    issuer: str
    settings: Settings


@event
class IssuerChanged(Event, frozen=True):
    """Tokens of an issuer are verified by these settings from here on."""

    TOPIC: ClassVar[str] = "issuer.changed"
    issuer: str
    settings: Settings


@event
class IssuerRemoved(Event, frozen=True):
    """Tokens of an issuer are not trusted any more."""

    TOPIC: ClassVar[str] = "issuer.removed"
    issuer: str


class Issuer(msgspec.Struct, frozen=True):
    """One trusted issuer."""

    issuer: str
    """Its URL, which is compared as it is, character by character."""
    settings: Settings
    position: int
    """Of the event with these settings."""
    added_at: int
    """Microseconds UTC."""
    changed_at: int
    """Microseconds UTC."""

    def lives(self, token: PresentedToken, at: int, leeway_us: int = 0) -> bool:
        """Whether a token of these settings can have been good at a time, microseconds UTC.

        It is good up to its end, and was made no longer before it than tokens may live.
        """
        skew = self.settings.skew_s * _SECOND_US + leeway_us
        first = token.expires_at - self.settings.life_s_max * _SECOND_US
        return first - skew <= at < token.expires_at + skew

    @property
    def claims_issuer(self) -> str:
        """The issuer of the claims that its tokens make."""
        return LOCAL if self.settings.speaks_for_local else self.issuer


class Issuers(msgspec.Struct, frozen=True):
    """Whose tokens are trusted."""

    trusted: Mapping[str, Issuer] = msgspec.field(default_factory=dict)
    version: int = 0
    case_blind: Mapping[str, bool] = msgspec.field(default_factory=dict)
    """Of each issuer that was ever added, whether its values are the same in any case."""

    def canonical(self, claim: Claim) -> Claim:
        """The claim as it is compared: casefolded where its issuer is case-blind."""
        return casefolded(claim) if self.case_blind.get(claim.issuer) else claim

    def nameable(self, claim: Claim) -> Claim:
        """The same of a claim under which something will be kept; `issuer-not-known`.

        An issuer that was never added may be case-blind one day.
        """
        if claim.issuer == LOCAL or claim.issuer in self.case_blind:
            return self.canonical(claim)
        if casefolded(claim) != claim:
            raise InvalidInput(
                "issuer-not-known",
                "Nobody has said yet whether names of this issuer are the same in any case.",
                hint="Add the issuer first with `credledger issuer add`, or write the name in"
                " lower case if that is how its tokens have it.",
            )
        return claim

    def get(self, issuer: str) -> Issuer:
        """The trusted issuer of this URL; `no-such-issuer`."""
        found = self.trusted.get(issuer)
        if found is None:
            raise NotFound(
                "no-such-issuer",
                "There is no trusted issuer of this URL.",
                hint="`credledger issuer list` shows them; a URL is compared character by"
                " character.",
            )
        return found

    def lives(self, token: PresentedToken, at: int, leeway_us: int = 0) -> bool:
        """The same where its issuer is trusted by those settings; else there is no telling."""
        found = self.trusted.get(token.issuer)
        return (
            found is None or found.position != token.settings or found.lives(token, at, leeway_us)
        )

    def stands_behind(self, token: PresentedToken, claims: tuple[Claim, ...]) -> bool:
        """Whether a token that made these claims is believed here.

        Its issuer is trusted, by the settings that verified it, and may make such claims.
        """
        found = self.trusted.get(token.issuer)
        return (
            found is not None
            and found.position == token.settings
            and all(claim.issuer == found.claims_issuer for claim in claims)
        )


NO_ISSUERS = Issuers()


def fold_issuers(state: Issuers | None, recorded: Recorded) -> Issuers | None:
    """The trusted issuers after one more event."""
    trusted = dict(state.trusted) if state is not None else {}
    case_blind = state.case_blind if state is not None else {}
    at = recorded.recorded_at
    match recorded.event:
        case IssuerAdded(issuer=url, settings=settings):
            trusted[url] = Issuer(url, settings, recorded.position, at, at)
            case_blind = {url: settings.case_blind, **case_blind}
        case IssuerChanged(issuer=url, settings=settings) if url in trusted:
            trusted[url] = replace(
                trusted[url], settings=settings, position=recorded.position, changed_at=at
            )
        case IssuerRemoved(issuer=url):
            trusted.pop(url, None)
    return Issuers(trusted, recorded.version, case_blind)


def add(state: Issuers, issuer: str, settings: Settings) -> tuple[Event, ...]:
    """One more trusted issuer; nothing if it is trusted by these very settings.

    `issuer-exists` where other settings hold.
    """
    _check_url(issuer, "issuer", "An issuer")
    _check(state, issuer, settings)
    present = state.trusted.get(issuer)
    if present is not None:
        if present.settings == settings:
            return ()
        raise Conflict(
            "issuer-exists",
            "This issuer is trusted already, by other settings.",
            hint="`credledger issuer update` changes them; `issuer show` shows them.",
        )
    if len(state.trusted) >= ISSUERS_MAX:
        raise InvalidInput("too-many-issuers", f"At most {ISSUERS_MAX} issuers are trusted.")
    return (IssuerAdded(issuer, settings),)


def change(state: Issuers, issuer: str, settings: Settings) -> tuple[Event, ...]:
    """Other settings; nothing if they are the same; `no-such-issuer`."""
    present = state.get(issuer)
    _check(state, issuer, settings)
    return () if present.settings == settings else (IssuerChanged(issuer, settings),)


def remove(state: Issuers, issuer: str) -> tuple[Event, ...]:
    """An issuer that is not trusted any more; `no-such-issuer`."""
    return (IssuerRemoved(state.get(issuer).issuer),)


def _check(state: Issuers, issuer: str, settings: Settings) -> None:
    _check_texts(settings)
    _require_same_case(state, issuer, settings)
    unknown = [name for name in settings.algorithms if name not in ALGORITHMS]
    if (
        unknown
        or not settings.algorithms
        or len(set(settings.algorithms)) < len(settings.algorithms)
    ):
        raise InvalidInput(
            "invalid-algorithm",
            "A token is signed with one of the algorithms that are allowed.",
            hint=f"Algorithms are {', '.join(ALGORITHMS)}, each given once.",
        )
    if settings.token_type not in TOKEN_TYPES:
        raise InvalidInput("invalid-token-type", f"Token types are {', '.join(TOKEN_TYPES)}.")
    if not 0 <= settings.skew_s <= SKEW_S_MAX:
        raise InvalidInput("invalid-skew", f"Clocks may be 0 to {SKEW_S_MAX} seconds apart.")
    if not 1 <= settings.life_s_max <= LIFE_S_MAX:
        raise InvalidInput("invalid-life", "A token lives 1 second to 24 hours at most.")
    if bool(settings.keys) == bool(settings.keys_url):
        raise InvalidInput(
            "keys-required",
            "An issuer's keys are given as one JWKS or as the URL of one.",
            hint="Give either --keys FILE or --keys-url URL.",
        )
    if settings.keys_url:
        _check_url(settings.keys_url, "keys-url", "The place of an issuer's keys")
    if settings.speaks_for_local:
        _require_only_speaker(state, issuer)


def _require_same_case(state: Issuers, issuer: str, settings: Settings) -> None:
    if state.case_blind.get(issuer, settings.case_blind) != settings.case_blind:
        said = "the same in any case" if state.case_blind[issuer] else "compared exactly"
        raise InvalidInput(
            "fixed-setting",
            "Whether an issuer's values are the same in any case is fixed when it is first added.",
            hint=f"Values of this issuer are {said}.",
        )


def _require_only_speaker(state: Issuers, issuer: str) -> None:
    for other in state.trusted.values():
        if other.settings.speaks_for_local and other.issuer != issuer:
            raise Conflict(
                "local-spoken-for",
                "Another issuer speaks for local claims already.",
                hint="Only one can: take it from the other one first, or remove that one.",
            )


def _check_texts(settings: Settings) -> None:
    optional = (settings.groups_claim, settings.application_claim)
    for text in (settings.audience, settings.user_claim, *filter(None, optional)):
        if (
            not text
            or len(text) > TEXT_LENGTH_MAX
            or not text.isprintable()
            or text != text.strip()
        ):
            raise InvalidInput(
                "invalid-issuer-setting",
                f"Audience and claim names are printable, of 1 to {TEXT_LENGTH_MAX} characters.",
            )
    named = [settings.user_claim, *filter(None, optional)]
    if len(set(named)) < len(named):
        raise InvalidInput(
            "invalid-issuer-setting", "User, groups and application are claims of their own."
        )


def _check_url(text: str, what: str, subject: str) -> None:
    """Whether it is an https URL without user, query or fragment (RFC 8414, section 2)."""
    try:
        parts = urlsplit(text)
        fits = (
            parts.scheme == "https"
            and text.startswith("https://")
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        fits = False
    plain = text.isascii() and text.isprintable() and not set(text) & set(' #"<>\\^`{|}')
    if not (fits and plain) or len(text) > TEXT_LENGTH_MAX or (what == "issuer" and "?" in text):
        raise InvalidInput(
            f"invalid-{what}",
            f"{subject} is an https URL of at most {TEXT_LENGTH_MAX} characters, without a user"
            " or a fragment.",
        )
