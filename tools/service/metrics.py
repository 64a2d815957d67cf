"""What is counted and measured, for Prometheus.

Labels are operations, statuses and codes, which are few; no name of anybody or anything is one.
Positions, views and epochs are looked up when they are asked for.

What is counted for each request is counted in plain numbers by the event loop alone, and becomes
a metric when somebody asks: with a lock for each number it would cost more than half a read's
decision.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ledger.errors import LedgerError
from tools.service import counter as counters
from tools.service.tally import Tally

_LATENCIES_S = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
_BECAME = ("issued", "not-issued", "redeemed", "refused", "lapsed")
"""Of tickets; `refused` is any attempt that was recorded and got nothing."""
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Sealed(Protocol):
    """What keeps the ledger shut until it is unlocked."""

    @property
    def counter(self) -> counters.Counter:
        """Where the open ledger is asked; `sealed`."""
        ...


class Dropping(Protocol):
    """What drops lines rather than wait for their reader."""

    @property
    def dropped(self) -> int:
        """How many so far."""
        ...


class Fronting(Protocol):
    """What starts front processes, and starts them again."""

    @property
    def count(self) -> int:
        """As many as there should be."""
        ...

    @property
    def living(self) -> int:
        """How many there are that answer."""
        ...

    @property
    def ended(self) -> int:
        """How many ended by themselves, or did not start."""
        ...


class Metrics:
    """The service's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answered = _Answered()
        self.registry.register(self._answered)
        self.tickets = self._tally("tickets", "What became of tickets.", "became", _BECAME)
        self._turned_away = self._tally(
            "front_turned_away",
            "Requests that a front answered 503 by itself, as one too many.",
            "front",
        )
        self._batches = Histogram(
            "credledger_commit_requests",
            "Requests that shared a commit.",
            buckets=_BATCHES,
            registry=self.registry,
        )
        self._commits = Histogram(
            "credledger_commit_seconds",
            "From the wait for the lock to a durable commit.",
            buckets=_LATENCIES_S,
            registry=self.registry,
        )

    def answered(self, operation: str, status: int, code: str, seconds: float) -> None:
        """One request; from the event loop only."""
        self._answered.count(operation, status, code, seconds)

    def turned_away(self, front: int, count: int) -> None:
        """As many more as a front says; from the event loop only."""
        self._turned_away.count(str(front), count)

    @contextmanager
    def watch(self, requests: int) -> Iterator[None]:
        """One commit, which these many requests share."""
        started = time.perf_counter()
        yield
        self._batches.observe(requests)
        self._commits.observe(time.perf_counter() - started)

    def look_at(self, seal: Sealed, log: Dropping) -> None:
        """Tell of the ledger as well, once it is open, and of the log's lines."""
        self.registry.register(_LogLooks(log))
        self.registry.register(_LedgerLooks(seal))

    def look_at_fronts(self, fronts: Fronting) -> None:
        """Tell of the front processes as well."""
        self.registry.register(_FrontLooks(fronts))

    def _tally(
        self, name: str, documentation: str, label: str, kinds: tuple[str, ...] = ()
    ) -> Tally:
        tally = Tally(kinds)
        self.registry.register(_Tallied(f"credledger_{name}", documentation, label, tally))
        return tally


class _Answered(Collector):
    """Requests that were answered, and how long they took."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int, str], int] = {}
        self._durations: dict[str, _Durations] = {}

    def count(self, operation: str, status: int, code: str, seconds: float) -> None:
        """One of them."""
        key = operation, status, code
        self._counts[key] = self._counts.get(key, 0) + 1
        durations = self._durations.get(operation)
        if durations is None:
            durations = self._durations[operation] = _Durations()
        durations.count(seconds)

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """All of them so far; in another thread, so of copies."""
        requests = CounterMetricFamily(
            "credledger_requests", "Requests answered.", labels=["operation", "status", "code"]
        )
        for (operation, status, code), count in self._counts.copy().items():
            requests.add_metric((operation, str(status), code), count)
        seconds = HistogramMetricFamily(
            "credledger_request_seconds",
            "From the head of a request to its answer.",
            labels=["operation"],
        )
        for operation, durations in self._durations.copy().items():
            seconds.add_metric((operation,), *durations.told())
        return requests, seconds


class _Tallied(Collector):
    """A tally as one counter, with the kind as its label."""

    def __init__(self, name: str, documentation: str, label: str, tally: Tally) -> None:
        self._told = name, documentation, label
        self._tally = tally

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The counter."""
        name, documentation, label = self._told
        counter = CounterMetricFamily(name, documentation, labels=[label])
        for kind, count in self._tally.told().items():
            counter.add_metric((kind,), count)
        return [counter]


class _Durations:
    """A histogram of `_LATENCIES_S`."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_LATENCIES_S) + 1)
        self._sum = 0.0

    def count(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(_LATENCIES_S, seconds)] += 1
        self._sum += seconds

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """How many took up to each bound, and the sum of all."""
        bounds = (*map(str, _LATENCIES_S), "+Inf")
        return list(zip(bounds, accumulate(self._counts.copy()), strict=True)), self._sum


class _LogLooks(Collector):
    """What became of the service's own log."""

    def __init__(self, log: Dropping) -> None:
        self._log = log

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The counter."""
        dropped = CounterMetricFamily(
            "credledger_log_lines_dropped", "Lines of the log that its reader did not take."
        )
        dropped.add_metric((), self._log.dropped)
        return [dropped]


class _FrontLooks(Collector):
    """How many front processes answer."""

    def __init__(self, fronts: Fronting) -> None:
        self._fronts = fronts

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Those that do, those that should, and those that ended."""
        living = GaugeMetricFamily("credledger_fronts", "Front processes that answer.")
        living.add_metric((), self._fronts.living)
        wanted = GaugeMetricFamily("credledger_fronts_wanted", "Front processes that should.")
        wanted.add_metric((), self._fronts.count)
        ended = CounterMetricFamily(
            "credledger_fronts_ended", "Front processes that ended by themselves, or did not start."
        )
        ended.add_metric((), self._fronts.ended)
        return living, wanted, ended


class _LedgerLooks(Collector):
    """Where the ledger stands, when somebody asks."""

    def __init__(self, seal: Sealed) -> None:
        self._seal = seal

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """What there is; of a sealed or failing ledger that it is so."""
        sealed = GaugeMetricFamily("credledger_sealed", "1 while nobody has unlocked the ledger.")
        try:
            counter = self._seal.counter
        except LedgerError:
            sealed.add_metric((), 1)
            return [sealed]
        sealed.add_metric((), 0)
        return [sealed, _tokens_shown(counter), _keys_fetched(counter), *_gauges(counter)]


def _tokens_shown(counter: counters.Counter) -> CounterMetricFamily:
    shown = CounterMetricFamily(
        "credledger_tokens_shown", "Tokens that were shown.", labels=["found"]
    )
    for found, count in msgspec.structs.asdict(counter.verifier.shown).items():
        shown.add_metric((found,), count)
    return shown


def _keys_fetched(counter: counters.Counter) -> CounterMetricFamily:
    fetches = CounterMetricFamily(
        "credledger_key_fetches", "Questions to issuers for their keys.", labels=["became"]
    )
    for became, count in msgspec.structs.asdict(counter.verifier.fetched).items():
        fetches.add_metric((became,), count)
    return fetches


def _gauges(counter: counters.Counter) -> Iterator[GaugeMetricFamily]:
    up = GaugeMetricFamily("credledger_store_up", "1 if the store could be read just now.")
    try:
        status, views = counter.ledger.status(), counter.session.views.status()
        history = counter.ledger.key_history()
    except LedgerError:
        up.add_metric((), 0)
        yield up
        return
    up.add_metric((), 1)
    yield up
    position = GaugeMetricFamily("credledger_position", "Length of the log.")
    position.add_metric((), status.position)
    yield position
    lag = GaugeMetricFamily(
        "credledger_view_lag", "Events that a view has not taken in yet.", labels=["view"]
    )
    for view in views:
        behind = status.position - int(str(view["position"]))
        lag.add_metric((str(view["name"]),), max(0, behind))
    yield lag
    known = GaugeMetricFamily(
        "credledger_tokens_known", "Tokens that were verified and need not be again."
    )
    known.add_metric((), counter.verifier.known_count)
    yield known
    age = GaugeMetricFamily("credledger_epoch_age_seconds", "Since the keys' epoch was started.")
    began = history.started_at.get(history.current, 0)
    age.add_metric((), max(0.0, time.time() - began / 1_000_000))
    yield age
