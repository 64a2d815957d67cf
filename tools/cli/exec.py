"""`credledger exec`: run a program with somebody's credentials."""

from __future__ import annotations

import click

from tools.cli.command import Run, command


@command(
    None,
    "exec",
    example="credledger exec payroll --as user:alice -- ./load-report",
    appends=True,
    acts=True,
    context={"allow_interspersed_args": True},
)
@click.argument("application", metavar="APP")
@click.option("--env", "variables", multiple=True, metavar="VAR=FIELD", help="Name a variable.")
@click.option("--file", "files", multiple=True, metavar="VAR=FIELD", help="Path of a memory file.")
@click.option("--restricted", is_flag=True, help="Ask explicitly for a restricted application.")
@click.option("--receipt", metavar="FILE", help="Write a proof of the record to a new file.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def exec_command(
    run: Run,
    application: str,
    variables: tuple[str, ...],
    files: tuple[str, ...],
    restricted: bool,
    receipt: str | None,
    program: tuple[str, ...],
) -> None:
    """Run a program with credentials.

    Fields go to its environment under their own names in capitals (Windows Password becomes
    WINDOWS_PASSWORD) unless --env or --file names another variable. The command replaces this
    process; CREDLEDGER_* is not handed on. A receipt is on disk before that; it proves to anybody
    that the read was recorded, and `log proof --check` checks it.
    """
    from tools.evidence.receipts import receipt_in, receipts_of
    from tools.handing_over import become, environment_with, parse_assignments, require_program

    to_variables = parse_assignments(variables, "--env")
    to_files = parse_assignments(files, "--file")
    require_program(program)
    run.require_caller()
    with run.session() as session, receipt_in(receipt, receipts_of(session)) as keep:
        found = session.ledger.retrieve(
            run.required_caller(),
            application,
            restricted=restricted,
            reason=run.checked_reason(),
        )
        keep(found.position)
    with environment_with(found.fields, to_variables, to_files) as (environment, _):
        become(program, environment)
