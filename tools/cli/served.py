"""Commands at a service, with `--server`: what they do there, told as if the ledger were here.

Each function is asked with the arguments of the command of its name. What an operator alone does,
or what needs the log, is done on the ledger's own host and refused here: `not-served`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ledger.errors import InvalidInput, Refused, Unavailable
from tools.cli.command import Run
from tools.extras import how_to_install

if TYPE_CHECKING:
    from ledger.values import FieldValue
    from tools.client import Client

Served = Callable[..., None]


def run_at_server(run: Run, command: str, arguments: Mapping[str, Any]) -> None:
    """Run a command at the service that `--server` names; `not-served` for one that it has not."""
    assert run.server is not None
    served = _COMMANDS.get(command)
    if served is None:
        raise _no_import() if command == "credential import" else not_served()
    if run.as_claim is not None or run.with_claims:
        raise InvalidInput(
            "two-callers",
            "A service knows its caller by a token or a socket; --as and --with are the operator's.",
            hint="Give --token-file, or the service's unix socket.",
        )
    with _client(run) as client:
        try:
            served(run, client, **arguments)
        except Refused as error:
            if error.code == "no-caller" and run.token_file is None:
                raise _no_caller(run.server) from error
            raise


def not_served() -> InvalidInput:
    """Not at a service."""
    return InvalidInput(
        "not-served",
        "A service does not do that.",
        hint="Run it on the ledger's own host, without --server.",
    )


def _no_caller(server: str) -> Refused:
    if server.lower().startswith("unix:"):
        return Refused(
            "no-caller",
            "The service has no name for this account, and no token was given.",
            hint="Give --token-file FILE, or ask as an account that the service's host knows.",
        )
    return Refused(
        "no-caller",
        "The service does not know who asks: no token was given.",
        hint="Give --token-file FILE. Only a unix socket (--server unix:///PATH) knows its caller"
        " without one, by the account.",
    )


def _no_import() -> InvalidInput:
    return InvalidInput(
        "not-served",
        "An import is the operator's: it opens what is set already, to leave what is the same.",
        hint="Run it on the ledger's own host, or set mappings one by one with `credential set`.",
    )


def _client(run: Run) -> Client:
    try:
        import stamina.instrumentation

        from tools.client import Client, Server
    except ModuleNotFoundError as error:
        raise Unavailable(
            "client-missing",
            "A service is asked by libraries that are not installed here.",
            hint=how_to_install("client"),
        ) from error
    from ledger.values import FieldValue
    from tools.settings import decide_tls
    from tools.token_input import read_token

    stamina.instrumentation.set_on_retry_hooks([])  # an answer is alone on its stream
    assert run.server is not None
    token = run.token_file and FieldValue(read_token(run.token_file, run.standard_input))
    tls = decide_tls(run.tls)
    return Client(
        Server(run.server, token=token or None, ca_file=tls.authority, certificate=tls.identity)
    )


def app_create(
    run: Run,
    client: Client,
    *,
    application: str,
    kind: str,
    field_texts: tuple[str, ...],
    **said: Any,
) -> None:
    """`app create`."""
    from tools.client import calls
    from tools.shapes import outcome_document

    told = {**said, "fields": _fields(field_texts), "reason": run.checked_reason()}
    changed = client.send(calls.create(application, kind, **told))
    run.print(outcome_document(changed), sentence=f"Created {changed.application}.")


def app_list(run: Run, client: Client) -> None:
    """`app list`."""
    from tools.cli.app import COLUMNS, short
    from tools.client import calls

    found = client.send(calls.applications())
    run.print(found if run.json else [short(one) for one in found], COLUMNS)


def app_show(run: Run, client: Client, *, application: str) -> None:
    """`app show`."""
    from tools.client import calls

    run.print(client.send(calls.application(application)))


def app_mine(run: Run, client: Client) -> None:
    """`app mine`."""
    from tools.cli.app import print_usable
    from tools.client import calls

    found = client.send(calls.usable())
    print_usable(run, found)


def app_fields(run: Run, client: Client, *, application: str) -> None:
    """`app fields`."""
    from tools.cli.app import print_fields
    from tools.client import calls

    print_fields(run, client.send(calls.fields_of(application)))


def app_claims(run: Run, client: Client, *, application: str) -> None:
    """`app claims`."""
    from tools.client import calls

    run.print(client.send(calls.claims_of(application)))


def app_update(
    run: Run,
    client: Client,
    *,
    application: str,
    field_texts: tuple[str, ...],
    masks: tuple[str, ...],
    unmasks: tuple[str, ...],
    open_to_all: bool,
    **said: Any,
) -> None:
    """`app update`."""
    from tools.cli.app import print_changed
    from tools.client import calls

    told = {
        **said,
        "add_fields": _fields(field_texts) or None,
        "mask": masks or None,
        "unmask": unmasks or None,
        "open": open_to_all or None,
        "reason": run.checked_reason(),
    }
    changed = client.send(calls.update(application, **told))
    print_changed(run, changed, "Changed." if changed.changed else "Nothing to change.")


def app_delete(run: Run, client: Client, *, application: str) -> None:
    """`app delete`."""
    from tools.client import calls
    from tools.shapes import outcome_document

    run.consent(f"Delete the application {application} and all its credentials?")
    changed = client.send(calls.delete_application(application, reason=run.checked_reason()))
    run.print(outcome_document(changed), sentence="Deleted.")


def app_grant(run: Run, client: Client, *, application: str, role: str, claim: str) -> None:
    """`app grant`."""
    from tools.cli.app import print_changed
    from tools.client import calls

    changed = client.send(calls.grant(application, role, claim, reason=run.checked_reason()))
    print_changed(run, changed, "Granted." if changed.changed else "Granted already.")


def app_revoke(run: Run, client: Client, *, application: str, role: str, claim: str) -> None:
    """`app revoke`."""
    from tools.cli.app import print_changed
    from tools.client import calls

    changed = client.send(calls.revoke(application, role, claim, reason=run.checked_reason()))
    print_changed(run, changed, "Revoked." if changed.changed else "Not held anyway.")


def app_apply(run: Run, client: Client, *, file: str, dry_run: bool, prune: bool) -> None:
    """`app apply`; what is to be deleted is asked for, told, and named to the service."""
    from tools.applications_file import WRITTEN_BY_LEDGER, doomed, read_applications
    from tools.cli.app import consent_to_deletions, print_applied
    from tools.client import calls

    tables = {
        name: {key: value for key, value in table.items() if key not in WRITTEN_BY_LEDGER}
        for name, table in read_applications(file, run.standard_input).items()
    }
    reason, deletes = run.checked_reason(), []
    if prune and not dry_run:
        deletes = doomed(client.send(calls.apply(tables, prune=True, dry_run=True))["changes"])
        consent_to_deletions(run, deletes)
    call = calls.apply(tables, prune=prune, deletes=deletes, dry_run=dry_run, reason=reason)
    print_applied(run, client.send(call))


def app_export(run: Run, client: Client, *, applications: tuple[str, ...]) -> None:
    """`app export`."""
    import click

    from tools.applications_file import to_toml
    from tools.client import calls

    found = (
        [client.send(calls.application(name)) for name in applications]
        if applications
        else client.send(calls.applications())
    )
    if run.json:
        run.print({"application": {str(one["application"]): one for one in found}})
    else:
        click.echo(to_toml(found), nl=False)


def credential_set(
    run: Run,
    client: Client,
    *,
    application: str,
    owner: str | None,
    values: str | None,
    check: bool,
    check_command: tuple[str, ...],
) -> None:
    """`credential set`; only the values are checked beforehand, not whether they may be set."""
    from tools.client import calls
    from tools.handing_over import check_with, require_program
    from tools.shapes import mapping_document

    if check != bool(check_command):
        raise InvalidInput("usage", "--check needs `-- COMMAND`, and a command needs --check.")
    if check:
        require_program(check_command)
    given = _values(run, client, application, values)
    if check:
        check_with(check_command, given)
    reason = run.checked_reason()
    changed = client.send(calls.set_(application, given, owner=owner, reason=reason))
    run.print(mapping_document(changed), sentence=f"Set version {changed.version}.")


def credential_get(
    run: Run,
    client: Client,
    *,
    application: str,
    field: str | None,
    restricted: bool,
    receipt: str | None,
) -> None:
    """`credential get`."""
    from tools.cli.released import print_released
    from tools.evidence.receipts import receipt_in

    fields = None if field is None else (field,)
    reason = run.checked_reason()
    with receipt_in(receipt, _receipts(client)) as keep:
        found = client.get(application, fields=fields, restricted=restricted, reason=reason)
        keep(found.position)
    print_released(run, found, field)


def credential_list(
    run: Run,
    client: Client,
    *,
    application: str | None,
    owner: str | None,
    older_than: str | None,
) -> None:
    """`credential list`."""
    from tools.cli.credential import LIST_COLUMNS
    from tools.client import calls

    rows = client.send(calls.list_(application, owner=owner, older_than=older_than))
    run.print(rows, LIST_COLUMNS)


def credential_history(run: Run, client: Client, *, application: str, owner: str | None) -> None:
    """`credential history`; a service records no question, and so no reason for one."""
    if run.require_record or run.reason:
        raise not_served()
    from tools.cli.credential import HISTORY_COLUMNS
    from tools.client import calls

    run.print(client.send(calls.history(application, owner=owner)), HISTORY_COLUMNS)


def credential_restore(
    run: Run,
    client: Client,
    *,
    application: str,
    owner: str | None,
    version: int | None,
    at: str | None,
    dry_run: bool,
) -> None:
    """`credential restore`."""
    from tools.client import calls
    from tools.shapes import mapping_document

    if (version is None) == (at is None):
        raise InvalidInput("usage", "Give either --version or --at.")
    if dry_run:
        preview = calls.preview_restore(application, owner=owner, version=version, at=at)
        run.print(client.send(preview))
        return
    reason = run.checked_reason()
    call = calls.restore(application, owner=owner, version=version, at=at, reason=reason)
    changed = client.send(call)
    run.print(mapping_document(changed), sentence=f"Restored as version {changed.version}.")


def credential_delete(run: Run, client: Client, *, application: str, owner: str | None) -> None:
    """`credential delete`."""
    from tools.client import calls
    from tools.shapes import mapping_document

    named = f" of {owner}" if owner else ""
    run.consent(f"Delete the credentials{named} in {application}?")
    call = calls.delete(application, owner=owner, reason=run.checked_reason())
    run.print(mapping_document(client.send(call)), sentence="Deleted.")


def credential_delete_all(run: Run, client: Client, *, owner: str) -> None:
    """`credential delete-all`."""
    from tools.client import calls
    from tools.shapes import mapping_document

    run.consent(f"Delete the credentials of {owner} in every application?")
    ended = client.send(calls.delete_all(owner=owner, reason=run.checked_reason()))
    run.print(
        [mapping_document(one) for one in ended],
        {"application": "Application", "version": "Version", "position": "Position"},
    )


def exec_(
    run: Run,
    client: Client,
    *,
    application: str,
    variables: tuple[str, ...],
    files: tuple[str, ...],
    restricted: bool,
    receipt: str | None,
    program: tuple[str, ...],
) -> None:
    """`exec`."""
    from tools.evidence.receipts import receipt_in
    from tools.handing_over import become, environment_with, parse_assignments, require_program

    to_variables = parse_assignments(variables, "--env")
    to_files = parse_assignments(files, "--file")
    require_program(program)
    reason = run.checked_reason()
    with receipt_in(receipt, _receipts(client)) as keep:
        found = client.get(application, restricted=restricted, reason=reason)
        keep(found.position)
    client.close()
    with environment_with(found.fields, to_variables, to_files) as (environment, _):
        become(program, environment)


def ticket_issue(run: Run, client: Client, *, application: str | None) -> None:
    """`ticket issue`."""
    from tools.cli.ticket import print_ticket

    issued = client.issue_ticket(application, reason=run.checked_reason())
    print_ticket(
        run,
        {
            "ticket": str(issued.ticket.reveal()),
            "application": issued.application,
            "issued_at": issued.issued_at,
            "expires_at": issued.expires_at,
            "position": issued.position,
        },
    )


def ticket_redeem(
    run: Run,
    client: Client,
    *,
    application: str,
    ticket_file: str,
    field: str | None,
    receipt: str | None,
) -> None:
    """`ticket redeem`."""
    from tools.cli.released import print_released
    from tools.client import calls
    from tools.evidence.receipts import receipt_in
    from tools.people.tickets_input import read_ticket

    text = read_ticket(ticket_file, run.standard_input)
    fields = None if field is None else (field,)
    reason = run.checked_reason()
    with receipt_in(receipt, _receipts(client)) as keep:
        found = client.send(calls.redeem_ticket(application, text, fields=fields, reason=reason))
        keep(found.position)
    print_released(run, found, field)


def _values(
    run: Run, client: Client, application: str, place: str | None
) -> Mapping[str, FieldValue]:
    from ledger.aggregates.application import Field
    from tools.client import calls
    from tools.people.values_input import ask_values, read_values, require_terminal

    if place is not None:
        return read_values(place, run.standard_input)
    require_terminal()
    told = client.send(calls.fields_of(application))["fields"]
    return ask_values([Field(one["name"], one["type"], one["masked"]) for one in told])


def _receipts(client: Client) -> Callable[[int], dict[str, Any]]:
    from tools.client import calls

    return lambda position: client.send(calls.receipt(position))


def _fields(texts: tuple[str, ...]) -> list[dict[str, object]]:
    from ledger.aggregates.application import parse_field

    fields = [parse_field(text) for text in texts]
    return [{"name": one.name, "type": one.type, "masked": one.masked} for one in fields]


_COMMANDS: Mapping[str, Served] = {
    "app create": app_create,
    "app list": app_list,
    "app show": app_show,
    "app mine": app_mine,
    "app fields": app_fields,
    "app claims": app_claims,
    "app update": app_update,
    "app delete": app_delete,
    "app grant": app_grant,
    "app revoke": app_revoke,
    "app apply": app_apply,
    "app export": app_export,
    "credential set": credential_set,
    "credential get": credential_get,
    "credential list": credential_list,
    "credential history": credential_history,
    "credential restore": credential_restore,
    "credential delete": credential_delete,
    "credential delete-all": credential_delete_all,
    "exec": exec_,
    "ticket issue": ticket_issue,
    "ticket redeem": ticket_redeem,
}
