"""What is counted and measured, for Prometheus.

Labels are operations, statuses and codes, which are few; no name of anybody or anything is one.
Positions, views and epochs are looked up when they are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ledger.errors import LedgerError
from tools.service import counter as counters

_LATENCIES_S = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Sealed(Protocol):
    """What keeps the ledger shut until it is unlocked."""

    @property
    def counter(self) -> counters.Counter:
        """Where the open ledger is asked; `sealed`."""
        ...


class Metrics:
    """The service's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "credledger_requests",
            "Requests answered.",
            ["operation", "status", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "credledger_request_seconds",
            "From the head of a request to its answer.",
            ["operation"],
            buckets=_LATENCIES_S,
            registry=self.registry,
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
        """One request."""
        self._requests.labels(operation, status, code).inc()
        self._seconds.labels(operation).observe(seconds)

    @contextmanager
    def watch(self, requests: int) -> Iterator[None]:
        """One commit, which these many requests share."""
        started = time.perf_counter()
        yield
        self._batches.observe(requests)
        self._commits.observe(time.perf_counter() - started)

    def look_at(self, seal: Sealed) -> None:
        """Tell of the ledger as well, once it is open."""
        self.registry.register(_LedgerLooks(seal))


class _LedgerLooks(Collector):
    """Where the ledger stands, when somebody asks."""

    def __init__(self, seal: Sealed) -> None:
        self._seal = seal

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges; of a sealed or failing ledger that it is so."""
        sealed = GaugeMetricFamily("credledger_sealed", "1 while nobody has unlocked the ledger.")
        try:
            counter = self._seal.counter
        except LedgerError:
            sealed.add_metric((), 1)
            return [sealed]
        sealed.add_metric((), 0)
        return [sealed, *_gauges(counter)]


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
    age = GaugeMetricFamily("credledger_epoch_age_seconds", "Since the keys' epoch was started.")
    began = history.started_at.get(history.current, 0)
    age.add_metric((), max(0.0, time.time() - began / 1_000_000))
    yield age
