"""`credledger audit`: who read what, who changed what, and why it was allowed or refused."""

from __future__ import annotations

import json

import click

from tools.cli.audit_pack import pack
from tools.cli.command import Run, command

ACCESS_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "outcome": "Outcome",
    "caller": "Caller",
    "owner": "Owner",
    "application": "Application",
    "version": "Version",
    "reason": "Reason",
}
CHANGES_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "event": "Event",
    "application": "Application",
    "by": "By",
    "detail": "Detail",
    "reason": "Reason",
}
LIMIT_DEFAULT = 100


@click.group()
def audit() -> None:
    """Ask who read what and who changed what."""


audit.add_command(pack)


@command(
    audit,
    "access",
    example="credledger audit access --user user:alice --since 7d",
    appends=True,
)
@click.option("--user", metavar="CLAIM", help="The caller, or on whose behalf.")
@click.option("--owner", metavar="CLAIM", help="Whose credentials.")
@click.option("--app", "application", metavar="ID")
@click.option("--outcome", type=click.Choice(["granted", "denied", "not-set"]))
@click.option("--since", metavar="TIME")
@click.option("--until", metavar="TIME")
@click.option(
    "--limit", type=click.IntRange(0), default=LIMIT_DEFAULT, help="0 is all; 100 unless told."
)
@click.option("--after", type=click.IntRange(0), metavar="POSITION", help="Go on behind this row.")
def access(
    run: Run,
    user: str | None,
    owner: str | None,
    application: str | None,
    outcome: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    after: int | None,
) -> None:
    """List attempts to read, newest first."""
    from tools.questions import access_rows
    from tools.retaining import erased_in_answer
    from tools.show import print_note

    with run.session(operator=False) as session:
        rows = access_rows(
            session,
            user=user,
            owner=owner,
            application=application,
            outcome=outcome,
            since=since,
            until=until,
            limit=limit or None,
            after=after,
        )
        erased = erased_in_answer(session, rows=len(rows), limit=limit, since=since, after=after)
        asked = {
            "user": user,
            "owner": owner,
            "app": application,
            "outcome": outcome,
            "since": since,
            "until": until,
            "limit": limit,
            "after": after,
        }
        told = {name: value for name, value in asked.items() if value is not None}
        session.record_query(
            run.acting(), "access " + json.dumps(told, ensure_ascii=False), len(rows)
        )
    run.print(rows, ACCESS_COLUMNS)
    if erased is not None:
        print_note(erased)


@command(
    audit,
    "changes",
    example="credledger audit changes --app payroll --since monday",
    appends=True,
)
@click.option("--app", "application", metavar="ID")
@click.option("--by", metavar="CLAIM", help="Who changed.")
@click.option("--since", metavar="TIME")
def changes(run: Run, application: str | None, by: str | None, since: str | None) -> None:
    """List administration's history."""
    from tools.questions import change_rows

    with run.session(operator=False) as session:
        rows = change_rows(session, application=application, by=by, since=since)
        told = {"app": application, "by": by, "since": since}
        asked = {name: value for name, value in told.items() if value is not None}
        session.record_query(
            run.acting(), "changes " + json.dumps(asked, ensure_ascii=False), len(rows)
        )
    run.print(rows, CHANGES_COLUMNS)


@command(audit, "explain", example="credledger audit explain 4711", appends=True)
@click.argument("position", type=click.IntRange(1))
def explain(run: Run, position: int) -> None:
    """Explain why an attempt was granted or refused, as of then."""
    from projections.explanation import explain as explained

    with run.session(operator=False) as session:
        document = explained(
            session.store, session.mapper, position, session.ledger.retention.state()
        )
        session.record_query(run.acting(), f"explain {position}", 1)
    run.print(document)


@command(audit, "recheck", example="credledger audit recheck --json")
@click.pass_context
def recheck(context: click.Context, /, run: Run) -> None:
    """Decide every access again from the log alone; exit 8 if one should not have been."""
    from tools.questions import recheck_accesses

    with run.session(operator=False) as session:
        document = recheck_accesses(session)
    run.print(document)
    if document["wrong"]:
        context.exit(8)
