"""A rebuild makes way for those who append, and hurries where nobody does."""

from __future__ import annotations

from ledger.log.pace import (
    ASIDE_MIN_S,
    BUSY_HELD_S,
    BUSY_ROWS,
    BUSY_ROWS_MIN,
    CALM_ROWS,
    Pace,
)


class Time:
    """A clock that a test moves, and a sleep that is only noted."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def pace(self) -> Pace:
        return Pace(lambda: self.now, self.slept.append)

    def page(self, pace: Pace, held_s: float, last: int) -> None:
        pace.take_lock()
        self.now += held_s
        pace.let_go(last)


def test_where_nobody_appends_pages_grow_and_follow_at_once():
    """A log that does not grow is rebuilt without a pause."""
    time = Time()
    pace = time.pace()
    grown = []
    for _ in range(9):
        grown.append(pace.rows)
        time.page(pace, 0.5, last=100)
    assert grown[:4] == [BUSY_ROWS, BUSY_ROWS, 2 * BUSY_ROWS, 4 * BUSY_ROWS]
    assert grown[-1] == pace.rows == CALM_ROWS
    assert time.slept == []


def test_who_appends_meanwhile_gets_as_much_time_as_the_rebuild_took():
    """After each page that others appended beside, the lock is left alone for as long."""
    time = Time()
    pace = time.pace()
    time.page(pace, 0.5, last=100)
    time.page(pace, 0.25, last=101)
    assert pace.rows == BUSY_ROWS_MIN
    time.page(pace, 0.0, last=102)
    assert time.slept == [0.25, ASIDE_MIN_S]


def test_beside_others_a_page_is_as_large_as_fits_the_time_that_they_may_wait():
    """A slow machine or store gets smaller pages, a quick one larger ones, within bounds."""
    time = Time()
    pace = time.pace()
    time.page(pace, 0.0, last=100)
    time.page(pace, 2 * BUSY_HELD_S, last=101)
    assert pace.rows == BUSY_ROWS // 2
    time.page(pace, BUSY_HELD_S / 1.5, last=102)
    assert BUSY_ROWS // 2 < pace.rows < BUSY_ROWS
    time.page(pace, BUSY_HELD_S / 100, last=103)
    assert pace.rows == BUSY_ROWS


def test_a_quiet_log_is_hurried_through_again():
    """Pages grow again as soon as a page finds the log as it was."""
    time = Time()
    pace = time.pace()
    for last in (100, 101, 101):
        time.page(pace, 0.1, last)
    assert pace.rows == 2 * BUSY_ROWS_MIN
    assert len(time.slept) == 1
