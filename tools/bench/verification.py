"""How fast a log is checked without a key, by one process and by two.

In turn, several times over, because two processes on a busy machine are a matter of luck. What is
measured is the check itself, with the start of the processes that it shares its work with, and not
the start of the command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from statistics import median

from ledger.log.stretches import STRETCH_ROWS
from ledger.log.verification import verify_log
from tools.bench.figures import Fact
from tools.bench.grown import Grown
from tools.stores import store_of

_ROUNDS = 3
CHECKED = "rows checked without a key, one process"
_TWO = "rows checked without a key, two processes"
_ONE_MIN = 300_000.0
_TIME_MAX = 0.625
"""Of two processes by that of one: 1.6 times as fast."""


def verification_facts(grown: Grown) -> Iterator[Fact]:
    """Rows a second by one and by two, and what part of the one's time the two take.

    A log that is checked by one process whatever is asked for has the first figure only.
    """
    engine, size = grown.place.name, grown.size
    jobs = (1, 2) if size >= 2 * STRETCH_ROWS else (1,)
    rates: dict[int, list[float]] = {one: [] for one in jobs}
    for _ in range(_ROUNDS):
        for one in jobs:
            rates[one].append(_rate(grown, one))
    alone = median(rates[1])
    yield Fact(engine, CHECKED, alone, "/s", size, _ONE_MIN)
    if 2 in rates:
        both = median(rates[2])
        yield Fact(engine, _TWO, both, "/s", size)
        yield Fact(engine, f"{_TWO}, time by one's", alone / both, "x", size, _TIME_MAX)


def _rate(grown: Grown, jobs: int) -> float:
    reopen = partial(store_of, grown.settings)
    store = reopen()
    started = time.perf_counter()
    try:
        found = verify_log(store, jobs=jobs, reopen=reopen)
    finally:
        store.close()
    assert found.ok
    return found.size / (time.perf_counter() - started)
