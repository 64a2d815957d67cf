"""Whatever comes in is bounded, and whatever is wrong with it leaves as a problem of ours."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import socket
import threading
import time
import tracemalloc

import msgpack
import pytest
from msgspec.structs import replace

from ledger.errors import InvalidInput
from tests.tools.service.clients import JSON, MSGPACK, raw
from tests.tools.service.conftest import VALUES, furnish, running
from tools.service import connections, protocol
from tools.service.bodies import ApplyApplications, Get, PreviewRestore, Receipt
from tools.service.forms import BODY_BYTES_MAX, forms_for
from tools.service.http_server import ServerLines
from tools.service.journal import Journal
from tools.service.peers import Peer, peer_of
from tools.service.protocol import HEAD_BYTES_MAX, HEAD_S_MAX, Connection
from tools.service.reading import LARGE_BYTES
from tools.service.shares import Shares

GET = "/v1/credentials/get"
SET = "/v1/credentials/set"
PREVIEW = "/v1/credentials/preview-restore"
HEAD = b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish)


@pytest.fixture
def furnished(house):
    """One kind of store: none of this gets as far."""
    return house


def test_bodies_that_do_not_fit_are_told_by_their_place_only(client):
    """No name or value of the caller's comes back."""
    canary = "canary-5512"
    for status, code, body in (
        (422, "invalid-body", {"application": 7}),
        (422, "invalid-body", {canary: "x"}),
        (422, "invalid-body", {"application": "payroll", "fields": {canary: 1}}),
        (422, "invalid-body", []),
        (422, "invalid-body", {"application": "x" * 5000}),
        (422, "application-required", {}),
        (422, "invalid-application-id", {"application": "a/b"}),
        (422, "invalid-reason", {"application": "payroll", "reason": f"two\n{canary}"}),
    ):
        assert canary not in str(client.fails(status, code, GET, body))


def test_what_is_no_json_is_refused(client):
    """Broken, deep, truncated or of another encoding: 400, and the connection goes on."""
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"application": "\\ud800"}', b"{}x"):
        reply = client.send("POST", GET, content, content_type=JSON)
        assert (reply.status, reply.code) in {(400, "malformed-body"), (422, "invalid-body")}
    client.ok(GET, {"application": "payroll"})


def test_a_large_body_is_read_for_somebody_only(service, client):
    """Whoever has no token that is believed makes nobody look through a body of any size."""
    stranger = service.stranger("x.y.z")
    small, large = b"{", b"{" + b" " * LARGE_BYTES
    for content in (small, large):
        assert client.send("POST", GET, content, content_type=JSON).status == 400
        assert stranger.send("POST", GET, content, content_type=JSON).status == 401
    reply = stranger.send("POST", "/v1/unseal", large, content_type=JSON)
    assert (reply.status, reply.code) == (403, "not-allowed-to-unseal")


def test_beyond_a_share_no_body_is_read(house, tmp_path):
    """Whoever has used his up is told so, whatever is wrong with what he sends."""
    large = b'{"version":7.0,"x":[' + b"{}," * LARGE_BYTES + b"{}]}"
    with running(house, tmp_path, caller_rate=1) as service:
        client = service.client()
        statuses = [
            client.send("POST", PREVIEW, content, content_type=JSON).status
            for content in (large, b"{", large, b"{", large)
        ]
    assert statuses == [422, 400, 429, 429, 429]


class Counting:
    """A decoder, and how often it was asked."""

    def __init__(self, decoder):
        self.decoder, self.times = decoder, 0

    def decode(self, content):
        self.times += 1
        return self.decoder.decode(content)


def test_a_body_is_decoded_again_only_where_a_float_may_be_whole():
    """Whatever else does not fit is refused at the first key that shows it."""
    json_form, _ = forms_for([Receipt, Get])
    counting = Counting(json_form.lenient[Receipt])
    form = replace(json_form, lenient={Receipt: counting})
    for content in (b'{"position":1}', b'{"x":1.0}', b'{"position":"1"}', b'{"position":1,'):
        with contextlib.suppress(InvalidInput):
            form.decode(Receipt, content)
        assert counting.times == 0
    with pytest.raises(InvalidInput):
        form.decode(Get, b'{"application":1.0}')
    assert form.decode(Receipt, b'{"position":1.0}') == Receipt(1)
    assert counting.times == 1


@pytest.mark.parametrize("form", forms_for([PreviewRestore]), ids=[JSON, MSGPACK])
def test_what_follows_a_float_is_not_read_where_it_does_not_fit(form):
    """It costs little to refuse a body with one, however much is in it."""
    asked = {"version": 7.0, "x": [{}] * 1_000_000}
    content = form.encoder.encode(asked)
    tracemalloc.start()
    with pytest.raises(InvalidInput) as caught:
        form.decode(PreviewRestore, content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "invalid-body"
    assert most < len(content) / 10


@pytest.mark.parametrize("form", forms_for([ApplyApplications]), ids=[JSON, MSGPACK])
def test_whole_numbers_may_be_written_as_floats_wherever_there_are_numbers(form):
    """Each of several, beside lists, texts and keys that are left out."""
    wanted = {
        "kind": "group",
        "members": ["user:a"],
        "fields": ["a:text", {"name": "b", "type": "text"}],
    }
    asked = [
        {
            "applications": {name: {**wanted, "ticket_timeout_s": number} for name in "ab"}
            | {"c": {}}
        }
        for number in (7, 7.0)
    ]
    whole, written = (form.decode(ApplyApplications, form.encoder.encode(one)) for one in asked)
    assert written == whole
    assert type(written.applications["b"].ticket_timeout_s) is int


@pytest.mark.parametrize("form", [JSON, MSGPACK])
def test_a_key_that_comes_twice_is_refused(client, form):
    """Two readers could take the body for different requests, or set different values."""
    name = {"application": "payroll"}
    once = json.dumps(name).encode() if form == JSON else msgpack.packb(name)
    twice = once[:-1] + b"," + once[1:] if form == JSON else b"\x82" + once[1:] * 2
    assert client.send("POST", GET, once, content_type=form).status == 200
    reply = client.send("POST", GET, twice, content_type=form)
    assert (reply.status, reply.code) == (400, "malformed-body")
    value = (
        b'"a":{"base64":"","base64":""}' if form == JSON else b"\xa1a\x82" + b"\xa6base64\xa0" * 2
    )
    head = b'{"fields":{%s}}' if form == JSON else b"\x81\xa6fields\x81%s"
    reply = client.send("POST", SET, head % value, content_type=form)
    assert (reply.status, reply.code) == (400, "malformed-body")


def test_methods_types_and_paths_are_told_apart(client):
    """Each has its status, and what would be right."""
    reply = client.send("GET", GET)
    assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method-not-allowed", "POST")
    reply = client.send("POST", "/health/live")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    client.fails(415, "unknown-media-type", GET, {}, form="text/plain")
    client.fails(404, "no-such-path", "/v1/nothing", {})


PLAIN = ("/health/live", "/health/ready", "/openapi.json", "/.well-known/jwks.json")


@pytest.mark.parametrize("path", PLAIN)
def test_whoever_may_get_a_page_may_ask_for_its_head(client, path):
    """It says what GET would, without the content, and the connection goes on."""
    whole, head = client.send("GET", path), client.send("HEAD", path)
    assert (head.status, head.content) == (200, b"")
    for one in (whole, head):
        del one.headers["date"]
    assert head.headers == whole.headers
    assert head.headers["content-length"] == str(len(whole.content))
    assert client.send("GET", path).content == whole.content


def test_failures_are_told_by_their_heads_too(client):
    """Where there is nothing to get, HEAD has the status and no content."""
    for path, status, allowed in ((GET, 405, "POST"), ("/nowhere", 404, None)):
        reply = client.send("HEAD", path)
        assert (reply.status, reply.content, reply.headers.get("allow")) == (status, b"", allowed)


@pytest.mark.parametrize("path", [GET, *PLAIN])
def test_other_methods_are_told_which_there_are(client, path):
    """OPTIONS among them."""
    for method in ("OPTIONS", "PUT", "DELETE", "TRACE", "PATCH"):
        reply = client.send(method, path)
        assert (reply.status, reply.code) == (405, "method-not-allowed")
        assert reply.headers["allow"] == ("POST" if path == GET else "GET, HEAD")


def test_a_large_body_is_not_read(service):
    """By its length it is refused at once, and in pieces where it goes beyond."""
    answer = raw(service.socket, HEAD + b"content-length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1))
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close" in head
    assert b'"body-too-large"' in content
    piece = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))
    with service.client().connected() as made:
        made.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n" + piece * 64 + b"1\r\nx\r\n")
        assert made.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_head_without_end_is_cut_off(service):
    """More than the bound of it is not kept."""
    answer = raw(service.socket, HEAD + b"x-a: " + b"a" * (HEAD_BYTES_MAX * 10))
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("length", [HEAD_BYTES_MAX, HEAD_BYTES_MAX * 6])
def test_a_whole_head_beyond_the_bound_is_asked_of_nobody(service, house, length):
    """Even if it comes in one piece with all that follows."""
    with house.store().reading() as reading:
        before = reading.last_position()
    body = b'{"application": "payroll"}'
    rest = b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    assert answered(service, HEAD + b"x-a: " + b"a" * length + rest) in {b"431", b""}
    with house.store().reading() as reading:
        assert reading.last_position() == before
    assert answered(service, HEAD + b"x-a: " + b"a" * (HEAD_BYTES_MAX - 300) + rest) == b"200"


def answered(service, content):
    """The status of the answer; nothing where who went on sending was reset before it came."""
    with service.client().connected() as made:
        try:
            made.sendall(content)
            return made.recv(65536)[9:12]
        except ConnectionError:
            return b""


LIVE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
NOWHERE = b"POST /nowhere HTTP/1.1\r\nhost: x\r\n"
TO_H2C = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
IN_PIECES = b"transfer-encoding: chunked\r\n\r\n"


def statuses(answer):
    """Of the answers of one connection, in order."""
    return [int(piece[:3]) for piece in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (HEAD + b"x-a: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
        (HEAD + b"x-a: " + b"a" * HEAD_BYTES_MAX * 20, 431),
        (b"\0no http\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\n\r\n", 400),
        (HEAD + IN_PIECES + b"what\r\n", 400),
    ],
    ids=["whole head", "endless head", "no http", "no path", "body"],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_what_cannot_be_read_is_answered_behind_what_came_before(service, before, broken, status):
    """Each request has the answer that is its own, and the connection ends behind the last."""
    first = HEAD + b'content-length: 25\r\n\r\n{"application":"payroll"}'
    assert statuses(raw(service.socket, first * before + broken)) == [200] * before + [status]
    assert statuses(raw(service.socket, first * before + broken + LIVE)) == [200] * before + [
        status
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (LIVE[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n", 200),
        (LIVE[:-2] + TO_H2C + b"\r\n", 200),
        (HEAD + TO_H2C + b'content-length: 25\r\n\r\n{"application":"payroll"}', 200),
        (HEAD + TO_H2C + IN_PIECES + b'19\r\n{"application":"payroll"}\r\n0\r\n\r\n', 200),
        (HEAD + TO_H2C + b"content-length: 0\r\n\r\n", 400),
        (b"CONNECT /a HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        (b"CONNECT /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", 404),
    ],
    ids=["websocket", "h2c", "body", "pieces", "empty body", "connect", "connect with a body"],
)
def test_whoever_asks_for_another_protocol_is_answered_in_this_one(
    service, caplog, asked, expected
):
    """What comes behind it is a request like any other, and nothing is said in the log."""
    together = b"".join((asked, LIVE, asked, asked, LIVE))
    answers = [expected, 200, expected, expected, 200]
    assert statuses(raw(service.socket, together)) == answers
    with service.client().connected() as made:
        for byte in together:
            made.sendall(bytes((byte,)))
        made.shutdown(socket.SHUT_WR)
        assert statuses(all_of(made)) == answers
    assert caplog.messages == []


def test_a_body_behind_a_wish_for_another_protocol_is_no_request(service):
    """Nobody can hide one in it from whoever looks at requests on the way."""
    asked = HEAD + TO_H2C + b"content-length: %d\r\n\r\n" % len(LIVE)
    with service.client().connected() as made:
        made.sendall(asked)
        made.sendall(LIVE)
        made.shutdown(socket.SHUT_WR)
        assert statuses(all_of(made)) == [400]


def all_of(made):
    answer = b""
    while piece := made.recv(65536):
        answer += piece
    return answer


def test_many_who_ask_for_another_protocol_are_answered_in_turn(service):
    """As many as come in one piece."""
    asked = LIVE[:-2] + b"connection: upgrade\r\nupgrade: x\r\n\r\n"
    assert statuses(raw(service.socket, asked * 5000)) == [200] * 5000


@pytest.fixture
def waiting(monkeypatch):
    """How many requests of a connection waited for an earlier one's answer, whenever one began."""
    seen = []
    begin = Connection.on_message_begin

    def begun(self):
        seen.append(len(self.pipeline))
        begin(self)

    monkeypatch.setattr(Connection, "on_message_begin", begun)
    return seen


def test_of_many_requests_that_come_together_few_are_held_as_such(service, waiting):
    """Each takes a hundred times its bytes; all are answered, however few are read at once."""
    many = 20_000
    with service.client().connected() as made:
        sending = threading.Thread(target=made.sendall, args=(LIVE * many,))
        sending.start()
        answer = b""
        while answer.count(b"HTTP/1.1 ") < many or not answer.endswith(b"}"):
            answer += made.recv(65536)
        sending.join()
    assert set(statuses(answer)) == {200}
    assert len(waiting) == many
    assert max(waiting) < protocol.WAITING_MAX + 150


def test_requests_with_bodies_that_come_together_are_answered_in_their_order(service, waiting):
    """Wherever what comes is cut, and whoever waits."""
    asked = [{"application": "payroll", "reason": "x" * (31 * one % 997)} for one in range(400)]
    asked[100] = {"application": "payroll", "reason": "x" * 70_000}
    bodies = [json.dumps(one).encode() for one in asked]
    heads = (HEAD + b"content-length: %d\r\n\r\n" % len(one) for one in bodies)
    sent = b"".join(head + body for head, body in zip(heads, bodies, strict=True))
    answer = raw(service.socket, sent)
    assert statuses(answer) == [200 if one != 100 else 422 for one in range(400)]
    positions = [int(one) for one in re.findall(rb'"position":(\d+)', answer)]
    assert positions == list(range(positions[0], positions[0] + 399))
    assert max(waiting) < protocol.WAITING_MAX + 50


def test_a_request_that_was_answered_has_no_second_answer(service):
    """Where the rest of its body cannot be read, the connection ends without a word."""
    with service.client().connected() as made:
        made.sendall(NOWHERE + IN_PIECES)
        assert statuses(made.recv(65536)) == [404]
        made.sendall(b"what\r\n" + LIVE)
        assert made.recv(65536) == b""


def test_a_body_that_cannot_be_read_is_the_answer_of_its_request(service):
    """Whoever was waiting for the rest of it says nothing any more."""
    with service.client().connected() as made:
        made.sendall(HEAD + IN_PIECES)
        made.sendall(b"1\r\n{\r\n")
        made.sendall(b"what\r\n" + LIVE)
        assert statuses(all_of(made)) == [400]
    assert "unexpected" not in service.logged()


def test_whoever_has_said_all_is_answered_what_was_asked_for_whole(service, house):
    """A half-closed connection gets every answer, and none for a request that is not complete."""
    first = HEAD + b'content-length: 25\r\n\r\n{"application":"payroll"}'
    for cut in (b"", HEAD, HEAD + b"content-length: 25\r\n\r\n{", b"GET"):
        before = size_of(house)
        assert statuses(raw(service.socket, first * 5 + cut)) == [200] * 5
        assert size_of(house) == before + 5
    assert raw(service.socket, b"") == raw(service.socket, HEAD) == b""


def size_of(house):
    with house.store().reading() as reading:
        return reading.last_position()


def test_whoever_goes_is_answered_nothing_more(service, caplog):
    """However many requests wait there; none of them finds a fault."""
    asked = HEAD + b'content-length: 25\r\n\r\n{"application":"payroll"}'
    for _ in range(50):
        with service.client().connected() as made:
            made.sendall(asked * 20)
            assert made.recv(1, socket.MSG_PEEK)  # what is not read breaks the connection
    service.client().ok(GET, {"application": "payroll"})
    assert caplog.messages == []


def test_a_slow_head_is_cut_off(service, monkeypatch):
    """Who does not come to the end of his head is not waited for."""
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.0)
    with service.client().connected() as made:
        made.sendall(HEAD)
        assert made.recv(1) == b""


def test_whoever_takes_no_answers_is_cut_off(service, monkeypatch):
    """They would wait for ever otherwise, and the connection with them."""
    client = service.client()
    with client.connected() as made:
        made.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 200)
        assert made.recv(1, socket.MSG_PEEK)
        (server, *_) = service.service._servers._servers
        monkeypatch.setattr(protocol, "UNREAD_S_MAX", 0.5)
        deadline = time.monotonic() + 20
        while len(server.server_state.connections) > 1:
            client.ok(GET, {"application": "payroll"})
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("asked", "more"),
    [(LIVE, b"\r\n"), (NOWHERE + b"content-length: 2\r\n\r\n", b"x")],
    ids=["blank lines", "what is left of a body"],
)
def test_what_is_no_request_keeps_no_connection(service, monkeypatch, asked, more):
    """Behind an answer the next request must begin in time, whatever else comes."""
    monkeypatch.setattr(protocol, "IDLE_S_MAX", 0)
    with service.client().connected() as made:
        made.sendall(asked)
        assert made.recv(65536).startswith(b"HTTP/1.1 ")
        made.sendall(more)
        assert made.recv(1) == b""


ASKED = b'content-length: 25\r\n\r\n{"application":"payroll"}'
ASKED_IN_PIECES = b'\r\n19\r\n{"application":"payroll"}\r\n0\r\n\r\n'
NO_HOST = HEAD.replace(b"host: x\r\n", b"")


TWO_TO_READ = (
    NO_HOST + ASKED,
    HEAD + b"host: x\r\n" + ASKED,
    HEAD + b"host: y\r\n" + ASKED,
    *(NO_HOST + b"host: %b\r\n" % name + ASKED for name in (b"a b", b"a/b", b"a@b", b"\xe4")),
    HEAD + b"content-length: 25\r\ntransfer-encoding: chunked\r\n" + ASKED_IN_PIECES,
    *(
        HEAD + b"transfer-encoding: %b\r\n" % coding + ASKED_IN_PIECES
        for coding in (b"gzip, chunked", b"chunked, chunked", b"identity", b"chunked;q=1", b"")
    ),
    HEAD.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n" + ASKED_IN_PIECES,
    *(HEAD.replace(b"1.1", version) + ASKED for version in (b"0.9", b"1.2", b"2.0")),
    *(HEAD + b"content-length: %b\r\n" % told + ASKED for told in (b"25", b"+25", b"25, 25")),
    HEAD + b"x: a\r\n folded\r\n" + ASKED,
    HEAD + b"authorization : Bearer x\r\n" + ASKED,
    HEAD.replace(b"\r\n", b"\n") + ASKED,
    *(
        HEAD.replace(GET.encode(), target) + ASKED
        for target in (
            *(b"/v1/credentials/get#/static/x.png", b"/v1/credentials/get?#/x", b"#"),
            *(b"http://elsewhere.example/v1/credentials/get", b"ftp://x/v1/credentials/get"),
            *(b"http://u:p@evil.example:1/v1/credentials/get", b"http://x:1", b"x:1", b"*"),
            *(b"v1/credentials/get", b"?/v1/credentials/get", b"/v1/credentials/get%", b"/%2"),
            *(b"/v1/credentials/get%0g", b"/v1\\credentials/get", b"/v1/credentials/get?[]"),
            *(b'/v1/credentials/get"', b"/v1/credentials/get?\xe4", b"/v1/{credentials}/get"),
        )
    ),
    *(
        HEAD.replace(b" HTTP/", between + b"RTSP/") + ASKED
        for between in (b" ", b"  ", b"?a=RTSP/1.0 ", b"?aRTSP/ ")
    ),
    HEAD.replace(b"HTTP/1.1", b"RTSP/1.0") + ASKED,
    HEAD.replace(b"HTTP/", b"ICE/") + ASKED,
    HEAD.replace(b"HTTP/", b"http/") + ASKED,
)
ONE_TO_READ = (
    NO_HOST.replace(b"1.1", b"1.0") + ASKED,
    *(NO_HOST + b"host: %b\r\n" % name + ASKED for name in (b"", b"[::1]:8443", b"a.example:1 ")),
    HEAD + b"Transfer-Encoding: \tChunked \r\n" + ASKED_IN_PIECES,
    HEAD + ASKED.replace(b"25", b"25 "),
    HEAD + ASKED.replace(b"25", b"0" * 30 + b"25"),
    HEAD + b"x: get RTSP/1.0\r\n" + ASKED,
    HEAD + b'content-length: 47\r\n\r\n{"application":"payroll","reason":"a RTSP/1.0"}',
    HEAD + b"x-http-method-override: DELETE\r\nx-forwarded-for: 192.0.2.7\r\n" + ASKED,
)
OTHER_PATHS = (
    *("/v1/credentials%2Fget", "/v1%2fcredentials/get", "/v1/credentials/%67et", "/%76%31/x"),
    *(
        "//v1/credentials/get",
        "/v1//credentials/get",
        "/v1/credentials/get/",
        "/V1/credentials/get",
    ),
    *("/v1/x/../credentials/get", "/v1/x/%2e%2e/credentials/get", "/v1/./credentials/get"),
    *("/v1/credentials/get%00", "/v1/credentials/get;x", "/v1/credentials/get%3Fx"),
    *("/v1/credentials/get?", "/v1/credentials/get?x=y", "/v1/credentials/get?a=/RTSP/1.0"),
)


def test_a_head_that_two_readers_read_as_two_is_no_request(service, house):
    """Over TCP as well it is told as what is no HTTP, and nothing that follows it is read."""
    size = size_of(house)
    for asked in TWO_TO_READ:
        for place in (service.socket, service.address):
            assert statuses(raw(place, asked + LIVE)) == [400], asked
    assert size_of(house) == size


def test_behind_a_front_such_a_head_is_no_request_either(house, tmp_path):
    """Nor one of another protocol behind others; what is a path of nothing is not there."""
    size = size_of(house)
    with running(house, tmp_path, front_processes=1) as service:
        for asked in TWO_TO_READ:
            assert statuses(raw(service.address, LIVE + asked + LIVE)) == [200, 400], asked
        for path in OTHER_PATHS:
            asked = HEAD.replace(GET.encode(), path.encode()) + ASKED
            assert statuses(raw(service.address, asked)) == [404], path
    assert size_of(house) == size


def test_what_is_odd_and_means_one_thing_is_answered(service):
    """Blanks around a value, noughts before a length, and headers of others."""
    for asked in ONE_TO_READ:
        assert statuses(raw(service.socket, asked)) == [200], asked
        assert statuses(raw(service.socket, LIVE + asked)) == [200, 200], asked


OF_RTSP = HEAD.replace(b"HTTP/1.1", b"  RTSP/1.0") + ASKED
NAMES_IT = (
    HEAD
    + b'x: t RTSP/1.0\r\ncontent-length: 47\r\n\r\n{"application":"payroll","reason":"t RTSP/1.0"}'
)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_a_request_of_another_protocol_is_none_however_it_comes(service, house, step):
    """Cut anywhere, and behind whatever body; where a value or a field has the name, it is one."""
    together = NAMES_IT * 2 + OF_RTSP + LIVE
    with service.client().connected() as made:
        for begin in range(0, len(together), step):
            with contextlib.suppress(BrokenPipeError):
                made.sendall(together[begin : begin + step])
        assert statuses(all_of(made)) == [200, 200, 400]


def test_a_path_is_what_was_sent(service, house):
    """No escape in it is undone and no step taken, so that it is one path to whoever looks."""
    size = size_of(house)
    for path in OTHER_PATHS:
        asked = HEAD.replace(GET.encode(), path.encode()) + ASKED
        for place in (service.socket, service.address):
            assert statuses(raw(place, asked)) == [404], path
    assert statuses(raw(service.address, LIVE.replace(b"/live", b"%2flive"))) == [404]
    assert size_of(house) == size


def test_a_body_in_another_coding_is_not_taken(client):
    """A reader that undid it would read another body."""
    asked = {"application": "payroll"}
    client.fails(415, "content-encoding-not-taken", GET, asked, content_encoding="gzip")
    client.ok(GET, asked)


def test_headers_that_must_be_alone_are_refused_twice(service):
    """Two readers could take them for different requests."""
    twice = HEAD + b"content-type: application/msgpack\r\ncontent-length: 2\r\n"
    answer = raw(service.socket, twice + b"connection: close\r\n\r\n{}")
    assert b"malformed-header" in answer


def test_a_caller_gets_a_share_and_no_more(house, tmp_path):
    """Beyond it there is 429 with the time to come again, and nothing is recorded."""
    with running(house, tmp_path, caller_rate=1) as service:
        client = service.client()
        client.ok(GET, {"application": "payroll"})
        client.ok(GET, {"application": "payroll"})
        size = service.service.seal.counter.ledger.head().size
        reply = client.ask(GET, {"application": "payroll"})
        assert (reply.status, reply.code) == (429, "too-many-requests")
        assert reply.headers["retry-after"] == "1"
        assert service.service.seal.counter.ledger.head().size == size


def test_an_address_gets_a_share_and_no_more(house, tmp_path):
    """Whoever it is that asks from there."""
    with running(house, tmp_path, address_rate=1) as service:
        stranger = service.stranger()
        codes = [stranger.ask(GET, {}).code for _ in range(3)]
        assert codes == ["no-caller", "no-caller", "too-many-requests"]
        for path in ("/.well-known/jwks.json", "/openapi.json"):
            assert stranger.send("GET", path).status == 429
        assert stranger.send("GET", "/health/ready").status == 200
        service.client().ok(GET, {"application": "payroll"})


def test_a_share_fills_up_again():
    """After a burst there is one for each step of the rate."""
    now = [0.0]
    shares = Shares(rate=2, burst=3, clock=lambda: now[0])
    assert [shares.wait_s("a") for _ in range(3)] == [0, 0, 0]
    assert shares.wait_s("a") == pytest.approx(0.5)
    assert shares.wait_s("b") == 0
    now[0] = 0.5
    assert shares.wait_s("a") == 0
    assert shares.wait_s("a") > 0


def test_names_do_not_fill_the_memory():
    """While as many are kept as may be, nobody new is let in; whole shares are forgotten."""
    now = [0.0]
    shares = Shares(rate=1, burst=1, clock=lambda: now[0], names_max=2)
    assert shares.wait_s("a") == shares.wait_s("b") == 0
    assert shares.wait_s("c") > 0
    now[0] = 5
    assert shares.wait_s("c") == 0


def test_addresses_of_one_site_are_one():
    """An IPv6 site has 2^64 addresses."""

    class Far:
        family = socket.AF_INET6

        def __init__(self, address):
            self.address = address

        def getpeername(self):
            return (self.address, 1, 0, 0)

    assert peer_of(Far("2001:db8::1")) == peer_of(Far("2001:db8::ffff")) == Peer("2001:db8::/64")
    assert peer_of(Far("::ffff:192.0.2.7")) == Peer("192.0.2.7")


def test_no_value_or_name_is_in_the_log_of_the_service(service, client):
    """Canaries that went in and out are not in its lines."""
    client.ok(GET, {"application": "payroll", "reason": "canary-reason"})
    client.fails(403, "access-denied", GET, {"application": "canary-application"})
    service.stranger("canary-token").ask(GET, {})
    text = service.logged()
    assert '"code": "access-denied"' in text
    for canary in ("canary", "payroll", *VALUES.values()):
        assert canary not in text


def test_the_socket_is_its_group_s_only(service):
    """Whoever else connects would need a right to."""
    assert service.socket.stat().st_mode & 0o777 == 0o660


def test_fields_behind_a_body_are_none_of_the_head(service):
    """Whoever checks heads on the way has not seen them, so they say nothing here."""
    body = b'{"application":"payroll"}'
    told = b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n%x\r\n%s\r\n0\r\n%s\r\n"
    for field in (b"", b"idempotency-key: k\r\n", b"content-type: text/plain\r\n"):
        with service.client().connected() as made:
            made.sendall(HEAD + told % (len(body), body, field))
            assert made.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "body", [b'19\r\n{"application":"payroll"}\r\n', b""], ids=["asked", "empty"]
)
@pytest.mark.parametrize("field", [b"Connection: close", b"proxy-connection: close"])
def test_a_connection_that_is_ended_behind_a_body_is_closed(service, body, field):
    """Such a field says nothing either; but nothing that comes behind it could be read."""
    rest = body + b"0\r\n" + field + b"\r\n\r\n" + LIVE
    for head, expected in ((HEAD, 200 if body else 400), (NOWHERE, 404)):
        with service.client().connected() as made:
            made.sendall(head + IN_PIECES + rest)
            assert statuses(all_of(made)) == [expected]
    with service.client().connected() as made:
        made.sendall(NOWHERE + IN_PIECES)
        assert statuses(made.recv(65536)) == [404]
        made.sendall(rest)
        assert all_of(made) == b""


@pytest.mark.parametrize("endless", [b"0\r\n%s", b"1;%s"], ids=["fields", "extensions"])
def test_what_comes_around_a_body_without_end_is_cut_off(service, endless):
    """Fields behind a body, or words beside the length of a piece, are not kept for ever."""
    line = b"x-a: " + b"a" * 1000 + b"\r\n" if endless.startswith(b"0") else b"a" * 1000
    with service.client().connected() as made, pytest.raises(ConnectionError):
        made.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n" + endless % b"")
        for _ in range(10_000):
            made.sendall(line)


def test_a_body_in_many_small_pieces_is_read(service):
    """What bounds the rest does not bound a body."""
    body = b'{"application":"payroll"}' + b" " * 40_000
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with service.client().connected() as made:
        made.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
        assert made.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_full_of_the_name_of_another_protocol_is_read(service):
    """However often it stands there, and wherever the body is cut."""
    reason = " RTSP/" * 100_000
    body = json.dumps({"application": "payroll", "reason": reason}).encode()
    with service.client().connected() as made:
        begun = time.process_time()
        made.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert statuses(made.recv(65536)) == [422]
        assert time.process_time() - begun < 4


def test_one_source_has_a_share_of_the_connections(service, monkeypatch):
    """Who holds as many as one may gets no more, and others still do."""
    monkeypatch.setattr(connections, "SOURCE_CONNECTIONS_MAX", 3)
    held = [service.stranger() for _ in range(3)]
    assert all(one.send("GET", "/health/live").status == 200 for one in held)
    with held[0].connected() as more:
        more.settimeout(HEAD_S_MAX / 2)
        assert more.recv(1) == b""
    service.client().ok(GET, {"application": "payroll"})
    assert held[0].send("GET", "/health/live").status == 200


def test_strangers_do_not_fill_the_log_of_the_service():
    """What the server says of broken requests is written up to the rate, and the rest counted."""
    written = io.StringIO()
    handler = ServerLines(Journal(written).server_said)
    broken = logging.LogRecord("", logging.WARNING, "", 0, "Invalid HTTP request.", (), None)
    for _ in range(10_000):
        handler.handle(broken)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert 100 < len(lines) < 1000
    assert {line["message"] for line in lines} == {"Invalid HTTP request."}
