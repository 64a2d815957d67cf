"""The same commands at the ledger and at a service: the same answers, in JSON and for people."""

from __future__ import annotations

import json

import pytest

from ledger.usecases.acting import Acting
from tests.commands import all_commands, options_of
from tests.tools.conftest import Cli
from tests.tools.service.conftest import ME, running, settings_of
from tools.cli.served import _COMMANDS

VALUES_OF_ANN = {"Windows User Name": "ann", "Windows Password": "canary-77"}
NEW = json.dumps({"Windows User Name": "me", "Windows Password": "canary-31aa"}).encode()
AS_ME = ("--as", str(ME))


@pytest.fixture
def furnished(furnished):
    """This account may create and manage applications, and has a group application's set."""
    ledger = furnished.open()
    ledger.role_grant(Acting(), "full-control", str(ME))
    for name in ("here", "there"):
        ledger.create_application(
            Acting(), name, kind="group", ticketing=True, members=(str(ME),),
            ticket_redeemers=(str(ME),), administrators=(str(ME),),
        )  # fmt: skip
    ledger.close()
    return furnished


@pytest.fixture
def cli(furnished):
    """The command line on the ledger's own host."""
    settings = settings_of(furnished)
    made = Cli(furnished.keyring_path.parent)
    made.environment = {
        "CREDLEDGER_STORE": settings.store,
        "CREDLEDGER_KEYRING": str(settings.keyring),
        "CREDLEDGER_PASSPHRASE_FILE": str(settings.passphrase_file),
    }
    return made


@pytest.fixture
def far(tmp_path):
    """The command line of somebody who has neither store nor keyring."""
    made = Cli(tmp_path)
    made.environment = {"CREDLEDGER_STORE": "sqlite:///nowhere/at/all.db"}
    return made


@pytest.fixture
def at(service):
    return ("--server", f"unix://{service.socket}")


def settled(answer) -> object:
    """An answer without what differs from one change to the next."""
    assert answer.code == 0, answer
    document = answer.json
    for one in document if isinstance(document, list) else [document]:
        for key in ("position", "ticket", "issued_at", "expires_at"):
            one.pop(key, None)
    return json.loads(json.dumps(document).replace("there", "here").replace("New far", "New"))


READS = {
    "app list": (),
    "app show": ("payroll",),
    "app mine": (),
    "app fields": ("payroll",),
    "app claims": ("payroll",),
    "app export": (),
    "credential list": (),
    "credential history": ("payroll",),
}


@pytest.mark.parametrize("name", READS)
def test_what_is_looked_at_is_the_same(cli, far, at, name):
    """Byte for byte."""
    said = (*name.split(), *READS[name])
    for json_wanted in (True, False):
        near = cli(*said, *AS_ME, json_wanted=json_wanted)
        distant = far(*said, *at, json_wanted=json_wanted)
        assert (near.code, near.out) == (distant.code, distant.out) != (0, b""), distant


CHANGES = [
    ("app create", ("New {}", "--kind", "individual", "--field", "PIN:pin")),
    ("app update", ("{}", "--name", "Named", "--field", "Extra:generic:masked")),
    ("app update", ("{}", "--unmask", "Extra")),
    ("app grant", ("{}", "member", "group:bi")),
    ("app grant", ("{}", "member", "group:bi")),
    ("app revoke", ("{}", "member", "group:bi")),
    ("app revoke", ("{}", "member", "group:bi")),
    ("credential set", ("{}", "--values", "-")),
    ("credential set", ("{}", "--values", "-", "--check", "--", "true")),
    ("credential restore", ("{}", "--version", "1")),
    ("credential get", ("{}",)),
    ("credential get", ("{}", "--field", "Extra")),
    ("ticket issue", ("--app", "{}")),
    ("credential delete", ("{}", "--yes")),
    ("app delete", ("{}", "--yes")),
]
VALUES = json.dumps({**json.loads(NEW), "Extra": "e"}).encode()


@pytest.mark.parametrize("json_wanted", [True, False])
def test_what_is_changed_is_told_the_same(cli, far, at, json_wanted):
    """A whole life of one application here, and of another through the service."""
    for name, said in CHANGES:
        stdin = VALUES if "-" in said else b""
        before, after = (*name.split(), *AS_ME, *said), (*name.split(), *at, *said)
        near = cli(*(one.format("here") for one in before), stdin=stdin, json_wanted=json_wanted)
        distant = far(*(one.format("there") for one in after), stdin=stdin, json_wanted=json_wanted)
        if json_wanted:
            assert settled(near) == settled(distant), name
        else:
            assert near.code == distant.code == 0
            same = near.text == distant.text.replace("there", "here")
            assert same or name == "ticket issue", name  # no ticket is like another


def test_a_ticket_goes_through_the_service_once(far, at, tmp_path):
    far.ok("credential", "set", "here", *at, "--values", "-", stdin=NEW)
    issued = far.ok("ticket", "issue", *at, "--app", "here")
    assert issued["application"] == "here"
    assert issued["position"] == far.ok("credential", "get", "here", *at)["position"] - 1
    assert far.ok("ticket", "issue", *at)["application"] is None
    (tmp_path / "ticket").write_text(issued["ticket"])
    said = ("ticket", "redeem", "here", *at, "--ticket-file", str(tmp_path / "ticket"))
    assert far.ok(*said)["fields"] == json.loads(NEW)
    assert far(*said).code != 0


def test_a_program_gets_its_values_from_the_service(far, at, capfd, monkeypatch):
    """Nothing of the ledger is on its host."""
    became = []
    monkeypatch.setattr("tools.handing_over.become", lambda *said: became.append(said))
    far("exec", "payroll", *at, "--", "env", json_wanted=False)
    ((program, environment),) = became
    assert program == ("env",)
    assert environment["WINDOWS_PASSWORD"] == "canary-9f2e71"


def test_everything_of_an_owner_ends_through_the_service(far, at):
    ended = far.ok("credential", "delete-all", "--owner", str(ME), *at, "--yes")
    assert [one["application"] for one in ended] == ["payroll"]
    assert far("credential", "delete", "here", *at).error["code"] == "not-confirmed"


TABLES = """
[application."{0}"]
name = "Told by a file"
fields = [
    "Windows User Name:windows-user-name",
    {{name = "Windows Password", type = "windows-password"}},
    "PIN:pin",
]
members = ["group:bi", "user:x"]
version = 77

[application."{0} new"]
kind = "individual"
open = true
members = ["user:y"]
fields = ["Key:generic:masked"]
"""


@pytest.mark.parametrize("json_wanted", [True, False])
def test_a_file_of_applications_is_applied_the_same(cli, far, at, json_wanted):
    """Its plan, its execution, and that there is nothing left to do behind it."""
    for more in (("--dry-run",), (), ()):
        here, there = (TABLES.format(name).encode() for name in ("here", "there"))
        near = cli("app", "apply", "-", *AS_ME, *more, stdin=here, json_wanted=json_wanted)
        distant = far("app", "apply", "-", *at, *more, stdin=there, json_wanted=json_wanted)
        if json_wanted:
            assert settled(near) == settled(distant)
        else:
            assert near.code == distant.code == 0
            assert near.text.split() == distant.text.replace("there", "here").split()
    shown = far.ok("app", "show", "there", *at)
    assert (shown["name"], shown["members"]) == ("Told by a file", ["group:bi", "user:x"])


def test_a_file_is_applied_as_a_whole_or_not_at_all(far, at):
    """One bad table among good ones, and nothing of it happens."""
    bad = TABLES.format("there") + '[application."shared"]\nkind = "individual"\n'
    far.fails(2, "fixed-setting", "app", "apply", "-", *at, stdin=bad.encode())
    assert far.ok("app", "show", "there", *at)["name"] == "there"
    bad = TABLES.format("there") + '[application."THERE"]\nname = "twice"\n'
    far.fails(2, "invalid-applications", "app", "apply", "-", *at, stdin=bad.encode())


def test_what_a_file_does_not_name_is_deleted_with_consent_only(far, at):
    """It is told by a plan first, and confirmed by name."""
    kept = b'[application."there"]\n[application."payroll"]\n[application."shared"]\n'
    said = ("app", "apply", "-", "--prune", *at)
    planned = far.ok(*said, "--dry-run", stdin=kept)["changes"]
    assert [(one["action"], one["application"]) for one in planned] == [("delete", "here")]
    assert far(*said, stdin=kept).error["code"] == "not-confirmed"
    assert far.ok(*said, "--yes", stdin=kept)["changes"] == planned
    far.fails(3, "no-such-application", "app", "show", "here", *at)


def test_what_a_restore_would_bring_back_is_shown_the_same(cli, far, at):
    """By number and by moment; nothing changes by it."""
    far.ok("credential", "set", "payroll", *at, "--values", "-", stdin=NEW)
    for which in (("--version", "1"), ("--at", "today")):
        said = ("credential", "restore", "payroll", *which, "--dry-run")
        for json_wanted in (True, False):
            near = cli(*said, *AS_ME, json_wanted=json_wanted)
            distant = far(*said, *at, json_wanted=json_wanted)
            assert (near.code, near.out, near.err) == (distant.code, distant.out, distant.err)
    far.fails(
        3, "no-such-version", "credential", "restore", "payroll", "--version", "9", *at, "--dry-run"
    )
    assert len(far.ok("credential", "history", "payroll", *at)) == 2


def test_a_receipt_through_the_service_proves_the_record(cli, far, at, tmp_path):
    """Of a release, of a refusal, and of a ticket's redemption; anybody can check it."""
    released, refused, redeemed = (tmp_path / name for name in ("a", "b", "c"))
    found = far.ok("credential", "get", "payroll", *at, "--receipt", str(released))
    far.fails(4, "access-denied", "credential", "get", "shared", *at, "--receipt", str(refused))
    far.ok("credential", "set", "here", *at, "--values", "-", stdin=NEW)
    (tmp_path / "ticket").write_text(far.ok("ticket", "issue", *at, "--app", "here")["ticket"])
    said = ("ticket", "redeem", "here", *at, "--ticket-file", str(tmp_path / "ticket"))
    far.ok(*said, "--receipt", str(redeemed))
    assert json.loads(released.read_text())["row"]["position"] == found["position"]
    for file in (released, refused, redeemed):
        assert cli.ok("log", "proof", "--check", str(file))["ok"]
    far.fails(5, "receipt-exists", "credential", "get", "payroll", *at, "--receipt", str(released))


def test_a_receipt_is_made_for_whose_attempt_it_was_only(service, cli, far, at, tmp_path):
    """Whoever else asks, or asks of what is no attempt, is refused alike."""
    values = json.dumps(VALUES_OF_ANN).encode()
    cli.ok("credential", "set", "payroll", "--owner", "user:ann", "--values", "-", stdin=values)
    anns = cli.ok("credential", "get", "payroll", "--as", "user:ann")["position"]
    client = service.client()
    refused = [
        client.fails(403, "not-allowed", "/v1/receipts/make", {"position": position})
        for position in (1, anns - 1, anns, anns + 100, 2**53 - 1)
    ]
    assert all(one == refused[0] for one in refused)


def test_failures_have_the_codes_and_exits_of_the_ledger(far, at):
    far.fails(3, "credentials-not-set", "credential", "delete", "here", "--yes", *at)
    far.fails(5, "application-exists", "app", "create", "HERE", "--kind", "group", *at)
    far.fails(4, "access-denied", "credential", "get", "shared", *at)
    far.fails(2, "two-callers", "app", "list", *AS_ME, *at)
    far.fails(2, "invalid-server", "app", "list", "--server", "nowhere")
    for option in ("--ca-file", "--client-cert", "--client-key"):
        far.fails(2, "usage", "app", "list", option, "x")
        far.fails(2, "usage", "app", "list", option, "x", *at)


def test_what_opens_a_ledger_here_is_refused_beside_a_service(far, at, tmp_path):
    """Wherever it stands; what the environment says is of every command, and passed over."""
    for said in (
        ("--slot", "1"), ("--keyring", "x"), ("--store", "sqlite:///x/y.db"), ("--key-file", "x"),
        ("--passphrase-file", "x"), ("--accept-clock",), ("--accept-async",),
    ):  # fmt: skip
        told = far.fails(2, "usage", "app", "list", *at, *said)
        assert told["message"].startswith(f"{said[0]} would open a ledger here")
        assert far.fails(2, "usage", *said, "app", "list", *at) == told
    assert far.ok("app", "mine", *at)


NOT_SERVED = (
    ("credential", "import", "x.csv"),
    ("audit", "who-can", "payroll"),
)


@pytest.mark.parametrize("said", NOT_SERVED, ids=" ".join)
def test_what_a_service_does_not_do_is_refused_before_it_is_asked(far, at, said):
    far.fails(2, "not-served", *said, *at)


def test_a_token_file_says_who_asks(furnished, far, tmp_path):
    """Over TCP, where nobody is known by a socket."""
    (tmp_path / "token").write_text("a.b.c\n")
    with running(furnished, tmp_path) as service:
        at = ("--server", f"http://127.0.0.1:{service.address[1]}")
        refused = far.fails(4, "no-caller", "app", "list", *at)
        assert "--token-file" in refused["hint"]
        assert "unix socket" in refused["hint"]
        far.fails(4, "token-refused", "app", "list", *at, "--token-file", str(tmp_path / "token"))


def test_every_command_of_an_administrator_or_owner_is_served():
    """Of what is done for somebody, all but what an operator alone does, and what reads the log."""
    theirs = {name for name in all_commands() if "server" in options_of(name)}
    assert set(_COMMANDS) == theirs - {"credential import", "ticket sweep", "audit who-can"}


def test_an_owner_who_sees_no_settings_learns_what_to_use_and_which_fields_it_has(
    furnished, cli, far, at
):
    """Whom `app list` tells nothing; and no more than that of it."""
    ledger = furnished.open()
    ledger.role_revoke(Acting(), "full-control", str(ME))
    for name in ("here", "there"):
        ledger.revoke(Acting(), name, "administrator", str(ME))
    ledger.create_application(Acting(), "closed", kind="group", members=("group:others",))
    ledger.close()
    assert [one["application"] for one in far.ok("app", "list", *at)] == ["shared"]
    usable = far.ok("app", "mine", *at)
    assert [one["application"] for one in usable] == ["here", "payroll", "there"]
    assert {key for one in usable for key in one} == {
        "application", "fields", "kind", "name", "restricted", "ticketing",
    }  # fmt: skip
    assert far.ok("app", "fields", "payroll", *at)["fields"] == usable[1]["fields"]
    for run, who in ((cli, AS_ME), (far, at)):
        run.fails(4, "not-allowed", "app", "claims", "payroll", *who)
        run.fails(4, "not-allowed", "app", "fields", "closed", *who)
        run.fails(4, "not-allowed", "app", "fields", "nothing at all", *who)
    said = ("credential", "get", "payroll", "--field", "Pasword")
    for run, who in ((cli, AS_ME), (far, at)):
        hint = run.fails(2, "unknown-field", *said, *who)["hint"]
        words = hint.partition("`credledger ")[2].partition("`")[0].replace("ID", "payroll")
        assert run.ok(*words.split(), *who)["application"] == "payroll"


def test_what_somebody_may_use_is_asked_for_somebody(cli):
    """The operator reads nothing for himself, and so may use nothing."""
    cli.fails(2, "caller-required", "app", "mine")
    found = cli.ok("app", "mine", "--as", "user:somebody", "--with", "group:none")
    assert [one["application"] for one in found] == ["payroll"]


def test_a_receipt_of_what_a_program_gets_is_whole_before_it_runs(
    cli, far, at, tmp_path, monkeypatch
):
    """Through the service as on the ledger's host; nothing runs where none can be written."""
    file, began = tmp_path / "receipt.json", []

    def become(program, environment):
        began.append((program, environment["WINDOWS_PASSWORD"], file.read_text()))

    monkeypatch.setattr("tools.handing_over.become", become)
    said = ("exec", "payroll", *at, "--reason", "nightly", "--receipt")
    assert far(*said, str(file), "--", "env", json_wanted=False).code == 0
    ((program, value, receipt),) = began
    assert (program, value) == (("env",), "canary-9f2e71")
    assert value not in receipt
    assert file.stat().st_mode & 0o777 == 0o600
    found = cli.ok("log", "proof", "--check", str(file))
    (row,) = cli.ok("audit", "access", "--limit", "1")
    assert (found["ok"], found["position"]) == (True, row["position"])
    assert (row["outcome"], row["caller"], row["reason"]) == ("granted", str(ME), "nightly")
    for place, code, error in (
        (file, 5, "receipt-exists"),
        (tmp_path / "none" / "receipt.json", 7, "receipt-not-writable"),
    ):
        answer = far(*said, str(place), "--", "env")
        assert (answer.code, answer.error["code"]) == (code, error)
    assert cli.ok("audit", "access", "--limit", "1") == [row]
    assert len(began) == 1
    assert file.read_text() == receipt


def test_a_program_that_is_refused_its_values_does_not_run_and_has_a_receipt_of_that(
    cli, far, at, tmp_path, monkeypatch
):
    monkeypatch.setattr("tools.handing_over.become", lambda *_: pytest.fail("it ran"))
    file = tmp_path / "receipt.json"
    said = ("exec", "shared", *at, "--receipt", str(file))
    refused = far.fails(4, "access-denied", *said, "--", "env")
    found = cli.ok("log", "proof", "--check", str(file))
    assert (found["ok"], found["position"]) == (True, refused["position"])


def test_a_service_is_asked_nothing_that_it_would_have_to_record_as_a_question(cli, far, at):
    """It keeps no record of who looked at a history; whoever requires one is told so, unasked."""
    before = cli.ok("status")["position"]
    for said in (
        ("credential", "history", "payroll", "--require-record"),
        ("credential", "history", "payroll", "--reason", "case 7"),
        ("audit", "who-can", "payroll", "--require-record"),
        ("audit", "who-can", "--all", "--require-record"),
    ):
        answer = far(*said, *at)
        assert (answer.code, answer.out, answer.error["code"]) == (2, b"", "not-served"), said
    # Nor is there a service there at all.
    away = ("--server", "unix:///nowhere/at/all")
    far.fails(2, "not-served", "credential", "history", "payroll", "--require-record", *away)
    assert far.ok("credential", "history", "payroll", *at)
    assert cli.ok("status")["position"] == before
