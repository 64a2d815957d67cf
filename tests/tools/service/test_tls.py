"""Over a network: TLS, certificates of clients, and tokens behind them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import time
from pathlib import Path

import pytest

from ledger.errors import InvalidInput, Refused, Unavailable
from tests.ledger.tokens.minting import mint
from tests.tools.conftest import Cli
from tests.tools.service.certificates import Authority
from tests.tools.service.conftest import VALUES, furnish, running
from tests.tools.service.test_callers import ALICE, trust
from tests.tools.service.test_fronts import wait_until
from tools.certificates import PEM_BYTES_MAX
from tools.client import AsyncClient, Client, Server
from tools.service import connections, handshakes, protocol
from tools.service.http_server import GRACE_S
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


@pytest.fixture
def open_to_all(furnished, authority, tmp_path):
    """A service that asks nobody for a certificate."""
    tls = Tls(*authority.issue("server", HOST))
    with running(furnished, tmp_path, tls=tls) as one:
        yield one


def test_a_service_that_stops_does_not_wait_for_clients_to_part(guarded, authority):
    """Who keeps a connection for later reads nothing of it, its end among that."""
    context = trusting(authority, guarded.clients_authority.issue("job"))
    kept = http.client.HTTPSConnection(*guarded.address, timeout=30, context=context)
    with contextlib.closing(kept):
        kept.request("GET", "/health/live")
        assert kept.getresponse().read()
        began = time.monotonic()
        guarded.loop.call_soon_threadsafe(guarded.service.stop)
        wait_until(guarded.loop.is_closed)
        assert time.monotonic() - began < GRACE_S / 2


def silent(service):
    """Somebody who connects and does no handshake."""
    made = socket.create_connection(service.address, timeout=30)
    made.settimeout(protocol.HEAD_S_MAX / 2)
    return made


def answered_at_last(service, context, token):
    """Once the service has seen that others are gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            return asked(service, context, token)[0] == 200
    return False


def test_whoever_does_no_handshake_counts_from_the_moment_he_connects(
    open_to_all, authority, monkeypatch
):
    """One source has its share of connections in all, and others still get in."""
    monkeypatch.setattr(connections, "SOURCE_CONNECTIONS_MAX", 3)
    context, token = trusting(authority), mint(int(time.time()))
    for _ in range(5):
        assert asked(open_to_all, context, token)[0] == 200
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(silent(open_to_all))
        for _ in range(3):
            with silent(open_to_all) as more:
                assert more.recv(1) == b""
        with pytest.raises((ssl.SSLError, ConnectionError)):
            asked(open_to_all, context, token)
        assert open_to_all.client().send("GET", "/health/live").status == 200
    assert answered_at_last(open_to_all, context, token)


def test_whoever_would_take_a_spare_file_is_let_go(open_to_all, authority, monkeypatch):
    """Before a handshake, and nothing of him is kept."""
    with monkeypatch.context() as patched:
        patched.setattr(protocol, "is_spare", lambda _: True)
        with silent(open_to_all) as made:
            assert made.recv(1) == b""
    assert asked(open_to_all, trusting(authority), mint(int(time.time())))[0] == 200


def test_a_handshake_must_come_to_its_end_in_time(open_to_all, authority, monkeypatch):
    """Whoever lets it wait is let go, and leaves room for another."""
    monkeypatch.setattr(connections, "SOURCE_CONNECTIONS_MAX", 2)
    monkeypatch.setattr(handshakes, "HANDSHAKE_S_MAX", 0.2)
    with silent(open_to_all) as made, silent(open_to_all) as other:
        other.sendall(b"\x16\x03\x01")
        assert made.recv(1) == other.recv(1) == b""
        monkeypatch.setattr(handshakes, "HANDSHAKE_S_MAX", 10.0)
        assert answered_at_last(open_to_all, trusting(authority), mint(int(time.time())))


def test_a_service_ends_while_handshakes_wait(open_to_all):
    """Nobody who has asked for nothing yet is waited for."""
    waiting = [silent(open_to_all) for _ in range(3)]
    began = time.monotonic()
    asyncio.run_coroutine_threadsafe(_stop(open_to_all), open_to_all.loop).result(10)
    for one in waiting:
        # A reset is an end as well: whoever is let go had said nothing that could be answered.
        with one, contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b""
    assert time.monotonic() - began < protocol.HEAD_S_MAX / 2


async def _stop(service):
    service.service.stop()


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


@pytest.fixture
def unfit(authority, tmp_path):
    """What may stand in the place of a certificate, its key, or an authority."""
    certificate, key = authority.issue("server", HOST)
    (tmp_path / "empty.pem").touch()
    (tmp_path / "large.pem").write_bytes(b"-" * (PEM_BYTES_MAX + 1))
    other, other_key = authority.issue("other", HOST)
    locked, locked_key = authority.issue("locked", HOST, passphrase=b"a passphrase")
    (tmp_path / "form.der").write_bytes(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    return {
        "none": (tmp_path / "none.pem", key, "none.pem", "cannot be read: No such file"),
        "a folder": (tmp_path, key, str(tmp_path), "cannot be read: Is a directory"),
        "empty": (tmp_path / "empty.pem", key, "empty.pem", "no certificate in PEM"),
        "too large": (tmp_path / "large.pem", key, "large.pem", "no certificate in PEM"),
        "in another form": (tmp_path / "form.der", key, "form.der", "no certificate in PEM"),
        "a key for it": (key, key, "server.key", "no certificate in PEM"),
        "no key": (certificate, tmp_path / "none.key", "none.key", "cannot be read"),
        "it for a key": (certificate, certificate, "server.pem", "no private key in PEM"),
        "another's key": (certificate, other_key, "other.key", "is not that of the certificate"),
        "another": (other, key, "other.pem", "is not that of the certificate"),
        "a locked key": (locked, locked_key, "locked.key", "has a passphrase"),
    }


UNFIT = (
    "none", "a folder", "empty", "too large", "in another form", "a key for it", "no key",
    "it for a key", "another's key", "another", "a locked key",
)  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_certificate_with_its_key_is_told_at_the_start(unfit, name):
    """To a service and to a client alike: which file, and what is wrong with it; nobody is asked
    for a passphrase."""
    certificate, key, named, why = unfit[name]
    code = "certificate-unreadable" if "cannot be read" in why else "invalid-certificate"
    server = Server("https://ledger.contoso.example", certificate=(certificate, key))
    for start in (Tls(certificate, key).context, server.tls):
        with pytest.raises(InvalidInput) as caught:
            start()
        assert caught.value.code == code
        assert named in caught.value.message
        assert why in caught.value.message
    if name in ("none", "a folder", "empty", "too large", "in another form", "a key for it"):
        fit = unfit["no key"][0], unfit["empty"][1]
        for start in (
            Tls(*fit, certificate).context,
            Server(server.address, ca_file=certificate).tls,
        ):
            with pytest.raises(InvalidInput) as caught:
                start()
            assert (caught.value.code, named in caught.value.message) == (code, True)


def test_a_certificate_and_its_key_may_be_one_file(authority, tmp_path):
    """In either order, for a service and for a client."""
    certificate, key = authority.issue("job")
    for parts in ((certificate, key), (key, certificate)):
        both = tmp_path / "both.pem"
        both.write_bytes(b"".join(part.read_bytes() for part in parts))
        Tls(both, both).context()
        Server("https://ledger.contoso.example", certificate=(both, both)).tls()


def test_the_program_shows_its_certificate(guarded, authority, tmp_path):
    """By options or by the environment, in one file or in two; without one it is told what is
    missing, and without a token as well."""
    certificate, key = guarded.clients_authority.issue("admin")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    (tmp_path / "token").write_text(mint(int(time.time())))
    far = Cli(tmp_path)
    far.environment = {"CREDLEDGER_CA_FILE": str(authority.file)}
    get = ("credential", "get", "payroll", "--server", f"https://{HOST}:{guarded.address[1]}")
    by_token = (*get, "--token-file", str(tmp_path / "token"))
    shown = ("--client-cert", str(certificate), "--client-key", str(key))
    assert far.ok(*by_token, *shown)["fields"] == VALUES
    assert far.ok(*by_token, "--client-cert", str(both))["fields"] == VALUES
    lacking = far.fails(2, "invalid-certificate", *by_token, "--client-cert", str(certificate))
    assert "--client-key" in lacking["hint"]
    in_clear = far.fails(
        7, "service-unreachable", "app", "list", "--server", f"http://{HOST}:{guarded.address[1]}"
    )
    assert "(it ended the connection without an answer)" in in_clear["message"]
    refused = far.fails(4, "no-caller", *get, *shown)
    assert "--token-file" in refused["hint"]
    assert "unix socket" in refused["hint"]
    far.environment["CREDLEDGER_CLIENT_KEY"] = str(key)
    assert far.fails(2, "usage", *by_token)["message"] == "A client's key needs its certificate."
    far.environment["CREDLEDGER_CLIENT_CERT"] = str(certificate)
    assert far.ok(*by_token)["fields"] == VALUES
    assert far.ok(*by_token, "--client-cert", str(both))["fields"] == VALUES
    stranger, strangers_key = Authority(tmp_path, "strangers").issue("stranger")
    said = ("--client-cert", str(stranger), "--client-key", str(strangers_key))
    cut_off = far.fails(7, "service-unreachable", *by_token, *said)
    assert "--client-cert" in cut_off["hint"]


def test_what_is_wrong_with_a_server_s_certificate_is_told(furnished, authority, tmp_path):
    """Its authority, its name or its age; nothing is sent."""
    certificate, key = authority.issue("server", "127.0.0.2")
    with running(furnished, tmp_path, tls=Tls(certificate, key)) as one:
        address = f"https://{HOST}:{one.address[1]}"
        for server, why, hint in (
            (Server(address), "unable to get local issuer certificate", "--ca-file"),
            (Server(address, ca_file=authority.file), "IP address mismatch", "Ask by a name"),
        ):
            with Client(server) as ledger, pytest.raises(Unavailable) as caught:
                ledger.get("payroll")
            assert caught.value.code == "server-not-trusted"
            assert why in caught.value.message
            assert hint in caught.value.hint


def test_a_network_is_reached_over_tls_only():
    """Without a certificate it does not listen beyond this host, unless a proxy speaks TLS."""
    open_to_all = Address("0.0.0.0", 0)  # nothing listens there
    plain = ServiceSettings(None, open_to_all, None, False, None, 1, 1)
    with pytest.raises(InvalidInput) as caught:
        plain.check()
    assert caught.value.code == "tls-needed"
    ServiceSettings(None, open_to_all, None, True, None, 1, 1).check()
    with pytest.raises(InvalidInput) as caught:  # before a ledger is unlocked for nothing
        ServiceSettings(
            None, open_to_all, Tls(Path("none"), Path("none")), False, None, 1, 1
        ).check()
    assert caught.value.code == "certificate-unreadable"
    ServiceSettings(None, Address(HOST, 0), None, False, None, 1, 1).check()
