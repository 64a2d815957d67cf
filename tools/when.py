"""Moments and spans as people write them.

A *moment* is an RFC 3339 time (`2026-11-23T08:00:00Z`), a date, `now`, `today`, `yesterday`, a
weekday's name (the last one that has begun), or a span, which counts back from now. Dates and
names begin at midnight in the local time zone. A *span* is a number and a unit: `s`, `m`, `h`,
`d`, `w`. Everything is microseconds UTC since 1970 outside of this module; the present is handed
in. What lies before the second day of the year 1, or behind the last but one of the year 9999, is
told by no calendar in every zone, so it counts as the first or the last moment that is. What is
shown may be whatever somebody has signed or sealed: beyond the years 1 to 9999 it is shown as the
first or the last moment of these, and never an error of its own.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from ledger.errors import InvalidInput
from ledger.moments import time_text
from tools.numbers import NUMBER_MAX, is_digits

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS = ("today", "yesterday", *WEEKDAYS)
"""The days that have names."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""By the units of spans."""
_UNITS = {"year": 365 * 86_400, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}
"""Seconds by the words in which spans are told, the longest first."""
SPAN_DIGITS_MAX = 9
_POSITION_DIGITS_MAX = len(str(NUMBER_MAX))
_SPAN = re.compile(rf"([0-9]{{1,{SPAN_DIGITS_MAX}}})([{''.join(SECONDS)}])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_span(text: str) -> int:
    """A span's microseconds; `invalid-span` if it is none."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidInput(
            "invalid-span",
            "A span is a number and one of s, m, h, d, w.",
            hint="For example 30m, 2h, 7d or 4w.",
        )
    return int(found[1]) * SECONDS[found[2]] * 1_000_000


def is_now(text: str) -> bool:
    """Whether a moment is the present."""
    return text.strip().lower() == "now"


def parse_moment(text: str, now_us: int, zone: tzinfo | None = None) -> int:
    """A moment's microseconds UTC; `invalid-time` if it is none. `zone` None is the local one."""
    wanted = text.strip()
    lower = wanted.lower()
    if is_now(text):
        return now_us
    if _SPAN.fullmatch(lower):
        return _told(now_us - parse_span(lower))
    try:
        if _TIME.fullmatch(wanted):
            moment = datetime.fromisoformat(_whole_microseconds(wanted.upper()))
        else:
            moment = _midnight(_day(lower, _local(now_us, zone).date()), zone)
        return _told(_microseconds(moment))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            "invalid-time",
            "A time is RFC 3339 with a zone, a date, today, yesterday, a weekday or a span.",
            hint="For example 2026-11-23T08:00:00Z, yesterday, monday or 7d.",
        ) from error


def parse_place(text: str, now_us: int) -> tuple[int | None, int | None]:
    """A place in history as (position, None) for a plain number, else (None, moment).

    No log reaches the largest number, so any larger one counts as that.
    """
    if is_digits(text):
        digits = text.lstrip("0") or "0"
        if len(digits) > _POSITION_DIGITS_MAX:
            return NUMBER_MAX, None
        return min(int(digits), NUMBER_MAX), None
    return None, parse_moment(text, now_us)


def to_text(moment_us: int) -> str:
    """RFC 3339 in UTC with microseconds and `Z`, as JSON shows times."""
    return time_text(moment_us)


def to_local_text(text: str) -> str:
    """A time as `to_text` writes it, for people: local, to the second, with its zone.

    In UTC where the local calendar does not reach so far.
    """
    moment = datetime.fromisoformat(text)
    with contextlib.suppress(OverflowError, ValueError, OSError):
        moment = moment.astimezone()
    # `%Y` writes the year 1 as one digit on some systems. A zone that TZ misspells has no name.
    zone = moment.tzname() or moment.strftime("%z")
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} {zone}"


def counted(number: int, noun: str) -> str:
    """So many of something, in words: `1 month`, `2 months`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def span_text(span_us: int) -> str:
    """About how long, for people, in the longest unit of which it has two at least."""
    seconds = span_us // 1_000_000
    fitting = (unit for unit, length in _UNITS.items() if seconds >= 2 * length)
    unit = next(fitting, "second")
    number = seconds // _UNITS[unit]
    return counted(number, unit) if number else "less than a second"


def _day(name: str, today: date) -> date:
    if name == "today":
        return today
    if name == "yesterday":
        return today - timedelta(days=1)
    if name in WEEKDAYS:
        return today - timedelta(days=(today.weekday() - WEEKDAYS.index(name)) % 7)
    if _DATE.fullmatch(name):
        return date.fromisoformat(name)
    raise ValueError(name)


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    plain = datetime(day.year, day.month, day.day)  # noqa: DTZ001 # the zone comes next
    if zone is None and day in {date.min, date.max}:
        # The local zone is not told at the ends of the calendar; what it would say is no moment.
        return plain.replace(tzinfo=UTC)
    return plain.astimezone() if zone is None else plain.replace(tzinfo=zone)


def _local(moment_us: int, zone: tzinfo | None) -> datetime:
    return (_EPOCH + timedelta(microseconds=moment_us)).astimezone(zone)


def _told(moment_us: int) -> int:
    """The moment, or the first or last one that every zone's calendar tells."""
    return min(max(moment_us, _FIRST_US), _LAST_US)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


_FIRST_US = _microseconds(datetime.min.replace(tzinfo=UTC) + timedelta(days=1))
_LAST_US = _microseconds(datetime.max.replace(tzinfo=UTC) - timedelta(days=1))


def _whole_microseconds(text: str) -> str:
    return re.sub(r"(\.\d{6})\d+", r"\1", text)
