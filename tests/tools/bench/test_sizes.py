"""Which lengths are measured, and what is held against the shortest."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tools.bench.figures import Fact, rounds
from tools.bench.grown import Grown
from tools.bench.places import SqlitePlace
from tools.bench.sizes import short_of, sizes_to, times_as_long
from tools.bench.verification import CHECKED, SIGNED_ROWS, sharing
from tools.stores import store_of


def test_lengths_grow_tenfold_to_the_one_that_was_asked_for():
    assert sizes_to(10_000) == (10_000,)
    assert sizes_to(50_000) == (10_000, 50_000)
    assert sizes_to(10_000_000) == (10_000, 100_000, 1_000_000, 10_000_000)


def test_the_short_log_is_as_long_as_was_asked_unless_no_other_is_longer():
    assert short_of(sizes_to(10_000_000), 100_000) == 100_000
    assert short_of(sizes_to(10_000_000), 10_000) == 10_000
    assert short_of(sizes_to(100_000), 100_000) == 10_000


def test_no_commit_of_a_grown_log_has_more_rows_than_was_said():
    """Nearly all have as many; what is measured of it says how many."""
    place = SqlitePlace()
    try:
        with Grown(place, SIGNED_ROWS) as grown:
            grown.grow(4000, lambda *_: None)
            store = store_of(grown.settings)
            with store.reading() as reading:
                ends = [commit.size for commit in reading.commits_after(0, 4000)]
            store.close()
    finally:
        place.clean()
    rows = [end - begin for begin, end in pairwise([0, *ends])]
    assert ends[-1] == 4000
    assert max(rows) == SIGNED_ROWS
    assert rows.count(SIGNED_ROWS) >= 28
    assert sharing(SIGNED_ROWS).by_one.startswith("rows checked without a key, 128 rows a commit")
    assert CHECKED == "rows checked without a key, one process"


def test_what_should_not_grow_is_held_against_a_short_log_in_turn():
    """A machine that turns slow half-way slows both, so the ratio stays."""
    asked = []

    def taking(name, seconds):
        def timed():
            asked.append(name)
            return seconds * (10 if len(asked) > 5 else 1)

        return timed

    assert times_as_long(taking("short", 0.2), taking("long", 0.3)) == pytest.approx(1.5)
    assert asked == ["short", "long"] * 7


def test_aims_are_told_by_what_is_better():
    assert Fact("", "rebuilt", 1, "/s", aim=60_000).told_aim == "at least 60,000"
    assert Fact("", "peak", 1, "MiB", aim=300).told_aim == "at most 300"
    assert Fact("", "peak", 1, "MiB").told_aim == ""


def test_no_further_round_begins_when_the_time_is_over():
    """But the first one does."""
    assert list(rounds(3, 60)) == [0, 1, 2]
    assert list(rounds(3, -1)) == [0]
