"""All applications and who owns in them, in order, a page at a time, and no more held than that."""

from __future__ import annotations

import gc

import pytest

import projections.matrix
import projections.views
from ledger.aggregates.application import Application
from ledger.errors import Tampered
from ledger.log.postgresql.snapshot import PostgresqlConnection
from ledger.log.sqlite import SqliteConnection
from tests.projections.conftest import OPERATOR, PAIR, owner


def make(world, numbers, owners=2):
    for number in numbers:
        name = f"Desk {number:03}"
        world.ledger.create_application(OPERATOR, name, kind="individual")
        for one in range(owners):
            world.ledger.set_credentials(OPERATOR, name, owner(f"user:p{one}"), PAIR)


def plainly(world):
    """The definition: application by application, mapping by mapping."""
    return [
        (
            state.application,
            {one["owner"] for one in world.views.credentials(application=state.application)},
        )
        for state in world.views.applications()
    ]


def told(cells):
    return [(state.application, owners) for state, owners in cells]


@pytest.fixture
def small_pages(monkeypatch):
    """Three applications, and two mappings, at a time."""
    monkeypatch.setattr(projections.matrix, "PAGE_APPLICATIONS", 3)
    monkeypatch.setattr(projections.views, "PAGE_APPLICATIONS", 3)
    for module in (projections.matrix, projections.views):
        monkeypatch.setattr(module, "_PAGE", 2)


@pytest.mark.usefixtures("small_pages")
def test_it_is_what_asking_one_after_the_other_gives(busy):
    """Whatever ends a page: an application, some of its owners, or the last of all."""
    assert told(busy.views.matrix()) == plainly(busy)
    make(busy, range(7), owners=3)
    busy.ledger.delete_application(OPERATOR, "Desk 002")
    busy.ledger.create_application(OPERATOR, "desk 002", kind="individual")
    busy.ledger.delete_credentials(OPERATOR, "Desk 004", owner("user:p1"))
    found = told(busy.views.matrix())
    assert found == plainly(busy)
    assert dict(found)["desk 002"] == set()
    assert dict(found)["Desk 004"] == {"user:p0", "user:p2"}
    states = [state for state, _ in busy.views.matrix()]
    assert busy.views.owners_in(states) == {one.key: busy.views.owners(one) for one in states}
    assert busy.views.owners_in([]) == {}


def test_an_empty_ledger_has_none(world):
    """Not even a page."""
    assert list(world.views.matrix()) == []


@pytest.mark.usefixtures("small_pages")
def test_no_more_than_a_page_of_applications_is_held(world):
    """However many there are: those of the page at hand, and the one that was given last."""
    make(world, range(12), owners=0)
    gc.collect()
    before = sum(isinstance(one, Application) for one in gc.get_objects())
    held = []
    for cell in world.views.matrix():
        del cell
        held.append(sum(isinstance(one, Application) for one in gc.get_objects()) - before)
    assert len(held) == 12
    assert max(held) <= 3 + 1


def test_no_statement_is_about_one_application_alone(world, monkeypatch):
    """Twenty of one page are asked for in as many statements as ten."""
    statements = []

    def noting(original):
        def execute(self, statement, parameters=()):
            statements.append(statement)
            return original(self, statement, parameters)

        return execute

    for connection in (SqliteConnection, PostgresqlConnection):
        monkeypatch.setattr(connection, "execute", noting(connection.execute))

    def asked():
        statements.clear()
        assert list(world.views.matrix())
        return len(statements)

    make(world, range(11))
    eleven = asked()
    make(world, range(11, 22))
    assert asked() == eleven


@pytest.mark.usefixtures("small_pages")
def test_what_is_deleted_between_two_pages_is_left_out(world):
    """And what is made meanwhile does not come."""
    make(world, range(6), owners=1)
    cells = world.views.matrix()
    first = next(cells)
    world.ledger.delete_application(OPERATOR, "Desk 004")
    make(world, [6], owners=1)
    found = told([first, *cells])
    assert [name for name, _ in found] == [f"Desk {number:03}" for number in (0, 1, 2, 3, 5)]


NAMED = " WHERE application = ?"
MOVED = (
    "UPDATE {application_catalogue} SET stream = ?"
    " WHERE stream = (SELECT min(stream) FROM {application_catalogue})"
)
CHANGES = {
    "creation": ("UPDATE {application_catalogue} SET creation = ?", 7),
    "stream": (MOVED, bytes(16)),
    "position": ("UPDATE {credential_view} SET position = ?", 1),
    "owner's": ("UPDATE {credential_view} SET application = ?" + NAMED, "Finance", "Payroll"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_view_that_was_changed_is_not_believed(busy, change):
    """A row that does not lead to what it says is tampering."""
    statement, *values = CHANGES[change]
    tables = {name: busy.table(name) for name in ("application_catalogue", "credential_view")}
    values = [busy.digest("application", one) if isinstance(one, str) else one for one in values]
    busy.sql(statement.format(**tables), *values)
    with pytest.raises(Tampered) as caught:
        list(busy.views.matrix())
    assert caught.value.code == "view-astray"
