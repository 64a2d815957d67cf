"""Files with keys that lie beside a keyring's file, under the names that are given here.

`NAME.replaced-1`, `-2` ... is what was there when a key backup was put in the keyring's place, and
`NAME.new` is left by a kill. Nobody opens them, so nothing takes keys out of them: a key that was
destroyed goes on in such a file until somebody removes it.

What a file holds shows only where the present unlock opens it. One that it does not open, or that
cannot be read, is taken to hold whatever it is asked for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from ledger.errors import LedgerError
from ledger.private_files import real_place
from ledger.sealing.compartments import Compartment
from ledger.sealing.epochs import EpochCommitments, EpochKeys, KeyName
from ledger.sealing.keyring import UnlockedKeyring
from ledger.sealing.keyring_file import read_keyring


class KeptFile(msgspec.Struct, frozen=True):
    """A file beside the keyring, with keys that are gone from it or are to go."""

    path: Path
    keys: frozenset[KeyName]
    """Those of them that it holds, or cannot be shown not to hold."""
    has_others: bool
    """Whether it holds keys besides that neither the log has committed to nor the keyring has: of a
    branch that was given up, whose archives may need them."""

    @property
    def opens_accesses(self) -> bool:
        """Whether any of them is of access records."""
        return any(name.compartment == Compartment.ACCESS.value for name in self.keys)

    def opens_values(self, epochs: Collection[int]) -> bool:
        """Whether any of them is of values of one of these epochs."""
        return any(KeyName(epoch, Compartment.SECRET.value) in self.keys for epoch in epochs)


def kept_files_with(
    keyring: Path,
    unlocked: UnlockedKeyring,
    gone: frozenset[KeyName],
    committed: Mapping[int, EpochCommitments],
) -> tuple[KeptFile, ...]:
    """Those beside the keyring that hold one of these keys, or cannot be shown not to.

    They are keys of epochs as the log has committed to them: others under the same number, of a
    branch that was given up, are none of these.
    """
    found = (_looked_into(path, unlocked, gone, committed) for path in _beside(real_place(keyring)))
    return tuple(file for file in found if file.keys)


def _beside(keyring: Path) -> Iterator[Path]:
    ours = re.compile(rf"{re.escape(keyring.name)}\.(?:new|replaced-[0-9]+)")
    with contextlib.suppress(OSError):
        yield from sorted(entry for entry in keyring.parent.iterdir() if ours.fullmatch(entry.name))


def _looked_into(
    path: Path,
    unlocked: UnlockedKeyring,
    gone: frozenset[KeyName],
    committed: Mapping[int, EpochCommitments],
) -> KeptFile:
    epochs = _seen(path, unlocked)
    if epochs is None:
        return KeptFile(path, gone, has_others=False)
    ours = {
        keys.epoch: keys
        for keys in epochs
        if keys.epoch in committed and committed[keys.epoch].fit(keys)
    }
    held = {keys.epoch: keys for keys in unlocked.epochs}
    others = (keys for keys in epochs if keys.epoch not in ours)
    return KeptFile(
        path,
        frozenset(name for name in gone if name.epoch in ours and ours[name.epoch].holds(name)),
        has_others=any(
            keys.epoch not in held or not held[keys.epoch].keeps(keys) for keys in others
        ),
    )


def _seen(path: Path, unlocked: UnlockedKeyring) -> tuple[EpochKeys, ...] | None:
    """The keys in a file; None where they are not to be seen."""
    try:
        return read_keyring(path).seen_by(unlocked)
    except LedgerError:
        return None
