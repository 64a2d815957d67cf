"""`credledger role`: service-level rights and who holds them."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.noun import Noun

RIGHTS = (
    "full-control",
    "create-application",
    "delete-application",
    "manage-application",
    "all-applications",
    "restricted-access",
    "auditor",
)


@click.group(cls=Noun)
def role() -> None:
    """Manage service-level rights."""


@command(
    role,
    "grant",
    example="credledger role grant create-application user:alice --reason 'new team'",
    appends=True,
    answers='{"changed", "version", "position"}',
)
@click.argument("right", metavar="RIGHT", type=click.Choice(RIGHTS))
@click.argument("claim")
def grant(run: Run, right: str, claim: str) -> None:
    """Give a claim a right.

    RIGHT is full-control, create-application, delete-application, manage-application,
    all-applications, restricted-access or auditor.
    """
    from tools.shapes import outcome_document

    with run.session() as session:
        outcome = session.ledger.role_grant(run.acting(), right, claim)
    run.print(
        outcome_document(outcome), sentence="Granted." if outcome.changed else "Granted already."
    )


@command(
    role,
    "revoke",
    example="credledger role revoke create-application user:alice",
    appends=True,
    answers='{"changed", "version", "position"}',
)
@click.argument("right", metavar="RIGHT", type=click.Choice(RIGHTS))
@click.argument("claim")
def revoke(run: Run, right: str, claim: str) -> None:
    """Take a right from a claim."""
    from tools.shapes import outcome_document

    with run.session() as session:
        outcome = session.ledger.role_revoke(run.acting(), right, claim)
    run.print(
        outcome_document(outcome), sentence="Revoked." if outcome.changed else "Not held anyway."
    )


@command(
    role,
    "list",
    example="credledger role list --json",
    answers='[{"right", "claim"}]',
)
def list_(run: Run) -> None:
    """List who holds which right."""
    with run.session(operator=False) as session:
        held = session.ledger.roles().held
    rows = [
        {"right": right, "claim": str(claim)}
        for right, claim in sorted(held, key=lambda one: (RIGHTS.index(one[0]), str(one[1])))
    ]
    run.print(rows, {"right": "Right", "claim": "Claim"})
