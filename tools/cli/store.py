"""`credledger store`: the place that the ledger is kept in; no keyring is needed."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.noun import Noun


@click.group(cls=Noun)
def store() -> None:
    """Look after the place that the ledger is kept in."""


@command(
    store,
    "migrate",
    example="credledger store migrate --writer ledger_writer",
    answers='{"store", "writer"}',
)
@click.option("--writer", metavar="ROLE", help="Give this database role a writer's rights.")
def migrate(run: Run, writer: str | None) -> None:
    """Make the tables, or bring them to this version, as the role that owns them."""
    from tools.stores import migrate_store

    document = migrate_store(run.settings(), writer)
    run.print(document)
