"""An auditor's keyring that is rotations behind answers what it opens, and records nothing.

It lacks the newest epochs because nobody has handed over a new export. Everything else stays as it
is: it reads no value, and whatever would tell a part for the whole is refused.
"""

from __future__ import annotations

import pytest

from tests.tools.conftest import Cli, auditor_of
from tests.tools.test_retention import later  # noqa: F401 # a fixture
from tests.tools.test_verifier import failing

BEHIND = "keyring-behind"


def read(cli: Cli) -> None:
    cli.ok("credential", "get", "payroll", "--as", "user:ann")


def rotate(cli: Cli, times: int) -> None:
    for _ in range(times):
        cli.ok("key", "rotate", "--without-backup")
        read(cli)


def left_behind(cli: Cli) -> Cli:
    """An auditor of before; the epochs 1 and 2 are held, of 4."""
    cli.ok("app", "create", "payroll", "--kind", "individual", "--field", "Password:password")
    cli.set("payroll", "user:ann", Password="p")
    auditor = auditor_of(cli)
    cli.ok("app", "create", "Empty", "--kind", "group", "--member", "user:zoe")
    read(cli)
    rotate(cli, 3)
    return auditor


@pytest.fixture
def ledger(anywhere):
    """One that was read before, between and after three rotations."""
    return anywhere


@pytest.fixture
def behind(ledger):
    return left_behind(ledger)


def asked(cli: Cli, *question: str) -> object:
    """The answer to what cannot be recorded, which is said."""
    answer = cli(*question)
    assert answer.code == 0, answer.err
    assert "was not recorded" in answer.err
    assert "ask an operator for a new export" in answer.err
    return answer.json


def position(cli: Cli) -> int:
    return cli.ok("status")["position"]


def test_it_answers_what_it_opens_and_lists_the_rest_as_unreadable(ledger, behind):
    size = position(ledger)
    told = asked(behind, "audit", "access")
    assert [one["outcome"] for one in told] == ["unreadable"] * 2 + ["granted"] * 2
    assert [one["detail"] for one in told[:2]] == ["key-missing"] * 2
    first = told[-1]["position"]
    assert asked(behind, "audit", "explain", str(first))["outcome"] == "granted"
    checked = asked(behind, "audit", "recheck")
    assert (checked["checked"], checked["wrong"]) == (2, [])
    assert {one["why"] for one in checked["unreadable"]} == {"key-missing"}
    changes = asked(behind, "audit", "changes")
    started = next(one["position"] for one in changes if one["detail"].get("epoch") == 3)
    later_ones = [one["detail"] for one in changes if one["position"] > started]
    assert later_ones and all(one == {"unreadable": "key-missing"} for one in later_ones)
    then = asked(behind, "audit", "who-can", "payroll", "--position", str(first))
    assert [one["claim"] for one in then] == ["user:ann"]
    assert position(ledger) == size
    assert ledger.ok("log", "verify", "--views")["ok"]


def test_a_pack_of_an_archive_says_how_many_records_it_could_not_open(ledger, behind, tmp_path):
    """They are closed on the maker's word, and nothing in the pack speaks against it."""
    folder, archive = tmp_path / "pack", str(tmp_path / "archive")
    ledger.ok("backup", "create", archive)
    words = ("audit", "pack", str(folder), "--with-access")
    behind.fails(6, "auditor-file-behind", *words)
    made = behind(*words, "--archive", archive)
    assert made.code == 0, made.err
    assert "2 access records are closed in it" in made.err
    nothing = {"key-destroyed": 0, "key-destroyed-later": 0}
    assert made.json["closed"] == {**nothing, "key-missing": 2}
    assert (folder / "report.txt").read_text().count("\tclosed: key-missing\n") == 2
    assert failing(folder) == []


def test_what_would_be_a_part_for_the_whole_is_refused(ledger, behind, tmp_path):
    """Counts, judgements of many reads, and rights as they are now."""
    for question in (
        ("access", "--unusual"),
        ("access", "--self-granted"),
        ("exposure", "user:ann"),
        ("review", "--list"),
        ("report", str(tmp_path / "page.html")),
    ):
        error = behind.fails(6, "auditor-file-behind", "audit", *question)
        assert "lacks epochs 3 to 4" in error["message"]
        assert "new export" in error["hint"]
    assert not (tmp_path / "page.html").exists()
    assert asked(behind, "audit", "who-can", "Empty")
    ledger.ok("app", "revoke", "Empty", "member", "user:zoe")
    now = ("Empty", "--position", str(position(ledger)))
    for question in (("--all",), ("payroll",), ("Empty",), now):
        error = behind.fails(6, "key-missing", "audit", "who-can", *question)
        assert "as an auditor, ask an operator for a new export" in error["hint"]


def test_it_is_good_for_questions_only(ledger, behind):
    size = position(ledger)
    for command in (
        ("status",),
        ("app", "list"),
        ("credential", "list"),
        ("key", "status"),
        ("log", "verify", "--views"),
    ):
        error = behind.fails(6, BEHIND, *command)
        assert "lacks epochs 3 to 4" in error["message"]
        assert "new export" in error["hint"]
    error = behind.fails(6, "auditor-file-behind", "replay", "state", "--position", "3")
    assert "lacks epochs 3 to 4" in error["message"]
    error = behind.fails(7, "query-unrecorded", "audit", "access", "--require-record")
    assert "new export" in error["hint"]
    refused = behind("audit", "review", "--until", "now", "--note", "all is well")
    assert refused.code == 6, refused
    assert position(ledger) == size


def test_a_new_export_answers_all_and_is_recorded_again(ledger, behind):
    file = ledger.home / "newer" / "keyring"
    ledger.ok("key", "slot", "export-auditor", "2", str(file))
    size = position(ledger)
    behind.environment["CREDLEDGER_KEYRING"] = str(file)
    told = behind.ok("audit", "access")
    assert [one["outcome"] for one in told] == ["granted"] * 4
    assert position(ledger) == size + 1


def test_one_rotation_behind_nothing_is_lacking(payroll):
    """It holds the next epoch already."""
    payroll.set("payroll", "user:ann", User="ann", Password="p")
    auditor = auditor_of(payroll)
    rotate(payroll, 1)
    size = position(payroll)
    assert [one["outcome"] for one in auditor.ok("audit", "access")] == ["granted"]
    assert position(payroll) == size + 1


def test_a_slot_that_was_removed_since_answers_nothing(ledger, behind):
    """The event that says so does not open, but the end of its signing key is there for all."""
    ledger.ok("key", "slot", "remove", "2", "--mislaid", "--yes")
    behind.fails(6, "slot-removed", "audit", "access")


def test_nothing_is_answered_once_records_are_erased_that_it_may_still_open(
    cli,
    later,  # noqa: F811
):
    """It cannot know which months these are."""
    behind = left_behind(cli)
    for days in range(30, 91, 30):
        later(30)
        cli.ok("app", "update", "payroll", "--name", f"after {days} days")
    cli.ok("key", "retention", "set", "--access-older-than", "31")
    assert len(asked(behind, "audit", "access")) == 4
    assert cli.ok("key", "retention", "apply", "--yes")["records"] == 4
    error = behind.fails(6, BEHIND, "audit", "access")
    assert "new export" in error["hint"]


def test_an_operators_keyring_that_is_behind_answers_nothing(cli):
    """Whoever may change things is not to go by what was."""
    keyring = cli.home / "keys" / "keyring"
    older = keyring.read_bytes()
    for _ in range(2):
        cli.ok("key", "rotate", "--without-backup")
    keyring.write_bytes(older)
    cli.fails(6, BEHIND, "audit", "access")
