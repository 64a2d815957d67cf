"""Any number of microseconds is shown as a time."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.log.rows import FIRST_MOMENT_US, LAST_MOMENT_US
from ledger.moments import FIRST_US, LAST_US, time_text
from projections import documents
from projections.report_access import QUARTER_US
from projections.unusual import Rules
from tools import when
from tools.report.periods import columns

FIRST, LAST = "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (FIRST_US, FIRST),
        (FIRST_US - 1, FIRST),
        (-(2**63), FIRST),
        (-(10**40), FIRST),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
        (LAST_US, LAST),
        (LAST_US + 1, LAST),
        ((2**64 - 1) * 1_000_000, LAST),
    ],
)
def test_a_time_beyond_the_calendar_is_shown_as_its_end(microseconds, text):
    """Wherever numbers become times."""
    for shown in (time_text, documents.time_text, when.to_text):
        assert shown(microseconds) == text


def test_the_calendar_is_that_of_the_logs_rows():
    assert (FIRST_US, LAST_US) == (FIRST_MOMENT_US, LAST_MOMENT_US)


@given(st.integers(FIRST_US, LAST_US))
def test_a_time_within_the_calendar_reads_back(microseconds):
    unix = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    assert (datetime.fromisoformat(time_text(microseconds)) - unix) == timedelta(
        microseconds=microseconds
    )


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("microseconds", [FIRST_US, LAST_US, -(2**63), 2**63])
def test_the_ends_of_the_calendar_are_shown_to_people_in_every_zone(
    zone, microseconds, monkeypatch
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        shown = when.to_local_text(time_text(microseconds))
        assert shown[:4] in {"0001", "9999"}
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("hours", [-23, 0, 23])
@pytest.mark.parametrize("microseconds", [FIRST_US, LAST_US])
def test_rows_at_the_ends_of_the_calendar_are_drawn_and_judged_in_every_zone(hours, microseconds):
    zone = timezone(timedelta(hours=hours))
    quarter = microseconds // QUARTER_US
    for apart in (0, 300, 9_000, 60_000, 200_000):
        other = quarter - apart if microseconds > 0 else quarter + apart
        drawn = columns({"granted": Counter({quarter: 1, other: 1})}, None, None, zone)
        assert sum(drawn.counts["granted"]) == (2 if apart else 1)
    assert Rules(zone=zone).in_hours(microseconds) in {True, False}
