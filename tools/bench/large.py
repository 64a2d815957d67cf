"""`make bench-large`: one ledger on each engine, measured as it grows to ten million events.

    10 thousand ─▶ 100 thousand ─▶ 1 million ─▶ 10 million

Ten applications at first and ten thousand from a million events on; a tenth of the events are
mappings, up to a hundred thousand; all others are access records. Nothing is compared with stock
or floor here: what counts is that a long log costs no more than a short one where it should not,
and in proportion where it must. A log is long once it is longer than the short one kept beside it
(`--short`). With `--beside-short` only the first is looked at, and only at the end: a
log of ten million events is checked, rebuilt and archived in hours, and asked in milliseconds.
The method and its limits: docs/explanation/benchmark.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from tools.bench.figures import Fact
from tools.bench.grown import GROWING_ROWS, Grown
from tools.bench.machine import machine, versions
from tools.bench.places import PostgresqlPlace, SqlitePlace, places
from tools.bench.population import mappings_at
from tools.bench.service import service_facts
from tools.bench.sizes import at_size, beside_short, short_of, sizes_to
from tools.bench.tables import sizes_table
from tools.processes.garbage import collect_seldom
from tools.showing.show import progress

_ENGINES = (SqlitePlace.name, PostgresqlPlace.name)


@click.command()
@click.option(
    "--events",
    type=click.IntRange(10_000),
    default=10_000_000,
    show_default=True,
    help="Length that the log grows to.",
)
@click.option(
    "--beside-short",
    "only_beside",
    is_flag=True,
    help="Only what a long log should take no longer for, at the end.",
)
@click.option(
    "--short",
    "wanted_short",
    type=click.IntRange(10_000),
    default=100_000,
    show_default=True,
    help="Length of the short log that longer ones stand beside.",
)
@click.option(
    "--rows-a-commit",
    type=click.IntRange(1, GROWING_ROWS),
    default=GROWING_ROWS,
    show_default=True,
    help="At most; the aim of checking without a key is meant for 128.",
)
@click.option("--engine", type=click.Choice(_ENGINES, case_sensitive=False), help="Only this one.")
@click.option("--store", metavar="URL", help="A PostgreSQL database; else one is started.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(".bench/large.json"))
def main(
    events: int,
    only_beside: bool,
    wanted_short: int,
    rows_a_commit: int,
    engine: str | None,
    store: str | None,
    out: Path,
) -> None:
    """Measure, print one table, write JSON."""
    collect_seldom()
    out.parent.mkdir(exist_ok=True, parents=True)
    sizes = sizes_to(events)
    facts: list[Fact] = []
    with places(store, engine) as found:
        engines = ", ".join(place.version() for place in found)
        for place in found:
            here: list[Fact] = []
            with Grown(place, rows_a_commit) as grown, Grown(place, rows_a_commit) as short:
                for size in sizes:
                    with progress(f"{place.name}: to {size:,} events") as show:
                        if not short.size:
                            short.grow(short_of(sizes, wanted_short), show)
                        if not only_beside:
                            here.extend(at_size(grown, size, show))
                        elif size == events:
                            grown.grow(size, show)
                        if grown.size > short.size:
                            here.extend(beside_short(short, grown))
                    _write(out, engines, [*facts, *here])
                if not only_beside:
                    here.extend(service_facts(grown, mappings_at(events), events))
            facts.extend(here)
            place.clean()
    _write(out, engines, facts)
    console = Console(width=160)
    console.print(f"{machine()}; {engines}; {versions()}")
    console.print(sizes_table(facts))


def _write(out: Path, engines: str, facts: Sequence[Fact]) -> None:
    """What is measured so far, so that a run that is ended early leaves something."""
    document = {
        "machine": machine(),
        "engines": engines,
        "versions": versions(),
        "facts": [fact.as_document() for fact in facts],
    }
    out.write_text(json.dumps(document, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
