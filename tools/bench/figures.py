"""Figures: how often a work was done in a second, beside the others that do the same work.

A *line* is one work on one engine, done in turn by ours, stock and floor; what counts are the
ratios. A *fact* is one number that stands for itself, at some size of the log where that matters.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

Work = Callable[[], int]


class Figure(msgspec.Struct):
    """Rates of several runs of one work, per second."""

    rates: list[float] = msgspec.field(default_factory=list)

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


class Line(msgspec.Struct):
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


class Fact(msgspec.Struct, frozen=True):
    """One number that stands for itself."""

    engine: str
    name: str
    value: float
    unit: str
    """`/s`, of which more is better; or `ms`, `MiB` or `x` (times as much), of which less is."""
    size: int | None = None
    """The events in the log, where the number depends on them."""
    aim: float | None = None
    """What it should come to: at least this of what more is better, else at most."""

    @property
    def more_is_better(self) -> bool:
        """Whether a greater number is the better one."""
        return self.unit == "/s"

    @property
    def told_aim(self) -> str:
        """The aim for people."""
        if self.aim is None:
            return ""
        return f"{'at least' if self.more_is_better else 'at most'} {self.aim:,g}"

    def as_document(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "engine": self.engine,
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "size": self.size,
            "aim": self.aim,
        }


def rounds(wanted: int, seconds_max: float) -> Iterator[int]:
    """Numbers of rounds; no further one begins once so many seconds have passed."""
    ends = time.perf_counter() + seconds_max
    for number in range(wanted):
        if number and time.perf_counter() > ends:
            return
        yield number


def median_ms(works: Iterable[Callable[[], float]]) -> float:
    """The middle one of times that each work answers in seconds, in milliseconds."""
    return statistics.median(work() for work in works) * 1000
