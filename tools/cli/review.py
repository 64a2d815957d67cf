"""`credledger audit review`: periodic reviews of who read what, signed off."""

from __future__ import annotations

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command

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
    answers=(
        '{"position", "after", "until", "granted", "denied", "not_set", "note"}; with --list a list'
        ' of these with "recorded_at" and "by"'
    ),
)
@click.option("--until", metavar="TIME", help="Up to when attempts to read were reviewed.")
@click.option("--note", metavar="TEXT", help="What was found; is recorded.")
@click.option("--list", "listed", is_flag=True, help="List the reviews so far.")
def review(run: Run, until: str | None, note: str | None, listed: bool) -> None:
    """Sign off a review of all attempts to read since the last one."""
    from tools.asking.reviewing import checked_note, review_rows, sign_off

    if listed and (until, note) == (None, None):
        with run.asking() as session:
            rows = review_rows(session)
            run.record(session, "review --list", {}, len(rows))
        run.print(rows, REVIEW_COLUMNS)
        return
    if listed or until is None or note is None:
        raise InvalidInput("review-what", "Give --until and --note to sign off, or only --list.")
    checked_note(note)
    with run.session(operator=False) as session:
        document = sign_off(session, run.acting(), until, note)
    run.print(document)
