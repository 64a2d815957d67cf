"""The stock `eventsourcing` library doing the same work: its application, mapper and AES cipher.

It saves domain events of the same size, sealed by its own cipher, through its own recorder, from as
many threads; and it replays them through its notification log and mapper.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from eventsourcing.application import Application
from eventsourcing.cipher import AESCipher
from eventsourcing.domain import Aggregate, event

from tools.bench.places import Place

_TEXT = "x" * 120


class Record(Aggregate):
    """An aggregate whose events are as large as an access record."""

    @event("Created")
    def __init__(self, text: str) -> None:
        self.text = text

    @event("Changed")
    def change(self, text: str) -> None:
        """One more event."""
        self.text = text


class Stock:
    """The library's works on one engine; each answers how many events it saved or replayed."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def append(self, callers: int, saves: int = 1000) -> int:
        """One event a save, from many threads."""
        with self._application() as application, ThreadPoolExecutor(callers) as pool:
            list(pool.map(lambda _: application.save(Record(_TEXT)), range(saves)))
        return saves

    def save(self, saves: int = 8) -> int:
        """A thousand events a save."""
        with self._application() as application:
            for _ in range(saves):
                record = Record(_TEXT)
                for _ in range(999):
                    record.change(_TEXT)
                application.save(record)
        return saves * 1000

    @contextmanager
    def replaying(self, events: int = 20_000) -> Iterator[Application[Any]]:
        """An application with so many events."""
        with self._application() as application:
            for _ in range(events // 1000):
                record = Record(_TEXT)
                for _ in range(999):
                    record.change(_TEXT)
                application.save(record)
            yield application

    def replayed(self, application: Application[Any]) -> int:
        """Every event selected, opened by the mapper and counted."""
        done, counted = 0, dict[str, int]()
        while page := application.recorder.select_notifications(done + 1, 1000):
            for notification in page:
                name = type(application.mapper.to_domain_event(notification)).__name__
                counted[name] = counted.get(name, 0) + 1
            done = page[-1].id
        return sum(counted.values())

    @contextmanager
    def _application(self) -> Iterator[Application[Any]]:
        environment = {
            **self._place.stock_environment(),
            "CIPHER_TOPIC": "eventsourcing.cipher:AESCipher",
            "CIPHER_KEY": AESCipher.create_key(32),
        }
        application: Application[Any] = Application(env=environment)
        try:
            yield application
        finally:
            application.close()
