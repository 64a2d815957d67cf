"""What a ledger takes at one length, and how that compares with a short one.

Every figure is of a ledger that nobody else uses, on a host that remembers it. Commands are whole
processes and unlock with a key file. Times are the middle ones of several; what goes through the
whole log is done once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from tools.bench.commands import Finished, finished, seconds_of
from tools.bench.figures import Fact, median_ms
from tools.bench.grown import MEASURED_ROWS, Grown
from tools.bench.population import FREQUENT, RARE
from tools.bench.verification import verification_facts
from tools.show import Progress
from tools.wiring import Session

_TIMES = 7
_PEAK_MIB_MAX = 300
_REBUILT_MIN = 60_000
_GET_MS_MAX = 300
_LATEST = "latest 100 accesses of a frequent user"
_LATEST_RARE = "all 3 accesses of a rare user"
_GET = "credential get, whole command"
_OPENED = "ledger opened and read once, in process"
_COMPARED = {_LATEST: 1.5, _LATEST_RARE: 1.5, _GET: 1.3, _OPENED: 1.3}
"""What is compared with the shortest log, and how many times as long it should take at most."""


def sizes_to(events: int) -> tuple[int, ...]:
    """Lengths to measure at: 10 thousand, tenfold each time, and the last one."""
    found, size = [], 10_000
    while size < events:
        found.append(size)
        size *= 10
    return (*found, events)


def at_size(grown: Grown, size: int, progress: Progress) -> Iterator[Fact]:
    """Grow to this length and measure everything there."""
    engine = grown.place.name

    def fact(name: str, value: float, unit: str, aim: float | None = None) -> Fact:
        return Fact(engine, name, value, unit, size, aim)

    yield fact(f"access records, {MEASURED_ROWS:,} a request", grown.grow(size, progress), "/s")
    with grown.opened() as session:
        yield fact(_LATEST, _latest_ms(session, FREQUENT), "ms")
        yield fact(_LATEST_RARE, _latest_ms(session, RARE), "ms")
    caller, application = grown.somebody
    get = ("credential", "get", application, "--as", str(caller.claim), "--json")
    environment = grown.environment
    yield fact(_GET, median_ms([lambda: seconds_of(get, environment)] * _TIMES), "ms", _GET_MS_MAX)
    yield fact(_OPENED, median_ms([lambda: _opened_s(grown)] * _TIMES), "ms")

    def run(*arguments: str) -> Finished:
        return finished((*arguments, "--json"), environment)

    verified = run("log", "verify")
    yield fact("rows checked by log verify", verified.document["size"] / verified.seconds, "/s")
    yield fact("log verify, peak memory", verified.peak_mib, "MiB", _PEAK_MIB_MAX)
    yield from verification_facts(grown)
    replayed = run("replay", "state", "--position", str(size))
    yield fact("replay state, peak memory", replayed.peak_mib, "MiB", _PEAK_MIB_MAX)
    rebuilt = run("replay", "rebuild")
    rate = rebuilt.document["events"] / rebuilt.document["seconds"]
    yield fact("events, all views rebuilt", rate, "/s", _REBUILT_MIN)
    yield fact("replay rebuild, peak memory", rebuilt.peak_mib, "MiB", _PEAK_MIB_MAX)
    yield fact("on disk", grown.bytes_on_disk / 2**20, "MiB")


def compared(facts: Sequence[Fact]) -> Iterator[Fact]:
    """How many times as long as at the shortest log, for what should not depend on its length."""
    for name, aim in _COMPARED.items():
        found = [fact for fact in facts if fact.name == name and fact.size is not None]
        for fact in found[1:]:
            times = fact.value / found[0].value
            yield Fact(fact.engine, f"{name}, by the shortest", times, "x", fact.size, aim)


def _latest_ms(session: Session, user: str) -> float:
    def ask() -> float:
        started = time.perf_counter()
        assert session.views.access(user=user, limit=100)
        return time.perf_counter() - started

    return median_ms([ask] * _TIMES)


def _opened_s(grown: Grown) -> float:
    caller, application = grown.somebody
    started = time.perf_counter()
    with grown.opened() as session:
        session.ledger.retrieve(caller, application)
        return time.perf_counter() - started
