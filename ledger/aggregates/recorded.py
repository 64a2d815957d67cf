"""An event at its place in the log: what every fold consumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.aggregates.actor import Actor
    from ledger.aggregates.event import Event


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event with the clear part of its row and its author."""

    position: int
    stream: bytes
    version: int
    topic: str
    epoch: int
    period: int
    recorded_at: int
    """Microseconds UTC."""
    event: Event
    actor: Actor
    reason: str
