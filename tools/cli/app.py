"""`credledger app`: target applications, one by one or as code."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import ANY
from tools.showing.show import print_line

if TYPE_CHECKING:
    from ledger.usecases.outcomes import Outcome
    from tools.client import Changed

ROLES = ("administrator", "member", "ticket-redeemer")
COLUMNS = {
    "application": "Application",
    "kind": "Kind",
    "name": "Name",
    "open": "Open",
    "fields": "Fields",
    "updated_at": "Updated",
}
USABLE_COLUMNS = {
    "application": "Application",
    "kind": "Kind",
    "name": "Name",
    "ticketing": "Ticketing",
    "restricted": "Restricted",
    "fields": "Fields",
}
FIELD_COLUMNS = {"name": "Field", "type": "Type", "masked": "Masked"}
CHANGED = (
    '{"application", "changed", "version", "position", "readers", "readers_before"}; readers are'
    ' "every-owner", "members" or "nobody", and null before there was an application'
)
_TO_OPEN = "`credledger app update {0} --open` lets every owner read again."
_TO_GRANT = "`credledger app grant {0} member CLAIM` names who may."
_READERS_CHANGED: dict[tuple[str | None, str | None], tuple[str, str]] = {
    ("every-owner", "members"): (
        "It was open to every owner; from now on its members alone may read.",
        _TO_OPEN,
    ),
    ("members", "nobody"): ("That was its last member; from now on nobody may read.", _TO_GRANT),
    ("members", "every-owner"): ("Every owner may read from now on, not its members alone.", ""),
    ("nobody", "every-owner"): ("Every owner may read from now on.", ""),
}
"""By who could read before and who may now: what is told besides, and the way back."""


@click.group(cls=Noun)
def app() -> None:
    """Manage target applications."""


@command(
    app,
    "create",
    example="credledger app create payroll --kind individual --field 'User:user-name'",
    answers=CHANGED,
    appends=True,
    acts=True,
)
@click.argument("application", metavar="ID")
@click.option("--kind", type=click.Choice(["individual", "group"]), required=True)
@click.option("--ticketing", is_flag=True, help="Tickets may be issued for it.")
@click.option("--restricted", is_flag=True, help="Only restricted requests get from it.")
@click.option("--name", default="", help="The name that people see.")
@click.option("--contact", default="", help="Whom to ask: an e-mail address.")
@click.option(
    "--field",
    "field_texts",
    multiple=True,
    metavar="NAME:TYPE[:masked]",
    help="A field; repeatable; Windows user name and password unless told.",
)
@click.option("--administrator", "administrators", multiple=True, metavar="CLAIM")
@click.option("--member", "members", multiple=True, metavar="CLAIM")
@click.option("--ticket-redeemer", "ticket_redeemers", multiple=True, metavar="CLAIM")
@click.option("--ticket-timeout", "ticket_timeout_s", type=ANY, metavar="SECONDS")
@click.option("--credential-page", metavar="default|none|URL")
def create(
    run: Run,
    application: str,
    kind: str,
    ticketing: bool,
    restricted: bool,
    name: str,
    contact: str,
    field_texts: tuple[str, ...],
    administrators: tuple[str, ...],
    members: tuple[str, ...],
    ticket_redeemers: tuple[str, ...],
    ticket_timeout_s: int | None,
    credential_page: str | None,
) -> None:
    """Create a target application."""
    from ledger.aggregates.application import parse_field
    from tools.shapes import outcome_document

    said = {"ticket_timeout_s": ticket_timeout_s, "credential_page": credential_page}
    told: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    with run.session() as session:
        outcome = session.ledger.create_application(
            run.acting(),
            application,
            kind=kind,
            ticketing=ticketing,
            restricted=restricted,
            name=name,
            contact=contact,
            fields=tuple(parse_field(text) for text in field_texts),
            administrators=administrators,
            members=members,
            ticket_redeemers=ticket_redeemers,
            **told,
        )
    run.print(outcome_document(outcome), sentence=f"Created {outcome.application}.")


@command(
    app,
    "list",
    example="credledger app list --json",
    acts=True,
    answers="[as app show]",
)
def list_(run: Run) -> None:
    """List the target applications."""
    from projections.documents import application_document
    from tools.shapes import visible_applications

    with run.session(operator=False) as session:
        found = [application_document(one) for one in visible_applications(session, run.acting())]
    shown = found if run.json else [short(one) for one in found]
    run.print(shown, COLUMNS)


@command(
    app,
    "show",
    example="credledger app show payroll",
    acts=True,
    answers=(
        '{"application", "kind", "ticketing", "restricted", "open", "name", "contact",'
        ' "fields": [{"name", "type", "masked"}], "administrators": [], "members": [],'
        ' "ticket_redeemers": [], "ticket_timeout_s", "credential_page", "version",'
        ' "created_at", "updated_at", "updated_by"}'
    ),
)
@click.argument("application", metavar="ID")
def show(run: Run, application: str) -> None:
    """Show one target application."""
    from projections.documents import application_document
    from tools.shapes import require_metadata

    with run.session(operator=False) as session:
        acting = run.acting()
        require_metadata(session, acting, application)
        document = application_document(session.ledger.application(application))
    run.print(document)


@command(
    app,
    "mine",
    example="credledger app mine --as user:alice --with group:finance",
    answers='[{"application", "name", "kind", "ticketing", "restricted", "fields": [{"name", "type",'
    ' "masked"}]}]',
    acts=True,
)
def mine(run: Run) -> None:
    """List the applications that somebody may get credentials from.

    Whether any are set there is not looked at. At a service it is for whoever asks.
    """
    from tools.shapes import usable_applications, usable_document

    run.require_caller()
    with run.session() as session:
        found = [
            usable_document(one) for one in usable_applications(session, run.required_caller())
        ]
    print_usable(run, found)


@command(
    app,
    "fields",
    example="credledger app fields payroll --as user:alice",
    answers='{"application", "fields": [{"name", "type", "masked"}]}',
    acts=True,
)
@click.argument("application", metavar="ID")
def fields(run: Run, application: str) -> None:
    """Show the fields of an application to those who may see it or get from it."""
    from tools.shapes import fields_document, require_fields

    with run.session(operator=False) as session:
        document = fields_document(require_fields(session, run.acting(), application))
    print_fields(run, document)


@command(
    app,
    "claims",
    example="credledger app claims payroll",
    answers='{"application", "administrators", "members", "ticket_redeemers"}',
    acts=True,
)
@click.argument("application", metavar="ID")
def claims(run: Run, application: str) -> None:
    """Show who has which role in an application."""
    from tools.shapes import claims_document, require_metadata

    with run.session(operator=False) as session:
        document = claims_document(require_metadata(session, run.acting(), application))
    run.print(document)


@command(
    app,
    "update",
    example="credledger app update payroll --contact it@example.com --field 'PIN:pin'",
    answers=CHANGED,
    appends=True,
    acts=True,
)
@click.argument("application", metavar="ID")
@click.option("--name")
@click.option("--contact")
@click.option("--ticket-timeout", "ticket_timeout_s", type=ANY, metavar="SECONDS")
@click.option("--credential-page", metavar="default|none|URL")
@click.option("--field", "field_texts", multiple=True, metavar="NAME:TYPE[:masked]", help="Add it.")
@click.option("--mask", "masks", multiple=True, metavar="FIELD", help="Hide its value.")
@click.option("--unmask", "unmasks", multiple=True, metavar="FIELD", help="Show its value.")
@click.option("--open", "open_to_all", is_flag=True, help="Every owner may use it again.")
def update(
    run: Run,
    application: str,
    name: str | None,
    contact: str | None,
    ticket_timeout_s: int | None,
    credential_page: str | None,
    field_texts: tuple[str, ...],
    masks: tuple[str, ...],
    unmasks: tuple[str, ...],
    open_to_all: bool,
) -> None:
    """Change a target application, or add fields to it."""
    from ledger.aggregates.application import parse_field

    said: dict[str, object | None] = {
        "name": name,
        "contact": contact,
        "ticket_timeout_s": ticket_timeout_s,
        "credential_page": credential_page,
        "masked": {**dict.fromkeys(masks, True), **dict.fromkeys(unmasks, False)} or None,
    }
    changes = {key: value for key, value in said.items() if value is not None}
    if not changes and not field_texts and not open_to_all:
        raise InvalidInput("nothing-to-change", "Say what to change.")
    added = tuple(parse_field(text) for text in field_texts)
    with run.session() as session:
        outcome = session.ledger.update_application(
            run.acting(), application, changes=changes, add_fields=added, open_to_all=open_to_all
        )
    print_changed(run, outcome, "Changed." if outcome.changed else "Nothing to change.")


@command(
    app,
    "delete",
    example="credledger app delete payroll --yes",
    answers=CHANGED,
    appends=True,
    acts=True,
    destroys=True,
)
@click.argument("application", metavar="ID")
def delete(run: Run, application: str) -> None:
    """Delete a target application; all its mappings end."""
    from tools.shapes import outcome_document

    run.consent(f"Delete the application {application} and all its credentials?")
    with run.session() as session:
        outcome = session.ledger.delete_application(run.acting(), application)
    run.print(outcome_document(outcome), sentence="Deleted.")


@command(
    app,
    "grant",
    example="credledger app grant payroll member group:finance",
    answers=CHANGED,
    appends=True,
    acts=True,
)
@click.argument("application", metavar="ID")
@click.argument("role", metavar="ROLE", type=click.Choice(ROLES))
@click.argument("claim")
def grant(run: Run, application: str, role: str, claim: str) -> None:
    """Give a claim a role in an application: administrator, member or ticket-redeemer."""
    with run.session() as session:
        outcome = session.ledger.grant(run.acting(), application, role, claim)
    print_changed(run, outcome, "Granted." if outcome.changed else "Granted already.")


@command(
    app,
    "revoke",
    example="credledger app revoke payroll member user:bob",
    answers=CHANGED,
    appends=True,
    acts=True,
)
@click.argument("application", metavar="ID")
@click.argument("role", metavar="ROLE", type=click.Choice(ROLES))
@click.argument("claim")
def revoke(run: Run, application: str, role: str, claim: str) -> None:
    """Take a role in an application from a claim."""
    with run.session() as session:
        outcome = session.ledger.revoke(run.acting(), application, role, claim)
    print_changed(run, outcome, "Revoked." if outcome.changed else "Not held anyway.")


@command(
    app,
    "apply",
    example="credledger app apply applications.toml --dry-run",
    appends=True,
    acts=True,
    destroys=True,
    answers=(
        '{"dry_run", "changed", "position", "changes": [{"application", "action", "what",'
        ' "from", "to"}]}'
    ),
)
@click.argument("file", metavar="FILE.toml")
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--prune", is_flag=True, help="Delete applications that the file does not name.")
def apply(run: Run, file: str, dry_run: bool, prune: bool) -> None:
    """Bring applications to what a file says."""
    from tools.applications_file import read_applications
    from tools.applying import apply_tables

    wanted = read_applications(file, run.standard_input)
    with run.session() as session:
        document = apply_tables(
            session,
            run.acting(),
            wanted,
            prune=prune,
            dry_run=dry_run,
            confirm=lambda doomed: consent_to_deletions(run, doomed),
        )
    print_applied(run, document)


@command(
    app,
    "export",
    example="credledger app export > applications.toml",
    acts=True,
    answers='{"application": {ID: as app show}}',
)
@click.argument("applications", nargs=-1, metavar="[ID]...")
def export(run: Run, applications: tuple[str, ...]) -> None:
    """Write applications as a file that `app apply` reads."""
    from ledger.identifiers import application_key
    from projections.documents import application_document
    from tools.applications_file import to_toml
    from tools.shapes import visible_applications

    chosen = {application_key(text) for text in applications}
    with run.session(operator=False) as session:
        for text in applications:
            session.ledger.application(text)
        found = [
            application_document(one)
            for one in visible_applications(session, run.acting())
            if not chosen or application_key(one.application) in chosen
        ]
    if run.json:
        run.print({"application": {str(one["application"]): one for one in found}})
    else:
        click.echo(to_toml(found), nl=False)


def print_changed(run: Run, outcome: Outcome | Changed, sentence: str) -> None:
    """What came of a change, and what it did to who may read."""
    from tools.shapes import outcome_document

    told, hint = _READERS_CHANGED.get((outcome.readers_before, outcome.readers), ("", ""))
    run.print(outcome_document(outcome), sentence=f"{sentence} {told}".rstrip())
    if hint and not run.json:
        print_line("  " + hint.format(shlex.quote(outcome.application or "")))


def print_usable(run: Run, found: Sequence[dict[str, Any]]) -> None:
    """Applications that somebody may get from."""
    run.print(found if run.json else [short(one) for one in found], USABLE_COLUMNS)


def print_fields(run: Run, document: dict[str, Any]) -> None:
    """An application's fields, a row for each."""
    run.print(document if run.json else document["fields"], FIELD_COLUMNS)


def short(document: dict[str, Any]) -> dict[str, Any]:
    """An application's row in a table: fields by name only."""
    listed = document["fields"]
    return {**document, "fields": [field["name"] for field in listed]}


def consent_to_deletions(run: Run, doomed: Sequence[str]) -> None:
    """Ask before `app apply` deletes applications; nothing where it deletes none."""
    if doomed:
        run.consent(f"Delete {', '.join(doomed)} and all their credentials?")


def print_applied(run: Run, document: dict[str, Any]) -> None:
    """What `app apply` did, or would do."""
    from tools.applications_file import change_row

    if run.json or not document["changes"]:
        run.print(document, sentence="Nothing to change.")
        return
    names = ("Application", "Action", "What", "From", "To")
    rows = [change_row(one) for one in document["changes"]]
    run.print(rows, {name.lower(): name for name in names})
