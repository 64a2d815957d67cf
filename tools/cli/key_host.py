"""`credledger key host`: which hosts hold which epochs, as far as they have told."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import NUMBER
from tools.showing import show

HOST_COLUMNS = {
    "host": "Host",
    "by": "By",
    "newest_epoch": "Up to epoch",
    "state": "State",
    "seen_at": "Told",
    "this": "This one",
}


@click.group(cls=Noun)
def host() -> None:
    """See which hosts need a newer copy of the keyring."""


@command(
    host,
    "list",
    example="credledger key host list",
    answers='[{"host", "by", "newest_epoch", "state", "seen_at", "position", "this"}]',
)
def host_list(run: Run) -> None:
    """List the hosts that have told what their keyring holds.

    A host tells beside the first thing that it records in an epoch. `ready` holds the next epoch,
    `behind` works until the next rotation, `stopped` needs a newer keyring now. The host on which
    the ledger was founded tells nothing as long as it is the only one.
    """
    from tools.doctor.hosts import host_documents

    with run.session(operator=False) as session:
        documents = host_documents(session)
    run.print(documents, HOST_COLUMNS)
    if not (documents or run.json):
        show.print_note(
            "No host has told what its keyring holds: there is only the one on which the ledger was"
            " founded, or others have recorded nothing yet."
        )


@command(
    host,
    "forget",
    example="credledger key host forget 2 --reason 'web1 was taken down'",
    answers='{"host", "position"}',
    appends=True,
)
@click.argument("number", type=NUMBER, metavar="HOST")
def host_forget(run: Run, number: int) -> None:
    """Say that there is no such host any more, so that `doctor` stops asking for it.

    HOST is its number in `key host list`. If there is one after all, it is listed again once it
    records something.
    """
    with run.session() as session:
        position = session.ledger.hosts.forget(run.acting(), number)
    run.print({"host": number, "position": position}, sentence=f"Host {number} is forgotten.")
