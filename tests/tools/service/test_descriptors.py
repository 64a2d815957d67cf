"""Whoever may connect cannot take the last files that the service's process may open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import time

import psutil
import pytest
import uvloop

from tests.ledger.tokens.minting import mint
from tests.tools.service import test_seal
from tests.tools.service.clients import Client
from tests.tools.service.conftest import furnish
from tests.tools.service.test_callers import now, trust
from tests.tools.service.test_fronts import listening_of
from tests.tools.service.test_seal import process
from tools.processes.descriptors import SPARE, allow, is_spare, share
from tools.service.connections import CONNECTIONS_MAX
from tools.service.http_server import hand_faults_to

GET = "/v1/credentials/get"
PAYROLL = {"application": "payroll"}
FEW = 160


@pytest.fixture
def lowered():
    """What this process starts may open few files, unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def files_of(pid):
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def answered(place, token=None, seconds=30):
    """The answer to somebody new, once he is not hung up on any more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        client = Client(place, token)
        with contextlib.closing(client), contextlib.suppress(OSError):
            return client.ask(GET, PAYROLL)
    raise AssertionError


def test_connections_leave_files_for_reads(prepared, tmp_path, lowered):
    """Who is connected reads on, over TCP and the unix socket, and the log says nothing."""
    house = prepared(furnish, trust)
    with process(house, tmp_path, "--listen", "127.0.0.1:0", "--front-processes", "0") as started:
        places = tmp_path / "socket", listening_of([started.pid])
        assert files_of(started.pid) == min(lowered, 3 * CONNECTIONS_MAX + 2 * SPARE)
        resource.prlimit(started.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
        connected = [Client(place, mint(now())) for place in places]
        for place in places:
            with contextlib.ExitStack() as held:
                for _ in range(2 * FEW):
                    held.enter_context(contextlib.closing(Client(place)))
                for client in connected:
                    assert client.ok(GET, PAYROLL)["fields"]
            assert answered(place, mint(now())).status == 200
        for client in connected:
            client.close()
        started.terminate()
        told = [json.loads(line)["event"] for line in started.stderr.read().splitlines()]
        assert started.wait(30) == 0
    assert told == ["stopping", "stopped"]


@pytest.mark.parametrize("files", [1024, FEW])
def test_those_of_one_socket_leave_files_to_the_others(prepared_file, tmp_path, monkeypatch, files):
    """Somebody new is answered at the unix socket while TCP is full; the log says that few are."""
    house = prepared_file(furnish, trust)
    limited = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *test_seal.SERVE]
    monkeypatch.setattr(test_seal, "SERVE", limited)
    options = "--listen", "127.0.0.1:0", "--front-processes", "0", "--metrics", "127.0.0.1:0"
    with process(house, tmp_path, *options) as started, contextlib.ExitStack() as held:
        wanted = 3 * CONNECTIONS_MAX + 2 * SPARE
        line = next(one for one in started.said_first if one["event"] == "few-open-files")
        assert (line["limit"], line["wanted"]) == (files, wanted)
        assert line["level"] == "warning"
        for place in listening_at(started.pid):
            for host in ("127.0.0.2", "127.0.0.3"):
                for _ in range(450 if files > FEW else FEW):
                    last = held.enter_context(opened(place, host))
            assert last.recv(1) == b""
        for _ in range(3):
            client = Client(tmp_path / "socket")
            with contextlib.closing(client):
                assert client.ok(GET, PAYROLL)["fields"]
                assert client.send("GET", "/health/ready").status == 200


def opened(place, host):
    """A connection from that address."""
    return socket.create_connection(place, timeout=30, source_address=(host, 0))


def listening_at(pid):
    """The addresses at which this process listens over TCP."""
    return [
        one.laddr
        for one in psutil.Process(pid).net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    ]


@pytest.mark.usefixtures("lowered")
@pytest.mark.parametrize(("files", "most"), [(1024, [512, 256, 170]), (300, [75, 37, 25])])
def test_each_socket_has_a_share_of_the_files(files, most):
    """Of those that are neither spare nor the process's own."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    assert [share(sockets) for sockets in (1, 2, 3)] == most


def test_the_limit_is_never_lowered(lowered):
    """Whoever allows few after many keeps what the process has."""
    allow(1000)
    assert files_of(0) == min(lowered, 1000 + 2 * SPARE)
    allow(10)
    assert files_of(0) == min(lowered, 1000 + 2 * SPARE)


@pytest.mark.usefixtures("lowered")
@pytest.mark.parametrize(("files", "first"), [(1024, 768), (300, 150)])
def test_the_last_numbers_are_spare(files, first):
    """As many as are needed for other things, or half of them where there are few."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    assert [is_spare(one) for one in (3, first - 1, first, files)] == [False, False, True, True]


def test_what_a_callback_raises_is_a_line_without_its_text():
    """Its type and place, where a loop would write a page of what stood in its names."""
    said = []

    async def run():
        hand_faults_to(lambda *line: said.append(line))
        loop = asyncio.get_running_loop()
        loop.call_soon(int, "canary-4e1d")
        loop.call_exception_handler({"message": "canary-4e1d"})
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    uvloop.run(run())
    assert "canary" not in str(said)
    assert ("Something unforeseen happened.",) in said
    assert [line[1] for line in said if len(line) == 2] == ["ValueError"]
