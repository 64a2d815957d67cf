"""`credledger audit questions`: who asked the history what, and who signed off a review of it."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.paging import Part, in_parts, put_pages, say_further

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
@in_parts
def questions(
    run: Run,
    by: str | None,
    part: Part,
) -> None:
    """List who asked the history what, newest first; of a moment as `audit access` is.

    One line is a page of an answer, or a review that was signed off. This question is recorded as
    well, behind what it lists: the next one shows it. What was asked of an archive, or where
    nothing could be recorded, is not in it.
    """
    from tools.asking.questions import asked_rows

    asked: dict[str, object] = {
        "by": by,
        **part.asked(),
    }
    with run.asking(partly=True) as session:
        stretch = part.stretch(session)
        rows = asked_rows(session, stretch, by=by, limit=part.rows, after=part.after)
        shown = put_pages(
            run, session, "questions", asked, rows, lambda _: run.listing(QUESTIONS_COLUMNS)
        )
    shown.listing.end()
    say_further(shown.count, part.limit, shown.last)
