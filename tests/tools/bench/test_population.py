"""The made-up people ask as the module says, whatever the length of the log."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.bench.population import (
    FREQUENT,
    MAPPINGS_MAX,
    RARE,
    Attempts,
    application_of,
    mappings_at,
    owner_name,
)


def attempts(mappings):
    made = Attempts()
    made.add([1] * mappings, 10)
    return made


def test_each_mapping_has_an_owner_and_application_of_its_own():
    """No two mappings meet in one stream."""
    pairs = {(application_of(one), owner_name(one)) for one in range(MAPPINGS_MAX)}
    assert len(pairs) == MAPPINGS_MAX


@pytest.mark.parametrize(
    ("size", "mappings", "applications"),
    [
        (10_000, 2000, 10),
        (100_000, 10_000, 1000),
        (1_000_000, 100_000, 10_000),
        (10_000_000, 100_000, 10_000),
    ],
)
def test_applications_and_mappings_grow_with_the_log(size, mappings, applications):
    """Up to a million events, and not beyond."""
    assert mappings_at(size) == mappings
    assert application_of(mappings - 1) + 1 == applications


@pytest.mark.parametrize("mappings", [2000, 20_000])
def test_the_frequent_person_has_the_same_share_and_the_rare_one_three(mappings):
    """One attempt in fifty, and three."""
    callers = Counter(record.caller for record in attempts(mappings).records(20_000))
    assert callers[FREQUENT] == 400
    assert callers[RARE] == 3
    assert len(callers) > 1500


def test_records_name_the_row_that_holds_the_values():
    """As a real read's record does, and one in a hundred is a refusal."""
    records = attempts(2000).records(1000)
    granted = [record for record in records if record.TOPIC == "access.granted"]
    assert all(record.mapping_position >= 10 for record in granted)
    assert len(records) - len(granted) == 9


def test_the_same_seed_asks_the_same():
    """Two runs can be compared."""
    assert attempts(2000).records(500) == attempts(2000).records(500)
