"""The log as others may have it: each row once, in order, checked, and provable later."""

from __future__ import annotations

import json

import pytest

from ledger.aggregates import event as registry
from ledger.aggregates.retention import Erasure, Retention
from ledger.errors import Tampered
from ledger.values import FieldValue
from projections.export import TOLD, WITHHELD, exported, told
from projections.streams import Walk
from tests.projections.conftest import FULL, OPERATOR, LackingMapper, caller, owner
from tests.projections.samples import sample, sample_classes


def rows(world, **asked):
    mapper = asked.pop("mapper", world.mapper)
    return [one.document for one in exported(world.store, mapper, **asked)]


def test_every_row_of_the_log_is_given_once_and_in_order(busy):
    """Positions are dense from the first to the last, whatever the topic."""
    documents = rows(busy)
    assert [one["position"] for one in documents] == list(range(1, busy.size + 1))
    stored = dict(busy.sql("SELECT position, topic FROM log"))
    assert {one["position"]: one["event"] for one in documents} == stored
    assert {"access.granted", "access.denied", "application.created"} <= set(stored.values())
    assert not any(one["unreadable"] for one in documents)


def test_a_page_goes_on_behind_any_position(busy):
    """Cut anywhere, the two parts are the whole, row by row the same."""
    whole = rows(busy)
    for cut in range(busy.size + 1):
        assert rows(busy, until_position=cut) == whole[:cut]
        assert rows(busy, after=cut) == whole[cut:]
    assert rows(busy, after=3, until_position=5) == whole[3:5]


def test_a_span_of_time_ends_with_the_last_row_in_it(busy):
    """The row recorded at that very microsecond is in it, the next one is not."""
    whole = rows(busy)
    (at,) = busy.sql("SELECT recorded_at FROM log WHERE position = 7")[0]
    assert rows(busy, until=at) == whole[:7]
    assert rows(busy, until=at - 1) == whole[:6]


def test_each_row_names_its_leaf_and_the_first_head_that_holds_it(busy):
    """What is named is what is stored, so that it can be proven later."""
    leaves = dict(busy.sql("SELECT position, leaf FROM log"))
    sizes = sorted(size for (size,) in busy.sql("SELECT size FROM commits"))
    assert len(sizes) < busy.size  # some heads hold more than one row
    for one in rows(busy):
        assert one["leaf"] == leaves[one["position"]].hex()
        assert one["head_size"] == min(size for size in sizes if size >= one["position"])


def test_a_walk_from_a_position_and_a_time_begins_with_the_later(busy):
    """Neither bound lets a row through that the other keeps out."""
    (at,) = busy.sql("SELECT recorded_at FROM log WHERE position = 9")[0]

    def first(**asked):
        return next(Walk(busy.store, busy.mapper, **asked).rows()).row.position

    assert first(since=at) == 9
    assert first(since=at, after_position=4) == 9
    assert first(since=at, after_position=11) == 12


def test_a_row_whose_key_is_not_held_is_told_as_such_in_its_place(busy):
    """It is neither left out nor does it stop what comes after it."""
    lacking = LackingMapper(busy.mapper, lambda row: row.position in {5, 6}, "key-destroyed")
    lacking.knows = lambda epoch: True
    documents = rows(busy, mapper=lacking)
    assert [one["position"] for one in documents] == list(range(1, busy.size + 1))
    closed = [one for one in documents if one["unreadable"]]
    assert [(one["position"], one["unreadable"]) for one in closed] == [
        (5, "key-destroyed"),
        (6, "key-destroyed"),
    ]
    assert all(one["detail"] is None and one["by"] is None and one["leaf"] for one in closed)


def test_an_erased_record_is_told_as_erased_whoever_holds_its_key(busy):
    """Only records of the access compartment are; administration stays."""
    erasure = Erasure(position=99, until=busy.size, recorded_at=0, by="operator")
    documents = rows(busy, retention=Retention(erasures=(erasure,)))
    for one in documents:
        erased = one["event"].startswith(("access.", "audit."))
        assert one["unreadable"] == (erasure.why if erased else None)
        assert (one["detail"] is None) == erased


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE log SET topic = 'access.denied' WHERE position = 6", "altered-row"),
        ("DELETE FROM log WHERE position = 6", "missing-row"),
        ("UPDATE commits SET root = x'" + "00" * 32 + "' WHERE size >= 6", "bad-signature"),
    ],
)
def test_nothing_is_given_out_that_no_head_holds(busy, change, code):
    """A log that somebody wrote to ends the export, from wherever it goes on."""
    if not busy.house.on_server:
        for (name,) in busy.sql("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            busy.sql(f"DROP TRIGGER {name}")
    busy.sql(change)
    for after in (0, 4):
        with pytest.raises(Tampered) as caught:
            rows(busy, after=after)
        assert caught.value.code == code


def test_no_value_and_no_sealed_byte_is_in_any_row(busy):
    """Neither the values that were set nor any run of bytes of what they are sealed in."""
    canary = "canary-5d0e"
    values = {name: FieldValue(canary) for name in FULL}
    busy.ledger.set_credentials(OPERATOR, "Payroll", owner("user:bob"), values)
    busy.read(caller("user:bob"), "Payroll")
    text = json.dumps(rows(busy))
    assert "canary" not in text
    assert canary.encode().hex() not in text
    for (sealed,) in busy.sql("SELECT sealed FROM log"):
        assert bytes(sealed)[:16].hex() not in text
    for one in Walk(busy.store, busy.mapper).rows():
        secret = getattr(one.content.event, "secret", b"")
        assert not secret or secret[:16].hex() not in text


@pytest.mark.parametrize("cls", sample_classes(), ids=lambda cls: cls.TOPIC)
def test_every_field_of_every_event_is_told_or_withheld_on_purpose(cls):
    """A field that nobody decided on is in neither list."""
    names = set(cls.__struct_fields__)
    assert names <= TOLD | WITHHELD
    assert set(told(sample(cls))) == names - WITHHELD


def test_what_is_told_is_what_some_event_has():
    """No name stands in the lists for nothing, and none in both."""
    known = {name for cls in sample_classes() for name in cls.__struct_fields__}
    assert known == TOLD | WITHHELD
    assert not TOLD & WITHHELD


def test_the_samples_are_of_all_topics():
    """What is looked at here is what the ledger can record."""
    assert tuple(cls.TOPIC for cls in sample_classes()) == registry.topics()
