"""Under load, and when the floor gives way: what is answered is recorded, and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from ledger.aggregates.issuers import Settings
from ledger.sealing import slots
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import PASSPHRASE, unlocked_by_passphrase
from tests.faults.running import until
from tests.faults.test_hosts_memory import put_back, size_of
from tests.faults.test_keys_destroyed_elsewhere import accept
from tests.faults.test_put_back_beside import require_whole
from tests.ledger.tokens.minting import AUDIENCE, jwks, mint
from tests.tools.service.clients import Client
from tests.tools.service.conftest import ME, VALUES, furnish, running
from tests.tools.service.test_callers import ONCE, trust
from tests.tools.service.test_seal import process
from tools.unsealing import hand_over

GET = "/v1/credentials/get"
ISSUE = "/v1/tickets/issue"
REDEEM = "/v1/tickets/redeem"
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

    def __init__(self, place, connections=CONNECTIONS, path=GET, body=PAYROLL, token=None):
        self._place, self._path, self._body, self._token = place, path, body, token
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
            client = Client(self._place, self._token)
            try:
                while self._going:
                    reply = client.ask(self._path, self._body)
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
    kills = 10 if request.config.getoption("--torture") else 1
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


def test_it_goes_on_under_load_from_an_older_log_that_was_accepted(house, tmp_path):
    """Shorter than the one it had followed; in between it releases nothing and is not ready."""
    size = size_of(house)
    with running(house, tmp_path) as service:
        client = service.client()
        with Load(service.socket) as load:
            load.until(lambda one: len(one.positions) >= 100)
        put_back(house, size)
        with Load(service.socket) as load:
            load.until(lambda one: one.statuses.get(503, 0) >= 20)
            assert not load.positions
            assert client.send("GET", "/health/ready").status == 503
            accept(house)
            load.until(lambda one: len(one.positions) >= 150)
            until(lambda: client.send("GET", "/health/ready").status == 200)  # known for a second
    assert min(load.positions) > size
    assert sorted(load.positions) == sorted(one for one in granted_positions(house) if one > size)
    require_whole(house)


def test_without_its_database_it_releases_nothing_and_recovers_by_itself(
    house, tmp_path, request, impatient
):
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


def test_whose_file_is_taken_away_it_releases_nothing_that_is_recorded_nowhere(
    prepared_file, tmp_path
):
    """The file is open still, and has no name: 503, not ready, and as before once it is back."""
    house = prepared_file(furnish)
    files = [one for one in house.store_path.parent.iterdir() if one.name.startswith("ledger.db")]
    with running(house, tmp_path) as service:
        client = service.client()
        before = [client.ok(GET, PAYROLL)["position"]]
        for one in files:
            one.rename(tmp_path / one.name)
        reply = client.ask(GET, PAYROLL)
        assert (reply.status, reply.code) == (503, "no-ledger")
        assert client.send("GET", "/health/ready").status == 503
        for one in files:
            (tmp_path / one.name).rename(one)
        before.append(client.ok(GET, PAYROLL)["position"])
    assert sorted(before) == sorted(granted_positions(house))


def tickets_taken(house):
    """The house with an application that this account redeems its own tickets for."""
    ledger = house.open()
    ledger.create_application(
        Acting(), "cube", kind="individual", ticketing=True, ticket_redeemers=(str(ME),)
    )
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "cube", ME, values)
    ledger.close()


def test_a_ticket_is_good_still_where_its_redemption_could_not_be_recorded(
    prepared, tmp_path, request, impatient
):
    """503 without a value while the database is away; then it is redeemed, once."""
    house = prepared(furnish, tickets_taken)
    away = server_away if house.on_server else file_away
    with running(house, tmp_path) as service:
        client = service.client()
        said = {
            "application": "cube",
            "ticket": client.ok(ISSUE, {"application": "cube"})["ticket"],
        }
        with away(house, request):
            for _ in range(2):
                reply = client.ask(REDEEM, said)
                assert (reply.status, b"canary" in reply.content) == (503, False)
        position = client.ok(REDEEM, said)["position"]
        client.fails(403, "access-denied", REDEEM, said)
    assert granted_positions(house) == [position]
    told = "SELECT count(*) FROM log WHERE topic = 'ticket.redeemed'"
    assert house.sql(told) == [(1,)]


class Behind:
    """Takes the database away behind a process's next commit, and brings it back at its end."""

    def __init__(self, ledger, away):
        self._away, self._stack = away, contextlib.ExitStack()
        self._thread = ThreadPoolExecutor(1)
        ledger.watch_commits(self._watch)

    @contextlib.contextmanager
    def _watch(self, _):
        yield
        if self._away is not None:
            self._thread.submit(self._stack.enter_context, self._away).result(30)
            self._away = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.submit(self._stack.close).result(30)
        self._thread.shutdown()


def test_a_one_time_token_whose_request_could_not_be_recorded_is_told_to_be_used_up(
    prepared, tmp_path, request, impatient
):
    """503 says so where the database goes between its use and what it was used for."""
    house = prepared(furnish, trust)
    request.getfixturevalue("postgres_server")
    away = server_away if house.on_server else file_away
    with running(house, tmp_path) as service:
        ledger = service.service.seal.counter.ledger
        settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
        ledger.trust.add(Acting(), ONCE, settings)
        bearer = [f"Bearer {mint(int(time.time()), iss=ONCE, jti=one)}" for one in "ab"]
        client = service.client()
        with Behind(ledger, away(house, request)):
            reply = client.ask(GET, PAYROLL, authorization=bearer[0])
        assert (reply.status, "used up" in reply.document["hint"]) == (503, True)
        client.fails(401, "token-refused", GET, PAYROLL, authorization=bearer[0])
        client.fails(404, "credentials-not-set", GET, PAYROLL, authorization=bearer[1])
    assert house.sql("SELECT count(*) FROM log WHERE topic = 'token.used'") == [(2,)]


def test_of_redemptions_while_the_database_comes_and_goes_one_releases(
    prepared, tmp_path, request, impatient
):
    """Many ask with one ticket throughout; one is answered, and that one is recorded."""
    house = prepared(furnish, tickets_taken)
    away = server_away if house.on_server else file_away
    with running(house, tmp_path) as service:
        ticket = service.client().ok(ISSUE, {"application": "cube"})["ticket"]
        said = {"application": "cube", "ticket": ticket}
        with contextlib.ExitStack() as stack:
            stack.enter_context(away(house, request))
            with Load(service.socket, 4, REDEEM, said) as load:
                load.until(lambda one: one.statuses.get(503, 0) >= 4)
                stack.close()
                load.until(lambda one: one.statuses.get(403, 0) >= 8)
    assert len(load.positions) == 1
    assert granted_positions(house) == load.positions
    assert set(load.statuses) <= {200, 403, 503}


class Held:
    """Keeps a process's next commit from beginning until it is let go."""

    def __init__(self, ledger):
        self._began, self._goes_on = threading.Event(), threading.Event()
        ledger.watch_commits(self._watch)

    @contextlib.contextmanager
    def _watch(self, _):
        self._began.set()
        assert self._goes_on.wait(30)
        yield

    def wait(self):
        """Until something waits to be committed."""
        assert self._began.wait(30)

    def let_go(self):
        self._goes_on.set()


def test_a_read_that_waits_is_decided_behind_a_revocation_that_overtook_it(house, tmp_path):
    """It was asked while its asker was a member, and another process has revoked him since."""
    beside = house.open()
    beside.grant(Acting(), "payroll", "member", str(ME))
    with running(house, tmp_path) as service, ThreadPoolExecutor(8) as pool:
        client = service.client()
        client.ok(GET, PAYROLL)  # what was decided is kept from here on
        held = Held(service.service.seal.counter.ledger)
        asked = [pool.submit(service.client().ask, GET, PAYROLL) for _ in range(8)]
        held.wait()
        revoked = beside.revoke(Acting(), "payroll", "member", str(ME)).position
        held.let_go()
        replies = [one.result(30) for one in asked]
    assert {reply.code for reply in replies} == {"access-denied"}
    assert min(reply.document["position"] for reply in replies) > revoked
    assert max(granted_positions(house)) < revoked


def test_reads_and_a_revocation_in_one_line_are_decided_in_its_order(house, tmp_path):
    """Who stands before it in the same commit reads, who stands behind it does not."""
    ledger = house.open()
    ledger.grant(Acting(), "payroll", "member", str(ME))
    ledger.close()
    with running(house, tmp_path) as service, ThreadPoolExecutor(9) as pool:
        own = service.service.seal.counter.ledger
        held = Held(own)
        first = pool.submit(service.client().ask, GET, PAYROLL)
        held.wait()  # what comes now stands in line together
        early = [pool.submit(service.client().ask, GET, PAYROLL) for _ in range(3)]
        standing(own, 3)
        revoke = pool.submit(own.revoke, Acting(), "payroll", "member", str(ME))
        standing(own, 4)
        late = [pool.submit(service.client().ask, GET, PAYROLL) for _ in range(4)]
        standing(own, 8)
        held.let_go()
        revoked = revoke.result(30).position
        before = [one.result(30).document["position"] for one in (first, *early)]
        behind = [one.result(30) for one in late]
    assert max(before) < revoked
    assert {reply.code for reply in behind} == {"access-denied"}
    assert min(reply.document["position"] for reply in behind) > revoked


def standing(ledger, count):
    """Wait until so many stand in line for the writer."""
    deadline = time.monotonic() + 30
    while ledger._writer._line._queue.qsize() < count:
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_a_service_that_is_unsealed_while_requests_come_in_answers_from_then_on(house, tmp_path):
    """423 before, reads behind it, nothing in between; of several who unseal, one does."""
    with running(house, tmp_path, sealed=True) as service, Load(service.socket) as load:
        load.until(lambda one: one.statuses.get(423, 0) >= 50)
        with ThreadPoolExecutor(4) as pool:
            did = list(pool.map(lambda _: unsealed(service), range(4)))
        assert sorted(did) == [False, False, False, True]
        sealed = load.statuses[423]
        load.until(lambda one: len(one.positions) >= 200)
        assert load.statuses[423] <= sealed + CONNECTIONS
    assert set(load.statuses) == {200, 423}
    assert sorted(load.positions) == sorted(granted_positions(house))


def unsealed(service):
    """Unlock it; whether that was still to do."""
    return hand_over(service.socket, slots.passphrase(PASSPHRASE), None)["was_sealed"]


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
