"""Recovery shares, as the keyring's stream tells them: how many there are and what they did.

No word and no share is ever in an event.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded
from ledger.replacing import replace


@event
class SharesCreated(Event, frozen=True):
    """A slot was made whose private half is in recovery shares only."""

    TOPIC: ClassVar[str] = "shares.created"
    slot: int
    threshold: int
    """How many of them open the slot."""
    count: int


@event
class SharesRestored(Event, frozen=True):
    """Recovery shares unlocked the ledger, and another way to unlock was added."""

    TOPIC: ClassVar[str] = "shares.restored"
    slot: int
    """The slot that the shares opened."""
    added: int


class ShareHistory(msgspec.Struct, frozen=True):
    """The schemes of all slots of recovery shares, removed ones included."""

    schemes: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    """By slot: how many shares open it, and how many there are."""
    restored_at: dict[int, int] = msgspec.field(default_factory=dict)
    """By slot: when its shares were last used to restore, in microseconds UTC."""


def fold_shares(state: ShareHistory | None, recorded: Recorded) -> ShareHistory | None:
    """Recovery shares after one more event of the keyring's stream."""
    state = state or ShareHistory()
    match recorded.event:
        case SharesCreated(slot=slot, threshold=threshold, count=count):
            return replace(state, schemes={**state.schemes, slot: (threshold, count)})
        case SharesRestored(slot=slot):
            return replace(state, restored_at={**state.restored_at, slot: recorded.recorded_at})
    return state
