"""What `audit` and `replay` ask of the read side, with people's words turned into its terms."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from ledger.claims import parse_claim
from ledger.errors import InvalidInput, NotFound
from ledger.identifiers import application_key
from ledger.replacing import replace
from projections.access_questions import access_question
from projections.asked import Author, asked_questions
from projections.moment import diff, state_at
from projections.redecide import redecide
from projections.refused_tokens import refused_tokens
from projections.stretch import WHOLE, Stretch
from projections.ticket_history import TicketQuestion, ticket_history
from tools.asking.moments import place_of, require_cursor
from tools.showing.show import progress

if TYPE_CHECKING:
    from projections.unusual import Rules
    from tools.wiring import Session

_TOGETHER_FROM_ROWS = 200_000
"""A shorter log is decided again by the time that other processes have begun."""
_SLOT = re.compile(r"(operator|auditor):([0-9]{1,9})")
Recording = Callable[[Mapping[str, object], int], None]
"""Records what is asked for, and how many rows of the log that is, before it is answered."""


def access_rows(
    session: Session,
    stretch: Stretch,
    *,
    user: str | None,
    owner: str | None,
    application: str | None,
    outcome: str | None,
    limit: int | None,
    after: int | None,
    rules: Rules | None = None,
    self_granted: bool = False,
) -> Iterable[dict[str, Any]]:
    """Attempts to read, newest first; only reads that break `rules`, or that were `self_granted`.

    Attempts are given as they are found; those two kinds are told from all of their time, and are
    held. `beyond-the-log` or `cursor-outside` where `after` is no position of the stretch.
    """
    user, owner = _claim(session, user), _claim(session, owner)
    require_cursor(session, stretch, after)
    judged = rules is not None or self_granted
    if judged and outcome not in {None, "granted"}:
        raise InvalidInput("granted-only", "Only what was granted is judged by these.")
    question = access_question(
        user, owner, application, outcome, stretch.since, stretch.until, stretch.position
    )
    if not judged:
        return session.views.accesses.attempts(question, limit, after)
    if rules is not None:
        return session.views.accesses.unusual(question, rules, limit, after)
    return session.views.accesses.self_granted(question, limit, after)


def change_rows(
    session: Session,
    stretch: Stretch,
    *,
    application: str | None,
    by: str | None,
    limit: int | None,
    after: int | None,
) -> Iterator[dict[str, Any]]:
    """Administration's history, newest first."""
    require_cursor(session, stretch, after)
    rows = session.views.each_change(
        application=application,
        by=by if by in {None, "operator", "auditor"} else _claim(session, by),
        stretch=stretch,
        after=after,
    )
    return islice(rows, limit)


def refused_rows(
    session: Session, stretch: Stretch, *, limit: int | None, after: int | None
) -> Iterator[dict[str, Any]]:
    """Tokens that were refused, newest first."""
    require_cursor(session, stretch, after)
    retention = session.ledger.retention.state()
    return islice(refused_tokens(session.store, session.mapper, retention, stretch, after), limit)


def ticket_rows(
    session: Session,
    stretch: Stretch,
    *,
    user: str | None,
    application: str | None,
    state: str | None,
    limit: int | None,
    after: int | None,
) -> Iterator[dict[str, Any]]:
    """Tickets with what became of them, and attempts that came to nothing, newest first.

    A page may go on behind a ticket that was issued before the stretch and ended in it.
    """
    question = TicketQuestion(_claim(session, user), application, state)
    require_cursor(session, replace(stretch, since=None), after)
    retention = session.ledger.retention.state()
    rows = ticket_history(session.store, session.mapper, retention, question, stretch, after)
    return islice(rows, limit)


def asked_rows(
    session: Session, stretch: Stretch, *, by: str | None, limit: int | None, after: int | None
) -> Iterator[dict[str, Any]]:
    """Questions of the history and reviews of it, newest first.

    `by` is an author as `change_rows` takes one, or a slot by class and number: `auditor:2`.
    """
    author = _author(session, by)
    require_cursor(session, stretch, after)
    slots = session.ledger.key_history().slots.values()
    rows = asked_questions(
        session.store,
        session.mapper,
        session.ledger.retention.state(),
        {session.streams.audit(one.signing_key): one for one in slots},
        author,
        stretch,
        after,
    )
    return islice(rows, limit)


def require_known(
    session: Session, application: str | None, stretch: Stretch, *, rows: int
) -> str | None:
    """What to say of an answer about an application that there never was, as of the moment asked.

    Somebody may have asked for one that there is not, and that is in the history; without such a
    row it is `no-such-application`. One that was deleted is known.
    """
    if application is None:
        return None
    stream = session.streams.application(application_key(application))
    with session.store.reading() as reading:
        first = next(iter(reading.stream_rows(stream, 0, 1)), None)
        if first is not None and first.position <= stretch.last(reading):
            return None
    if not rows:
        raise NotFound(
            "no-such-application",
            "The log knows no target application of this ID.",
            hint="`credledger app list` shows those that there are, `credledger audit changes` those"
            " that there were.",
        )
    return "The log knows no target application of this ID: these asked for one that there was not."


def exposure_rows(
    session: Session, claim: str, stretch: Stretch, *, is_open: bool
) -> list[dict[str, Any]]:
    """What this person saw, as of a stretch's end; only what was not changed if it `is_open`."""
    person = str(session.ledger.canonical(parse_claim(claim)))
    rows = session.views.exposure(
        person, stretch.since, at=stretch.until, position=stretch.position
    )
    return [row for row in rows if not (is_open and row["changed_since"])]


def recheck_accesses(
    session: Session, jobs: int | None = None, stretch: Stretch = WHOLE
) -> dict[str, Any]:
    """Every access of a stretch decided again from the log alone.

    By so many processes, where the log is long; as many as there are processors, if not told.
    """
    with progress("Deciding again") as show:
        if session.ledger.head().size >= _TOGETHER_FROM_ROWS:
            from tools.asking.rechecking import redecide_together
            from tools.processes.processors import processors

            jobs = jobs or processors()
            found = redecide_together(session, jobs, show, stretch) if jobs > 1 else None
            if found is not None:
                return found.as_document()
        return redecide(
            session.store,
            session.mapper,
            retention=session.ledger.retention.state(),
            stretch=stretch,
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


def _author(session: Session, by: str | None) -> Author:
    if by in {None, "operator", "auditor"}:
        return Author(by)
    named = _SLOT.fullmatch(by or "")
    if named is not None:
        return Author(slot=(named[1], int(named[2])))
    return Author(_claim(session, by))


def _claim(session: Session, text: str | None) -> str | None:
    return None if text is None else str(session.ledger.canonical(parse_claim(text)))
