"""The opened keys of `state` and `access`, one cached cipher object for each.

`access` records are sealed under HKDF-Expand(month's key, "credledger/v1/access" || stream), so
no key seals more than one process's run of records (RFC 5869). The `secret` keys are not here:
see `ledger.sealing.secrets`, which the read side cannot import.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ledger.errors import KeyUnavailable
from ledger.sealing.confidential import Confidential
from ledger.sealing.epochs import EpochCommitments, EpochKeys, period_index

_CACHED_ACCESS_CIPHERS_MAX = 4096
_handed = msgspec.msgpack.Decoder(
    tuple[list[tuple[int, bytes, tuple[bytes | None, ...]]], dict[int, int]]
)


class KeySet(Confidential):
    """Ciphers of the epochs that a keyring opens, without those of secrets."""

    def __init__(self, epochs: Iterable[EpochKeys]) -> None:
        self._first_periods: dict[int, int] = {}
        self._guard = threading.Lock()
        self.hold(epochs)

    def renew_after_fork(self) -> None:
        """A lock that another thread held at the fork is held for ever in the child."""
        self._guard = threading.Lock()

    def hold(self, epochs: Iterable[EpochKeys]) -> None:
        """Hold these keys from now on, and no others."""
        # All at once: a thread that made a cipher of a key that goes keeps it where nobody looks.
        held = {keys.epoch: keys.without_secret() for keys in epochs}
        with self._guard:
            self._held = _Held(held, {}, {})

    def handed_over(self) -> bytes:
        """All keys that are held, bare, for a process of ours that has no keyring: a secret.

        It goes through a pipe between the two and nowhere else (decision 30).
        """
        held = [(one.epoch, one.state, one.access) for one in self._held.epochs.values()]
        return msgspec.msgpack.encode((held, self._first_periods))

    @classmethod
    def taken_over(cls, handed: bytes) -> KeySet:
        """The keys that another process handed over."""
        held, first_periods = _handed.decode(handed)
        keys = cls(EpochKeys(epoch, state, None, access) for epoch, state, access in held)
        keys.start(first_periods)
        return keys

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose keys are held."""
        return tuple(sorted(self._held.epochs))

    @property
    def held(self) -> object:
        """The same object for as long as the same keys are held."""
        return self._held

    def fit(self, commitments: EpochCommitments) -> bool:
        """Whether the keys held of an epoch, if any are, are those committed to."""
        keys = self._held.epochs.get(commitments.epoch)
        return keys is None or commitments.fit(keys)

    def knows(self, epoch: int) -> bool:
        """Whether what is sealed in this epoch opens, unless a key of it was destroyed."""
        return epoch in self._held.epochs and epoch in self._first_periods

    def start(self, first_periods: Mapping[int, int]) -> None:
        """Learn in which month each epoch was started, as the log says.

        In a log that was put back, an epoch may start again, in another month: what was made of its
        keys before is of other months then.
        """
        known = self._first_periods
        # Or a thread that lets keys go meanwhile would have them put back, and nobody looks again.
        with self._guard:
            again = any(known.get(one, period) != period for one, period in first_periods.items())
            known.update(first_periods)
            if again:
                self._held = _Held(self._held.epochs, {}, {})

    def meet(self, epoch: int, period: int) -> None:
        """Learn the same from a row of the log, of an epoch of which it is not known yet.

        Whoever opens the row may be slow, and the log another one by now: what was learned of an
        epoch is changed by `start` alone.
        """
        self._first_periods.setdefault(epoch, period)

    def state(self, epoch: int) -> AESGCM:
        """The cipher of an epoch's `state`; `key-missing` if it is not held."""
        held = self._held
        cipher = held.state.get(epoch)
        if cipher is None:
            cipher = held.state[epoch] = AESGCM(held.of(epoch).state)
        return cipher

    def access(self, epoch: int, period: int, stream: bytes) -> AESGCM:
        """The cipher of one access stream in one month; `key-missing` if it is not held."""
        held, place = self._held, (epoch, period, stream)
        cipher = held.access.get(place)
        if cipher is None:
            if len(held.access) >= _CACHED_ACCESS_CIPHERS_MAX:
                held.access.clear()
            key = self._access_key(held, epoch, period, stream)
            cipher = held.access[place] = AESGCM(key)
        return cipher

    def access_key(self, epoch: int, period: int, stream: bytes) -> bytes:
        """The key itself of one access stream in one month, to be handed over; errors as above."""
        return self._access_key(self._held, epoch, period, stream)

    def _access_key(self, held: _Held, epoch: int, period: int, stream: bytes) -> bytes:
        first_period = self._first_periods.get(epoch)
        if first_period is None:
            raise _missing(epoch)
        key = held.of(epoch).access[period_index(first_period, period)]
        if key is None:
            raise KeyUnavailable(
                "key-destroyed", f"The access key of {period} in epoch {epoch} was destroyed."
            )
        return HKDFExpand(SHA256(), 32, b"credledger/v1/access" + stream).derive(key)


class _Held(NamedTuple):
    """Keys, and the ciphers that were made of them."""

    epochs: dict[int, EpochKeys]
    state: dict[int, AESGCM]
    access: dict[tuple[int, int, bytes], AESGCM]

    def of(self, epoch: int) -> EpochKeys:
        keys = self.epochs.get(epoch)
        if keys is None:
            raise _missing(epoch)
        return keys


def _missing(epoch: int) -> KeyUnavailable:
    return KeyUnavailable(
        "key-missing",
        f"The keyring does not hold the keys of epoch {epoch}.",
        hint="Use a newer copy of the keyring, or restore one from its backup; as an auditor, ask an"
        " operator for a new export.",
    )
