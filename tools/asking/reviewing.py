"""Signing off a periodic access review, and the list of those that were."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ledger.aggregates.access import AuditReviewed
from ledger.errors import InvalidInput
from projections.reviews import Review, newest_review, reviewed_document, reviews
from projections.streams import signed_position_at
from tools.asking.moments import past_moment, require_cursor

if TYPE_CHECKING:
    from ledger.usecases.acting import Acting
    from projections.stretch import Stretch
    from tools.wiring import Session

NOTE_LENGTH_MAX = 1024


def checked_note(note: str) -> str:
    """The note; `invalid-note` if it is empty, too long or no single line."""
    if not note.strip() or len(note) > NOTE_LENGTH_MAX or not note.isprintable():
        raise InvalidInput(
            "invalid-note", f"A note is one line of 1 to {NOTE_LENGTH_MAX} characters."
        )
    return note


def sign_off(session: Session, acting: Acting, until: str, note: str) -> dict[str, Any]:
    """Record that everything since the last review, up to a time, was reviewed.

    `reviewed-already` where nothing lies between, `nothing-recorded` in a log that begins later and
    was never reviewed.
    """
    moment = past_moment(session, until)
    with session.store.reading() as reading:
        last = signed_position_at(reading, session.mapper, moment)
    before = max((one.reached for one in _reviews(session)), default=0)
    if last <= before == 0:
        raise InvalidInput(
            "nothing-recorded",
            "Nothing was recorded up to that time, so there is nothing to review.",
            hint="Name a later --until; `credledger log events --limit 1` shows when the log begins.",
        )
    if last <= before:
        raise InvalidInput(
            "reviewed-already",
            "Everything up to that time was reviewed before.",
            hint="`credledger audit review --list` shows until where.",
        )
    counted = session.views.accesses.counted(before, last)
    review = AuditReviewed(
        after=before,
        until=last,
        granted=counted["granted"],
        denied=counted["denied"],
        not_set=counted["not-set"],
        note=checked_note(note),
    )
    position = session.ledger.record_review(acting, review)
    return {"position": position, **reviewed_document(review)}


def review_rows(
    session: Session, stretch: Stretch, *, limit: int | None, after: int | None
) -> list[dict[str, Any]]:
    """Reviews that were signed off within a stretch, newest first."""
    require_cursor(session, stretch, after)
    found = (
        one
        for one in reversed(_reviews(session))
        if stretch.holds(one.recorded.position, one.recorded.recorded_at)
        and (after is None or one.recorded.position < after)
    )
    return [one.as_document() for one in islice(found, limit)]


def last_review(session: Session) -> dict[str, Any] | None:
    """Where the last review lies, when and by whom it was made, and the last position reviewed."""
    found = newest(session)
    if found is None:
        return None
    told = found.as_document()
    return {name: told[name] for name in ("position", "recorded_at", "by", "until")}


def newest(session: Session) -> Review | None:
    """The last review, with its record."""
    slots = session.ledger.key_history().slots.values()
    return newest_review(session.store, session.mapper, session.streams, slots)


def _reviews(session: Session) -> list[Review]:
    slots = session.ledger.key_history().slots.values()
    return reviews(session.store, session.mapper, session.streams, slots)
