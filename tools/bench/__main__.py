"""`make bench`: the ledger beside the stock library and the bare floor, and beside itself.

Each work runs in turn for ours, stock and floor, several times over, so that a noisy minute hits
all three; the figures are medians with the spread beside them, and the ratios are what counts.
Then a ledger of a short log is measured, and the same one when its log has grown long; and how
reads fare beside rebuilds and in several processes. A history of all of it shows a regression
against the runs before on this machine. The method and its limits: docs/explanation/benchmark.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from tools.bench.commands import help_fact
from tools.bench.figures import Fact
from tools.bench.floor_walks import walking_facts
from tools.bench.grown import Grown
from tools.bench.history import History
from tools.bench.latencies import latency_facts
from tools.bench.machine import machine, versions
from tools.bench.places import Place, places
from tools.bench.population import MAPPINGS_MAX
from tools.bench.readers import reader_facts
from tools.bench.recovery import recovery_facts, rotation_fact
from tools.bench.service import service_facts
from tools.bench.sizes import at_size, beside_short
from tools.bench.tables import facts_table, lines_table, sizes_table
from tools.bench.verification import signed_facts
from tools.bench.works import lines
from tools.processes.garbage import collect_seldom
from tools.showing.show import progress

_SHORT = 10_000
_SIGNED = 500_000
"""So long that the start of the processes that share a check counts for little."""
_BESIDE = 20_000
"""So short that rebuilds begin and end within a round; the reads themselves make it longer."""


@click.command()
@click.option("--runs", default=3, show_default=True, help="Runs of each work, and rounds of p99.")
@click.option(
    "--events",
    type=click.IntRange(2 * _SHORT),
    default=100_000,
    show_default=True,
    help="Length of the long log.",
)
@click.option("--store", metavar="URL", help="A PostgreSQL database; else one is started.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(".bench/latest.json"))
def main(runs: int, events: int, store: str | None, out: Path) -> None:
    """Measure, print tables, write JSON and the history."""
    collect_seldom()
    out.parent.mkdir(exist_ok=True, parents=True)
    with places(store) as found:
        engines = ", ".join(place.version() for place in found)
        measured = [line for place in found for line in lines(place, runs)]
        facts = [help_fact(runs)]
        for place in found:
            ours = [*_grown_facts(place, events), *_beside_facts(place, runs)]
            facts.extend((*ours, *walking_facts(place, ours)))
    console = Console(width=160)
    console.print(f"{machine()}; {engines}; {versions()}; medians of {runs}")
    for table in (lines_table(measured), sizes_table(facts), facts_table(facts)):
        console.print(table)
    document = {
        "machine": machine(),
        "engines": engines,
        "versions": versions(),
        "lines": [line.as_document() for line in measured],
        "facts": [fact.as_document() for fact in facts],
    }
    history = History(out.parent / "history.jsonl")
    for text in history.regressions(document):
        console.print(f"SLOWER: {text}")
    out.write_text(json.dumps(document, indent=2), encoding="utf-8")
    history.add(document)


def _grown_facts(place: Place, events: int) -> Iterator[Fact]:
    """One ledger with a short log and with a long one."""
    with (
        Grown(place) as grown,
        Grown(place) as short,
        progress(f"{place.name}: growing") as show,
    ):
        for size in (_SHORT, events):
            yield from at_size(grown, size, show)
        short.grow(_SHORT, show)
        yield from beside_short(short, grown)
        yield from recovery_facts(grown)
        yield from signed_facts(place, max(events, _SIGNED), show)


def _beside_facts(place: Place, runs: int) -> Iterator[Fact]:
    """Reads beside rebuilds and in several processes; a rotation, and reads over HTTP after it."""
    with Grown(place) as grown, progress(f"{place.name}: growing") as show:
        grown.grow(_BESIDE, show)
        yield from latency_facts(grown, runs)
        yield from reader_facts(grown)
    with Grown(place) as grown, progress(f"{place.name}: making mappings") as show:
        grown.equip(MAPPINGS_MAX, show)
        yield rotation_fact(grown)
        yield from service_facts(grown)


if __name__ == "__main__":
    main()
