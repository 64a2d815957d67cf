"""The Python client, at a service over real sockets."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import socket
import time

import msgspec
import pytest

from ledger.aggregates.issuers import Settings
from ledger.errors import Conflict, InvalidInput, LedgerError, NotFound, Refused, Unavailable
from ledger.usecases.acting import Acting
from ledger.usecases.ledger import Ledger
from ledger.values import FieldValue
from tests.ledger.tokens.minting import AUDIENCE, jwks, mint
from tests.tools.client.losing_proxy import LosingProxy
from tests.tools.service.certificates import Authority
from tests.tools.service.conftest import ME, VALUES, running
from tests.tools.service.test_callers import ONCE
from tools.client import AsyncClient, Client, Server, answers, calls
from tools.client.problems import error_of
from tools.service.tls import Tls

CANARY = VALUES["Windows Password"]
NEW = {"Windows User Name": "CONTOSO\\me", "Windows Password": "canary-new"}


def at(service) -> str:
    return f"unix://{service.socket}"


def code_of(kind, work) -> str:
    with pytest.raises(kind) as caught:
        work()
    assert CANARY not in repr(caught.value)
    return caught.value.code


def test_a_job_gets_its_password_in_three_lines(service):
    with Client(at(service)) as ledger:
        password = ledger.get("payroll")["Windows Password"].reveal()
    assert password == CANARY


def test_the_same_is_awaited(service):
    async def job():
        async with AsyncClient(at(service)) as ledger:
            await ledger.set("payroll", NEW, reason="changed")
            return await ledger.get("payroll", fields=("Windows Password",))

    found = asyncio.run(job())
    assert found.version == 2
    assert {name: value.reveal() for name, value in found.fields.items()} == {
        "Windows Password": "canary-new"
    }


def test_a_list_of_no_fields_is_not_even_sent(service):
    """A service of an earlier release would answer it with all of them."""
    with Client(at(service)) as ledger:
        before = service.service.seal.counter.ledger.head()
        assert code_of(InvalidInput, lambda: ledger.get("payroll", fields=[])) == "no-fields-named"
        redeem = lambda: ledger.redeem_ticket("payroll", "t" * 43, fields=())
        assert code_of(InvalidInput, redeem) == "no-fields-named"
        assert service.service.seal.counter.ledger.head() == before
        assert ledger.get("payroll", fields=("Windows Password",)).fields.keys() == {
            "Windows Password"
        }


def test_a_field_is_named_in_any_case(service):
    """As everywhere; and where there is none of that name, those that there are get told."""
    with Client(at(service)) as ledger:
        found = ledger.get("payroll")
    assert found["windows PASSWORD"].reveal() == found.fields["Windows Password"].reveal() == CANARY
    assert "WINDOWS PASSWORD" in found.fields
    assert list(found.fields) == ["Windows User Name", "Windows Password"]
    for name in ("Pasword", "no\nname", "x" * 2000):
        assert name not in found.fields
        with pytest.raises(KeyError, match="Windows User Name, Windows Password") as caught:
            found[name]
        assert CANARY not in str(caught.value)


def test_an_answer_with_a_field_of_no_name_is_unreadable():
    told = {
        "application": "a", "owner": None, "version": 1, "complete": True, "missing": [],
        "position": 1, "fields": {"no\nname": CANARY},
    }  # fmt: skip
    read = lambda: answers.credentials(msgspec.msgpack.encode(told))
    assert code_of(Unavailable, read) == "answer-unreadable"


def test_a_value_never_prints(service, caplog, capsys):
    """Neither in a text, nor in a log, nor pickled."""
    caplog.set_level(logging.DEBUG)
    with Client(at(service)) as ledger:
        found = ledger.get("payroll")
        call = calls.set_("payroll", found.fields)
        ledger.send(call)
        print(found, found.fields, call, ledger, f"{found['Windows Password']}")  # noqa: T201
    assert CANARY not in caplog.text + "".join(capsys.readouterr())
    with pytest.raises(TypeError):
        pickle.dumps(found)


def test_bytes_stay_bytes(service):
    given = {**NEW, "Windows Password": FieldValue(b"\x00\xff")}
    with Client(at(service)) as ledger:
        ledger.set("payroll", given)
        assert ledger.get("payroll")["Windows Password"].reveal() == b"\x00\xff"


def test_a_change_whose_answer_is_lost_happens_once(service):
    """It is sent again under its retry key, and tells the first outcome."""
    with LosingProxy(service.socket, losing=2) as proxy, Client(proxy.address) as ledger:
        changed = ledger.set("payroll", NEW)
    assert changed.version == 2
    assert len(proxy.requests) == 3
    keys = {line for one in proxy.requests for line in one.split(b"\r\n") if b"dempotency" in line}
    assert len(keys) == 1
    with Client(at(service)) as ledger:
        assert len(ledger.send(calls.history("payroll"))) == 2


def test_the_same_is_so_awaited(service):
    async def job(address):
        async with AsyncClient(address) as ledger:
            return await ledger.set("payroll", NEW)

    with LosingProxy(service.socket, losing=1) as proxy:
        assert asyncio.run(job(proxy.address)).version == 2
    assert len(proxy.requests) == 2


def test_what_has_no_retry_key_is_not_sent_twice(service):
    """A ticket's redemption may have used it up."""
    with LosingProxy(service.socket, losing=1) as proxy, Client(proxy.address) as ledger:
        code = code_of(Unavailable, lambda: ledger.redeem_ticket("payroll", "t" * 43))
    assert (code, len(proxy.requests)) == ("service-unreachable", 1)


def test_a_read_whose_answer_is_lost_is_one_more_recorded_read(service):
    with LosingProxy(service.socket, losing=1) as proxy, Client(proxy.address) as ledger:
        assert ledger.get("payroll").version == 1
    assert len(proxy.requests) == 2


def test_a_service_that_is_not_there_is_unreachable_after_all_attempts():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(Server(address, attempts=2)) as ledger:
        assert code_of(Unavailable, lambda: ledger.get("payroll")) == "service-unreachable"


def test_only_of_a_change_it_is_said_that_it_may_have_happened():
    """A read has nothing to have happened."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    hints = {}
    with Client(Server(address, attempts=1)) as ledger:
        for call in (
            calls.get("payroll"), calls.history("payroll"), calls.apply({}, dry_run=True),
            calls.set_("payroll", NEW), calls.apply({}), calls.delete_all(owner="user:a"),
            calls.redeem_ticket("payroll", "t" * 43),
        ):  # fmt: skip
            with pytest.raises(Unavailable) as caught:
                ledger.send(call)
            hints[call.path, call.is_change] = "may have happened" in caught.value.hint
    assert all(said == is_change for (_, is_change), said in hints.items())
    assert {path for (path, is_change) in hints if is_change} == {
        "/v1/credentials/set", "/v1/applications/apply", "/v1/credentials/delete-all",
        "/v1/tickets/redeem",
    }  # fmt: skip


def test_failures_are_the_errors_of_the_ledger_with_their_codes(service):
    """Each of its family, with the position and page that the service knows."""
    with Client(at(service)) as ledger:
        assert code_of(Refused, lambda: ledger.get("nowhere")) == "access-denied"
        with pytest.raises(Refused) as refused:
            ledger.get("shared")
        assert refused.value.position is not None
        assert code_of(InvalidInput, lambda: ledger.set("payroll", {"PIN": "1"})) == "unknown-field"
        ledger.send(calls.delete("payroll"))
        assert code_of(NotFound, lambda: ledger.get("payroll")) == "credentials-not-set"


def test_a_stranger_has_no_caller(service):
    address = f"http://127.0.0.1:{service.address[1]}"
    with Client(address) as ledger:
        assert code_of(Refused, lambda: ledger.get("payroll")) == "no-caller"
    with Client(address, token=FieldValue("a.b.c")) as ledger:
        assert code_of(Refused, lambda: ledger.get("payroll")) == "token-refused"


def test_a_sealed_service_is_told_at_once(furnished, tmp_path):
    with running(furnished, tmp_path, sealed=True) as sealed, Client(at(sealed)) as ledger:
        assert code_of(Unavailable, lambda: ledger.get("payroll")) == "sealed"


def test_a_slowed_caller_waits_and_gets_its_answer(furnished, tmp_path):
    """As long as the service says."""
    settings = {"caller_rate": 1.0, "address_rate": 1.0}
    with running(furnished, tmp_path, **settings) as slow, Client(at(slow)) as ledger:
        for _ in range(4):
            assert ledger.get("payroll").version == 1


def test_an_administrator_manages_an_application(service):
    """Every operation that an application's administrator or an owner has."""
    with Client(at(service)) as ledger:
        name = "shared"
        assert ledger.send(calls.grant(name, "member", str(ME))).changed
        assert not ledger.send(calls.grant(name, "member", str(ME))).changed
        assert ledger.send(calls.update(name, name="Shared set", reason="told so")).changed
        assert ledger.send(calls.application(name))["name"] == "Shared set"
        assert [one["application"] for one in ledger.send(calls.applications())] == ["shared"]
        assert len(ledger.send(calls.fields_of(name))["fields"]) == 2
        assert str(ME) in ledger.send(calls.claims_of(name))["members"]
        assert len(ledger.send(calls.usable())) == 2
        assert ledger.set(name, NEW).version == 1
        assert ledger.set(name, VALUES).version == 2
        assert ledger.send(calls.restore(name, version=1)).version == 3
        assert len(ledger.send(calls.history(name))) == 3
        assert len(ledger.send(calls.list_(name, older_than="1d"))) == 0
        assert ledger.get(name)["Windows Password"].reveal() == "canary-new"
        assert ledger.send(calls.revoke(name, "member", str(ME))).changed
        assert ledger.send(calls.delete(name)).version == 3
        (ended,) = ledger.send(calls.delete_all())
        assert ended.application == "payroll"


def test_tickets_are_issued_and_redeemed(furnished, tmp_path):
    ledger = furnished.open()
    for role in ("member", "ticket-redeemer"):
        created = {"kind": "individual", "ticketing": True}
        if role == "member":
            ledger.create_application(Acting(), "portal", **created)
        else:
            ledger.grant(Acting(), "portal", role, str(ME))
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "portal", ME, values)
    ledger.close()
    with running(furnished, tmp_path) as one, Client(at(one)) as client:
        ticket = client.issue_ticket("portal")
        assert str(ticket.ticket.reveal()) not in repr(ticket)
        assert client.redeem_ticket("portal", ticket.ticket)["Windows Password"].reveal() == CANARY
        code_of(LedgerError, lambda: client.redeem_ticket("portal", ticket.ticket))


WRONG = {
    "no scheme": ("ledger.contoso.example", "begins with https://"),
    "no scheme but a port": ("localhost:8443", "begins with https://"),
    "another scheme": ("ftp://ledger.contoso.example", "begins with https://"),
    "a path alone": ("/run/credledger/socket", "begins with https://"),
    "nothing": ("", "begins with https://"),
    "a password in it": ("https://a:canary-9f2e71@ledger.contoso.example", "no user and no pass"),
    "a password alone": ("https://:canary-9f2e71@ledger.contoso.example", "no user and no pass"),
    "a bracket": ("https://[ledger.contoso.example", "its host or port"),
    "a port that is none": ("https://ledger.contoso.example:https", "its host or port"),
    "a port beyond the last": ("https://ledger.contoso.example:99999", "its host or port"),
    "the port 0": ("https://ledger.contoso.example:0", "its host or port"),
    "no host": ("https:///v1", "needs a host"),
    "a blank": ("https://ledger contoso.example", "its host or port"),
    "a line end": ("https://ledger\n.contoso.example", "its host or port"),
    "an empty label": ("https://ledger..example", "its host or port"),
    "an endless label": ("https://" + "l" * 300, "its host or port"),
    "a host that looks like another": ("https://\uff45vil.example", "its host or port"),
    "a path": ("https://ledger.contoso.example/v1", "ends behind its host and port"),
    "a question": ("https://ledger.contoso.example?token=x", "ends behind its host and port"),
    "a relative socket": ("unix://socket", "three slashes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_address_that_will_not_do_is_refused(name):
    """What is wrong with it is told, and never the address, in which a password may stand."""
    address, why = WRONG[name]
    with pytest.raises(InvalidInput) as caught:
        Server(address)
    assert caught.value.code == "invalid-server"
    assert why in caught.value.message
    assert CANARY not in f"{caught.value} {caught.value.hint}"


def test_nothing_is_sent_to_another_host_in_clear():
    for address in ("http://ledger.contoso.example", "http://192.0.2.1:80", "HTTP://[2001:db8::1]"):
        assert code_of(InvalidInput, lambda: Server(address)) == "insecure-server"  # noqa: B023


def test_an_address_is_the_same_in_any_writing():
    """With a slash behind it, in capital letters, with a port or a number for a host."""
    for address, url in (
        ("https://ledger.contoso.example/", "https://ledger.contoso.example"),
        ("HTTPS://ledger.contoso.example", "https://ledger.contoso.example"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
    ):
        assert (Server(address).base_url, Server(address).socket) == (url, None)
    assert Server("UNIX:///run/a%20socket").socket == "/run/a socket"


def test_a_capital_scheme_is_tls_with_the_named_authority(furnished, tmp_path):
    authority = Authority(tmp_path)
    tls = Tls(*authority.issue("server", "127.0.0.1"))
    with running(furnished, tmp_path, tls=tls) as one:
        server = Server(f"HTTPS://127.0.0.1:{one.address[1]}", ca_file=authority.file)
        with Client(server) as ledger:
            assert code_of(Refused, lambda: ledger.get("payroll")) == "no-caller"


# httpcore leaves a socket that did not connect to the collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_why_a_service_is_not_reached_is_told_with_its_address(tmp_path):
    """A socket that is not there or not for this account, and a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for address, why in (
        (f"unix://{tmp_path}/nowhere", "No such file or directory"),
        (f"http://127.0.0.1:{port}", "Connection refused"),
    ):
        with Client(Server(address, attempts=1)) as ledger, pytest.raises(Unavailable) as caught:
            ledger.get("payroll")
        assert caught.value.message == f"The service at {address} cannot be reached ({why})."
    del caught
    gc.collect()  # within this test, where that is passed over


def test_a_token_file_is_read_for_each_request(service, tmp_path):
    """And what is no token is sent nowhere."""
    file = tmp_path / "token"
    server = Server(at(service), token_file=file)
    with Client(server) as ledger:
        assert code_of(NotFound, lambda: ledger.get("payroll")) == "no-token-file"
        for content in (b"", b"two words\n", b"caf\xe9", b"x\r\nHost: evil"):
            file.write_bytes(content)
            assert code_of(InvalidInput, lambda: ledger.get("payroll")) == "invalid-token-file"
        file.write_bytes(b"a.b.c\n")
        assert code_of(Refused, lambda: ledger.get("payroll")) == "token-refused"


def test_a_certificate_is_checked(furnished, tmp_path):
    """By the authority that was named, and no other."""
    authority = Authority(tmp_path)
    tls = Tls(*authority.issue("server", "127.0.0.1"))
    with running(furnished, tmp_path, tls=tls) as one:
        address = f"https://127.0.0.1:{one.address[1]}"
        with Client(Server(address, ca_file=authority.file)) as ledger:
            assert code_of(Refused, lambda: ledger.get("payroll")) == "no-caller"
        with Client(Server(address)) as ledger:
            assert code_of(Unavailable, lambda: ledger.get("payroll")) == "server-not-trusted"


def test_what_is_no_answer_of_the_service_is_told_as_that():
    """A proxy's page, a cut document, one of another shape."""
    for status, content, code in (
        (502, b"<html>Bad gateway", "service-unavailable"),
        (404, b"<html>Not here", "answer-unreadable"),
        (403, b'{"title": "Refused"', "answer-unreadable"),
        (403, b'{"title": 7, "code": "x", "detail": "y"}', "answer-unreadable"),
    ):
        assert error_of(status, content).code == code
    told = error_of(409, b'{"title": "Conflict", "code": "c", "detail": "d", "status": 409}')
    assert isinstance(told, Conflict)


@pytest.fixture
def used_up(service, monkeypatch):
    """A token that is good for one use, at a service whose store goes away behind that."""
    settings = Settings(AUDIENCE, ("ES256",), jwks("EC"), "", refuses_replay=True)
    service.service.seal.counter.ledger.trust.add(Acting(), ONCE, settings)

    async def retrieve(*_, **__):
        raise Unavailable("store-unreachable", "The store is not there.", hint="Wait.")

    monkeypatch.setattr(Ledger, "retrieve_async", retrieve)
    return FieldValue(mint(int(time.time()), iss=ONCE, jti="n0"))


def test_a_token_that_a_failed_attempt_used_up_is_not_what_is_told(service, used_up):
    """But what failed, and what is to be done; a token that is refused at first is just that."""
    place = "http://{}:{}".format(*service.address)
    with Client(place, token=used_up) as ledger:
        with pytest.raises(Unavailable) as caught:
            ledger.get("payroll")
        assert caught.value.code == "store-unreachable"
        assert "The token is used up" in caught.value.hint
        assert code_of(Refused, lambda: ledger.get("payroll")) == "token-refused"


def test_nor_is_it_where_that_is_awaited(service, used_up):
    async def job():
        async with AsyncClient("http://{}:{}".format(*service.address), token=used_up) as ledger:
            await ledger.get("payroll")

    assert code_of(Unavailable, lambda: asyncio.run(job())) == "store-unreachable"
