"""What is looked at without a caller: one table, as the operations have one.

Each path takes GET and HEAD, and answers nothing that depends on who looks.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
HEALTH: Final = (LIVE, READY)
"""Asked of nobody's share, however much is in hand: who watches must not be turned away, and they
cost nothing."""
DESCRIPTION: Final = "/openapi.json"
PUBLIC_KEYS: Final = "/.well-known/jwks.json"
METRICS: Final = "/metrics"
JSON: Final = "application/json"
JWKS: Final = "application/jwk-set+json"
_ANY: Final = (400, 405, 431, 500)
"""Statuses of every page, besides 200."""
_BUSY: Final = 503


class Live(msgspec.Struct, frozen=True):
    """The process runs."""

    status: Literal["live"]


class Ready(msgspec.Struct, frozen=True):
    """Whether reads can be recorded, and asked for where they should be."""

    status: Literal["ready", "sealed", "unavailable", "unreachable"]


class Keys(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517)."""

    keys: tuple[dict[str, Any], ...]


class Document(msgspec.Struct, frozen=True):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


class Page(msgspec.Struct, frozen=True):
    """One row of the table."""

    path: str
    summary: str
    answers: dict[str, Any]
    """By their media types; `str` for text."""
    statuses: tuple[int, ...]
    own: dict[int, str] = msgspec.field(default_factory=dict)
    """What statuses mean that have the page's own shape, and not a problem's."""


PAGES: Final = {
    page.path: page
    for page in (
        Page(LIVE, "The process runs, sealed or not.", {JSON: Live}, _ANY),
        Page(
            READY,
            "Reads can be recorded: 200; else 423 where the service is sealed, and 503 where the store"
            " cannot be asked, the clock is too far ahead of the log or this month has no key"
            " (`unavailable`), or nobody answers over TCP (`unreachable`).",
            {JSON: Ready},
            _ANY,
            own={
                423: "The service is sealed: nobody has unlocked it yet.",
                503: "Reads cannot be recorded (`unavailable`), or nobody answers over TCP"
                " (`unreachable`).",
            },
        ),
        Page(
            METRICS,
            "Prometheus's text; only on the address of `--metrics`, never on the service's own."
            " Bounded as the service is, and 503 `too-busy` beyond four at once.",
            {"text/plain": str, "application/openmetrics-text": str},
            (*_ANY, 429, _BUSY),
        ),
        Page(DESCRIPTION, "This OpenAPI description.", {JSON: Document}, (*_ANY, 429, _BUSY)),
        Page(
            PUBLIC_KEYS,
            "The public keys to which tokens may be encrypted.",
            {JWKS: Keys},
            (*_ANY, 423, 429, _BUSY),
        ),
    )
}
"""By their paths."""
