"""Tokens that were refused, read from the log itself: from where, whose as far as known, and why.

Who shows a token that is not believed is told nothing but that; here the operator, or an auditor,
finds the reason. One row is a single token that a trusted issuer did sign, or all others that came
from one source within a minute: unsigned, or shown again in it. What those say of anybody is not
recorded.
The part of the log that is asked about is checked into its signed heads on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import Retention
from ledger.aggregates.token_use import TokenRefused, TokensRefused
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable
from ledger.log.rows import LogRow
from ledger.log.store import Store
from ledger.tokens.doubt import Why
from projections.documents import time_text
from projections.streams import Walk
from projections.stretch import WHOLE, Stretch, newest_first

REFUSED = (TokenRefused.TOPIC, TokensRefused.TOPIC)
_WHY: dict[Why, str] = {
    "too-large": "It was longer than any token that is read.",
    "malformed": "It was no token in the one form that is read.",
    "header-not-allowed": "Its header held a parameter that is not on the list, or a wrong one.",
    "algorithm-not-allowed": "Its issuer's tokens may not be signed with that algorithm.",
    "encryption-not-allowed": "It was encrypted in a way that is not on the list.",
    "undecryptable": "None of the service's key pairs opened it; its issuer may have an older one.",
    "unencrypted": "Its issuer's tokens must be encrypted to the service's key pair.",
    "type-not-allowed": "Its `typ` was not that of its issuer's tokens.",
    "issuer-not-trusted": "Its `iss` was not, character by character, a trusted issuer's URL.",
    "keys-unavailable": "Its issuer's keys could not be fetched.",
    "key-unknown": "No single key of its issuer's was the one that it named, or could mean.",
    "bad-signature": "Its issuer's key had not signed it.",
    "wrong-audience": "It was made for somebody else: its `aud` lacked the audience.",
    "invalid-time": "Its times were no times, or it ended before it began.",
    "not-yet-valid": "It was valid later only, by more than clocks may be apart.",
    "expired": "Its time was over.",
    "too-long-lived": "It was made for longer than its issuer's tokens may live.",
    "claim-missing": "A claim was missing that must be there.",
    "invalid-claim": "A claim held what it cannot hold.",
    "bound-to-a-key": "It was bound to a key, and nobody here asks for the proof of that.",
    "other-application": "It was bound to another application than the one that was asked for.",
    "replayed": "It was good for one use, and had been used.",
}
_SETTINGS = frozenset[Why](
    {
        "algorithm-not-allowed",
        "type-not-allowed",
        "issuer-not-trusted",
        "keys-unavailable",
        "key-unknown",
        "wrong-audience",
        "too-long-lived",
        "unencrypted",
        "claim-missing",
    }
)
"""Where it may be the issuer's settings that are wrong."""


def refused_tokens(
    store: Store,
    mapper: EventMapper,
    retention: Retention,
    stretch: Stretch = WHOLE,
    after: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Refusals of tokens, newest first; `after` is where a page ended.

    Of one that was erased, or whose key is not held, it is told that it was there.
    """

    def told(walk: Walk) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def unreadable(row: LogRow, error: KeyUnavailable) -> None:
            found.append(_closed(row, error.code))

        def is_kept(row: LogRow) -> bool:
            erasure = retention.erasure_of(row.position)
            if erasure is not None:
                found.append(_closed(row, erasure.why))
            return erasure is None

        events = walk.events(REFUSED, unreadable=unreadable, wanted=is_kept)
        found.extend(map(refused_document, events))
        return found

    return newest_first(store, mapper, stretch, after, told)


def refused_document(recorded: Recorded) -> dict[str, Any]:
    """One refusal, or one source's in a minute."""
    event = recorded.event
    document = {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "event": recorded.topic,
    }
    if isinstance(event, TokenRefused):
        return {
            **document,
            "source": event.source,
            "issuer": event.issuer,
            "caller": event.caller,
            "count": 1,
            "reasons": {event.why: 1},
        }
    assert isinstance(event, TokensRefused)
    return {
        **document,
        "source": event.source,
        "issuer": None,
        "caller": None,
        "count": event.count,
        "reasons": dict(event.reasons),
    }


def explained_refusal(recorded: Recorded) -> dict[str, Any]:
    """The same with a sentence for each reason, and where to look for what would mend it."""
    document = refused_document(recorded)
    reasons = cast("list[Why]", list(document["reasons"]))
    mend = None
    if document["issuer"] is not None and _SETTINGS.intersection(reasons):
        mend = f"credledger issuer show {document['issuer']}"
    elif _SETTINGS.intersection(reasons):
        mend = "credledger issuer list"
    elif "undecryptable" in reasons:
        mend = "credledger key service jwks"
    why = " ".join(_WHY.get(reason, reason) for reason in reasons)
    return {**document, "why": why, "mend": mend}


def _closed(row: LogRow, why: str) -> dict[str, Any]:
    return {
        "position": row.position,
        "recorded_at": time_text(row.recorded_at),
        "event": row.topic,
        "source": None,
        "issuer": None,
        "caller": None,
        "count": None,
        "reasons": {why: None},
    }
