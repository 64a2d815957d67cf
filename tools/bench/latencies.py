"""How long audited reads take while nothing else happens, and while views are rebuilt.

Eight callers read without pause. Beside them all views are rebuilt again and again: by a thread
of the same process, which shares its interpreter, or by `credledger replay rebuild` in processes
of its own, one after the other, which is how people run it; and keys are rotated by `credledger
key rotate`, likewise. They are measured in turn, a few seconds each, several times over, so that a
noisy minute hits all of them; what is told are the middle ones of the rounds' 99th percentiles.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tools.bench.commands import finished
from tools.bench.figures import Fact, rounds
from tools.bench.grown import Grown, asking
from tools.wiring import Session

CALLERS = 8
_SECONDS = 2.0
_ROUNDS_SECONDS_MAX = 20.0
_ASKED = 1000
_ROTATE = ("key", "rotate", "--without-backup")
_SAME_PROCESS = "beside rebuilds in the same process"
_OWN_PROCESSES = "beside rebuilds in processes of their own"
_ROTATIONS = "beside rotations in processes of their own"
_TIMES_MAX = {_OWN_PROCESSES: 2.0, _ROTATIONS: 3.0}


def latency_facts(grown: Grown, runs: int) -> Iterator[Fact]:
    """The 99th percentile alone and beside rebuilds, in ms and by each other."""
    with grown.opened() as session:
        rebuilding: dict[str, Callable[[], object]] = {
            _SAME_PROCESS: session.views.rebuild,
            _OWN_PROCESSES: lambda: finished(("replay", "rebuild"), grown.environment),
            _ROTATIONS: lambda: finished(_ROTATE, grown.environment),
        }
        idle: list[float] = []
        busy: dict[str, list[float]] = {name: [] for name in rebuilding}
        _p99_ms(session)
        for _ in rounds(runs, _ROUNDS_SECONDS_MAX):
            idle.append(_p99_ms(session))
            for name, rebuild in rebuilding.items():
                with _again_and_again(rebuild):
                    busy[name].append(_p99_ms(session))
    engine, what, usual = grown.place.name, f"p99 of {CALLERS} readers", statistics.median(idle)
    yield Fact(engine, f"{what}, alone", usual, "ms")
    for name, found in busy.items():
        value = statistics.median(found)
        aim = _TIMES_MAX.get(name)
        yield Fact(engine, f"{what}, {name}", value, "ms")
        yield Fact(engine, f"{what}, {name}, by alone", value / usual, "x", aim=aim)


def read_until(session: Session, callers: int, seconds: float) -> list[float]:
    """Read without pause from so many callers; how long each read took, in seconds."""
    asked = [asking(mapping) for mapping in range(_ASKED)]
    took: list[float] = []
    ends = time.perf_counter() + seconds

    def read(first: int) -> None:
        number = first
        while (started := time.perf_counter()) < ends:
            session.ledger.retrieve(*asked[number % _ASKED])
            took.append(time.perf_counter() - started)
            number += callers

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(read, range(callers)))
    return took


def _p99_ms(session: Session) -> float:
    took = read_until(session, CALLERS, _SECONDS)
    return statistics.quantiles(took, n=100)[98] * 1000


@contextmanager
def _again_and_again(work: Callable[[], object]) -> Iterator[None]:
    """Do the work without pause beside whatever is inside the `with`; the last one is finished."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            work()

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(repeat)
        try:
            yield
        finally:
            stop.set()
        beside.result()
