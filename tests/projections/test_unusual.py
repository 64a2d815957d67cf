"""The three rules for reads that are worth a look."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from projections.access_questions import access_question
from projections.unusual import BULK, FIRST_TIME, OUT_OF_HOURS, Read, Rules, Watch, unusual
from tools.asking.unusual_rules import BULK_DEFAULT, DAYS_DEFAULT, HOURS_DEFAULT, parse_rules

SECOND = 1_000_000
MONDAY_NOON = round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * SECOND
ALWAYS = Rules(time(0), time(0), 0, 6, 3, 10, UTC)
"""No hours are unusual; three reads within ten seconds are bulk."""


def read(position, at_s, who=b"w", application=b"a", owner=b"o"):
    return Read(position, MONDAY_NOON + at_s * SECOND, who, application, owner)


def test_the_first_read_of_anything_is_told_once():
    """By each person, application and owner; what was known before is not first."""
    reads = [
        read(1, 0), read(2, 20), read(3, 40, owner=b"p"), read(4, 60, application=b"b"),
        read(5, 80, who=b"v"), read(6, 100, owner=b"p"),
    ]  # fmt: skip
    assert unusual(reads, [], ALWAYS) == {
        1: (FIRST_TIME,), 3: (FIRST_TIME,), 4: (FIRST_TIME,), 5: (FIRST_TIME,),
    }  # fmt: skip
    known = [(b"w", b"a", b"o"), (b"v", b"a", b"o")]
    assert set(unusual(reads, known, ALWAYS)) == {3, 4}


def test_all_reads_of_a_crowd_are_bulk():
    """Those before the one that makes it a crowd, too; of one person only."""
    known = [(who, b"a", b"o") for who in (b"w", b"v")]
    reads = [
        read(1, 0), read(2, 1), read(3, 2, who=b"v"), read(4, 9), read(5, 10), read(6, 25),
        read(7, 30, who=b"v"), read(8, 36),
    ]  # fmt: skip
    assert unusual(reads, known, ALWAYS) == dict.fromkeys((1, 2, 4, 5), (BULK,))


@pytest.mark.parametrize(
    ("begins", "ends", "first", "last", "moment", "usual"),
    [
        (7, 19, 0, 4, "2026-11-23T07:00", True),
        (7, 19, 0, 4, "2026-11-23T06:59", False),
        (7, 19, 0, 4, "2026-11-23T18:59", True),
        (7, 19, 0, 4, "2026-11-23T19:00", False),
        (7, 19, 0, 4, "2026-11-28T12:00", False),
        (7, 19, 6, 3, "2026-11-29T12:00", True),
        (7, 19, 6, 3, "2026-11-27T12:00", False),
        (22, 6, 0, 4, "2026-11-23T23:00", True),
        (22, 6, 0, 4, "2026-11-23T05:00", True),
        (22, 6, 0, 4, "2026-11-23T12:00", False),
        (0, 0, 0, 0, "2026-11-23T03:00", True),
        (0, 0, 0, 0, "2026-11-24T03:00", False),
    ],
)
def test_hours_are_those_of_the_zone(begins, ends, first, last, moment, usual):
    """Both ends of hours and days, over midnight and over Sunday, in any zone."""
    zone = timezone(timedelta(hours=5, minutes=30))
    rules = Rules(time(begins), time(ends), first, last, 50, 600, zone)
    at = datetime.fromisoformat(moment).replace(tzinfo=zone)
    at_us = round(at.timestamp()) * SECOND
    assert rules.in_hours(at_us) is usual
    known = [(b"w", b"a", b"o")]
    told = unusual([Read(1, at_us, b"w", b"a", b"o")], known, rules)
    assert told == ({} if usual else {1: (OUT_OF_HOURS,)})


crowds = st.lists(st.tuples(st.integers(0, 12), st.sampled_from((b"v", b"w"))), max_size=30)


@given(crowds, st.integers(2, 5))
def test_bulk_is_what_counting_every_span_finds(gaps, least):
    """A read is bulk exactly if some span of ten seconds that holds it holds so many of its own."""
    at, reads = 0, []
    for position, (gap, who) in enumerate(gaps, start=1):
        at += gap
        reads.append(read(position, at, who))
    expected = set()
    for begin in reads:
        crowd = [
            one
            for one in reads
            if one.who == begin.who and 0 <= one.recorded_at - begin.recorded_at < 10 * SECOND
        ]
        if len(crowd) >= least:
            expected |= {one.position for one in crowd}
    rules = Rules(time(0), time(0), 0, 6, least, 10, UTC)
    told = unusual(reads, [(who, b"a", b"o") for who in (b"v", b"w")], rules)
    assert {position for position, broken in told.items() if BULK in broken} == expected


def test_the_rules_are_read_as_people_write_them():
    """The defaults are those of the rules; each text that is none says which."""
    assert parse_rules(HOURS_DEFAULT, DAYS_DEFAULT, BULK_DEFAULT) == Rules()
    told = parse_rules("22:30-06:00", "Sun", "5/1h")
    assert told == Rules(time(22, 30), time(6), 6, 6, 5, 3600)
    for hours in ("7-19", "24:00-25:00", "07:00", "07:60-08:00", ""):
        with pytest.raises(InvalidInput, match="Hours"):
            parse_rules(hours, DAYS_DEFAULT, BULK_DEFAULT)
    for days in ("monday", "mon-", "-fri", "1-5", ""):
        with pytest.raises(InvalidInput, match="Days"):
            parse_rules(HOURS_DEFAULT, days, BULK_DEFAULT)
    for bulk in ("50", "1/10m", "50/0m", "50/10", "-3/1h", ""):
        with pytest.raises(InvalidInput, match="Bulk"):
            parse_rules(HOURS_DEFAULT, DAYS_DEFAULT, bulk)


def test_what_was_given_before_the_span_is_known(busy):
    """Also where the read before lies outside of all that is judged."""
    rows = busy.views.accesses.newest(user="user:alice", outcome="granted", limit=0)
    assert len(rows) > 1
    assert len({(one["application"], one["owner"]) for one in rows}) == 1
    newest = datetime.fromisoformat(rows[0]["recorded_at"])
    since = round(newest.timestamp() * SECOND)
    # A span of one microsecond, so that the reads before are not judged with it.
    rules = Rules(time(0), time(0), 0, 6, 50, 1 / SECOND)
    question = access_question("user:alice", None, None, None, since, None)
    assert busy.views.accesses.unusual(question, rules, None, None) == []
    every = access_question("user:alice", None, None, None, None, None)
    told = busy.views.accesses.unusual(every, rules, None, None)
    assert [one["position"] for one in told] == [rows[-1]["position"]]


def test_a_crowd_that_thins_out_and_fills_again_is_told_each_once():
    """Reads that lie in two spans are one rule broken each."""
    watch = Watch(ALWAYS, [(b"w", b"a", b"o")])
    reads = [read(1, 0), read(2, 8), read(3, 9), read(4, 18), read(5, 18)]
    told = [one for each in reads for one in watch.see(each)]
    assert told == [(position, BULK) for position in range(1, 6)]
