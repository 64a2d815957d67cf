"""What became of tokens that were presented: a one-time one used, and those refused.

A refusal of somebody whose identity was verified is one record. What strangers send is counted and
recorded as one summary for a source and a minute, so that nobody can fill the log from outside.
No part of a token is in any of them but names that a trusted issuer signed.
"""

from __future__ import annotations

from typing import ClassVar

from ledger.aggregates.event import Event, event


@event
class TokenUsed(Event, frozen=True):
    """A token that is good for one use was used; first in a stream of its own."""

    TOPIC: ClassVar[str] = "token.used"
    issuer: str
    id: str
    """Its `jti`."""
    caller: str
    expires_at: int
    """Microseconds UTC."""


@event
class TokenRefused(Event, frozen=True):
    """A token that a trusted issuer did sign was refused."""

    TOPIC: ClassVar[str] = "token.refused"
    issuer: str
    caller: str | None
    """The claim it would have spoken for, as far as it made one."""
    id: str
    """Its `jti`; empty where it had none that could be recorded."""
    why: str
    """A stable code."""
    source: str
    """Where it came from, as far as known: an address, or who runs the command."""


@event
class TokensRefused(Event, frozen=True):
    """So many tokens from one source were refused, and nobody knows whose they were."""

    TOPIC: ClassVar[str] = "token.refusals"
    source: str
    first_at: int
    """When the first of them came, microseconds UTC."""
    last_at: int
    """When the last of them came."""
    count: int
    reasons: tuple[tuple[str, int], ...]
    """How many for which reason, by its stable code."""
