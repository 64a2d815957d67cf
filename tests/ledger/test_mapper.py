"""What is inside a row that opens, but is no event: somebody with keys can seal anything."""

from __future__ import annotations

import msgpack
import pytest

from ledger.aggregates.access import AuditQueried
from ledger.aggregates.actor import Actor
from ledger.aggregates.mapping import CredentialDeleted
from ledger.codec.mapper import EventMapper, Following
from ledger.errors import Tampered
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import padded
from tests.conftest import unlocked_by_passphrase

EVENT = {"v": 1, "filter": "", "rows": 1}
BY = ["auditor", 2, "audit", "ben@host", "auditor"]
WHOLE = {"e": EVENT, "b": BY, "r": ""}


def twice(packed: bytes, **other: object) -> bytes:
    """The map with some keys a second time."""
    further = b"".join(msgpack.packb(one) for pair in other.items() for one in pair)
    return bytes([packed[0] + len(other)]) + packed[1:] + further


def with_event(packed: bytes) -> bytes:
    return b"\x83\xa1e" + packed + msgpack.packb({"b": BY, "r": ""})[1:]


MALFORMED = {
    "a reason twice": twice(msgpack.packb(WHOLE), r="another"),
    "an event twice": twice(msgpack.packb(WHOLE), e=EVENT),
    "a field twice": with_event(twice(msgpack.packb(EVENT), filter="another")),
    "a schema twice": with_event(twice(msgpack.packb({**EVENT, "v": 2}), v=1)),
    "a part too many": msgpack.packb({**WHOLE, "z": 1}),
    "a schema that is true": msgpack.packb({**WHOLE, "e": {**EVENT, "v": True}}),
    "a schema below the first": msgpack.packb({**WHOLE, "e": {**EVENT, "v": 0}}),
    "a text longer than the row": b"\x83\xa1e\x83\xa1v\x01\xa6filter\xdb\xff\xff\xff\xff",
    "a list longer than the row": b"\x83\xa1e\xdd\xff\xff\xff\xff",
    "nothing": b"",
    "no msgpack": b"\xc1",
    "cut off": msgpack.packb(WHOLE)[:-3],
    "more behind it": msgpack.packb(WHOLE) + b"\x00",
    "not UTF-8": b"\x81\xa1e\xa1\xff",
    "deeper than anybody nests": b"\x91" * 5000,
    "a number": msgpack.packb(7),
    "a list": msgpack.packb([WHOLE]),
    "no event": msgpack.packb({"b": BY, "r": ""}),
    "no author": msgpack.packb({"e": EVENT, "r": ""}),
    "no reason": msgpack.packb({"e": EVENT, "b": BY}),
    "an event that is a text": msgpack.packb({**WHOLE, "e": "filter"}),
    "a schema of later": msgpack.packb({**WHOLE, "e": {**EVENT, "v": 2}}),
    "a schema that is a text": msgpack.packb({**WHOLE, "e": {**EVENT, "v": "1"}}),
    "a field too many": msgpack.packb({**WHOLE, "e": {**EVENT, "more": 1}}),
    "a field of another type": msgpack.packb({**WHOLE, "e": {**EVENT, "rows": "1"}}),
    "a field deeper than anybody nests": b"\x83\xa1e\x81\xa6filter" + b"\x91" * 100_000,
    "a field too few": msgpack.packb({**WHOLE, "e": {"v": 1, "rows": 1}}),
    "an author too long": msgpack.packb({**WHOLE, "b": [*BY, "more"]}),
    "an author in parts": msgpack.packb({**WHOLE, "b": [{}, 2, "audit", "ben@host"]}),
    "an author that is a number": msgpack.packb({**WHOLE, "b": 7}),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_event_inside_is_named_with_its_position(sqlite_house, text):
    ledger = sqlite_house.open()
    mapper = ledger._desk.mapper
    place = {"stream": b"s" * 16, "version": 1, "epoch": 1, "recorded_at": ledger._writer._clock()}
    event, actor = AuditQueried("", 1), Actor(*BY)
    row, recorded = mapper.record(event, actor, "", position=9, **place)
    assert mapper.open(row) == recorded
    row, _ = mapper.record(
        event, actor, "", position=9, **place, text=padded(text, Compartment.ACCESS)
    )
    for opening in (mapper.open, mapper.open_checked, mapper.opening().recorded):
        with pytest.raises(Tampered) as caught:
            opening(row)
        assert (caught.value.code, caught.value.position) == ("malformed-event", 9)
    ledger.close()


@pytest.mark.parametrize("clock", [None, 7])
def test_events_recorded_together_are_those_recorded_one_by_one(sqlite_house, clock):
    """Row for row the same bytes, where the random numbers are the same."""
    ledger = sqlite_house.open()
    keys = unlocked_by_passphrase(sqlite_house.keyring_path).key_set()
    mapper = EventMapper(ledger._desk.mapper.ledger_id, keys, bytes)
    actor, at = Actor(*BY), ledger._writer._clock()
    events = [
        Following(bytes([number]) * 16, number, CredentialDeleted("CRM", "user:u" * number, 5, 1))
        for number in range(1, 40)
    ]
    rows, recorded = mapper.record_together(
        events, actor, "yearly", position=9, epoch=1, recorded_at=at, clock=clock
    )
    one_by_one = [
        mapper.record(
            one.event,
            actor,
            "yearly",
            position=9 + number,
            stream=one.stream,
            version=one.version,
            epoch=1,
            recorded_at=at + number,
            clock=clock,
        )
        for number, one in enumerate(events)
    ]
    assert list(zip(rows, recorded, strict=True)) == one_by_one
    assert [mapper.open(row) for row in rows] == recorded
    assert [mapper.event_in(row) for row in rows] == [one.event for one in events]
    ledger.close()
