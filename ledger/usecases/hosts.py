"""What hosts tell of their copies of the keyring, so that one host can say it of the others.

    whatever is recorded first ─▶ the same transaction: host.seen ─▶ nothing more in this epoch

A rotation leaves every other copy of the keyring one epoch short. Such a host works until the next
rotation, and nobody can look into its file from elsewhere. So each host tells: in the transaction
of the first thing that it records in an epoch, and again once its file holds something else.
Reading costs nothing by it, and where it cannot be told everything else goes on.

The host that founded the ledger tells nothing until another one has: alone, it has nobody to tell.
"""

from __future__ import annotations

import msgspec

from ledger.aggregates.hosts import HostForgotten, HostKeys, HostSeen
from ledger.aggregates.keys import KeyHistory
from ledger.errors import NEEDS_OPERATOR, Conflict, NotFound, Refused
from ledger.log.host_file import ThisHost
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.keyring import UnlockedKeyring
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.held_keys import HeldKeys

LOOK_AGAIN_US = 60 * 1_000_000
"""So often a process that runs looks whether its keyring's file is another one."""


class Herald:
    """A request that goes along with others, and mostly has nothing to say."""

    def __init__(self, desk: Desk, held: HeldKeys, host: ThisHost) -> None:
        self._desk = desk
        self._held = held
        self._host = host
        self._epoch = 0
        self._unlocked: UnlockedKeyring | None = None
        """With these there is nothing to tell in that epoch."""
        self._looked_at = 0

    def decide(self, transaction: Transaction) -> None:
        """Append what this host's keyring holds, unless the log knows."""
        now = transaction.clock_reading
        if abs(now - self._looked_at) >= LOOK_AGAIN_US:  # a clock may be put back
            self._looked_at = now
            self._held.renew_if_changed()
        unlocked = self._held.unlocked
        if self._epoch == transaction.epoch and self._unlocked is unlocked:
            return
        history = self._desk.key_history(transaction)
        newest = newest_held(unlocked, history)
        if not self._is_due(history, newest):
            self._epoch, self._unlocked = transaction.epoch, unlocked
            return
        event = HostSeen(self._host.id, newest, unlocked.keyring.generation)
        transaction.append(self._desk.streams.keyring(), event, self._desk.slot)

    def _is_due(self, history: KeyHistory, newest: int) -> bool:
        mine = history.hosts.get(self._host.id)
        if mine is not None and not mine.is_forgotten:
            return mine.newest != newest
        return not self._host.founded or bool(history.hosts)


class ForgetHost(msgspec.Struct, frozen=True):
    """One host is no more."""

    desk: Desk
    acting: Acting
    number: int

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position. `no-such-host`, `host-forgotten-already`."""
        hosts = self.desk.key_history(transaction).hosts.values()
        known = next((one for one in hosts if one.number == self.number), None)
        if known is None:
            raise NotFound(
                "no-such-host",
                "No host of this number was seen.",
                hint="`credledger key host list` shows those that were.",
            )
        if known.is_forgotten:
            raise Conflict("host-forgotten-already", "That host was forgotten before.")
        return transaction.append(
            self.desk.streams.keyring(),
            HostForgotten(known.host),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        ).position


class HostKeeper:
    """The hosts of one ledger."""

    def __init__(self, desk: Desk, writer: Writer, this: ThisHost | None) -> None:
        self._desk = desk
        self._writer = writer
        self.this = this
        """None where this host has no number."""

    def seen(self) -> tuple[HostKeys, ...]:
        """What each host told last, in the order in which they were first seen."""
        hosts = self._writer.look(self._desk.key_history).hosts.values()
        return tuple(one for one in hosts if not one.is_forgotten)

    def forget(self, acting: Acting, number: int) -> int:
        """Record that a host is no more; if it is, it is seen again. The position."""
        if not self._desk.unlocked.is_operator:
            raise Refused(
                "operator-needed", "Only an operator's unlock may do this.", hint=NEEDS_OPERATOR
            )
        return self._writer.run(ForgetHost(self._desk, acting, number))


def newest_held(unlocked: UnlockedKeyring, history: KeyHistory) -> int:
    """The newest epoch held of those that the log has chosen."""
    astray = unlocked.astray(history.committed, history.current)
    return max(
        keys.epoch
        for keys in unlocked.epochs
        if keys.epoch in history.committed and keys.epoch not in astray
    )
