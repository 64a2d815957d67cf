"""A front process that was taken over says what it likes, and gets nothing by it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import msgspec
import pytest

from tests.ledger.tokens.minting import mint
from tests.tools.service.conftest import furnish, running
from tests.tools.service.test_callers import trust
from tests.tools.service.test_fronts import wait_until
from tests.tools.service.test_load import Held
from tools.service import front_line
from tools.service.forms import BODY_BYTES_MAX
from tools.service.frames import ASKED_MAX, Asked, Frames, Ready, Rest, ToFront, Wanted, frame
from tools.service.protocol import HEAD_BYTES_MAX
from tools.service.reading import LARGE_BYTES, LARGE_MAX, LOOKED_AT_MAX
from tools.service.server import THREADS

GET = "/v1/credentials/get"
JSON = (b"content-type", b"application/json")
PAYROLL = b'{"application": "payroll"}'


@pytest.fixture
def service(prepared_file, tmp_path):
    """With a front of its own besides the one that was taken over."""
    with running(prepared_file(furnish, trust), tmp_path, front_processes=1) as one:
        yield one


class TakenOver:
    """The front's end of a line to the ledger's process, in other hands."""

    def __init__(self, service):
        (honest,) = service.service._fronts._lines
        self._loop = honest._loop
        ours, self.end = socket.socketpair()
        ours.setblocking(False)
        self.end.settimeout(5)
        self.process = subprocess.Popen(["/bin/sleep", "60"])
        made = self._loop.create_connection(
            lambda: front_line.Line(self.process, honest._door, honest._journal), sock=ours
        )
        _, self.line = asyncio.run_coroutine_threadsafe(made, self._loop).result(30)

    def ask(self, number=1, path=GET, source="192.0.2.7", headers=(JSON,), body=PAYROLL, fault=""):
        self.end.sendall(frame(Asked(number, "POST", path, source, [*headers], body, fault)))
        return self.answers(1)[0]

    def answers(self, count):
        frames, found = Frames(ToFront), []
        while len(found) < count:
            content = self.end.recv(1 << 16)
            if not content:
                raise ConnectionResetError
            found += frames.of(content)
        return found

    def is_let_go(self):
        """Whether the ledger's process hangs up, after whatever it still says."""
        try:
            while self.end.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True


@pytest.fixture
def taken_over(service):
    one = TakenOver(service)
    yield one
    one.end.close()
    one.process.kill()
    one.process.wait()


def code_of(answer):
    return json.loads(answer.content)["code"]


def lines_of(service):
    return [json.loads(line) for line in service.logged().splitlines()]


def test_it_is_nobody_s_account(taken_over):
    """What it says of an account is no address, and it is let go; root by that name is nobody."""
    answer = taken_over.ask(path="/v1/unseal", body=b'{"passphrase": "a passphrase"}')
    assert (answer.status, code_of(answer)) == (403, "not-allowed-to-unseal")
    assert code_of(taken_over.ask()) == "no-caller"
    taken_over.end.sendall(frame(Asked(1, "POST", GET, "unix:0", [JSON], PAYROLL, "")))
    assert taken_over.is_let_go()


@pytest.mark.parametrize(
    "source", ["unix:0", "x" * 100_000, "192.0.2.7 ", "2001:db8::1", "", "localhost", "::/0"]
)
def test_a_source_is_an_address_as_peers_have_it(taken_over, source):
    """Or names without end would be kept, and lines of the log would name who never came."""
    taken_over.end.sendall(frame(Asked(1, "POST", GET, source, [JSON], PAYROLL, "")))
    assert taken_over.is_let_go()


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::/64", "unknown"])
def test_an_honest_source_is_taken(taken_over, source):
    """Of an address, of a site, and of who was gone before anybody looked."""
    assert taken_over.ask(source=source).status == 401


@pytest.mark.parametrize(
    "told",
    [
        {"message": "twice"},
        {"self": "x"},
        {"event": "request-failed"},
        {"write": "x"},
        {"timestamp": "1970-01-01T00:00:00Z"},
        {"exception": "x" * 100_000},
    ],
)
def test_it_says_nothing_of_its_own_in_the_log(service, taken_over, told):
    """Neither fields that no line of the server's has, nor texts without end."""
    content = msgspec.msgpack.encode([2, "Invalid HTTP request received.", told])
    taken_over.end.sendall(len(content).to_bytes(4, "big") + content)
    assert taken_over.is_let_go()
    assert [one for one in lines_of(service) if one["event"] == "server"] == []


def test_a_long_message_is_none(service, taken_over):
    """What an HTTP server says fits into a line."""
    content = msgspec.msgpack.encode([2, "x" * 100_000, ""])
    taken_over.end.sendall(len(content).to_bytes(4, "big") + content)
    assert taken_over.is_let_go()
    assert "xxx" not in service.logged()


@pytest.mark.parametrize(
    "headers",
    [
        [(b"accept", b"x" * (HEAD_BYTES_MAX + 1))],
        [(b"a" * (HEAD_BYTES_MAX + 1), b"x")],
        [(b"a", b"")] * (HEAD_BYTES_MAX + 1),
        [(b"a", b"")] * (LOOKED_AT_MAX + 1),
        [(b"accept", b"," * (HEAD_BYTES_MAX // 2))] * 2,
        [(b"accept", b"," * (HEAD_BYTES_MAX - len("POSTaccept")))],
    ],
)
def test_a_head_beyond_the_bound_is_none(taken_over, headers):
    """No front that does what it should would have read it, or handed on so many headers."""
    taken_over.end.sendall(frame(Asked(1, "POST", GET, "192.0.2.7", headers, PAYROLL, "")))
    assert taken_over.is_let_go()
    assert taken_over.process.wait(30) == -signal.SIGKILL


def test_a_head_within_the_bound_is_one(taken_over):
    """Of as many headers as a front may hand on, which decide nothing for a stranger."""
    headers = [(b"accept", b"," * 1000)] * LOOKED_AT_MAX
    assert taken_over.ask(headers=headers).status == 401
    token = (b"authorization", b"Bearer " + mint(int(time.time())).encode())
    answer = taken_over.ask(headers=[token, JSON, *headers[2:]])
    assert (answer.status, code_of(answer)) == (400, "malformed-header")


def test_a_word_for_a_fault_is_short(taken_over):
    """It is kept as long as its request, be it with the head or with the body."""
    long = "x" * HEAD_BYTES_MAX
    assert begin(taken_over) == Wanted(1)
    taken_over.end.sendall(frame(Rest(1, b"", long)))
    assert taken_over.is_let_go()


def test_a_word_for_a_fault_is_short_in_a_head(taken_over):
    """As it is behind one."""
    asked = Asked(1, "POST", GET, "192.0.2.7", [JSON], b"", "x" * HEAD_BYTES_MAX)
    taken_over.end.sendall(frame(asked))
    assert taken_over.is_let_go()


def test_whoever_reads_no_answers_is_asked_for_nothing_more(taken_over):
    """What is kept for it has a bound, however much it asks, and so has what is worked on."""
    padding = b" " * 1000  # so that little of it comes at once
    asked = frame(Asked(1, "GET", "/openapi.json", "192.0.2.7", [], padding, ""))
    with pytest.raises(TimeoutError):
        for _ in range(10_000):
            taken_over.end.sendall(asked * 10)
    assert taken_over.line._transport.get_write_buffer_size() < 1 << 20
    assert len(taken_over.line._tasks) < ASKED_MAX


def test_whoever_asks_for_more_than_a_front_has_in_hand_is_let_go(taken_over):
    """No front that does what it should has so many connections."""
    asked = frame(Asked(1, "GET", "", "192.0.2.7", [], b"", ""))
    try:
        taken_over.end.sendall(asked * 2 * ASKED_MAX)
    except ConnectionError:
        return
    assert taken_over.is_let_go()
    assert taken_over.process.wait(30) == -signal.SIGKILL


def test_faults_numbers_and_words_it_makes_up(taken_over):
    """A fault that nobody knows is one that keeps the body away; numbers come back as they are."""
    head = [JSON, (b"authorization", b"Bearer " + mint(int(time.time())).encode())]
    assert code_of(taken_over.ask(headers=head, fault="no-such-fault")) == "too-busy"
    for number in (0, -1, 2**63, 7, 7):
        answer = taken_over.ask(number, headers=head)
        assert (answer.number, answer.status) == (number, 200)
    taken_over.end.sendall(frame(Ready(is_confined=True)) * 2)
    assert taken_over.ask(headers=head).status == 200


@contextmanager
def verifying_nothing(service):
    """Meanwhile nobody's token is verified, so whoever shows one waits."""
    going = threading.Event()
    for _ in range(THREADS):
        service.service.seal.threads.submit(going.wait)
    try:
        yield
    finally:
        going.set()


@pytest.mark.parametrize("size", [LARGE_BYTES + 1, BODY_BYTES_MAX])
def test_whoever_fills_the_memory_with_large_requests_is_let_go(service, taken_over, size):
    """A front that does what it should hands on few at once."""
    head, body = [JSON, (b"authorization", b"Bearer x")], PAYROLL
    body += b" " * (size - len(body))
    asked = frame(Asked(1, "POST", GET, "192.0.2.7", head, body, ""))
    with verifying_nothing(service), pytest.raises(ConnectionError):
        for _ in range(4 * LARGE_MAX):
            taken_over.end.sendall(asked)


def begin(taken_over, number=1):
    """Ask with a believed head whose body follows; what is said to that."""
    head = [JSON, (b"authorization", b"Bearer " + mint(int(time.time())).encode())]
    asked = Asked(number, "POST", GET, "192.0.2.7", head, b"", "", follows=True)
    taken_over.end.sendall(frame(asked))
    return taken_over.answers(1)[0]


def test_a_body_is_wanted_of_those_who_are_known_and_taken_once(taken_over):
    """Strangers hear at once that they are; a body that nobody wants is nobody's."""
    asked = Asked(7, "POST", GET, "192.0.2.7", [JSON], b"", "", follows=True)
    taken_over.end.sendall(frame(Rest(7, PAYROLL, "")) + frame(asked))
    assert code_of(taken_over.answers(1)[0]) == "no-caller"
    assert begin(taken_over, 8) == Wanted(8)
    taken_over.end.sendall(frame(Rest(9, PAYROLL, "")) + frame(Rest(8, PAYROLL, "")) * 2)
    answer = taken_over.answers(1)[0]
    assert (answer.number, answer.status) == (8, 200)
    for fault, code in (("body-too-large", "body-too-large"), ("no-such-fault", "too-busy")):
        assert begin(taken_over) == Wanted(1)
        taken_over.end.sendall(frame(Rest(1, b"", fault)))
        assert code_of(taken_over.answers(1)[0]) == code
    assert taken_over.line._large == 0


def test_a_body_that_never_comes_is_not_waited_for_for_ever(taken_over, monkeypatch):
    """A front that does what it should says so before; nobody is left behind one that ends."""
    monkeypatch.setattr(front_line, "_REST_S", 0.1)
    assert begin(taken_over) == Wanted(1)
    assert code_of(taken_over.answers(1)[0]) == "request-too-slow"
    monkeypatch.setattr(front_line, "_REST_S", 60)
    assert begin(taken_over) == Wanted(1)
    taken_over.end.close()
    wait_until(lambda: taken_over.line.ended.is_set() and not taken_over.line._tasks)


def test_whoever_hands_over_more_large_bodies_than_it_may_is_let_go(taken_over):
    """Each was wanted, and none is answered meanwhile."""
    held = Held(taken_over.line._door._seal.counter.ledger)
    try:
        with pytest.raises(ConnectionError):
            for number in range(4 * LARGE_MAX):
                assert begin(taken_over, number) == Wanted(number)
                taken_over.end.sendall(frame(Rest(number, PAYROLL, "")))
    finally:
        held.let_go()


def test_a_front_that_the_kernel_does_not_confine_is_told_of(service, taken_over):
    """Once, however often it says so; of one that is confined nothing is said."""
    taken_over.end.sendall(frame(Ready(is_confined=False)) * 2)
    assert taken_over.ask().status == 401
    assert [one["event"] for one in lines_of(service)].count("front-not-confined") == 1
