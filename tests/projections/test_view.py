"""A view follows the log, is never believed out of place, and is the same however it was made."""

from __future__ import annotations

import pytest

import projections.view
from ledger.errors import KeyUnavailable
from projections.views import Views
from tests.projections.conftest import FULL, OPERATOR, LackingMapper, caller, owner

NAMES = [
    "credential_view",
    "access_history",
    "application_catalogue",
    "key_inventory",
    "application_claims",
]


def positions(views):
    return {view["name"]: view["position"] for view in views.status()}


def test_views_follow_each_append_in_its_own_transaction(busy):
    assert positions(busy.views) == dict.fromkeys(NAMES, busy.size)
    assert all(view["rows"] for view in busy.views.status())


@pytest.mark.parametrize("page_rows", [1, 7, 1000])
def test_live_and_folded_anew_are_the_same_rows_at_any_page_size(busy, monkeypatch, page_rows):
    live = busy.views.digests()
    monkeypatch.setattr(projections.view, "PAGE_ROWS", page_rows)
    busy.views.drop_all()
    assert positions(busy.views) == dict.fromkeys(NAMES, 0)
    busy.views.bring_forward()
    assert busy.views.digests() == live
    assert all(view["same"] for view in busy.views.rebuild())
    assert busy.views.digests() == live


def test_views_hold_digests_positions_and_numbers_only(busy):
    for name in NAMES:
        rows = busy.sql(f"SELECT * FROM {busy.table(name)}")
        assert rows
        for value in (value for row in rows for value in row):
            assert value is None or isinstance(value, int) or len(value) == 16


def test_a_writer_without_views_leaves_them_behind_and_who_asks_brings_them_forward(busy):
    before = positions(busy.views)
    busy.ledger._writer._maintainers = ()
    busy.ledger.set_credentials(OPERATOR, "Payroll", owner("user:dora"), FULL)
    busy.ledger._writer._maintainers = (busy.views,)
    busy.ledger.set_credentials(OPERATOR, "Payroll", owner("user:emil"), FULL)
    assert positions(busy.views) == before
    owners = {one["owner"] for one in busy.views.credentials(application="payroll")}
    assert owners >= {"user:dora", "user:emil"}
    assert all(view["same"] for view in busy.views.rebuild())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE views SET position = position - 1",
        "UPDATE views SET position = position + 1000",
        "UPDATE views SET active = CASE active WHEN 'a' THEN 'b' ELSE 'a' END",
        "UPDATE views SET key_check = x'00'",
        "UPDATE views SET floor = position",
        "UPDATE views SET fold_version = 99",
        "DELETE FROM views",
    ],
)
def test_a_place_that_does_not_fit_its_check_is_never_believed(busy, change):
    digests, answers = busy.views.digests(), busy.views.accesses.newest(limit=0)
    busy.sql(change)
    assert positions(busy.views) == dict.fromkeys(NAMES, 0)
    # An append goes on all the same and leaves such views behind.
    busy.read(caller("user:alice"), "Payroll")
    assert positions(busy.views) == dict.fromkeys(NAMES, 0)
    assert busy.views.accesses.newest(limit=0)[1:] == answers
    busy.views.bring_forward()
    assert positions(busy.views) == dict.fromkeys(NAMES, busy.size)
    changed = {name for name, digest in busy.views.digests().items() if digest != digests[name]}
    assert changed == {"access_history"}
    assert all(view["same"] for view in busy.views.rebuild())


def test_a_row_planted_ahead_of_the_log_does_not_stop_an_append(busy):
    table, ahead = busy.table("access_history"), busy.size + 1
    busy.sql(f"INSERT INTO {table} VALUES (?, x'01', NULL, x'02', x'03', 1)", ahead)
    assert busy.read(caller("user:alice"), "Payroll") == ahead
    (newest,) = busy.views.accesses.newest(limit=1)
    assert (newest["position"], newest["caller"]) == (ahead, "user:alice")
    assert all(view["same"] for view in busy.views.rebuild())


def test_a_keyring_that_lacks_a_key_does_not_move_views_past_what_it_cannot_open(busy):
    digests = busy.views.digests()
    records = [one["position"] for one in busy.views.accesses.newest(limit=0)]
    first_lacking = sorted(records)[2]
    busy.views.drop_all()
    stale = Views(
        busy.store,
        LackingMapper(busy.mapper, lambda row: row.position >= first_lacking),
        busy.ledger._desk.streams,
    )
    with pytest.raises(KeyUnavailable):
        stale.accesses.newest()
    assert positions(busy.views)["access_history"] == first_lacking - 1
    assert busy.views.accesses.newest(limit=0)[0]["position"] == max(records)
    busy.views.bring_forward()
    assert busy.views.digests() == digests


def test_a_record_whose_key_was_destroyed_has_no_row(busy):
    gone = [one["position"] for one in busy.views.accesses.newest(limit=2)]
    eraser = LackingMapper(busy.mapper, lambda row: row.position in gone, "key-destroyed")
    views = Views(busy.store, eraser, busy.ledger._desk.streams)
    views.rebuild("access_history")
    assert positions(views)["access_history"] == busy.size
    left = [one["position"] for one in views.accesses.newest(limit=0)]
    assert left
    assert not set(gone) & set(left)


def test_another_process_with_the_same_keys_reads_the_same_views(busy):
    store = busy.house.store()
    other = Views(store, busy.mapper, busy.ledger._desk.streams)
    assert other.digests() == busy.views.digests()
    assert other.credentials() == busy.views.credentials()
