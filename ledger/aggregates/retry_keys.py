"""Retry keys that were taken: what a client's key stands for, whatever was changed under it.

Each is a stream of its own, named by who sent it, the operation and the key. Its one event follows
those of the change in the same transaction, so a key is found again in any process and after any
restart, and cannot stand for a change of something else.
"""

from __future__ import annotations

from typing import ClassVar

from ledger.aggregates.event import Event, event


@event
class RetryKeyTaken(Event, frozen=True):
    """A request with a retry key changed something."""

    TOPIC: ClassVar[str] = "retry-key.taken"
    asked: str
    """A digest of what was asked for, without values."""
