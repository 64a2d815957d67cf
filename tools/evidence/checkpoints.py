"""The newest signed head as others keep or publish it; its signature is checked, nothing below."""

from __future__ import annotations

from ledger.errors import Tampered
from ledger.log.checkpoint import head_text, note
from ledger.log.following import Follower
from ledger.log.rows import signers_digest
from tools.settings import Settings
from tools.stores import existing_store, required_ledger


def newest_checkpoint(settings: Settings) -> dict[str, object]:
    """The newest signed head as `{"size", "root", "note"}`; its signature is checked."""
    store = existing_store(settings)
    try:
        ledger = required_ledger(store)
        with store.reading() as reading:
            head = reading.head()
            if head is None:
                raise Tampered("no-head", "The ledger has no signed head.")
            Follower(ledger).book(reading).require(head)
            digest = signers_digest(ledger.id, reading.signers(), head.size)
    finally:
        store.close()
    text = head_text(ledger.id, head.size, head.root, digest)
    return {
        "size": head.size,
        "root": head.root.hex(),
        "note": note(ledger.id, text, head.signer, head.signature),
    }
