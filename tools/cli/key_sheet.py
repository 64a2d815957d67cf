"""`credledger key sheet`: the emergency sheet."""

from __future__ import annotations

import click

from tools.cli.command import Run, command


@command(
    None,
    "sheet",
    example="credledger key sheet | lp",
    answers='{"ledger_id", "position", "epoch", "written_at", "written_by", "store", "keyring",'
    ' "slots": [{"id", "label", "kind", "opens", "threshold", "count"}],'
    ' "key_backups": [as key backup list], "database_backups": [{"directory", "position",'
    ' "recorded_at", "kind", "digest"}], "file"?}',
)
@click.argument("file", required=False)
def sheet(run: Run, file: str | None) -> None:
    """Print the emergency sheet, or write it to a new FILE: no secret is on it.

    It tells which ledger this is, where store, keyring and backups of both lie, who can unlock, and
    what to do when something of that is lost. Keep it on paper where the shares are not.
    """
    from tools.recovering.emergency_sheet import sheet_document, sheet_text, write_sheet

    with run.session() as session:
        document = sheet_document(session)
    if file is not None:
        written = write_sheet(file, sheet_text(document))
        run.print({**document, "file": written}, sentence=f"Written to {written}.")
    elif run.json:
        run.print(document)
    else:
        click.echo(sheet_text(document), nl=False)
