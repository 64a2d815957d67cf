"""Over TCP a caller is whom a trusted issuer's token speaks for."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.aggregates.issuers import Settings
from ledger.claims import parse_claim
from ledger.tokens.verifier import Shown
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, jwks, mint
from tests.tools.service.clients import JSON, connected
from tests.tools.service.conftest import VALUES, furnish, running
from tools.service import callers

GET = "/v1/credentials/get"
SET = "/v1/credentials/set"
ALICE = f"{ISSUER}#user:alice"


def trust(house):
    """An issuer whose user alice has credentials."""
    ledger = house.open()
    settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", application_claim="app")
    ledger.trust.add(Acting(), ISSUER, settings)
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "payroll", parse_claim(ALICE), values)
    ledger.close()


@pytest.fixture
def furnished(prepared):
    return prepared(furnish, trust)


def now():
    return int(time.time())


def test_a_token_s_subject_reads_and_is_recorded_with_its_issuer(service):
    """Verified once, it is known from then on."""
    alice = service.stranger(mint(now()))
    for _ in range(3):
        found = alice.ok(GET, {"application": "payroll"})
    assert (found["owner"], found["fields"]) == (ALICE, VALUES)
    views = service.service.seal.counter.session.views
    record = views.accesses.newest(limit=1)[0]
    assert record["caller"] == ALICE
    assert record["authenticated_by"].startswith(f"token:{ISSUER};")


def test_every_refused_token_has_the_same_answer(service):
    """Expired, forged, of another audience or no token at all: one challenge."""
    answers = set()
    for token in (
        mint(now() - 3600),
        mint(now(), aud="others"),
        mint(now(), by="stranger's EC"),
        "x.y.z",
        mint(now())[:-8],
    ):
        reply = service.stranger(token).ask(GET, {"application": "payroll"})
        assert (reply.status, reply.code) == (401, "token-refused")
        del reply.headers["date"]
        answers.add((tuple(sorted(reply.headers.items())), reply.content))
    assert len(answers) == 1
    ((headers, _),) = answers
    assert ("www-authenticate", 'Bearer realm="credledger", error="invalid_token"') in headers


def test_a_token_may_name_the_application(service):
    """Then the body need not, and must not name another."""
    alice = service.stranger(mint(now(), app="payroll"))
    assert alice.ok(GET, {})["application"] == "payroll"
    alice.fails(401, "token-refused", GET, {"application": "shared"})


def test_a_token_counts_on_the_unix_socket_too(service):
    """Who shows one is its subject, not the account that connected."""
    client = service.client()
    token = f"Bearer {mint(now())}"
    assert client.ok(GET, {"application": "payroll"}, authorization=token)["owner"] == ALICE
    client.fails(401, "no-caller", GET, {}, authorization="Basic eDp5")


def test_an_issuer_that_is_removed_is_believed_no_more(service):
    """From the position on at which it was removed."""
    alice = service.stranger(mint(now()))
    alice.ok(GET, {"application": "payroll"})
    service.service.seal.counter.ledger.trust.remove(Acting(), ISSUER)
    reply = alice.ask(GET, {"application": "payroll"})
    assert reply.status in {401, 403}


@pytest.mark.parametrize("path", ["/v1/credentials/list", "/v1/applications/mine"])
def test_an_issuer_that_is_removed_while_a_body_is_on_its_way_is_believed_no_more(
    service, monkeypatch, path
):
    """What is answered is decided by who is trusted when it is there, not when its head was."""
    verifier = service.service.seal.counter.verifier
    monkeypatch.setattr(verifier, "look_ahead", lambda: None)
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    told = b"authorization: Bearer %b\r\nexpect: 100-continue\r\n\r\n" % mint(now()).encode()
    answers = []
    with service.stranger().connected() as stays, service.stranger().connected() as goes:
        for one in (stays, goes):
            one.sendall(head % path.encode() + told)
            assert one.recv(1024).startswith(b"HTTP/1.1 100 ")
        for one in (stays, goes):
            verifier._looked_at = 0  # a while ago
            one.sendall(b"{}")
            answers.append(one.recv(65536))
            if one is stays:
                service.service.seal.counter.ledger.trust.remove(Acting(), ISSUER)
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert answers[1].startswith(b"HTTP/1.1 401 ")
    assert b'"token-refused"' in answers[1]
    assert verifier.shown == Shown(verified=1, known=1, refused=1)


ONCE = "https://once.example"


@pytest.fixture
def one_use(service):
    """Gives tokens of an issuer whose tokens are good for one use."""
    settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
    service.service.seal.counter.ledger.trust.add(Acting(), ONCE, settings)
    numbers = itertools.count()
    return lambda **more: mint(now(), **{"iss": ONCE, "jti": f"n{next(numbers)}", **more})


def test_a_request_that_is_not_carried_out_leaves_a_one_time_token_good(service, one_use):
    """Whatever is wrong with its form, its words or its headers; carried out, it uses it up."""
    caller = service.stranger(one_use())
    body = {"application": "payroll", "fields": VALUES}
    assert caller.send("POST", SET, b"{", content_type=JSON).code == "malformed-body"
    caller.fails(413, "body-too-large", SET, None, content_length="99999999")
    caller.fails(415, "unknown-media-type", SET, body, form="text/plain")
    caller.fails(422, "invalid-body", SET, {"application": 7})
    caller.fails(422, "application-required", SET, {"fields": VALUES})
    caller.fails(422, "invalid-application-id", SET, {**body, "application": "a/b"})
    caller.fails(422, "invalid-reason", SET, {**body, "reason": "two\nlines"})
    caller.fails(422, "invalid-claim", SET, {**body, "owner": "nobody"})
    caller.fails(422, "invalid-body", SET, {**body, "fields": {"Windows Password": {"x": "y"}}})
    broken = {"Windows Password": {"base64": "!"}}
    caller.fails(422, "invalid-values", SET, {**body, "fields": broken})
    caller.fails(400, "malformed-header", SET, body, idempotency_key="a b")
    caller.fails(422, "retry-key-not-taken", GET, {"application": "payroll"}, idempotency_key="k")
    caller.ok(SET, body)
    caller.fails(401, "token-refused", GET, {"application": "payroll"})


def test_what_is_refused_by_the_rules_uses_a_one_time_token_up(service, one_use):
    """A refusal is a record in its subject's name."""
    caller = service.stranger(one_use())
    caller.fails(403, "access-denied", GET, {"application": "nothing"})
    caller.fails(401, "token-refused", GET, {"application": "payroll"})


def test_more_than_a_share_leaves_a_one_time_token_good(furnished, tmp_path):
    """Its owner comes again with the same token, and is answered."""
    with running(furnished, tmp_path, caller_rate=1) as service:
        settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
        ledger = service.service.seal.counter.ledger
        ledger.trust.add(Acting(), ONCE, settings)
        for number in range(2):
            token = mint(now(), iss=ONCE, jti=f"n{number}")
            service.stranger(token).fails(
                404, "credentials-not-set", GET, {"application": "payroll"}
            )
        waiting = service.stranger(mint(now(), iss=ONCE, jti="late"))
        waiting.fails(429, "too-many-requests", GET, {"application": "payroll"})
        deadline = time.monotonic() + 20
        while (reply := waiting.ask(GET, {"application": "payroll"})).status == 429:
            assert time.monotonic() < deadline
        assert reply.code == "credentials-not-set"
        waiting.fails(401, "token-refused", GET, {"application": "payroll"})


def test_a_used_token_takes_nothing_of_its_subject_s_share(furnished, tmp_path):
    """Whoever got hold of one cannot keep its subject out with it."""
    with running(furnished, tmp_path, caller_rate=1) as service:
        settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
        service.service.seal.counter.ledger.trust.add(Acting(), ONCE, settings)
        used = service.stranger(mint(now(), iss=ONCE, jti="used"))
        used.fails(404, "credentials-not-set", GET, {"application": "payroll"})
        for _ in range(5):
            used.fails(401, "token-refused", GET, {"application": "payroll"})
        fresh = service.stranger(mint(now(), iss=ONCE, jti="fresh"))
        fresh.fails(404, "credentials-not-set", GET, {"application": "payroll"})


def test_a_one_time_token_is_used_once_however_many_ask_at_once(service, one_use):
    """Of all who come with it together, one is answered, and one use is recorded."""
    token = one_use()
    askers = [service.stranger(token) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda one: one.ask(GET, {"application": "payroll"}), askers))
    codes = sorted(reply.code for reply in replies)
    assert codes == ["credentials-not-set", *["token-refused"] * 7]


def test_the_keys_to_encrypt_to_are_published(service):
    """None before a pair was made."""
    client = service.client()
    assert client.send("GET", "/.well-known/jwks.json").document == {"keys": []}
    service.service.seal.counter.ledger.trust.new_service_pair(Acting())
    keys = client.send("GET", "/.well-known/jwks.json").document["keys"]
    assert keys
    assert not any("d" in one for one in keys)


def test_an_address_with_refused_tokens_must_wait_and_a_known_token_need_not(service):
    """A flood of forged tokens costs their sender the share, and nobody who is known."""
    alice = service.stranger(mint(now()))
    alice.ok(GET, {"application": "payroll"})
    forger = service.stranger("x.y.z")
    codes = []
    while codes[-1:] != ["too-many-requests"]:
        codes.append(forger.ask(GET, {}).code)
        assert len(codes) < 500
    assert codes[:50] == ["token-refused"] * 50
    alice.ok(GET, {"application": "payroll"})


@pytest.mark.parametrize("fronts", [0, 1])
def test_of_many_refused_tokens_at_once_one_address_has_a_share(
    furnished, tmp_path, monkeypatch, fronts
):
    """Those who are known need no more than a look at who is trusted, however old the last is."""
    monkeypatch.setattr(callers, "_REFUSED_RATE", 1e-3)
    with running(furnished, tmp_path, front_processes=fronts) as service:
        alice = service.stranger(mint(now()))
        alice.ok(GET, {"application": "payroll"})
        told = all_at_once(service, [mint(now(), aud="others", jti=str(n)) for n in range(130)])
        assert told == {401: callers._REFUSED_BURST, 429: 130 - callers._REFUSED_BURST}
        service.service.seal.counter.verifier._looked_at = 0
        alice.ok(GET, {"application": "payroll"})


def test_many_new_tokens_at_once_wait_for_each_other(furnished, tmp_path, monkeypatch):
    """Of one address, more than it could show refused ones: all are answered."""
    monkeypatch.setattr(callers, "_REFUSED_RATE", 1e-3)
    with running(furnished, tmp_path) as service:
        tokens = [mint(now(), jti=str(number)) for number in range(130)]
        assert all_at_once(service, tokens) == {200: len(tokens)}


def all_at_once(service, tokens):
    """Which statuses are answered how often, where each of these is shown at the same time."""
    body = b'{"application": "payroll"}'
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % GET.encode()
    head += b"content-length: %d\r\nauthorization: Bearer " % len(body)
    with contextlib.ExitStack() as held:
        made = [held.enter_context(connected(service.address)) for _ in tokens]
        for one, token in zip(made, tokens, strict=True):
            one.sendall(head + token.encode() + b"\r\n\r\n" + body)
        return Counter(int(one.recv(65536)[9:12]) for one in made)
