"""`credledger leaver`: take everything from somebody who leaves, and say what they know."""

from __future__ import annotations

import click

from tools.cli.command import Run, command


@command(
    None,
    "leaver",
    example="credledger leaver user:alice --dry-run",
    appends=True,
    destroys=True,
    answers=(
        '{"claim", "dry_run", "position", "revoked": [{"application", "role"}], "rights": [],'
        ' "nobody_reads": [application], "to_change": [as audit exposure], "own": [{"application", "version"}]}'
    ),
)
@click.argument("claim")
@click.option("--dry-run", is_flag=True, help="Show it; change nothing.")
def leaver(run: Run, claim: str, dry_run: bool) -> None:
    """Take every role and right from a claim, and list what it saw that was not changed since."""
    from ledger.claims import parse_claim
    from tools.leaving import leave

    leaving = parse_claim(claim)
    if not dry_run:
        run.consent(f"Take every role and right from {claim}?")
    with run.session() as session:
        document = leave(session, run.acting(), leaving, dry_run=dry_run)
    run.print(document)
