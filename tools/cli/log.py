"""`credledger log`: the event log itself; most of it needs no keyring."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.errors import InvalidInput, Unavailable
from tools.cli.command import Run, command
from tools.cli.revived import note_revived

EVENT_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "topic": "Topic",
    "stream": "Stream",
    "version": "Version",
    "epoch": "Epoch",
}
EVENTS_DEFAULT = 1000


@click.group()
def log() -> None:
    """Check and list the event log."""


@command(log, "verify", example="credledger log verify --ledger-id 3f2a...", appends=True)
@click.option(
    "--archive",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Check an archive of `backup create` instead of the store.",
)
@click.option("--ledger-id", metavar="ID", help="The pinned ledger id, in hex.")
@click.option("--views", is_flag=True, help="Compare the views with their folds too (unlocks).")
@click.option(
    "--accept-new-memory",
    is_flag=True,
    help="Replace this host's unreadable memory by the log's head; recorded (unlocks).",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="By so many processes, if the log is long; as many as there are processors unless told.",
)
@click.pass_context
def verify(
    context: click.Context,
    /,
    run: Run,
    archive: Path | None,
    ledger_id: str | None,
    jobs: int | None,
    views: bool,
    accept_new_memory: bool,
) -> None:
    """Check the whole log without any key."""
    from tools.verifying import parse_ledger_id, verify_archive, verify_store, view_checks
    from tools.wiring import accept_new_memory as accept

    if archive is not None and (views or accept_new_memory):
        raise InvalidInput("usage", "An archive has neither views nor this host's memory in it.")
    settings = run.settings()
    if accept_new_memory:
        accept(settings, run.standard_input, run.acting())
    pinned = None if ledger_id is None else parse_ledger_id(ledger_id)
    if archive is not None:
        report = verify_archive(settings, archive, (), pinned, jobs=jobs)
    else:
        report = verify_store(settings, pinned, jobs)
    if views and report.ok:
        with run.session(operator=False) as session:
            for name, ok, detail in view_checks(session):
                report.add(name, ok, detail)
    document = report.as_document()
    if run.json:
        run.print(document)
    else:
        _print_report(run, document)
    if not report.ok:
        context.exit(8)


@command(log, "events", example="credledger log events --after 4000 --limit 50")
@click.option("--after", type=click.IntRange(0), default=0, metavar="POSITION")
@click.option("--limit", type=click.IntRange(0), default=EVENTS_DEFAULT, help="0 is all.")
def events(run: Run, after: int, limit: int) -> None:
    """List events as they lie in the log: no content, no key."""
    from tools.event_list import event_rows

    run.print(event_rows(run.settings(), after, limit or None), EVENT_COLUMNS)


@command(log, "checkpoint", example="credledger log checkpoint --out head.txt")
@click.option("--out", metavar="FILE", help="Write the signed note there.")
def checkpoint(run: Run, out: str | None) -> None:
    """Print the newest signed head, to be kept or published elsewhere."""
    from tools.checkpoints import newest_checkpoint

    document = newest_checkpoint(run.settings())
    if out is not None:
        try:
            Path(out).write_text(str(document["note"]), encoding="utf-8")
        except OSError as error:
            raise Unavailable(
                "file-not-writable", "The checkpoint cannot be written there."
            ) from error
    if run.json:
        run.print(document)
    elif out is None:
        click.echo(document["note"], nl=False)


@command(
    log,
    "accept-rollback",
    example="credledger log accept-rollback --reason 'restored from backup' --yes",
    appends=True,
    destroys=True,
    answers='{"position", "fork", "abandoned_size", "revived": [{"slot", "label"}]}',
)
def accept_rollback(run: Run) -> None:
    """Go on from a store that is not the one this host remembers.

    The keyring may be any number of rotations ahead of it. Slots that were removed further on live
    again in this log, and are named.
    """
    from tools.wiring import accept_rollback as accept

    if not run.checked_reason():
        raise InvalidInput("reason-required", "Say why with --reason; it is recorded.")
    run.consent("Give up the part of the log that this host remembers and the store lacks?")
    document = accept(run.settings(), run.standard_input, run.acting())
    if run.json:
        run.print(document)
        return
    note_revived(document.pop("revived"))
    run.print(document)


def _print_report(run: Run, document: dict[str, object]) -> None:
    checks = document["checks"]
    assert isinstance(checks, list)
    run.print(checks, {"name": "Check", "ok": "Holds", "detail": "Detail"})
    facts = ("ok", "size", "root", "proven_to", "unanchored")
    run.print({name: document[name] for name in facts})
