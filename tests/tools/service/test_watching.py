"""Whoever watches the service sees how it is, and keeps it from nothing."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ledger.errors import Unavailable
from ledger.usecases.ledger import Ledger
from tests.ledger.tokens.minting import mint
from tests.tools.service.clients import Client
from tests.tools.service.conftest import VALUES, furnish, running
from tests.tools.service.test_callers import trust
from tests.tools.service.test_seal import process
from tools import wiring
from tools.service import connections, door, protocol, seal
from tools.service.exposition import PAGES_AT_ONCE
from tools.service.outlet import LINES_MAX, Outlet, to_descriptor
from tools.service.places import Address
from tools.service.protocol import HEAD_BYTES_MAX

GET = "/v1/credentials/get"
PAYROLL = {"application": "payroll"}
DAY_US = 86_400_000_000
ANYWHERE = Address("127.0.0.1", 0)


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish, trust)


def text_of(service) -> str:
    host, port = service.service.metrics_address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def told(service) -> dict[tuple[str, ...], float]:
    """Each sample by its name and its labels, in the order of their names."""
    return {
        (sample.name, *(label for _, label in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text_of(service))
        for sample in family.samples
    }


def soon(service, key, value):
    """The samples, once this one is so: what is counted is counted behind the answer."""
    deadline = time.monotonic() + 10
    while (samples := told(service)).get(key) != value:
        assert time.monotonic() < deadline, samples
    return samples


def test_whoever_asks_while_the_store_is_looked_at_hears_what_is_found(
    house, tmp_path, monkeypatch
):
    """Not what was so when somebody asked last; the look is one, and nobody else waits for it."""
    with running(house, tmp_path) as service:
        client, others = service.client(), [service.client() for _ in range(3)]
        assert client.send("GET", "/health/ready").status == 200
        begun, found = threading.Semaphore(0), threading.Event()

        def head(_):
            begun.release()
            assert found.wait(30)
            raise Unavailable("store-unreachable", "The store is not there.")

        monkeypatch.setattr(Ledger, "head", head)
        monkeypatch.setattr(seal, "READY_S", 0.0)
        with ThreadPoolExecutor(len(others)) as pool:
            asking = [pool.submit(one.send, "GET", "/health/ready") for one in others]
            assert begun.acquire(timeout=30)
            time.sleep(0.2)
            monkeypatch.setattr(seal, "READY_S", 3600.0)
            monkeypatch.setattr(door, "IN_HAND_MAX", 1)
            client.ok(GET, PAYROLL)  # for who watches has nothing in hand
            assert not any(one.done() for one in asking)
            found.set()
            assert [one.result(30).status for one in asking] == [503] * len(others)
        assert not begun.acquire(timeout=0)
        assert client.send("GET", "/health/ready").status == 503


@pytest.mark.parametrize("code", ["clock-ahead", "access-key-missing"])
def test_a_service_that_records_no_read_for_its_clock_or_keys_is_not_ready(
    house, tmp_path, monkeypatch, code
):
    """As after a long rest, or at the end of an epoch's months: every read is refused alike."""
    ahead = [0]
    monkeypatch.setattr(wiring, "clock", lambda: time.time_ns() // 1000 + ahead[0])
    monkeypatch.setattr(seal, "READY_S", 0.0)
    with running(house, tmp_path, accept_clock=code != "clock-ahead") as service:
        client = service.client()
        assert client.send("GET", "/health/ready").status == 200
        ahead[0] = (40 if code == "clock-ahead" else 3700) * DAY_US
        client.fails(503, code, GET, PAYROLL)
        ready = client.send("GET", "/health/ready")
        assert (ready.status, ready.document) == (503, {"status": "unavailable"})
        ahead[0] = 0
        client.ok(GET, PAYROLL)
        assert client.send("GET", "/health/ready").document == {"status": "ready"}


def test_reads_refusals_and_commits_are_counted_with_no_name_of_anybody(house, tmp_path):
    """By operation, status and code; with their times, and where the ledger stands."""
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        client = service.client()
        for _ in range(5):
            client.ok(GET, {**PAYROLL, "reason": "canary-reason"})
        client.fails(403, "access-denied", GET, {"application": "canary-application"})
        client.ask("/v1/canary", {})
        service.stranger("canary-token").ask(GET, PAYROLL)
        service.stranger(mint(int(time.time()))).ok(GET, PAYROLL)
        client.send("GET", "/health/live")
        samples = soon(service, ("credledger_requests_total", "", GET, "200"), 6)
        size = service.service.seal.counter.ledger.head().size
        text = text_of(service)
    assert samples["credledger_requests_total", "access-denied", GET, "403"] == 1
    assert samples["credledger_requests_total", "token-refused", GET, "401"] == 1
    assert samples["credledger_requests_total", "no-such-path", "other", "404"] == 1
    assert samples["credledger_request_seconds_count", GET] == 8
    assert samples["credledger_request_seconds_bucket", "+Inf", GET] == 8
    rising = [value for key, value in samples.items() if key[0].endswith("seconds_bucket")]
    assert 0 < samples["credledger_request_seconds_sum", GET] < 60
    assert len(rising) > 20
    assert samples["credledger_commit_requests_sum",] >= 7
    assert samples["credledger_commit_seconds_count",] >= 7
    assert samples["credledger_sealed",] == 0
    assert samples["credledger_store_up",] == 1
    assert samples["credledger_position",] == size
    assert samples["credledger_view_lag", "access_history"] == 0
    assert samples["credledger_tokens_known",] == 1
    assert 0 <= samples["credledger_epoch_age_seconds",] < 3600 * 24
    assert samples["credledger_log_lines_dropped_total",] == 0
    for name in ("canary", "payroll", "alice", *VALUES.values()):
        assert name not in text


def test_how_far_views_are_behind_and_how_old_the_keys_are_is_told(house, tmp_path, monkeypatch):
    """Events that a view lacks, each for itself; seconds since the epoch was started."""
    quarter_s = 90 * 24 * 3600
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        counter = service.service.seal.counter
        views = [
            ("credledger_view_lag", str(one["name"])) for one in counter.session.views.status()
        ]
        before = told(service)
        assert [before[view] for view in views] == [0] * len(views)
        counter.ledger._writer._maintainers = ()
        for _ in range(3):
            service.client().ok(GET, PAYROLL)
        history = counter.ledger.key_history()
        began_s = history.started_at[history.current] / 1_000_000
        clock = SimpleNamespace(time=lambda: began_s + quarter_s, perf_counter=time.perf_counter)
        monkeypatch.setattr("tools.service.metrics.time", clock)
        samples = told(service)
    assert [samples[view] for view in views] == [3] * len(views)
    assert samples["credledger_epoch_age_seconds",] == pytest.approx(quarter_s)
    assert before["credledger_epoch_age_seconds",] == pytest.approx(time.time() - began_s, abs=600)


def test_a_histogram_counts_up_to_each_bound(house, tmp_path):
    """A bound's number holds those of all lower ones."""
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        for seconds in (0.001, 0.002, 0.03, 7.0):
            service.service._metrics.answered("some", 200, "", seconds)  # as the door
        samples = told(service)
    upto = {key[1]: value for key, value in samples.items() if key[2:] == ("some",)}
    assert (upto["0.002"], upto["0.02"], upto["0.04"], upto["5.12"], upto["+Inf"]) == (
        2,
        2,
        3,
        3,
        4,
    )
    assert samples["credledger_request_seconds_sum", "some"] == pytest.approx(7.033)


def test_a_sealed_service_and_one_without_its_store_say_so(house, tmp_path, request):
    """Of the ledger nothing else is told then."""
    with running(house, tmp_path, sealed=True, metrics=ANYWHERE) as service:
        samples = told(service)
        assert samples["credledger_sealed",] == 1
        assert ("credledger_position",) not in samples
        service.service.seal.open(None)
        assert told(service)["credledger_position",] > 0
        kept = house.store_path.with_suffix(".kept")
        house.store_path.rename(kept)
        try:
            samples = told(service)
            assert (samples["credledger_sealed",], samples["credledger_store_up",]) == (0, 0)
            assert ("credledger_position",) not in samples
        finally:
            house.store_path.unlink(missing_ok=True)
            kept.rename(house.store_path)


def test_metrics_end_with_the_service_and_are_nowhere_on_its_own_address(house, tmp_path):
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        assert service.client().send("GET", "/metrics").status == 404
        address = service.service.metrics_address
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(*address, timeout=5).connect()


@pytest.fixture
def watched(house, tmp_path):
    """A service and an address at which its metrics are, with the share of each that asks there."""
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        yield service, service.service.metrics_address


def watcher(service, address) -> Client:
    """Somebody who asks there."""
    service.clients.append(Client(address))
    return service.clients[-1]


def test_an_address_gets_a_share_of_metrics_and_no_more(house, tmp_path):
    """A share of its own, which takes nothing of what is left for reads from there."""
    with running(house, tmp_path, metrics=ANYWHERE, address_rate=1) as service:
        client = watcher(service, service.service.metrics_address)
        replies = [client.send("GET", "/metrics") for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert (replies[2].code, replies[2].headers["retry-after"]) == ("too-many-requests", "1")
        assert service.stranger().ask(GET, {}).code == "no-caller"


def test_there_is_one_page_of_metrics_and_it_is_only_read(watched):
    """Whatever else is asked there is a problem like any other."""
    client = watcher(*watched)
    reply = client.send("POST", "/metrics")
    assert (reply.status, reply.code) == (405, "method-not-allowed")
    assert reply.headers["allow"] == "GET, HEAD"
    head = client.send("HEAD", "/metrics")
    assert (head.status, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    for path in ("/", GET, "/health/ready"):
        assert (client.send("GET", path).status, client.send("GET", path).code) == (
            404,
            "no-such-path",
        )


def test_whatever_form_is_wanted_there_is_a_page(watched):
    """Even where a version is wanted that is none."""
    client = watcher(*watched)
    for accepted, form in (
        ("text/plain;version=x", "text/plain"),
        ("text/plain;version=1.x.0", "text/plain"),
        ("application/openmetrics-text;version=\u00b2", "text/plain"),
        (";;,=", "text/plain"),
        ("application/openmetrics-text;version=9.9.9", "application/openmetrics-text"),
        ("application/openmetrics-text;escaping=x", "application/openmetrics-text"),
    ):
        reply = client.send("GET", "/metrics", accept=accepted)
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, form)


def test_a_head_without_end_is_cut_off_where_metrics_are(watched):
    head = b"GET /metrics HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * (HEAD_BYTES_MAX * 10)
    with watcher(*watched).connected() as made:
        made.sendall(head)
        assert made.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_a_slow_head_is_cut_off_where_metrics_are(watched, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.0)
    with watcher(*watched).connected() as made:
        made.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert made.recv(1) == b""


def test_one_source_has_a_share_of_the_connections_where_metrics_are(watched, monkeypatch):
    monkeypatch.setattr(connections, "SOURCE_CONNECTIONS_MAX", 3)
    held = [watcher(*watched) for _ in range(3)]
    assert all(one.send("GET", "/metrics").status == 200 for one in held)
    with watcher(*watched).connected() as more:
        more.settimeout(protocol.HEAD_S_MAX / 2)
        assert more.recv(1) == b""
    assert held[0].send("GET", "/metrics").status == 200


class Waiting(Collector):
    """A metric that takes its time."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()

    def collect(self):
        self.asked.release()
        assert self.go_on.wait(30)
        return ()


def test_few_pages_of_metrics_are_made_at_once_and_reads_go_on(watched):
    """Who asks beyond them is told so at once, and nothing of it stays."""
    service, address = watched
    waiting = Waiting()
    service.service._metrics.registry.register(waiting)
    statuses = []
    askers = [
        threading.Thread(
            target=lambda one: statuses.append(one.send("GET", "/metrics").status),
            args=(watcher(service, address),),
        )
        for _ in range(PAGES_AT_ONCE)
    ]
    for asker in askers:
        asker.start()
    for _ in askers:
        assert waiting.asked.acquire(timeout=30)
    reply = watcher(service, address).send("GET", "/metrics")
    assert (reply.status, reply.code) == (503, "too-busy")
    service.client().ok(GET, PAYROLL)
    waiting.go_on.set()
    for asker in askers:
        asker.join(30)
    assert statuses == [200] * PAGES_AT_ONCE
    assert watcher(service, address).send("GET", "/metrics").status == 200


def test_a_reader_of_the_log_that_stops_reading_stops_no_answer(house, tmp_path):
    """Its pipe is full; reads are answered all the same, and SIGTERM ends the service with 0."""
    with process(house, tmp_path) as started:
        fcntl.fcntl(started.stderr.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        client = Client(tmp_path / "socket")
        for _ in range(100):  # 100 lines have more than twice as many bytes as the pipe takes
            client.fails(404, "no-such-path", "/v1/none", {})
        client.ok(GET, PAYROLL)
        client.close()
        started.terminate()
        assert started.wait(30) == 0


def test_a_log_without_a_reader_stops_no_answer(house, tmp_path):
    """The reader is gone, and the lines with it."""
    with process(house, tmp_path) as started:
        started.stderr.close()
        client = Client(tmp_path / "socket")
        for _ in range(3):
            client.fails(404, "no-such-path", "/v1/none", {})
        client.ok(GET, PAYROLL)
        client.close()
        started.terminate()
        assert started.wait(30) == 0


def test_lines_that_nobody_takes_are_dropped_and_counted():
    """What waits is bounded; who writes never waits; what waited leaves in its order."""
    let_go, written = threading.Event(), []

    def write(line):
        let_go.wait(30)
        written.append(line)

    outlet = Outlet(write, lines_max=10)
    for number in range(100):
        outlet.write(f"{number}\n")
    assert 89 <= outlet.dropped <= 90  # one may be on its way already
    let_go.set()
    outlet.close()
    assert written == [f"{number}\n" for number in range(len(written))]
    assert len(written) + outlet.dropped == 100


def test_lines_to_a_closed_pipe_are_counted():
    """And to an open one they go whole."""
    reading, writing = os.pipe()
    outlet = to_descriptor(writing)
    outlet.write(f"{json.dumps({'event': 'ä'})}\n")
    assert os.read(reading, 100) == b'{"event": "\\u00e4"}\n'
    os.close(reading)
    for _ in range(3):
        outlet.write("lost\n")
    outlet.close()
    os.close(writing)
    assert outlet.dropped == 3
    assert LINES_MAX >= 100
