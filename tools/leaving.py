"""What `leaver` takes from a claim, and what is left to be done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.aggregates.application import NOBODY, ROLES, readers
from ledger.aggregates.roles import RIGHTS
from ledger.errors import NotFound
from projections.moment import Past, past_at
from tools.showing.show import progress

if TYPE_CHECKING:
    from ledger.aggregates.application import Application
    from ledger.claims import Claim
    from ledger.usecases.acting import Acting
    from projections.stretch import Stretch
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


def left_then(session: Session, leaving: Claim, moment: Stretch) -> dict[str, Any]:
    """What a dry run would have shown at a moment: folded from the log up to there."""
    leaving = session.ledger.canonical(leaving)
    with progress("Replaying") as show:
        past = past_at(
            session.store,
            session.mapper,
            position=moment.position,
            at=moment.until,
            progress=show,
        )
    seen = session.views.exposure(str(leaving), position=past.position)
    taken = [
        (state, role)
        for _, state in sorted(past.applications.items())
        for role in ROLES
        if leaving in state.claims_of(role)
    ]
    return {
        "claim": str(leaving),
        "dry_run": True,
        "position": past.position,
        "revoked": [{"application": state.application, "role": role} for state, role in taken],
        "rights": [right for right in RIGHTS if (right, leaving) in past.roles.held],
        "nobody_reads": [
            state.application
            for state, role in taken
            if role == "member" and _others(session, state, leaving) == NOBODY
        ],
        "to_change": [row for row in seen if not row["changed_since"]],
        "own": _own_in(past, leaving),
    }


def _own_in(past: Past, leaving: Claim) -> list[dict[str, Any]]:
    return [
        {"application": state.application, "version": mapping.version}
        for mapping, state in past.mappings
        if mapping.owner == str(leaving)
    ]


def _readers_without(session: Session, application: str, leaving: Claim) -> str:
    try:
        state = session.ledger.application(application)
    except NotFound:  # deleted since
        return NOBODY
    return _others(session, state, leaving)


def _others(session: Session, state: Application, leaving: Claim) -> str:
    others = {session.ledger.canonical(claim) for claim in state.members} - {leaving}
    return readers(others, is_open=state.open)


def listed(session: Session) -> list[str]:
    """The IDs of all applications."""
    return [state.application for state in session.views.applications()]
