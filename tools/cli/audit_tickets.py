"""`credledger audit tickets`: whose tickets there were, who brought them, and how each ended."""

from __future__ import annotations

import click

from projections.ticket_states import STATES
from tools.cli.command import Run, command
from tools.cli.paging import Part, in_parts, put_pages, say_further

TICKETS_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "state": "State",
    "user": "User",
    "application": "Application",
    "expires_at": "Until",
    "redeemer": "Redeemer",
    "ended": "Ended",
    "detail": "Detail",
    "reason": "Reason",
}


@command(
    None,
    "tickets",
    example="credledger audit tickets --user user:alice --since 7d",
    asks=True,
    of_archives=True,
    answers='[{"position", "recorded_at", "state", "user", "redeemer", "application", "issued",'
    ' "expires_at", "ended", "ended_at", "redeemers", "authenticated_by", "reason", "detail"}]',
)
@click.option("--user", metavar="CLAIM", help="Whose it was, or who brought it.")
@click.option("--app", "application", metavar="ID")
@click.option("--state", type=click.Choice(STATES), help="What became of it.")
@in_parts
def tickets(
    run: Run,
    user: str | None,
    application: str | None,
    state: str | None,
    part: Part,
) -> None:
    """List tickets with what became of them, newest first; of a moment as `audit access` is.

    One line is a ticket, at the position of its issue: redeemed, expired or lapsed where that was
    recorded, and else issued. Attempts that ended no ticket (refused), and users who got none
    (not-issued), have lines of their own. A ticket belongs to a range if its issue or its end lies
    in it; those that were issued before the range come last.
    """
    from tools.asking.questions import require_known, ticket_rows
    from tools.retaining import erased_in_answer
    from tools.showing.show import print_note

    asked: dict[str, object] = {
        "user": user,
        "app": application,
        "state": state,
        **part.asked(),
    }
    with run.asking(partly=True) as session:
        stretch = part.stretch(session)
        rows = ticket_rows(
            session,
            stretch,
            user=user,
            application=application,
            state=state,
            limit=part.rows,
            after=part.after,
        )
        shown = put_pages(
            run, session, "tickets", asked, rows, lambda _: run.listing(TICKETS_COLUMNS)
        )
        unknown = require_known(session, application, stretch, rows=shown.count)
        erased = erased_in_answer(
            session, rows=shown.count, limit=part.limit, since=part.since, after=part.after
        )
    shown.listing.end()
    say_further(shown.count, part.limit, shown.last)
    for note in filter(None, (unknown, erased)):
        print_note(note)
