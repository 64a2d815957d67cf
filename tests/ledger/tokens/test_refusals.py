"""Refused tokens are recorded singly or counted, and nobody fills the log from outside."""

from __future__ import annotations

import pytest

from ledger.aggregates.retention import Erasure, Retention
from ledger.aggregates.token_use import TokenRefused
from ledger.errors import NotFound, Refused, Unavailable
from ledger.tokens import refusals as refusing
from ledger.tokens.refusals import MINUTE_US, OTHERS, SOURCES_MAX, Refusals
from projections.explanation import explain
from projections.refused_tokens import refused_tokens
from tests.ledger.tokens.conftest import StillClock
from tests.ledger.tokens.hostile import by_stranger
from tests.ledger.tokens.minting import ISSUER, mint


class Book:
    """What was recorded, or a store that takes nothing."""

    def __init__(self):
        self.events = []
        self.is_full = False

    def __call__(self, events):
        if self.is_full:
            raise Unavailable("store-full", "There is no room.")
        self.events += events


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def refusals(book, clock):
    return Refusals(book, clock)


def of(why: str = "expired", source: str = "a") -> TokenRefused:
    return TokenRefused(ISSUER, "user:alice", "1", why, source)


def test_a_thousand_strangers_tokens_are_one_event(counter):
    """However many come from one source in a minute, the log grows by one row."""
    before = counter.ledger.head().size
    token = by_stranger(counter.scene)
    for _ in range(1000):
        with pytest.raises(Refused):
            counter.verify(token, source="203.0.113.9")
    assert counter.ledger.head().size == before
    counter.house.clock.now += MINUTE_US
    counter.verifier.settle()
    (recorded,) = counter.events("token.refusals")
    summary = recorded.event
    assert (summary.source, summary.count) == ("203.0.113.9", 1000)
    assert summary.reasons == (("bad-signature", 1000),)
    counter.verifier.close()
    assert counter.ledger.head().size == before + 1


def test_a_genuine_token_shown_again_and_again_is_recorded_once_a_minute(counter):
    """The first time singly, then counted."""
    now = counter.scene.now
    token = mint(now, iat=now - 600, exp=now - 300)
    for _ in range(50):
        with pytest.raises(Refused):
            counter.verify(token, source="198.51.100.4")
    counter.house.clock.now += MINUTE_US
    with pytest.raises(Refused):
        counter.verify(token, source="198.51.100.4")
    singly = [one.event for one in counter.events("token.refused")]
    assert [(one.caller, one.id, one.why) for one in singly] == [
        (f"{ISSUER}#user:alice", "7d9f", "expired")
    ] * 2
    (summary,) = [one.event for one in counter.events("token.refusals")]
    assert summary.count == 49


def test_a_minute_has_so_many_summaries_at_most(refusals, book, clock):
    """A thousand sources are a bounded number of events, and none of them is left uncounted."""
    for number in range(1000):
        refusals.unverified("malformed", f"192.0.2.{number}")
    clock.now += MINUTE_US
    refusals.settle()
    assert len(book.events) == SOURCES_MAX + 1
    assert sum(one.count for one in book.events) == 1000
    assert {one.source for one in book.events} >= {OTHERS, "192.0.2.0"}


def test_reasons_are_counted_apart(refusals, book, clock):
    """With when the first came and the last."""
    began = clock.now
    for why in ("malformed", "expired", "malformed"):
        refusals.unverified(why, "a")
        clock.now += 1
    refusals.settle(everything=True)
    (summary,) = book.events
    assert (summary.first_at, summary.last_at) == (began, began + 2)
    assert summary.reasons == (("expired", 1), ("malformed", 2))


def test_a_running_minute_is_not_recorded_yet(refusals, book):
    """Only one that is over, unless everything is to be settled."""
    refusals.unverified("malformed", "a")
    refusals.settle()
    assert book.events == []
    refusals.settle(everything=True)
    assert len(book.events) == 1
    refusals.settle(everything=True)
    assert len(book.events) == 1


def test_what_cannot_be_recorded_is_counted_further(refusals, book, clock):
    """A store that takes nothing for a while loses no count."""
    refusals.unverified("malformed", "a")
    book.is_full = True
    clock.now += MINUTE_US
    with pytest.raises(Unavailable):
        refusals.unverified("malformed", "a")
    with pytest.raises(Unavailable):
        refusals.settle(everything=True)
    book.is_full = False
    refusals.unverified("malformed", "a")
    refusals.settle(everything=True)
    assert sum(one.count for one in book.events) == 2


def test_a_single_refusal_that_cannot_be_recorded_is_no_refusal_yet(refusals, book):
    """Whoever asked gets our error and not an answer that nothing tells of."""
    book.is_full = True
    with pytest.raises(Unavailable):
        refusals.verified(of(), b"1")
    book.is_full = False
    refusals.verified(of(), b"1")
    refusals.verified(of(), b"1")
    refusals.settle(everything=True)
    singly, summary = book.events
    assert singly == of()
    assert summary.count == 1


def test_so_many_genuine_tokens_are_recorded_singly_at_most(refusals, book, monkeypatch):
    """Beyond the bound they are counted."""
    monkeypatch.setattr(refusing, "_SHOWN_MAX", 3)
    for number in range(10):
        refusals.verified(of(), bytes([number]))
    refusals.settle(everything=True)
    assert [type(one).__name__ for one in book.events] == ["TokenRefused"] * 3 + ["TokensRefused"]
    assert book.events[-1].count == 7


@pytest.mark.parametrize(
    ("source", "shown"), [("", "unknown"), ("a\nb", "a?b"), ("x" * 500, "x" * 64), ("::1", "::1")]
)
def test_a_source_is_recorded_short_and_printable(refusals, book, source, shown):
    """Whatever an address is made of."""
    refusals.unverified("malformed", source)
    refusals.settle(everything=True)
    assert book.events[0].source == shown


def test_an_erased_refusal_is_listed_as_erased_and_not_opened(counter):
    """Whether its key is still held or not; what came later is told whole."""
    token = mint(counter.scene.now, aud="another")
    for _ in range(2):
        with pytest.raises(Refused):
            counter.verify(token, source="203.0.113.9")
        counter.house.clock.now += MINUTE_US
    erased, kept = counter.events("token.refused")
    store, mapper = counter.ledger._writer.store, counter.ledger._desk.mapper
    retention = Retention(erasures=(Erasure(kept.position, erased.position, 0, "operator"),))
    newest, gone = refused_tokens(store, mapper, retention)
    assert (newest["position"], newest["reasons"]) == (kept.position, {"wrong-audience": 1})
    assert (gone["position"], gone["caller"], gone["source"]) == (erased.position, None, None)
    assert gone["reasons"] == {f"erased by policy at position {kept.position}": None}
    assert explain(store, mapper, kept.position, retention)["caller"] == f"{ISSUER}#user:alice"
    with pytest.raises(NotFound):
        explain(store, mapper, erased.position, retention)
