"""`credledger audit questions`: who asked the history what, and who signed off a review of it."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.moment import within
from tools.cli.paging import in_parts, put_pages, say_further

QUESTIONS_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "by": "By",
    "authenticated_by": "Authenticated by",
    "question": "Question",
    "filter": "Filter",
    "rows": "Rows",
    "reason": "Reason",
    "unreadable": "Unreadable",
}


@command(
    None,
    "questions",
    example="credledger audit questions --by auditor --since 7d",
    asks=True,
    of_archives=True,
    answers='[{"position", "recorded_at", "by", "authenticated_by", "question", "filter": {what was'
    ' asked for}, "rows", "reason", "unreadable"}]',
)
@click.option(
    "--by",
    metavar="WHO",
    help="Who asked: operator, auditor, one of them as auditor:2, or a claim.",
)
@within
@in_parts
def questions(
    run: Run,
    by: str | None,
    since: str | None,
    until: str | None,
    position: int | None,
    limit: int,
    after: int | None,
) -> None:
    """List who asked the history what, newest first; of a moment as `audit access` is.

    One line is a page of an answer, or a review that was signed off. This question is recorded as
    well, behind what it lists: the next one shows it. What was asked of an archive, or where
    nothing could be recorded, is not in it.
    """
    from tools.asking.moments import stretch_of
    from tools.asking.questions import asked_rows

    asked: dict[str, object] = {
        "by": by,
        "since": since,
        "until": until,
        "position": position,
        "limit": limit,
        "after": after,
    }
    with run.asking(partly=True) as session:
        stretch = stretch_of(session, since, until, position)
        rows = asked_rows(session, stretch, by=by, limit=limit or None, after=after)
        shown = put_pages(
            run, session, "questions", asked, rows, lambda _: run.listing(QUESTIONS_COLUMNS)
        )
    shown.listing.end()
    say_further(shown.count, limit, shown.last)
