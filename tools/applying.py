"""Bringing applications to what a file says: the plan, and its execution, here or for a caller.

    tables ─▶ plan ─▶ (who asks confirms what is deleted) ─▶ one transaction

What is planned is what is done: between the two nothing is planned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from projections.documents import application_document
from tools.applications_file import apply_changes, doomed, plan_changes
from tools.shapes import visible_applications

if TYPE_CHECKING:
    from ledger.usecases.acting import Acting
    from tools.wiring import Session

Confirm = Callable[[Sequence[str]], None]
"""Told the IDs of applications that would be deleted; raises where they are to stay."""


def apply_tables(
    session: Session,
    acting: Acting,
    wanted: Mapping[str, Mapping[str, Any]],
    *,
    prune: bool,
    dry_run: bool,
    confirm: Confirm,
) -> dict[str, Any]:
    """What `app apply` tells; unless it is a `dry_run`, all is done then, or nothing."""
    present = [application_document(one) for one in visible_applications(session, acting)]
    changes = plan_changes(wanted, present, prune=prune, canonical=session.ledger.canonical)
    documents = [change.as_document() for change in changes]
    position = None
    if not dry_run:
        confirm(doomed(documents))
        position = apply_changes(session.ledger, acting, changes)
    return {
        "dry_run": dry_run,
        "changed": bool(changes) and not dry_run,
        "position": position,
        "changes": documents,
    }
