"""A rebuild compares like with like, whatever others append, and mends what was altered."""

from __future__ import annotations

import pytest

import ledger.log.pace
import projections.rebuilding
import projections.view
from ledger.errors import Conflict, InvalidInput
from tests.projections.conftest import FULL, OPERATOR, caller, owner


def test_a_rebuild_switches_tables_and_keeps_the_digest(busy):
    before = {name: busy.table(name) for name in busy.views.digests()}
    digests = busy.views.digests()
    for _ in range(2):
        for view in busy.views.rebuild():
            assert view["same"]
            assert view["digest_before"] == view["digest_after"] == digests[view["name"]]
    assert {name: busy.table(name) for name in before} == before
    busy.views.rebuild("access_history")
    assert busy.table("access_history") != before["access_history"]


@pytest.fixture
def small_pages(monkeypatch):
    """Pages so small that a rebuild of a few dozen events takes several."""
    monkeypatch.setattr(projections.view, "PAGE_ROWS", 5)
    monkeypatch.setattr(ledger.log.pace, "CALM_ROWS", 5)
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 5)


@pytest.mark.parametrize("snapshots", [0, 5])
def test_appends_during_a_rebuild_are_in_both_digests(busy, small_pages, monkeypatch, snapshots):
    monkeypatch.setattr(projections.rebuilding, "_SNAPSHOTS", snapshots)
    told, left = [], [3]

    def progress(done, total):
        told.append((done, total))
        # Also after the last page, when the tables are switched already.
        if left[0] or done == total:
            left[0] -= 1
            busy.ledger.set_credentials(OPERATOR, "Payroll", owner(f"user:n{len(told)}"), FULL)
            busy.read(caller("user:alice"), "Payroll")

    for view in busy.views.rebuild(progress=progress):
        assert view["same"], view
    assert all(done <= total for done, total in told)
    assert busy.views.accesses.newest(limit=1)[0]["position"] == busy.size
    assert all(view["same"] for view in busy.views.rebuild())


def test_a_rebuild_ends_though_others_append_each_time_it_looks(busy, small_pages, monkeypatch):
    """The end of the log is taken in under the lock, where it holds still."""
    read_page, looks, locked = projections.rebuilding.read_page, [], []

    class Watched(ledger.log.pace.Pace):
        def take_lock(self):
            super().take_lock()
            locked.append(True)

        def let_go(self, last):
            locked.clear()
            super().let_go(last)

    def looking(*asked):
        page = read_page(*asked)
        if not locked:
            looks.append(page.last)
            assert len(looks) < 100, "the rebuild never ends"
            busy.ledger.retrieve(caller("user:alice"), "Payroll")
        return page

    monkeypatch.setattr(projections.rebuilding, "Pace", Watched)
    monkeypatch.setattr(projections.rebuilding, "read_page", looking)
    assert all(view["same"] for view in busy.views.rebuild())
    assert len(looks) > 2


@pytest.fixture
def growing_pages(monkeypatch):
    """Pages that grow as long as nobody appends, of a few dozen events."""
    monkeypatch.setattr(ledger.log.pace, "CALM_ROWS", 8)
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 2)
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS_MIN", 2)


def asked_pages(monkeypatch):
    """Where pages begin that a rebuild reads, and how many rows it asks for."""
    read_page, asked = projections.rebuilding.read_page, []

    def noting(reading, opening, position, prefixes, rows=None):
        asked.append((position, rows))
        return read_page(reading, opening, position, prefixes, rows)

    monkeypatch.setattr(projections.rebuilding, "read_page", noting)
    return asked


def test_a_quiet_log_is_read_ahead_and_each_page_once(busy, growing_pages, monkeypatch):
    """What is read while a page is written goes on where that ends."""
    asked = asked_pages(monkeypatch)
    assert all(view["same"] for view in busy.views.rebuild())
    positions = [position for position, rows in asked]
    assert positions == sorted(set(positions))
    assert max(rows for _, rows in asked) == 8


def test_what_was_read_ahead_is_read_anew_in_small_once_others_append(
    busy, growing_pages, monkeypatch
):
    """Nobody who appends waits for a page that was cut for an empty house."""
    asked, told = asked_pages(monkeypatch), []

    def progress(done, total):
        told.append(done)
        if len(told) == 1:
            busy.ledger.set_credentials(OPERATOR, "Payroll", owner("user:late"), FULL)

    assert all(view["same"] for view in busy.views.rebuild(progress=progress))
    assert told[:3] == [8, 16, 18]
    assert [rows for position, rows in asked if position == 16] == [8, 2]


def test_the_later_of_two_rebuilds_wins(busy, small_pages):
    second = []

    def progress(done, total):
        if not second:
            second.append(None)
            second.extend(busy.views.rebuild("access_history"))

    with pytest.raises(Conflict) as caught:
        busy.views.rebuild("access_history", progress)
    assert caught.value.code == "rebuild-overtaken"
    assert second[1]["same"]
    assert busy.views.rebuild("access_history")[0]["same"]


def test_a_killed_rebuild_leaves_the_view_serving(busy, small_pages):
    answers = busy.views.accesses.newest(limit=0)

    def killed(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        busy.views.rebuild("access_history", killed)
    assert busy.views.accesses.newest(limit=0) == answers
    assert busy.views.rebuild("access_history")[0]["same"]


@pytest.mark.parametrize(
    "name",
    [
        "credential_view",
        "access_history",
        "application_catalogue",
        "key_inventory",
        "application_claims",
    ],
)
def test_a_row_taken_away_shows_and_is_mended(busy, name):
    digest = busy.views.digests()[name]
    table, key = busy.table(name), busy.views._keepers[name].key
    busy.sql(f"DELETE FROM {table} WHERE {key} = (SELECT {key} FROM {table} ORDER BY 1 LIMIT 1)")
    (found,) = busy.views.rebuild(name)
    assert not found["same"]
    assert found["digest_after"] == digest != found["digest_before"]
    assert busy.views.rebuild(name)[0]["same"]


def test_a_view_with_a_broken_place_is_compared_as_it_was_found(busy):
    busy.sql("UPDATE views SET key_check = x'00'")
    assert all(view["same"] for view in busy.views.rebuild())
    busy.sql(f"DELETE FROM {busy.table('access_history')}")
    busy.sql("UPDATE views SET key_check = x'00'")
    same = {view["name"]: view["same"] for view in busy.views.rebuild()}
    assert [name for name in same if not same[name]] == ["access_history"]
    assert all(view["same"] for view in busy.views.rebuild())


def test_there_is_no_other_view(busy):
    with pytest.raises(InvalidInput) as caught:
        busy.views.rebuild("secrets")
    assert caught.value.code == "unknown-view"
