"""Over a network: TLS, certificates of clients, and tokens behind them."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time

import pytest

from ledger.errors import InvalidInput, Refused, Unavailable
from tests.ledger.tokens.minting import mint
from tests.tools.service.certificates import Authority
from tests.tools.service.conftest import VALUES, furnish, running
from tests.tools.service.test_callers import ALICE, trust
from tools.client import AsyncClient, Client, Server
from tools.service.places import Address
from tools.service.server import ServiceSettings
from tools.service.tls import Tls

HOST = "127.0.0.1"
GET = "/v1/credentials/get"


@pytest.fixture
def furnished(prepared_file):
    return prepared_file(furnish, trust)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture(params=[0, 1], ids=["itself", "by-a-front"])
def guarded(furnished, authority, tmp_path, request):
    """A service that asks its clients for certificates, itself or by a process of its own."""
    clients = Authority(tmp_path, "clients")
    tls = Tls(*authority.issue("server", HOST), clients.file)
    with running(furnished, tmp_path, tls=tls, front_processes=request.param) as one:
        one.clients_authority = clients
        yield one


def asked(service, context, token=None):
    """The status and document of one read over TLS."""
    connection = http.client.HTTPSConnection(*service.address, timeout=30, context=context)
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    try:
        connection.request("POST", GET, json.dumps({"application": "payroll"}), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def trusting(authority, certificate=None):
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def test_who_shows_a_certificate_of_the_authority_may_ask_and_still_needs_a_token(
    guarded, authority
):
    """Certificate and token give the values; a certificate alone is no caller."""
    context = trusting(authority, guarded.clients_authority.issue("job"))
    status, document = asked(guarded, context, mint(int(time.time())))
    assert (status, document["owner"], document["fields"]) == (200, ALICE, VALUES)
    status, document = asked(guarded, context)
    assert (status, document["code"]) == (401, "no-caller")


def test_who_shows_no_certificate_or_one_of_another_authority_is_not_answered(
    guarded, authority, tmp_path
):
    """A token that is valid does not help."""
    stranger = Authority(tmp_path, "strangers").issue("stranger")
    for certificate in (None, stranger, authority.issue("same-as-the-server")):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            asked(guarded, trusting(authority, certificate), mint(int(time.time())))
    assert guarded.service.seal.counter.session.views.accesses.newest(limit=0) == []


def test_old_tls_and_clear_text_are_not_spoken(guarded, authority):
    """TLS begins at 1.2, and HTTP in clear gets nothing."""
    assert Tls(*authority.issue("other", HOST)).context().minimum_version == ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPConnection(*guarded.address, timeout=30)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        connection.request("GET", "/health/live")
        connection.getresponse()
    connection.close()


def test_the_client_reads_by_its_token_over_tls(prepared, authority, tmp_path):
    """With a token, a token's file, awaited or not; its subject's values, and one record each."""
    house = prepared(furnish, trust)
    token = mint(int(time.time()))
    file = tmp_path / "token"
    file.write_text(token)
    clients = Authority(tmp_path, "clients")
    certificate = clients.issue("job")
    tls = Tls(*authority.issue("server", HOST), clients.file)
    with running(house, tmp_path, tls=tls) as one:
        server = Server(
            f"https://{HOST}:{one.address[1]}",
            token_file=file,
            ca_file=authority.file,
            certificate=certificate,
        )
        with Client(server) as ledger:
            found = [ledger.get("payroll") for _ in range(3)]

        async def awaited():
            async with AsyncClient(server) as ledger:
                return await ledger.get("payroll")

        found.append(asyncio.run(awaited()))
        assert {one.owner for one in found} == {ALICE}
        assert {name: value.reveal() for name, value in found[0].fields.items()} == VALUES
        views = one.service.seal.counter.session.views
        recorded = views.accesses.newest(outcome="granted", limit=0)
        assert [row["position"] for row in reversed(recorded)] == [one.position for one in found]
        assert {row["caller"] for row in recorded} == {ALICE}
        file.write_text(token[:-8] + "AAAAAAAA")
        with Client(server) as ledger, pytest.raises(Refused) as caught:
            ledger.get("payroll")
        assert caught.value.code == "token-refused"


def test_the_client_sends_nothing_to_a_server_that_it_does_not_know(guarded, tmp_path):
    """A certificate of another authority, or of another host, ends it before a token is sent."""
    for authority in (Authority(tmp_path, "others"), guarded.clients_authority):
        server = Server(f"https://{HOST}:{guarded.address[1]}", ca_file=authority.file, attempts=1)
        with Client(server) as ledger, pytest.raises(Unavailable) as caught:
            ledger.get("payroll")
        assert caught.value.code == "server-not-trusted"


def test_what_is_no_certificate_with_its_key_is_told_at_the_start(authority, tmp_path):
    """Another's key, a key behind a passphrase, no PEM, none at all; and no authority's."""
    certificate, key = authority.issue("server", HOST)
    _, other = authority.issue("other", HOST)
    _, locked = authority.issue("locked", HOST, passphrase=b"a passphrase")
    empty = tmp_path / "empty"
    empty.touch()
    for files in (
        (certificate, other),
        (certificate, locked),
        (empty, key),
        (tmp_path / "none", key),
        (certificate, key, empty),
    ):
        with pytest.raises(InvalidInput) as caught:
            Tls(*files).context()
        assert caught.value.code == "invalid-certificate"


def test_a_network_is_reached_over_tls_only():
    """Without a certificate it does not listen beyond this host, unless a proxy speaks TLS."""
    open_to_all = Address("0.0.0.0", 0)  # nothing listens there
    plain = ServiceSettings(None, open_to_all, None, False, None, 1, 1)
    with pytest.raises(InvalidInput) as caught:
        plain.check()
    assert caught.value.code == "tls-needed"
    ServiceSettings(None, open_to_all, None, True, None, 1, 1).check()
    ServiceSettings(None, Address(HOST, 0), None, False, None, 1, 1).check()
