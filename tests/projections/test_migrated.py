"""A store of before, in which views lie in tables of another form: it serves, and is migrated."""

from __future__ import annotations

from contextlib import closing

import pytest

from ledger.log import sqlite
from ledger.log.migrations import migrations_of
from ledger.usecases.acting import Acting
from tests.conftest import new_house
from tests.ledger.test_rotation import LIVE, fill, rotate

_FORM = "SELECT sql FROM sqlite_master WHERE name = ?"


@pytest.fixture
def house_of_before(tmp_path, monkeypatch):
    """Its mappings do not lie in order of their streams."""

    def steps(package, engine):
        return [one for one in migrations_of(package, engine) if one.name[:4] < "0004"]

    with monkeypatch.context() as before:
        before.setattr(sqlite, "migrations_of", steps)
        house = new_house(tmp_path)
        house.found()
    fill(house)
    yield house
    house.close()


def lie_by_stream(store) -> bool:
    with store.reading() as reading:
        forms = [
            reading.connection.execute(_FORM, (f"{view}_{side}",))[0][0]
            for view in ("credential_view", "key_inventory")
            for side in "ab"
        ]
    found = {form.endswith("WITHOUT ROWID") for form in forms}
    assert len(found) == 1
    return found.pop()


def test_views_that_do_not_lie_by_stream_serve_until_they_do(house_of_before):
    """Nobody takes them for somebody else's tables, and what is in them is kept."""
    ledger = house_of_before.open()
    assert rotate(ledger).resealed == len(LIVE)
    assert ledger.views.interposed() == ()
    digests = ledger.views.digests()
    with closing(house_of_before.store()) as store:
        assert not lie_by_stream(store)
        store.create()
        assert lie_by_stream(store)
        store.create()
    assert ledger.views.interposed() == ()
    assert ledger.views.digests() == digests
    assert ledger.views.epochs() == {2: len(LIVE)}
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.delete_application(Acting(), "CRM")
    assert ledger.views.epochs() == {}
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()
