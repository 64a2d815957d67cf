"""A ledger that grows to given lengths, mostly by access records, as ledgers do.

Everything goes through the ledger's own writer with everything on: sealing, tree, signature, five
views, the host's memory. Applications and mappings are made by the use cases that make them;
access records are appended as real reads would leave them, many to a request, so that every
row must be opened and folded by whoever rebuilds the views. How many rows a commit may have at most
can be said, because whoever checks the log checks one signature a commit.

A key file unlocks, so that commands on this ledger spend no time on a passphrase.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from ledger.aggregates.access import Access
from ledger.claims import parse_claim
from ledger.log.transaction import Transaction
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import IMPORT_BATCH_MAX, ImportItem
from ledger.usecases.desk import Desk
from ledger.usecases.ledger import Ledger
from ledger.values import FieldValue
from tools.bench.places import Place
from tools.bench.population import (
    FIELDS,
    Attempts,
    application_name,
    application_of,
    mappings_at,
    owner_name,
)
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.showing.show import Progress
from tools.wiring import Session, found, open_session

MEASURED_ROWS = 1000
"""Records in a request while the rate is measured."""
GROWING_ROWS = 10_000
"""The same on the way there, where only the end counts: fewer commits write less."""
_MEASURED_MAX = 20_000
_APPLICATIONS_TOGETHER = 250
_ARGON2_MIB = 19
_CONTENT = ("CONTOSO\\someone", "a password of usual length")
_VALUES = {name: FieldValue(text) for name, text in zip(FIELDS, _CONTENT, strict=True)}


class Recording(msgspec.Struct, frozen=True):
    """Access records in one request."""

    desk: Desk
    records: Sequence[Access]

    def decide(self, transaction: Transaction) -> int:
        """Append them; the position of the last."""
        actor = self.desk.actor(transaction, Acting())
        for record in self.records:
            position = transaction.append_access(record, actor, "").position
        return position


class Grown:
    """One ledger on one engine, closed but for who opens it."""

    def __init__(self, place: Place, rows_a_commit: int = GROWING_ROWS) -> None:
        self.place = place
        self.rows_a_commit = rows_a_commit
        self._folder = Path(tempfile.mkdtemp(prefix="credledger-bench-keys-"))
        self.settings = decide(
            Given(
                store=place.new_url(),
                keyring=str(self._folder / "keyring"),
                key_file=str(self._folder / "key"),
            ),
            {},
        )
        found(self.settings, StandardInput(), "bench", _ARGON2_MIB, "")
        self._attempts = Attempts()
        self._creations: list[int] = []
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a command is told to work on this ledger."""
        return {
            **os.environ,
            "CREDLEDGER_STORE": self.settings.store,
            "CREDLEDGER_KEYRING": str(self.settings.keyring),
            "CREDLEDGER_KEY_FILE": str(self.settings.key_file),
        }

    @property
    def bytes_on_disk(self) -> int:
        """How much the store takes."""
        return self.place.bytes_at(self.settings.store)

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """The ledger, opened as a command opens it."""
        with open_session(self.settings, StandardInput()) as session:
            yield session

    @property
    def somebody(self) -> tuple[Caller, str]:
        """The owner of the mapping in the middle, and its application."""
        return asking(self._attempts.mappings // 2)

    def grow(self, size: int, progress: Progress) -> float:
        """Append until the log has this many events; how many a second at the end of the way."""
        with self.opened() as session:
            self.size = session.ledger.head().size
            self._equip(session.ledger, mappings_at(size), progress)
            measured = max(1, min(_MEASURED_MAX, (size - self.size) // 2))
            for records in self._requests(size - measured, GROWING_ROWS):
                self._record(session.ledger, records)
                progress(self.size, size)
            counted, started = self.size, time.perf_counter()
            for records in self._requests(size, MEASURED_ROWS):
                self._record(session.ledger, records)
            return (self.size - counted) / (time.perf_counter() - started)

    def equip(self, mappings: int, progress: Progress) -> None:
        """Make so many mappings and their applications, and no other events."""
        with self.opened() as session:
            self._equip(session.ledger, mappings, progress)

    def _equip(self, ledger: Ledger, mappings: int, progress: Progress) -> None:
        """Make the applications and mappings that a log of this length has."""
        applications = application_of(mappings - 1) + 1
        while (made := len(self._creations)) < applications:
            together = min(_APPLICATIONS_TOGETHER, self.rows_a_commit)
            requests = [
                ledger.changes.create(Acting(), application_name(number), kind="individual")
                for number in range(made, min(made + together, applications))
            ]
            outcomes = ledger.change_together(requests)
            self._creations.extend(outcome.position for outcome in outcomes)
            self.size = self._creations[-1]
            progress(self.size, 0)
        while (made := self._attempts.mappings) < mappings:
            together = min(IMPORT_BATCH_MAX, self.rows_a_commit)
            numbers = range(made, min(made + together, mappings))
            self.size = ledger.import_batch(Acting(), [_item(one) for one in numbers]).last_position
            creations = [self._creations[application_of(number)] for number in numbers]
            self._attempts.add(creations, self.size - len(numbers) + 1)
            progress(self.size, 0)

    def _requests(self, until: int, rows: int) -> Iterator[list[Access]]:
        while self.size < until:
            yield self._attempts.records(min(rows, self.rows_a_commit, until - self.size))

    def _record(self, ledger: Ledger, records: Sequence[Access]) -> None:
        request = Recording(ledger._desk, records)  # noqa: SLF001 # a request of the bench's own
        self.size = ledger._writer.run(request)  # noqa: SLF001 # as above


def asking(mapping: int) -> tuple[Caller, str]:
    """Who asks for a mapping, and the application."""
    return Caller(parse_claim(owner_name(mapping))), application_name(application_of(mapping))


def _item(mapping: int) -> ImportItem:
    caller, application = asking(mapping)
    return ImportItem(application, caller.claim, _VALUES)
