"""`credledger replay`: rebuild views, state as it was, and what changed in between."""

from __future__ import annotations

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command

VIEW_COLUMNS = {
    "name": "View",
    "digest_before": "Before",
    "digest_after": "After",
    "same": "Same",
}


@click.group()
def replay() -> None:
    """Replay the log."""


@command(replay, "rebuild", example="credledger replay rebuild --json")
@click.option("--view", metavar="NAME", help="Only this one.")
def rebuild(run: Run, view: str | None) -> None:
    """Rebuild views from the log and compare digests."""
    from tools.questions import rebuild_views

    with run.session(operator=False) as session:
        document = rebuild_views(session, view)
    if run.json:
        run.print(document)
    else:
        run.print(document["views"], VIEW_COLUMNS)


@command(replay, "state", example="credledger replay state --at yesterday --json")
@click.option("--at", metavar="TIME", help="As of this time.")
@click.option("--position", type=click.IntRange(0), metavar="N", help="As of this position.")
def state(run: Run, at: str | None, position: int | None) -> None:
    """Show all applications and who had what set at some time."""
    from tools import show
    from tools.cli.app import COLUMNS, short
    from tools.cli.credential import LIST_COLUMNS
    from tools.questions import state_then

    if (at is None) == (position is None):
        raise InvalidInput("usage", "Give either --at or --position.")
    with run.session(operator=False) as session:
        document = state_then(session, at if at is not None else str(position))
    if run.json:
        run.print(document)
        return
    show.print_line(f"Position {document['position']}")
    show.print_table([short(one) for one in document["applications"]], COLUMNS)
    show.print_table(document["credentials"], LIST_COLUMNS)


@command(replay, "diff", example="credledger replay diff yesterday now")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
def diff(run: Run, before: str, after: str) -> None:
    """Show what changed between two times or positions."""
    from tools.questions import difference

    with run.session(operator=False) as session:
        document = difference(session, before, after)
    run.print(document)
