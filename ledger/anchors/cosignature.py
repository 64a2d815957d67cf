r"""Cosignatures: a witness's word that a head goes on from all heads it has seen before.

    signed    = "cosignature/v1\n" || "time <POSIX seconds>\n" || text of the note
    line      = — <witness> base64(key id || time, 8 bytes big-endian || Ed25519 signature)
    key id    = SHA256(witness || 0x0A || 0x04 || public key)[:4]
    public    = <witness>+<key id in hex>+<base64(0x04 || public key)>        a C2SP vkey

It says: at this time this was the largest head of the log that I knew, and its tree holds those of
all smaller ones.

Source: C2SP tlog-cosignature (its Ed25519 form) and signed-note.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.anchors.signed_note import NoteSignature, is_name, key_id
from ledger.errors import InvalidInput
from ledger.log.checkpoint import is_signed

_KIND = b"\x04"
_KEY_BYTES = 32
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


class WitnessKey(msgspec.Struct, frozen=True):
    """The public half of a witness's key, under its name."""

    name: str
    public_key: bytes

    @property
    def id(self) -> bytes:
        """What names the key in a line."""
        return key_id(self.name, _KIND, self.public_key)

    def to_text(self) -> str:
        """The key as it is given to those who shall trust it."""
        encoded = base64.b64encode(_KIND + self.public_key).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    def is_of(self, signature: NoteSignature) -> bool:
        """Whether the line says that it is this witness's."""
        return signature.name == self.name and signature.key_id == self.id

    def time_signed(self, text: bytes, signature: NoteSignature) -> int | None:
        """When this witness signed the text, in POSIX seconds; None where it did not."""
        content = signature.content
        if not self.is_of(signature) or len(content) != _TIME_BYTES + _SIGNATURE_BYTES:
            return None
        time_s = int.from_bytes(content[:_TIME_BYTES], "big")
        signed = is_signed(self.public_key, content[_TIME_BYTES:], _cosigned(text, time_s))
        return time_s if signed else None


def cosign(name: str, key: Ed25519PrivateKey, text: bytes, time_s: int) -> NoteSignature:
    """The line that a witness adds to a note at this time."""
    own = WitnessKey(name, key.public_key().public_bytes_raw())
    signature = key.sign(_cosigned(text, time_s))
    return NoteSignature(name, own.id, time_s.to_bytes(_TIME_BYTES, "big") + signature)


def parse_witness_key(text: str) -> WitnessKey:
    """A witness's public key as `to_text` writes it; `invalid-witness-key` otherwise."""
    name, _, rest = text.strip().partition("+")
    told_id, _, encoded = rest.partition("+")
    try:
        content = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    key = WitnessKey(name, content[1:])
    sound = (
        is_name(name)
        and content[:1] == _KIND
        and len(key.public_key) == _KEY_BYTES
        and told_id == key.id.hex()
    )
    if not sound:
        raise InvalidInput(
            "invalid-witness-key",
            "A witness's key is written NAME+ID+KEY, as `log witness init` prints it.",
            hint="`credledger log witness show DIR` prints it again.",
        )
    return key


def _cosigned(text: bytes, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + text
