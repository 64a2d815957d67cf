"""What rotates keys, with a progress bar: a rotation, and the removal of a slot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tools.shapes import rotation_document
from tools.showing.show import progress

if TYPE_CHECKING:
    from ledger.usecases.acting import Acting
    from ledger.usecases.slots import SlotRemoval
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
    backups = session.ledger.key_backups.history() if outcome.destroyed else None
    holding = () if backups is None else backups.holding_any(outcome.destroyed)
    kept = [
        str(file.path)
        for file in session.ledger.key_backups.kept_files()
        if file.opens_values(outcome.destroyed)
    ]
    whole_from = session.ledger.key_history().whole_from if outcome.destroyed else None
    return rotation_document(outcome, holding, kept, time.monotonic() - started, whole_from)


def doom_question(session: Session) -> str:
    """What to ask before the keys of all earlier values are destroyed."""
    doomed = session.ledger.doomed()
    epochs = ", ".join(map(str, doomed.epochs))
    return (
        f"Values that were replaced or deleted, and can never be restored then: {doomed.values}."
        f" Destroy the keys of values of epoch {epochs} for good?"
    )


def remove_slot(
    session: Session, acting: Acting, slot: int, *, mislaid: bool, without_backup: bool
) -> SlotRemoval:
    """Remove a slot, and rotate twice unless it was mislaid; see `Ledger.remove_slot`."""
    with progress("Resealing") as show:
        return session.ledger.remove_slot(
            acting, slot, mislaid=mislaid, without_backup=without_backup, progress=show
        )
