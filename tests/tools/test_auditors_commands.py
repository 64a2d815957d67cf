"""What an auditor's keyring may do of everything there is: each command, the right answer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.commands import all_commands
from tests.tools.conftest import Cli, auditor_of

OPERATORS = {
    "ticket issue": ("--as", "user:ann"),
    "ticket sweep": (),
    "ticket redeem": ("payroll", "--as", "user:ann", "--ticket-file", "{file}"),
    "app create": ("x", "--kind", "group"),
    "app mine": ("--as", "user:ann"),
    "app update": ("payroll", "--name", "x"),
    "app delete": ("payroll", "--yes"),
    "app grant": ("payroll", "member", "user:x"),
    "app revoke": ("payroll", "member", "user:x"),
    "app apply": ("{file}",),
    "credential set": ("payroll", "--owner", "user:ann", "--values", "-"),
    "credential get": ("payroll", "--as", "user:ann"),
    "credential restore": ("payroll", "--owner", "user:ann", "--version", "1"),
    "credential delete": ("payroll", "--owner", "user:ann", "--yes"),
    "credential delete-all": ("--owner", "user:ann", "--yes"),
    "credential import": ("{file}", "--format", "csv"),
    "exec": ("payroll", "--as", "user:ann", "--", "true"),
    "role grant": ("auditor", "user:x"),
    "role revoke": ("auditor", "user:x"),
    "issuer add": ("https://a.example", "--audience", "a", "--keys-url", "https://a.example"),
    "issuer update": ("https://sts.example", "--audience", "b"),
    "issuer remove": ("https://sts.example",),
    "leaver": ("user:ann", "--yes"),
    "key rotate": ("--without-backup",),
    "key replace-next": ("--yes",),
    "key backup": ("{home}/backup",),
    "key backup attest-replaced": ("1",),
    "key backup list": (),
    "key host forget": ("1",),
    "key hold set": ("case",),
    "key hold release": ("case",),
    "key retention set": ("--access-older-than", "400"),
    "key retention apply": ("--yes",),
    "key service rotate": (),
    "key slot add": ("key-file", "--new-key-file", "{home}/new"),
    "key slot remove": ("1", "--yes"),
    "key slot export-auditor": ("2", "{home}/exported"),
    "key shares create": ("2/3",),
    "log accept-rollback": ("--reason", "x", "--yes"),
    "replay restore": ("--at", "now", "--all", "--yes"),
    "backup create": ("{home}/archive",),
}
"""With words that an operator could say; each is refused an auditor."""

HINT = "Unlock with an operator's keyring and slot."

ALLOWED = {
    "status": (),
    "app list": (),
    "app show": ("payroll",),
    "app fields": ("payroll",),
    "app claims": ("payroll",),
    "app export": (),
    "role list": (),
    "issuer list": (),
    "issuer show": ("https://sts.example",),
    "credential list": (),
    "credential history": ("payroll", "--owner", "user:ann"),
    "audit access": (),
    "audit changes": (),
    "audit tickets": (),
    "audit tokens": (),
    "audit questions": (),
    "audit explain": ("{refusal}",),
    "audit recheck": (),
    "audit who-can": ("--all",),
    "audit exposure": ("user:ann",),
    "audit export": ("--format", "jsonl", "--limit", "3"),
    "audit report": ("{home}/report.html",),
    "audit review": ("--list",),
    "key status": (),
    "key slot list": (),
    "key hold list": (),
    "key host list": (),
    "key retention show": (),
    "key service list": (),
    "key service jwks": (),
    "replay state": ("--at", "now"),
    "replay diff": ("1", "now"),
    "replay rebuild": (),
}
"""What an auditor is for."""

QUESTIONS = {"credential history", "replay state", "replay diff"}
"""Of those, what is recorded as the questions of `audit` are."""

KEYLESS = {
    "init", "doctor", "log verify", "log checkpoint", "log events", "log proof", "audit pack", "store migrate",
    "log witness init", "log witness show", "log witness sign", "log witness stamp",
    "backup verify", "backup restore", "backup drill", "key restore", "key sheet",
    "key shares verify", "key shares restore", "key passphrase", "unseal",
}  # fmt: skip
"""Those that open nothing themselves, tell everybody alike, or are about a keyring's own file.

What `unseal` hands over is opened by the service, as an operator's or not at all.
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A ledger with something of everything, and the auditor's own keyring."""
    home = tmp_path_factory.mktemp("house")
    cli = Cli(home)
    cli.ok("init", "--label", "alice")
    cli.ok("app", "create", "payroll", "--kind", "individual", "--field", "P:password")
    cli.set("payroll", "user:ann", P="canary-5d21")
    cli.ok("credential", "get", "payroll", "--as", "user:ann")
    refused = cli.fails(4, "access-denied", "credential", "get", "nothing", "--as", "user:bob")
    trusted = ("https://sts.example", "--audience", "a", "--keys-url", "https://sts.example/keys")
    cli.ok("issuer", "add", *trusted)
    cli.ok("key", "service", "rotate")
    (home / "file").write_text("")
    return cli, {"home": home, "file": home / "file", "refusal": refused["position"]}


@pytest.fixture(scope="module")
def auditor(house):
    return auditor_of(house[0])


def words(house, name, said):
    return (*name.split(), *(word.format(**house[1]) for word in said))


def test_every_command_is_one_of_the_three():
    """Nobody adds a command without saying whose it is."""
    there = all_commands()
    assert there == {*OPERATORS, *ALLOWED, *KEYLESS, "serve"}
    assert len(there) == len(OPERATORS) + len(ALLOWED) + len(KEYLESS) + 1


def test_no_service_is_opened_by_an_auditor(auditor):
    """`serve` is refused as every operator's command, in a process of its own."""
    serve = (sys.executable, "-m", "tools.cli.main", "serve", "--json")
    ended = subprocess.run(
        (*serve, "--listen", "127.0.0.1:0", "--behind-proxy"),
        env={**os.environ, **auditor.environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (4, b"")
    assert b'"operator-needed"' in ended.stderr


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operators_command_is_refused_an_auditor(house, auditor, name):
    """With the error that says what is needed, exit 4, no answer and nothing in the log."""
    cli, _ = house
    position = cli.ok("status")["position"]
    values = b'{"P": "x"}' if name == "credential set" else b""
    answer = auditor(*words(house, name, OPERATORS[name]), stdin=values)
    assert (answer.code, answer.error["code"]) == (4, "operator-needed"), answer
    assert answer.error["hint"] == HINT
    assert answer.out == b""
    assert cli.ok("status")["position"] == position


def test_an_auditor_may_not_give_this_host_a_new_memory(house, auditor):
    """Although the rest of `log verify` takes no key."""
    cli, _ = house
    position = cli.ok("status")["position"]
    answer = auditor("log", "verify", "--accept-new-memory")
    assert (answer.code, answer.error["code"], answer.error["hint"]) == (4, "operator-needed", HINT)
    assert answer.out == b""
    assert cli.ok("status")["position"] == position


@pytest.mark.parametrize("name", ALLOWED)
def test_an_auditors_command_answers_without_a_value(house, auditor, name):
    """And leaves the record of a question at most."""
    cli, _ = house
    position = cli.ok("status")["position"]
    answer = auditor(*words(house, name, ALLOWED[name]))
    assert answer.code == 0, answer.err
    assert b"canary-5d21" not in answer.out
    topics = [one["topic"] for one in cli.ok("log", "events", "--after", str(position))]
    asked = name.startswith("audit ") or name in QUESTIONS
    assert topics == (["audit.queried"] if asked else [])
