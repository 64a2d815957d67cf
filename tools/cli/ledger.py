"""`credledger init`, `status` and `doctor`."""

from __future__ import annotations

import click

from tools.cli.command import Run, command
from tools.cli.streams import ending_with


@command(
    None,
    "init",
    example="credledger init --label alice --new-passphrase-file passphrase.txt",
    appends=True,
    new_passphrase=True,
    answers='{"ledger_id", "store", "keyring", "epoch", "shares": as key shares create?}',
)
@click.option("--label", default="operator", help="Whose slot the first one is.")
@click.option("--shares", metavar="K/N", help="Make N recovery shares too, any K of which open.")
def init(run: Run, label: str, shares: str | None, argon2_memory: int) -> None:
    """Create a ledger: its store and its keyring."""
    from tools.recovering.recovery import parse_scheme, print_shares, shares_document
    from tools.showing import show
    from tools.wiring import found

    scheme = None if shares is None else parse_scheme(shares)
    document, made = found(
        run.settings(), run.standard_input, label, argon2_memory, run.checked_reason(), scheme
    )
    if run.json and made is not None:
        document["shares"] = shares_document(made)
    run.print(document)
    if not run.json and made is not None:
        print_shares(made, str(document["ledger_id"]))
    for line in (
        f"Pin the ledger id {document['ledger_id']} elsewhere: it proves which ledger this is.",
        "Back up the keyring now, and again after each change of its keys or slots.",
        "Keep the keyring and the store's backups apart: both together are the credentials.",
    ):
        show.print_note(line)


@command(
    None,
    "status",
    example="credledger status --json",
    answers=(
        '{"ledger_id", "position", "root", "epoch", "unlocked_by", "views": [{"name",'
        ' "position", "rows"}], "last_database_backup": {"position", "recorded_at", "kind",'
        ' "directory"}, "last_key_backup": {"path", "digest", "epochs": [], "position",'
        ' "recorded_at"}, "last_access_review": {"position", "recorded_at", "by", "until"},'
        ' "warnings": [code]}; what there was none of is null'
    ),
)
def status(run: Run) -> None:
    """Show where the ledger stands."""
    from tools.doctor.diagnosis import status_document

    with run.session(operator=False) as session:
        document = status_document(session)
    run.print(document)


@command(
    None,
    "doctor",
    example="credledger doctor",
    answers='{"findings": [{"code", "severity", "message", "mend"}]}',
)
def doctor(run: Run) -> None:
    """List what is wrong or risky, and what mends it.

    Modes of files and folders are looked at too: the store, the memory, key backups and archives.
    An auditor is not told of slots, keys and backups, and that is said.
    """
    from tools.doctor.diagnosis import examine, gravest
    from tools.showing import show

    findings, is_whole = examine(run.settings, lambda: run.session(operator=False))
    if not is_whole:
        show.print_note("Slots, keys and backups were not looked at: operators are told of them.")
    with ending_with(gravest(findings)):
        if run.json:
            run.print({"findings": [finding.as_document() for finding in findings]})
        elif findings:
            run.print(
                [finding.as_document() for finding in findings],
                {"severity": "Severity", "code": "Code", "message": "Finding", "mend": "Mend"},
            )
        else:
            run.print({}, sentence="Nothing is wrong." if is_whole else "Nothing else is wrong.")
