"""Which key pairs of the service were made, as the keyring's stream tells: the public halves.

The private halves are in the operators' keyring and nowhere else. An issuer encrypts tokens to what
is published, which is the newest pair; see `ledger.sealing.service_keys`.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded


@event
class ServiceKeyMade(Event, frozen=True):
    """A new pair took the place of the one before."""

    TOPIC: ClassVar[str] = "service-key.made"
    made_at: int
    """Microseconds UTC; the same as in the keyring, which it is known by there."""
    kids: tuple[str, ...]
    """What its keys are called."""
    jwks: str
    """The public keys as a JWKS."""


class PublishedPair(msgspec.Struct, frozen=True):
    """One pair that was made."""

    made_at: int
    """Microseconds UTC."""
    kids: tuple[str, ...]
    jwks: str
    position: int


class PublishedPairs(msgspec.Struct, frozen=True):
    """The newest pair and the one before it, oldest first."""

    kept: tuple[PublishedPair, ...] = ()

    def newest(self) -> PublishedPair | None:
        """What is published; None before the first was made."""
        return self.kept[-1] if self.kept else None


def fold_service_pairs(state: PublishedPairs | None, recorded: Recorded) -> PublishedPairs | None:
    """The pairs after one more event of the keyring's stream."""
    state = state or PublishedPairs()
    match recorded.event:
        case ServiceKeyMade(made_at=made_at, kids=kids, jwks=jwks):
            made = PublishedPair(made_at, kids, jwks, recorded.position)
            return PublishedPairs((*state.kept, made)[-2:])
    return state
