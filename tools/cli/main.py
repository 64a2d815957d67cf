"""The program `credledger`: its commands, and how every failure leaves it.

Results go to standard output, everything else to standard error. With `--json` an error, a usage
error included, is one document on standard error:

    {"error": {"code": "...", "message": "...", "hint": "..."}}

Shell completion is click's: `eval "$(_CREDLEDGER_COMPLETE=bash_source credledger)"`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from ledger.errors import InvalidInput, LedgerError, Unavailable
from tools.cli.command import JSON_WANTED, settings_options
from tools.cli.lazy import LazyGroup
from tools.cli.streams import drop, is_output_gone, take_up
from tools.exits import DONE, INTERRUPTED, exit_code
from tools.processes.garbage import collect_seldom
from tools.processes.unforeseen import unforeseen
from tools.settings import Given
from tools.showing.show import json_line, printable

PROGRAM = "credledger"

PLACES = {
    "init": ("tools.cli.ledger:init", "Create a ledger: its store and its keyring."),
    "status": ("tools.cli.ledger:status", "Show where the ledger stands."),
    "doctor": ("tools.cli.ledger:doctor", "List what is wrong or risky, and what mends it."),
    "app": ("tools.cli.app:app", "Target applications."),
    "credential": ("tools.cli.credential:credential", "Credentials of owners in applications."),
    "exec": ("tools.cli.exec:exec_command", "Run a program with credentials."),
    "ticket": ("tools.cli.ticket:ticket", "Tickets: a service reads once for a user."),
    "serve": ("tools.cli.serve:serve", "Answer applications over HTTP."),
    "unseal": ("tools.cli.serve:unseal", "Unlock the ledger of a service that waits sealed."),
    "role": ("tools.cli.role:role", "Service-level rights."),
    "issuer": ("tools.cli.issuer:issuer", "Trusted issuers of tokens."),
    "key": ("tools.cli.key:key", "Epochs, slots and passphrases of the keyring."),
    "audit": ("tools.cli.audit:audit", "Who read what, who changed what, and why."),
    "leaver": (
        "tools.cli.leaver:leaver",
        "Take every role and right from a claim, and list what it saw that was not changed since.",
    ),
    "log": ("tools.cli.log:log", "The event log itself, checked without any key."),
    "store": ("tools.cli.store:store", "The place that the ledger is kept in."),
    "backup": ("tools.cli.backup:backup", "Archives of the database: create, verify, restore."),
    "replay": ("tools.cli.replay:replay", "Rebuild views; state as it was; bring it back."),
}


@click.group(
    name=PROGRAM,
    cls=LazyGroup,
    places=PLACES,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 unexpected, 2 invalid, 3 not found, 4 refused, 5 conflict,"
        " 6 key unavailable, 7 unavailable, 8 tampered, 130 interrupted."
        '\n\nCompletion: eval "$(_CREDLEDGER_COMPLETE=bash_source credledger)"'
    ),
)
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
@settings_options
@click.option("--json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def program(
    context: click.Context,
    store: str | None,
    keyring: str | None,
    passphrase_file: str | None,
    key_file: str | None,
    slot: int | None,
    accept_clock: bool | None,
    accept_async: bool | None,
    json: bool,
) -> None:
    """Keep credentials in an event log: nothing is released unrecorded."""
    context.obj = Given(
        store,
        keyring,
        passphrase_file,
        key_file,
        slot,
        accept_clock=accept_clock,
        accept_async=accept_async,
    )
    context.meta[JSON_WANTED] = json


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    collect_seldom()
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code is returned, whatever happens and whoever hears it."""
    as_json = _wants_json(arguments)
    try:
        take_up()
    except Unavailable as error:
        return _report(error, as_json=as_json)
    output, errors = sys.stdout, sys.stderr
    try:
        code = _run(arguments)
    except SystemExit:
        # Click turns a pipe that ended into an exit of its own, behind other streams than ours.
        if sys.stdout is output:
            raise
        sys.stdout, sys.stderr = output, errors
        if not is_output_gone():
            broken = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            return _report(_refused_by_system(broken), as_json=as_json)
        drop(sys.stdout)
        return DONE
    return _written_out(code, as_json=as_json)


def _run(arguments: Sequence[str]) -> int:
    as_json = _wants_json(arguments)
    try:
        answer = program.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except LedgerError as error:
        return _report(error, as_json=as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        return _report_help(error, as_json=as_json)
    except click.ClickException as error:
        return _report(_usage_error(error), as_json=as_json)
    except (click.Abort, KeyboardInterrupt) as error:
        _report(_interrupted(error), as_json=as_json)
        return INTERRUPTED
    except OSError as error:
        return _report(_refused_by_system(error), as_json=as_json)
    except Exception as error:  # noqa: BLE001 # the text of an unforeseen error may hold anything
        return _report(unforeseen(error), as_json=as_json)
    return answer if isinstance(answer, int) else DONE


def _written_out(code: int, *, as_json: bool) -> int:
    """Write out what is still held of the answer; the exit code of the command then.

    Where there is no room, it is said once, and the interpreter does not try again at its end. Who
    does not hear the answer out changes nothing about how the command ended.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
    except OSError as error:
        drop(sys.stdout)
        return code or _report(_refused_by_system(error), as_json=as_json)
    return code


def _refused_by_system(error: OSError) -> Unavailable:
    return Unavailable(
        "system-refused",
        f"The system refused: {error.strerror or 'I/O error'}.",
        hint="The answer may lack its end. What was recorded stands; look before you run it again.",
    )


def _report(error: LedgerError, *, as_json: bool) -> int:
    _tell(json_line({"error": error.as_document()}) if as_json else _told(error))
    return exit_code(error.family)


def _told(error: LedgerError) -> str:
    shown = error.position is None or str(error.position) in error.message
    place = "" if shown else f" (position {error.position})"
    lines = [f"{PROGRAM}: {printable(error.message)}{place}"]
    if error.credential_page:
        lines.append(f"  Set them at {printable(error.credential_page)}")
    if error.hint:
        lines.append(f"  {printable(error.hint)}")
    return "\n".join(lines) + "\n"


def _report_help(error: click.UsageError, *, as_json: bool) -> int:
    if as_json:
        missing = click.UsageError("Missing command.", error.ctx)
        return _report(_usage_error(missing), as_json=True)
    _tell(error.format_message() + "\n")
    return exit_code("invalid")


def _tell(text: str) -> None:
    """Write on standard error; where nobody can be told, the exit code still tells."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)


def _interrupted(error: BaseException) -> InvalidInput:
    # Click hands an interruption on as the cause of its own.
    cause = error.__cause__ if isinstance(error, click.Abort) else error
    told = str(cause) if isinstance(cause, KeyboardInterrupt) else ""
    hint = f"What was recorded stands; `{PROGRAM} status` shows it where there is a ledger."
    return InvalidInput("interrupted", told or "Interrupted.", hint=hint)


def _usage_error(error: click.ClickException) -> InvalidInput:
    hint = f"See `{PROGRAM} --help`."
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"See `{error.ctx.command_path} --help`."
    told = error.format_message()
    if isinstance(error, click.MissingParameter):
        told = " ".join(told.split())  # click puts what may be chosen on lines of its own
    return InvalidInput("usage", told, hint=hint)


def _wants_json(arguments: Sequence[str]) -> bool:
    own = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return "--json" in own


if __name__ == "__main__":
    main()
