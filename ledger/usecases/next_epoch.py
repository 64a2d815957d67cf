"""A next epoch in place of one whose keys are lost.

The log commits to the next epoch before it begins, so that every host can go on with it. Where the
keyring that held it is lost, and the newest key backup is older, nobody could ever rotate again. An
operator then has new keys made and the log commit to these. Nothing is lost by that: nothing was
ever sealed under an epoch that was not started.

    keyring: other keys for the next epoch ─▶ log: epoch.replaced

Killed in between, the file holds keys that the log did not choose; they are dropped when it is
opened, and the same command makes others. A host on which the lost keys turn up drops them alike.
"""

from __future__ import annotations

import msgspec

from ledger.aggregates.keys import EpochReplaced, KeyHistory
from ledger.errors import (
    NEEDS_OPERATOR,
    Conflict,
    KeyUnavailable,
    LedgerError,
    Refused,
    Unavailable,
)
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.sealing.epochs import EpochCommitments, EpochKeys
from ledger.sealing.keyring import GivenUp
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.fitting import epoch_ahead
from ledger.usecases.founding import committed
from ledger.usecases.held_keys import HeldKeys, drop, holds_next
from ledger.usecases.key_backups import key_backup_history
from ledger.usecases.outcomes import NextEpochOutcome


class ReplaceNext(msgspec.Struct, frozen=True):
    """The next epoch begins with these keys, whenever it does, and not with the lost ones."""

    desk: Desk
    acting: Acting
    keys: EpochKeys
    lost: EpochCommitments

    def decide(self, transaction: Transaction) -> int:
        """Append it; the position.

        `next-epoch-changed` if others were first, `next-epoch-in-backup` if it need not be lost.
        """
        history = self.desk.key_history(transaction)
        if history.committed.get(history.current + 1) != self.lost:
            raise Conflict(
                "next-epoch-changed",
                "Another host has started or replaced the next epoch meanwhile.",
                hint="Copy the keyring from that host; nothing was changed.",
            )
        require_in_no_backup(self.desk, transaction, history)
        return transaction.append(
            self.desk.streams.keyring(),
            EpochReplaced(committed(self.keys)),
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        ).position


def require_in_no_backup(desk: Desk, transaction: Transaction, history: KeyHistory) -> None:
    """`next-epoch-in-backup` where a key backup that stands was made with the next epoch's keys."""
    backup = key_backup_history(desk, transaction).newest_with(history.current + 1)
    if backup is not None:
        raise Refused(
            "next-epoch-in-backup",
            f"The key backup recorded at position {backup.position} holds the next epoch.",
            hint=f"`credledger key restore` it: {backup.path}. If it is lost too, run"
            f" `credledger key backup attest-replaced {backup.position}` first.",
        )


class NextEpoch:
    """The epoch that one ledger holds ready."""

    def __init__(self, desk: Desk, writer: Writer, held: HeldKeys) -> None:
        self._desk = desk
        self._writer = writer
        self._held = held

    def replace(self, acting: Acting) -> NextEpochOutcome:
        """Make new keys for it, and have the log commit to them; durable on return.

        `next-epoch-held` where this keyring holds it, `keyring-ahead` where it shows that this log
        is an older one and nobody has accepted that, and the errors of `ReplaceNext.decide`.
        """
        if not self._desk.unlocked.is_operator:
            raise Refused(
                "operator-needed",
                "Only an operator's unlock may replace keys.",
                hint=NEEDS_OPERATOR,
            )
        with self._held.changing(self._history) as (file, history):
            epoch = history.current + 1
            lost = history.committed[epoch]
            if holds_next(file.held, history):
                raise Conflict(
                    "next-epoch-held",
                    f"This keyring holds the keys of epoch {epoch}; there is nothing to replace.",
                    hint="Run `credledger key rotate`; after a compromise, twice.",
                )
            if epoch_ahead(file.held, history) > history.accepted_epoch:
                raise KeyUnavailable(
                    "keyring-ahead",
                    "The keyring holds further epochs than the next, which this log did not choose:"
                    " is the store an old copy?",
                    hint="If an older copy was put back on purpose, run `credledger log"
                    " accept-rollback`, then this again; otherwise copy the keyring from the host"
                    " that rotated last. Nothing was changed.",
                )
            self._writer.look(lambda view: require_in_no_backup(self._desk, view, history))
            beyond = {keys.epoch for keys in file.held.epochs if keys.epoch > history.current}
            given_up = GivenUp(epochs=frozenset(beyond))
            after = file.held.without(given_up).with_next_epoch(self._desk.random)
            file.write(after.keyring, after.root, given_up)
            try:
                request = ReplaceNext(self._desk, acting, after.epochs[-1], lost)
                position = self._writer.run(request)
            except Unavailable:
                raise  # it may be recorded all the same; if not, the next opening drops the keys
            except LedgerError:
                drop(file, self._history())
                raise
        return NextEpochOutcome(epoch, position)

    def _history(self) -> KeyHistory:
        return self._writer.look(self._desk.key_history)
