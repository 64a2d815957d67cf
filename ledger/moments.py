"""Moments as text: RFC 3339 in UTC, of any number of microseconds since 1970.

Numbers come from clocks, and from whoever signed or sealed one: a witness with a clock of its own,
an operator with another program. No calendar here has a year before 1 or after 9999, so what lies
beyond is shown as the first or the last moment of these. Whether it can be true is for others to
judge; showing it never fails.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - _UNIX) // _MICROSECOND
LAST_US = (datetime.max.replace(tzinfo=UTC) - _UNIX) // _MICROSECOND
"""The first and the last moment that can be told."""


def time_text(microseconds: int) -> str:
    """A time with microseconds and `Z`; beyond the calendar the first or the last there is."""
    moment = _UNIX + timedelta(microseconds=min(max(microseconds, FIRST_US), LAST_US))
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def local_time(microseconds: int, zone: tzinfo | None) -> datetime:
    """The time in a zone, None for the local one; at the ends the last that all have."""
    day = timedelta(days=1) // _MICROSECOND
    within = min(max(microseconds, FIRST_US + day), LAST_US - day)
    return (_UNIX + timedelta(microseconds=within)).astimezone(zone)
