"""Many rows leave a view by one number and are swept away in pages; nobody sees them in between."""

from __future__ import annotations

import os

import pytest

import ledger.log.pace
from ledger.codec.mapper import EventMapper
from ledger.log.pace import Pace
from ledger.usecases.acting import Acting
from projections.place import SIDES
from projections.view import ViewKeeper
from projections.views import Views
from tests.ledger.test_retention import (  # noqa: F401 # `grown` is a fixture
    grown,
    held,
    of_months,
    opened,
    require_whole,
    seen,
)

OPERATOR = Acting(reason="by law")
GONE = (0, 1, 2)
ROWS = 2


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """So that a handful of rows takes several pages."""
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", ROWS)
    monkeypatch.setattr(ledger.log.pace, "CALM_ROWS", ROWS)


def lying(house):
    """The positions that each of the two tables holds, seen past the ledger."""
    return [
        [position for (position,) in house.sql(f"SELECT position FROM access_history_{side}")]
        for side in SIDES
    ]


def erased(house):
    """An open ledger right after the erasure, which nobody has asked anything since."""
    opening = opened(house)
    opening.retention.apply(OPERATOR)
    return opening


def test_the_event_that_erases_takes_no_row_away(grown):  # noqa: F811
    """However many there are, the lock is held for one number; what is seen is without them."""
    before = lying(grown)
    erasing = erased(grown)
    assert lying(grown) == before
    (status,) = [one for one in erasing.views.status() if one["name"] == "access_history"]
    assert status["rows"] == len(of_months(grown, 3))
    digest = erasing.views.digests()
    assert seen(erasing) == of_months(grown, 3)
    assert [sorted(rows) for rows in lying(grown)] == [of_months(grown, 3), []]
    assert erasing.views.digests() == digest
    erasing.close()
    require_whole(grown, 3)


def test_what_was_erased_is_swept_out_of_the_table_that_does_not_serve_too(grown):  # noqa: F811
    """It was left there by a rebuild, and holds digests of people as the other one does."""
    rebuilding = opened(grown)
    rebuilding.views.rebuild()
    assert [len(rows) for rows in lying(grown)] == [len(of_months(grown, *GONE, 3))] * 2
    rebuilding.close()
    erasing = erased(grown)
    erasing.views.bring_forward()
    assert [sorted(rows) for rows in lying(grown)] == [of_months(grown, 3)] * 2
    erasing.close()
    require_whole(grown, 3)


class Cut(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("pages", range(1, 4))
def test_a_sweep_that_was_cut_off_is_finished_by_whoever_asks_next(
    grown,  # noqa: F811
    monkeypatch,
    pages,
):
    """The view and its digest are the same with what is left and without it."""
    erasing = erased(grown)
    digests, done = erasing.views.digests(), []
    let_go = Pace.let_go

    def cutting(self, last):
        done.append(last)
        if len(done) == pages:
            raise Cut
        let_go(self, last)

    with monkeypatch.context() as patched:
        patched.setattr(Pace, "let_go", cutting)
        with pytest.raises(Cut):
            erasing.views.bring_forward()
    assert len(lying(grown)[0]) == len(of_months(grown, *GONE, 3)) - pages * ROWS
    assert erasing.views.digests() == digests
    assert all(view["same"] for view in erasing.views.rebuild())
    assert erasing.views.digests() == digests
    erasing.close()
    require_whole(grown, 3)


def test_a_page_of_the_sweep_is_as_small_as_the_pace_allows(grown, monkeypatch):  # noqa: F811
    """Those who append come in between."""
    erasing = erased(grown)
    sizes, sweep = [], ViewKeeper._sweep_some

    def counted(self, connection, side, floor, rows):
        sizes.append(rows)
        sweep(self, connection, side, floor, rows)

    monkeypatch.setattr(ViewKeeper, "_sweep_some", counted)
    erasing.views.bring_forward()
    assert len(sizes) >= 2 * len(of_months(grown, *GONE)) // ROWS
    assert set(sizes) == {ROWS}
    sizes.clear()
    assert seen(erasing) == of_months(grown, 3)
    assert sizes == []
    erasing.close()


def test_a_rebuild_beside_an_erasure_agrees_with_it(grown, monkeypatch):  # noqa: F811
    """The table that is filled meets the event on its way, or takes it in at the end."""
    from projections.rebuilding import Rebuild

    erasing, fill, begun = opened(grown), Rebuild._take_in, []

    def overtaken(self, writing, keeper, served, position, last, operations):
        fill(self, writing, keeper, served, position, last, operations)
        begun.append(position)

    def silent_and_erasing(done, total):
        if len(begun) >= 2 and erasing.retention.state().until == 0:
            erasing.retention.apply(OPERATOR)

    monkeypatch.setattr(Rebuild, "_take_in", overtaken)
    views = opened(grown).views.rebuild("access_history", silent_and_erasing)
    assert erasing.retention.state().until > 0
    assert all(view["same"] for view in views)
    erasing.close()
    require_whole(grown, 3)


def test_rows_that_cannot_be_swept_hold_nobody_up(grown):  # noqa: F811
    """A trigger of somebody else's keeps them, and the view is without them all the same."""
    if grown.on_server:
        grown.sql(
            "CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RETURN NULL; END $$"
        )
        grown.sql(
            "CREATE TRIGGER kept BEFORE DELETE ON access_history_a FOR EACH ROW"
            " EXECUTE FUNCTION kept()"
        )
    else:
        grown.sql(
            "CREATE TRIGGER kept BEFORE DELETE ON access_history_a BEGIN SELECT RAISE(IGNORE); END"
        )
    erasing = erased(grown)
    assert seen(erasing) == of_months(grown, 3)
    assert len(lying(grown)[0]) == len(of_months(grown, *GONE, 3))
    erasing.close()


def test_who_still_holds_the_keys_folds_to_the_same(grown):  # noqa: F811
    """A record that opens has no row either, on whichever page of a rebuild its erasure comes."""
    with_keys = held(grown)
    erasing = erased(grown)
    erasing.views.bring_forward()
    digests = erasing.views.digests()
    mapper = EventMapper(with_keys.ledger_id, with_keys.key_set(), os.urandom)
    mapper.start(erasing.key_history().first_periods)
    old = of_months(grown, 0)[0]
    with grown.store().reading() as reading:
        assert mapper.open(reading.row_at(old)).position == old
    views = Views(grown.store(), mapper, with_keys.stream_names())
    assert all(view["same"] for view in views.rebuild())
    assert views.digests() == digests
    assert [one["position"] for one in views.accesses.newest(limit=None)] == of_months(grown, 3)[
        ::-1
    ]
    erasing.close()
    require_whole(grown, 3)
