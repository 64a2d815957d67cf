"""Numbers beyond all bounds in bodies: refused in both forms, and no store ever sees them."""

from __future__ import annotations

import functools
import json

import msgpack
import pytest

from ledger.usecases.acting import Acting
from tests.tools.service.clients import JSON, MSGPACK
from tests.tools.service.conftest import ME, furnish
from tests.tools.service.test_hostile_bytes import FITTING
from tools.numbers import NUMBER_MAX
from tools.service.description import description
from tools.service.operations import OPERATIONS

WRONG = (-1, 0, -(2**63), NUMBER_MAX + 1, 2**63, 2**64 - 1, 1e300, -1e300, 1.5, "1", True, [1])
IN_JSON = (*WRONG, 2**64, 10**30, -(10**30), 10**4299, float("nan"), float("inf"))
IN_MSGPACK = (
    *(*WRONG, float("nan"), float("-inf"), b"1"),
    *(msgpack.Timestamp(1), msgpack.ExtType(1, b"1")),
)
WRITTEN = {
    JSON: [lambda body, one=one: json.dumps(body(one)).encode() for one in IN_JSON],
    MSGPACK: [lambda body, one=one: msgpack.packb(body(one)) for one in IN_MSGPACK],
}
"""How a body with each of them is written, in either form."""
CODES = {"malformed-body", "invalid-body", "invalid-ticket-timeout"}


def let_do(house):
    """Whoever asks may do all but read, so that nothing is refused but for its number."""
    ledger = house.open()
    ledger.role_grant(Acting(), "full-control", str(ME))
    ledger.close()


@pytest.fixture
def furnished(prepared):
    return prepared(furnish, let_do)


def numbers_in(schema, schemas):
    """The places of all numbers in what a schema describes, each as the keys on the way there."""
    if "$ref" in schema:
        yield from numbers_in(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("type") in {"integer", "number"}:
        yield ()
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from numbers_in(one, schemas)
    inside = {**schema.get("properties", {}), "*": schema.get("additionalProperties")}
    for name, one in inside.items():
        if isinstance(one, dict):
            yield from ((name, *rest) for rest in numbers_in(one, schemas))


def numbers():
    """Each path with the place of a number in its body; no operation has one anywhere else."""
    document = description()
    schemas = document["components"]["schemas"]
    for path in OPERATIONS:
        described = document["paths"][path]["post"]
        assert {one["in"] for one in described.get("parameters", ())} <= {"header"}
        body = described["requestBody"]["content"][JSON]["schema"]
        yield from ((path, place) for place in dict.fromkeys(numbers_in(body, schemas)))


def body_with(path, place, number):
    """What fits, but for this number in its place."""
    names = OPERATIONS[path].body.__struct_fields__
    if place[0] == "applications":
        return {"applications": {"scratch": {"kind": "individual", place[-1]: number}}}
    body = {name: FITTING[name][0] for name in names if name != "at"}
    if path == "/v1/applications/create":
        return {**body, "fields": [], place[0]: number}
    return {**body, **dict.fromkeys({"application"} & body.keys(), "payroll"), place[0]: number}


def test_every_number_in_a_body_is_bounded(service, client):
    """400 or 422 with our code, in each operation that takes one; nothing changes."""
    ledger = service.service.seal.counter.ledger
    size, places = ledger.head().size, list(numbers())
    assert {place[-1] for _, place in places} == {"version", "ticket_timeout_s", "position"}
    assert len(places) == 6
    for path, place in places:
        headers = ({}, {"idempotency_key": "k"}) if OPERATIONS[path].takes_retry_key else ({},)
        for form, written in WRITTEN.items():
            for write in written:
                content = write(functools.partial(body_with, path, place))
                for said in headers:
                    reply = client.send("POST", path, content, content_type=form, **said)
                    assert reply.status in {400, 422}, (path, content, reply)
                    assert reply.code in CODES, (path, content, reply)
    assert ledger.head().size == size


@pytest.mark.parametrize("form", [JSON, MSGPACK])
def test_the_largest_number_is_taken_for_one(service, client, form):
    """No store finds it too large: it is not there, or not the caller's."""
    for path, place in numbers():
        if place[-1] != "ticket_timeout_s":
            reply = client.ask(path, body_with(path, place, NUMBER_MAX), form=form)
            assert reply.status in {403, 404}, (path, reply)


@pytest.mark.parametrize("form", [JSON, MSGPACK])
def test_a_span_or_moment_beyond_all_times_is_one(service, client, form):
    """The longest span reaches back to the beginning; what no calendar has is refused."""
    asked = {"application": "payroll", "owner": str(ME)}
    assert client.ok("/v1/credentials/list", {"older_than": "999999999w"}, form=form) == {
        "credentials": []
    }
    for at, status, code in (
        ("999999999w", 404, "no-such-version"),
        ("0001-01-01T00:00:00+23:59", 404, "no-such-version"),
        ("9999-12-31T23:59:59-23:59", 422, "future-time"),
        ("9" * 40, 422, "invalid-time"),
    ):
        reply = client.ask("/v1/credentials/preview-restore", {**asked, "at": at}, form=form)
        assert (reply.status, reply.code) == (status, code), (at, reply)
    client.fails(
        422, "invalid-span", "/v1/credentials/list", {"older_than": "1" * 10 + "s"}, form=form
    )
