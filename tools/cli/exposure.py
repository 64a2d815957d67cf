"""`credledger audit exposure`: what one person saw, and whether it was changed since."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.moment import as_of

EXPOSURE_COLUMNS = {
    "application": "Application",
    "owner": "Owner",
    "version": "Version",
    "first_seen": "First seen",
    "last_seen": "Last seen",
    "times": "Times",
    "changed_since": "Changed since",
    "set": "Still set",
}


@command(
    None,
    "exposure",
    example="credledger audit exposure user:alice --open",
    asks=True,
    of_archives=True,
    answers=(
        '[{"application", "owner", "version", "first_seen", "last_seen", "times",'
        ' "changed_since", "set"}]'
    ),
)
@click.argument("claim")
@click.option("--since", metavar="TIME", help="Only what was seen from then on.")
@as_of
@click.option("--open", "is_open", is_flag=True, help="Only what was not changed since.")
def exposure(
    run: Run,
    claim: str,
    since: str | None,
    at: str | None,
    position: int | None,
    is_open: bool,
) -> None:
    """List what a person saw, and whether it was changed since.

    As of a moment: what had been seen until then, and whether it had been changed by then.
    """
    from tools.asking.moments import stretch_of
    from tools.asking.questions import exposure_rows
    from tools.retaining import erased_in_answer
    from tools.showing.show import print_note

    asked = {
        "claim": claim,
        "since": since,
        "at": at,
        "position": position,
        "open": is_open or None,
    }
    with run.asking() as session:
        rows = exposure_rows(
            session, claim, stretch_of(session, since, at, position, "--at"), is_open=is_open
        )
        erased = erased_in_answer(session, since=since)
        run.record(session, "exposure", asked, len(rows))
    run.print(rows, EXPOSURE_COLUMNS)
    if erased is not None:
        print_note(erased)
