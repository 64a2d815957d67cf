"""How fast accesses are decided again, by one process and by two.

In turn, several times over, as checks without a key are (`tools.bench.verification`). What is
measured is the deciding itself in an open ledger, with the start of the processes that share it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from projections.redecide import redecide
from projections.redeciding import STRETCH_ROWS
from tools.bench.figures import Fact
from tools.bench.grown import Grown
from tools.rechecking import redecide_together
from tools.show import progress
from tools.wiring import Session

_ROUNDS = 3
_STRETCHES_MIN = 4
_ONE = "accesses decided again, one process"
_TWO = "accesses decided again, two processes"
_ONE_MIN = 100_000.0


def recheck_facts(grown: Grown) -> Iterator[Fact]:
    """Accesses a second by one and by two, and what part of the one's time the two take.

    The two are asked where the log is long enough to be shared, though the command would leave a
    log of this length to one.
    """
    engine, size = grown.place.name, grown.size
    jobs = (1, 2) if size >= _STRETCHES_MIN * STRETCH_ROWS else (1,)
    rates: dict[int, list[float]] = {one: [] for one in jobs}
    with grown.opened() as session:
        for _ in range(_ROUNDS):
            for one in jobs:
                rates[one].append(_rate(session, one))
    alone = median(rates[1])
    yield Fact(engine, _ONE, alone, "/s", size, _ONE_MIN)
    if 2 in rates:
        both = median(rates[2])
        yield Fact(engine, _TWO, both, "/s", size)
        yield Fact(engine, f"{_TWO}, time by one's", alone / both, "x", size)


def _rate(session: Session, jobs: int) -> float:
    started = time.perf_counter()
    if jobs == 1:
        found = redecide(session.store, session.mapper)
    else:
        with progress("Deciding again") as show:
            together = redecide_together(session, jobs, show)
        assert together is not None
        found = together.as_document()
    seconds = time.perf_counter() - started
    assert not found["wrong"]
    assert not found["unreadable"]
    return int(found["checked"]) / seconds
