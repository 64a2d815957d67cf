"""What `audit` and `replay` ask of the read side, with people's words turned into its terms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ledger.claims import parse_claim
from ledger.errors import InvalidInput, NotFound
from projections.access_questions import access_question
from projections.moment import diff, state_at
from projections.redecide import redecide
from projections.refused_tokens import refused_tokens
from tools.showing.show import progress
from tools.when import parse_moment, parse_place

if TYPE_CHECKING:
    from projections.unusual import Rules
    from tools.wiring import Session

_TOGETHER_FROM_ROWS = 200_000
"""A shorter log is decided again by the time that other processes have begun."""
Recording = Callable[[Mapping[str, object], int], None]
"""Records what is asked for, and how many rows of the log that is, before it is answered."""


def access_rows(
    session: Session,
    *,
    user: str | None,
    owner: str | None,
    application: str | None,
    outcome: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    after: int | None,
    rules: Rules | None = None,
    self_granted: bool = False,
) -> Iterable[dict[str, Any]]:
    """Attempts to read, newest first; only reads that break `rules`, or that were `self_granted`.

    Attempts are given as they are found; those two kinds are told from all of their time, and are
    held. `beyond-the-log` where `after` is no position yet.
    """
    begin, end = _moment(session, since), _moment(session, until)
    user, owner = _claim(session, user), _claim(session, owner)
    if after is not None:
        place_of(session, str(after))
    judged = rules is not None or self_granted
    if judged and outcome not in {None, "granted"}:
        raise InvalidInput("granted-only", "Only what was granted is judged by these.")
    question = access_question(user, owner, application, outcome, begin, end)
    if not judged:
        return session.views.accesses.attempts(question, limit, after)
    if rules is not None:
        return session.views.accesses.unusual(question, rules, limit, after)
    return session.views.accesses.self_granted(question, limit, after)


def change_rows(
    session: Session, *, application: str | None, by: str | None, since: str | None
) -> Iterator[dict[str, Any]]:
    """Administration's history."""
    return session.views.each_change(
        application=application,
        by=by if by in {None, "operator", "auditor"} else _claim(session, by),
        since=_moment(session, since),
    )


def refused_rows(session: Session, *, since: str | None, limit: int | None) -> list[dict[str, Any]]:
    """Tokens that were refused, newest first."""
    retention = session.ledger.retention.state()
    moment = _moment(session, since)
    return refused_tokens(session.store, session.mapper, retention, since=moment)[:limit]


def exposure_rows(
    session: Session, claim: str, *, since: str | None, is_open: bool
) -> list[dict[str, Any]]:
    """What this person saw; only what was not changed since if it `is_open`."""
    moment = None if since is None else past_moment(session, since)
    rows = session.views.exposure(str(session.ledger.canonical(parse_claim(claim))), moment)
    return [row for row in rows if not (is_open and row["changed_since"])]


def recheck_accesses(session: Session, jobs: int | None = None) -> dict[str, Any]:
    """Every access decided again from the log alone.

    By so many processes, where the log is long; as many as there are processors, if not told.
    """
    with progress("Deciding again") as show:
        if session.ledger.head().size >= _TOGETHER_FROM_ROWS:
            from tools.asking.rechecking import redecide_together
            from tools.processes.processors import processors

            jobs = jobs or processors()
            found = redecide_together(session, jobs, show) if jobs > 1 else None
            if found is not None:
                return found.as_document()
        return redecide(
            session.store,
            session.mapper,
            retention=session.ledger.retention.state(),
            progress=show,
        )


def rebuild_views(session: Session, view: str | None) -> dict[str, Any]:
    """Views rebuilt, with their digests before and after."""
    started = time.monotonic()
    with progress("Rebuilding") as show:
        views = session.views.rebuild(view, show)
    return {
        "events": session.ledger.status().position,
        "seconds": round(time.monotonic() - started, 3),
        "views": views,
    }


def state_then(session: Session, place: str) -> dict[str, Any]:
    """Applications and mappings as of a time or position."""
    position, moment = place_of(session, place)
    with progress("Replaying") as show:
        return state_at(session.store, session.mapper, position=position, at=moment, progress=show)


def difference(session: Session, before: str, after: str) -> dict[str, Any]:
    """What changed between two times or positions."""
    return diff(state_then(session, before), state_then(session, after))


def place_of(session: Session, text: str) -> tuple[int | None, int | None]:
    """A place in history as (position, None) or (None, moment); `beyond-the-log` past its end."""
    position, moment = parse_place(text, session.now())
    if position is not None and position > session.ledger.status().position:
        raise NotFound(
            "beyond-the-log",
            "The log does not reach that position yet.",
            hint="`credledger status` shows the newest position.",
        )
    return position, moment


def past_place(
    session: Session, at: str | None, position: int | None
) -> tuple[int | None, int | None]:
    """The same for `--at` and `--position`; `future-time` for a moment that has not come."""
    if at is None:
        return place_of(session, str(position))
    return None, past_moment(session, at)


def past_moment(session: Session, text: str) -> int:
    """A moment of before, microseconds UTC; `future-time` for one that has not come."""
    moment = parse_moment(text, session.now())
    if moment > session.now():
        raise InvalidInput(
            "future-time", "That moment has not come yet, so nobody knows what holds then."
        )
    return moment


def _moment(session: Session, text: str | None) -> int | None:
    return None if text is None else parse_moment(text, session.now())


def _claim(session: Session, text: str | None) -> str | None:
    return None if text is None else str(session.ledger.canonical(parse_claim(text)))
