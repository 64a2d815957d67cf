"""Epochs: one generation of the ledger's keys, and what the log commits to of each.

An epoch is a random 32-byte `state` key, a `secret` key, and 120 `access` keys, one for each UTC
month from the month in which the epoch is *started*, so that each period can be destroyed alone.
A commitment is

    SHA256("credledger/v1/commitment" || epoch u32 || compartment name || index u16 || key)

and stands in the log, so a keyring with any other key is recognised before it writes anything.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import ClassVar, NamedTuple

import msgspec

from ledger.errors import KeyUnavailable
from ledger.sealing.compartments import Compartment
from ledger.sealing.confidential import Confidential

KEY_BYTES = 32
EPOCH_MAX = 2**32 - 1
ACCESS_PERIODS = 120
Random = Callable[[int], bytes]
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS: dict[int, int] = {}
DAY_US = 86_400_000_000


def period_of(recorded_at: int) -> int:
    """The UTC month of a time in microseconds, as YYYYMM."""
    day = recorded_at // DAY_US
    period = _MONTHS.get(day)
    if period is None:
        moment = _UNIX + timedelta(days=day)
        period = moment.year * 100 + moment.month
        if len(_MONTHS) > 10_000:
            _MONTHS.clear()
        _MONTHS[day] = period
    return period


def period_start(period: int) -> int:
    """The first microsecond of a month, UTC."""
    first = datetime(period // 100, period % 100, 1, tzinfo=UTC)
    return (first - _UNIX).days * DAY_US


def period_after(period: int, months: int) -> int:
    """The month so many months later."""
    counted = period // 100 * 12 + period % 100 - 1 + months
    return counted // 12 * 100 + counted % 12 + 1


def months_between(first_period: int, period: int) -> int:
    """How many months after the first one; negative before it."""
    return (period // 100 - first_period // 100) * 12 + period % 100 - first_period % 100


def period_index(first_period: int, period: int) -> int:
    """How many months after the epoch's first one; `access-key-missing` beyond its 120."""
    months = months_between(first_period, period)
    if not 0 <= months < ACCESS_PERIODS:
        raise no_access_key()
    return months


def no_access_key() -> KeyUnavailable:
    """Why no access can be recorded in a month."""
    return KeyUnavailable(
        "access-key-missing",
        "The epoch holds no access key for this month.",
        hint="An epoch serves 120 months. Check the clock; if it is right, an operator's"
        " `credledger key rotate` starts an epoch that serves from now on.",
    )


class KeyName(NamedTuple):
    """One key of an epoch that can be destroyed alone: `secret`, or one month's `access`."""

    epoch: int
    compartment: str
    month: int = 0
    """Counted from the epoch's first one; 0 for `secret`."""


class EpochKeys(Confidential, msgspec.Struct, frozen=True):
    """The keys of one epoch as a keyring holds them; a destroyed or withheld one is None."""

    SHOWN: ClassVar = ("epoch",)

    epoch: int
    state: bytes
    secret: bytes | None
    access: tuple[bytes | None, ...]

    def without_secret(self) -> EpochKeys:
        """The same for an auditor."""
        return EpochKeys(self.epoch, self.state, None, self.access)

    def without(self, destroyed: Collection[KeyName]) -> EpochKeys:
        """The same without these keys; itself where it holds none of them."""
        gone = {name for name in destroyed if name.epoch == self.epoch and self.holds(name)}
        if not gone:
            return self
        months = {name.month for name in gone if name.compartment == Compartment.ACCESS.value}
        return EpochKeys(
            self.epoch,
            self.state,
            None if KeyName(self.epoch, Compartment.SECRET.value) in gone else self.secret,
            tuple(None if index in months else key for index, key in enumerate(self.access)),
        )

    def holds(self, name: KeyName) -> bool:
        """Whether the key of this name is at hand."""
        if name.compartment == Compartment.SECRET.value:
            return self.secret is not None
        return 0 <= name.month < len(self.access) and self.access[name.month] is not None

    def seals_access(self, first_period: int, period: int) -> bool:
        """Whether it holds the key of a month's access records, if it began in the first one."""
        months = months_between(first_period, period)
        return self.holds(KeyName(self.epoch, Compartment.ACCESS.value, months))

    @property
    def is_whole(self) -> bool:
        """Whether none of its keys was destroyed or withheld."""
        return self.secret is not None and None not in self.access

    def keeps(self, before: EpochKeys) -> bool:
        """Whether every key that was held before is held here, and the same."""
        pairs = zip(
            (before.state, before.secret, *before.access),
            (self.state, self.secret, *self.access),
            strict=True,
        )
        return all(
            old is None or (new is not None and hmac.compare_digest(old, new)) for old, new in pairs
        )

    def agrees(self, other: EpochKeys) -> bool:
        """Whether no key differs that both hold; either may lack what was destroyed."""
        pairs = zip(
            (self.state, self.secret, *self.access),
            (other.state, other.secret, *other.access),
            strict=True,
        )
        return all(
            one is None or two is None or hmac.compare_digest(one, two) for one, two in pairs
        )


class EpochCommitments(msgspec.Struct, frozen=True):
    """What the log says of an epoch's keys; 32 bytes each."""

    epoch: int
    state: bytes
    secret: bytes
    access: tuple[bytes, ...]

    def fit(self, keys: EpochKeys) -> bool:
        """Whether every key that is held is the one committed to."""
        ours = commitments(keys)
        same = hmac.compare_digest(self.state, ours.state)
        if keys.secret is not None:
            same &= hmac.compare_digest(self.secret, ours.secret)
        held = zip(keys.access, self.access, ours.access, strict=True)
        return same and all(
            key is None or hmac.compare_digest(theirs, own) for key, theirs, own in held
        )


def new_epoch(epoch: int, random: Random) -> EpochKeys:
    """Fresh keys for one epoch."""
    return EpochKeys(
        epoch,
        random(KEY_BYTES),
        random(KEY_BYTES),
        tuple(random(KEY_BYTES) for _ in range(ACCESS_PERIODS)),
    )


def commitments(keys: EpochKeys) -> EpochCommitments:
    """The commitments to these keys; a missing key's is 32 zero bytes."""
    access = _prefix(keys.epoch, Compartment.ACCESS)
    return EpochCommitments(
        keys.epoch,
        _commitment(_prefix(keys.epoch, Compartment.STATE), 0, keys.state),
        _commitment(_prefix(keys.epoch, Compartment.SECRET), 0, keys.secret),
        tuple(_commitment(access, index, key) for index, key in enumerate(keys.access)),
    )


def _prefix(epoch: int, compartment: Compartment) -> bytes:
    return b"credledger/v1/commitment" + epoch.to_bytes(4, "big") + compartment.value.encode()


def _commitment(prefix: bytes, index: int, key: bytes | None) -> bytes:
    if key is None:
        return bytes(32)
    return hashlib.sha256(prefix + index.to_bytes(2, "big") + key).digest()
