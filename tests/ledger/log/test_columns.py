"""Rows checked column by column: the same answer as one by one, whatever the rows hold."""

from __future__ import annotations

import os

import pytest

from ledger.errors import Tampered
from ledger.log.columns import Edge, check_row, columns_of, looked_at, plain_columns
from ledger.log.rows import EPOCH_STARTED, NO_ROW, LedgerRow, LogRow

LEDGER = LedgerRow(os.urandom(32), 1, b"salt")
MONTH_END_US = 1_764_547_200_000_000
"""The first microsecond of December 2025."""
TREE_TELLS = ("stream", "version", "topic", "sealed")
OTHERS = (None, 0, -1, 1, 2**70, 1.0, "", "audit.queried", b"", bytes(16), bytes(32), [])


def fitted(row: LogRow) -> LogRow:
    return row._replace(leaf=row.computed_leaf(LEDGER.id))


def rows_from(recorded_at: int, count: int = 5, topic: str = "audit.queried") -> list[LogRow]:
    return [
        fitted(
            LogRow(
                number,
                os.urandom(16),
                number,
                topic,
                1,
                202511 if recorded_at + number < MONTH_END_US else 202512,
                recorded_at + number,
                os.urandom(100),
                bytes(32),
            )
        )
        for number in range(1, count + 1)
    ]


class OnePage:
    """A log that has these rows."""

    def __init__(self, rows: list[LogRow]) -> None:
        self._rows = rows

    def tuples_after(self, position: int, limit: int) -> list[LogRow]:
        return self._rows[position : position + limit]


def outcome(check):
    try:
        return check()
    except Tampered as error:
        return error.code, error.position


def checked(rows):
    """What the columns say, and what the rows say."""

    def one_by_one():
        edge = Edge(0, 0, 1)
        for row in rows:
            check_row(row, LEDGER.id, edge)
            edge = Edge(row.position, row.recorded_at, row.following_epoch)
        return edge

    (looked,) = looked_at(OnePage(rows), LEDGER.id, Edge(0, 0, 1), len(rows), keep=True)
    assert looked.columns == columns_of(looked.rows, 0)
    assert (looked.damage is None) == (len(looked.rows) == len(rows))
    damage = looked.damage
    return looked.edge if damage is None else (damage.code, damage.position), outcome(one_by_one)


@pytest.mark.parametrize(
    ("rows", "plain"),
    [
        (rows_from(MONTH_END_US - 1000), True),
        (rows_from(MONTH_END_US - 3), False),
        (rows_from(1_000_000, topic=EPOCH_STARTED), False),
    ],
    ids=["of one month", "over a month's end", "an epoch each"],
)
def test_true_rows_pass(rows, plain):
    if rows[0].topic == EPOCH_STARTED:
        rows = [fitted(row._replace(epoch=max(1, row.position - 1), period=197001)) for row in rows]
    assert (plain_columns(rows, LEDGER.id, Edge(0, 0, 1)) is not None) is plain
    together, alone = checked(rows)
    assert together == alone == Edge(5, rows[-1].recorded_at, rows[-1].following_epoch)


def with_a_leaf(row: LogRow) -> list[LogRow]:
    """The row with the leaf that fits it; none where no header has room for it."""
    try:
        return [fitted(row)]
    except NO_ROW:
        return []


@pytest.mark.parametrize("column", LogRow._fields)
@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_a_column_changed_is_found_in_both_ways(column, other):
    true = rows_from(MONTH_END_US - 1000)
    changed = true[2]._replace(**{column: other})
    fitting = with_a_leaf(changed)
    for row in [changed, *fitting]:
        if row == true[2]:
            continue
        together, alone = checked([*true[:2], row, *true[3:]])
        assert together == alone
        # What fits its own leaf is for the tree to tell from what was signed.
        assert isinstance(together[0], str) or (row in fitting and column in TREE_TELLS)


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 0, 1, 2), (0, 2, 3, 4), (1, 2, 3, 4)])
def test_rows_out_of_order_are_found_in_both_ways(order):
    rows = rows_from(MONTH_END_US - 1000)
    together, alone = checked([rows[number] for number in order])
    assert together == alone
    assert isinstance(together[0], str)


def test_a_time_that_stands_still_is_found_in_both_ways():
    rows = rows_from(MONTH_END_US - 1000)
    rows[3] = fitted(rows[3]._replace(recorded_at=rows[2].recorded_at))
    assert checked(rows) == (("time-backwards", 4),) * 2


def test_a_first_row_of_the_time_of_the_one_before_is_found():
    rows = rows_from(MONTH_END_US - 1000)
    edge = Edge(0, rows[0].recorded_at, 1)
    (looked,) = looked_at(OnePage(rows), LEDGER.id, edge, len(rows), keep=False)
    assert (looked.damage.code, looked.damage.position) == ("time-backwards", 1)


def test_a_row_of_the_next_month_in_the_period_of_this_one_is_found_in_both_ways():
    rows = [fitted(row._replace(period=202511)) for row in rows_from(MONTH_END_US - 3)]
    assert checked(rows) == (("wrong-period", 3),) * 2


def test_a_row_that_goes_on_in_an_epoch_that_was_ended_is_found_in_both_ways():
    rows = rows_from(MONTH_END_US - 1000)
    rows[2] = fitted(rows[2]._replace(topic=EPOCH_STARTED))
    assert checked(rows) == (("wrong-epoch", 4),) * 2
