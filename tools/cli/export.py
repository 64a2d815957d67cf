"""`credledger audit export`: every row of the log given out, for a SIEM."""

from __future__ import annotations

from functools import partial

import click

from tools.cli.command import Run, command
from tools.cli.number import COUNT


@command(
    None,
    "export",
    example="credledger audit export --format ocsf --after 4711",
    asks=True,
    of_archives=True,
    answers='{"format", "rows", "unreadable", "position", "out"}, where --out is given',
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["ocsf", "jsonl"]),
    required=True,
    help="OCSF events, or the rows as they are.",
)
@click.option(
    "--after",
    type=COUNT,
    metavar="POSITION",
    help="Go on behind this row, the last one that was given.",
)
@click.option("--until", metavar="TIME")
@click.option("--limit", type=COUNT, default=0, help="0 is all, which is the default.")
@click.option(
    "--out", metavar="FILE", help="Write there; goes on behind the last row of a file that exists."
)
def export(
    run: Run, form: str, after: int | None, until: str | None, limit: int, out: str | None
) -> None:
    """Give every row of the log out, one line of JSON each, in order of position.

    Access and administration, for a SIEM. The last row's position is where to go on.
    """
    from tools.asking.exports import Asked, export_log
    from tools.showing.show import print_note

    with run.asking(partly=True) as session:
        asked = Asked(form, after, until, limit or None)
        document = export_log(session, partial(run.record, session, "export"), asked, out)
    rows, position = document["rows"], document["position"]
    counted = "1 row" if rows == 1 else f"{rows} rows"
    said = f"Exported {counted}, up to position {position}."
    if out is None:
        print_note(said if not rows else f"{said} Go on with --after {position}.")
    else:
        run.print(document, sentence=said)
