"""Rows that go into a table many at a time, in statements of few lengths."""

from __future__ import annotations

from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from ledger.log.upserts import in_groups, in_order, repeated, with_values

COLUMNS = MappingProxyType({"key": int, "value": bytes})


@given(st.integers(0, 2000))
def test_groups_hold_all_rows_in_order_and_come_in_few_lengths(rows):
    groups = list(in_groups([(number,) for number in range(rows)]))
    assert [row for group in groups for row in group] == [(number,) for number in range(rows)]
    assert {len(group) for group in groups} <= {1024, 256, 64, 16, 4, 1}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_rows_come_in_order_of_their_second_column_the_last_of_each_key(rows):
    """Nothing is lost or made up on the way into order."""
    ordered = in_order(rows)
    assert [value for _, value in ordered] == sorted(value for _, value in ordered)
    assert len(ordered) == len(dict(rows))
    assert dict(ordered) == dict(rows)


def test_rows_of_which_few_columns_move_come_in_order_of_their_keys():
    """No index over their second column is touched."""
    rows = [(3, 1), (1, 2), (2, 3), (1, 4)]
    assert in_order(rows, ("elsewhere",)) == [(1, 4), (2, 3), (3, 1)]


def test_a_statement_for_one_row_is_made_one_for_many():
    one = with_values("kept", COLUMNS)
    assert repeated(one, 1) == one
    assert repeated(one, 3) == one.replace("VALUES (?, ?)", "VALUES (?, ?), (?, ?), (?, ?)")


def test_of_several_rows_with_one_key_the_last_one_counts(sqlite_house):
    house = sqlite_house.open()
    columns = MappingProxyType({"name": int, "value": int})
    with house._writer.store.writing() as writing:
        writing.connection.execute("CREATE TEMP TABLE kept (name INTEGER PRIMARY KEY, value INT)")
        rows = [(number % 7, number) for number in range(100)]
        writing.connection.upsert("kept", columns, rows)
        found = writing.connection.execute("SELECT name, value FROM kept ORDER BY name")
    assert found == [(number % 7, number) for number in (98, 99, 93, 94, 95, 96, 97)]
    house.close()
