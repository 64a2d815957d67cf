"""`credledger audit`: who read what, who changed what, and why it was allowed or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import InvalidInput, Tampered
from tools.cli.audit_pack import pack
from tools.cli.audit_questions import questions
from tools.cli.audit_tickets import tickets
from tools.cli.command import Run, command
from tools.cli.export import export
from tools.cli.exposure import exposure
from tools.cli.moment import within
from tools.cli.noun import Noun
from tools.cli.number import NUMBER, Range
from tools.cli.paging import Part, in_parts, put_pages, say_further
from tools.cli.report import report
from tools.cli.review import review
from tools.cli.streams import ending_with
from tools.cli.who_can import who_can
from tools.exits import DONE, exit_code

if TYPE_CHECKING:
    from tools.showing.listing import Listing

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
TOKENS_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "source": "Source",
    "caller": "Caller",
    "count": "Count",
    "reasons": "Reasons",
}


@click.group(cls=Noun)
def audit() -> None:
    """Ask who read what and who changed what."""


for _part in (export, exposure, pack, questions, report, review, tickets, who_can):
    audit.add_command(_part)


@command(
    audit,
    "access",
    example="credledger audit access --user user:alice --since 7d",
    asks=True,
    of_archives=True,
    answers='[{"position", "recorded_at", "outcome", "caller", "on_behalf_of", "owner",'
    ' "application", "version", "fields", "through", "authenticated_by", "reason", "detail",'
    ' "acting_party"}]; with --unusual also "unusual": {rule: what broke it}, with --self-granted'
    ' "self_granted"',
)
@click.option("--user", metavar="CLAIM", help="The caller, or on whose behalf.")
@click.option("--owner", metavar="CLAIM", help="Whose credentials.")
@click.option("--app", "application", metavar="ID")
@click.option("--outcome", type=click.Choice(["granted", "denied", "not-set"]))
@in_parts
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
    part: Part,
    unusual: bool,
    hours: str | None,
    days: str | None,
    bulk: str | None,
    self_granted: bool,
) -> None:
    """List attempts to read, newest first; with --until or --position as of that moment.

    A long answer comes in pages. Each is recorded as a question of its own before it is printed,
    with its number of rows and the position behind which it goes on.
    """
    from tools.asking.questions import access_rows, require_known
    from tools.asking.unusual_rules import BULK_DEFAULT, DAYS_DEFAULT, HOURS_DEFAULT, parse_rules
    from tools.retaining import erased_in_answer
    from tools.showing.listing import PAGE_ROWS
    from tools.showing.show import print_note

    asked: dict[str, object] = {
        "user": user,
        "owner": owner,
        "app": application,
        "outcome": outcome,
        **part.asked(),
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
    marks = {"unusual": "Unusual"} if unusual else {}
    marks |= {"self_granted": "Self-granted"} if self_granted else {}

    def begin(page: Sequence[dict[str, Any]]) -> Listing:
        # What further pages hold is not known yet, so they may need the column.
        acted = len(page) == PAGE_ROWS or any(row["on_behalf_of"] for row in page)
        told = {"on_behalf_of": "For"} if acted else {}
        return run.listing(ACCESS_COLUMNS | told | marks)

    with run.asking(partly=not (unusual or self_granted)) as session:
        stretch = part.stretch(session)
        rows = access_rows(
            session,
            stretch,
            user=user,
            owner=owner,
            application=application,
            outcome=outcome,
            limit=part.rows,
            after=part.after,
            rules=rules,
            self_granted=self_granted,
        )
        shown = put_pages(run, session, "access", asked, rows, begin)
        unknown = require_known(session, application, stretch, rows=shown.count)
        erased = erased_in_answer(
            session, rows=shown.count, limit=part.limit, since=part.since, after=part.after
        )
    shown.listing.end()
    say_further(shown.count, part.limit, shown.last)
    for note in filter(None, (unknown, erased)):
        print_note(note)


@command(
    audit,
    "changes",
    example="credledger audit changes --app payroll --since monday",
    asks=True,
    of_archives=True,
    answers='[{"position", "recorded_at", "event", "application", "by", "authenticated_by",'
    ' "reason", "detail": {what the event tells}}]',
)
@click.option("--app", "application", metavar="ID")
@click.option("--by", metavar="CLAIM", help="Who changed.")
@in_parts
def changes(
    run: Run,
    application: str | None,
    by: str | None,
    part: Part,
) -> None:
    """List administration's history, newest first; with --until or --position as of that moment.

    A long answer comes in pages. Each is recorded as a question of its own before it is printed,
    with its number of rows and the position behind which it goes on.
    """
    from tools.asking.questions import change_rows, require_known
    from tools.showing.show import print_note

    asked: dict[str, object] = {
        "app": application,
        "by": by,
        **part.asked(),
    }
    with run.asking(partly=True) as session:
        stretch = part.stretch(session)
        rows = change_rows(
            session, stretch, application=application, by=by, limit=part.rows, after=part.after
        )
        shown = put_pages(
            run, session, "changes", asked, rows, lambda _: run.listing(CHANGES_COLUMNS)
        )
        unknown = require_known(session, application, stretch, rows=shown.count)
    shown.listing.end()
    say_further(shown.count, part.limit, shown.last)
    if unknown is not None:
        print_note(unknown)


@command(
    audit,
    "tokens",
    example="credledger audit tokens --since today",
    asks=True,
    of_archives=True,
    answers='[{"position", "recorded_at", "event", "source", "issuer", "caller", "count",'
    ' "reasons": {code: number}}]',
)
@in_parts
def tokens(
    run: Run,
    part: Part,
) -> None:
    """List tokens that were refused, and why, newest first; of a moment as `audit access` is.

    One line is a token that a trusted issuer signed, or all others that came from one source in a
    minute: those that nobody it trusts signed, and those that were shown again in that minute. What
    such a token says of anybody is not recorded there.
    """
    from tools.asking.questions import refused_rows

    asked: dict[str, object] = {
        **part.asked(),
    }
    with run.asking(partly=True) as session:
        stretch = part.stretch(session)
        rows = refused_rows(session, stretch, limit=part.rows, after=part.after)
        shown = put_pages(
            run, session, "tokens", asked, rows, lambda _: run.listing(TOKENS_COLUMNS)
        )
    shown.listing.end()
    say_further(shown.count, part.limit, shown.last)


@command(
    audit,
    "explain",
    example="credledger audit explain 4711",
    asks=True,
    of_archives=True,
    answers='as audit access, with "claims", "restricted", "rules", "why" and "mend"',
)
@click.argument("position", type=NUMBER)
def explain(run: Run, position: int) -> None:
    """Explain why an attempt was granted or refused, or a token refused, as of then."""
    from projections.explanation import explain as explained

    with run.asking(partly=True) as session:
        document = explained(
            session.store, session.mapper, position, session.ledger.retention.state()
        )
        run.record(session, f"explain {position}", {}, 1)
    run.print(document)


@command(
    audit,
    "recheck",
    example="credledger audit recheck --json",
    asks=True,
    of_archives=True,
    answers='{"checked", "wrong": [{"position", "recorded", "recomputed", "why"}],'
    ' "unreadable": [{"from", "to", "why"}]}',
)
@click.option(
    "--jobs",
    type=Range(1, 256),
    metavar="N",
    help="By so many processes, if the log is long; as many as there are processors unless told.",
)
@within
def recheck(
    run: Run,
    jobs: int | None,
    since: str | None,
    until: str | None,
    position: int | None,
) -> None:
    """Decide every access again from the log alone; exit 8 if one should not have been.

    With --until or --position those up to that moment, with --since those from then on: by what
    was recorded before each, however long ago, and by nothing behind the end.
    """
    from tools.asking.moments import stretch_of
    from tools.asking.questions import recheck_accesses

    asked = {"since": since, "until": until, "position": position}
    with run.asking(partly=True) as session:
        document = recheck_accesses(session, jobs, stretch_of(session, since, until, position))
        run.record(session, "recheck", asked, document["checked"])
    with ending_with(exit_code(Tampered.family) if document["wrong"] else DONE):
        run.print(document)
