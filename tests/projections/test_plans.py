"""What is asked often is found by an index: no statement of it goes through a whole table.

Small tables make a server read them whole because that is quicker, so it is told to avoid that:
where it does all the same, no index would help. A scan of an index without a condition is one of
the whole table, too, unless it ends after a few rows.
"""

from __future__ import annotations

import re

import pytest

from ledger.claims import parse_claim
from ledger.log.postgresql.snapshot import PostgresqlConnection
from ledger.log.proving import Prover
from ledger.log.sqlite import SqliteConnection
from projections.tiles import StoredTiles

GROWING = re.compile(
    r"(log|commits|tiles|(access_history|credential_view|application_claims)_[ab])"
)
LOOKED_THROUGH = {"commits"}
"""Heads are looked through from the newest on, until the first that an operator signed."""
ALICE = "user:alice"


def prove(world):
    with world.store.reading() as reading:
        ledger = reading.ledger()
    Prover(world.store, ledger, StoredTiles(world.store)).inclusion(2)


QUESTIONS = {
    "latest": lambda world: world.views.accesses.newest(user=ALICE, limit=100),
    "latest of an owner": lambda world: world.views.accesses.newest(owner=ALICE, limit=100),
    "latest of an application": lambda world: world.views.accesses.newest(
        application="payroll", limit=100
    ),
    "latest refused": lambda world: world.views.accesses.newest(outcome="denied", limit=100),
    "exposure": lambda world: world.views.exposure(ALICE),
    "one application": lambda world: world.views.owners(world.ledger.application("payroll")),
    "all applications": lambda world: list(world.views.matrix()),
    "one person": lambda world: world.views.set_for_owner(
        parse_claim(ALICE), world.views.reachable([parse_claim(ALICE)])
    ),
    "a group's": lambda world: world.views.set_for_groups(
        world.views.reachable([parse_claim("group:finance")])
    ),
    "a proof": prove,
}


@pytest.fixture
def asked(monkeypatch):
    """Every SELECT that is asked of either engine, once each."""
    seen = {}

    def noting(original):
        def execute(self, statement, parameters=()):
            if statement.startswith("SELECT"):
                seen.setdefault(statement, tuple(parameters))
            return original(self, statement, parameters)

        return execute

    for connection in (SqliteConnection, PostgresqlConnection):
        monkeypatch.setattr(connection, "execute", noting(connection.execute))
    return seen


def read_whole_in_file(connection, statement, parameters):
    """The growing tables that SQLite goes through; of one in order of its key it says so, too."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    lines = " \n".join(line[-1] for line in plan)
    scanned = re.findall(r"SCAN (\w+)", lines)
    # A view that is searched by nothing but where it begins is gone through, too.
    scanned += re.findall(r"SEARCH (\w+_[ab]) [^(]*\([^=)]*\)", lines)
    return {one for one in scanned if GROWING.fullmatch(one)} - LOOKED_THROUGH


def read_whole_on_server(connection, statement, parameters):
    """The same of PostgreSQL."""
    ((plan,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    found = set()

    def walk(node, parent):
        kind, table = node["Node Type"], node.get("Relation Name", "")
        condition = node.get("Index Cond", node.get("Recheck Cond", ""))
        few = parent == "Limit" and "Filter" not in node
        bounded = " = " in condition or few
        if GROWING.fullmatch(table) and (kind == "Seq Scan" or not bounded):
            found.add(table)
        for one in node.get("Plans", ()):
            walk(one, kind)

    walk(plan[0]["Plan"], None)
    return found - LOOKED_THROUGH


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_goes_through_a_whole_table(busy, asked, question):
    """Of the log, of tiles and of views that grow with it."""
    QUESTIONS[question](busy)
    statements = dict(asked)
    assert any(GROWING.search(one) for one in statements)
    read_whole = read_whole_on_server if busy.house.on_server else read_whole_in_file
    with busy.store.reading() as reading:
        if busy.house.on_server:
            reading.connection.run(b"SET LOCAL enable_seqscan = off")
        found = {
            statement: read_whole(reading.connection, statement, parameters)
            for statement, parameters in statements.items()
        }
    assert {statement: tables for statement, tables in found.items() if tables} == {}


@pytest.mark.parametrize("rest", ["", " AND position > 0 ORDER BY position DESC LIMIT 100"])
def test_one_that_does_is_noticed(busy, asked, rest):
    """A condition that no index serves, and one that only says where to begin."""
    with busy.store.reading() as reading:
        table = busy.table("access_history")
        statement = f"SELECT position FROM {table} WHERE outcome + 1 = ?{rest}"
        if busy.house.on_server:
            reading.connection.run(b"SET LOCAL enable_seqscan = off")
            found = read_whole_on_server(reading.connection, statement, (7,))
        else:
            found = read_whole_in_file(reading.connection, statement, (7,))
    assert found == {table}
