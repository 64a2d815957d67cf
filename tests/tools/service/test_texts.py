"""A body has as many texts as its type takes; what has more is refused for its quotation marks."""

from __future__ import annotations

import json
import tracemalloc
from typing import Annotated, Any

import msgpack
import msgspec
import pytest
from msgspec import Meta
from msgspec.structs import replace

from ledger.errors import InvalidInput
from ledger.values import FIELDS_MAX
from tests.tools.service.clients import JSON, MSGPACK
from tests.tools.service.conftest import ME, furnish
from tools.service.bodies import (
    APPLICATIONS_MAX,
    ApplyApplications,
    BytesGiven,
    CreateApplication,
    Get,
    Nothing,
    Set,
    UpdateApplication,
)
from tools.service.forms import forms_for
from tools.service.operations import OPERATIONS
from tools.service.texts import TEXTS_FREE, TEXTS_MAX, has_more_texts, texts_max
from tools.service.unsealing import Unseal

SET = "/v1/credentials/set"
FORMS = forms_for([*(one.body for one in OPERATIONS.values()), Unseal])
HARD = 'C:\\"x",:{é\\'
"""A text in whose JSON there are quotation marks that end nothing."""


@pytest.fixture
def furnished(prepared_file):
    """One kind of store: none of this gets as far."""
    return prepared_file(furnish)


def test_every_body_has_a_bound_of_texts():
    """Of few, so many that nobody minds; of `apply`, so many as never take long."""
    bounds = {one.body: texts_max(one.body) for one in OPERATIONS.values()}
    assert bounds[Get] == bounds[Set] == TEXTS_FREE
    assert TEXTS_FREE < bounds[CreateApplication] < 2 * 3 * 1000
    assert bounds[ApplyApplications] == max(bounds.values()) == TEXTS_MAX


@pytest.mark.parametrize(
    "kind",
    [
        Any,
        list[str],
        dict[str, str],
        Annotated[list[int], Meta(max_length=9)],
        Annotated[list[Nothing], Meta(max_length=9)],
        msgspec.Raw,
    ],
)
def test_a_type_whose_texts_cannot_be_counted_is_no_body_s(kind):
    """Or a body could have as many as fit into its bytes."""
    with pytest.raises(TypeError):
        texts_max(msgspec.defstruct("Body", [("one", kind)]))


def test_texts_are_counted_past_what_stands_in_them():
    """A quotation mark in a text is none, nor is a backslash before one that ends it."""
    for texts in ([HARD] * 3, ["\\"] * 3, ['"'] * 3, ["\\\\"] * 3, ['\\"'] * 3, ["", "x", "\x00"]):
        content = json.dumps(texts).encode()
        assert not has_more_texts(content, 3)
        assert has_more_texts(content, 2)
    assert not has_more_texts(b'"' + b'\\"' * 100_000 + b'"', 1)
    assert not has_more_texts(b"[{},[],1,null,true]", 0)


WHOLE = {
    Set: {
        "fields": {f"{HARD}{one}": {"base64": HARD * 100} for one in range(FIELDS_MAX)},
        "application": HARD,
        "owner": HARD,
        "reason": HARD,
    },
    CreateApplication: {
        "application": HARD,
        "kind": "group",
        "name": HARD,
        "contact": HARD,
        "fields": [{"name": HARD, "type": HARD, "masked": True}] * FIELDS_MAX,
        **dict.fromkeys(("administrators", "members", "ticket_redeemers"), [HARD] * 1000),
        "ticket_timeout_s": 7.0,
        "credential_page": HARD,
        "reason": HARD,
    },
    UpdateApplication: {
        "application": HARD,
        "add_fields": [{"name": HARD, "type": HARD, "masked": True}] * FIELDS_MAX,
        "mask": [HARD] * FIELDS_MAX,
        "unmask": [HARD] * FIELDS_MAX,
    },
    ApplyApplications: {
        "applications": {
            f"{HARD}{one}": {
                "kind": "group",
                "fields": [HARD] * FIELDS_MAX,
                "members": [HARD] * 150,
            }
            for one in range(APPLICATIONS_MAX)
        },
        "deletes": [HARD] * APPLICATIONS_MAX,
    },
}
"""Bodies that have as much as they may."""


@pytest.mark.parametrize("form", FORMS, ids=[JSON, MSGPACK])
@pytest.mark.parametrize("kind", WHOLE, ids=[kind.__name__ for kind in WHOLE])
def test_a_body_that_has_all_it_may_is_taken(form, kind):
    """However its texts are written."""
    content = form.encoder.encode(WHOLE[kind])
    assert isinstance(form.decode(kind, content), kind)
    if form.media_type == JSON.encode():
        escaped = json.dumps(WHOLE[kind], indent=1).encode()
        assert form.decode(kind, escaped) == form.decode(kind, content)


def array(item, times):
    """In msgpack."""
    return b"\xdd" + times.to_bytes(4, "big") + item * times


def mapping(pair, times):
    """In msgpack."""
    return b"\xdf" + times.to_bytes(4, "big") + pair * times


MANY = 500_000
FLOODS = {
    JSON: [
        (Set, b'{"fields":{"a":[%b{}]}}' % (b"{}," * MANY)),
        (Set, b'{"fields":{"a":{"x":[%b[]]}}}' % (b"[]," * MANY)),
        (Set, b'{"fields":{%b}}' % b",".join(b'"%x":""' % one for one in range(MANY // 2))),
        (Set, b'{"fields":{"a":{%b"base64":""}}}' % (b'"base64":"",' * (MANY // 4))),
        (Get, b'{"fields":[%b"a"]}' % (b'"a",' * MANY)),
        (Get, b'{%b"reason":""}' % (b'"reason":"",' * (MANY // 4))),
        (ApplyApplications, b'{%b"reason":""}' % (b'"reason":"",' * (MANY // 4))),
    ],
    MSGPACK: [
        (Set, b"\x81\xa6fields\x81\xa1a" + array(b"\x80", MANY)),
        (Set, b"\x81\xa6fields\x81\xa1a\x81\xa1x" + array(b"\x90", MANY)),
        (Set, b"\x81\xa6fields" + mapping(b"\xa0\xa0", MANY)),
        (Set, b"\x81\xa6fields\x81\xa1a" + mapping(b"\xa6base64\xa0", MANY // 4)),
        (Get, b"\x81\xa6fields" + array(b"\xa1a", MANY)),
        (Get, mapping(b"\xa6reason\xa0", MANY // 4)),
        (ApplyApplications, mapping(b"\xa6reason\xa0", MANY // 4)),
    ],
}
"""Bodies of very many things, which none has."""


@pytest.mark.parametrize(
    ("form", "kind", "content"),
    [(form, kind, content) for form in FORMS for kind, content in FLOODS[form.media_type.decode()]],
)
def test_of_a_body_of_very_many_things_hardly_any_is_made(form, kind, content):
    """It is refused for its bytes, or at the first thing that does not fit."""
    tracemalloc.start()
    with pytest.raises(InvalidInput) as caught:
        form.decode(kind, content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code in {"invalid-body", "malformed-body"}
    assert most < 200_000


@pytest.mark.parametrize("form", FORMS, ids=[JSON, MSGPACK])
def test_keys_are_looked_for_twice_in_what_fits_only(form):
    """So that the look costs no more than a body may have."""
    looked = []
    counting = replace(form, check=looked.append)
    for kind, content in FLOODS[form.media_type.decode()]:
        if kind is Set and b"base64" not in content:
            with pytest.raises(InvalidInput):
                counting.decode(kind, content)
    assert looked == []


VALUES = {"text": "a", "bytes": b"\x00\xff", "given": {"base64": "AP8="}, "long": b"x" * 70_000}


def test_values_in_msgpack_are_texts_or_bytes(client):
    """Either comes back as it was given, and bytes may be written as in JSON too."""
    content = msgpack.packb({"fields": VALUES, "owner": str(ME), "reason": "r"})
    _, form = FORMS
    given = {**VALUES, "given": BytesGiven("AP8=")}
    assert form.decode(Set, content) == Set(given, None, str(ME), "r")
    names = ("Windows User Name", "Windows Password")
    for values in ({"text": "a", "bytes": b"\x00\xff"}, {"given": b"\x00\xff", "text": "a"}):
        fields = dict(zip(names, (VALUES[name] for name in values), strict=True))
        client.ok(SET, {"application": "payroll", "fields": fields}, form=MSGPACK)
        got = client.ok("/v1/credentials/get", {"application": "payroll"}, form=MSGPACK)
        assert got["fields"] == dict(zip(names, values.values(), strict=True))


@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, 1.5, True, [], ["a"], {}, {"x": "y"}, {"base64": 7}, {"base64": b"AP8="}),
        *({"base64": "", "x": ""}, {"base64": None}, msgpack.ExtType(1, b"x")),
    ],
)
def test_what_is_no_value_is_told_by_its_place(client, value):
    """In either form, and without its name."""
    body = {"application": "payroll", "fields": {"canary": value}}
    for form in (JSON, MSGPACK):
        if form == JSON and (isinstance(value, msgpack.ExtType) or value == {"base64": b"AP8="}):
            continue
        told = client.fails(422, "invalid-body", SET, body, form=form)
        assert "canary" not in str(told)
        assert "$.fields[" in told["detail"] or value == {"base64": "", "x": ""}


def test_a_value_that_is_no_text_is_malformed(client):
    """Not of UTF-8, in msgpack, or cut off."""
    for value in (b"\xa1\xff", b"\xc4\x05x", b"\x91" * 100_000, b""):
        content = b"\x81\xa6fields\x81\xa1a" + value
        reply = client.send("POST", SET, content, content_type=MSGPACK)
        assert (reply.status, reply.code) == (400, "malformed-body")
