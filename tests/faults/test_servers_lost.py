"""The database is lost under load, and comes back: restarted, cut off, or another one in its place.

Several threads read and change through one open ledger that nobody opens again. Whatever was
answered is in the log of the server that serves afterwards, at the position that was told; what was
not answered is there as a whole or not at all; and every thread goes on by itself. Commands that
are run meanwhile end with exit 7, and work afterwards.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from itertools import count

import pytest

from ledger.claims import parse_claim
from ledger.errors import Unavailable
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import new_house
from tests.contracts.cutting_proxy import cutting_proxy
from tests.contracts.postgres_server import private_server
from tests.faults.running import Host, until

ALICE = parse_claim("user:alice")
FEW = 5
COMMIT = b"COMMIT\0"
LOST = {"store-unreachable", "commit-unconfirmed", "store-not-writable"}
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
GET = ("credential", "get", "payroll", "--as", "user:ann")
SET = ("credential", "set", "payroll", "--owner", "user:ann", "--values", "-")
VALUES = json.dumps({"User": "ann", "Password": "canary-30f4"}).encode()


class Crowd:
    """Threads that use one open ledger until they are told to stop."""

    def __init__(self, ledger):
        self._ledger = ledger
        self._enough = threading.Event()
        doing = {"access.granted": (self._read,) * 2, "credential.set": (self._set,)}
        doing["application.granted"] = (self._grant,)
        self.answered = {topic: [] for topic in doing}
        self.errors = {}
        self.done = {}
        self._threads = [
            threading.Thread(target=self._run, args=(f"{topic} {number}", topic, one))
            for topic, several in doing.items()
            for number, one in enumerate(several)
        ]

    def has(self, told):
        """Asks whether each thread has told some more since now."""
        before = {thread: len(told[thread]) for thread in told}
        return lambda: all(len(told[thread]) >= before[thread] + FEW for thread in told)

    def start(self):
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.done) == len(self._threads))

    def stop(self):
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name, topic, act):
        self.errors[name] = []
        self.done[name] = []
        for number in count():
            if self._enough.is_set():
                return
            try:
                position = act(number)
            except BaseException as error:
                self.errors[name].append(error)
                self._enough.wait(0.01)
            else:
                self.answered[topic].append(position)
                self.done[name].append(position)

    def _read(self, _):
        return self._ledger.retrieve(Caller(ALICE), "CRM").position

    def _set(self, number):
        values = {"Windows User Name": FieldValue("s"), "Windows Password": FieldValue(str(number))}
        return self._ledger.set_credentials(Acting(), "CRM", ALICE, values).position

    def _grant(self, number):
        return self._ledger.grant(Acting(), "CRM", "administrator", f"user:{number}").position


@contextmanager
def crowd_at(house):
    """A crowd that has begun; at the end the log must be what it was told."""
    with_it = house.open()
    with_it.create_application(Acting(), "CRM", kind="individual")
    pair = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
    with_it.set_credentials(Acting(), "CRM", ALICE, pair)
    size = with_it.head().size
    crowd = Crowd(with_it)
    try:
        crowd.start()
        until(crowd.has(crowd.done))
        yield crowd
    finally:
        crowd.stop()
    require_told(house, with_it, crowd, size)
    with_it.close()


def require_told(house, ledger, crowd, size):
    """The log holds each answer at its position, and no more than could not be answered."""
    errors = [error for some in crowd.errors.values() for error in some]
    assert {error.code if isinstance(error, Unavailable) else error for error in errors} <= LOST
    with house.store().reading() as reading:
        topics = {row.position: row.topic for row in reading.rows_after(size, 100_000)}
    told = {position: topic for topic, some in crowd.answered.items() for position in some}
    assert len(told) == sum(len(some) for some in crowd.answered.values())
    assert {position: topics.get(position) for position in told} == told
    assert len(topics) - len(told) <= len(errors)
    assert verify_log(house.store()).ok
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    assert all(view["same"] for view in ledger.views.rebuild())


@pytest.fixture
def host(nursery, tmp_path):
    """Where commands are run, on a ledger of their own."""
    return Host(nursery, tmp_path / "host")


@pytest.fixture
def house(tmp_path):
    """Where threads share an open ledger."""
    made = new_house(tmp_path)
    yield made
    made.close()


def founded(house, host, place):
    """Two ledgers in that place, one of them with credentials."""
    house.store_url = f"{place}&ledger=crowd"
    house.found()
    host.environment["CREDLEDGER_STORE"] = f"{place}&ledger=commands"
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    host.ok(*SET, stdin=VALUES)


def test_a_server_that_crashes_stops_or_cuts_its_lines_under_load_loses_nothing(house, host):
    """Three times in a row, under the same open ledger and four threads."""
    with private_server() as server:
        founded(house, host, server.dsn())
        with crowd_at(house) as crowd:
            for mode in ("immediate", "fast"):
                failed = crowd.has(crowd.errors)
                server.stop(mode)
                until(failed)
                for command in (GET, SET):
                    ended = host.fails(7, "store-unreachable", *command, stdin=VALUES)
                    assert b"canary" not in ended.both
                server.start()
                goes_on = crowd.has(crowd.done)
                until(goes_on)
                assert host.ok(*GET)["fields"]["Password"] == "canary-30f4"
            for _ in range(FEW):
                goes_on = crowd.has(crowd.done)
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'credledger'"
                )
                until(goes_on)
        assert host.topics()[-2:] == ["access.granted"] * 2
        host.is_whole()
        house.close()


def test_lines_cut_in_the_middle_of_commits_under_load_answer_what_landed(
    house, postgres_server, postgres_schema
):
    """Four threads share the commit that is cut; whose answer was lost is answered all the same."""
    with cutting_proxy(postgres_server.socket_path()) as proxy:
        line = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
        house.store_url = f"{line}&ledger={postgres_schema}"
        house.found()
        with crowd_at(house) as crowd:
            for number in range(1, 2 * FEW, 2):
                before = sum(len(some) for some in crowd.errors.values())
                goes_on = crowd.has(crowd.done)
                proxy.cut_before_client_hears(COMMIT)
                until(lambda number=number: proxy.cuts == number)
                until(goes_on)
                assert sum(len(some) for some in crowd.errors.values()) == before
                goes_on = crowd.has(crowd.done)
                proxy.cut_before_server_hears(COMMIT)
                until(lambda number=number: proxy.cuts == number + 1)
                until(goes_on)
                assert sum(len(some) for some in crowd.errors.values()) > before
        house.close()


def test_a_failover_under_load_loses_nothing_that_was_answered(house, host):
    """The primary is killed, its synchronous standby takes over, and nobody opens anything anew."""
    with private_server() as primary, private_server(primary) as standby:
        primary.execute(
            "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
        )
        until(lambda: primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)])
        hosts = f"{primary.folder},{standby.folder}"
        founded(
            house,
            host,
            f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write",
        )
        with crowd_at(house) as crowd:
            failed = crowd.has(crowd.errors)
            primary.stop("immediate")
            until(failed)
            host.fails(7, "store-unreachable", *GET)
            standby.promote()
            until(crowd.has(crowd.done))
            assert host.ok(*GET)["fields"]["Password"] == "canary-30f4"
            assert host.ok(*SET, stdin=VALUES)["version"] == 2
        host.is_whole()
        house.close()
