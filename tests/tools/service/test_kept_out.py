"""Whoever lets the service wait, for bodies or for answers to be taken, keeps nobody else out."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time

import pytest

from tests.ledger.tokens.minting import mint
from tests.tools.service.clients import connected
from tests.tools.service.conftest import furnish, running
from tests.tools.service.test_callers import now, trust
from tests.tools.service.test_front_taken_over import verifying_nothing
from tests.tools.service.test_fronts import wait_until
from tests.tools.service.test_limits import all_of
from tools.processes.descriptors import allow
from tools.service import connections, door, http_server, reading, seal
from tools.service.connections import SOURCE_CONNECTIONS_MAX
from tools.service.http_server import GRACE_S
from tools.service.reading import IN_HAND_MAX, LARGE_BYTES, LARGE_MAX, SOURCE_LARGE_MAX

GET = "/v1/credentials/get"
PAYROLL = {"application": "payroll"}
BODY = b'{"application": "payroll"}'
HEAD = (
    b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n" % len(BODY)
)
SLOW = HEAD + b"expect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LONG = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish, trust)


@pytest.fixture
def itself(house, tmp_path):
    """A service without fronts."""
    with running(house, tmp_path) as one:
        yield one


@pytest.fixture
def many_files():
    """This process may have as many connections as the test opens."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow(2 * IN_HAND_MAX)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def slow(address, host, head=SLOW):
    """Somebody at that host who has sent a head, and whose body is waited for."""
    made = socket.create_connection(address, timeout=30, source_address=(host, 0))
    made.sendall(head)
    assert made.recv(len(CONTINUE)) == CONTINUE
    return made


def test_bodies_on_their_way_are_not_in_hand(itself, monkeypatch):
    """However many wait for theirs, others are answered; and so are they, once theirs are there."""
    monkeypatch.setattr(door, "IN_HAND_MAX", 3)
    with contextlib.ExitStack() as held:
        head = large_head(len(BODY), mint(now()))
        waiting = [held.enter_context(slow(itself.address, "127.0.0.2", head)) for _ in range(6)]
        assert itself.stranger(mint(now())).ok(GET, PAYROLL)["fields"]
        assert itself.client().send("GET", "/health/ready").status == 200
        for one in waiting:
            one.sendall(BODY)
            assert one.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_is_waited_for_only_where_a_token_is_believed(itself):
    """A stranger hears by his head alone that he is one, and is not told to go on."""
    with socket.create_connection(itself.address, timeout=30) as made:
        made.sendall(SLOW)
        assert made.recv(65536).startswith(b"HTTP/1.1 401 ")


def left_waiting(place, head, begun=b""):
    """Somebody who has sent a head and so much of the body, and sends no more."""
    made = connected(place)
    made.sendall(head.replace(b"expect: 100-continue\r\n", b"") + begun)
    return made


@pytest.mark.parametrize("begun", [b"", b"{"], ids=["nothing", "a byte"])
def test_a_body_that_does_not_come_is_waited_for_only_so_long(itself, monkeypatch, begun):
    """Over TCP and at the unix socket, whether or not any of it has come."""
    monkeypatch.setattr(reading, "BODY_S_MAX", 0.1)
    head = large_head(len(BODY), mint(now()))
    for place in (itself.address, itself.socket):
        with left_waiting(place, head, begun) as made:
            answer = all_of(made)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"request-too-slow"' in answer


@pytest.mark.parametrize("begun", [b"", b"{"], ids=["nothing", "a byte"])
@pytest.mark.parametrize("fronts", [0, 1])
def test_a_service_that_stops_hardly_waits_for_bodies(house, tmp_path, caplog, fronts, begun):
    """Whoever has sent none or some of his is told so, and nothing is said in the log."""
    head = large_head(len(BODY), mint(now()))
    with (
        running(house, tmp_path, front_processes=fronts) as service,
        left_waiting(service.address, head, begun) as over_tcp,
        left_waiting(service.socket, head, begun) as local,
    ):
        assert service.client().send("GET", "/health/live").status == 200
        began = time.monotonic()
        service.loop.call_soon_threadsafe(service.service.stop)
        for one in (over_tcp, local):
            assert all_of(one).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < GRACE_S / 2
    assert "xception" not in service.logged()
    assert caplog.messages == []


def test_who_watches_is_answered_however_much_is_in_hand(itself, monkeypatch):
    """Alive and ready, at the unix socket and over TCP, where all others are turned away."""
    monkeypatch.setattr(door, "IN_HAND_MAX", 1)
    monkeypatch.setattr(seal, "READY_S", 3600.0)  # for that takes a thread
    alice = itself.stranger(mint(now()))
    alice.ok(GET, PAYROLL)
    watchers = itself.client(), itself.stranger()
    assert watchers[0].send("GET", "/health/ready").status == 200
    with verifying_nothing(itself), itself.stranger().connected() as asking:
        asking.sendall(HEAD + b"\r\n" + BODY)
        wait_until(lambda: itself.service._door._in_hand == 1)
        alice.fails(503, "too-busy", GET, PAYROLL)
        for one in watchers:
            assert one.send("GET", "/health/live").document == {"status": "live"}
            assert one.send("GET", "/health/ready").document == {"status": "ready"}
            assert one.send("HEAD", "/health/ready").status == 200
            assert one.send("POST", "/health/live").status == 405


def test_requests_in_hand_are_bounded_and_so_are_those_whose_bodies_come_late(itself, monkeypatch):
    """Beyond the bound it is told to come again, by the request that is one too many."""
    monkeypatch.setattr(door, "IN_HAND_MAX", 2)
    alice = itself.stranger(mint(now()))
    alice.ok(GET, PAYROLL)  # known from here on
    head = large_head(len(BODY), mint(now()))
    with slow(itself.address, "127.0.0.2", head) as late, verifying_nothing(itself):
        asking = [itself.stranger().connected() for _ in range(2)]
        for one in asking:
            one.sendall(HEAD + b"\r\n" + BODY)
        wait_until(lambda: itself.service._door._in_hand == 2)
        alice.fails(503, "too-busy", GET, PAYROLL)
        late.sendall(BODY)
        assert late.recv(65536).startswith(b"HTTP/1.1 503 ")
    for one in asking:
        assert one.recv(65536).startswith(b"HTTP/1.1 401 ")
        one.close()
    alice.ok(GET, PAYROLL)


@pytest.mark.parametrize("fronts", [0, 1])
def test_large_bodies_on_their_way_are_few_of_one_address(house, tmp_path, fronts):
    """It is told to come again, others are not, and later it is not either."""
    large = BODY + b" " * LARGE_BYTES
    head = large_head(len(large) + 1, mint(now()))
    with (
        running(house, tmp_path, front_processes=fronts) as service,
        contextlib.ExitStack() as held,
    ):
        many = [
            held.enter_context(slow(service.address, "127.0.0.2", head))
            for _ in range(SOURCE_LARGE_MAX + 1)
        ]
        for one in many:
            one.sendall(large)
        (turned_away, *_), _, _ = select.select(many, [], [], 30)
        assert turned_away.recv(65536).startswith(b"HTTP/1.1 503 ")
        other = held.enter_context(slow(service.address, "127.0.0.3", head))
        other.sendall(large + b" ")
        assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
        for one in many:
            if one is not turned_away:
                one.sendall(b" ")
                assert one.recv(65536).startswith(b"HTTP/1.1 200 ")
        again = held.enter_context(slow(service.address, "127.0.0.2", head))
        again.sendall(large + b" ")
        assert again.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("fronts", [0, 1])
def test_large_bodies_of_strangers_take_no_room(house, tmp_path, fronts):
    """However many come from wherever and stall, those that are known are read, local ones too."""
    large = BODY + b" " * 2 * LARGE_BYTES
    stalling = HEAD.replace(b"length: %d" % len(BODY), b"length: %d" % (2 * len(large)))
    with (
        running(house, tmp_path, front_processes=fronts) as service,
        contextlib.ExitStack() as held,
    ):
        alice, strangers = service.stranger(mint(now())), []
        for number in range(LARGE_MAX + 2):
            source = (f"127.0.0.{2 + number % 5}", 0)
            made = socket.create_connection(service.address, 30, source_address=source)
            strangers.append(held.enter_context(made))
            made.sendall(stalling + b"\r\n" + large)
        for _ in range(3):
            for one in (alice, service.client()):
                reply = one.send("POST", GET, large, content_type="application/json")
                assert reply.status == 200
        assert {one.recv(65536)[9:12] for one in strangers} == {b"401"}
        unsealing = stalling.replace(GET.encode(), b"/v1/unseal")
        with socket.create_connection(service.address, 30) as made:
            made.sendall(unsealing + b"\r\n" + large)
            assert made.recv(65536)[9:12] == b"403"


def test_large_bodies_over_tcp_take_no_room_at_the_unix_socket(house, tmp_path):
    """As many as may be on their way there, of callers who are known."""
    large = BODY + b" " * LARGE_BYTES
    head = large_head(len(large) + 1, mint(now()))
    with running(house, tmp_path) as service, contextlib.ExitStack() as held:
        for number in range(LARGE_MAX):
            host = f"127.0.0.{2 + number // SOURCE_LARGE_MAX}"
            held.enter_context(slow(service.address, host, head)).sendall(large)
        wait_until(lambda: service.service._door._bodies._large.total() == LARGE_MAX)
        late = held.enter_context(slow(service.address, "127.0.0.99", head))
        late.sendall(large)
        assert late.recv(65536).startswith(b"HTTP/1.1 503 ")
        reply = service.client().send("POST", GET, large, content_type="application/json")
        assert reply.status == 200


def test_whoever_goes_in_the_middle_of_a_large_body_is_waited_for_no_more(house, tmp_path):
    """Neither at the front nor in the ledger's process."""
    large = BODY + b" " * LARGE_BYTES
    with running(house, tmp_path, front_processes=1) as service:
        (line,) = service.service._fronts._lines
        with slow(service.address, "127.0.0.2", large_head(len(large) + 1, mint(now()))) as made:
            made.sendall(large)
            wait_until(lambda: line._wanted)
        wait_until(lambda: not line._tasks)
        assert not line._wanted
        assert line._large == 0


def large_head(length, token):
    """What `slow` sends of a body of this length, with this token."""
    said = SLOW.replace(b"length: %d" % len(BODY), b"length: %d" % length)
    return said.replace(b"Bearer x", b"Bearer " + token.encode())


@pytest.mark.usefixtures("many_files")
def test_bodies_on_their_way_keep_nobody_out_of_a_front(house, tmp_path):
    """As many as may be in hand, of strangers without any token that is good; and they end.

    That the service stops ends them as their time does, but sooner.
    """
    with (
        running(house, tmp_path, front_processes=1) as service,
        contextlib.ExitStack() as held,
    ):
        waiting = []
        for number in range(IN_HAND_MAX + 1):
            host = f"127.0.0.{2 + number // SOURCE_CONNECTIONS_MAX}"
            waiting.append(held.enter_context(slow(service.address, host)))
        alice = service.stranger(mint(now()))
        for _ in range(3):
            assert alice.ok(GET, PAYROLL)["fields"]
        began = time.monotonic()
        service.loop.call_soon_threadsafe(service.service.stop)
        told = {one.recv(65536)[9:12] for one in waiting}
        assert b"401" in told
        assert told <= {b"401", b"429", b"503"}
        assert time.monotonic() - began < GRACE_S / 2
    assert "xception" not in service.logged()


def test_pages_without_a_caller_have_a_share_of_their_own(itself):
    """One address gets few of them at once, and reads as many credentials as before."""
    client, alice = itself.stranger(), itself.stranger(mint(now()))
    statuses = [client.send("HEAD", "/openapi.json").status for _ in range(40)]
    statuses += [client.send("GET", "/.well-known/jwks.json").status for _ in range(40)]
    assert statuses[:50] == [200] * 50
    assert 429 in statuses
    assert client.send("GET", "/health/ready").status == 200
    assert alice.ok(GET, PAYROLL)["fields"]
    assert itself.client().send("GET", "/openapi.json").status == 200


def unread(client):
    """A connection that asks for long answers and takes none of them."""
    made = client.connected()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.sendall(LONG * 40)
    return made


def test_whoever_takes_no_answer_is_cut_off_before_the_service_has_stopped(
    house, tmp_path, monkeypatch, caplog
):
    """It is no exception that he had some in hand, and nothing is said in the log."""
    monkeypatch.setattr(http_server, "GRACE_S", 2)
    with running(house, tmp_path) as service, unread(service.stranger()) as made:
        wait_until(lambda: sum(waiting(service).get("127.0.0.1", ())))
        service.loop.call_soon_threadsafe(service.service.stop)
        wait_until(service.loop.is_closed)
        assert made.recv(1)
    assert "xception" not in service.logged()
    assert caplog.messages == []


def waiting(service):
    """How much waits to be taken, by the connection's source."""
    found = {}
    for server in service.service._servers._servers:
        for one in list(server.server_state.connections):
            count = one.transport.get_write_buffer_size()
            found.setdefault(one.peer.source, []).append(count)
    return found


def test_answers_that_are_not_taken_are_bounded_in_all(itself, monkeypatch):
    """Whoever lets most wait is cut off; who lets little wait keeps his, and others go on."""
    stranger, local = itself.stranger(), itself.client()
    assert stranger.send("GET", "/health/live").status == 200
    with contextlib.ExitStack() as held:
        held.enter_context(unread(stranger))
        wait_until(lambda: sum(waiting(itself).get("127.0.0.1", ())))
        account = next(name for name in waiting(itself) if name != "127.0.0.1")
        for _ in range(3):
            held.enter_context(unread(local))
        wait_until(lambda: sum(map(bool, waiting(itself)[account])) == 3)
        monkeypatch.setattr(connections, "UNREAD_BYTES_MAX", sum(waiting(itself)["127.0.0.1"]))
        wait_until(lambda: not sum(waiting(itself)[account]))
        assert sum(waiting(itself)["127.0.0.1"])
        assert local.ok(GET, PAYROLL)["fields"]
        held.enter_context(unread(local))
        wait_until(lambda: sum(waiting(itself)[account]))
        monkeypatch.setattr(connections, "UNREAD_BYTES_MAX", 0)
        wait_until(lambda: not sum(map(sum, waiting(itself).values())))
        assert local.ok(GET, PAYROLL)["fields"]
        assert stranger.send("GET", "/health/live").status == 200
