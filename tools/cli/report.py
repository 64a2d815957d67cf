"""`credledger audit report`: one page for people."""

from __future__ import annotations

from functools import partial

import click

from tools.cli.anchor_options import anchor_options, given_anchors
from tools.cli.command import Run, command
from tools.cli.moment import within


@command(
    None,
    "report",
    example="credledger audit report november.html --since 2026-11-01 --until 2026-12-01",
    asks=True,
    of_archives=True,
    answers='{"path", "position", "rows", "bytes"}',
)
@click.argument("file", metavar="FILE.html")
@within
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@anchor_options
def report(
    run: Run,
    file: str,
    since: str | None,
    until: str | None,
    position: int | None,
    force: bool,
    anchors: tuple[str, ...],
    witness_keys: tuple[str, ...],
    roots: tuple[str, ...],
) -> None:
    """Write one page for people: accesses, refusals, exposure, changes, keys, backups.

    It fetches nothing, runs nothing, and prints. The log is checked first, with --anchors against
    these too, and the page tells how far it is proven.
    """
    from tools.report.reports import write_report

    given = given_anchors(run, anchors, witness_keys, roots)
    with run.asking() as session:
        record = partial(run.record, session, "report")
        document = write_report(session, record, file, (since, until, position), given, force=force)
    run.print(
        document, sentence=f"Wrote {document['path']}, up to position {document['position']}."
    )
