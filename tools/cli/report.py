"""`credledger audit report`: one page for people."""

from __future__ import annotations

from functools import partial

import click

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
def report(
    run: Run,
    file: str,
    since: str | None,
    until: str | None,
    position: int | None,
    force: bool,
) -> None:
    """Write one page for people: accesses, refusals, exposure, changes, keys, backups.

    It fetches nothing, runs nothing, and prints. The log is checked first.
    """
    from tools.report.reports import write_report

    with run.asking() as session:
        record = partial(run.record, session, "report")
        document = write_report(session, record, file, (since, until, position), force=force)
    run.print(
        document, sentence=f"Wrote {document['path']}, up to position {document['position']}."
    )
