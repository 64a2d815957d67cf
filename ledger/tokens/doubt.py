"""Why a token is not believed: a stable code that is recorded, and never told outside."""

from __future__ import annotations

from typing import Literal

from ledger.errors import Refused

Why = Literal[
    "too-large",
    "malformed",
    "header-not-allowed",
    "algorithm-not-allowed",
    "encryption-not-allowed",
    "undecryptable",
    "unencrypted",
    "type-not-allowed",
    "issuer-not-trusted",
    "keys-unavailable",
    "key-unknown",
    "bad-signature",
    "wrong-audience",
    "invalid-time",
    "not-yet-valid",
    "expired",
    "too-long-lived",
    "claim-missing",
    "invalid-claim",
    "bound-to-a-key",
    "other-application",
    "replayed",
]


class NotBelievedError(Exception):
    """A token is not believed; what it said of anybody counts for nothing."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why = why


def token_refused() -> Refused:
    """The one answer to every token that is not believed."""
    return Refused(
        "token-refused",
        "The token is refused.",
        hint="Get a new token from its issuer; the ledger's operator can see why.",
    )
