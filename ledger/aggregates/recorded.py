"""An event at its place in the log: what every fold consumes.

A plain tuple, because one is made for every row that is appended or read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ledger.aggregates.actor import Actor
    from ledger.aggregates.event import Event


class Recorded(NamedTuple):
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
    request: str | None = None
    """The retry key that a client gave with it."""
    clock: int | None = None
    """What the clock read, microseconds UTC, where that was behind the log."""

    @property
    def reading(self) -> int:
        """What the clock read then, as nearly as the log tells it."""
        return self.recorded_at if self.clock is None else self.clock


recorded_of: Callable[[tuple[object, ...]], Recorded] = partial(tuple.__new__, Recorded)
"""All twelve of them, in their order; `Recorded._make` without its frame."""
