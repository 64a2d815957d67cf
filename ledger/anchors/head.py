"""The head of a log as a note tells it, taken apart again; see `ledger.log.checkpoint`."""

from __future__ import annotations

import base64
import re

import msgspec

from ledger.anchors.signed_note import SignedNote, unknown_anchor
from ledger.log.checkpoint import head_text

_HEAD = re.compile(
    rb"credledger/([0-9a-f]{64})\n"
    rb"([1-9][0-9]{0,18})\n"
    rb"([A-Za-z0-9+/]{43}=)\n"
    rb"signers ([0-9a-f]{64})\n"
)


class NotedHead(msgspec.Struct, frozen=True):
    """What a note says of a ledger's log."""

    ledger_id: bytes
    size: int
    root: bytes
    signers: bytes
    """Digest of all signer rows below the size."""


def noted_head(note: SignedNote) -> NotedHead:
    """The head that a note tells; `unknown-anchor` where it is of something else than a ledger."""
    found = _HEAD.fullmatch(note.text)
    if found is None:
        raise unknown_anchor(note.line)
    ledger_id, size, root, signers = found.groups()
    head = NotedHead(
        bytes.fromhex(ledger_id.decode()),
        int(size),
        base64.b64decode(root),
        bytes.fromhex(signers.decode()),
    )
    # One text for one head: bits that base64 leaves over would make two.
    if head_text(head.ledger_id, head.size, head.root, head.signers) != note.text:
        raise unknown_anchor(note.line)
    return head
