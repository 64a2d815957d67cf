"""Questions to a log whose heads were taken away, so that one commit is longer than is held."""

from __future__ import annotations

import pytest

import projections.streams
import projections.stretch
from ledger.errors import Tampered
from ledger.log import columns
from ledger.log.following import Follower
from projections.changes import changes
from projections.moment import state_at
from projections.streams import Walk
from tests.faults.test_tampering import attack


@pytest.fixture
def by_twos(monkeypatch):
    monkeypatch.setattr(columns, "PAGE_ROWS", 2)
    monkeypatch.setattr(projections.streams, "_WALK_PAGE_ROWS", 2)
    monkeypatch.setattr(projections.stretch, "_PART_ROWS", 3)
    monkeypatch.setitem(Follower.__init__.__kwdefaults__, "held_rows", 2)


def answers(world):
    store, mapper = world.store, world.mapper
    return (
        list(changes(store, mapper)),
        [one["position"] for one in changes(store, mapper, after=9)],
        state_at(store, mapper, position=world.size),
        [one.row for one in Walk(store, mapper, after_position=7).rows()],
    )


def test_questions_are_answered_as_before(busy, by_twos):
    """And nobody is told of a head that there is not."""
    before, size = answers(busy), busy.size
    attack(busy.house, f"DELETE FROM commits WHERE size < {size}")
    assert answers(busy) == before
    heads = {one.head_size for one in Walk(busy.store, busy.mapper).rows()}
    assert heads == {size}


def test_a_walk_from_the_end_looks_for_the_way_once(busy, by_twos, monkeypatch):
    """However many its parts are: each of them reads its own rows and a few before."""
    size = busy.size
    attack(busy.house, f"DELETE FROM commits WHERE size < {size}")
    looked = []
    monkeypatch.setattr(
        projections.streams.Follower,
        "_gone_over_twice",
        lambda *told, once=Follower._gone_over_twice: looked.append(told[2].size) or once(*told),
    )
    assert len(list(changes(busy.store, busy.mapper))) > 3
    assert looked == [0]


def test_nothing_is_told_before_the_last_row_fits(busy, by_twos):
    size = busy.size
    attack(
        busy.house,
        f"DELETE FROM commits WHERE size < {size}",
        f"UPDATE log SET recorded_at = recorded_at + 1 WHERE position = {size}",
    )
    told = []
    with pytest.raises(Tampered) as caught:
        told.extend(changes(busy.store, busy.mapper))
    with pytest.raises(Tampered):
        told.extend(Walk(busy.store, busy.mapper).rows())
    assert (caught.value.code, caught.value.position, told) == ("altered-row", size, [])


@pytest.mark.parametrize("are_long", [False, True])
def test_a_log_that_is_cut_off_between_two_parts_has_no_rows_left_out(busy, by_twos, are_long):
    """The answer went on below, so nobody saw that its middle was missing."""
    size = busy.size
    if are_long:
        attack(busy.house, f"DELETE FROM commits WHERE size < {size}")
    told = changes(busy.store, busy.mapper)
    newest = next(told)["position"]
    cut = newest - 4
    attack(
        busy.house,
        f"DELETE FROM log WHERE position > {cut}",
        f"DELETE FROM commits WHERE size > {cut}",
    )
    with pytest.raises(Tampered) as caught:
        list(told)
    assert caught.value.code == "rolled-back"
