r"""A witness's folder: its key, and what it has seen. It lies on another host than the ledger.

    DIR/key      Ed25519 private key, PKCS #8 in PEM, mode 0600
    DIR/memory   {"format": 1, "ledger": hex, "name": text, "key": hex, "size": number,
                  "frontier": hex, "recorded_at": number, "epoch": number, "signers": hex,
                  "signed_at": POSIX seconds}\n
                 <base64 of the key's signature over "credledger/v1/witness\n" || the line above>\n
    DIR/lock

The memory is the newest head that was cosigned. It is replaced as a whole (written beside, fsync,
rename, fsync of the folder) before a cosignature leaves the process, so that a witness that was
killed may have seen more than it told, never less. Its signature finds damage. An older memory put
back by whoever owns the folder is not found: the witness then sees the rows since once more.

`init` writes the key first; cut off there, the next `init` goes on with it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ledger.anchors.cosignature import WitnessKey
from ledger.errors import Conflict, KeyUnavailable, NotFound, Tampered, Unavailable
from ledger.log.checkpoint import is_signed
from ledger.log.following import CheckedHead
from ledger.private_files import (
    create_private_file,
    locked,
    read_private,
    replace_private_file,
)
from ledger.tree import unpack_frontier

LOCK_TIMEOUT_S = 60.0
_FORMAT = 1
_LABEL = b"credledger/v1/witness\n"
_NUMBER_END = 2**63
_BYTES_MAX = 64 * 1024
_ID_BYTES = 32


class Seen(msgspec.Struct, frozen=True):
    """What a witness is of, and how far it has seen the log."""

    ledger_id: bytes
    key: WitnessKey
    head: CheckedHead = msgspec.field(default_factory=CheckedHead)
    signed_at: int = 0
    """POSIX seconds of the newest cosignature; 0 before the first."""


class WitnessFolder:
    """The folder of one witness of one ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def found(self, ledger_id: bytes, name: str) -> Seen:
        """Make the key and an empty memory; `witness-exists` where a witness is; durable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _not_writable() from error
        with self.held():
            if self._memory.exists():
                raise Conflict("witness-exists", "There is a witness in that folder already.")
            key = self._kept_key()
            seen = Seen(ledger_id, WitnessKey(name, key.public_key().public_bytes_raw()))
            self.remember(seen, key)
        return seen

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else signs with this folder meanwhile; `witness-busy` after a minute."""
        busy = Unavailable("witness-busy", "Another process signs with this witness.")
        return locked(self.path / "lock", LOCK_TIMEOUT_S, busy=busy, not_writable=_not_writable())

    def recall(self) -> Seen:
        """What the witness has seen; `no-witness`, `witness-damaged`, `witness-newer`."""
        if not self._memory.exists():
            raise NotFound(
                "no-witness",
                "There is no witness in that folder.",
                hint="Check the folder; `credledger log witness init DIR` makes a new witness.",
            )
        content = read_private(self._memory, "witness-memory", bytes_max=_BYTES_MAX)
        line, _, encoded = content.partition(b"\n")
        try:
            told = json.loads(line)
            signature = base64.b64decode(encoded.strip(), validate=True)
            if told["format"] != _FORMAT:
                raise _newer()
            seen = _seen(told)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _damaged() from error
        if not is_signed(seen.key.public_key, signature, _LABEL + line + b"\n"):
            raise _damaged()
        return seen

    def key_of(self, seen: Seen) -> Ed25519PrivateKey:
        """The private half; `witness-key-foreign` where another one lies there."""
        key = self._read_key()
        if key.public_key().public_bytes_raw() != seen.key.public_key:
            raise KeyUnavailable(
                "witness-key-foreign", "The key in the witness's folder is not the witness's."
            )
        return key

    def remember(self, seen: Seen, key: Ed25519PrivateKey) -> None:
        """Keep this in place of what was kept; durable on return. Under the lock."""
        line = json.dumps(_told(seen)).encode() + b"\n"
        content = line + base64.b64encode(key.sign(_LABEL + line)) + b"\n"
        try:
            replace_private_file(self._memory, content)
        except OSError as error:
            raise _not_writable() from error

    @property
    def _memory(self) -> Path:
        return self.path / "memory"

    def _kept_key(self) -> Ed25519PrivateKey:
        """The key of an `init` that was cut off, or a new one, durable."""
        place = self.path / "key"
        if place.exists():
            return self._read_key()
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            create_private_file(place, pem)
        except OSError as error:
            raise _not_writable() from error
        return key

    def _read_key(self) -> Ed25519PrivateKey:
        content = read_private(self.path / "key", "witness-key", bytes_max=_BYTES_MAX)
        try:
            key = load_pem_private_key(content, None)
        except (ValueError, TypeError) as error:
            raise _key_damaged() from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _key_damaged()
        return key


def _told(seen: Seen) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "ledger": seen.ledger_id.hex(),
        "name": seen.key.name,
        "key": seen.key.public_key.hex(),
        "size": seen.head.size,
        "frontier": seen.head.frontier.packed().hex(),
        "recorded_at": seen.head.recorded_at,
        "epoch": seen.head.epoch,
        "signers": seen.head.signers.hex(),
        "signed_at": seen.signed_at,
    }


def _seen(told: dict[str, Any]) -> Seen:
    """ValueError and its like for what no witness wrote."""
    frontier = unpack_frontier(told["size"], bytes.fromhex(told["frontier"]))
    ledger_id, public_key = bytes.fromhex(told["ledger"]), bytes.fromhex(told["key"])
    numbers = (told["recorded_at"], told["epoch"], told["signed_at"])
    if (
        frontier is None
        or len(ledger_id) != _ID_BYTES
        or not all(type(number) is int and 0 <= number < _NUMBER_END for number in numbers)
    ):
        raise ValueError(told)
    recorded_at, epoch, signed_at = numbers
    head = CheckedHead(frontier, recorded_at, epoch, bytes.fromhex(told["signers"]))
    return Seen(ledger_id, WitnessKey(str(told["name"]), public_key), head, signed_at)


def _damaged() -> Tampered:
    return Tampered(
        "witness-damaged",
        "The witness's memory is damaged; it signs nothing any more.",
        hint="Check the log against the anchors that you have, then make a new witness in another"
        " folder with `credledger log witness init DIR`, and have its key trusted.",
    )


def _key_damaged() -> KeyUnavailable:
    return KeyUnavailable("witness-key-damaged", "The witness's key is damaged.")


def _newer() -> Unavailable:
    return Unavailable(
        "witness-newer", "The witness's memory is of a newer format than this version writes."
    )


def _not_writable() -> Unavailable:
    return Unavailable(
        "witness-not-writable",
        "The witness's folder cannot be written; nothing was signed.",
        hint="Check the folder's rights and the free space of its disk.",
    )
