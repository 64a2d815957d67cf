"""Places events in a log of their own, so that folds can be tried without a store."""

from __future__ import annotations

from ledger.aggregates.actor import Actor
from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.event import Event
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import Roles, fold_roles
from ledger.claims import Claim, parse_claim
from ledger.policy import Caller

SECOND = 1_000_000


def recorded(happened: Event, position: int = 1, version: int = 1, by: str = "operator"):
    """The event as row `position` of a log, `position` seconds after 1970 began."""
    actor = Actor(by, 1, "first", "tester@host")
    return Recorded(
        position,
        b"s" * 16,
        version,
        happened.TOPIC,
        1,
        197001,
        position * SECOND,
        happened,
        actor,
        "",
    )


def folded(*events: Event, by: str = "operator", start: Application | None = None):
    """The application after these events; the first stands at position 1, or after `start`."""
    state, at = start, 0 if start is None else start.version
    for number, happened in enumerate(events, start=at + 1):
        state = fold_application(state, recorded(happened, number, number, by))
    assert state is not None
    return state


def rights(*held: tuple[str, str]) -> Roles:
    """Roles in which each (right, claim) is held."""
    return Roles(frozenset((right, parse_claim(claim)) for right, claim in held))


def folded_roles(*events: Event) -> Roles:
    """The rights after these events."""
    state = Roles()
    for number, happened in enumerate(events, start=1):
        state = fold_roles(state, recorded(happened, number, number)) or state
    return state


def claim(text: str) -> Claim:
    """Short for `parse_claim`."""
    return parse_claim(text)


def caller(text: str, *groups: str) -> Caller:
    """Somebody with further claims."""
    return Caller(parse_claim(text), tuple(parse_claim(group) for group in groups))
