"""What a head says of forms is read as RFC 9110 has it, and not searched for words."""

from __future__ import annotations

import pytest

from tests.tools.service.clients import JSON, MSGPACK, raw
from tests.tools.service.conftest import furnish
from tools.service.media_types import liked_best

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
