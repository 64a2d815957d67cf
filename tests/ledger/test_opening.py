"""Rows opened one after the other tell what each of them tells by itself."""

from __future__ import annotations

import pytest

from ledger.aggregates.access import AccessDenied, AuditQueried
from ledger.aggregates.actor import Actor
from ledger.aggregates.retention import HistoryErased
from ledger.codec.opening import Opening
from ledger.errors import KeyUnavailable, Tampered
from ledger.policy import RULES_VERSION

ACTOR = Actor("auditor", 2, "audit", "ben@host", "auditor")
ONE, OTHER = b"s" * 16, b"t" * 16


@pytest.fixture
def ledger(sqlite_house):
    ledger = sqlite_house.open()
    yield ledger
    ledger.close()


@pytest.fixture
def mapper(ledger):
    return ledger._desk.mapper


@pytest.fixture
def row_of(ledger):
    recorded_at = ledger._writer._clock()

    def made(event, *, version=1, stream=ONE, reason=""):
        place = {"stream": stream, "version": version, "epoch": 1, "recorded_at": recorded_at}
        record = ledger._desk.mapper.record
        return record(event, ACTOR, reason, position=version + 10, **place)[0]

    return made


def denied(caller: str) -> AccessDenied:
    nothing = (None, None, None, None, (), None, ())
    return AccessDenied(
        "CRM", None, caller, (caller,), False, (), RULES_VERSION, *nothing, "no-such-application"
    )


@pytest.fixture
def rows(row_of):
    """Of several topics and streams, some of them sealed from the same text."""
    return [
        row_of(event, version=version, stream=stream, reason=reason)
        for version, (event, stream, reason) in enumerate(
            [
                (denied("user:anna"), ONE, ""),
                (denied("user:anna"), ONE, ""),
                (denied("user:anna"), OTHER, ""),
                (denied("user:ben"), ONE, ""),
                (denied("user:anna"), ONE, "again"),
                (AuditQueried("", 3), ONE, ""),
                (AuditQueried("", 3), ONE, ""),
            ],
            1,
        )
    ]


def test_every_row_tells_what_it_tells_by_itself(mapper, rows):
    """Each event, author, reason and place are those of its own row, also the second time."""
    opening = mapper.opening()
    alone = [mapper.open(row) for row in rows]
    opening.require_leaves(rows)
    assert [opening.recorded(row) for row in rows] == alone
    assert [opening.recorded(row) for row in rows] == alone


def test_rows_of_one_text_share_an_event(mapper, rows):
    """Only records of access are kept: of others hardly two say the same."""
    opening = mapper.opening()
    found = [opening.recorded(row) for row in rows]
    assert found[0].event is found[1].event is found[2].event
    assert found[5].event is not found[6].event


def test_kept_texts_give_way_beyond_their_bound(mapper, row_of):
    """A log in which nothing comes twice takes no more memory than the bound allows."""
    opening: Opening = mapper.opening(1000)
    for version in range(1, 50):
        opening.recorded(row_of(denied(f"user:{version}"), version=version))
        kept = sum(len(text) for one in opening._contents.values() for text in one)
        assert 0 < kept <= 1000


@pytest.mark.parametrize("place", ["sealed", "topic", "version", "leaf", "stream"])
def test_an_altered_row_among_others_is_named(mapper, rows, place):
    """The position of the one row that is not what was recorded."""
    altered = {
        "sealed": bytes(200),
        "topic": "access.granted",
        "version": 9,
        "leaf": bytes(32),
        "stream": b"too short",
    }
    rows[2] = rows[2]._replace(**{place: altered[place]})
    with pytest.raises(Tampered) as caught:
        mapper.opening().require_leaves(rows)
    assert (caught.value.code, caught.value.position) == ("altered-row", 13)


@pytest.mark.parametrize(
    "changed", [{"sealed": bytes(200)}, {"sealed": b""}, {"version": 9}, {"stream": OTHER}]
)
def test_what_was_moved_or_altered_does_not_open(mapper, rows, changed):
    """The cipher binds each row to its place, however many of the stream were opened before."""
    opening = mapper.opening()
    opening.recorded(rows[0])
    with pytest.raises(Tampered) as caught:
        opening.recorded(rows[1]._replace(**changed))
    assert (caught.value.code, caught.value.position) == ("sealed-unreadable", 12)


def test_nothing_opens_any_more_once_its_key_is_gone(mapper, rows):
    """Neither a cipher nor a text that was kept outlives the keys that the process holds."""
    opening = mapper.opening()
    opening.recorded(rows[0])
    mapper.hold([])
    with pytest.raises(KeyUnavailable):
        opening.recorded(rows[0])


def test_what_is_of_the_state_opens_as_well(mapper, row_of):
    """A stream's compartment follows from its topic here, too."""
    row = row_of(HistoryErased(7))
    assert mapper.opening().recorded(row) == mapper.open(row)
