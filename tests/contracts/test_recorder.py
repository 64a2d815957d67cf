"""The conformance suites of the `eventsourcing` library, on the log.

The suites write bytes that no mapper of ours sealed, so they run with one that lets any bytes pass;
what a real mapper refuses is tested below. They expect positions from 1 in an empty log, where a
real ledger begins with its first epoch: here the first insert founds the ledger. The suites count
versions from 0 in some places, so all of them do here.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    StoredEvent,
)
from eventsourcing.tests import persistence as suites

from ledger.aggregates.actor import Actor
from ledger.aggregates.application import ApplicationRevoked
from ledger.aggregates.event import Event
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import Refused, Tampered
from ledger.identifiers import ledger_id_of
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.rows import LedgerRow
from ledger.log.signers import HeadSigner
from ledger.log.sqlite import SqliteStore
from ledger.log.store import Store
from ledger.log.verification import verify_log
from ledger.log.writer import Writer
from ledger.recorders.application_recorder import InsertReady, LedgerRecorder
from ledger.sealing.epochs import period_after, period_of, period_start
from ledger.usecases.acting import Acting
from tests.conftest import Clock
from tests.faults.test_tampering import attack

NOBODY = Actor("operator", 1, "first", "tester@host", "operator")


class Opaque(Event, frozen=True):
    """Bytes that mean nothing to the ledger."""


class OpaqueMapper(EventMapper):
    """Lets any bytes pass as an event."""

    def __init__(self, ledger_id: bytes) -> None:
        super().__init__(ledger_id, None, os.urandom)

    def open_checked(self, row):
        return Recorded(*row[:7], Opaque(), NOBODY, "")


class FoundingRecorder(LedgerRecorder):
    """Founds the ledger with the first events that are inserted."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer)
        self._founding = threading.Lock()

    def insert_events(self, stored_events, **kwargs):
        with self._founding:
            if self._writer.head.size == 0 and stored_events:
                return self._writer.found(InsertReady(stored_events))
        return super().insert_events(stored_events)


class OnStore:
    """A new ledger for every recorder that a suite asks for."""

    INITIAL_VERSION = 0

    def create_recorder(self) -> FoundingRecorder:
        self.store = self.new_store()
        self.store.create()
        key, salt = Ed25519PrivateKey.generate(), os.urandom(16)
        ledger = LedgerRow(ledger_id_of(key.public_key().public_bytes_raw(), salt), 1, salt)
        writer = Writer(
            self.store,
            OpaqueMapper(ledger.id),
            HeadSigner(ledger, key, "operator"),
            clock=Clock(),
            random=os.urandom,
            access_stream_name=lambda chosen: chosen,
            keyring_stream=bytes(16),
        )
        self.addCleanup(self.store.close)
        self.addCleanup(self.require_whole_log)
        self.addCleanup(writer.close)
        return FoundingRecorder(writer)

    def require_whole_log(self) -> None:
        found = verify_log(self.store)
        self.assertTrue(found.ok, found.checks)
        self.assertGreater(found.size, 0)


class OnSqlite(OnStore):
    """In a new file."""

    def new_store(self) -> Store:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        return SqliteStore(Path(place.name) / "ledger.db")


class OnPostgresql(OnStore):
    """In a new schema."""

    @pytest.fixture(autouse=True)
    def use_schema(self, postgres_server, postgres_schema):
        self.url = f"{postgres_server.dsn()}&ledger={postgres_schema}"

    def new_store(self) -> Store:
        return PostgresqlStore(self.url)


class TestApplicationRecorderOnPostgresql(OnPostgresql, suites.ApplicationRecorderTestCase):
    """Events are inserted, selected and in conflict as the library expects."""


class TestNonInterleavingOnPostgresql(OnPostgresql, suites.NonInterleavingNotificationIDsBaseCase):
    """Two large inserts at once do not interleave."""


class TestApplicationRecorderOnSqlite(OnSqlite, suites.ApplicationRecorderTestCase):
    """Events are inserted, selected and in conflict as the library expects."""


class TestNonInterleavingOnSqlite(OnSqlite, suites.NonInterleavingNotificationIDsBaseCase):
    """Two large inserts at once do not interleave."""


@pytest.fixture
def recorder(ledger):
    ledger.create_application(Acting(), "CRM", kind="individual", administrators=("user:ada",))
    return LedgerRecorder(ledger._writer)


def stream_of(ledger) -> bytes:
    return ledger._desk.streams.application("crm")


def sealed_for(ledger, *, version: int = 2, epoch: int | None = None, stream=None, event=None):
    """The next event of the application, sealed for one place."""
    row, _ = ledger._desk.mapper.record(
        event or ApplicationRevoked("crm", "administrator", "user:ada"),
        NOBODY,
        "",
        position=1,
        stream=stream or stream_of(ledger),
        version=version,
        epoch=epoch or ledger._writer.head.epoch,
        recorded_at=ledger._clock(),
    )
    return StoredEvent(UUID(bytes=row.stream), version - 1, row.topic, row.sealed)


def test_a_ready_row_that_opens_at_its_place_is_recorded(ledger, recorder):
    event = sealed_for(ledger)
    (position,) = recorder.insert_events([event])
    assert position == ledger._writer.head.size
    assert ledger.application("CRM").administrators == frozenset()
    stream = UUID(bytes=stream_of(ledger))
    (_, stored) = recorder.select_events(stream)
    assert (stored.topic, stored.state) == ("application.revoked", event.state)
    assert recorder.select_events(stream, desc=True, limit=1) == [stored]
    assert recorder.select_events(str(stream), gt=0, lte=1) == [stored]
    assert recorder.select_events(stream, lte=0)[0].topic == "application.created"
    assert verify_log(ledger._writer.store).ok


def told_as(ledger, topic: str, state: bytes | None = None) -> list[StoredEvent]:
    good = sealed_for(ledger)
    return [StoredEvent(good.originator_id, 1, topic, state or good.state)]


def moved_to(ledger, originator: UUID | str) -> list[StoredEvent]:
    good = sealed_for(ledger)
    return [StoredEvent(originator, 0, good.topic, good.state)]


REFUSALS = {
    "a version that is taken": (lambda at: [sealed_for(at, version=1)], IntegrityError),
    "a version that leaves a gap": (lambda at: [sealed_for(at, version=3)], IntegrityError),
    "a version below zero": (lambda at: [sealed_for(at, version=0)], IntegrityError),
    "bytes moved to another stream": (lambda at: moved_to(at, uuid4()), IntegrityError),
    "bytes told as another topic": (
        lambda at: told_as(at, "application.deleted"),
        IntegrityError,
    ),
    "bytes that nobody sealed": (
        lambda at: told_as(at, "application.revoked", b"state"),
        IntegrityError,
    ),
    "a topic of another kind": (lambda at: told_as(at, "access.granted"), IntegrityError),
    "an endless topic": (lambda at: told_as(at, "x" * 70_000), DataError),
    "a topic that is not ASCII": (lambda at: told_as(at, "zugriff.gewährt"), DataError),
    "an originator that is no UUID": (lambda at: moved_to(at, "crm"), DataError),
    "an epoch started by hand": (lambda at: told_as(at, "epoch.started"), Refused),
    "one good and one bad": (
        lambda at: [sealed_for(at), *moved_to(at, uuid4())],
        IntegrityError,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_ready_row_that_does_not_fit_leaves_nothing(ledger, recorder, name):
    events, error = REFUSALS[name][0](ledger), REFUSALS[name][1]
    before = ledger.head()
    with pytest.raises(error):
        recorder.insert_events(events)
    assert ledger.head() == before
    recorder.insert_events([sealed_for(ledger)])
    assert verify_log(ledger._writer.store).ok


def test_a_row_sealed_in_another_month_is_a_conflict(house, ledger, recorder):
    event = sealed_for(ledger)
    now = house.clock()
    house.clock.offset_us += period_start(period_after(period_of(now), 1)) - now
    with pytest.raises(IntegrityError):
        recorder.insert_events([event])
    recorder.insert_events([sealed_for(ledger)])


def test_a_failure_between_two_successes_leaves_both_and_nothing_else(ledger, recorder):
    """All three are decided in one transaction."""
    started, go_on = threading.Event(), threading.Event()

    class Holds:
        def decide(self, transaction):
            started.set()
            assert go_on.wait(30)

    writer = ledger._writer
    holding = writer.submit(Holds())
    assert started.wait(30)
    stray = [StoredEvent(uuid4(), 0, "application.revoked", b"state")]
    granted = ApplicationRevoked("crm", "administrator", "user:eve")
    answers = [
        writer.submit(InsertReady([sealed_for(ledger)])),
        writer.submit(InsertReady([sealed_for(ledger, version=3), *stray])),
        writer.submit(InsertReady([sealed_for(ledger, version=3, event=granted)])),
    ]
    go_on.set()
    holding.result(30)
    assert answers[0].result(30) == [4]
    assert answers[1].exception(30) is not None
    assert answers[2].result(30) == [5]
    assert ledger.head().size == 5
    assert verify_log(writer.store).ok


def test_an_auditor_inserts_nothing_but_questions(house, ledger, recorder):
    event = sealed_for(ledger)
    recorder._writer.signer.signer_class = "auditor"
    with pytest.raises(Refused):
        recorder.insert_events([event])


def test_subscriptions_are_not_supported(recorder):
    with pytest.raises(NotSupportedError):
        recorder.subscribe()


def test_inserting_nothing_is_nothing(ledger, recorder):
    before = ledger.head()
    assert recorder.insert_events([]) == []
    assert ledger.head() == before


def test_a_closed_ledger_is_an_operational_error(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    recorder = LedgerRecorder(ledger._writer)
    event = sealed_for(ledger)
    ledger.close()
    with pytest.raises(OperationalError):
        recorder.insert_events([event])


def test_an_altered_row_is_not_selected(house, ledger, recorder):
    attack(house, "UPDATE log SET sealed = zeroblob(64) WHERE position = 3")
    with pytest.raises(Tampered):
        recorder.select_events(UUID(bytes=stream_of(ledger)))
    with pytest.raises(Tampered):
        recorder.select_notifications(None, 10)
