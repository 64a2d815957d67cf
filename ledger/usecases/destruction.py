"""Destroying keys: an intent after a last look under the lock, and the record that it is done.

In between the keyring's file is written without them. From the intent on every host drops the
keys when it opens the ledger, and every process when it next follows the log, so a copy that turns
up later does not bring them back into use.
"""

from __future__ import annotations

import msgspec

from ledger.aggregates.keys import KeysDestroyed, KeysDestroying
from ledger.errors import Conflict
from ledger.log.transaction import Transaction
from ledger.sealing.compartments import Compartment
from ledger.sealing.epochs import KeyName
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.resting import Creation, is_live


class IntendDestruction(msgspec.Struct, frozen=True):
    """From here on the keys of values of all earlier epochs may be gone."""

    desk: Desk
    acting: Acting
    epoch: int
    """The one before which nothing rests any more, as a walk over the whole log has found."""
    ended: frozenset[Creation]
    """Whose mappings rest on earlier ones all the same: deleted applications, and no others."""

    def decide(self, transaction: Transaction) -> None:
        """Look again under the lock, then append it for what no earlier intent named.

        No row after the epoch's start is of an earlier epoch. So what the walk has found holds as
        long as this epoch is the current one, and what was deleted is deleted.
        """
        history = self.desk.key_history(transaction)
        if history.is_rotating or history.current != self.epoch:
            raise _resting()
        if any(is_live(self.desk, transaction, creation) for creation in self.ended):
            raise _resting()
        wanted = tuple(
            name
            for epoch in range(1, history.current)
            if (name := KeyName(epoch, Compartment.SECRET.value)) not in history.destroying
        )
        if wanted:
            self._append(transaction, KeysDestroying(wanted))

    def _append(self, transaction: Transaction, event: KeysDestroying) -> None:
        transaction.append(
            self.desk.streams.keyring(),
            event,
            self.desk.actor(transaction, self.acting),
            self.acting.reason,
        )


class RecordDestruction(msgspec.Struct, frozen=True):
    """This host's keyring holds the keys no more."""

    desk: Desk
    acting: Acting
    keys: tuple[KeyName, ...]

    def decide(self, transaction: Transaction) -> None:
        """Append it, unless somebody else has."""
        if not self.desk.key_history(transaction).destroyed.issuperset(self.keys):
            transaction.append(
                self.desk.streams.keyring(),
                KeysDestroyed(self.keys),
                self.desk.actor(transaction, self.acting),
                self.acting.reason,
            )


def _resting() -> Conflict:
    return Conflict(
        "mappings-resting",
        "Credentials rest on earlier keys still; none was destroyed.",
        hint="Run `credledger key rotate --destroy-previous` again.",
    )
