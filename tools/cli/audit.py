"""`credledger audit`: who read what, who changed what, and why it was allowed or refused."""

from __future__ import annotations

from dataclasses import replace

import click

from ledger.errors import InvalidInput
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
REVIEW_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "by": "By",
    "after": "After",
    "until": "Until",
    "granted": "Granted",
    "denied": "Denied",
    "not_set": "Not set",
    "note": "Note",
}
LIMIT_DEFAULT = 100


@click.group()
def audit() -> None:
    """Ask who read what and who changed what."""


@command(
    audit,
    "access",
    example="credledger audit access --user user:alice --since 7d",
    asks=True,
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
@click.option("--unusual", is_flag=True, help="Only reads that break a rule, with the rule.")
@click.option("--hours", metavar="HH:MM-HH:MM", help="Usual hours; 07:00-19:00 unless told.")
@click.option("--days", metavar="DAY-DAY", help="Usual days; mon-fri unless told.")
@click.option("--bulk", metavar="N/SPAN", help="From so many reads on; 50/10m unless told.")
@click.option("--self-granted", is_flag=True, help="Only by who gave themselves the role.")
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
    unusual: bool,
    hours: str | None,
    days: str | None,
    bulk: str | None,
    self_granted: bool,
) -> None:
    """List attempts to read, newest first."""
    from tools.questions import access_rows
    from tools.retaining import erased_in_answer
    from tools.show import print_note
    from tools.unusual_rules import BULK_DEFAULT, DAYS_DEFAULT, HOURS_DEFAULT, parse_rules

    asked = {
        "user": user,
        "owner": owner,
        "app": application,
        "outcome": outcome,
        "since": since,
        "until": until,
        "limit": limit,
        "after": after,
        "unusual": unusual or None,
        "hours": hours,
        "days": days,
        "bulk": bulk,
        "self_granted": self_granted or None,
    }
    rules = None
    if unusual and self_granted:
        raise InvalidInput("two-marks", "--unusual and --self-granted are two questions; ask each.")
    if unusual:
        rules = parse_rules(hours or HOURS_DEFAULT, days or DAYS_DEFAULT, bulk or BULK_DEFAULT)
    elif (hours, days, bulk) != (None, None, None):
        raise InvalidInput("rules-without-unusual", "--hours, --days and --bulk need --unusual.")
    with run.asking() as session:
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
            rules=rules,
            self_granted=self_granted,
        )
        erased = erased_in_answer(session, rows=len(rows), limit=limit, since=since, after=after)
        run.record(session, "access", asked, len(rows))
    marks = {"unusual": "Unusual"} if unusual else {}
    marks |= {"self_granted": "Self-granted"} if self_granted else {}
    run.print(rows, ACCESS_COLUMNS | marks)
    if erased is not None:
        print_note(erased)


@command(
    audit,
    "changes",
    example="credledger audit changes --app payroll --since monday",
    asks=True,
)
@click.option("--app", "application", metavar="ID")
@click.option("--by", metavar="CLAIM", help="Who changed.")
@click.option("--since", metavar="TIME")
def changes(run: Run, application: str | None, by: str | None, since: str | None) -> None:
    """List administration's history."""
    from tools.questions import change_rows

    with run.asking() as session:
        rows = change_rows(session, application=application, by=by, since=since)
        run.record(session, "changes", {"app": application, "by": by, "since": since}, len(rows))
    run.print(rows, CHANGES_COLUMNS)


@command(audit, "explain", example="credledger audit explain 4711", asks=True)
@click.argument("position", type=click.IntRange(1))
def explain(run: Run, position: int) -> None:
    """Explain why an attempt was granted or refused, as of then."""
    from projections.explanation import explain as explained

    with run.asking() as session:
        document = explained(
            session.store, session.mapper, position, session.ledger.retention.state()
        )
        run.record(session, f"explain {position}", {}, 1)
    run.print(document)


@command(audit, "recheck", example="credledger audit recheck --json", asks=True)
@click.pass_context
def recheck(context: click.Context, /, run: Run) -> None:
    """Decide every access again from the log alone; exit 8 if one should not have been."""
    from tools.questions import recheck_accesses

    with run.asking() as session:
        document = recheck_accesses(session)
        run.record(session, "recheck", {}, document["checked"])
    run.print(document)
    if document["wrong"]:
        context.exit(8)


@command(
    audit,
    "who-can",
    example="credledger audit who-can payroll --at yesterday --csv",
    asks=True,
    acts=True,
    answers=(
        '[{"application", "claim", "through", "restricted_through", "credential_owner", "set"}]'
    ),
)
@click.argument("application", metavar="[APP]", required=False)
@click.option("--user", metavar="CLAIM", help="What this person could read.")
@click.option("--all", "everything", is_flag=True, help="Everybody in every application.")
@click.option("--owner", metavar="CLAIM", help="Only credentials of this owner.")
@click.option("--at", metavar="TIME", help="As of then; now unless told.")
@click.option("--position", type=click.IntRange(1), help="As of this position.")
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
    """List who could read what at a moment, and through which claim."""
    from tools.csv_table import print_csv
    from tools.show import print_note
    from tools.who_can import COLUMNS, Wanted, open_sentence
    from tools.who_can import who_can as asked

    if as_csv and run.json:
        raise InvalidInput("two-formats", "--csv and --json are two formats; choose one.")
    # The further claims are the person's that is asked about, if one is.
    further = () if user is None else run.with_claims
    run = run if user is None else replace(run, with_claims=())
    wanted = Wanted(application, user, further, everything, owner, at, position)
    with run.asking() as session:
        rows, is_open = asked(session, wanted)
        run.record(session, "who-can", wanted.as_filter(), len(rows))
    if as_csv:
        print_csv(rows, list(COLUMNS))
    else:
        run.print(rows, COLUMNS)
    sentence = open_sentence(is_open)
    if sentence is not None:
        print_note(sentence)


@command(
    audit,
    "exposure",
    example="credledger audit exposure user:alice --open",
    asks=True,
    answers=(
        '[{"application", "owner", "version", "first_seen", "last_seen", "times",'
        ' "changed_since", "set"}]'
    ),
)
@click.argument("claim")
@click.option("--since", metavar="TIME", help="Only what was seen from then on.")
@click.option("--open", "is_open", is_flag=True, help="Only what was not changed since.")
def exposure(run: Run, claim: str, since: str | None, is_open: bool) -> None:
    """List what a person saw, and whether it was changed since."""
    from tools.questions import exposure_rows
    from tools.retaining import erased_in_answer
    from tools.show import print_note

    asked = {"claim": claim, "since": since, "open": is_open or None}
    with run.asking() as session:
        rows = exposure_rows(session, claim, since=since, is_open=is_open)
        erased = erased_in_answer(session, rows=len(rows), limit=0, since=since, after=None)
        run.record(session, "exposure", asked, len(rows))
    run.print(rows, EXPOSURE_COLUMNS)
    if erased is not None:
        print_note(erased)


@command(
    audit,
    "review",
    example="credledger audit review --until yesterday --note 'quarterly review, nothing odd'",
    asks=True,
    answers=(
        '{"position", "after", "until", "granted", "denied", "not_set", "note"}; with --list a list'
        ' of these with "recorded_at" and "by"'
    ),
)
@click.option("--until", metavar="TIME", help="Up to when attempts to read were reviewed.")
@click.option("--note", metavar="TEXT", help="What was found; is recorded.")
@click.option("--list", "listed", is_flag=True, help="List the reviews so far.")
def review(run: Run, until: str | None, note: str | None, listed: bool) -> None:
    """Sign off a review of all attempts to read since the last one."""
    from tools.reviewing import checked_note, review_rows, sign_off

    if listed and (until, note) == (None, None):
        with run.asking() as session:
            rows = review_rows(session)
            run.record(session, "review --list", {}, len(rows))
        run.print(rows, REVIEW_COLUMNS)
        return
    if listed or until is None or note is None:
        raise InvalidInput("review-what", "Give --until and --note to sign off, or only --list.")
    checked_note(note)
    with run.session(operator=False) as session:
        document = sign_off(session, run.acting(), until, note)
    run.print(document)
