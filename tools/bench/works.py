"""The works that ours, stock and floor do in turn, several times over.

A noisy minute then hits all three; the figures are medians with the spread beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tools.bench.figures import Figure, Line, Work, rounds
from tools.bench.floor import Floor
from tools.bench.ours import Ours
from tools.bench.places import Place
from tools.bench.stock import Stock

CALLERS = 64
_SECONDS_MAX = 10.0
"""On a slow machine there are fewer runs of a work, so that the whole still ends soon."""


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
                f"audited reads, {CALLERS} threads",
                {"ours": lambda: ours.read_by_threads(CALLERS), "floor": floor.read_batch},
                {},
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
        ]
        for name, sides, targets in works:
            figures = {side: Figure() for side in sides}
            for _ in rounds(runs, _SECONDS_MAX):
                for side, work in sides.items():
                    figures[side].measure(work)
            yield Line(place.name, name, figures, targets)
