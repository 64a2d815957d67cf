"""`credledger log`: the event log itself; most of it needs no keyring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ledger.errors import InvalidInput, Tampered
from tools.cli.anchor_options import anchor_options, given_anchors
from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import COUNT, NUMBER, Range
from tools.cli.revived import note_revived
from tools.cli.streams import ending_with
from tools.cli.witness import witness
from tools.exits import DONE, exit_code

EVENT_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "topic": "Topic",
    "stream": "Stream",
    "version": "Version",
    "epoch": "Epoch",
}
EVENTS_DEFAULT = 1000


def _handed_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--out` and `--force`: a file for others to read, in place of the terminal."""
    function = click.option("--force", is_flag=True, help="Replace a file that is there.")(function)
    return click.option(
        "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it to a new file."
    )(function)


@click.group(cls=Noun)
def log() -> None:
    """Check and list the event log."""


log.add_command(witness)


@command(
    log,
    "verify",
    example="credledger log verify --ledger-id 3f2a...",
    appends=True,
    answers='{"ok", "size", "root", "proven_to", "unanchored", "checks": [{"name", "ok",'
    ' "detail"}]}; with --anchors also "proven_until", "unanchored_rows" and "anchors": [{"size",'
    ' "root", "counted", "failed", "detail", "signatures": [{"kind", "name", "at", "verdict"}]}]',
)
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
@anchor_options
@click.option(
    "--jobs",
    type=Range(1, 256),
    metavar="N",
    help="By so many processes, if the log is long; as many as there are processors unless told.",
)
def verify(
    run: Run,
    archive: Path | None,
    ledger_id: str | None,
    jobs: int | None,
    views: bool,
    accept_new_memory: bool,
    anchors: tuple[str, ...],
    witness_keys: tuple[str, ...],
    roots: tuple[str, ...],
) -> None:
    """Check the whole log without any key.

    With --anchors, `proven_to` is how far the newest anchor that counts proves the log; the rows
    after it are told as its unanchored tail.
    """
    from tools.evidence.verifying import parse_ledger_id, verify_archive, verify_store, view_checks
    from tools.wiring import accept_new_memory as accept

    if archive is not None and (views or accept_new_memory):
        raise InvalidInput("usage", "An archive has neither views nor this host's memory in it.")
    settings = run.settings()
    given = given_anchors(run, anchors, witness_keys, roots)
    if accept_new_memory:
        accept(settings, run.standard_input, run.acting())
    pinned = None if ledger_id is None else parse_ledger_id(ledger_id)
    if archive is not None:
        report = verify_archive(settings, archive, (), pinned, anchors=given, jobs=jobs)
    else:
        report = verify_store(settings, pinned, given, jobs)
    if views and report.ok:
        with run.session(operator=False) as session:
            for name, ok, detail in view_checks(session):
                report.add(name, ok, detail)
    document = report.as_document()
    with ending_with(DONE if report.ok else exit_code(Tampered.family)):
        if run.json:
            run.print(document)
        else:
            _print_report(run, document)


@command(
    log,
    "events",
    example="credledger log events --after 4000 --limit 50",
    answers='[{"position", "stream", "version", "topic", "epoch", "recorded_at"}]',
)
@click.option("--after", type=COUNT, default=0, metavar="POSITION")
@click.option("--limit", type=COUNT, default=EVENTS_DEFAULT, help="0 is all.")
def events(run: Run, after: int, limit: int) -> None:
    """List events as they lie in the log: no content, no key."""
    from tools.evidence.event_list import event_rows

    run.print(event_rows(run.settings(), after, limit or None), EVENT_COLUMNS)


@command(
    log,
    "checkpoint",
    example="credledger log checkpoint --out head.txt",
    answers='{"size", "root", "note"}',
)
@_handed_out
def checkpoint(run: Run, out: Path | None, *, force: bool) -> None:
    """Print the newest signed head, to be kept or published elsewhere."""
    from tools.evidence.checkpoints import newest_checkpoint
    from tools.evidence.handed_out import write_handed_out

    document = newest_checkpoint(run.settings())
    if out is not None:
        write_handed_out(out, str(document["note"]), force=force)
    if run.json:
        run.print(document)
    elif out is None:
        click.echo(document["note"], nl=False)


@command(
    log,
    "proof",
    example="credledger log proof 4711 --out proof.json",
    answers="the proof itself (docs/reference/proof-format.md); with --check"
    ' {"ok", "ledger_id", "pinned", "position", "topic", "recorded_at", "sealed_sha256", "size",'
    ' "root", "signer", "signer_class"}, or "from_size" and "from_root" in place of the row',
)
@click.argument("position", required=False, type=NUMBER)
@click.option("--size", type=NUMBER, metavar="SIZE", help="Prove it in the log of this size.")
@click.option(
    "--from", "first", type=NUMBER, metavar="SIZE", help="Prove that the log grew from this."
)
@click.option("--to", "second", type=NUMBER, metavar="SIZE", help="Up to this size.")
@_handed_out
@click.option("--check", metavar="FILE|-", help="Check a proof instead, without any store.")
@click.option("--ledger-id", metavar="ID", help="The pinned ledger id, in hex.")
def proof(
    run: Run,
    position: int | None,
    size: int | None,
    first: int | None,
    second: int | None,
    out: Path | None,
    check: str | None,
    ledger_id: str | None,
    *,
    force: bool,
) -> None:
    """Prove to anybody that a row was recorded, or that the log only grew.

    POSITION is proven to be in the newest log that an operator signed for, or in that of --size.
    With --from, the newer signed log is proven to begin with the older one. The proof is one JSON
    document, which --check checks on any machine.
    """
    from tools.evidence.handed_out import write_handed_out
    from tools.evidence.proof_checking import check_proof
    from tools.evidence.proving import prove_growth, prove_row
    from tools.evidence.verifying import parse_ledger_id
    from tools.showing.show import json_text, print_json, print_note

    if [position, first, check].count(None) != 2:
        raise InvalidInput("usage", "Give a POSITION, or --from, or --check.")
    misplaced = (size and not position, second and not first, out and check, force and not out)
    if any(misplaced):
        raise InvalidInput(
            "usage", "--size is for a POSITION, --to for --from, --out for both, --force for --out."
        )
    pinned = None if ledger_id is None else parse_ledger_id(ledger_id)
    if check is not None:
        run.print(check_proof(check, run.standard_input, pinned))
        if pinned is None:
            print_note("Compare the ledger id with the one that init printed, or give --ledger-id.")
        return
    if first is not None:
        made = prove_growth(run.settings(), first, second, pinned)
    else:
        assert position is not None
        made = prove_row(run.settings(), position, size, pinned)
    if out is not None:
        write_handed_out(out, json_text(made.as_document()), force=force)
    if out is None or run.json:
        print_json(made.as_document())


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
    facts = ("ok", "size", "root", "proven_to", "proven_until", "unanchored_rows")
    told = {name: document[name] for name in facts if name in document}
    # Whether there are unanchored rows is another question than whether anything outside was asked.
    run.print({**told, "held_against_something_outside": not document["unanchored"]})
