"""Under load, and when the floor gives way: what is answered is recorded, and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import threading
import time
from urllib.parse import urlsplit

import pytest

from ledger.usecases.acting import Acting
from tests.conftest import unlocked_by_passphrase
from tests.tools.service.clients import Client
from tests.tools.service.conftest import ME, furnish, running
from tests.tools.service.test_seal import process

GET = "/v1/credentials/get"
PAYROLL = {"application": "payroll"}
CONNECTIONS = 16


@pytest.fixture
def house(prepared):
    return prepared(furnish)


def granted_positions(house):
    """The positions of all granted records, as the log tells them."""
    ledger = house.open_with(unlocked_by_passphrase(house.keyring_path))
    try:
        return [one["position"] for one in ledger.views.accesses.newest(outcome="granted", limit=0)]
    finally:
        ledger.close()


class Load:
    """Connections that ask again and again, and what they were answered."""

    def __init__(self, place, connections=CONNECTIONS):
        self._place = place
        self._going = True
        self.positions: list[int] = []
        self.statuses: dict[int, int] = {}
        self.refused_after: list[int] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(connections)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._going = False
        for thread in self._threads:
            thread.join(60)

    def until(self, condition, seconds=30):
        """Ask on until this holds."""
        deadline = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < deadline, self.statuses
            threading.Event().wait(0.01)

    def _ask(self):
        with contextlib.suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
            client = Client(self._place)
            try:
                while self._going:
                    reply = client.ask(GET, PAYROLL)
                    self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
                    if reply.status == 200:
                        self.positions.append(reply.document["position"])
                    else:
                        assert b"fields" not in reply.content
            finally:
                client.close()


def test_every_answered_read_is_one_granted_record(house, tmp_path):
    """None more, none fewer, each at the position that its answer names."""
    with running(house, tmp_path) as service, Load(service.socket) as load:
        load.until(lambda one: len(one.positions) >= 300)
    assert set(load.statuses) == {200}
    assert sorted(load.positions) == sorted(granted_positions(house))


@pytest.mark.timeout(600)
def test_killed_in_the_middle_of_load_nothing_that_was_answered_is_lost(house, tmp_path, request):
    """What was answered is in the log; what is there besides was on its way to an answer."""
    kills = 10 if request.config.getoption("--torture") else 3
    answered: set[int] = set()
    for _ in range(kills):
        with process(house, tmp_path) as started, Load(tmp_path / "socket") as load:
            load.until(lambda one: len(one.positions) >= 40)
            started.kill()
            started.wait(30)
        assert not answered & set(load.positions)
        answered.update(load.positions)
    recorded = set(granted_positions(house))
    assert answered <= recorded
    assert len(recorded - answered) <= kills * CONNECTIONS


def test_nobody_gets_anything_behind_his_own_revocation(house, tmp_path):
    """A member who is revoked under load reads nothing at a later position."""
    ledger = house.open()
    ledger.grant(Acting(), "payroll", "member", str(ME))
    ledger.close()
    with running(house, tmp_path) as service, Load(service.socket) as load:
        load.until(lambda one: len(one.positions) >= 50)
        other = service.service.seal.counter.ledger
        revoked = other.revoke(Acting(), "payroll", "member", str(ME)).position
        load.until(lambda one: one.statuses.get(403, 0) >= 20)
    assert max(load.positions) < revoked
    assert max(granted_positions(house)) < revoked


def test_without_its_database_it_releases_nothing_and_recovers_by_itself(house, tmp_path, request):
    """503 while the log cannot be written, and reads again once it can."""
    away = server_away if house.on_server else file_away
    with running(house, tmp_path) as service:
        client = service.client()
        client.ok(GET, PAYROLL)
        with away(house, request):
            reply = client.ask(GET, PAYROLL)
            assert (reply.status, b"fields" in reply.content) == (503, False)
            assert client.send("GET", "/health/live").status == 200
        assert client.ok(GET, PAYROLL)["fields"]
    assert len(granted_positions(house)) == 2


@contextlib.contextmanager
def file_away(house, _):
    """Somebody else holds the file's lock meanwhile, for longer than is waited for."""
    with contextlib.closing(sqlite3.connect(house.store_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def server_away(house, request):
    """Nobody may connect to the database, and who had is cut off."""
    server = request.getfixturevalue("postgres_server")
    name = urlsplit(house.store_url).path.removeprefix("/")
    server.execute(
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    try:
        yield
    finally:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
