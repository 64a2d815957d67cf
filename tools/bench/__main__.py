"""`make bench`: one table of the ledger beside the stock library and the bare floor.

Each work runs in turn for ours, stock and floor, several times over, so that a noisy minute hits
all three; the figures are medians with the spread beside them, and the ratios are what counts.
A history of the medians shows a regression against the runs before on this machine.
The method and its limits: docs/explanation/benchmark.md.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tools.bench.floor import Floor
from tools.bench.ours import Ours
from tools.bench.places import Place, PostgresqlPlace, SqlitePlace, embedded_postgresql
from tools.bench.stock import Stock

CALLERS = 64
_REGRESSION = 0.8
_BEFORE_MAX = 5
Work = Callable[[], int]


@dataclass
class Figure:
    """Rates of several runs of one work, per second."""

    rates: list[float] = field(default_factory=list)

    def measure(self, work: Work) -> None:
        """One more run; `work` returns how much it did."""
        started = time.perf_counter()
        done = work()
        self.rates.append(done / (time.perf_counter() - started))

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> str:
        """Smallest and largest."""
        return f"{min(self.rates):,.0f}-{max(self.rates):,.0f}"


@dataclass
class Line:
    """One work on one engine."""

    engine: str
    work: str
    figures: dict[str, Figure]
    """`ours`, and `stock` and `floor` where there are such."""
    targets: dict[str, float]
    """What ours should be of the others."""

    def ratio(self, other: str) -> float | None:
        """Ours by the other; above one is faster."""
        if other not in self.figures:
            return None
        return self.figures["ours"].median / self.figures[other].median

    def as_document(self) -> dict[str, Any]:
        """For the JSON file."""
        rates = {name: figure.rates for name, figure in self.figures.items()}
        ratios = {f"of_{name}": self.ratio(name) for name in ("stock", "floor")}
        return {"engine": self.engine, "work": self.work, "rates": rates, **ratios}


def lines(place: Place, runs: int) -> Iterator[Line]:
    """Measure all works on one engine."""
    floor, stock = Floor(place), Stock(place)
    ours = Ours(place)
    with ExitStack() as after:
        after.callback(ours.close)
        bare, _ = floor.replay()
        after.callback(bare.close)
        saved = after.enter_context(stock.replaying())
        works: list[tuple[str, dict[str, Work], dict[str, float]]] = [
            (
                f"durable single appends, {CALLERS} callers",
                {
                    "ours": lambda: ours.append(CALLERS),
                    "stock": lambda: stock.append(CALLERS),
                    "floor": floor.append,
                },
                {"stock": 5.0},
            ),
            (
                "events, 1000 a save",
                {"ours": ours.save, "stock": stock.save, "floor": floor.save},
                {"stock": 2.0, "floor": 0.5},
            ),
            (
                f"audited reads, {CALLERS} callers",
                {"ours": lambda: ours.read(CALLERS), "floor": floor.read_batch},
                {"floor": 0.6},
            ),
            (
                "events folded in a replay",
                {
                    "ours": ours.replay,
                    "stock": lambda: stock.replayed(saved),
                    "floor": lambda: floor.replayed(bare),
                },
                {"stock": 2.5, "floor": 0.6},
            ),
            ("events, all views rebuilt", {"ours": ours.rebuild}, {}),
        ]
        for name, sides, targets in works:
            figures = {side: Figure() for side in sides}
            for _ in range(runs):
                for side, work in sides.items():
                    figures[side].measure(work)
            yield Line(place.name, name, figures, targets)


def commands(runs: int) -> dict[str, float]:
    """Milliseconds until a command has printed its help, from a cold start; the median."""
    took = []
    for _ in range(runs + 2):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tools.cli.main", "--help"], check=True, capture_output=True
        )
        took.append((time.perf_counter() - started) * 1000)
    return {"credledger --help, ms": round(statistics.median(took), 1)}


def latencies(place: Place, seconds: float = 3.0) -> dict[str, float]:
    """The 99th percentile of audited reads from 8 callers, idle and during rebuilds, in ms."""
    ours = Ours(place)
    try:
        ours.read(CALLERS, 20_000)
        idle = ours.latencies_s(8, seconds, rebuilding=False)
        busy = ours.latencies_s(8, seconds, rebuilding=True)
    finally:
        ours.close()
    return {
        f"{place.name}: p99 of reads, idle, ms": _p99_ms(idle),
        f"{place.name}: p99 of reads during rebuilds, ms": _p99_ms(busy),
    }


def _p99_ms(took: list[float]) -> float:
    return round(statistics.quantiles(took, n=100)[98] * 1000, 1)


@contextmanager
def places(url: str | None) -> Iterator[list[Place]]:
    """SQLite, and PostgreSQL if there is one."""
    with ExitStack() as stack:
        found: list[Place] = [SqlitePlace()]
        server = url or stack.enter_context(embedded_postgresql())
        if server:
            found.append(PostgresqlPlace(server))
        for place in found:
            stack.callback(place.clean)
        yield found


def shown(found: list[Line]) -> Table:
    """The one table."""
    table = Table("Engine", "Work", "Ours/s", "Spread", "Stock/s", "Floor/s", "x stock", "x floor")
    for line in found:
        sides = [line.figures.get(side) for side in ("stock", "floor")]
        ratios = [_told(line, other) for other in ("stock", "floor")]
        ours = line.figures["ours"]
        rates = [f"{side.median:,.0f}" if side else "-" for side in sides]
        table.add_row(line.engine, line.work, f"{ours.median:,.0f}", ours.spread, *rates, *ratios)
    return table


def _told(line: Line, other: str) -> str:
    ratio, target = line.ratio(other), line.targets.get(other)
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" if target is None else f"{ratio:.2f} (aim {target:g})"


def regressions(history: Path, machine: str, found: list[Line]) -> list[str]:
    """Works whose ratio to the floor, or rate, fell well below the median of the runs before."""
    before: dict[tuple[str, str], list[float]] = {}
    if history.exists():
        for text in history.read_text(encoding="utf-8").splitlines()[-_BEFORE_MAX:]:
            run = json.loads(text)
            for line in run["lines"] if run["machine"] == machine else ():
                before.setdefault((line["engine"], line["work"]), []).append(_measure(line))
    slower = []
    for line in found:
        now, earlier = _measure(line.as_document()), before.get((line.engine, line.work))
        if earlier and now < _REGRESSION * statistics.median(earlier):
            fall = now / statistics.median(earlier)
            slower.append(f"{line.engine}: {line.work} fell to {fall:.2f} of the runs before")
    return slower


def _measure(document: dict[str, Any]) -> float:
    return float(document["of_floor"] or statistics.median(document["rates"]["ours"]))


@click.command()
@click.option("--runs", default=3, show_default=True, help="Runs of each work.")
@click.option("--store", metavar="URL", help="A PostgreSQL database; else one is started.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(".bench/latest.json"))
def main(runs: int, store: str | None, out: Path) -> None:
    """Measure, print one table, write JSON and the history."""
    machine = f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}"
    out.parent.mkdir(exist_ok=True, parents=True)
    with places(store) as found:
        engines = ", ".join(place.version() for place in found)
        measured = [line for place in found for line in lines(place, runs)]
        further = commands(runs)
        for place in found:
            further.update(latencies(place))
    names = ("cryptography", "eventsourcing", "msgpack", "psycopg")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    console = Console(width=140)
    console.print(f"{machine}; {engines}; {versions}; medians of {runs}")
    console.print(shown(measured))
    for name, value in further.items():
        console.print(f"{name}: {value:,.1f}")
    history = out.parent / "history.jsonl"
    for text in regressions(history, machine, measured):
        console.print(f"SLOWER: {text}")
    document = {
        "machine": machine,
        "engines": engines,
        "versions": versions,
        "lines": [line.as_document() for line in measured],
        "further": further,
    }
    out.write_text(json.dumps(document, indent=2), encoding="utf-8")
    with history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(document) + "\n")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
