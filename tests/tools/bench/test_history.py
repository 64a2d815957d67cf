"""The history tells what became worse than in the runs before; nothing is measured here."""

from __future__ import annotations

import pytest

from tools.bench.figures import Fact, Figure, Line
from tools.bench.history import History


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "history.jsonl")


def run(rate=100.0, floor=None, facts=(), machine="here"):
    figures = {"ours": Figure([rate])}
    if floor is not None:
        figures["floor"] = Figure([floor])
    return {
        "machine": machine,
        "lines": [Line("SQLite", "reads", figures, {}).as_document()],
        "facts": [fact.as_document() for fact in facts],
    }


def fact(value, unit, size=None):
    return Fact("SQLite", "credential get", value, unit, size)


def test_a_first_run_is_no_regression(history):
    """There is nothing to compare with."""
    assert history.regressions(run()) == []


def test_a_work_that_fell_is_named_with_how_far(history):
    """What does half of what it did is told, what does nearly as much is not."""
    history.add(run(100))
    assert history.regressions(run(81)) == []
    assert history.regressions(run(50)) == ["SQLite: reads fell to 0.50 of the runs before"]


def test_the_ratio_to_the_floor_counts_where_there_is_one(history):
    """A busy minute that slows both alike is no regression."""
    history.add(run(100, floor=200))
    assert history.regressions(run(10, floor=20)) == []
    assert len(history.regressions(run(100, floor=400))) == 1


def test_runs_on_other_machines_do_not_count(history):
    """Another machine's speed says nothing about this one's."""
    history.add(run(1000, machine="elsewhere"))
    assert history.regressions(run(100)) == []


def test_the_median_of_the_last_five_counts(history):
    """Neither one lucky run nor what was long ago."""
    for rate in (9000, 9000, 100, 100, 9000, 100, 100):
        history.add(run(rate))
    assert history.regressions(run(85)) == []


@pytest.mark.parametrize(
    ("unit", "before", "now", "worse"),
    [
        ("/s", 1000, 900, False),
        ("/s", 1000, 500, True),
        ("/s", 1000, 2000, False),
        ("ms", 100, 110, False),
        ("ms", 100, 200, True),
        ("MiB", 100, 50, False),
        ("x", 1.0, 3.0, True),
    ],
)
def test_more_is_better_of_rates_only(history, unit, before, now, worse):
    """Time, memory and ratios become worse by growing."""
    history.add(run(facts=[fact(before, unit)]))
    found = history.regressions(run(facts=[fact(now, unit)]))
    assert bool(found) is worse
    assert all(text.startswith(f"SQLite: credential get, {unit} fell to 0.") for text in found)


def test_facts_of_different_sizes_are_different_facts(history):
    """A long log is not compared with a short one."""
    history.add(run(facts=[fact(100, "ms", 10_000)]))
    assert history.regressions(run(facts=[fact(900, "ms", 200_000)])) == []
    told = history.regressions(run(facts=[fact(200, "ms", 10_000)]))
    assert told == ["SQLite: credential get, 10,000, ms fell to 0.50 of the runs before"]


def test_runs_from_before_there_were_facts_are_read(history):
    """An older line of the file has works only."""
    older = run(100)
    del older["facts"]
    history.add(older)
    assert len(history.regressions(run(10, facts=[fact(5, "ms")]))) == 1
