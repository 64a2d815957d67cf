"""Every hostile token is refused over TCP, behind a front process, outwardly alike."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from ledger.aggregates.retention import Retention
from projections.refused_tokens import refused_tokens
from tests.ledger.tokens.conftest import trusting
from tests.ledger.tokens.hostile import HOSTILE, Scene
from tests.ledger.tokens.minting import mint
from tests.tools.service.clients import raw
from tests.tools.service.conftest import furnish, running
from tools.service import callers

UNREADABLE = {"bytes that are no text": 400, "a line end inside": 400, "a million bytes": 431}
"""Those that no head can hold; the status that whatever comes so gets, token or not."""
BLANK = "a blank before it"
"""Of blanks before a token HTTP makes no difference, so that one is good there."""
DATE = re.compile(rb"\r\ndate: [^\r]+")


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish, trusting)


@pytest.fixture
def service(house, tmp_path, monkeypatch):
    """Behind a front; one address may be refused as often as the table is long."""
    monkeypatch.setattr(callers, "_REFUSED_BURST", 2 * len(HOSTILE))
    with running(house, tmp_path, front_processes=1) as one:
        yield one


def shown(service, token, application="payroll"):
    """What is answered to whoever reads with this token, every byte of it but the date."""
    content = token.encode() if isinstance(token, str) else token
    body = b'{"application": "%b"}' % application.encode()
    head = b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    head += b"content-type: application/json\r\nauthorization: Bearer %b\r\n" % content
    answer = raw(service.address, head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
    return DATE.sub(b"", answer)


def test_each_hostile_token_has_the_same_answer_byte_for_byte(service, house):
    """None is answered otherwise, none is let in, and the log tells of each why."""
    ledger = service.service.seal.counter.ledger
    began, let_in = ledger.head().size, [shown(service, mint(int(time.time())))]
    answers, secrets = {}, set()
    for name, hostile in HOSTILE.items():
        scene = Scene(int(time.time()), house.elliptic, house.rsa)
        if hostile.after is not None:
            let_in.append(shown(service, hostile.after(scene)))
        token = hostile.make(scene)
        answers[name] = shown(service, token, hostile.application or "payroll")
        content = token.encode() if isinstance(token, str) else token
        secrets |= {part for part in content.split(b".") if len(part) > 40}
    let_in.append(answers.pop(BLANK))
    assert {answer[9:12] for answer in let_in} == {b"404"}
    for name, status in UNREADABLE.items():
        assert answers.pop(name)[9:12] == b"%d" % status
    ((answer, times),) = Counter(answers.values()).items()
    assert (answer[9:12], times) == (b"401", len(HOSTILE) - len(UNREADABLE) - 1)
    assert b'"code":"token-refused"' in answer
    logged = service.logged().encode()
    assert [part for part in secrets if part in logged] == []
    service.service.seal.counter.verifier.close()
    told = Counter()
    for one in refused_tokens(ledger._writer.store, ledger._desk.mapper, Retention()):
        assert one["source"] == "127.0.0.1"
        told.update(one["reasons"])
    assert told == Counter(HOSTILE[name].why for name in answers)
    with ledger._writer.store.reading() as reading:
        topics = Counter(row.topic for row in reading.rows_after(began, 1000))
    assert topics.keys() == {"access.not-set", "token.used", "token.refused", "token.refusals"}
    assert topics["access.not-set"] == len(let_in)
    assert topics["token.used"] == sum(one.after is not None for one in HOSTILE.values())


WRONG_BESIDES = {
    "nothing": b"content-type: application/json\r\n",
    "no type": b"",
    "another type": b"content-type: text/plain\r\n",
    "another charset": b"content-type: application/json; charset=utf-16\r\n",
    "a long type": b"content-type: %b\r\n" % (b";" * 30_000),
    "two types": b"content-type: application/json\r\ncontent-type: application/msgpack\r\n",
    "a coding": b"content-type: application/json\r\ncontent-encoding: gzip\r\n",
    "two retry keys": b"content-type: application/json\r\n" + b"idempotency-key: k\r\n" * 2,
    "a malformed retry key": b"idempotency-key: a b\r\n",
    "a long wish": b"content-type: application/json\r\naccept: %b\r\n" % (b"," * 30_000),
    "another wish": b"content-type: application/msgpack\r\naccept: application/msgpack\r\n",
    "a second token": b"authorization: Bearer x.y.z\r\n",
    "a second scheme": b"authorization: Basic eA==\r\n",
}
"""What a head says besides whose it is, and what would be wrong with it."""


@pytest.mark.parametrize("front_processes", [0, 1])
def test_whoever_is_not_believed_hears_nothing_else(house, tmp_path, front_processes):
    """Whatever else a head says; the answer is the same, and each counts as refused."""
    with running(house, tmp_path, front_processes=front_processes) as service:
        answers = {}
        for name, said in WRONG_BESIDES.items():
            head = b"POST /v1/credentials/set HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            head += b"authorization: Bearer x.y.z\r\ncontent-length: 2\r\n" + said
            answers[name] = DATE.sub(b"", raw(service.address, head + b"\r\n{}"))
        shown = service.service.seal.counter.verifier.shown
    ((answer, times),) = Counter(answers.values()).items()
    assert (answer[9:12], times) == (b"401", len(WRONG_BESIDES))
    assert b'"code":"token-refused"' in answer
    assert b"content-type: application/problem+json\r\n" in answer
    assert (shown.verified, shown.known, shown.refused) == (0, 0, len(WRONG_BESIDES))


def test_a_token_that_comes_twice_is_none(service):
    """Nor is a good one beside another: readers may differ on which of them counts."""
    good = b"authorization: Bearer %b\r\n" % mint(int(time.time())).encode()
    for two in (good * 2, good + b"authorization: Bearer x\r\n", good + b"authorization:\r\n"):
        for place in (service.address, service.socket):
            head = b"POST /v1/credentials/get HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            head += b"content-type: application/json\r\ncontent-length: 2\r\n"
            answer = raw(place, head + two + b"\r\n{}")
            assert (answer[9:12], b"token-refused" in answer) == (b"401", True)
