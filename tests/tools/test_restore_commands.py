"""`replay restore` and `credential restore --dry-run` as people and scripts use them."""

from __future__ import annotations

import json

import pytest

import tools.recovering.restoring
from ledger.usecases.restorer import Restorer
from tests.tools.test_terminal import typed

CANARY = "canary-5d20-secret"


@pytest.fixture
def mistaken(payroll):
    """Two values, one of them overwritten after position 5, and one set after it."""
    payroll.set("payroll", "user:alice", User="al", Password=CANARY)
    payroll.set("payroll", "user:bob", User="bob", Password=CANARY)
    assert payroll.ok("status")["position"] == 5
    payroll.set("payroll", "user:alice", User="al", Password=f"{CANARY} wrong")
    payroll.set("payroll", "user:carol", User="c", Password=CANARY)
    return payroll


def restore(*words):
    return ("replay", "restore", "--position", "5", *words)


def test_a_dry_run_shows_the_difference_and_appends_nothing(mistaken):
    told = mistaken.ok(*restore("--app", "PAYROLL", "--dry-run"))
    (changed,) = told["credentials"]["changed"]
    assert (changed["before"]["version"], changed["after"]["version"]) == (2, 1)
    assert [one["owner"] for one in told["credentials"]["removed"]] == ["user:carol"]
    assert (told["from"]["position"], told["to"]["position"]) == (7, 5)
    assert told["done"] is None
    assert mistaken.ok("status")["position"] == 7
    shape = mistaken.ok("replay", "diff", "now", "5")  # a question, which is recorded
    assert set(shape) <= set(told)
    assert shape["credentials"].keys() == told["credentials"].keys()
    answer = mistaken(*restore("--app", "payroll", "--dry-run"), json_wanted=False)
    assert "restore credentials\tpayroll\tuser:alice\tversion 2\tversion 1" in answer.text
    assert "delete credentials\tpayroll\tuser:carol\tversion 1\t-" in answer.text
    assert mistaken.ok("status")["position"] == 8


@pytest.mark.parametrize("scope", [("--all",), ("--app", "payroll")])
def test_a_time_before_the_log_deletes_nothing(mistaken, scope):
    """A year that was mistyped, or a clock far behind, would name it for everything there is."""
    for more in (("--yes",), ("--dry-run",)):
        words = ("replay", "restore", "--at", "2001-11-30T08:00:00Z", *scope, *more)
        assert "clock" in mistaken.fails(3, "before-the-log", *words)["hint"]
    assert mistaken.ok("status")["position"] == 7
    assert mistaken.ok("replay", "state", "--at", "2001-11-30T08:00:00Z")["position"] == 0


def test_it_is_carried_out_once_and_then_there_is_nothing_to_do(mistaken):
    done = mistaken.ok(*restore("--all", "--yes", "--reason", "script"))["done"]
    assert done == {"applications": 0, "roles": 0, "restored": 1, "deleted": 1, "position": 9}
    got = mistaken.ok("credential", "get", "payroll", "--as", "user:alice")
    assert (got["fields"]["Password"], got["version"]) == (CANARY, 3)
    size = mistaken.ok("status")["position"]
    assert mistaken.ok(*restore("--all"))["done"] is None, "nothing differs, so nobody is asked"
    answer = mistaken(*restore("--app", "payroll"), json_wanted=False)
    assert answer.text == "Nothing to restore.\n"
    answer = mistaken(*restore("--app", "payroll", "--dry-run"), json_wanted=False)
    assert answer.text.endswith("Nothing differs.\n")
    assert mistaken.ok("status")["position"] == size
    assert mistaken.ok("log", "verify", "--views")["ok"] is True


@pytest.mark.parametrize("words", [("5", "--app", "payroll"), ("2", "--all")])
def test_what_a_dry_run_tells_is_deleted_is_what_is_told_as_deleted(mistaken, words):
    """Credentials that end with their application, made again or gone, are deleted like others."""
    mistaken.ok("app", "delete", "payroll", "--yes")
    mistaken.ok("app", "create", "payroll", "--kind", "individual", "--field", "Pin:pin")
    mistaken.set("payroll", "user:dora", Pin="1234")
    mistaken.set("payroll", "user:emil", Pin="1234")
    position, *scope = words
    command = ("replay", "restore", "--position", position, *scope)
    planned = mistaken.ok(*command, "--dry-run")["credentials"]
    assert [one["owner"] for one in planned["removed"]] == ["user:dora", "user:emil"]
    done = mistaken.ok(*command, "--yes")["done"]
    assert (done["deleted"], done["restored"]) == (2, len(planned["added"]))


def test_no_value_stands_in_any_answer(mistaken):
    for words in (("--dry-run",), ("--yes",)):
        for json_wanted in (True, False):
            answer = mistaken(*restore("--all", *words), json_wanted=json_wanted)
            assert answer.code == 0
            assert CANARY not in answer.text + answer.err


def test_what_deletes_is_consented_to(mistaken):
    mistaken.fails(2, "not-confirmed", *restore("--app", "payroll"))
    mistaken.fails(2, "not-confirmed", *restore("--all"))
    mistaken.ok("credential", "delete", "payroll", "--owner", "user:carol", "--yes")
    mistaken.fails(2, "not-confirmed", *restore("--all"))
    assert mistaken.ok(*restore("--app", "payroll"))["done"]["restored"] == 1
    mistaken.fails(2, "not-confirmed", "replay", "restore", "--position", "2", "--app", "payroll")
    assert mistaken.ok("app", "list")


def test_on_a_terminal_the_difference_is_shown_before_the_question(mistaken):
    code, shown = typed(restore("--app", "payroll"), ["n"], mistaken.environment)
    assert code == 2
    assert shown.index("user:carol") < shown.index("deleting 0 applications and 1 credentials")
    assert mistaken.ok("status")["position"] == 7
    code, shown = typed(restore("--app", "payroll"), ["y"], mistaken.environment)
    assert (code, "restored: 1" in shown) == (0, True)


def test_only_the_beginning_of_a_long_difference_is_shown_before_the_question(payroll):
    lines = [
        {
            "application": "payroll",
            "owner": f"user:u{number}",
            "fields": {"User": "u", "Password": "p"},
        }
        for number in range(60)
    ]
    told = "\n".join(map(json.dumps, lines)).encode()
    payroll.ok("credential", "import", "-", "--format", "jsonl", stdin=told)
    words = ("replay", "restore", "--position", "3", "--app", "payroll")
    code, shown = typed(words, ["n"], payroll.environment)
    assert (code, "... and 20 more; --dry-run shows all." in shown) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--app", "payroll"),
        ("--position", "5"),
        ("--position", "5", "--at", "now", "--all"),
        ("--position", "5", "--app", "payroll", "--all"),
        ("--position", "0", "--all"),
        ("--position", "-1", "--all"),
        ("--position", "x", "--all"),
        ("--position", "5", "--all", "--as", "user:alice"),
    ],
)
def test_words_that_are_off_change_nothing(payroll, words):
    payroll.fails(2, "usage", "replay", "restore", *words, "--yes")
    assert payroll.ok("status")["position"] == 3


def test_moments_and_applications_that_are_not_there(payroll):
    payroll.fails(3, "beyond-the-log", *restore("--all", "--yes"))
    words = ("replay", "restore", "--position", "2", "--app", "nowhere", "--yes")
    payroll.fails(3, "no-such-application", *words)
    payroll.fails(2, "invalid-application-id", *words[:5], "no/where", "--yes")
    payroll.fails(2, "invalid-time", "replay", "restore", "--at", "sometime", "--all", "--yes")
    assert payroll.ok("status")["position"] == 3


def test_an_auditor_is_refused(mistaken):
    home = mistaken.home
    (home / "auditor").mkdir(mode=0o700)
    words = ("--label", "cleo", "--new-key-file", f"{home}/auditor/key")
    mistaken.ok("key", "slot", "add", "key-file", "--auditor", *words)
    mistaken.ok("key", "slot", "export-auditor", "2", f"{home}/auditor/keyring")
    mistaken.environment["CREDLEDGER_KEYRING"] = f"{home}/auditor/keyring"
    mistaken.environment["CREDLEDGER_KEY_FILE"] = f"{home}/auditor/key"
    size = mistaken.ok("status")["position"]
    for words in (("--all", "--yes"), ("--all", "--dry-run")):
        mistaken.fails(4, "operator-needed", *restore(*words))
    whose = ("payroll", "--owner", "user:alice", "--version", "1", "--dry-run")
    mistaken.fails(4, "operator-needed", "credential", "restore", *whose)
    assert mistaken.ok("status")["position"] == size


def test_destroyed_keys_are_told_with_exit_6_and_the_rest_is_restored(mistaken):
    mistaken.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    mistaken.set("payroll", "user:bob", User="bob", Password=f"{CANARY} wrong")
    size = mistaken.ok("status")["position"]
    told = mistaken(*restore("--app", "payroll", "--yes"))
    assert (told.code, told.error["code"]) == (6, "key-destroyed")
    assert [one["owner"] for one in told.json["lost"]] == ["user:alice"]
    assert told.json["done"] is None
    dry = mistaken.ok(*restore("--app", "payroll", "--dry-run"))
    assert dry["lost"] == told.json["lost"]
    answer = mistaken(*restore("--app", "payroll", "--yes"), json_wanted=False)
    assert "cannot restore\tpayroll\tuser:alice\t-\tkey destroyed" in answer.text
    assert mistaken.ok("status")["position"] == size
    rest = mistaken.ok(*restore("--app", "payroll", "--yes", "--except-destroyed"))
    assert (rest["done"]["restored"], rest["done"]["deleted"]) == (1, 1)
    assert [one["owner"] for one in rest["lost"]] == ["user:alice"]
    assert rest["credentials"]["changed"][0]["after"]["owner"] == "user:bob"
    got = mistaken.ok("credential", "get", "payroll", "--as", "user:alice")
    assert got["fields"]["Password"] == f"{CANARY} wrong"


def test_an_interruption_tells_how_far_it_came_and_how_to_go_on(mistaken, monkeypatch):
    monkeypatch.setattr(tools.recovering.restoring, "RESTORED_TOGETHER_MAX", 1)
    take, left = Restorer.mappings, [1]

    def interrupted(*asked):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return take(*asked)

    monkeypatch.setattr(Restorer, "mappings", interrupted)
    answer = mistaken(*restore("--all", "--yes"))
    assert (answer.code, answer.error["code"]) == (130, "interrupted")
    assert "at least 1 of 2 changes" in answer.error["message"]
    assert "--position 5" in answer.error["message"]
    left[0] = 9
    done = mistaken.ok(*restore("--all", "--yes"))["done"]
    assert done["restored"] + done["deleted"] == 1


def test_a_preview_tells_which_version_and_whether_its_key_is_held(mistaken):
    words = ("credential", "restore", "payroll", "--owner", "user:alice")
    told = mistaken.ok(*words, "--version", "1", "--dry-run")
    assert told.pop("set_at").endswith("Z")
    assert told == {
        "application": "payroll",
        "owner": "user:alice",
        "version": 1,
        "becomes": 3,
        "set_by": "operator",
        "key": "held",
    }
    assert mistaken.ok(*words, "--at", "now", "--dry-run")["version"] == 2
    assert mistaken.ok("status")["position"] == 7
    mistaken.fails(3, "no-such-version", *words, "--version", "9", "--dry-run")
    mistaken.fails(4, "not-allowed", *words, "--version", "1", "--dry-run", "--as", "user:mal")
    mistaken.ok("app", "grant", "payroll", "administrator", "user:ada")
    assert mistaken.ok(*words, "--version", "1", "--dry-run", "--as", "user:ada")["becomes"] == 3
    mistaken.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    assert mistaken.ok(*words, "--version", "1", "--dry-run")["key"] == "destroyed"
    assert mistaken.ok(*words, "--version", "2", "--dry-run")["key"] == "held"
    mistaken.fails(6, "key-destroyed", *words, "--version", "1")


def test_a_value_of_then_that_was_resealed_since_is_restored_from_there(mistaken):
    """The row that was current then rests on a destroyed key; a later one carries the same."""
    then = [one["recorded_at"] for one in mistaken.ok("log", "events")][4]
    mistaken.ok("key", "rotate", "--without-backup", "--destroy-previous", "--yes")
    mistaken.set("payroll", "user:bob", User="bob", Password="wrong")
    words = ("credential", "restore", "payroll", "--owner", "user:bob", "--at", then)
    assert mistaken.ok(*words, "--dry-run")["key"] == "held"
    mistaken.ok(*words)
    got = mistaken.ok("credential", "get", "payroll", "--as", "user:bob")
    assert got["fields"]["Password"] == CANARY


def test_what_was_set_before_an_application_was_deleted_is_marked_and_comes_back(mistaken):
    """Its version cannot be restored alone, and what brings it back is named."""
    alice = ("payroll", "--owner", "user:alice")
    history = lambda: mistaken.ok("credential", "history", *alice)
    assert [one["ended"] for one in history()] == [False, False]
    mistaken.ok("app", "delete", "payroll", "--yes")
    mistaken.ok("app", "create", "Payroll", "--kind", "individual", "--field", "Pin:pin")
    mistaken.set("payroll", "user:alice", Pin="1234")
    told = history()
    assert [(one["version"], one["ended"]) for one in told] == [(1, True), (2, True), (3, False)]
    shown = mistaken("credential", "history", *alice, json_wanted=False)
    assert [line.split("\t")[-1] for line in shown.text.splitlines()] == [
        "Ended",
        "yes",
        "yes",
        "no",
    ]
    size = mistaken.ok("status")["position"]
    position = told[0]["position"]
    for which in (("--version", "1"), ("--at", told[0]["recorded_at"])):
        for options in ((), ("--dry-run",)):
            words = ("credential", "restore", *alice, *which, *options)
            error = mistaken.fails(3, "no-such-version", *words)
            assert f"replay restore --position {position} --app ID" in error["hint"]
    missing = mistaken.fails(
        3, "no-such-version", "credential", "restore", *alice, "--version", "9"
    )
    assert "credential history" in missing["hint"]
    assert mistaken.ok("status")["position"] == size
    mistaken.ok("replay", "restore", "--position", str(position), "--app", "payroll", "--yes")
    got = mistaken.ok("credential", "get", "payroll", "--as", "user:alice")
    assert got["fields"]["Password"] == CANARY
