"""What a service counts of tickets and tokens, and what its fronts say that they turned away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import msgspec
import pytest
import uvloop

from ledger.aggregates.issuers import Settings
from ledger.usecases.acting import Acting
from tests.ledger.tokens.minting import AUDIENCE, jwks, mint
from tests.tools.service.clients import JSON
from tests.tools.service.conftest import ME, furnish, running
from tests.tools.service.test_callers import trust
from tests.tools.service.test_front_taken_over import TakenOver
from tests.tools.service.test_fronts import wait_until
from tests.tools.service.test_kept_out import large_head, slow
from tests.tools.service.test_watching import ANYWHERE, GET, PAYROLL, soon, told
from tools.service import front, fronts
from tools.service.frames import TURNED_AWAY_MAX, Asked, Frames, Here, Look, ToLedger, frame
from tools.service.http_server import Servers
from tools.service.pages import LIVE, READY
from tools.service.reading import IN_HAND_MAX, LARGE_BYTES, SOURCE_LARGE_MAX

ISSUE, REDEEM = "/v1/tickets/issue", "/v1/tickets/redeem"
TURNED_AWAY = "credledger_front_turned_away_total"


def offer_tickets(house):
    ledger = house.open()
    ledger.create_application(
        Acting(), "cube", kind="individual", ticketing=True, ticket_redeemers=(str(ME),)
    )
    ledger.close()


@pytest.fixture
def house(prepared):
    return prepared(furnish, trust, offer_tickets)


@pytest.fixture
def in_file(prepared_file):
    """Where one kind of store is enough."""
    return prepared_file(furnish, trust)


def tickets_in(samples):
    return {key[1]: value for key, value in samples.items() if key[0] == "credledger_tickets_total"}


def test_what_becomes_of_tickets_is_counted(house, tmp_path):
    """Each attempt that was recorded; what was no attempt is none of them."""
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        assert set(tickets_in(told(service)).values()) == {0}
        client = service.client()
        ticket = client.ok(ISSUE, {"application": "cube"})["ticket"]
        client.fails(403, "access-denied", ISSUE, {"application": "payroll"})
        said = {"application": "cube", "ticket": ticket}
        client.fails(404, "credentials-not-set", REDEEM, said)
        client.fails(403, "access-denied", REDEEM, {**said, "ticket": "nonsense"})
        client.fails(422, "invalid-body", REDEEM, {**said, "ticket": "A" * 129})
        client.fails(422, "application-required", REDEEM, {"ticket": ticket})
        client.fails(422, "unknown-field", REDEEM, {**said, "fields": ["none"]})
        client.ok("/v1/credentials/set", {"application": "cube", "fields": set_values()})
        client.ok(REDEEM, said)
        client.fails(403, "access-denied", REDEEM, said)
        samples = soon(service, ("credledger_tickets_total", "redeemed"), 1)
        assert tickets_in(samples) == {
            "issued": 1, "not-issued": 1, "redeemed": 1, "refused": 4, "lapsed": 0,
        }  # fmt: skip


def set_values():
    return {"Windows User Name": "svc", "Windows Password": "p"}


def test_tokens_are_counted_by_what_was_found_of_them(house, tmp_path):
    """Believed by their signature, known from before, or refused; a used one is refused as well."""
    once = "https://once.example"
    ledger = house.open()
    settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
    ledger.trust.add(Acting(), once, settings)
    ledger.close()
    now = int(time.time())
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        for _ in range(3):
            service.stranger(mint(now)).ask(GET, PAYROLL)
        service.stranger("canary").ask(GET, PAYROLL)
        service.stranger(mint(now - 9000)).ask(GET, PAYROLL)
        service.stranger().ask(GET, PAYROLL)
        good_once = service.stranger(mint(now, iss=once, jti="one"))
        for _ in range(2):
            good_once.ask(GET, PAYROLL)
        shown = service.service.seal.counter.verifier.shown
        samples = told(service)
    counted = {key[1]: value for key, value in samples.items() if key[0].endswith("shown_total")}
    assert counted == {"verified": shown.verified, "known": shown.known, "refused": shown.refused}
    # Each of the same token is a text of its own, as ECDSA has it.
    assert (shown.verified + shown.known, shown.refused) == (4, 3)


@pytest.mark.parametrize("fronts", [0, 1])
@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
def test_a_known_token_is_counted_as_such(in_file, tmp_path, padding, fronts):
    """Its signature was checked once, and not again, however large the bodies are."""
    body = json.dumps(PAYROLL).encode() + b" " * padding
    with running(in_file, tmp_path, metrics=ANYWHERE, front_processes=fronts) as service:
        alice = service.stranger(mint(int(time.time())))
        for _ in range(4):
            assert alice.send("POST", GET, body, content_type=JSON).status == 200
        samples = told(service)
    assert samples["credledger_tokens_shown_total", "verified"] == 1
    assert samples["credledger_tokens_shown_total", "known"] == 3


@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
def test_a_token_that_is_good_once_is_verified_once(in_file, tmp_path, padding):
    """It is counted once as well, and used by the one request that it came with."""
    once = "https://once.example"
    body = json.dumps(PAYROLL).encode() + b" " * padding
    with running(in_file, tmp_path, metrics=ANYWHERE) as service:
        settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
        service.service.seal.counter.ledger.trust.add(Acting(), once, settings)
        caller = service.stranger(mint(int(time.time()), iss=once, jti="one"))
        reply = caller.send("POST", GET, body, content_type=JSON)
        assert reply.code == "credentials-not-set"
        shown = service.service.seal.counter.verifier.shown
    assert (shown.verified, shown.known, shown.refused) == (1, 0, 0)


def test_a_token_for_another_application_is_refused_behind_its_body(in_file, tmp_path):
    """It was believed by then, and is counted as refused as well; that is recorded."""
    with running(in_file, tmp_path, metrics=ANYWHERE) as service:
        alice = service.stranger(mint(int(time.time()), app="shared"))
        for _ in range(2):
            alice.fails(401, "token-refused", GET, PAYROLL)
        shown = service.service.seal.counter.verifier.shown
    assert (shown.verified, shown.known, shown.refused) == (1, 1, 2)
    assert in_file.sql("SELECT count(*) FROM log WHERE topic = 'token.refused'") == [(1,)]


def test_a_refused_change_is_counted_and_logged_and_leaves_nothing_in_the_ledger(house, tmp_path):
    """Whoever is verified and may not; the line has the operation and the address, and no name."""
    refused = {
        "/v1/applications/update": {"application": "payroll", "name": "canary-name"},
        "/v1/applications/delete": {"application": "canary-application"},
        "/v1/applications/grant": {
            "application": "payroll",
            "role": "administrator",
            "claim": "user:canary",
        },
    }
    with running(house, tmp_path, metrics=ANYWHERE) as service:
        alice = service.stranger(mint(int(time.time())))
        size = service.service.seal.counter.ledger.head().size
        for path, body in refused.items():
            alice.fails(403, "not-allowed", path, body)
        assert service.service.seal.counter.ledger.head().size == size
        for path in refused:
            soon(service, ("credledger_requests_total", "not-allowed", path, "403"), 1)
        lines = [json.loads(line) for line in service.logged().splitlines()]
    told_of = [one for one in lines if one.get("code") == "not-allowed"]
    assert [one["operation"] for one in told_of] == list(refused)
    assert {one["source"] for one in told_of} == {"127.0.0.1"}
    assert "canary" not in str(lines) and "alice" not in str(lines)


class Numbered(TakenOver):
    """A front in other hands, that has a number."""

    def __init__(self, service, number):
        super().__init__(service)
        self.line._number = number

    def say(self, message):
        """Say it, and wait until that was heard."""
        self.end.sendall(frame(message))
        self.ask()


@pytest.fixture
def fronted(in_file, tmp_path):
    with running(in_file, tmp_path, front_processes=1, metrics=ANYWHERE) as one:
        yield one


@pytest.fixture
def liar(fronted):
    one = Numbered(fronted, 2)
    yield one
    one.end.close()
    one.process.kill()
    one.process.wait()


def test_what_a_front_turned_away_is_told_under_its_number(fronted, liar):
    """Whatever one says of itself, the others' and all other numbers stay what they are."""
    before = told(fronted)
    liar.say(Here(3))
    liar.say(Here())
    liar.say(Here(TURNED_AWAY_MAX))
    after = told(fronted)
    assert after[TURNED_AWAY, "2"] == 3 + TURNED_AWAY_MAX
    changed = {key for key in after if before.get(key) != after[key]}
    assert {key for key in changed if key[0] == TURNED_AWAY} == {(TURNED_AWAY, "2")}
    others = ("credledger_tickets", "credledger_tokens", "credledger_position", "credledger_log")
    assert not [key for key in changed if key[0].startswith(others)]


@pytest.mark.parametrize("content", [[7, -1], [7, TURNED_AWAY_MAX + 1], [7, "3"], [7, 1.5]])
def test_a_number_that_no_front_can_mean_ends_it(fronted, liar, content):
    """Neither below nothing, nor without bound, nor another thing than a number."""
    text = msgspec.msgpack.encode(content)
    liar.end.sendall(len(text).to_bytes(4, "big") + text)
    assert liar.is_let_go()
    assert not [key for key in told(fronted) if key[0] == TURNED_AWAY]


class Wire(asyncio.WriteTransport):
    """Keeps what is written: the end of a real one ends the process, which here is the test's."""

    def __init__(self):
        super().__init__()
        self.written = bytearray()

    def write(self, data):
        self.written += data


def test_a_front_tells_once_what_it_turned_away(monkeypatch):
    """When it is looked for: all of it, but for what is beyond the bound, which it tells next.

    As many as may be are in hand already, of which the ledger's process answers none.
    """
    monkeypatch.setattr(front, "TURNED_AWAY_MAX", 2)
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        sent.append(message)

    async def asked():
        link, wire = front.Link(Servers()), Wire()
        link.connection_made(wire)
        application = front.Front(link)

        def ask():
            scope = {"state": {}, "headers": [], "method": "POST", "path": GET}
            return asyncio.ensure_future(application(scope, receive, send))

        held = [ask() for _ in range(IN_HAND_MAX)]
        await asyncio.sleep(0)
        await asyncio.gather(*(ask() for _ in range(3)))
        for _ in range(3):
            link.data_received(frame(Look()))
        for one in held:
            one.cancel()
        return [*Frames(ToLedger).of(bytes(wire.written))]

    messages = uvloop.run(asked())
    assert [type(one) for one in messages[:IN_HAND_MAX]] == [Asked] * IN_HAND_MAX
    assert messages[IN_HAND_MAX:] == [Here(2), Here(1), Here(0)]
    assert [one["status"] for one in sent if "status" in one] == [503] * 3
    assert json.loads(sent[1]["body"])["code"] == "too-busy"


def test_a_front_turns_nobody_away_who_watches(monkeypatch):
    """It asks the ledger's process beside all others, and beyond many says what it knows itself."""
    monkeypatch.setattr(front, "ASKED_MAX", 4)
    monkeypatch.setattr(front, "_WATCHED_MAX", 4)
    sent = []

    async def send(message):
        sent.append(message)

    async def asked():
        link, wire = front.Link(Servers()), Wire()
        link.connection_made(wire)
        application = front.Front(link)

        def look(path):
            scope = {"state": {}, "headers": [], "method": "GET", "path": path}
            return asyncio.ensure_future(application(scope, None, send))

        held = [look(path) for path in ("/openapi.json", "/openapi.json", LIVE, READY)]
        await asyncio.sleep(0)
        await asyncio.gather(*map(look, (LIVE, READY, "/openapi.json")))
        for one in held:
            one.cancel()
        return [*Frames(ToLedger).of(bytes(wire.written))]

    assert [one.path for one in uvloop.run(asked())] == ["/openapi.json"] * 2 + [LIVE, READY]
    told = [json.loads(one["body"]) for one in sent if "body" in one]
    assert [one["status"] for one in sent if "status" in one] == [200, 503, 503]
    assert told[:2] == [{"status": "live"}, {"status": "unavailable"}]
    assert told[2]["code"] == "too-busy"


def test_a_large_body_too_many_is_counted_among_what_a_front_turned_away(in_file, tmp_path):
    """It is the front that says so, and the number comes with its next word."""
    body = json.dumps(PAYROLL).encode() + b" " * LARGE_BYTES
    with running(in_file, tmp_path, front_processes=1, metrics=ANYWHERE) as service:
        token = mint(int(time.time()))
        head = large_head(len(body) + 1, token)
        with contextlib.ExitStack() as held:
            for _ in range(SOURCE_LARGE_MAX):
                held.enter_context(slow(service.address, "127.0.0.2", head)).sendall(body)
            (line,) = service.service._fronts._lines
            wait_until(lambda: len(line._wanted) == SOURCE_LARGE_MAX)
            for _ in range(2):
                late = held.enter_context(slow(service.address, "127.0.0.2", head))
                late.sendall(body)
                assert late.recv(65536).startswith(b"HTTP/1.1 503 ")
        asyncio.run_coroutine_threadsafe(looked_for(line), service.loop).result(30)
        assert soon(service, (TURNED_AWAY, "1"), 2)


async def looked_for(line):
    """Ask a front now what it is asked every few seconds."""
    line._look_for_it()


def test_a_front_that_is_started_again_has_the_number_of_the_one_that_ended(fronted):
    """So that a counter is that of a place, and there are as many as there are fronts."""
    (first,) = fronted.service._fronts._lines
    assert first._number == 1
    first._process.kill()
    wait_until(lambda: not fronted.service._fronts._lines <= {first})
    (second,) = fronted.service._fronts._lines
    assert second._number == 1


def test_one_that_cannot_be_made_keeps_no_number(fronted, monkeypatch):
    """Whatever fails, the next try has one."""
    with monkeypatch.context() as broken:
        broken.setattr(fronts.subprocess, "Popen", refused_by_the_system)
        kept = fronted.service._fronts
        kept._numbers.append(2)
        made = asyncio.run_coroutine_threadsafe(kept._start(), fronted.loop)
        assert made.exception(30).code == "front-not-started"
    assert kept._numbers == [2]


def refused_by_the_system(*_, **__):
    raise BlockingIOError(11, "Resource temporarily unavailable")
