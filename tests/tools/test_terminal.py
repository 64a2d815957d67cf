"""What somebody at a terminal sees: prompts, tables that fit, and other encodings than UTF-8."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

CANARY = "canary-7f3a-secret"
LONG = "seven herons cross the lake"
CHEAP = ("--argon2-memory", "19")


def typed(arguments, answers, environment, columns=200):
    """One command on a terminal, with what somebody types at each question."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(environment, COLUMNS=str(columns))
        os.execv(sys.executable, [sys.executable, "-m", "tools.cli.main", *arguments])
    shown, waiting = b"", list(answers)
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        # The blank behind the colon comes when the terminal no longer shows what is typed.
        if waiting and shown.endswith(b": "):
            os.write(terminal, waiting.pop(0).encode(errors="surrogateescape") + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode(errors="replace")


def test_prompts_hide_what_is_masked(payroll):
    """Each field is asked for; a masked one does not show; consent is asked."""
    words = ("credential", "set", "payroll", "--owner", "user:a")
    code, shown = typed(words, ["uuu", CANARY, CANARY], payroll.environment)
    assert code == 0
    assert "uuu" in shown
    assert CANARY not in shown
    code, shown = typed(("app", "delete", "payroll"), ["n"], payroll.environment)
    assert (code, "all its credentials?" in shown) == (2, True)
    for owner, asked in ((("--owner", "user:a"), " of user:a"), ((), "")):
        words = ("credential", "delete", "payroll", *owner)
        code, shown = typed(words, ["n"], payroll.environment)
        assert (code, f"Delete the credentials{asked} in payroll?" in shown) == (2, True)
    code, shown = typed(("app", "list"), [], payroll.environment)
    assert (code, "individual" in shown) == (0, True)


def test_an_empty_value_is_set_only_by_who_says_so(payroll):
    """A key pressed too early takes no password away."""
    payroll.set("payroll", "user:a", User="al", Password=CANARY)
    words = ("credential", "set", "payroll", "--owner", "user:a")
    code, shown = typed(words, ["", "n", "uuu", "", "", "y"], payroll.environment)
    assert code == 0, shown
    assert shown.count("Leave User empty?") == shown.count("Leave Password empty?") == 1
    told = payroll.ok("credential", "get", "payroll", "--as", "user:a")
    assert told["fields"] == {"User": "uuu", "Password": ""}


def test_what_is_typed_in_another_encoding_is_refused_and_not_told(payroll):
    """As from a terminal of Latin-1, where the locale says UTF-8."""
    latin = os.fsdecode(f"{CANARY} f\xfcnf".encode("latin-1"))
    strict = {**payroll.environment, "PYTHONIOENCODING": "utf-8:strict"}  # as in most locales
    words = ("credential", "set", "payroll", "--owner", "user:a")
    code, shown = typed(words, ["uuu", latin], strict)
    assert (code, "What was typed is no text" in shown, CANARY in shown) == (2, True, False)
    code, shown = typed(("app", "delete", "payroll"), [latin], strict)
    assert (code, "What was typed is no text" in shown) == (2, True)
    assert payroll.ok("app", "show", "payroll")
    assert payroll.ok("credential", "list") == []


def test_a_new_passphrase_is_asked_for_until_it_will_do(bare):
    """The rule is told first; a weak one and one that is typed otherwise are asked for again."""
    bare.environment["CREDLEDGER_KEY_FILE"] = ""
    answers = ["too short", LONG, f"{LONG}?", LONG, LONG]
    code, shown = typed(("init", *CHEAP), answers, bare.environment)
    assert code == 0, shown
    assert "New passphrase (at least 12 characters): " in shown
    assert "The passphrase needs at least 12 characters." in shown
    assert "The two are not the same." in shown
    assert shown.count("New passphrase") == 3
    assert "herons" not in shown
    code, shown = typed(("status",), ["", LONG], bare.environment)
    assert (code, "herons" in shown) == (0, False)
    assert shown.count("Nothing was typed.") == 1
    code, shown = typed(("status",), ["seven herons"], bare.environment)
    assert code == 6
    assert "No slot of the keyring opens with this passphrase." in shown


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_no_word_of_a_table_is_broken_or_left_out(payroll, columns):
    """Where columns do not fit, each row becomes lines of its own; IDs and times stay whole."""
    payroll.ok("app", "create", "Scheduled-Refresh-Of-Workbooks", "--kind", "group")
    code, shown = typed(("app", "list"), [], payroll.environment, columns)
    assert code == 0
    words = ("Scheduled-Refresh-Of-Workbooks", "payroll", "individual", "Windows User Name")
    assert not [word for word in words if word not in shown]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("wanted", [(), ("--json",)])
def test_names_that_an_encoding_lacks_are_spelled_out(payroll, encoding, wanted):
    """A terminal that knows few characters is no reason to fail, or to release and then fail."""
    payroll.ok("app", "update", "payroll", "--name", "Löhne 給与")
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli.main", "app", "show", "payroll", *wanted],
        env={**os.environ, **payroll.environment, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    if encoding == "utf-8":
        assert "Löhne 給与" in shown
    else:
        assert "\\u7d66\\u4e0e" in shown


def test_recovery_shares_are_typed_unseen_and_asked_for_until_they_fit(cli):
    """A mistyped one, one that was given before, then enough; no word shows."""
    words = cli.ok("key", "shares", "create", "2/3")["shares"]
    mistyped = f"zzcanary {words[0].split(' ', 1)[1]}"
    answers = [mistyped, words[0], words[0], words[2]]
    code, shown = typed(("key", "shares", "verify"), answers, cli.environment)
    assert code == 0, shown
    assert "Share 1 has words that are in no share: number 1." in shown
    assert "Share 2 is the same as share 1." in shown
    assert "The 2 shares fit, and open slot 2 (recovery shares)." in shown
    assert not [word for word in ("zzcanary", *words[0].split()[7:12]) if f" {word} " in shown]
    assert "zzcanary" not in shown
    answers = [*words[:2], LONG, LONG]
    code, shown = typed(("key", "shares", "restore", *CHEAP), answers, cli.environment)
    assert (code, "Added slot 3." in shown, "herons" in shown) == (0, True, False)
    (cli.home / "safe").mkdir()
    cli.ok("key", "backup", str(cli.home / "safe" / "one"))
    (cli.home / "keys" / "keyring").unlink()
    restore = ("key", "restore", str(cli.home / "safe" / "one"), "--shares")
    code, shown = typed(restore, words[1:], cli.environment)
    assert (code, words[1] in shown) == (0, False), shown
    assert cli.ok("status")
