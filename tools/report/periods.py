"""Counts of many moments put into periods from an hour to ten years, as a chart shows them.

The length follows from how long the whole is, so that there are neither three columns nor a
thousand. Periods begin in the local time zone; one in which nothing happened has its column too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, datetime, timedelta, tzinfo
from typing import NamedTuple

from ledger.moments import local_time
from projections.report_access import QUARTER_US

Day = datetime
"""Local, without a zone."""


class Unit(NamedTuple):
    """One length of periods."""

    name: str
    begins: Callable[[Day], Day]
    """The beginning of the period that a time lies in."""
    follows: Callable[[Day], Day]
    """The beginning of the next one."""
    label: str
    """What stands along the axis, as `strftime` takes it; short, for there is little room."""
    title: str
    """The same in full."""


class Columns(NamedTuple):
    """What a chart is drawn from."""

    unit: str
    labels: list[str]
    titles: list[str]
    counts: dict[str, list[int]]


def _month_after(begin: Day) -> Day:
    return (begin + timedelta(days=31)).replace(day=1)


def _years(time: Day, many: int) -> Day:
    begin = max(1, time.year - time.year % many)  # there is no year 0
    return _midnight(time).replace(year=begin, month=1, day=1)


def _years_after(begin: Day, many: int) -> Day:
    year = begin.year - begin.year % many + many
    return begin.replace(year=year) if year <= MAXYEAR else Day.max


def _hour(time: Day) -> Day:
    return time.replace(minute=0, second=0, microsecond=0)


def _midnight(time: Day) -> Day:
    return _hour(time).replace(hour=0)


HOUR = Unit("hour", _hour, lambda begin: begin + timedelta(hours=1), "%H:00", "%Y-%m-%d %H:00")
DAY = Unit("day", _midnight, lambda begin: begin + timedelta(days=1), "%d %b", "%Y-%m-%d")
WEEK = Unit(
    "week",
    lambda time: _midnight(time) - timedelta(days=time.weekday()),
    lambda begin: begin + timedelta(days=7),
    "%b %Y",
    "week of %Y-%m-%d",
)
MONTH = Unit("month", lambda time: _midnight(time).replace(day=1), _month_after, "%b %Y", "%Y-%m")
YEAR = Unit("year", lambda time: _years(time, 1), lambda begin: _years_after(begin, 1), "%Y", "%Y")
DECADE = Unit(
    "ten years",
    lambda time: _years(time, 10),
    lambda begin: _years_after(begin, 10),
    "%Y",
    "ten years of %Y",
)
_LONGEST = (
    (timedelta(days=2), HOUR),
    (timedelta(days=92), DAY),
    (timedelta(days=731), WEEK),
    (timedelta(days=3660), MONTH),
    (timedelta(days=36_600), YEAR),
)


def columns(
    quarters: Mapping[str, Counter[int]],
    since: int | None,
    until: int | None,
    zone: tzinfo | None = None,
) -> Columns:
    """Counts by period; from `since` to `until` in microseconds UTC, or the first and last counted.

    `zone` None is the local one. Without anything to show there are no columns.
    """
    counted = [quarter for counts in quarters.values() for quarter in counts]
    if not counted:
        return Columns(DAY.name, [], [], {name: [] for name in quarters})
    first = _local(min(counted) if since is None else since // QUARTER_US, zone)
    last = _local(max(counted) if until is None else until // QUARTER_US, zone)
    unit = next((unit for longest, unit in _LONGEST if last - first <= longest), DECADE)
    begins = [unit.begins(first)]
    while (following := _following(unit, begins[-1])) <= last:
        begins.append(following)
    place = {begin: number for number, begin in enumerate(begins)}
    rows = {name: [0] * len(begins) for name in quarters}
    for name, counts in quarters.items():
        for quarter, count in counts.items():
            rows[name][place[unit.begins(_local(quarter, zone))]] += count
    labels, titles = ([f"{begin:{form}}" for begin in begins] for form in (unit.label, unit.title))
    return Columns(unit.name, labels, titles, rows)


def _following(unit: Unit, begin: Day) -> Day:
    """The next column's beginning; none lies behind the calendar's end."""
    try:
        return unit.follows(begin)
    except OverflowError:
        return Day.max


def _local(quarter: int, zone: tzinfo | None) -> Day:
    return local_time(quarter * QUARTER_US, zone).replace(tzinfo=None, fold=0)
