"""Hosts, as the keyring's stream tells them: which epochs each one's copy of the keyring holds.

A host is a keyring's file in its place. It says what that file holds beside the first thing that it
records in an epoch, and again when this has changed. What a host holds that records nothing, nobody
else can know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from ledger.aggregates.event import Event, event
from ledger.aggregates.recorded import Recorded
from ledger.replacing import replace


@event
class HostSeen(Event, frozen=True):
    """A host told which keys its keyring holds."""

    TOPIC: ClassVar[str] = "host.seen"
    host: bytes
    """Sixteen random bytes, kept beside that keyring."""
    newest: int
    """The newest epoch whose keys it holds, of those that the log knows."""
    generation: int
    """Of the keyring's file."""


@event
class HostForgotten(Event, frozen=True):
    """An operator said that there is no such host any more."""

    TOPIC: ClassVar[str] = "host.forgotten"
    host: bytes


class HostKeys(msgspec.Struct, frozen=True):
    """What one host told last."""

    number: int
    """In the order in which hosts were first seen."""
    host: bytes
    newest: int
    generation: int
    by: str
    """Who recorded it, such as `operator:2/alice@host`."""
    position: int
    recorded_at: int
    """Microseconds UTC."""
    is_forgotten: bool = False

    def state(self, current: int) -> str:
        """`ready` for the next rotation, `behind` by one, or `stopped`, where that is the epoch."""
        if self.newest > current:
            return "ready"
        return "behind" if self.newest == current else "stopped"


Hosts = Mapping[bytes, HostKeys]


def fold_hosts(hosts: Hosts, recorded: Recorded) -> Hosts:
    """The hosts after one more event; the very same after any that tells of none."""
    match recorded.event:
        case HostSeen(host=host) as seen:
            known = hosts.get(host)
            keys = HostKeys(
                len(hosts) + 1 if known is None else known.number,
                host,
                seen.newest,
                seen.generation,
                recorded.actor.authenticated_by,
                recorded.position,
                recorded.recorded_at,
            )
            return {**hosts, host: keys}
        case HostForgotten(host=host) if host in hosts:
            return {**hosts, host: replace(hosts[host], is_forgotten=True)}
    return hosts
