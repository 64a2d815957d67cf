"""A witness at work: made once, run by cron on a host that has no keyring."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from ledger.anchors.signed_note import is_name
from ledger.anchors.witness import Cosigned, cosign_newest
from ledger.anchors.witness_folder import Seen, WitnessFolder
from ledger.archive.reading import open_archive
from ledger.errors import InvalidInput
from tools.evidence.anchors import add_note
from tools.settings import Settings
from tools.stores import existing_store
from tools.when import to_text

_RESERVED = "credledger/"


def make_witness(directory: Path, ledger_id: bytes, name: str | None) -> dict[str, object]:
    """Make a witness of a ledger: its key and an empty memory.

    `invalid-witness-name` for a name that no note can carry, or that a log signs with.
    """
    chosen = f"witness/{socket.gethostname()}" if name is None else name
    if not is_name(chosen) or chosen.startswith(_RESERVED):
        raise InvalidInput(
            "invalid-witness-name",
            "A witness's name is up to 200 printable characters without spaces and plus signs, and"
            f" does not begin with {_RESERVED}.",
            hint="For example --name witness.example/w1.",
        )
    return _document(WitnessFolder(directory).found(ledger_id, chosen))


def show_witness(directory: Path) -> dict[str, object]:
    """What a witness is of, and how far it has seen the log."""
    return _document(WitnessFolder(directory).recall())


def sign_newest(
    settings: Settings, directory: Path, archive: Path | None, out: Path | None
) -> dict[str, object]:
    """Cosign the newest head of the store, or of an archive, and add it to the file `out`."""
    folder = WitnessFolder(directory)
    folder.recall()  # a folder without a witness is told before a store is looked for
    hand_out: Callable[[str], None] = (
        _nowhere if out is None else (lambda note: add_note(out, note))
    )
    if archive is not None:
        read = open_archive(archive)
        read.require_head()
        return _signed(cosign_newest(folder, read, _clock_us, hand_out))
    store = existing_store(settings)
    try:
        return _signed(cosign_newest(folder, store, _clock_us, hand_out))
    finally:
        store.close()


def _signed(cosigned: Cosigned) -> dict[str, object]:
    head = cosigned.seen.head
    return {
        "size": head.size,
        "root": head.frontier.root().hex(),
        "signed_at": to_text(cosigned.seen.signed_at * 1_000_000),
        "note": cosigned.note,
    }


def _document(seen: Seen) -> dict[str, object]:
    signed = seen.head.size > 0
    return {
        "ledger_id": seen.ledger_id.hex(),
        "name": seen.key.name,
        "witness_key": seen.key.to_text(),
        "size": seen.head.size,
        "root": seen.head.frontier.root().hex() if signed else None,
        "signed_at": to_text(seen.signed_at * 1_000_000) if signed else None,
    }


def _nowhere(note: str) -> None:
    """It is printed only."""


def _clock_us() -> int:
    return time.time_ns() // 1000
