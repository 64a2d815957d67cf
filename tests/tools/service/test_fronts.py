"""Processes that speak HTTP for the ledger's process, and what becomes of their faults."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop

from ledger.errors import Unavailable
from tests.ledger.tokens.minting import mint
from tests.tools.service.clients import MSGPACK, Client, raw
from tests.tools.service.conftest import VALUES, furnish, running, settings_of
from tests.tools.service.test_callers import ALICE, trust
from tests.tools.service.test_load import Held, Load, granted_positions
from tests.tools.service.test_seal import process
from tools.service import front_line, fronts, reading
from tools.service.forms import BODY_BYTES_MAX
from tools.service.frames import (
    ASKED_BYTES_MAX,
    Answer,
    Asked,
    BrokenFrame,
    Frames,
    Ready,
    Rest,
    Said,
    Stop,
    ToFront,
    ToLedger,
    frame,
)
from tools.service.journal import Journal
from tools.service.outlet import Outlet
from tools.service.places import Address
from tools.service.reading import Bodies, ClientGone
from tools.service.server import Service, ServiceSettings

GET = "/v1/credentials/get"
PAYROLL = {"application": "payroll"}
FRONTED = ("--listen", "127.0.0.1:0", "--front-processes", "2")


@pytest.fixture
def furnished(prepared):
    return prepared(furnish, trust)


@pytest.fixture
def file(prepared_file):
    """Where one kind of store is enough."""
    return prepared_file(furnish, trust)


@pytest.fixture
def fronted(file, tmp_path):
    with running(file, tmp_path, front_processes=1) as one:
        yield one


def token():
    return mint(int(time.time()))


def children_of(pid):
    """The processes that one started."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(one) for one in told.split()]


def front_of(service):
    """The number of the one front of a service in this process."""
    (line,) = service.service._fronts._lines
    return line._process.pid


def wait_for_end(pids):
    """Wait until these processes are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # gone already
            end = os.pidfd_open(pid)
            assert select.select([end], [], [], 30)[0]
            os.close(end)


def ask_until_answered(address, said, seconds=30):
    """The answer of a new connection, once there is one."""
    deadline = time.monotonic() + seconds
    while True:
        assert time.monotonic() < deadline
        client = Client(address, said)
        try:
            return client.ask(GET, PAYROLL)
        except OSError:
            pass
        finally:
            client.close()


def wait_until(holds, seconds=30):
    """Look again and again until it does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_what_is_asked_over_tcp_is_answered_as_without_a_front(furnished, tmp_path):
    """Values in both forms, recorded with whose they were; problems with the headers they need."""
    with running(furnished, tmp_path, front_processes=1) as service:
        alice, nobody = service.stranger(token()), service.stranger()
        for form in ("application/json", MSGPACK):
            found = alice.ok(GET, PAYROLL, form=form)
            assert (found["owner"], found["fields"]) == (ALICE, VALUES)
        record = service.service.seal.counter.session.views.accesses.newest(limit=1)[0]
        assert (record["caller"], record["position"]) == (ALICE, found["position"])
        refused = nobody.ask(GET, PAYROLL)
        assert (refused.status, refused.code) == (401, "no-caller")
        assert refused.headers["www-authenticate"] == 'Bearer realm="credledger"'
        assert refused.headers["cache-control"] == "no-store"
        reply = alice.send("GET", GET)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        alice.fails(404, "no-such-path", "/v1/nothing", {})
        alice.fails(422, "invalid-body", GET, {"application": 7})
        alice.fails(415, "content-encoding-not-taken", GET, PAYROLL, content_encoding="gzip")
        assert alice.send("GET", "/health/ready").document == {"status": "ready"}
        reply = alice.ask("/v1/unseal", {"passphrase": "a passphrase"})
        assert (reply.status, reply.code) == (403, "not-allowed-to-unseal")


def test_headers_that_come_very_often_do_not_end_a_front(fronted):
    """It hands on as many as tell what is wrong, and goes on."""
    head = b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    head += b"authorization: Bearer %b\r\ncontent-length: 25\r\n" % token().encode()
    body = b'\r\n{"application":"payroll"}'
    for said, status in (
        (b"x-a: b\r\n" * 1000, b"200"),
        (b"accept:\r\n" * 20, b"200"),
        (b"accept:\r\n" * 1000, b"400"),
        (b"idempotency-key: k\r\n" * 500, b"400"),
        (b"content-type: application/json\r\n" * 500, b"400"),
        (b"content-encoding: gzip\r\n" * 500, b"415"),
        (b"authorization: Bearer x\r\n" * 500, b"401"),
    ):
        answer = raw(fronted.address, head + said + b"connection: close\r\n" + body)
        assert answer[9:12] == status, said[:30]
    assert "front-ended" not in fronted.logged()


def test_bodies_beyond_their_bound_are_refused_at_a_front(fronted):
    """By the length that is told, and in pieces where it goes beyond; then nothing can follow."""
    head = b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    head += b"authorization: Bearer %b\r\n" % token().encode()
    piece = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))
    for rest in (
        b"content-length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1),
        b"transfer-encoding: chunked\r\n\r\n" + piece * 64 + b"1\r\nx\r\n",
    ):
        with fronted.stranger().connected() as made:
            made.sendall(head + rest)
            answer = made.recv(65536)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in answer


def test_a_front_is_told_nothing_that_leads_to_keys_or_a_store(file, tmp_path, monkeypatch):
    """Neither by its environment, nor by what it was started with, nor by open files."""
    canary = str(tmp_path / "canary-8c1f")
    for name in ("CREDLEDGER_STORE", "CREDENTIALS_DIRECTORY", "PGPASSWORD"):
        monkeypatch.setenv(name, canary)
    with running(file, tmp_path, front_processes=1) as service:
        told = Path(f"/proc/{front_of(service)}")
        said = (told / "environ").read_bytes() + (told / "cmdline").read_bytes()
        assert b"tools.service.front" in said
        assert canary.encode() not in said
        assert str(service.house.keyring_path.parent).encode() not in said
        opened = [str(one.readlink()) for one in (told / "fd").iterdir()]
        assert not [one for one in opened if str(file.store_path.parent) in one]
        assert "NoNewPrivs:\t1\n" in (told / "status").read_text(encoding="utf-8")


def test_a_front_takes_no_modules_of_the_folder_it_is_started_in(file, tmp_path, monkeypatch):
    """Or whoever may write there would speak for the service."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with running(file, tmp_path, front_processes=1) as service:
        assert service.stranger(token()).ok(GET, PAYROLL)["owner"] == ALICE


def test_another_front_is_started_where_one_ends(fronted):
    """Who is connected hears no more; who comes again is answered, and the log tells of it."""
    alice, first = fronted.stranger(token()), front_of(fronted)
    alice.ok(GET, PAYROLL)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(OSError):
        for _ in range(100):
            alice.ask(GET, PAYROLL)
    assert ask_until_answered(fronted.address, token()).status == 200
    assert front_of(fronted) != first
    lines = [json.loads(line) for line in fronted.logged().splitlines()]
    assert [one["status"] for one in lines if one["event"] == "front-ended"] == [-9]


def test_a_front_that_hangs_is_ended_and_another_one_started(file, tmp_path, monkeypatch):
    """It keeps its connections and answers none; the log tells of it."""
    monkeypatch.setattr(front_line, "LOOK_S", 0.1)
    with running(file, tmp_path, front_processes=1) as service:
        first = front_of(service)
        alice = service.stranger(token())
        alice.ok(GET, PAYROLL)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(OSError):
            alice.ask(GET, PAYROLL)
        assert ask_until_answered(service.address, token()).status == 200
        assert front_of(service) != first
        lines = [json.loads(line) for line in service.logged().splitlines()]
    told = [one["event"] for one in lines if one["event"].startswith("front-")]
    assert told == ["front-silent", "front-ended"]


def test_a_front_that_has_nothing_to_do_is_left_alone(file, tmp_path, monkeypatch):
    """It says that it is there whenever it is looked for."""
    monkeypatch.setattr(front_line, "LOOK_S", 0.05)
    looked = []
    honest = front_line.Line._look_for_it

    def look(line):
        looked.append(line._silent)
        honest(line)

    monkeypatch.setattr(front_line.Line, "_look_for_it", look)
    with running(file, tmp_path, front_processes=1) as service:
        first = front_of(service)
        wait_until(lambda: len(looked) >= 20)
        assert front_of(service) == first
        assert service.stranger(token()).ok(GET, PAYROLL)["owner"] == ALICE
    assert looked.count(0) >= 15


def test_what_a_killed_front_was_asked_is_recorded_once_or_not_at_all(furnished, tmp_path):
    """What was answered is in the log; besides it at most one read of each connection."""
    connections = 8
    with running(furnished, tmp_path, front_processes=1) as service:
        with Load(service.address, connections, token=token()) as load:
            load.until(lambda one: len(one.positions) >= 40)
            os.kill(front_of(service), signal.SIGKILL)
        last = ask_until_answered(service.address, token()).document["position"]
    answered, recorded = {*load.positions, last}, granted_positions(furnished)
    assert len(load.positions) == len(set(load.positions))
    assert answered <= set(recorded)
    assert len(recorded) - len(answered) <= connections


def test_fronts_end_with_the_ledger_s_process(file, tmp_path):
    """Killed, it leaves nobody behind who would take connections."""
    with process(file, tmp_path, *FRONTED) as started:
        pids = children_of(started.pid)
        assert len(pids) == 2
        started.kill()
        wait_for_end(pids)


def test_told_to_stop_what_is_in_hand_is_answered_first(file, tmp_path):
    """Each read that is recorded was answered, and no front is left."""
    with process(file, tmp_path, *FRONTED) as started:
        pids = children_of(started.pid)
        with Load(listening_of(pids), token=token()) as load:
            load.until(lambda one: len(one.positions) >= 40)
            started.send_signal(signal.SIGTERM)
            assert started.wait(60) == 0
        wait_for_end(pids)
    assert sorted(load.positions) == sorted(granted_positions(file))
    assert set(load.statuses) == {200}


def listening_of(pids):
    """Where these processes listen, as the system tells it."""
    inodes = {
        str(one.readlink()).removeprefix("socket:[").removesuffix("]")
        for one in Path(f"/proc/{pids[0]}/fd").iterdir()
        if str(one.readlink()).startswith("socket:[")
    }
    lines = Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]
    (port,) = {
        int(fields[1].rpartition(":")[2], 16)
        for fields in map(str.split, lines)
        if fields[9] in inodes and fields[3] == "0A"
    }
    return "127.0.0.1", port


@pytest.mark.parametrize("does", ["exit 3", 'printf "\\377\\377\\377\\377" >&"$4"; sleep 60'])
def test_a_front_that_does_not_start_is_said_and_nothing_is_left(file, tmp_path, monkeypatch, does):
    """It ends at once, or says what it cannot mean: an error, no socket, no process."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/bash\n{does}\n", encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setattr(fronts.sys, "executable", str(program))
    address = Address("127.0.0.1", 0)
    wanted = ServiceSettings(tmp_path / "socket", address, None, False, None, 1e6, 1e6, 1)
    service = Service(settings_of(file), wanted, Journal(Outlet(io.StringIO().write)))
    with pytest.raises(Unavailable) as caught:
        uvloop.run(service.serve())
    service.close()
    assert caught.value.code == "front-not-started"
    assert not (tmp_path / "socket").exists()
    assert children_of(os.getpid()) == []


MESSAGES = [
    Asked(1, "POST", GET, "192.0.2.7", [(b"accept", b"*/*")], b'{"a": 1}', ""),
    Asked(2, "POST", GET, "192.0.2.7", [(b"accept", b"*/*")], b"", "", follows=True),
    Rest(2, b'{"a": 1}', ""),
    Said("Invalid HTTP request received.", "ValueError"),
    Ready(is_confined=True),
]


def test_messages_arrive_whole_however_they_are_cut():
    """Byte by byte, at every place in two, and all at once."""
    whole = b"".join(map(frame, MESSAGES))
    for cut in range(len(whole) + 1):
        frames = Frames(ToLedger, ASKED_BYTES_MAX)
        assert [*frames.of(whole[:cut]), *frames.of(whole[cut:])] == MESSAGES
    frames = Frames(ToLedger, ASKED_BYTES_MAX)
    assert [one for byte in whole for one in frames.of(bytes([byte]))] == MESSAGES
    answer = Answer(7, 200, b"application/json", b"{}", ((b"retry-after", b"1"),))
    assert list(Frames(ToFront).of(frame(answer) + frame(Stop()))) == [answer, Stop()]
    assert "{}" not in repr(answer)
    assert "a" not in repr(Rest(2, b"aaa", "")).removeprefix("Rest")
    long = Answer(8, 200, b"application/json", b"x" * 2 * ASKED_BYTES_MAX, ())
    assert list(Frames(ToFront).of(frame(long))) == [long]


@pytest.mark.parametrize(
    "content",
    [
        (ASKED_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x00",
        frame(Stop()),
        frame(Answer(1, 200, b"", b"", ())),
        b"\x00\x00\x00\x03\x93\x01\x01",
    ],
)
def test_what_a_front_cannot_mean_ends_it(content):
    """Too long, no msgpack, nothing, or what only the other side says."""
    with pytest.raises(BrokenFrame):
        list(Frames(ToLedger, ASKED_BYTES_MAX).of(content))


def pieces(*sizes, end=True):
    """A receive that gives these many bytes at a time."""
    left = list(sizes)

    async def receive():
        if not left:
            await asyncio.get_running_loop().create_future()
        size = left.pop(0)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(left) or not end}

    return receive


def test_few_large_bodies_are_read_at_once(monkeypatch):
    """One too many is told to come again; small ones are read, and large ones later."""
    monkeypatch.setattr(reading, "LARGE_MAX", 2)
    large = reading.LARGE_BYTES

    async def ask():
        bodies = Bodies()
        held = [
            asyncio.ensure_future(bodies.read(b"0", pieces(large, 1, end=False), one))
            for one in "ab"
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await bodies.read(b"0", pieces(large, 1), "c")
        assert caught.value.code == "too-busy"
        assert await bodies.read(b"0", pieces(large - 1, 1), "c") == b"x" * large
        for one in held:
            one.cancel()
        await asyncio.wait(held)
        assert len(await bodies.read(b"0", pieces(large, large), "c")) == 2 * large

    uvloop.run(ask())


def test_a_large_body_is_read_once_it_is_wanted():
    """Small ones are wanted by nobody; what `want` raises is what becomes of a large one."""
    large, asked = reading.LARGE_BYTES, []

    async def want():
        asked.append(1)
        if len(asked) > 1:
            raise ClientGone

    async def ask():
        bodies = Bodies()
        await bodies.read(b"0", pieces(large), "a", want)
        await bodies.read(b"0", pieces(large - 1, 1), "a", want)
        assert asked == []
        assert len(await bodies.read(b"0", pieces(large, 1, large), "a", want)) == 2 * large + 1
        assert asked == [1]
        with pytest.raises(ClientGone):
            await bodies.read(b"0", pieces(large + 1), "a", want)
        assert bodies._large.total() == 0

    uvloop.run(ask())


def test_a_body_that_does_not_end_or_ends_too_early_is_no_body(monkeypatch):
    """One is refused by its time; of the other nobody is left to be told."""
    monkeypatch.setattr(reading, "BODY_S_MAX", 0.0)

    async def gone():
        return {"type": "http.disconnect"}

    async def ask():
        with pytest.raises(Unavailable) as caught:
            await Bodies().read(b"0", pieces(1, end=False), "a")
        assert caught.value.code == "request-too-slow"
        with pytest.raises(Unavailable) as caught:
            await Bodies().read(b"9", pieces(), "a")
        assert caught.value.code == "request-too-slow"
        with pytest.raises(ClientGone):
            await Bodies().read(b"9", gone, "a")

    uvloop.run(ask())


def test_a_front_says_what_is_no_http(fronted):
    """The service's log has the server's line, as without a front."""
    with socket.create_connection(fronted.address, timeout=30) as made:
        made.sendall(b"no HTTP at all\r\n\r\n")
        assert made.recv(100).startswith(b"HTTP/1.1 400 ")
    fronted.stranger(token()).ok(GET, PAYROLL)
    lines = [json.loads(line) for line in fronted.logged().splitlines()]
    assert "Invalid HTTP request received." in [one.get("message") for one in lines]


def test_a_front_that_does_not_stop_is_ended(file, tmp_path, monkeypatch):
    """One that the system has stopped does not keep the service from its end."""
    monkeypatch.setattr(front_line, "STOP_S", 0.5)
    with running(file, tmp_path, front_processes=1) as service:
        (line,) = service.service._fronts._lines
        os.kill(line._process.pid, signal.SIGSTOP)
    assert line._process.returncode == -signal.SIGKILL


def test_told_to_stop_while_fronts_start_it_stops(file, tmp_path, monkeypatch):
    """The service ends without an error, and leaves no socket and no process."""
    made = []

    def program(*arguments, **named):
        made.append(subprocess.Popen(*arguments, **named))
        asyncio.get_running_loop().call_soon(service.stop)
        return made[-1]

    monkeypatch.setattr(
        fronts, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": program})
    )
    address = Address("127.0.0.1", 0)
    wanted = ServiceSettings(tmp_path / "socket", address, None, False, None, 1e6, 1e6, 2)
    service = Service(settings_of(file), wanted, Journal(Outlet(io.StringIO().write)))
    uvloop.run(service.serve())
    service.close()
    assert [one.returncode for one in made] == [0, 0]
    assert not (tmp_path / "socket").exists()


def test_few_large_bodies_wait_for_an_answer_at_once(fronted):
    """Whoever comes with one more is told to come again, however many addresses they come from."""
    large = whole(b'{"application": "payroll"}' + b" " * reading.LARGE_BYTES, token())
    fronted.stranger(token()).ok(GET, PAYROLL)
    held = Held(fronted.service.seal.counter.ledger)
    with contextlib.ExitStack() as stack:
        stack.callback(held.let_go)
        waiting = []
        for number in range(reading.LARGE_MAX + 1):
            host = f"127.0.0.{2 + number // reading.SOURCE_LARGE_MAX}"
            made = socket.create_connection(fronted.address, 30, source_address=(host, 0))
            waiting.append(stack.enter_context(made))
            made.sendall(large)
        (turned_away, *_), _, _ = select.select(waiting, [], [], 30)
        assert turned_away.recv(65536).startswith(b"HTTP/1.1 503 ")
        held.let_go()
        rest = [one for one in waiting if one is not turned_away]
        assert {one.recv(65536)[9:12] for one in rest} == {b"200"}


def whole(body, token):
    """A request with this token."""
    return (
        b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (token.encode(), len(body), body)
    )
