"""`credledger ticket`: issuing tickets to users, and redeeming them.

A ticket stands in no argument: it is printed when it is issued, and read from a file or standard
input when it is redeemed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.released import print_released


@click.group(cls=Noun)
def ticket() -> None:
    """Let a service read once what a user may read."""


@command(
    ticket,
    "issue",
    example="credledger ticket issue --as user:alice --app mail > ticket",
    appends=True,
    acts=True,
    answers='{"ticket", "application", "issued_at", "expires_at", "position"}; "application" and'
    ' "expires_at" are null without --app',
)
@click.option("--app", "application", metavar="APP", help="The only application it is good for.")
def issue(run: Run, application: str | None) -> None:
    """Issue a ticket to whom you act for; it is printed once and stored nowhere.

    A redeemer of an application turns it into that user's credentials there, once, before the
    application's ticket timeout is over.
    """
    from tools.shapes import ticket_document

    run.require_caller()
    with run.session() as session:
        issued = session.ledger.tickets.issue(
            run.required_caller(), application, reason=run.checked_reason()
        )
    print_ticket(run, ticket_document(issued))


def print_ticket(run: Run, document: Mapping[str, Any]) -> None:
    """The ticket alone on standard output; how long it is good beside it."""
    from tools.showing.show import print_line, print_note
    from tools.when import to_local_text

    if run.json:
        run.print(document)
        return
    print_line(document["ticket"])
    if document["application"] is None:
        print_note("Good once, for any application with tickets, until its timeout is over.")
    else:
        end = to_local_text(document["expires_at"])
        print_note(f"Good once, for {document['application']}, until {end}.")


@command(
    ticket,
    "redeem",
    example="credledger ticket redeem mail --as service:portal --ticket-file ticket",
    appends=True,
    acts=True,
    answers="as `credential get`",
)
@click.argument("application", metavar="APP")
@click.option(
    "--ticket-file", metavar="FILE|-", required=True, help="Where the ticket stands, alone."
)
@click.option("--field", metavar="NAME", help="Print this field's value only.")
@click.option("--receipt", metavar="FILE", help="Write a proof of the record to a new file.")
def redeem(
    run: Run, application: str, ticket_file: str, field: str | None, receipt: str | None
) -> None:
    """Get by a ticket what its user would get; it is used up before anything is released.

    Whom you act for must be a ticket redeemer of the application.
    """
    from tools.evidence.receipts import receipt_in, receipts_of
    from tools.people.tickets_input import read_ticket

    run.require_caller()
    text = read_ticket(ticket_file, run.standard_input)
    with run.session() as session, receipt_in(receipt, receipts_of(session)) as keep:
        found = session.ledger.tickets.redeem(
            run.required_caller(),
            application,
            text,
            fields=None if field is None else (field,),
            reason=run.checked_reason(),
        )
        keep(found.position)
    print_released(run, found, field)
