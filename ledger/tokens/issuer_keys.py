"""The public keys of issuers: told once, or fetched and kept.

Fetched keys are used for ten minutes and then fetched again; where that fails they serve for a day
at most, so that a pause of the issuer's is none of ours. A sound set in which there is none for us
is no pause: those that were kept are withdrawn. A token that names a key which is not
among them is a reason to look earlier, because issuers change keys, but nobody can make us ask
more often than once in thirty seconds by naming keys that do not exist.

Nobody is held here while an issuer is asked: that is done beside, see `fetches.py`, once at a time
for each. Whoever has a reason to wait for the answer is told so by `KeysAwaited`: whose token made
us ask, and whoever comes while there are no keys yet. Once there are keys, nobody waits for another
one's question.

Where a token names its key, it is that one or none. Where it names none, the issuer must have but
one key for the algorithm: nothing is tried out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

import msgspec

from ledger.aggregates.issuers import Issuer
from ledger.errors import LedgerError
from ledger.replacing import replace
from ledger.tokens.doubt import NotBelievedError
from ledger.tokens.fetches import Fetches
from ledger.tokens.jose import VerifyingKey, keys_in, none_verifies, read_keys

Fetch = Callable[[str], bytes]
"""What a URL holds, bounded in size and time; `Unavailable` where it cannot be had."""
Missed = Callable[[str, LedgerError], None]
"""Is told of each fetch that got no keys, from which URL, and why; in a thread of the fetches."""
Keys = tuple[VerifyingKey, ...]
_US = 1_000_000
FRESH_US = 600 * _US
STALE_US = 24 * 3600 * _US
PAUSE_US = 30 * _US
"""Between two attempts to fetch one issuer's keys."""
ANSWER_S_MAX = 10.0
"""As long as an answer is waited for: more than a fetch may take, which may stand in line."""
_KEPT_MAX = 64


class KeysAwaited(Exception):
    """An issuer's keys are on their way, and this token's verification is worth the wait."""

    def __init__(self, url: str, answered: Future[None]) -> None:
        super().__init__()
        self.url = url
        """Where they are fetched."""
        self.answered = answered
        """Set once the issuer has answered or has not, or with what nobody foresaw."""

    def wait(self) -> None:
        """Hold the calling thread until then, or until `ANSWER_S_MAX` is over."""
        if wait((self.answered,), ANSWER_S_MAX).done:
            self.answered.result()


class Fetched(msgspec.Struct):
    """How often keys were asked for, by what came of it."""

    fetched: int = 0
    failed: int = 0


class _Kept(msgspec.Struct):
    """What is known of one place where keys are fetched."""

    keys: Keys = ()
    fetched_at: int = 0
    tried_at: int | None = None
    answered: Future[None] | None = None
    """Set once the newest question is."""

    @property
    def is_asked(self) -> bool:
        """Whether a question is on its way."""
        return self.answered is not None and not self.answered.done()

    def is_younger(self, age: int, now: int) -> bool:
        """Whether there are keys that were fetched less than so long ago."""
        return bool(self.keys) and 0 <= now - self.fetched_at < age


class IssuerKeys:
    """The keys of all issuers, as one process knows them; any number of threads may ask."""

    def __init__(
        self, fetch: Fetch, clock: Callable[[], int], missed: Missed | None = None
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._missed = missed
        self._fetches = Fetches()
        self._guard = threading.Lock()
        self._told: dict[str, Keys] = {}
        self._kept: dict[str, _Kept] = {}
        self._counts = Fetched()

    @property
    def fetched(self) -> Fetched:
        """How often they were asked for so far."""
        return replace(self._counts)

    def find(
        self, issuer: Issuer, algorithm: str, kid: str | None, *, waits: bool = True
    ) -> VerifyingKey:
        """The one key meant; `NotBelievedError` where there is none, or no telling which.

        `KeysAwaited` where that is known better soon. Whoever has waited, or does not want to,
        `waits` no more, and hears what the keys at hand say.
        """
        settings = issuer.settings
        if settings.keys:
            return _chosen(self._read(settings.keys), algorithm, kid)
        keys = self._at_hand(settings.keys_url, FRESH_US, waits=waits)
        try:
            return _chosen(keys, algorithm, kid)
        except NotBelievedError:
            return _chosen(self._at_hand(settings.keys_url, 0, waits=waits), algorithm, kid)

    def _read(self, text: str) -> Keys:
        with self._guard:
            known = self._told.get(text)
            if known is None:
                if len(self._told) >= _KEPT_MAX:
                    self._told.clear()
                known = self._told[text] = read_keys(text.encode())
            return known

    def _at_hand(self, url: str, age_max: int, *, waits: bool) -> Keys:
        """The keys at hand; `KeysAwaited` where they are older and newer ones may be asked for."""
        with self._guard:
            if len(self._kept) >= _KEPT_MAX and url not in self._kept:
                self._kept.clear()
            kept, now = self._kept.setdefault(url, _Kept()), self._clock()
            if waits and self._may_ask(kept, age_max, now):
                kept.tried_at = now
                kept.answered = self._fetches.begin(partial(self._ask, url, kept))
                raise KeysAwaited(url, kept.answered)
            if kept.is_younger(STALE_US, now):
                return kept.keys
            if waits and kept.is_asked:
                assert kept.answered is not None
                raise KeysAwaited(url, kept.answered)
        raise NotBelievedError("keys-unavailable")

    def _may_ask(self, kept: _Kept, age_max: int, now: int) -> bool:
        is_early = kept.tried_at is not None and 0 <= now - kept.tried_at < PAUSE_US
        return not (kept.is_asked or is_early or kept.is_younger(age_max, now))

    def _ask(self, url: str, kept: _Kept) -> None:
        """Fetch the keys, outside the guard; where that fails what is kept stays.

        A set without any for us is no failure of the issuer's: it has withdrawn what it had.
        """
        missed: LedgerError | None = None
        keys: Keys | None = None
        try:
            keys = keys_in(self._fetch(url))
        except LedgerError as error:
            missed = error
        if keys == ():
            missed = none_verifies()
        with self._guard:
            if keys is not None:
                kept.keys, kept.fetched_at = keys, self._clock()
            self._counts.fetched += missed is None
            self._counts.failed += missed is not None
        if missed is not None and self._missed is not None:
            self._missed(url, missed)


def _chosen(keys: Keys, algorithm: str, kid: str | None) -> VerifyingKey:
    fitting = [
        key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)
    ]
    if len(fitting) != 1:
        raise NotBelievedError("key-unknown")
    return fitting[0]
