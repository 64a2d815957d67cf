"""`credledger audit review`: periodic reviews of who read what, signed off."""

from __future__ import annotations

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.moment import within
from tools.cli.paging import LIMIT_DEFAULT, in_parts, say_further

REVIEW_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "by": "By",
    "after": "After",
    "until": "Until",
    "granted": "Granted",
    "denied": "Denied",
    "not_set": "Not set",
    "note": "Note",
}


@command(
    None,
    "review",
    example="credledger audit review --until yesterday --note 'quarterly review, nothing odd'",
    asks=True,
    of_archives=True,
    answers=(
        '{"position", "after", "until", "granted", "denied", "not_set", "note"}; with --list a list'
        ' of these with "recorded_at" and "by"'
    ),
)
@click.option("--note", metavar="TEXT", help="What was found; is recorded.")
@click.option("--list", "listed", is_flag=True, help="List the reviews so far, newest first.")
@within
@in_parts
def review(
    run: Run,
    note: str | None,
    listed: bool,
    since: str | None,
    until: str | None,
    position: int | None,
    limit: int,
    after: int | None,
) -> None:
    """Sign off a review of all attempts to read since the last one.

    --until says up to when they were reviewed. With --list, which reviews were signed off by then;
    --since, --position, --limit, --after and --archive are for the list only.
    """
    from tools.asking.reviewing import checked_note, sign_off

    if listed and note is None:
        _list(run, since, until, position, limit, after)
        return
    of_list = (since, position, after, run.archive) != (None,) * 4 or limit != LIMIT_DEFAULT
    if listed or of_list or until is None or note is None:
        raise InvalidInput(
            "review-what",
            "Give --until and --note to sign off, or --list, which takes no note.",
        )
    checked_note(note)
    with run.session(operator=False) as session:
        document = sign_off(session, run.acting(), until, note)
    run.print(document)


def _list(
    run: Run,
    since: str | None,
    until: str | None,
    position: int | None,
    limit: int,
    after: int | None,
) -> None:
    from tools.asking.moments import stretch_of
    from tools.asking.reviewing import review_rows

    asked = {"since": since, "until": until, "position": position, "limit": limit, "after": after}
    with run.asking() as session:
        stretch = stretch_of(session, since, until, position)
        rows = review_rows(session, stretch, limit=limit or None, after=after)
        run.record(session, "review --list", asked, len(rows))
    run.print(rows, REVIEW_COLUMNS)
    say_further(len(rows), limit, rows[-1]["position"] if rows else None)
