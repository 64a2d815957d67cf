"""The numbers of the rules for unusual reads, as people write them.

--hours 07:00-19:00    in the local time zone; 22:00-06:00 goes over midnight
--days mon-fri         sun-thu goes over the end of the week
--bulk 50/10m          so many reads by one person within a span
"""

from __future__ import annotations

import re
from datetime import time

from ledger.errors import InvalidInput
from projections.unusual import DAYS, Rules
from tools.when import parse_span

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_BULK = re.compile(r"(\d{1,6})/(\d{1,9}[smhdw])")
_SECOND_US = 1_000_000
HOURS_DEFAULT, DAYS_DEFAULT, BULK_DEFAULT = "07:00-19:00", "mon-fri", "50/10m"
_BULK_READS_MIN = 2


def parse_rules(hours: str, days: str, bulk: str) -> Rules:
    """The rules; `invalid-hours`, `invalid-days` or `invalid-bulk` for a text that is none."""
    begins, ends = _hours(hours)
    first, last = _days(days)
    reads, window_s = _bulk(bulk)
    return Rules(begins, ends, first, last, reads, window_s)


def _hours(text: str) -> tuple[time, time]:
    found = _HOURS.fullmatch(text.strip())
    try:
        if found is not None:
            begins, first, ends, last = (int(one) for one in found.groups())
            return time(begins, first), time(ends, last)
    except ValueError:
        pass
    raise InvalidInput(
        "invalid-hours", "Hours are two times of day.", hint=f"For example {HOURS_DEFAULT}."
    )


def _days(text: str) -> tuple[int, int]:
    first, dash, last = text.strip().lower().partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise InvalidInput(
            "invalid-days",
            f"Days are one or two of {', '.join(DAYS)}.",
            hint=f"For example {DAYS_DEFAULT}.",
        )
    return DAYS.index(first), DAYS.index(last if dash else first)


def _bulk(text: str) -> tuple[int, int]:
    found = _BULK.fullmatch(text.strip().lower())
    window_s = 0 if found is None else parse_span(found[2]) // _SECOND_US
    if found is None or int(found[1]) < _BULK_READS_MIN or not window_s:
        raise InvalidInput(
            "invalid-bulk",
            "Bulk is two reads or more within a span.",
            hint=f"For example {BULK_DEFAULT}.",
        )
    return int(found[1]), window_s
