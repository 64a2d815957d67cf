"""`credledger credential`: setting, getting, restoring and importing credentials.

Values come from a hidden prompt, a file or standard input; never from arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import NUMBER
from tools.cli.released import print_released
from tools.cli.streams import ending_with
from tools.exits import DONE, exit_code
from tools.showing.show import print_note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.values import FieldValue
    from tools.sources.importing import LeftOut
    from tools.wiring import Session

REJECTED_SHOWN_MAX = 20
FORMATS = ("jsonl", "csv", "keepass", "vault")
LIST_COLUMNS = {
    "application": "Application",
    "owner": "Owner",
    "version": "Version",
    "epoch": "Epoch",
    "complete": "Complete",
    "set_at": "Set",
    "set_by": "By",
}
HISTORY_COLUMNS = {
    "version": "Version",
    "event": "Event",
    "recorded_at": "Recorded",
    "by": "By",
    "reason": "Reason",
    "position": "Position",
    "ended": "Ended",
}
owner_option = click.option("--owner", metavar="CLAIM", help="Whose credentials.")


@click.group(cls=Noun)
def credential() -> None:
    """Manage the credentials of owners in applications."""


@command(
    credential,
    "set",
    example="credledger credential set payroll --owner user:alice --values alice.json",
    appends=True,
    acts=True,
    answers='{"application", "owner", "version", "position"}',
)
@click.argument("application", metavar="APP")
@owner_option
@click.option("--values", metavar="FILE|-", help="JSON object of field values; else a prompt.")
@click.option("--check", is_flag=True, help="Set only if COMMAND accepts the new values.")
@click.argument("check_command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def set_(
    run: Run,
    application: str,
    owner: str | None,
    values: str | None,
    check: bool,
    check_command: tuple[str, ...],
) -> None:
    """Set credentials; every field is needed."""
    from tools.handing_over import check_with, require_program
    from tools.shapes import mapping_document

    if check != bool(check_command):
        raise InvalidInput("usage", "--check needs `-- COMMAND`, and a command needs --check.")
    if check:
        require_program(check_command)
    with run.session() as session:
        acting, whose = run.acting(), run.owner(owner)
        given = _values(run, session, application, values)
        if check:
            session.ledger.check_credentials(acting, application, whose, given)
            check_with(check_command, given)
        outcome = session.ledger.set_credentials(acting, application, whose, given)
    run.print(mapping_document(outcome), sentence=f"Set version {outcome.version}.")


@command(
    credential,
    "get",
    example="credledger credential get payroll --as user:alice --field Password",
    appends=True,
    acts=True,
    answers=(
        '{"application", "owner", "version", "fields": {NAME: text or {"base64"}},'
        ' "complete", "missing": [], "position"}'
    ),
)
@click.argument("application", metavar="APP")
@click.option("--field", metavar="NAME", help="Print this field's value only.")
@click.option("--restricted", is_flag=True, help="Ask explicitly for a restricted application.")
@click.option("--receipt", metavar="FILE", help="Write a proof of the record to a new file.")
def get(
    run: Run, application: str, field: str | None, restricted: bool, receipt: str | None
) -> None:
    """Get credentials for somebody; recorded before anything is released.

    A receipt proves to anybody that the attempt was recorded; `log proof --check` checks it.
    """
    from tools.evidence.receipts import receipt_in, receipts_of

    run.require_caller()
    with run.session() as session, receipt_in(receipt, receipts_of(session)) as keep:
        found = session.ledger.retrieve(
            run.required_caller(),
            application,
            restricted=restricted,
            fields=None if field is None else (field,),
            reason=run.checked_reason(),
        )
        keep(found.position)
    print_released(run, found, field)


@command(
    credential,
    "list",
    example="credledger credential list --app payroll --older-than 90d",
    acts=True,
    answers='[{"application", "owner", "version", "epoch", "complete", "set_at", "set_by"}]',
)
@click.option("--app", "application", metavar="APP")
@owner_option
@click.option("--older-than", metavar="SPAN", help="Set longer ago than this, such as 90d.")
def list_(run: Run, application: str | None, owner: str | None, older_than: str | None) -> None:
    """List what is set, never the values."""
    from tools.shapes import readable_credentials
    from tools.when import parse_span

    older_than_us = None if older_than is None else parse_span(older_than)
    with run.session(operator=False) as session:
        rows = readable_credentials(
            session, run.acting(), application, run.owner(owner), older_than_us
        )
    run.print(rows, LIST_COLUMNS)


@command(
    credential,
    "history",
    example="credledger credential history payroll --owner user:alice",
    acts=True,
    asks=True,
    answers='[{"version", "event", "recorded_at", "by", "reason", "position", "ended"}]',
)
@click.argument("application", metavar="APP")
@owner_option
def history(run: Run, application: str, owner: str | None) -> None:
    """List the versions of a mapping, never the values; recorded as a question.

    Ended are those of an application of this ID that was deleted since: `credledger replay restore`
    brings it back, with what was set in it.
    At a service it is what its caller owns or administers, and not recorded.
    """
    from tools.shapes import mapping_history

    with run.session(operator=False, only_asks=True) as session:
        rows = mapping_history(session, run.acting(), application, run.owner(owner))
        run.record(session, "credential history", {"app": application, "owner": owner}, len(rows))
    run.print(rows, HISTORY_COLUMNS)


@command(
    credential,
    "restore",
    example="credledger credential restore payroll --owner user:alice --at yesterday",
    appends=True,
    acts=True,
    answers='{"application", "owner", "version", "position"}; with --dry-run {"application",'
    ' "owner", "version", "becomes", "set_at", "set_by", "key": "held" or "destroyed"}',
)
@click.argument("application", metavar="APP")
@owner_option
@click.option("--version", type=NUMBER, help="The version to bring back.")
@click.option("--at", metavar="TIME", help="Bring back what was current then.")
@click.option("--dry-run", is_flag=True, help="Only show which version it would be.")
def restore(
    run: Run,
    application: str,
    owner: str | None,
    version: int | None,
    at: str | None,
    dry_run: bool,
) -> None:
    """Make an earlier value the current one, unseen."""
    from tools.asking.moments import past_moment
    from tools.shapes import mapping_document, preview_document

    if (version is None) == (at is None):
        raise InvalidInput("usage", "Give either --version or --at.")
    with run.session() as session:
        acting, whose = run.acting(), run.owner(owner)
        at_us = None if at is None else past_moment(session, at)
        ledger = session.ledger
        if dry_run:
            found = ledger.restoring.preview(
                acting, application, whose, version=version, at_us=at_us
            )
            run.print(preview_document(found))
            return
        outcome = ledger.restoring.credentials(
            acting, application, whose, version=version, at_us=at_us
        )
    run.print(mapping_document(outcome), sentence=f"Restored as version {outcome.version}.")


@command(
    credential,
    "delete",
    example="credledger credential delete payroll --owner user:alice --yes",
    appends=True,
    acts=True,
    destroys=True,
    answers='{"application", "owner", "version", "position"}',
)
@click.argument("application", metavar="APP")
@owner_option
def delete(run: Run, application: str, owner: str | None) -> None:
    """Delete the credentials of one owner in an application."""
    from tools.shapes import mapping_document

    whose = run.owner(owner)
    named = f" of {owner}" if owner else ""
    run.consent(f"Delete the credentials{named} in {application}?")
    with run.session() as session:
        outcome = session.ledger.delete_credentials(run.acting(), application, whose)
    run.print(mapping_document(outcome), sentence="Deleted.")


@command(
    credential,
    "delete-all",
    example="credledger credential delete-all --owner user:alice --yes",
    appends=True,
    acts=True,
    destroys=True,
    answers='[{"application", "owner", "version", "position"}]',
)
@click.option("--owner", metavar="CLAIM", required=True, help="Whose credentials.")
def delete_all(run: Run, owner: str) -> None:
    """Delete the credentials of one owner in every application."""
    from ledger.claims import parse_owner
    from tools.shapes import applications_with, mapping_document

    whose = parse_owner(owner)
    run.consent(f"Delete the credentials of {owner} in every application?")
    with run.session() as session:
        outcomes = session.ledger.delete_all(run.acting(), whose, applications_with(session, whose))
    run.print(
        [mapping_document(outcome) for outcome in outcomes],
        {"application": "Application", "version": "Version", "position": "Position"},
    )


@command(
    credential,
    "import",
    example="credledger credential import people.csv --format csv --reason 'migration'",
    appends=True,
    acts=True,
    answers='{"entries", "imported", "unchanged", "rejected": [{"line", "entry"?, "code", "message"}],'
    ' "left_out": [{"why", "application", "key", "entries"}], "applications": [{"application",'
    ' "source", "imported", "unchanged", "in_ledger"}], "dry_run", "last_position", "destroy"}',
)
@click.argument("file", metavar="FILE|DIR|-")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="Of the file; follows from its name unless given.",
)
@click.option("--map", "rules_place", metavar="FILE.toml", help="Where entries belong.")
@click.option("--dry-run", is_flag=True, help="Only check, count and show.")
@click.option("--source-password-file", metavar="FILE|-", help="Holds a KeePass file's password.")
@click.option("--source-key-file", metavar="FILE", help="Opens a KeePass file, too.")
def import_(
    run: Run,
    file: str,
    format_name: str | None,
    rules_place: str | None,
    dry_run: bool,
    source_password_file: str | None,
    source_key_file: str | None,
) -> None:
    """Set credentials for many owners; with any bad line nothing is imported.

    Takes lines of JSON or CSV, a KeePass database, or answers of Vault's or OpenBao's
    `kv get -format=json`. Ends with counts: what the file holds is imported, unchanged, rejected or
    left out, and each application's mappings stand beside those of the file. Last comes the file
    that is now to be destroyed.
    """
    from tools.sources.choosing import Told, open_source
    from tools.sources.import_run import Tallies, check_lines, compared, import_lines

    told = Told(format_name, rules_place, source_password_file, source_key_file)
    source = open_source(file, told, run.standard_input)
    tallies = Tallies()
    last_position: int | None = None
    with run.session() as session:
        acting, ledger = run.acting(), session.ledger
        content = source.lines(ledger.application)
        rejected = check_lines(ledger, acting, content, tallies)
        if not rejected and not dry_run:
            last_position = import_lines(ledger, acting, content, tallies)
        rows = compared(session, tallies) if acting.caller is None else []
    listed = [line.as_document() for line in rejected]
    shown = listed if run.json else listed[:REJECTED_SHOWN_MAX]
    further = {"further_rejected": len(listed) - len(shown)} if len(shown) < len(listed) else {}
    stand = last_position is not None and all(one["source"] == one["in_ledger"] for one in rows)
    left_out = content.left_out()
    with ending_with(exit_code(InvalidInput.family) if rejected else DONE):
        run.print(
            {
                "entries": tallies.lines + sum(one.entries for one in left_out if one.key is None),
                "imported": tallies.imported,
                "unchanged": tallies.unchanged,
                "rejected": shown,
                **further,
                "left_out": [one.as_document() for one in left_out],
                "applications": rows,
                "dry_run": dry_run,
                "last_position": last_position,
                "destroy": source.path if stand else None,
            }
        )
        if last_position is not None and source.path is not None and not run.json:
            print_note(_reminder(source.path, left_out, stand=stand))


def _reminder(path: str, left_out: Sequence[LeftOut], *, stand: bool) -> str:
    """That the source is to be destroyed; and what would be lost with it, if anything."""
    if not stand:
        return (
            f"Keep {path}: not all of it stands in the ledger; somebody may have deleted it since."
        )
    if not left_out:
        return f"Destroy {path}: what is sealed now stands there in clear."
    return (
        f"What is left out is not in the ledger. Destroy {path} as soon as you have kept what you"
        " need of it: what is sealed now stands there in clear."
    )


def _values(
    run: Run, session: Session, application: str, place: str | None
) -> Mapping[str, FieldValue]:
    from tools.people.values_input import ask_values, read_values

    if place is not None:
        return read_values(place, run.standard_input)
    return ask_values(session.ledger.application(application).fields)
