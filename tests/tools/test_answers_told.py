"""The shapes of JSON answers that the help tells are those that commands print."""

from __future__ import annotations

import re

import pytest

from tools.cli.command import WITH_JSON


def told(cli, *command):
    """The names that a command's help tells of its answer, before what it says of options."""
    words = " ".join(cli(*command, "--help", json_wanted=False).text.split())
    shape = words.partition(" ".join(WITH_JSON.split()))[2].partition("Example:")[0]
    return set(re.findall(r'"(\w+)"', shape.partition("; with")[0]))


def names(answer):
    """All names in a document, but for those of what an event itself tells."""
    if isinstance(answer, list):
        return set().union(*map(names, answer))
    if isinstance(answer, dict):
        below = (names(value) for name, value in answer.items() if name not in {"detail", "filter"})
        return set(answer).union(*below)
    return set()


@pytest.mark.parametrize(
    "command",
    [
        ("app", "mine", "--as", "user:ann"),
        ("app", "fields", "payroll"),
        ("app", "claims", "payroll"),
        ("audit", "access"),
        ("audit", "changes"),
        ("audit", "tickets"),
        ("audit", "questions"),
        ("audit", "recheck"),
        ("log", "verify"),
        ("log", "events"),
        ("log", "checkpoint"),
    ],
    ids=" ".join,
)
def test_the_help_tells_the_shape_of_the_answer(payroll, command):
    payroll.set("payroll", "user:ann", User="ann", Password="p")
    payroll.ok("credential", "get", "payroll", "--as", "user:ann")
    payroll.ok("ticket", "issue", "--as", "user:ann")
    payroll.ok("audit", "access", "--user", "user:ann")
    shape = told(payroll, *command)
    assert len(shape) >= 3
    printed = names(payroll.ok(*command))
    assert printed <= shape
    deeper = {"recorded", "recomputed", "why", "from", "to", "position"}  # of what is amiss
    assert shape - printed <= (deeper if command == ("audit", "recheck") else set())
