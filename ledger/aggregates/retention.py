"""How long access records are kept, who forbids their erasure, and what was erased.

Told by the keyring's stream, because what erases is the destruction of keys. A *policy* says after
how many days a month of access records may go; a *hold* of any name stops every erasure until it
is released; an *erasure* says up to which position no record of the `access` compartment opens any
more. It counts from the moment it is recorded, whatever keys some host still has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded
from ledger.identifiers import hold_key
from ledger.replacing import replace


@event
class RetentionSet(Event, frozen=True):
    """From here on access records are kept so long."""

    TOPIC: ClassVar[str] = "retention.set"
    days: int | None
    """None keeps them for good."""


@event
class HoldSet(Event, frozen=True):
    """Nothing may be erased until this is released; why stands in the reason."""

    TOPIC: ClassVar[str] = "hold.set"
    hold: str


@event
class HoldReleased(Event, frozen=True):
    """This hold stops no erasure any more."""

    TOPIC: ClassVar[str] = "hold.released"
    hold: str


@event
class HistoryErased(Event, frozen=True):
    """No record of the `access` compartment up to a position can be opened any more."""

    TOPIC: ClassVar[str] = "history.erased"
    until: int


class Policy(NamedTuple):
    """What was decided on keeping, when and by whom."""

    days: int | None
    recorded_at: int
    by: str
    position: int


class Hold(NamedTuple):
    """One reason not to erase."""

    name: str
    recorded_at: int
    by: str
    reason: str
    position: int


class Erasure(NamedTuple):
    """What one application of the policy erased: all access records after the one before it."""

    position: int
    """Where it is recorded."""
    until: int
    """The last position that it erased."""
    recorded_at: int
    by: str

    @property
    def why(self) -> str:
        """What is said of a record that is gone."""
        return f"erased by policy at position {self.position}"


class Retention(msgspec.Struct, frozen=True):
    """Policy, holds and erasures of one ledger."""

    policy: Policy | None = None
    """None where none was ever set, which keeps everything."""
    holds: Mapping[str, Hold] = msgspec.field(default_factory=dict)
    """By the form in which names are compared."""
    erasures: tuple[Erasure, ...] = ()
    """In order of position, and so of `until`."""

    @property
    def days(self) -> int | None:
        """How long access records are kept; None for good."""
        return self.policy.days if self.policy is not None else None

    @property
    def until(self) -> int:
        """The last position that is erased; 0 where none is."""
        return self.erasures[-1].until if self.erasures else 0

    def erasure_of(self, position: int) -> Erasure | None:
        """What erased the access record of this position; None if nothing did."""
        found = bisect_left(self.erasures, position, key=lambda erasure: erasure.until)
        return self.erasures[found] if found < len(self.erasures) else None


KEEPS_ALL = Retention()


def fold_retention(state: Retention | None, recorded: Recorded) -> Retention | None:
    """Policy, holds and erasures after one more event."""
    state = state or KEEPS_ALL
    recorded_at, position = recorded.recorded_at, recorded.position
    by = recorded.actor.claim
    match recorded.event:
        case RetentionSet(days=days):
            return replace(state, policy=Policy(days, recorded_at, by, position))
        case HoldSet(hold=name):
            hold = Hold(name, recorded_at, by, recorded.reason, position)
            return replace(state, holds={**state.holds, hold_key(name): hold})
        case HoldReleased(hold=name):
            left = {key: hold for key, hold in state.holds.items() if key != hold_key(name)}
            return replace(state, holds=left)
        case HistoryErased(until=until):
            erasure = Erasure(position, until, recorded_at, by)
            return replace(state, erasures=(*state.erasures, erasure))
    return state
