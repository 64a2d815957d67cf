"""Moments and spans as people write them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from tools.when import parse_moment, parse_place, parse_span, to_text

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
