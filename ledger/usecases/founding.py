"""The beginning of a ledger: the keyring first, then the store in one transaction.

Killed in between, the next `init` with that keyring goes on. A keyring whose ledger this host
remembers was founded already: where its store is empty, rows were taken away, and nothing is begun.
Nor is anything with a keyring that was changed since it was made, on whatever host: only a ledger
that is there changes its keyring, so that ledger is lost or elsewhere, and a second one under its
id would stand where an archive is to be restored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ledger.aggregates.actor import Actor
from ledger.aggregates.keys import Committed, EpochStarted, SlotAdded
from ledger.codec.mapper import EventMapper
from ledger.errors import Conflict, NotFound, Tampered
from ledger.log.following import rolled_back
from ledger.log.host_file import this_host
from ledger.log.memory import HostMemory, memory_path
from ledger.log.rows import OPERATOR, LedgerRow
from ledger.log.signers import HeadSigner
from ledger.log.store import Maintainer, Store
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer
from ledger.places import is_missing
from ledger.sealing.epochs import EpochKeys, commitments
from ledger.sealing.keyring import AS_MADE, UnlockedKeyring, create_keyring
from ledger.sealing.keyring_file import create_keyring_file, read_keyring
from ledger.sealing.slots import Argon2Cost, Holding, Slot
from ledger.sealing.streams import StreamNames
from ledger.usecases.acting import Acting

FORMAT = 1


class Founded(msgspec.Struct, frozen=True):
    """A new ledger."""

    ledger_id: bytes
    epoch: int


class FirstEvents(msgspec.Struct, frozen=True):
    """Epoch 1 with its commitments, and the first operator's slot."""

    unlocked: UnlockedKeyring
    streams_keyring: bytes
    account: str
    acting: Acting

    def decide(self, transaction: Transaction) -> int:
        """Append both; the position of the last."""
        slot = self.unlocked.slot
        actor = Actor(OPERATOR, slot.id, slot.label, self.account)
        first, following = self.unlocked.epochs[0], self.unlocked.epochs[1]
        started = EpochStarted(1, committed(first), committed(following))
        transaction.append(self.streams_keyring, started, actor, self.acting.reason)
        return transaction.append(
            self.streams_keyring, slot_added(slot), actor, self.acting.reason
        ).position


def found_ledger(
    store: Store,
    keyring_path: Path,
    *,
    label: str,
    account: str,
    holding: Holding,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
    cost: Argon2Cost | None = None,
    reason: str = "",
    following: Callable[[EventMapper, StreamNames], Sequence[Maintainer]] | None = None,
) -> Founded:
    """Create keyring and store; `ledger-exists` or `keyring-exists` where they are in use.

    `altered-ledger` where there is a log that nobody names, `rolled-back` where this host remembers
    the keyring's ledger and the store holds none of it; `keyring-exists` too for a keyring that a
    ledger has changed.

    `following` makes what is to follow the log from its first row on.
    """
    named = _named(store)
    if not is_missing(keyring_path):
        unlocked = read_keyring(keyring_path).unlock(holding)
        if named == unlocked.ledger_id:
            raise _exists()
        if named is not None:
            raise Conflict("keyring-exists", "The keyring is another ledger's.")
    else:
        if named is not None:
            raise _exists()
        unlocked = create_keyring(
            label, holding, created_at=clock(), random=random, cost=cost or Argon2Cost()
        )
        create_keyring_file(keyring_path, unlocked.keyring)
    streams = unlocked.stream_names()
    memory = HostMemory(memory_path(keyring_path), unlocked.ledger_id, streams.memory_key())
    if memory.recall() is not None:
        memory.close()
        raise rolled_back(0)
    if unlocked.keyring.generation > AS_MADE:
        memory.close()
        raise _begun_before()
    this_host(keyring_path, unlocked.ledger_id, random, founding=True)
    store.create()
    row = LedgerRow(unlocked.ledger_id, FORMAT, unlocked.keyring.salt)
    mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), random)
    writer = Writer(
        store,
        mapper,
        HeadSigner(row, unlocked.signing_key, OPERATOR),
        clock=clock,
        random=random,
        access_stream_name=streams.access,
        keyring_stream=streams.keyring(),
        maintainers=following(mapper, streams) if following else (),
        memory=memory,
    )
    try:
        writer.found(FirstEvents(unlocked, streams.keyring(), account, Acting(reason=reason)))
    finally:
        writer.close()
    return Founded(unlocked.ledger_id, 1)


def committed(keys: EpochKeys) -> Committed:
    """An epoch's commitments as its event lists them."""
    told = commitments(keys)
    return (told.epoch, told.state, told.secret, told.access)


def slot_added(slot: Slot) -> SlotAdded:
    """The event of a new slot."""
    return SlotAdded(
        slot.id, slot.label, slot.kind, slot.opens, slot.public_key, slot.signing_public_key
    )


def _named(store: Store) -> bytes | None:
    try:
        with store.reading() as reading:
            row = reading.ledger()
            if row is None and any(reading.counts()):
                raise unnamed()
    except NotFound:
        return None
    return row.id if row is not None else None


def unnamed() -> Tampered:
    """A log without the row that names its ledger."""
    return Tampered(
        "altered-ledger",
        "The store holds a log and does not name its ledger.",
        hint="Keep a copy, find out who changed it, and put a backup back.",
    )


def _begun_before() -> Conflict:
    return Conflict(
        "keyring-exists",
        "The keyring is that of a ledger which was begun before, and is not at this store.",
        hint="Check --store; `credledger backup restore DIR` brings a lost ledger back. For a new one"
        " give another --keyring.",
    )


def _exists() -> Conflict:
    return Conflict(
        "ledger-exists",
        "There is a ledger at this store already.",
        hint="Choose another --store, or use the ledger that is there.",
    )
