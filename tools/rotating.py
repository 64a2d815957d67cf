"""The rotation of keys as a command: with a progress bar, and how long it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tools.shapes import rotation_document
from tools.show import progress

if TYPE_CHECKING:
    from ledger.usecases.acting import Acting
    from tools.wiring import Session


def rotate_keys(
    session: Session, acting: Acting, *, without_backup: bool, destroy_previous: bool
) -> dict[str, Any]:
    """Rotate, or finish a rotation; see `Ledger.rotate`."""
    started = time.monotonic()
    with progress("Resealing") as show:
        outcome = session.ledger.rotate(
            acting,
            without_backup=without_backup,
            destroy_previous=destroy_previous,
            progress=show,
        )
    return rotation_document(outcome, time.monotonic() - started)
