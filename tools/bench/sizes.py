"""What a ledger takes at one length, and how that compares with a short one.

Every figure is of a ledger that nobody else uses, on a host that remembers it. Commands are whole
processes and unlock with a key file. Times are the middle ones of several; what goes through the
whole log is done once.

How many times as long something takes as on a short log is told by a short one that is kept beside
the long one, both asked in turn: between one length and the next lie minutes, in which a shared
machine may have become another.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from tools.asking.who_can import OpenApplications, Wanted, pages
from tools.bench.commands import Finished, finished, seconds_of
from tools.bench.figures import Fact, median_ms
from tools.bench.grown import MEASURED_ROWS, Grown
from tools.bench.population import FREQUENT, OWNERS_OF_FIRST, RARE, application_name
from tools.bench.proofs import proof_facts
from tools.bench.rechecks import recheck_facts
from tools.bench.verification import verification_facts
from tools.showing.show import Progress
from tools.wiring import Session

_TIMES = 7
_PEAK_MIB_MAX = 300
_REBUILT_MIN = 60_000
_GET_MS_MAX = 300
REBUILT = "events, all views rebuilt"
_LATEST = "latest 100 accesses of a frequent user"
_LATEST_RARE = "all 3 accesses of a rare user"
_EXPOSURE = "exposure of a frequent user"
_WHO_CAN = "who can read one application, of 200 owners"
_QUESTION_MS_MAX = 100
_GET = "credential get, whole command"
_OPENED = "ledger opened and read once, in process"
_LATEST_TIMES_MAX, _OPENED_TIMES_MAX = 1.5, 1.3
Timed = Callable[[], float]
"""How many seconds something took."""


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

    together = min(MEASURED_ROWS, grown.rows_a_commit)
    yield fact(f"access records, {together:,} a request", grown.grow(size, progress), "/s")
    with grown.opened() as session:
        for name, user in ((_LATEST, FREQUENT), (_LATEST_RARE, RARE)):
            yield fact(name, median_ms([_latest(session, user)] * _TIMES), "ms")
        yield fact(_EXPOSURE, median_ms([_exposure(session)] * _TIMES), "ms", _QUESTION_MS_MAX)
        yield fact(_WHO_CAN, median_ms([_who_can(session)] * _TIMES), "ms", _QUESTION_MS_MAX)
    environment = grown.environment
    yield fact(_GET, median_ms([_get(grown)] * _TIMES), "ms", _GET_MS_MAX)
    yield fact(_OPENED, median_ms([_opened(grown)] * _TIMES), "ms")

    def run(*arguments: str) -> Finished:
        return finished((*arguments, "--json"), environment)

    yield from proof_facts(grown, size)
    verified = run("log", "verify")
    yield fact("rows checked by log verify", verified.document["size"] / verified.seconds, "/s")
    yield fact("log verify, peak memory", verified.peak_mib, "MiB", _PEAK_MIB_MAX)
    yield from verification_facts(grown)
    yield from recheck_facts(grown)
    replayed = run("replay", "state", "--position", str(size))
    yield fact("replay state, peak memory", replayed.peak_mib, "MiB", _PEAK_MIB_MAX)
    rebuilt = run("replay", "rebuild")
    rate = rebuilt.document["events"] / rebuilt.document["seconds"]
    yield fact(REBUILT, rate, "/s", _REBUILT_MIN)
    yield fact("replay rebuild, peak memory", rebuilt.peak_mib, "MiB", _PEAK_MIB_MAX)
    yield fact("on disk", grown.bytes_on_disk / 2**20, "MiB")


def short_of(sizes: Sequence[int], wanted: int) -> int:
    """How long the short log is that longer ones stand beside: as wanted, or the first length."""
    return wanted if wanted < max(sizes) else sizes[0]


def beside_short(short: Grown, long: Grown) -> Iterator[Fact]:
    """How many times as long as on the short log, for what should not depend on its length."""
    told = f"by a short one of {short.size:,}"

    def fact(name: str, times: float, aim: float) -> Fact:
        return Fact(long.place.name, f"{name}, {told}", times, "x", long.size, aim)

    with short.opened() as one, long.opened() as other:
        for name, user in ((_LATEST, FREQUENT), (_LATEST_RARE, RARE)):
            times = times_as_long(_latest(one, user), _latest(other, user))
            yield fact(name, times, _LATEST_TIMES_MAX)
    for name, timed in ((_GET, _get), (_OPENED, _opened)):
        yield fact(name, times_as_long(timed(short), timed(long)), _OPENED_TIMES_MAX)


def times_as_long(short: Timed, long: Timed) -> float:
    """The middle of several times, each taken in turn with the other's, by the other's middle."""
    taken = [(short(), long()) for _ in range(_TIMES)]
    of_short, of_long = zip(*taken, strict=True)
    return float(statistics.median(of_long) / statistics.median(of_short))


def _latest(session: Session, user: str) -> Timed:
    def ask() -> float:
        started = time.perf_counter()
        assert session.views.accesses.newest(user=user, limit=100)
        return time.perf_counter() - started

    return ask


def _exposure(session: Session) -> Timed:
    def ask() -> float:
        started = time.perf_counter()
        (line,) = session.views.exposure(FREQUENT)
        assert line["times"] > 1
        return time.perf_counter() - started

    return ask


def _who_can(session: Session) -> Timed:
    # One of the ten applications that have their two hundred owners at every length.
    wanted = Wanted(application_name(1))

    def ask() -> float:
        started = time.perf_counter()
        (page,) = pages(session, wanted, OpenApplications())
        assert len(page.rows) == OWNERS_OF_FIRST
        return time.perf_counter() - started

    return ask


def _get(grown: Grown) -> Timed:
    caller, application = grown.somebody
    command = ("credential", "get", application, "--as", str(caller.claim), "--json")
    return lambda: seconds_of(command, grown.environment)


def _opened(grown: Grown) -> Timed:
    def open_and_read() -> float:
        caller, application = grown.somebody
        started = time.perf_counter()
        with grown.opened() as session:
            session.ledger.retrieve(caller, application)
            return time.perf_counter() - started

    return open_and_read
