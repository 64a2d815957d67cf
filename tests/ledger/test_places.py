"""Whether something is at a path, where that can be looked at and where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.places import is_missing, is_there

PLACES = {
    "nothing": (True, False),
    "file": (False, True),
    "file/below": (True, False),
    "circle": (True, False),
    "unseen": (False, False),
}


@pytest.mark.parametrize("exists", ["raises", "answers"])
@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_nobody_can_look_at_is_neither_there_nor_missing(
    tmp_path, monkeypatch, name, exists
):
    """Since Python 3.14 `Path.exists` answers False there, as `os.path.exists` always did."""
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "unseen").symlink_to("x" * 300)
    if exists == "answers":
        monkeypatch.setattr(Path, "exists", os.path.exists)
    place = tmp_path / name
    assert (is_missing(place), is_there(place)) == PLACES[name]


def test_nothing_is_at_a_path_that_none_can_be():
    assert is_missing(Path("a\0b"))
