"""An epoch's keys, months and commitments."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.errors import KeyUnavailable
from ledger.sealing.epochs import (
    ACCESS_PERIODS,
    commitments,
    new_epoch,
    period_index,
    period_of,
)
from tests.ledger.sealing.counted import Counted

MOMENTS = st.datetimes(
    datetime(1970, 1, 1),
    datetime(2999, 12, 31),
    timezones=st.just(UTC),
)


@given(MOMENTS)
def test_a_period_is_the_utc_month(moment):
    """The month of a time is what the calendar says."""
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    assert period_of(seconds * 1_000_000) == moment.year * 100 + moment.month


def test_the_last_microsecond_belongs_to_its_month():
    """A month ends with its last microsecond."""
    new_year = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert period_of(new_year - 1) == 202612
    assert period_of(new_year) == 202701


def test_an_epoch_has_120_months():
    """Month 0 to 119 have a key; the one before and the one after have none."""
    assert period_index(202611, 202611) == 0
    assert period_index(202611, 202701) == 2
    assert period_index(202611, 203610) == ACCESS_PERIODS - 1
    for period in (202610, 203611):
        with pytest.raises(KeyUnavailable) as caught:
            period_index(202611, period)
        assert caught.value.code == "access-key-missing"


def test_all_keys_of_an_epoch_differ():
    """122 keys, none twice."""
    keys = new_epoch(1, Counted())
    assert len({keys.state, keys.secret, *keys.access}) == 2 + ACCESS_PERIODS


def test_no_two_commitments_are_alike_even_for_the_same_key():
    """Epoch, compartment and month are part of what is committed to."""
    same = replace(
        new_epoch(1, Counted()), state=bytes(32), secret=bytes(32), access=(bytes(32),) * 120
    )
    told = [commitments(replace(same, epoch=epoch)) for epoch in (1, 2)]
    assert len({c for each in told for c in (each.state, each.secret, *each.access)}) == 2 * 122


def test_commitments_fit_what_is_held_and_nothing_else():
    """Keys that are withheld are passed over; one wrong key is found, wherever it is."""
    keys = new_epoch(1, Counted())
    told = commitments(keys)
    assert told.fit(keys)
    assert told.fit(keys.without_secret())
    assert told.fit(replace(keys, access=(None, *keys.access[1:])))
    wrong = b"\x01" * 32
    assert not told.fit(replace(keys, state=wrong))
    assert not told.fit(replace(keys, secret=wrong))
    assert not told.fit(replace(keys, epoch=2))
    for index in (0, 57, 119):
        access = (*keys.access[:index], wrong, *keys.access[index + 1 :])
        assert not told.fit(replace(keys, access=access))
