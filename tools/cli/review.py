"""`credledger audit review`: periodic reviews of who read what, signed off."""

from __future__ import annotations

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.paging import LIMIT_DEFAULT, Part, in_parts, say_further

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
@in_parts
def review(run: Run, note: str | None, listed: bool, part: Part) -> None:
    """Sign off a review of all attempts to read since the last one.

    --until says up to when they were reviewed. With --list, which reviews were signed off by then;
    --since, --position, --limit, --after and --archive are for the list only.
    """
    from tools.asking.reviewing import checked_note, sign_off
    from tools.retaining import erased_in_answer
    from tools.showing.show import print_note

    if listed and note is None:
        _list(run, part)
        return
    of_list = part != Part(None, part.until, None, LIMIT_DEFAULT, None) or run.archive is not None
    if listed or of_list or part.until is None or note is None:
        raise InvalidInput(
            "review-what",
            "Give --until and --note to sign off, or --list, which takes no note.",
        )
    checked_note(note)
    with run.session(operator=False) as session:
        document = sign_off(session, run.acting(), part.until, note)
        erased = erased_in_answer(session, first=document["after"] + 1)
    run.print(document)
    if erased is not None:
        print_note(erased)


def _list(run: Run, part: Part) -> None:
    from tools.asking.reviewing import review_rows
    from tools.retaining import erased_in_answer
    from tools.showing.show import print_note

    with run.asking() as session:
        rows = review_rows(session, part.stretch(session), limit=part.rows, after=part.after)
        erased = erased_in_answer(
            session, rows=len(rows), limit=part.limit, since=part.since, after=part.after
        )
        run.record(session, "review --list", part.asked(), len(rows))
    run.print(rows, REVIEW_COLUMNS)
    if erased is not None:
        print_note(erased)
    say_further(len(rows), part.limit, rows[-1]["position"] if rows else None)
