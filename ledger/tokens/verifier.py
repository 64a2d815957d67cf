"""Who shows a token: verified whole, once, and then known until it expires.

    bytes ─▶ known? ─▶ taken apart ─▶ decrypted ─▶ issuer ─▶ key ─▶ signature ─▶ claims ─▶ caller
               │
               └──▶ the same caller, if the issuer's settings are still those and it has not expired

Whatever is wrong with a token, the answer is the same one: `token-refused`, without a word of why.
Why is in the log, see `refusals.py`. Where its issuer's keys are on their way nothing is said of it
yet, and no thread is held: whoever asks waits as he likes to, and asks again.

A token that is good for one use is verified first and used last, in two steps, so that whoever asks
can say no in between for reasons of his own, and the token stays good.

A verified caller is not a decision. It is a `Caller` that carries what the token said, and whether
its issuer is trusted is decided again under the ledger's lock, at the position of what is then
recorded. So what is kept here may be a second behind, and nothing is released by it that should
not be.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Protocol

import msgspec

from ledger.aggregates.event import Event
from ledger.aggregates.issuers import NO_ISSUERS, Issuer, Issuers
from ledger.aggregates.presented import PresentedToken
from ledger.aggregates.token_use import TokenRefused
from ledger.discreet import Discreet
from ledger.errors import InvalidInput
from ledger.identifiers import application_key
from ledger.policy import Caller
from ledger.replacing import replace
from ledger.sealing.service_keys import ServicePair
from ledger.tokens import checking
from ledger.tokens.compact import TOKEN_BYTES_MAX, Encrypted, Signed, take_apart
from ledger.tokens.doubt import NotBelievedError, token_refused
from ledger.tokens.issuer_keys import Fetch, Fetched, IssuerKeys, KeysAwaited, Missed
from ledger.tokens.jose import DecryptingKey, decrypted, decrypting_keys, is_signed_by
from ledger.tokens.refusals import Refusals, shown_source

KNOWN_MAX = 10_000
LOOK_US = 1_000_000
"""How old the knowledge of who is trusted may be when a known token is shown again."""


class Trust(Protocol):
    """What a verifier asks of the ledger."""

    def issuers(self) -> Issuers:
        """Whose tokens are trusted now."""
        ...

    def service_pairs(self) -> tuple[ServicePair, ...]:
        """The service's key pairs, newest last."""
        ...

    def is_used(self, caller: Caller) -> bool:
        """Whether the one use of a caller's token is recorded already."""
        ...

    def use_once(self, caller: Caller) -> bool:
        """Whether this is the first use of a caller's token, which is recorded then."""
        ...

    def record_refused(self, events: tuple[Event, ...]) -> None:
        """Record refused tokens."""
        ...


class VerifiedCaller(msgspec.Struct, frozen=True):
    """Somebody for whom a trusted issuer's token spoke."""

    caller: Caller
    """With the token's claims, to be given to use cases as it is."""
    application: str | None = None
    """The application ID that the request or the token names; None if neither does."""
    is_good_once: bool = False
    """Whether the token is good for one use, which `TokenVerifier.use` takes."""

    @property
    def authenticated_by(self) -> str:
        """How the caller is known."""
        assert self.caller.token is not None
        return f"token:{self.caller.token.issuer}"

    @property
    def acting(self) -> str:
        """Who acts for the caller, as the token names them; empty for nobody."""
        assert self.caller.token is not None
        return self.caller.token.acting

    @property
    def expires_at(self) -> int:
        """Microseconds UTC."""
        assert self.caller.token is not None
        return self.caller.token.expires_at


class Shown(msgspec.Struct):
    """How many tokens were shown so far, and what was found of them."""

    verified: int = 0
    """Those that were believed once all of them was checked."""
    known: int = 0
    """Those that had been, and were shown again."""
    refused: int = 0
    """Those that were not believed, whose one use was taken, or that are not for what is asked."""


class _Identity(Discreet, msgspec.Struct):
    """Whose a token is, as far as that was verified when it was refused."""

    SHOWN: ClassVar = ("issuer",)

    issuer: Issuer | None = None
    claims: checking.Claims = msgspec.field(default_factory=dict)


class TokenVerifier:
    """Verifies tokens for one process; any number of threads may ask."""

    def __init__(
        self,
        trust: Trust,
        fetch: Fetch,
        clock: Callable[[], int],
        missed: Missed | None = None,
    ) -> None:
        self._trust = trust
        self._clock = clock
        self._keys = IssuerKeys(fetch, clock, missed)
        self._refusals = Refusals(trust.record_refused, clock)
        self._guard = threading.Lock()
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._issuers = NO_ISSUERS
        self._looked_at = 0
        self._shown_again = False
        """Whether a known token was shown since the last look ahead."""
        self._shown = Shown()
        self._opening_guard = threading.Lock()
        self._opening: tuple[tuple[int, ...], tuple[DecryptingKey, ...]] = ((), ())

    def known(self, token: bytes, *, application: str | None = None) -> VerifiedCaller | None:
        """Who shows a token that was verified before; None where it has to be verified.

        It takes no input or output and no look at a signature, so an event loop may ask.
        """
        if len(token) > TOKEN_BYTES_MAX:
            return None
        digest, now = hashlib.sha256(token).digest(), self._clock()
        with self._guard:
            caller = self._known.get(digest)
            if caller is None or self._is_stale_at(now):
                return None
            if not self._still(caller, now):
                del self._known[digest]
                return None
            self._known.move_to_end(digest)
            self._shown_again = True
            try:
                found = _for(caller, application)
            except NotBelievedError:
                return None
            self._shown.known += 1
            return found

    def again(self, verified: VerifiedCaller, application: str | None) -> VerifiedCaller | None:
        """The same caller for an application that the request turned out to name.

        None where the token is bound to another one, or would not be believed any more: then
        `believe` says what is to be said. None as well where nobody has looked for long who is
        trusted, for time may have passed since the caller was verified: then `look` comes first.
        It counts nothing, and an event loop may ask.
        """
        now = self._clock()
        with self._guard:
            still = not self._is_stale_at(now) and self._still(verified.caller, now)
        try:
            found = _for(verified.caller, application) if still else None
        except NotBelievedError:
            return None
        return found and replace(found, is_good_once=verified.is_good_once)

    @property
    def is_stale(self) -> bool:
        """Whether a look at who is trusted is too old to believe a known token by it."""
        return self._is_stale_at(self._clock())

    def remembers(self, token: bytes) -> bool:
        """Whether this token was verified before, whoever is trusted by now."""
        if len(token) > TOKEN_BYTES_MAX:
            return False
        digest = hashlib.sha256(token).digest()
        with self._guard:
            return digest in self._known

    def look(self) -> None:
        """Look whose tokens are trusted, unless that was done a moment ago; it reads the log."""
        if self.is_stale:
            self._look_now()

    @property
    def shown(self) -> Shown:
        """What was found of the tokens that were shown so far."""
        return replace(self._shown)

    @property
    def fetched(self) -> Fetched:
        """How often issuers were asked for their keys so far."""
        return self._keys.fetched

    @property
    def known_count(self) -> int:
        """How many tokens are known, expired ones that nobody showed since among them."""
        return len(self._known)

    def verify(
        self, token: bytes, *, application: str | None = None, source: str = ""
    ) -> VerifiedCaller:
        """Who shows this token, which is used by it if it is good once; errors as `believe`.

        Keys that are on their way are waited for in the calling thread.
        """
        try:
            verified = self.believe(token, application=application, source=source)
        except KeysAwaited as awaited:
            awaited.wait()
            verified = self.believe(token, application=application, source=source, waits=False)
        self.use(verified, source=source)
        return verified

    def believe(
        self, token: bytes, *, application: str | None = None, source: str = "", waits: bool = True
    ) -> VerifiedCaller:
        """Who shows this token; `token-refused` for every doubt, which is recorded.

        `KeysAwaited`, of which nothing is counted or recorded, where its issuer is being asked for
        keys: then it is asked again, and `waits` no more, or is refused by the keys at hand.

        `application` is the ID that the request names, and the token's must be the same. `source`
        is where the token came from. It may look at the log and append to it. One that
        is good once is not used by it, and refused where it was used before.
        """
        issuers = self._look(token)
        known = self.known(token, application=application)
        if known is not None:
            return known
        identity = _Identity()
        try:
            caller = self._verified(token, issuers, identity, waits=waits)
            verified = _for(caller, application)
            if issuers.trusted[_token(caller).issuer].settings.refuses_replay:
                verified = self._unused(verified)
            else:
                self._keep(token, caller, issuers)
        except NotBelievedError as doubt:
            self._note(token, doubt, identity, source)
            raise token_refused() from doubt
        with self._guard:
            self._shown.verified += 1
        return verified

    def use(self, verified: VerifiedCaller, *, source: str = "") -> None:
        """Take the one use of a token that is good once; `token-refused` where it is taken.

        Of any others it does nothing. The use is durable on return, whatever the caller does then.
        """
        if verified.is_good_once and not self._trust.use_once(verified.caller):
            shown = _token(verified.caller)
            claim, where = str(verified.caller.claim), shown_source(source)
            refused = TokenRefused(shown.issuer, claim, shown.id, "replayed", where)
            self._refusals.verified(refused, hashlib.sha256(shown.id.encode()).digest())
            self._count_refused()
            raise token_refused()

    def look_ahead(self) -> None:
        """Look whose tokens are trusted before that is too old for those who show theirs again.

        Asked more often than `LOOK_US`, it spares them the wait for a look at the log. Where nobody
        showed a known token since the last time, it does nothing.
        """
        shown_again, self._shown_again = self._shown_again, False
        if shown_again:
            self._look_now()

    def settle(self) -> None:
        """Record summaries of refused tokens whose minute is over; ask every few seconds."""
        self._refusals.settle()

    def close(self) -> None:
        """Record what was counted and is not recorded yet, and forget everybody."""
        with self._guard:
            self._known.clear()
        self._refusals.settle(everything=True)

    def _look(self, token: bytes) -> Issuers:
        """Whose tokens are trusted: as of now, unless this one was verified a moment ago."""
        now = self._clock()
        with self._guard:
            if not self._is_stale_at(now) and hashlib.sha256(token).digest() in self._known:
                return self._issuers
        return self._look_now()

    def _is_stale_at(self, now: int) -> bool:
        return not 0 <= now - self._looked_at < LOOK_US

    def _look_now(self) -> Issuers:
        now = self._clock()
        issuers = self._trust.issuers()
        with self._guard:
            if issuers != self._issuers:
                # Settings at one position may be others: an older log was put back, and went on.
                before, now_trusted = self._issuers.trusted, issuers.trusted
                self._known = OrderedDict(
                    (digest, caller)
                    for digest, caller in self._known.items()
                    if before.get(_token(caller).issuer) == now_trusted.get(_token(caller).issuer)
                    and issuers.stands_behind(_token(caller), caller.claims)
                )
            self._issuers, self._looked_at = issuers, now
        return issuers

    def _still(self, caller: Caller, now: int) -> bool:
        """Whether a caller that was verified before would be verified again."""
        token = _token(caller)
        issuer = self._issuers.trusted.get(token.issuer)
        return (
            issuer is not None
            and issuer.position == token.settings
            and checking.within(token, issuer, now)
        )

    def _verified(
        self, token: bytes, issuers: Issuers, identity: _Identity, *, waits: bool
    ) -> Caller:
        outside = take_apart(token)
        signed = self._opened(outside)
        algorithm, kid = checking.check_signed_header(signed.header)
        issuer = issuers.trusted.get(checking.issuer_named(signed.claims))
        if issuer is None:
            raise NotBelievedError("issuer-not-trusted")
        if algorithm not in issuer.settings.algorithms:
            raise NotBelievedError("algorithm-not-allowed")
        checking.check_type(signed.header, issuer)
        key = self._keys.find(issuer, algorithm, kid, waits=waits)
        if not is_signed_by(signed.text, algorithm, key):
            raise NotBelievedError("bad-signature")
        identity.issuer, identity.claims = issuer, signed.claims
        if issuer.settings.requires_encryption and outside is signed:
            raise NotBelievedError("unencrypted")
        found = checking.believed(signed.claims, issuer, self._clock())
        return Caller(found.claim, found.groups, found.token)

    def _opened(self, outside: Signed | Encrypted) -> Signed:
        """The signed token, out of its encryption if there is one; never two layers of that."""
        if isinstance(outside, Signed):
            return outside
        algorithm, kid = checking.check_encrypted_header(outside.header)
        for key in self._decrypting_keys():
            if kid in {None, key.kid}:
                text = decrypted(outside.text, algorithm, key)
                if text is not None:
                    inside = take_apart(text)
                    if isinstance(inside, Signed):
                        return inside
                    raise NotBelievedError("malformed")
        raise NotBelievedError("undecryptable")

    def _decrypting_keys(self) -> tuple[DecryptingKey, ...]:
        pairs = self._trust.service_pairs()
        made = tuple(pair.made_at for pair in pairs)
        with self._opening_guard:
            if self._opening[0] != made:
                keys = [key for pair in reversed(pairs) for key in decrypting_keys(pair)]
                self._opening = (made, tuple(keys))
            return self._opening[1]

    def _unused(self, verified: VerifiedCaller) -> VerifiedCaller:
        """The same as good once, if nobody has used the token yet."""
        if self._trust.is_used(verified.caller):
            raise NotBelievedError("replayed")
        return replace(verified, is_good_once=True)

    def _keep(self, token: bytes, caller: Caller, issuers: Issuers) -> None:
        """Know a caller from now on, whom these issuers stand behind.

        Not where another thread has found other settings of the token's since: by those whoever is
        known was looked through then, and at one position of another log they may be others.
        """
        issuer = _token(caller).issuer
        with self._guard:
            if self._issuers.trusted.get(issuer) != issuers.trusted[issuer]:
                return
            self._known[hashlib.sha256(token).digest()] = caller
            while len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)

    def _count_refused(self) -> None:
        with self._guard:
            self._shown.refused += 1

    def _note(
        self, token: bytes, doubt: NotBelievedError, identity: _Identity, source: str
    ) -> None:
        self._count_refused()
        issuer = identity.issuer
        if issuer is None:
            self._refusals.unverified(doubt.why, source)
            return
        refused = TokenRefused(
            issuer.issuer,
            _claim_text(identity.claims, issuer),
            _id_text(identity.claims),
            doubt.why,
            shown_source(source),
        )
        self._refusals.verified(refused, hashlib.sha256(token).digest())


def _for(caller: Caller, application: str | None) -> VerifiedCaller:
    """The caller for the application that the request or the token names; for both, the same."""
    bound = _token(caller).application
    if application is None or not bound:
        return VerifiedCaller(caller, application or bound or None)
    try:
        same = application_key(application) == application_key(bound)
    except InvalidInput:
        same = False
    if not same:
        raise NotBelievedError("other-application")
    return VerifiedCaller(caller, application)


def _token(caller: Caller) -> PresentedToken:
    assert caller.token is not None
    return caller.token


def _claim_text(claims: checking.Claims, issuer: Issuer) -> str | None:
    try:
        return str(checking.user_of(claims, issuer))
    except NotBelievedError:
        return None


def _id_text(claims: checking.Claims) -> str:
    try:
        return checking.name_in(claims, "jti")
    except NotBelievedError:
        return ""
