"""Bytes of any kind find no fault, on the unix socket, behind a front, or where metrics are.

Examples are the same in each run; with `--torture` there are many more, and others each time.
"""

from __future__ import annotations

import json
import re
import time

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.claims import parse_claim
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.ledger.tokens.minting import ISSUER, mint
from tests.tools.service.clients import JSON, MSGPACK, raw
from tests.tools.service.conftest import ME, VALUES, furnish, running
from tests.tools.service.test_callers import trust
from tests.tools.service.test_load import granted_positions
from tools.service import callers
from tools.service.description import ANSWERED
from tools.service.operations import OPERATIONS
from tools.service.places import Address

EXAMPLES = 120
EXAMPLES_OF_TORTURE = 5000
GET, REDEEM = "/v1/credentials/get", "/v1/tickets/redeem"
BOB = f"{ISSUER}#user:bob"
PAYROLL = {"application": "payroll"}


def let_do(house):
    """Whoever asks may do all but read, and bob has credentials that nobody else touches."""
    ledger = house.open()
    ledger.create_application(
        Acting(), "scratch", kind="individual", ticketing=True, ticket_redeemers=(str(ME),)
    )
    for claim in (str(ME), f"{ISSUER}#user:alice"):
        ledger.role_grant(Acting(), "full-control", claim)
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "payroll", parse_claim(BOB), values)
    ledger.close()


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish, trust, let_do)


@pytest.fixture
def service(house, tmp_path, monkeypatch):
    """Behind a front; one address may be refused as often as there are examples."""
    monkeypatch.setattr(callers, "_REFUSED_BURST", 10 * EXAMPLES_OF_TORTURE)
    metrics = Address("127.0.0.1", 0)
    with running(house, tmp_path, front_processes=1, metrics=metrics) as one:
        yield one


@pytest.fixture
def examples(request):
    """How many, and which: put around a test that is given something."""
    torture = request.config.getoption("--torture")
    return settings(
        max_examples=EXAMPLES_OF_TORTURE if torture else EXAMPLES,
        derandomize=not torture,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def token(user):
    return mint(int(time.time()), sub=user)


def require_sound(service, house, answered):
    """It goes on as before; what was answered as granted is recorded so, once each."""
    bob = service.stranger(token("bob")).ok(GET, PAYROLL)
    assert bob["fields"] == VALUES
    assert "unexpected" not in service.logged()
    assert len(answered) == len(set(answered))
    assert {*answered, bob["position"]} <= set(granted_positions(house))


HUGE = (2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e300, -0.0)
# Not bob's application: whoever asks may close or delete any that is named.
WORDS = (
    *("scratch", "Scratch ", "user:alice", "group:finance", f"{ISSUER}#user:alice", "individual"),
    *("member", "default", "none", "yesterday", "7d", "999999999w", "2026-02-30", "9999-12-31"),
    *("", " ", "\0", "a\nb", "\ud800", "\u202e", "x" * 2000, "password", "Key:key:masked"),
)
FITTING = {
    "application": ("scratch", "Scratch "),
    "fields": (VALUES, ["Windows Password"], [{"name": "Pin", "type": "pin"}]),
    "add_fields": ([{"name": "Pin", "type": "pin", "masked": False}],),
    "mask": (["Windows User Name"],),
    "unmask": (["Windows Password"],),
    "applications": ({"scratch": {"kind": "individual", "ticket_timeout_s": 60}},),
    "deletes": ([],),
    "owner": (str(ME), "user:carol"),
    "claim": ("user:carol", "group:finance"),
    "administrators": (["user:carol"],),
    "members": ([],),
    "ticket_redeemers": (["user:carol"], []),
    "role": ("member", "ticket-redeemer"),
    "kind": ("individual", "group"),
    "ticketing": (True, False),
    "restricted": (False,),
    "open": (True, False),
    "prune": (False,),
    "dry_run": (True, False),
    "version": (1, 2.0),
    "at": ("now", "1s"),
    "older_than": ("7d", "0s"),
    "ticket_timeout_s": (1, 60),
    "position": (1, 20),
    "ticket": ("clt_" + "A" * 43,),
    "name": ("Payroll",),
    "contact": ("ops@contoso.example",),
    "credential_page": ("default", "https://contoso.example/set"),
    "reason": ("nightly", ""),
}
"""What each key may well have."""
SCALARS = (
    st.sampled_from(HUGE),
    st.sampled_from(WORDS),
    st.none() | st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
)
OF_MSGPACK = (
    st.binary(max_size=20),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    st.builds(msgpack.Timestamp, st.integers(0, 2**34 - 1), st.integers(0, 10**9 - 1)),
)


def values(*scalars):
    """Of any shape, a little deeper than what is taken."""
    keys = st.sampled_from((*WORDS[:4], "base64", "name", "type", *VALUES))
    return st.one_of(
        *scalars,
        st.recursive(
            st.one_of(*scalars),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
            max_leaves=5,
        ),
    )


ANY = {JSON: values(*SCALARS, st.integers()), MSGPACK: values(*SCALARS, *OF_MSGPACK)}


@st.composite
def asked(draw):
    """A path, a form, and a body that fits but for a key or two, or for some bytes."""
    path, form = draw(st.sampled_from(sorted(OPERATIONS))), draw(st.sampled_from(sorted(ANY)))
    names = (*OPERATIONS[path].body.__struct_fields__, "unknown")
    body = {name: draw(st.sampled_from(FITTING[name])) for name in names[:-1]}
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        body.pop(name, None)
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        body[name] = draw(ANY[form])
    if form == JSON:
        content = json.dumps(body).encode()
    else:
        content = msgpack.packb(body, unicode_errors="surrogatepass")
    is_changed = draw(st.sampled_from((False, False, False, True)))
    return path, form, changed(content, draw(CHANGES)) if is_changed else content


CHANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), max_size=6
)


def changed(content, changes):
    """The same with some bytes in the place of others."""
    made = bytearray(content)
    for at, length, instead in changes:
        begin = at % (len(made) + 1)
        made[begin : begin + length] = instead
    return bytes(made)


@pytest.mark.timeout(900)
def test_bodies_of_any_content_never_find_a_fault(service, house, examples):
    """Each is answered as described: done, or a problem with our code."""
    answered = []
    ways = [service.client(), service.stranger(token("alice"))]
    keys = ({}, {"idempotency_key": "k"}, {"accept": MSGPACK})

    @examples
    @given(asked(), st.sampled_from(ways), st.sampled_from(keys))
    def ask(one, client, said):
        path, form, content = one
        reply = client.send("POST", path, content, content_type=form, **said)
        assert reply.status in {200, *ANSWERED}
        assert reply.status < 500, reply
        assert isinstance(reply.document, dict)
        if reply.status == 200:
            if path in {GET, REDEEM}:
                answered.append(reply.document["position"])
        else:
            assert reply.code

    ask()
    require_sound(service, house, answered)


BODY = b'{"application":"payroll"}'
PACKED = msgpack.packb(PAYROLL)
PIECES = b"9;a=b\r\n" + BODY[:9] + b"\r\n10\r\n" + BODY[9:] + b"\r\n0\r\nx: y\r\n\r\n"
HOSTILE = {
    "method": (b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"post", b"", b"P\0ST", b"\x16\x03\x01"),
    "target": (
        *(b"/health/live", b"/openapi.json", b"*", b"", b"//v1/credentials/get", b"/\xff\xfe", b"/a b"),
        *(b"/v1/credentials/%67et", b"/v1/x/%2e%2e/credentials/get", b"/%", b"/%ff", b"/v1/x/../get"),
        *(b"/metrics", b"/v1/credentials/get?x=y", b"/v1/credentials/get#x", b"http://y/v1/credentials/get"),
        *(b"y:443", b"/" + b"a" * 40_000),
    ),
    "version": (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"", b"\0"),
    "line end": (b"\n", b"\r", b"\r\n ", b"\0\r\n", b"\r\r\n", b""),
    "host": (b"", b"host: y\r\nhost: x\r\n", b"host:\r\n", b"host: \xff\r\n", b"x-forwarded-host: y\r\n"),
    "type": (
        *(b"", b"content-type: text/plain\r\n", b"content-type : application/json\r\n"),
        *(b"content-type: application/json\r\ncontent-type: application/msgpack\r\n",),
        *(b"content-type: application/msgpack\r\n", b"content-type: \xff\0\r\n"),
        b"Content-Type: application/json; charset=utf-16\r\n",
    ),
    "length": (
        *(b"content-length: %b\r\n" % told for told in (b"0", b"1", b"24", b"26", b"-1", b"+25")),
        *(b"content-length: %b\r\n" % told for told in (b"0x19", b"25, 25", b"25 5", b"2_5", b"\xb2")),
        *(b"content-length: %d\r\n" % told for told in (2**32, 2**63, 2**64, 2**64 + 25, 10**40)),
        *(b"content-length: 25\r\n" * 2, b"content-length: 25\r\ncontent-length: 1\r\n", b""),
        *(b"transfer-encoding: %b\r\n" % told for told in (b"chunked", b"gzip, chunked", b"chunked, x")),
        *(b"transfer-encoding: %b\r\n" % told for told in (b"identity", b"\x0bchunked", b"xchunked")),
        b"content-length: 25\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ),
    "more": (
        *(b"expect: 100-continue\r\n", b"connection: close\r\n", b"connection: keep-alive, x\r\n"),
        *(b"connection: upgrade\r\nupgrade: h2c\r\n", b"x-http-method-override: GET\r\n"),
        *(b"idempotency-key: a b\r\n", b"accept: application/msgpack\r\n", b"accept: \xff\r\n"),
        *(b" folded\r\n", b"no colon\r\n", b": no name\r\n", b"x: " + b"a" * 40_000 + b"\r\n"),
        *(b"authorization: Bearer x\r\n" * 2, b"authorization: \r\n", b"authorization: Bearer \xff\r\n"),
        b"x-a: b\r\n" * 5000,
    ),
    "body": (
        *(b"", PACKED, PIECES, BODY[:9], BODY * 2, b"\0" * 25, b"[" * 25, b"0\r\n\r\n", b"-1\r\n\r\n"),
        *(b"ffffffffffffffffff\r\n", b"19\r\n" + BODY, b"19\n" + BODY + b"\n0\n\n", b"zz\r\n"),
        b"19;" + b"a" * 40_000,
    ),
}  # fmt: skip
"""What stands where in a request, and what should not."""


def good_parts(said):
    """A request that is answered, and what its parts are called in `HOSTILE`."""
    return {
        "method": b"POST",
        "target": GET.encode(),
        "version": b"HTTP/1.1",
        "line end": b"\r\n",
        "host": b"host: x\r\n",
        "type": b"content-type: application/json\r\n",
        "length": b"content-length: 25\r\n",
        "more": said,
        "body": BODY,
    }


def written(parts):
    """One request."""
    line = b" ".join((parts["method"], parts["target"], parts["version"]))
    fields = (parts[name] for name in ("host", "type", "length", "more"))
    return b"".join((line, parts["line end"], *fields, parts["line end"], parts["body"]))


REQUESTS = st.lists(
    st.lists(
        st.one_of(*(st.tuples(st.just(name), st.sampled_from(HOSTILE[name])) for name in HOSTILE)),
        max_size=3,
    ),
    min_size=1,
    max_size=4,
)
"""Up to four requests behind one another, in each of which some parts are others."""


@pytest.mark.timeout(900)
def test_bytes_of_any_kind_on_the_socket_never_find_a_fault(service, house, examples):
    """Each is answered by less than 500, or cut off."""
    answered = []
    ways = {
        service.socket: b"",
        service.service.metrics_address: b"",
        service.address: b"authorization: Bearer %b\r\n" % token("alice").encode(),
    }

    @examples
    @given(REQUESTS, CHANGES | st.just([]), st.sampled_from(list(ways)))
    def ask(requests, changes, place):
        said = (written({**good_parts(ways[place]), **dict(others)}) for others in requests)
        content = changed(b"".join(said), changes)
        first, *answers = raw(place, content).split(b"HTTP/1.1 ")
        assert first == b""
        for answer in answers:
            assert int(answer[:3]) in {100, 200, *ANSWERED} - {500, 503}
            if answer.startswith(b"200 "):
                answered.extend(map(int, re.findall(rb'"position":(\d+)', answer)))

    ask()
    require_sound(service, house, answered)
