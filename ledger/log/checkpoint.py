r"""Signed heads, as C2SP tlog-checkpoint texts and signed notes.

The text of a head::

    credledger/<ledger id, lower-case hex>\n
    <size, decimal>\n
    <root, base64>\n
    signers <digest of all signer rows below the size, lower-case hex>\n

An Ed25519 signature over exactly these bytes stands in the commit row. The note that
`log checkpoint` hands out adds an empty line and the line `— NAME BASE64(key hash || signature)`,
where the key hash is the first four bytes of SHA256(NAME || 0x0A || 0x01 || public key).

Source: C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import base64
import functools
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519_NOTE_TYPE = b"\x01"


def origin(ledger_id: bytes) -> str:
    """The first line of every head of this ledger, and the key name in its notes."""
    return f"credledger/{ledger_id.hex()}"


def head_text(ledger_id: bytes, size: int, root: bytes, signers: bytes) -> bytes:
    """The bytes that a commit's signature signs."""
    encoded_root = base64.b64encode(root).decode()
    return f"{origin(ledger_id)}\n{size}\n{encoded_root}\nsigners {signers.hex()}\n".encode()


def note(ledger_id: bytes, text: bytes, public_key: bytes, signature: bytes) -> str:
    """The head as a signed note that other C2SP tools read."""
    encoded = base64.b64encode(key_hash(ledger_id, public_key) + signature).decode()
    return f"{text.decode()}\n\u2014 {origin(ledger_id)} {encoded}\n"


def key_hash(ledger_id: bytes, public_key: bytes) -> bytes:
    """The four bytes that say in a note which key of the ledger's signed it."""
    name = origin(ledger_id).encode()
    return hashlib.sha256(name + b"\n" + _ED25519_NOTE_TYPE + public_key).digest()[:4]


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 signature over the message is the key's."""
    try:
        _verifying(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=64)
def _verifying(public_key: bytes) -> Ed25519PublicKey:
    """A key made ready once: few keys sign all the heads of a log."""
    return Ed25519PublicKey.from_public_bytes(public_key)
