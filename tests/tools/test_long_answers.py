"""Answers about the history that are longer than a page: the same, recorded page by page."""

from __future__ import annotations

import json
from weakref import WeakSet

import pytest

import projections.accesses
import projections.changes
import projections.stretch
import tools.showing.listing
from tests.tools.conftest import found

READS = 7


def history(cli):
    field = ("--field", "Password:password")
    cli.ok("app", "create", "Mail", "--kind", "individual", *field)
    cli.set("Mail", "user:alice", Password="p")
    for _ in range(READS - 1):
        cli.ok("credential", "get", "Mail", "--as", "user:alice")
    cli.fails(4, "access-denied", "credential", "get", "nothing", "--as", "user:bob")


@pytest.fixture
def read(begun):
    """Seven attempts, the last of them refused."""
    return begun(found, history)


@pytest.fixture
def small_pages(monkeypatch):
    """Three rows at a time, and as many in each part that is walked over."""
    monkeypatch.setattr(tools.showing.listing, "PAGE_ROWS", 3)
    monkeypatch.setattr(projections.stretch, "_PART_ROWS", 3)


def recorded(cli, question):
    """What was recorded of the questions of a kind, in order: the filter and number of rows."""
    text = cli("audit", "export", "--format", "jsonl", json_wanted=False).text
    rows = [json.loads(line) for line in text.splitlines()]
    told = [row["detail"] for row in rows if row["event"] == "audit.queried"]
    return [
        (json.loads(one["filter"].removeprefix(question) or "{}"), one["rows"])
        for one in told
        if one["filter"].split(" ")[0] == question
    ]


@pytest.mark.parametrize("question", ["access", "changes"])
@pytest.mark.parametrize("how", [(), ("--json",)])
def test_it_is_the_same_in_pages_and_each_is_recorded(read, request, question, how):
    """With its rows, and the position behind which it goes on; none is lost or told twice."""
    asked = ("audit", question, "--limit", "0")
    whole = read(*asked, *how, json_wanted=False)
    rows = [one["position"] for one in read(*asked).json]
    before = len(recorded(read, question))
    request.getfixturevalue("small_pages")
    parted = read(*asked, *how, json_wanted=False)
    assert (parted.code, parted.err) == (0, whole.err)
    if how:
        assert parted.out == whole.out
    else:
        # A column that only some rows need is there where further pages may need it.
        kept = [line.split("\t")[:8] for line in whole.text.splitlines()]
        assert [line.split("\t")[:8] for line in parted.text.splitlines()] == kept
    told = recorded(read, question)[before:]
    assert [count for _, count in told] == [len(rows[at : at + 3]) for at in range(0, len(rows), 3)]
    assert [one.get("after") for one, _ in told] == [None, *rows[2:-1:3]]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("limit", [2, 3, 4, 6])
def test_a_limit_is_kept_whatever_the_pages_are(read, limit):
    """And it is said that there are more."""
    answer = read("audit", "access", "--limit", str(limit))
    assert len(answer.json) == limit
    assert (
        f"more than {limit} rows: go on with --after {answer.json[-1]['position']};" in answer.err
    )
    assert sum(count for _, count in recorded(read, "access")) == limit


class Row(dict):
    """A row that can be looked after, as a plain dict cannot."""

    __hash__ = object.__hash__


MADE = {
    "access": (projections.accesses, "access_document"),
    "changes": (projections.changes, "change_document"),
}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("question", MADE)
def test_no_more_rows_are_held_than_two_pages(read, monkeypatch, question):
    """However many the answer has: those that were printed last, and those that come next."""
    for number in range(8):
        read.ok("app", "update", "Mail", "--name", f"Mail {number}")
        read.ok("credential", "get", "Mail", "--as", "user:alice")
    module, name = MADE[question]
    made, held, at_once = getattr(module, name), WeakSet(), []

    def kept_in_sight(*recorded):
        row = Row(made(*recorded))
        held.add(row)
        at_once.append(len(held))
        return row

    monkeypatch.setattr(module, name, kept_in_sight)
    rows = read.ok("audit", question)
    assert len(at_once) == len(rows) >= 12
    assert max(at_once) <= 3 + 3
