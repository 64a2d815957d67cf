"""What people are told of slots that live again because the log is an older one."""

from __future__ import annotations

from typing import Any

from tools.showing import show


def note_revived(revived: Any) -> None:
    """One line for each, with the command that ends it again."""
    for one in revived:
        show.print_note(
            f"Slot {one['slot']} ({one['label']}) was removed after this log's last position and"
            " lives again in it, though not in this keyring: end it with"
            f" `credledger key slot remove {one['slot']}`."
        )
