"""Moments and spans as people write them."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from tools.numbers import NUMBER_MAX
from tools.when import (
    parse_moment,
    parse_place,
    parse_span,
    span_text,
    to_local_text,
    to_text,
)

NOW = int(datetime(2026, 11, 25, 15, 30, tzinfo=UTC).timestamp()) * 1_000_000  # a Wednesday
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("now", "2026-11-25T15:30:00.000000Z"),
        ("today", "2026-11-24T22:00:00.000000Z"),
        ("yesterday", "2026-11-23T22:00:00.000000Z"),
        ("Wednesday", "2026-11-24T22:00:00.000000Z"),
        ("thursday", "2026-11-18T22:00:00.000000Z"),
        ("2026-01-02", "2026-01-01T22:00:00.000000Z"),
        ("2h", "2026-11-25T13:30:00.000000Z"),
        ("7d", "2026-11-18T15:30:00.000000Z"),
        ("2026-11-23T08:00:00+01:00", "2026-11-23T07:00:00.000000Z"),
        ("2026-11-23t08:00:00.123456789z", "2026-11-23T08:00:00.123456Z"),
    ],
)
def test_moments(text, shown):
    """Each way of writing a time means what people expect."""
    assert to_text(parse_moment(text, NOW, EAST)) == shown


@pytest.mark.parametrize("text", ["", "sometime", "2026-13-01", "2026-11-23T08:00:00", "-3d", "3x"])
def test_what_is_no_moment(text):
    """A time without a zone, or no time at all, is invalid."""
    with pytest.raises(InvalidInput):
        parse_moment(text, NOW)


FIRST, LAST = "0001-01-02T00:00:00.000000Z", "9999-12-30T23:59:59.999999Z"
WEST = timezone(timedelta(hours=-12))


@pytest.mark.parametrize("zone", [EAST, WEST, UTC, None])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0001-01-01", FIRST),
        ("0001-01-01T00:00:00+23:59", FIRST),
        ("0001-01-01T00:00:00Z", FIRST),
        ("999999999w", FIRST),
        ("9999-12-31", LAST),
        ("9999-12-31T23:59:59.999999-23:59", LAST),
        ("9999-12-31T23:59:59Z", LAST),
    ],
)
def test_what_no_calendar_tells_is_the_first_or_the_last_moment(text, shown, zone):
    """In every zone; and people can be shown it in theirs, with a year of four digits."""
    told = to_text(parse_moment(text, NOW, zone))
    # Further east that day has begun before the last moment.
    assert told == shown or (text, zone, told[:10]) == ("9999-12-31", EAST, "9999-12-30")
    assert re.match(r"\d{4}-\d\d-\d\d ", to_local_text(told))


@pytest.mark.parametrize("digits", ["9" * 16, "9" * 5000, str(NUMBER_MAX), str(NUMBER_MAX + 1)])
def test_no_place_is_beyond_the_largest_number(digits):
    """Of as many digits, or of more; zeros before it change nothing."""
    assert parse_place(digits, NOW) == parse_place(f"00{digits}", NOW) == (NUMBER_MAX, None)
    assert parse_place("0042", NOW) == (42, None)


@given(st.text())
def test_any_text_is_a_moment_or_our_error(text):
    """No text raises anything else."""
    for parse in (
        lambda one: parse_moment(one, NOW),
        parse_span,
        lambda one: parse_place(one, NOW),
    ):
        with contextlib.suppress(InvalidInput):
            parse(text)


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_read_back(moment):
    """What JSON shows parses to the same microsecond."""
    assert parse_moment(to_text(moment), NOW) == moment


@pytest.mark.parametrize("zone", ["<x>-25", ":/etc/passwd", "<\x1b[31m>5"])
def test_a_time_is_told_with_its_zone_where_that_has_no_name(monkeypatch, zone):
    """The offset is told then, as it counts."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", zone)
        time.tzset()
        shown = to_local_text("2026-11-23T08:00:00.000000Z")
    time.tzset()
    assert shown == "2026-11-23 08:00:00 +0000"


@pytest.mark.parametrize(
    ("span_us", "told"),
    [
        (1, "less than a second"),
        (1_999_999, "1 second"),
        (90_000_000, "90 seconds"),
        (3 * 60_000_000, "3 minutes"),
        (47 * 3_600_000_000, "47 hours"),
        (600 * 86_400_000_000, "600 days"),
        (128_945_577_584_875, "4 years"),
    ],
)
def test_spans_are_told_in_a_unit_that_fits(span_us, told):
    assert span_text(span_us) == told
