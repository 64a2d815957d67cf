"""Which lengths are measured, and what is held against the shortest."""

from __future__ import annotations

from tools.bench.figures import Fact, rounds
from tools.bench.sizes import compared, sizes_to


def test_lengths_grow_tenfold_to_the_one_that_was_asked_for():
    assert sizes_to(10_000) == (10_000,)
    assert sizes_to(50_000) == (10_000, 50_000)
    assert sizes_to(10_000_000) == (10_000, 100_000, 1_000_000, 10_000_000)


def test_what_should_not_grow_is_held_against_the_shortest_log():
    """Each longer log by the shortest, of times only."""
    name = "credential get, whole command"
    measured = [
        Fact("SQLite", name, 200, "ms", 10_000),
        Fact("SQLite", "on disk", 10, "MiB", 10_000),
        Fact("SQLite", name, 300, "ms", 100_000),
        Fact("SQLite", name, 260, "ms", 1_000_000),
    ]
    found = [(fact.size, fact.value, fact.unit, fact.aim) for fact in compared(measured)]
    assert found == [(100_000, 1.5, "x", 1.3), (1_000_000, 1.3, "x", 1.3)]


def test_aims_are_told_by_what_is_better():
    assert Fact("", "rebuilt", 1, "/s", aim=60_000).told_aim == "at least 60,000"
    assert Fact("", "peak", 1, "MiB", aim=300).told_aim == "at most 300"
    assert Fact("", "peak", 1, "MiB").told_aim == ""


def test_no_further_round_begins_when_the_time_is_over():
    """But the first one does."""
    assert list(rounds(3, 60)) == [0, 1, 2]
    assert list(rounds(3, -1)) == [0]
