"""An issuer whose keys come late, or never, keeps nobody but its own users waiting."""

from __future__ import annotations

import functools
import json
import re
import select
import signal
import time

import pytest

from ledger.aggregates.issuers import Settings
from ledger.aggregates.retention import Retention
from ledger.claims import parse_claim
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.refused_tokens import refused_tokens
from tests.ledger.tokens.minting import AUDIENCE, OTHER, b64, jwks, mint
from tests.tools.issuers_web import Web
from tests.tools.service.clients import JSON, connected
from tests.tools.service.conftest import VALUES, furnish, running
from tests.tools.service.test_callers import trust
from tests.tools.service.test_fronts import wait_until
from tests.tools.service.test_seal import process
from tests.tools.service.test_watching import ANYWHERE, told
from tools.jwks_over_https import fetch_jwks
from tools.service import callers, key_waits
from tools.service.server import THREADS

GET, SET, LIST = "/v1/credentials/get", "/v1/credentials/set", "/v1/credentials/list"
PAYROLL = {"application": "payroll"}
SOMEBODY = f"{OTHER}#user:alice"
DATE = re.compile(rb"\r\ndate: [^\r]+")
CROWD = 2 * THREADS
"""More than there are threads for all that waits for a disk or a lock."""


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish, trust)


@pytest.fixture
def patient(monkeypatch):
    """Nothing is over before the test says so: what is slow is slower than any machine."""
    slow = functools.partial(fetch_jwks, timeout_s=60)
    monkeypatch.setattr("tools.jwks_over_https.fetch_jwks", slow)
    monkeypatch.setattr(key_waits, "ANSWER_S_MAX", 60)


def trust_by_url(house, url):
    """Another issuer, whose keys are fetched there, and credentials of one of its users."""
    ledger = house.open()
    ledger.trust.add(Acting(), OTHER, Settings(AUDIENCE, ("ES256",), "", url))
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "payroll", parse_claim(SOMEBODY), values)
    ledger.close()


def now():
    return int(time.time())


def forged(number=0, issuer=OTHER):
    """What anybody can write: it names an issuer, and nobody signed it."""
    header = b64({"alg": "ES256", "typ": "at+jwt", "kid": "EC"})
    return f"{header}.{b64({'iss': issuer, 'jti': str(number)})}.{b64(b'x' * 64)}"


class Asking:
    """One who has asked by a token and has not read the answer yet."""

    def __init__(self, service, token):
        body = json.dumps(PAYROLL).encode()
        head = f"POST {GET} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {JSON}\r\n"
        head += f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._socket = connected(service.address)
        self._socket.sendall(head.encode() + body)

    @property
    def is_answered(self):
        return bool(select.select([self._socket], [], [], 0)[0])

    def answer(self):
        """All of it, but the date."""
        content = b""
        with self._socket:
            while piece := self._socket.recv(65536):
                content += piece
        return DATE.sub(b"", content)


def status(answer):
    return int(answer[9:12])


def waiting(service):
    return service.service._door._callers._key_waits._sources.total()


@pytest.mark.parametrize("fronts", [0, 1])
def test_a_crowd_of_forged_tokens_keeps_nobody_waiting(house, tmp_path, web, patient, fronts):
    """Whoever is known goes on, and who comes anew, changes, the unix socket and the health."""
    trust_by_url(house, f"{web}/held")
    with running(house, tmp_path, metrics=ANYWHERE, front_processes=fronts) as service:
        alice = service.stranger(mint(now()))
        alice.ok(GET, PAYROLL)
        crowd = [Asking(service, forged(number)) for number in range(CROWD)]
        wait_until(lambda: waiting(service) == CROWD)
        assert Web.asked.acquire(timeout=30)
        for client in (alice, service.stranger(mint(now(), jti="new")), service.client()):
            client.ok(GET, PAYROLL)
            client.ok(LIST, {})
            client.ok(SET, {**PAYROLL, "fields": VALUES})
        for path in ("/health/ready", "/.well-known/jwks.json"):
            assert service.stranger().send("GET", path).status == 200
        assert not any(one.is_answered for one in crowd)
        Web.go_on.set()
        answers = {one.answer() for one in crowd}
        answers.add(Asking(service, forged(issuer="https://nobody.example")).answer())
        (answer,) = answers
        assert (status(answer), b'"code":"token-refused"' in answer) == (401, True)
        assert not Web.asked.acquire(blocking=False)
        assert waiting(service) == 0
        assert told(service)["credledger_key_fetches_total", "failed"] == 1
        verifier = service.service.seal.counter.verifier
        verifier.close()
        ledger = service.service.seal.counter.ledger
        rows = refused_tokens(ledger._writer.store, ledger._desk.mapper, Retention())
        assert [row["reasons"]["keys-unavailable"] for row in rows] == [CROWD]
    lines = [json.loads(line) for line in service.logged().splitlines()]
    (line,) = [one for one in lines if one["event"] == "keys-not-fetched"]
    assert (line["host"], line["code"]) == (web.removeprefix("https://"), "invalid-jwks")
    assert line["level"] == "warning"


def test_genuine_tokens_that_come_before_the_keys_are_believed_when_those_are_there(
    house, tmp_path, web, patient, monkeypatch
):
    """All of them, by one question; nobody at their address is kept from another issuer's."""
    count = key_waits.SOURCE_WAITING_MAX
    assert count > callers._REFUSED_BURST  # so that none of them counts as refused meanwhile
    monkeypatch.setattr(Web, "published", jwks("EC").encode())
    trust_by_url(house, f"{web}/held")
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        tokens = (mint(now(), iss=OTHER, jti=f"{number}") for number in range(count))
        crowd = [Asking(service, token) for token in tokens]
        wait_until(lambda: waiting(service) == count)
        service.stranger(mint(now())).ok(GET, PAYROLL)
        assert not any(one.is_answered for one in crowd)
        Web.go_on.set()
        assert {status(one.answer()) for one in crowd} == {200}
        service.stranger(mint(now(), iss=OTHER)).ok(GET, PAYROLL)
        samples = told(service)
        assert samples["credledger_key_fetches_total", "fetched"] == 1
        assert samples["credledger_key_fetches_total", "failed"] == 0
        assert samples["credledger_tokens_shown_total", "verified"] == count + 2
        assert samples["credledger_tokens_shown_total", "refused"] == 0


def test_who_would_be_one_too_many_is_told_to_come_again(
    house, tmp_path, web, patient, monkeypatch
):
    """He is answered at once; and there is room again behind those who waited."""
    monkeypatch.setattr(key_waits, "SOURCE_WAITING_MAX", 3)
    monkeypatch.setattr(Web, "published", jwks("EC").encode())
    trust_by_url(house, f"{web}/held")
    with running(house, tmp_path) as service:
        crowd = [Asking(service, forged(number)) for number in range(3)]
        wait_until(lambda: waiting(service) == 3)
        somebody = service.stranger(mint(now(), iss=OTHER))
        somebody.fails(503, "too-busy", GET, PAYROLL)
        service.stranger(mint(now())).ok(GET, PAYROLL)
        assert not any(one.is_answered for one in crowd)
        Web.go_on.set()
        assert {status(one.answer()) for one in crowd} == {401}
        somebody.ok(GET, PAYROLL)


def test_nobody_waits_longer_than_the_bound(house, tmp_path, web, patient, monkeypatch):
    """The answer is the one to every token that is not believed, while the fetch goes on."""
    monkeypatch.setattr(key_waits, "ANSWER_S_MAX", 0.05)
    monkeypatch.setattr(Web, "published", jwks("EC").encode())
    trust_by_url(house, f"{web}/held")
    with running(house, tmp_path) as service:
        somebody = service.stranger(mint(now(), iss=OTHER))
        for _ in range(2):
            somebody.fails(401, "token-refused", GET, PAYROLL)
        assert Web.asked.acquire(timeout=30)
        Web.go_on.set()
        fetched = service.service.seal.counter.verifier
        wait_until(lambda: fetched.fetched.fetched == 1)
        somebody.ok(GET, PAYROLL)


def test_a_service_stops_in_time_while_an_issuer_answers_drop_by_drop(house, tmp_path, web):
    """Within the 20 seconds, although somebody waits for those keys; he has an answer before."""
    trust_by_url(house, f"{web}/slow-head")
    with process(house, tmp_path, "--listen", "127.0.0.1:0", "--front-processes", "0") as started:
        (place,) = [one for one in started.said_first[-1]["places"] if one.startswith("http:")]
        started.address = ("127.0.0.1", int(place.rpartition(":")[2]))
        asking = Asking(started, forged())
        assert Web.asked.acquire(timeout=30)
        began = time.monotonic()
        started.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in started.stderr]
        assert started.wait(20) == 0
        assert time.monotonic() - began < 20
    assert status(asking.answer()) == 401
    assert [one["event"] for one in lines if one["event"] != "request-failed"] == [
        "stopping", "keys-not-fetched", "stopped",
    ]  # fmt: skip
