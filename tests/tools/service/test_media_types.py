"""What a head says of forms is read as RFC 9110 has it, and not searched for words."""

from __future__ import annotations

import pytest

from ledger.errors import InvalidInput
from tests.tools.service.clients import JSON, MSGPACK, raw
from tests.tools.service.conftest import furnish, running
from tools.service import media_types
from tools.service.media_types import (
    MEDIA_TYPES_BYTES_MAX,
    MEDIA_TYPES_PARTS_MAX,
    liked_best,
    type_of,
)
from tools.service.places import Address

GET = "/v1/credentials/get"
PAYROLL = {"application": "payroll"}
TYPES = (JSON.encode(), MSGPACK.encode())


@pytest.fixture
def furnished(prepared_file):
    """One kind of store: forms are none of its business."""
    return prepared_file(furnish)


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        (MSGPACK, MSGPACK),
        (JSON, JSON),
        ("APPLICATION/JSON", JSON),
        ("Application/MsgPack ; Q=0.001", MSGPACK),
        (f"{JSON}, {MSGPACK};q=0", JSON),
        (f"{JSON};q=0, */*", MSGPACK),
        (f"*/*, {MSGPACK};q=0", JSON),
        (f"{JSON};q=0.2,{MSGPACK};q=0.3", MSGPACK),
        (f"application/*;q=0.1, {JSON};q=0.2, */*", JSON),
        (f'{MSGPACK};x="a,{JSON};q=1";q=1, {JSON};q=0.9', MSGPACK),
        (f'{MSGPACK};x="\\",{JSON}";q=0.5', MSGPACK),
        (f"text/html, {JSON}", JSON),
    ],
)
def test_the_answer_is_in_what_is_wanted_most(accepted, wanted):
    """Whatever the body is in."""
    for asked in TYPES:
        assert liked_best(accepted.encode(), TYPES, asked) == wanted.encode()


@pytest.mark.parametrize(
    "accepted",
    [
        *("", "*/*", "application/*", "text/html", f"{JSON}, {MSGPACK}", f"{MSGPACK}, {JSON}"),
        *("application/msgpackish", "x/application/msgpack", "application/jsonp", "json", ",;,"),
        *(f"{JSON};q=0, {MSGPACK};q=0", f"{JSON};q=2", f"{MSGPACK};q=1.001", f"{MSGPACK};q=nan"),
        f'x;y="{JSON}, {MSGPACK}',
    ],
)
def test_otherwise_it_is_in_the_form_of_the_body(accepted):
    """Among equals, where none of the two is wanted, and where nothing is said."""
    for asked in TYPES:
        assert liked_best(accepted.encode(), TYPES, asked) == asked


def test_several_such_headers_are_one(service):
    """Their order is that of one list, so neither hides the other."""
    for first, second, wanted in (
        (MSGPACK, "text/html", MSGPACK),
        ("text/html", MSGPACK, MSGPACK),
        (f"{MSGPACK};q=0", "*/*", JSON),
    ):
        answer = raw(
            service.socket,
            f"POST {GET} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\naccept: {first}\r\n"
            f'accept: {second}\r\ncontent-length: 25\r\n\r\n{{"application":"payroll"}}'.encode(),
        )
        assert f"content-type: {wanted}\r\n".encode() in answer


def test_another_charset_is_not_taken(client):
    """UTF-8 may be named, however it is written."""
    for form in (JSON, MSGPACK):
        for said in ("utf-16", "iso-8859-1", '"UTF-32"', ""):
            for kind in (form, form.upper()):
                told = {"form": form, "content_type": f"{kind}; x=y; Charset={said}"}
                reply = asked(client, **told)
                assert (reply.status, reply.code) == (415, "charset-not-taken")
        for said in ("utf-8", "UTF-8", '"utf-8"', "utf8"):
            assert asked(client, form=form, content_type=f"{form};charset={said}").status == 200


def asked(client, form, content_type):
    """The answer to a body of this form that is called something."""
    content = b"\x81\xabapplication\xa7payroll" if form == MSGPACK else b'{"application":"payroll"}'
    return client.send("POST", GET, content, content_type=content_type)


LONG = (
    "," * 30_000,
    ";" * 30_000,
    ",".join(f"a/b{number}" for number in range(2000)),
    "x" * (MEDIA_TYPES_BYTES_MAX + 1),
    '"' * (MEDIA_TYPES_BYTES_MAX + 1),
    f"{MSGPACK}{',' * (MEDIA_TYPES_PARTS_MAX + 1)}",
    f"{MSGPACK}{',;' * (MEDIA_TYPES_PARTS_MAX // 2)};",
)
"""Longer than any real header, or of more parts."""


@pytest.mark.parametrize("said", LONG)
def test_what_is_longer_than_any_real_one_is_not_looked_through(monkeypatch, said):
    """Not one part of it."""
    seen = []
    monkeypatch.setattr(media_types, "_parameter", seen.append)
    monkeypatch.setattr(media_types, "_qualities", seen.append)
    for ask in (lambda: liked_best(said.encode(), TYPES, TYPES[0]), lambda: type_of(said.encode())):
        with pytest.raises(InvalidInput) as caught:
            ask()
        assert caught.value.code == "malformed-header"
    assert seen == []


def test_what_is_as_long_as_it_may_be_is():
    """In bytes and in parts, with the wish at its end."""
    for begin in ("," * (MEDIA_TYPES_PARTS_MAX - 1), "text/" + "x" * 990):
        said = f"{begin},{MSGPACK}".encode()
        assert len(said) <= MEDIA_TYPES_BYTES_MAX
        assert liked_best(said, TYPES, TYPES[0]) == MSGPACK.encode()
    assert type_of(f"{JSON}{';' * MEDIA_TYPES_PARTS_MAX}".encode()) == JSON.encode()


@pytest.mark.parametrize("header", ["accept", "content-type"])
def test_a_longer_one_is_malformed_whatever_it_says(client, header):
    """For who is known; several `Accept` count together, and what comes next is answered."""
    for said in LONG:
        reply = client.ask(GET, PAYROLL, **{header: said})
        assert (reply.status, reply.code) == (400, "malformed-header")
    client.ok(GET, PAYROLL)


def test_many_short_ones_are_one_long_one(service):
    """As RFC 9110 has it, so their parts are counted together."""
    answer = raw(
        service.socket,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"%bcontent-length: 2\r\nconnection: close\r\n\r\n{}"
        % (GET.encode(), b"accept: a/b\r\n" * (MEDIA_TYPES_PARTS_MAX + 2)),
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"malformed-header"' in answer


def test_nothing_that_is_said_is_remembered(service, client):
    """Or strangers, or whoever is known, would fill what is kept for others."""
    door, stranger = service.service._door, service.stranger("x.y.z")
    kept = {name: len(one) for name, one in vars(door).items() if hasattr(one, "__len__")}
    for number in range(100):
        client.ok(GET, PAYROLL, accept=f"a/b{number}")
        client.ok(GET, PAYROLL, **{"content-type": f"{JSON};x={number}"})
        assert stranger.ask(GET, PAYROLL, accept=f"a/c{number}").status in {401, 429}
    assert kept == {name: len(one) for name, one in vars(door).items() if hasattr(one, "__len__")}


def test_metrics_are_asked_for_in_a_short_header_too(furnished, tmp_path):
    """Their page is made by a library that looks through whatever comes."""
    with running(furnished, tmp_path, metrics=Address("127.0.0.1", 0)) as service:
        for said, status in ((b"," * 30_000, b"400"), (b"text/plain", b"200")):
            answer = raw(
                service.service.metrics_address,
                b"GET /metrics HTTP/1.1\r\nhost: x\r\naccept: %b\r\nconnection: close\r\n\r\n"
                % said,
            )
            assert answer[9:12] == status
