"""A reader of anchors, written from `docs/reference/anchors-format.md` alone.

It imports nothing of the ledger.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def notes_of(text):
    """Each note as (text, [(name, key id, content)])."""
    found, lines = [], text.split("\n")
    while lines:
        if not lines[0]:
            lines.pop(0)
            continue
        end = lines.index("")
        body, lines = "\n".join(lines[:end]) + "\n", lines[end + 1 :]
        signatures = []
        while lines and lines[0].startswith("— "):
            _, name, encoded = lines.pop(0).split(" ")
            content = base64.b64decode(encoded)
            signatures.append((name, content[:4], content[4:]))
        found.append((body, signatures))
    return found


def head_of(body):
    origin, size, root, signers = body.splitlines()
    return {
        "ledger_id": bytes.fromhex(origin.removeprefix("credledger/")),
        "size": int(size),
        "root": base64.b64decode(root),
        "signers": bytes.fromhex(signers.removeprefix("signers ")),
    }


def witness_key(text):
    """A witness key as (name, key id, public key)."""
    name, key_id, encoded = text.split("+", 2)
    content = base64.b64decode(encoded)
    assert content[0] == 4
    expected = hashlib.sha256(name.encode() + b"\n" + content).digest()[:4]
    assert expected.hex() == key_id
    return name, expected, content[1:]


def cosigned_at(body, signature, key):
    """When the witness signed; None where it did not."""
    name, key_id, content = signature
    if (name, key_id) != key[:2] or len(content) != 72:
        return None
    time = int.from_bytes(content[:8], "big")
    message = f"cosignature/v1\ntime {time}\n{body}".encode()
    try:
        Ed25519PublicKey.from_public_bytes(key[2]).verify(content[8:], message)
    except InvalidSignature:
        return None
    return time
