"""The public keys of issuers: told once, or fetched and kept.

Fetched keys are used for ten minutes and then fetched again; where that fails they serve for a day
at most, so that a pause of the issuer's is none of ours. A token that names a key which is not
among them is a reason to look earlier, because issuers change keys, but nobody can make us ask
more often than once in thirty seconds by naming keys that do not exist. Whoever comes while an
issuer is asked for the first time waits for that answer; once there are keys, nobody waits for
another one's question.

Where a token names its key, it is that one or none. Where it names none, the issuer must have but
one key for the algorithm: nothing is tried out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from ledger.aggregates.issuers import Issuer
from ledger.errors import LedgerError
from ledger.tokens.doubt import NotBelievedError
from ledger.tokens.jose import VerifyingKey, read_keys

Fetch = Callable[[str], bytes]
"""What a URL holds, bounded in size and time; `Unavailable` where it cannot be had."""
Keys = tuple[VerifyingKey, ...]
_US = 1_000_000
FRESH_US = 600 * _US
STALE_US = 24 * 3600 * _US
PAUSE_US = 30 * _US
"""Between two attempts to fetch one issuer's keys."""
_FIRST_ANSWER_S = 15.0
"""As long as the first answer is waited for, which is more than a fetch may take."""
_KEPT_MAX = 64


class _Kept(msgspec.Struct):
    """What is known of one place where keys are fetched."""

    keys: Keys = ()
    fetched_at: int = 0
    tried_at: int | None = None
    answered: threading.Event = msgspec.field(default_factory=threading.Event)
    """Set once the newest question is."""


class IssuerKeys:
    """The keys of all issuers, as one process knows them."""

    def __init__(self, fetch: Fetch, clock: Callable[[], int]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._guard = threading.Lock()
        self._told: dict[str, Keys] = {}
        self._kept: dict[str, _Kept] = {}

    def find(self, issuer: Issuer, algorithm: str, kid: str | None) -> VerifyingKey:
        """The one key meant; `NotBelievedError` where there is none, or no telling which."""
        settings = issuer.settings
        if settings.keys:
            return _chosen(self._read(settings.keys), algorithm, kid)
        keys = self._fetched(settings.keys_url, FRESH_US)
        try:
            return _chosen(keys, algorithm, kid)
        except NotBelievedError:
            return _chosen(self._fetched(settings.keys_url, 0), algorithm, kid)

    def _read(self, text: str) -> Keys:
        with self._guard:
            known = self._told.get(text)
            if known is None:
                if len(self._told) >= _KEPT_MAX:
                    self._told.clear()
                known = self._told[text] = read_keys(text.encode())
            return known

    def _fetched(self, url: str, age_max: int) -> Keys:
        """Keys of at most this age if it may be asked for them now, else those at hand."""
        with self._guard:
            if len(self._kept) >= _KEPT_MAX and url not in self._kept:
                self._kept.clear()
            kept, now = self._kept.setdefault(url, _Kept()), self._clock()
            is_fresh = bool(kept.keys) and 0 <= now - kept.fetched_at < age_max
            is_early = kept.tried_at is not None and 0 <= now - kept.tried_at < PAUSE_US
            ask = not (is_fresh or is_early)
            answered, nothing_yet = kept.answered, not kept.keys
            if ask:
                kept.tried_at = now
                answered = kept.answered = threading.Event()
        if ask:
            try:
                self._ask(url, kept)
            finally:
                answered.set()
        elif nothing_yet:
            answered.wait(_FIRST_ANSWER_S)
        with self._guard:
            if not kept.keys or not 0 <= self._clock() - kept.fetched_at < STALE_US:
                raise NotBelievedError("keys-unavailable")
            return kept.keys

    def _ask(self, url: str, kept: _Kept) -> None:
        """Fetch the keys, outside the guard; where that fails what is kept stays."""
        try:
            keys = read_keys(self._fetch(url))
        except LedgerError:
            return
        with self._guard:
            kept.keys, kept.fetched_at = keys, self._clock()


def _chosen(keys: Keys, algorithm: str, kid: str | None) -> VerifyingKey:
    fitting = [
        key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)
    ]
    if len(fitting) != 1:
        raise NotBelievedError("key-unknown")
    return fitting[0]
