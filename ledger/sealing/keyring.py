r"""The keyring: one root that wraps all keys, and the slots that open the root. A pure value.

    "CREDLEDGER-KEYRING 1\n"
    SHA-256 of all that follows (32)            tells damage from a wrong passphrase
    msgpack map
        "generation"  grows by one with every change
        "ledger_id", "salt", "kind"             kind: operator | auditor
        "slots"       a list of maps, see `slots.py`
        "next_slot"   ids are never used twice
        "wrapped"     the keys, see `wrapped_keys.py`, sealed by the root

What is wrapped is bound to a digest of all other entries, so the whole file is authenticated by
the root. The epochs held include the *next* one, not yet started. An auditor's keyring is a second
file of this format, see `auditors_keyring.py`; `keyring_parsing.py` reads either.

The checksum finds accidents, not attackers, and whoever can write the file can seal a root of
their own to a public half. So everything is checked for shape before use, what is wrapped
included, and a keyring is believed only once `UnlockedKeyring.check` has held it against the
signed log.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Collection, Mapping
from operator import is_
from typing import Any, ClassVar, NamedTuple

import msgpack
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ledger.discreet import Discreet
from ledger.errors import NEEDS_OPERATOR, Conflict, InvalidInput, KeyUnavailable, NotFound, Refused
from ledger.identifiers import ledger_id_of
from ledger.replacing import replace
from ledger.sealing.confidential import Confidential
from ledger.sealing.epochs import (
    KEY_BYTES,
    EpochCommitments,
    EpochKeys,
    KeyName,
    new_epoch,
)
from ledger.sealing.keys import KeySet
from ledger.sealing.secrets import SecretBox
from ledger.sealing.service_keys import PAIRS_KEPT, ServicePair
from ledger.sealing.slots import (
    AUDITOR,
    OPERATOR,
    Argon2Cost,
    Holding,
    OpenedSlot,
    Random,
    Slot,
    new_slot,
    open_slot,
    reopen_slot,
    reseal_private_key,
    seal_root,
    wrong_holding,
)
from ledger.sealing.streams import StreamNames
from ledger.sealing.wrapped_keys import WrappedKeys, unwrap

MAGIC = b"CREDLEDGER-KEYRING 1\n"
SLOTS_MAX = 64
EPOCHS_AHEAD = 2
"""A keyring may be so many epochs ahead of the log: the next one, and one of a killed rotation."""
AS_MADE = 1
"""The generation of a keyring that nothing has changed since it was made."""


class GivenUp(NamedTuple):
    """What a change of the keyring may leave out, because the log says so."""

    keys: frozenset[KeyName] = frozenset()
    """Destroyed, or about to be."""
    epochs: frozenset[int] = frozenset()
    """Never started: held ready, but the log chose another host's."""
    pairs: frozenset[int] = frozenset()
    """The service's pairs, by when they were made, that a newer one took the place of."""


class Keyring(Discreet, msgspec.Struct, frozen=True):
    """A keyring as it lies in its file: nothing in it is in clear but labels and public halves."""

    SHOWN: ClassVar = ("generation", "ledger_id", "salt", "kind", "slots", "next_slot")

    generation: int
    ledger_id: bytes
    salt: bytes
    kind: str
    slots: tuple[Slot, ...]
    next_slot: int
    wrapped: bytes

    def to_bytes(self) -> bytes:
        """The file's content."""
        body = msgpack.packb({**self._clear(), "wrapped": self.wrapped})
        return MAGIC + hashlib.sha256(body).digest() + bytes(body)

    def unlock(self, holding: Holding, slot_id: int | None = None) -> UnlockedKeyring:
        """Open with whichever slot fits, or the named one; see `slots.open_slot` for errors."""
        candidates = [
            slot
            for slot in self.slots
            if slot.sealed_root
            and (slot.id == slot_id if slot_id is not None else slot.kind == holding.kind)
        ]
        if slot_id is not None and not candidates:
            raise KeyUnavailable("no-such-slot", "The keyring has no such slot to unlock.")
        failure: KeyUnavailable | None = None
        for number, slot in enumerate(candidates, 1):
            try:
                opened = open_slot(self.ledger_id, slot, holding)
            except KeyUnavailable as error:
                # A slot that opens onto damage says more than the others' "not mine".
                if failure is None or error.code == "keyring-damaged":
                    failure = error
                continue
            unlocked = self._unwrapped(opened)
            return replace(unlocked, holding=holding, further=tuple(candidates[number:]))
        raise failure or wrong_holding(holding)

    def opened_by(self, unlocked: UnlockedKeyring) -> UnlockedKeyring:
        """This file with an earlier unlock of it.

        A new root, which the removal of a slot brings, is sealed to the slots that stay, and the
        private half at hand opens it. Whoever can write the file can seal a root to a public half
        too, so a file under a new root is believed only if it has the keys of the one before:
        `keyring-changed` for any other, `slot-removed` where the slot is not in it.
        """
        slot = next((slot for slot in self.slots if slot.id == unlocked.slot.id), None)
        if slot is None:
            raise KeyUnavailable("slot-removed", "The slot that is unlocked was removed.")
        try:
            kept = self.keys_under(unlocked.root)
        except KeyUnavailable:
            return self._under_new_root(slot, unlocked)
        return replace(
            unlocked,
            keyring=self,
            slot=slot,
            stream_key=kept.stream_key,
            epochs=kept.epochs,
            service=kept.service,
            holding=None,
            further=(),
        )

    def with_slots(self, slots: tuple[Slot, ...], root: bytes) -> Keyring:
        """The same keys under the same root, for other slots."""
        kept = self.keys_under(root)
        next_slot = max([self.next_slot, *(slot.id + 1 for slot in slots)])
        return replace(self, slots=slots, next_slot=next_slot).wrapping(root, kept)

    def bumped(self, root: bytes, generation: int) -> Keyring:
        """The same with another generation."""
        kept = self.keys_under(root)
        return replace(self, generation=generation).wrapping(root, kept)

    def with_keys_of(
        self, before: UnlockedKeyring, root: bytes, given_up: GivenUp
    ) -> UnlockedKeyring:
        """This keyring, opened, if it holds each key that was held; `keyring-would-lose-keys`.

        What is given up need not be held. It goes on where `before` stands: its slot, or that slot
        as it was before if it is gone.
        """
        stream_key, epochs, service = self.keys_under(root)
        ours = {keys.epoch: keys for keys in epochs}
        kept = hmac.compare_digest(stream_key, before.stream_key) and all(
            keys.epoch in ours and ours[keys.epoch].keeps(keys.without(given_up.keys))
            for keys in before.epochs
            if keys.epoch not in given_up.epochs
        )
        kept &= all(pair in service or pair.made_at in given_up.pairs for pair in before.service)
        if not kept:
            raise KeyUnavailable(
                "keyring-would-lose-keys",
                "A change of the keyring would have dropped or altered a key that it holds.",
                hint="The file is as it was; keep a copy of it, and please report this.",
            )
        slot = next((slot for slot in self.slots if slot.id == before.slot.id), before.slot)
        return replace(
            before,
            keyring=self,
            slot=slot,
            root=root,
            stream_key=stream_key,
            epochs=epochs,
            service=service,
        )

    def seen_by(self, unlocked: UnlockedKeyring) -> tuple[EpochKeys, ...] | None:
        """The keys in this file as far as another file's unlock gets at them; None if it does not.

        It does where the root is the same, and where this file has the slot that unlocked there,
        whatever that slot's passphrase is here: a root is sealed to the slot's public half.
        """
        with contextlib.suppress(KeyUnavailable):
            return self.keys_under(unlocked.root).epochs
        theirs, holding = unlocked.slot, unlocked.holding
        for ours in self.slots:
            if holding is None or (ours.id, ours.public_key) != (theirs.id, theirs.public_key):
                continue
            same = replace(
                theirs,
                sealed_root=ours.sealed_root,
                sealed_signing_key=ours.sealed_signing_key,
            )
            with contextlib.suppress(KeyUnavailable):
                return self.keys_under(open_slot(self.ledger_id, same, holding).root).epochs
        return None

    def _under_new_root(self, slot: Slot, unlocked: UnlockedKeyring) -> UnlockedKeyring:
        changed = Conflict(
            "keyring-changed",
            "The keyring was given a new root meanwhile; run it again.",
            hint="A service is to be restarted.",
        )
        if unlocked.private_key is None:
            raise changed
        try:
            found = self._unwrapped(reopen_slot(unlocked.ledger_id, slot, unlocked.private_key))
        except KeyUnavailable as error:
            raise changed from error
        ours = {keys.epoch: keys for keys in found.epochs}
        same = hmac.compare_digest(found.stream_key, unlocked.stream_key) and all(
            keys.epoch in ours and ours[keys.epoch].agrees(keys) for keys in unlocked.epochs
        )
        if not same:
            raise changed
        return found

    def keys_under(self, root: bytes) -> WrappedKeys:
        """What this root opens; `keyring-damaged` if it does not."""
        return unwrap(self.wrapped, root, self._binding())

    def wrapping(self, root: bytes, keys: WrappedKeys) -> Keyring:
        """The same with these keys, under this root."""
        return replace(self, wrapped=keys.sealed(root, self._binding()))

    def _clear(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "ledger_id": self.ledger_id,
            "salt": self.salt,
            "kind": self.kind,
            "slots": [slot.entry() for slot in self.slots],
            "next_slot": self.next_slot,
        }

    def _binding(self) -> bytes:
        return b"credledger/v1/keyring" + hashlib.sha256(msgpack.packb(self._clear())).digest()

    def _unwrapped(self, opened: OpenedSlot) -> UnlockedKeyring:
        return UnlockedKeyring(
            self,
            opened.slot,
            opened.root,
            opened.signing_key,
            *self.keys_under(opened.root),
            private_key=opened.private_key,
        )


class UnlockedKeyring(Confidential, msgspec.Struct, frozen=True):
    """A keyring with its keys at hand; never printed, never stored."""

    SHOWN: ClassVar = ("keyring", "slot", "further")

    keyring: Keyring
    slot: Slot
    root: bytes
    signing_key: Ed25519PrivateKey
    stream_key: bytes
    epochs: tuple[EpochKeys, ...]
    service: tuple[ServicePair, ...] = ()
    """The service's pairs, oldest first; the last one is published."""
    holding: Holding | None = None
    further: tuple[Slot, ...] = ()
    """Slots that the same holding may open too and that were not tried."""
    private_key: X25519PrivateKey | None = None
    """The slot's private half; None in the process that made the keyring."""

    @property
    def ledger_id(self) -> bytes:
        """The ledger these keys belong to."""
        return self.keyring.ledger_id

    @property
    def is_operator(self) -> bool:
        """Whether the slot that unlocked is an operator's."""
        return self.slot.opens == OPERATOR

    def without_keys(self) -> UnlockedKeyring:
        """Who unlocked, and none of the keys of any epoch, neither open nor wrapped."""
        return replace(self, keyring=replace(self.keyring, wrapped=b""), epochs=(), service=())

    def key_set(self) -> KeySet:
        """Ciphers of `state` and `access`."""
        return KeySet(self.epochs)

    def secret_box(self) -> SecretBox:
        """Ciphers of `secret`; an auditor's has none."""
        return SecretBox(self.epochs)

    def stream_names(self) -> StreamNames:
        """The ledger's keyed names."""
        return StreamNames(self.stream_key)

    def preferring(self, signing_keys: Collection[bytes]) -> UnlockedKeyring:
        """What the same holding opens by a slot with one of these signing keys; else this."""
        if self.slot.signing_public_key in signing_keys or self.holding is None:
            return self
        for slot in self.further:
            if slot.signing_public_key in signing_keys:
                with contextlib.suppress(KeyUnavailable):
                    return self.keyring.unlock(self.holding, slot.id)
        return self

    def numbering_from(self, next_slot: int, generation: int) -> UnlockedKeyring:
        """The same keys, in a file that gives new slots this number or a higher one."""
        assert generation > self.keyring.generation
        ours = replace(
            self.keyring,
            generation=generation,
            next_slot=max(self.keyring.next_slot, next_slot),
        )
        return replace(self, keyring=self._wrapping(ours))

    def add_slot(
        self,
        label: str,
        opens: str,
        holding: Holding,
        *,
        created_at: int,
        random: Random,
        cost: Argon2Cost,
    ) -> tuple[Keyring, Slot, Keyring | None]:
        """The new keyring, the slot, and for an auditor's slot the auditor's own keyring."""
        self.require_operator()
        if len(self.keyring.slots) >= SLOTS_MAX:
            raise InvalidInput("too-many-slots", f"A keyring holds at most {SLOTS_MAX} slots.")
        if any(slot.label == label for slot in self.keyring.slots):
            raise Conflict("slot-exists", "A slot of this label is there already.")
        root = self.root if opens == OPERATOR else random(KEY_BYTES)
        slot = new_slot(
            self.ledger_id,
            self.keyring.next_slot,
            label,
            opens,
            holding,
            root,
            created_at=created_at,
            random=random,
            cost=cost,
        )
        kept = slot if opens == OPERATOR else replace(slot, sealed_root=b"")
        keyring = self.keyring.with_slots((*self.keyring.slots, kept), self.root)
        exported = None if opens == OPERATOR else self.auditors_file(slot, root)
        return keyring, kept, exported

    def remove_slot(self, slot_id: int, random: Random) -> tuple[Keyring, bytes]:
        """A keyring with a new root, sealed to the slots that stay; and that root."""
        self.require_operator()
        gone = self.slot_numbered(slot_id)
        stay = [slot for slot in self.keyring.slots if slot.id != slot_id]
        if gone.opens == OPERATOR and not any(slot.opens == OPERATOR for slot in stay):
            raise Refused(
                "last-operator-slot",
                "The last operator's slot cannot be removed.",
                hint="Add another one first with `credledger key slot add`.",
            )
        without = self.without_slots({slot_id}, random)
        return without.keyring, without.root

    def without_slots(self, gone: Collection[int], random: Random) -> UnlockedKeyring:
        """The same keys under a new root, sealed to the other slots; the own one must stay."""
        assert self.slot.id not in gone
        root = random(KEY_BYTES)
        slots = tuple(
            replace(slot, sealed_root=seal_root(self.ledger_id, slot, root))
            if slot.opens == OPERATOR
            else slot
            for slot in self.keyring.slots
            if slot.id not in gone
        )
        bare = replace(self.keyring, slots=slots)
        keyring = bare.wrapping(root, self._keys())
        own = next(slot for slot in slots if slot.id == self.slot.id)
        return replace(self, keyring=keyring, slot=own, root=root)

    def with_next_epoch(self, random: Random) -> UnlockedKeyring:
        """The same with fresh keys for the epoch after the newest that is held."""
        self.require_operator()
        epochs = (*self.epochs, new_epoch(self.epochs[-1].epoch + 1, random))
        return self._with_epochs(epochs)

    def without(self, given_up: GivenUp) -> UnlockedKeyring:
        """The same without these keys; itself where it holds none of them."""
        epochs = tuple(
            keys.without(given_up.keys) for keys in self.epochs if keys.epoch not in given_up.epochs
        )
        if len(epochs) == len(self.epochs) and all(map(is_, epochs, self.epochs)):
            return self
        return self._with_epochs(epochs)

    def astray(self, committed: Mapping[int, EpochCommitments], current: int) -> frozenset[int]:
        """Epochs held ready that the log did not choose: another host's rotation was first."""
        return frozenset(
            keys.epoch
            for keys in self.epochs
            if keys.epoch > current
            and keys.epoch in committed
            and not committed[keys.epoch].fit(keys)
        )

    def _with_epochs(self, epochs: tuple[EpochKeys, ...]) -> UnlockedKeyring:
        changed = replace(self, epochs=epochs)
        return replace(changed, keyring=changed._wrapping(self.keyring))  # noqa: SLF001 # our own

    def with_service_pair(self, pair: ServicePair, known: int | None) -> UnlockedKeyring:
        """The same with a newer pair, and besides it the one that is `known` to be published.

        `known` tells when that was made; any other is left out.
        """
        self.require_operator()
        before = tuple(one for one in self.service if one.made_at == known)
        changed = replace(self, service=(*before, pair)[-PAIRS_KEPT:])
        return replace(changed, keyring=changed._wrapping(self.keyring))  # noqa: SLF001 # our own

    def _wrapping(self, keyring: Keyring) -> Keyring:
        return keyring.wrapping(self.root, self._keys())

    def _keys(self) -> WrappedKeys:
        return WrappedKeys(self.stream_key, self.epochs, self.service)

    def change_holding(
        self, old: Holding, new: Holding, *, random: Random, cost: Argon2Cost
    ) -> Keyring:
        """The slot that is unlocked, sealed by a new passphrase or key file."""
        kind, cost, salt, sealed = reseal_private_key(
            self.ledger_id, self.slot, old, new, random, cost
        )
        changed = replace(self.slot, kind=kind, cost=cost, salt=salt, sealed_private_key=sealed)
        slots = tuple(changed if slot.id == changed.id else slot for slot in self.keyring.slots)
        return self.keyring.with_slots(slots, self.root)

    def check(
        self, committed: Mapping[int, EpochCommitments], current: int, accepted: int = 0
    ) -> None:
        """Hold the keys against what the log commits to, before anything is written.

        `keyring-foreign` for keys that are not the log's, `keyring-behind` where keys that the
        log calls current are not held, `keyring-ahead` for more than one epoch beyond the next,
        unless an operator has accepted that it holds them up to the `accepted` one.
        """
        held = {keys.epoch: keys for keys in self.epochs}
        for epoch in range(1, current + 1):
            if epoch not in held:
                raise KeyUnavailable(
                    "keyring-behind",
                    f"The keyring lacks epoch {epoch}, which the log has started.",
                    hint="Copy the newer keyring from the host that rotated, or restore it.",
                )
        for epoch, keys in held.items():
            known = committed.get(epoch)
            if known is not None and not known.fit(keys):
                raise KeyUnavailable(
                    "keyring-foreign", f"The keyring's keys of epoch {epoch} are not this log's."
                )
        if max(held) > max(current + EPOCHS_AHEAD, accepted):
            raise KeyUnavailable(
                "keyring-ahead",
                "The keyring is epochs ahead of the log: is the store an old copy?",
                hint="If an older copy was put back on purpose, run `credledger log"
                " accept-rollback`; otherwise find the newer one, or restore the newest backup.",
            )

    def auditors_file(self, slot: Slot, root: bytes, generation: int | None = None) -> Keyring:
        """An auditor's own file: this slot, under a root of its own, with no key to any value."""
        empty = Keyring(
            generation=generation or self.keyring.generation + 1,
            ledger_id=self.ledger_id,
            salt=self.keyring.salt,
            kind=AUDITOR,
            slots=(slot,),
            next_slot=slot.id + 1,
            wrapped=b"",
        )
        epochs = tuple(keys.without_secret() for keys in self.epochs)
        return empty.wrapping(root, WrappedKeys(self.stream_key, epochs))

    def slot_numbered(self, slot_id: int) -> Slot:
        """A slot of this file; `no-such-slot`."""
        for slot in self.keyring.slots:
            if slot.id == slot_id:
                return slot
        raise NotFound("no-such-slot", "The keyring has no slot of this number.")

    def require_operator(self) -> None:
        """`operator-needed` for an auditor's unlock."""
        if not self.is_operator:
            raise Refused(
                "operator-needed", "Only an operator's unlock may do this.", hint=NEEDS_OPERATOR
            )


def create_keyring(
    label: str, holding: Holding, *, created_at: int, random: Random, cost: Argon2Cost
) -> UnlockedKeyring:
    """A keyring of a new ledger: one operator's slot, epoch 1 and the next one held in advance."""
    signing_key = Ed25519PrivateKey.from_private_bytes(random(32))
    salt = random(16)
    public_key = signing_key.public_key().public_bytes_raw()
    ledger_id = ledger_id_of(public_key, salt)
    root = random(KEY_BYTES)
    slot = new_slot(
        ledger_id,
        1,
        label,
        OPERATOR,
        holding,
        root,
        created_at=created_at,
        random=random,
        cost=cost,
        signing_key=signing_key,
    )
    stream_key = random(KEY_BYTES)
    epochs = (new_epoch(1, random), new_epoch(2, random))
    empty = Keyring(AS_MADE, ledger_id, salt, OPERATOR, (slot,), 2, b"")
    keyring = empty.wrapping(root, WrappedKeys(stream_key, epochs))
    return UnlockedKeyring(keyring, slot, root, signing_key, stream_key, epochs)
