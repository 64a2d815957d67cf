"""What `leaver` takes from a claim, and what is left to be done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.aggregates.application import NOBODY, readers
from ledger.errors import NotFound

if TYPE_CHECKING:
    from ledger.claims import Claim
    from ledger.usecases.acting import Acting
    from tools.wiring import Session


def leave(session: Session, acting: Acting, leaving: Claim, *, dry_run: bool) -> dict[str, Any]:
    """Take everything, or show it; with what they saw and what is theirs."""
    leaving = session.ledger.canonical(leaving)
    to_change = [row for row in session.views.exposure(str(leaving)) if not row["changed_since"]]
    own = session.views.credentials(owner=str(leaving), now=session.now())
    outcome = session.ledger.leave(
        acting,
        leaving,
        lambda: listed(session),
        exposed=len(to_change),
        only_look=dry_run,
    )
    if dry_run:
        session.record_query(acting, f"leaver {leaving} --dry-run", len(to_change))
    return {
        "claim": str(leaving),
        "dry_run": dry_run,
        "position": outcome.position,
        "revoked": [
            {"application": application, "role": role} for application, role in outcome.roles
        ],
        "rights": list(outcome.rights),
        "nobody_reads": [
            application
            for application, role in outcome.roles
            if role == "member" and _readers_without(session, application, leaving) == NOBODY
        ],
        "to_change": to_change,
        "own": [{"application": row["application"], "version": row["version"]} for row in own],
    }


def _readers_without(session: Session, application: str, leaving: Claim) -> str:
    try:
        state = session.ledger.application(application)
    except NotFound:  # deleted since
        return NOBODY
    others = {session.ledger.canonical(claim) for claim in state.members} - {leaving}
    return readers(others, is_open=state.open)


def listed(session: Session) -> list[str]:
    """The IDs of all applications."""
    return [state.application for state in session.views.applications()]
