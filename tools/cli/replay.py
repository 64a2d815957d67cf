"""`credledger replay`: rebuild views, state as it was, what changed, and bringing it back."""

from __future__ import annotations

from typing import Any

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import COUNT, NUMBER

VIEW_COLUMNS = {
    "name": "View",
    "digest_before": "Before",
    "digest_after": "After",
    "same": "Same",
}
CHANGE_COLUMNS = {
    "action": "Change",
    "application": "Application",
    "owner": "Owner",
    "from": "From",
    "to": "To",
}
_SHOWN_MAX = 40
"""So many changes are shown to whoever is asked for consent."""


@click.group(cls=Noun)
def replay() -> None:
    """Rebuild views; state as it was; bring it back."""


@command(
    replay,
    "rebuild",
    example="credledger replay rebuild --json",
    answers='{"events", "seconds", "views": [{"name", "digest_before", "digest_after", "same"}]}',
)
@click.option("--view", metavar="NAME", help="Only this one.")
def rebuild(run: Run, view: str | None) -> None:
    """Rebuild views from the log and compare digests."""
    from tools.asking.questions import rebuild_views

    with run.session(operator=False) as session:
        document = rebuild_views(session, view)
    if run.json:
        run.print(document)
    else:
        run.print(document["views"], VIEW_COLUMNS)


@command(
    replay,
    "state",
    example="credledger replay state --at yesterday --json",
    asks=True,
    of_archives=True,
    answers=(
        '{"position", "at", "applications": [as app show], "credentials": [as credential list]}'
    ),
)
@click.option("--at", metavar="TIME", help="As of this time.")
@click.option("--position", type=COUNT, metavar="N", help="As of this position.")
def state(run: Run, at: str | None, position: int | None) -> None:
    """Show all applications and who had what set at some time; recorded as a question."""
    from tools.asking.questions import state_then
    from tools.cli.app import COLUMNS, short
    from tools.cli.credential import LIST_COLUMNS
    from tools.showing import show

    if (at is None) == (position is None):
        raise InvalidInput("usage", "Give either --at or --position.")
    with run.asking() as session:
        document = state_then(session, at if at is not None else str(position))
        rows = len(document["applications"]) + len(document["credentials"])
        run.record(session, "replay state", {"at": at, "position": position}, rows)
    if run.json:
        run.print(document)
        return
    show.print_line(f"Position {document['position']}")
    show.print_table([short(one) for one in document["applications"]], COLUMNS)
    show.print_table(document["credentials"], LIST_COLUMNS)


@command(
    replay,
    "diff",
    example="credledger replay diff yesterday now",
    asks=True,
    of_archives=True,
    answers=(
        '{"from": {"position", "at"}, "to": {"position", "at"}, "applications",'
        ' "credentials": {"added": [], "removed": [], "changed": [{"before", "after"}]}, as'
        " app show and credential list}"
    ),
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
def diff(run: Run, before: str, after: str) -> None:
    """Show what changed between two times or positions; recorded as a question."""
    from tools.asking.questions import difference
    from tools.showing import show
    from tools.showing.differences import HAPPENED, difference_rows

    with run.asking() as session:
        document = difference(session, before, after)
        changed = (document["applications"], document["credentials"])
        count = sum(len(kind) for part in changed for kind in part.values())
        run.record(session, "replay diff", {"from": before, "to": after}, count)
    if run.json:
        run.print(document)
        return
    places = (
        f"{one['position']}, {show.printed(one['at'], 'at')}"
        for one in (document["from"], document["to"])
    )
    show.print_line(f"From position {' to position '.join(places)}")
    rows = difference_rows(document, HAPPENED)
    if rows:
        show.print_table(rows, CHANGE_COLUMNS)
    else:
        show.print_line("Nothing differs.")


@command(
    replay,
    "restore",
    example="credledger replay restore --at yesterday --app payroll --dry-run",
    appends=True,
    destroys=True,
    answers='{"from", "to", "applications", "credentials": as replay diff, from now to then,'
    ' "roles": {"granted": [{"right", "claim"}], "revoked": []}, "recreated": [ID], "staying":'
    ' [{"application", "fields"}], "lost": [as credential list], "done": null or {"applications",'
    ' "roles", "restored", "deleted", "position"}}',
)
@click.option("--at", metavar="TIME", help="As of this time.")
@click.option("--position", type=NUMBER, metavar="N", help="As of this position.")
@click.option("--app", "application", metavar="ID", help="Only this application.")
@click.option("--all", "everything", is_flag=True, help="All applications, and who has rights.")
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--except-destroyed", is_flag=True, help="Leave out values whose key was destroyed.")
def restore(
    run: Run,
    at: str | None,
    position: int | None,
    application: str | None,
    everything: bool,
    dry_run: bool,
    except_destroyed: bool,
) -> None:
    """Bring one application, or everything, back to some time by appending; nobody sees a value.

    Whoever had rights then has them again. Fields that were added since stay, and so does whom the
    ledger trusts: issuers are as they are now. Asks where something is deleted, and with --all
    always. A run that was cut off is finished by the next with the same
    --position.
    """
    from tools.recovering.restoring import carry_out, plan_for

    if (at is None) == (position is None):
        raise InvalidInput("usage", "Give either --at or --position.")
    if (application is None) == (not everything):
        raise InvalidInput("usage", "Give either --app or --all.")
    place = at if at is not None else str(position)
    with run.session() as session:
        acting = run.acting()
        found = plan_for(session, place, application, except_destroyed=except_destroyed)
        done = None
        if not dry_run and found.is_refused:
            _show(run, found.difference, None)
            raise found.refusal()
        if not dry_run and not found.plan.is_empty:
            if everything or any(found.plan.deletes):
                _ask(run, found.difference, found.question(application or "everything"))
            done = carry_out(session, acting, found.plan)
    if dry_run or run.json:
        _show(run, found.difference, done)
    elif done is None:
        run.print({}, sentence="Nothing to restore.")
    else:
        run.print(done)


def _show(run: Run, difference: dict[str, Any], done: dict[str, Any] | None) -> None:
    """The difference; for people a line for each change."""
    from tools.showing import show
    from tools.showing.differences import RESTORING, difference_rows

    if run.json:
        run.print({**difference, "done": done})
        return
    place = difference["to"]
    show.print_line(f"Back to position {place['position']}, {show.printed(place['at'], 'at')}")
    rows = difference_rows(difference, RESTORING)
    if rows:
        show.print_table(rows, CHANGE_COLUMNS)
    else:
        show.print_line("Nothing differs.")


def _ask(run: Run, difference: dict[str, Any], question: str) -> None:
    """Show what is to be consented to, its beginning at least, then ask."""
    from tools.people.prompts import on_terminal
    from tools.showing import show
    from tools.showing.differences import RESTORING, difference_rows

    if not run.yes and not run.json and on_terminal():
        rows = difference_rows(difference, RESTORING)
        show.print_table(rows[:_SHOWN_MAX], CHANGE_COLUMNS)
        if len(rows) > _SHOWN_MAX:
            show.print_line(f"... and {len(rows) - _SHOWN_MAX} more; --dry-run shows all.")
    run.consent(question)
