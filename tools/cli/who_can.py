"""`credledger audit who-can`: who could read what, and through which claim."""

from __future__ import annotations

import click

from ledger.errors import InvalidInput
from ledger.replacing import replace
from tools.cli.command import Run, command
from tools.cli.moment import as_of


@command(
    None,
    "who-can",
    example="credledger audit who-can payroll --at yesterday --csv",
    asks=True,
    of_archives=True,
    acts=True,
    answers=(
        '[{"application", "claim", "through", "restricted_through", "credential_owner", "set",'
        ' "by_ticket"}]'
    ),
)
@click.argument("application", metavar="[APP]", required=False)
@click.option("--user", metavar="CLAIM", help="What this person could read.")
@click.option("--all", "everything", is_flag=True, help="Everybody in every application.")
@click.option("--owner", metavar="CLAIM", help="Only credentials of this owner.")
@as_of
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, safe for spreadsheets.")
def who_can(
    run: Run,
    application: str | None,
    user: str | None,
    everything: bool,
    owner: str | None,
    at: str | None,
    position: int | None,
    as_csv: bool,
) -> None:
    """List who could read what at a moment, and through which claim.

    A long answer comes in pages. Each is recorded as a question of its own before it is printed,
    with its number of rows and the application behind which it begins.
    """
    from tools.asking.who_can import COLUMNS, OpenApplications, Wanted, pages
    from tools.showing.show import print_note

    if as_csv and run.json:
        raise InvalidInput("two-formats", "--csv and --json are two formats; choose one.")
    # The further claims are the person's that is asked about, if one is.
    further = () if user is None else run.with_claims
    run = run if user is None else replace(run, with_claims=())
    wanted = Wanted(application, user, further, everything, owner, at, position)
    listing, found_open = run.listing(COLUMNS, as_csv=as_csv), OpenApplications()
    with run.asking(partly=True) as session:
        for page in pages(session, wanted, found_open):
            asked = {**wanted.as_filter(), "after": page.after}
            run.record(session, "who-can", asked, len(page.rows))
            listing.put(page.rows)
    listing.end()
    sentence = found_open.sentence()
    if sentence is not None:
        print_note(sentence)
