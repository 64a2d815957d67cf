"""Over TCP a caller is whom a trusted issuer's token speaks for."""

from __future__ import annotations

import time

import pytest

from ledger.aggregates.issuers import Settings
from ledger.claims import parse_claim
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, jwks, mint
from tests.tools.service.conftest import VALUES, furnish

GET = "/v1/credentials/get"
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
