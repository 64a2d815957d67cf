"""The command line keeps its contract: shapes, exit codes, channels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from urllib.parse import quote

import click
import pytest

from tests.tools.conftest import auditor_of
from tools.cli.command import WITH_JSON
from tools.cli.main import PLACES, program, run
from tools.exits import EXIT_CODES

CANARY = "canary-7f3a-secret"


def test_init_answers_with_the_ledger_id(bare):
    """`init` prints where everything is, and makes the key file it was told of."""
    document = bare.ok("init")
    assert set(document) == {"ledger_id", "store", "keyring", "epoch"}
    assert len(document["ledger_id"]) == 64
    assert (bare.home / "secret/key").stat().st_mode & 0o777 == 0o600
    assert (bare.home / "keys/keyring").stat().st_mode & 0o777 == 0o600


def test_init_twice_is_a_conflict(cli):
    """A ledger that is there stays."""
    cli.fails(5, "ledger-exists", "init")


def test_without_a_ledger_nothing_is_found(bare):
    """No ledger at that store is exit 3."""
    for said in (("status",), ("log", "verify")):
        error = bare.fails(3, "no-ledger", *said)
        assert f"sqlite://{bare.home}/store/ledger.db" in error["message"]


def test_a_missing_keyring_is_exit_6(cli):
    """Without the keyring nothing opens."""
    (cli.home / "keys/keyring").unlink()
    cli.fails(6, "keyring-missing", "status")


def test_a_keyring_in_the_stores_folder_is_refused(bare):
    """Keyring and store are kept apart from the first moment on."""
    bare.environment["CREDLEDGER_KEYRING"] = f"{bare.home}/store/keyring"
    bare.fails(6, "keyring-beside-store", "init")
    assert not (bare.home / "store/ledger.db").exists()


def test_a_keyring_that_others_may_read_is_refused(cli):
    """A mode wider than 0600 is exit 6, and `doctor` gives the same code."""
    (cli.home / "keys/keyring").chmod(0o644)
    cli.fails(6, "keyring-too-open", "status")
    answer = cli("doctor")
    assert answer.code == 6
    assert answer.json["findings"][0]["code"] == "keyring-too-open"


def test_no_passphrase_and_no_terminal_is_exit_6(cli):
    """Nobody is asked where nobody sits."""
    cli.environment["CREDLEDGER_KEY_FILE"] = ""
    cli.fails(6, "no-passphrase", "status")


def test_a_weak_passphrase_is_refused(bare):
    """Eleven characters are too few."""
    bare.environment["CREDLEDGER_KEY_FILE"] = ""
    short = bare.home / "passphrase"
    short.write_text("elevenchars")
    bare.fails(2, "weak-passphrase", "init", "--new-passphrase-file", str(short))


def test_a_passphrase_file_drops_one_newline(bare):
    """The passphrase is the file's text without its last line's end."""
    bare.environment["CREDLEDGER_KEY_FILE"] = ""
    file = bare.home / "passphrase"
    file.write_text("a long passphrase here\n")
    cheap = ("--argon2-memory", "19")
    bare.ok("init", "--new-passphrase-file", str(file), *cheap)
    assert bare.ok("status", "--passphrase-file", "-", stdin=b"a long passphrase here")["epoch"]
    bare.fails(6, "wrong-passphrase", "status", "--passphrase-file", "-", stdin=b"another one")
    new = bare.home / "new"
    new.write_text("a longer passphrase here")
    bare.ok(
        "key",
        "passphrase",
        "--passphrase-file",
        str(file),
        "--new-passphrase-file",
        str(new),
        *cheap,
    )
    bare.fails(6, "wrong-passphrase", "status", "--passphrase-file", str(file))
    assert bare.ok("status", "--passphrase-file", str(new))


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("app", "create", "x"),
        ("app", "create", "x", "--kind", "round"),
        ("app", "show"),
        ("--slot", "none", "status"),
        ("credential", "restore", "x"),
        ("replay", "state"),
        ("audit", "access", "--since", "sometime"),
    ],
)
def test_usage_errors_are_json_and_exit_2(cli, arguments):
    """Words that are off never change anything and say so in JSON."""
    answer = cli(*arguments)
    assert answer.code == 2
    assert set(answer.error) == {"code", "message", "hint"}
    assert answer.error["message"].isprintable()
    assert answer.out == b""


def test_a_noun_without_its_verb_is_json_where_that_is_wanted(cli):
    """People get its help instead; either way it is a usage error."""
    answer = cli("--json", "app", json_wanted=False)
    assert (answer.code, answer.error["code"], answer.out) == (2, "usage", b"")
    assert answer.error["hint"] == "See `credledger app --help`."
    told = cli("app", json_wanted=False)
    assert (told.code, told.out) == (2, b"")
    assert told.err.startswith("Usage: credledger app")


def test_settings_may_stand_before_and_after_the_subcommand(cli):
    """The later word wins over the earlier one, both over the environment."""
    store = cli.environment.pop("CREDLEDGER_STORE")
    assert cli.ok("--store", store, "status")
    assert cli.ok("status", "--store", store)
    assert cli.ok("--store", "sqlite:///nowhere", "status", "--store", store)
    cli.fails(2, "invalid-store", "status", "--store", "sqlite:relative.db")
    cli.fails(2, "invalid-store", "status", "--store", "sqlite://[::1/x")


@pytest.mark.parametrize("name", ["a #1", "50%41", "what?", "Zürich", "\udcff"])
def test_a_store_is_shown_as_it_is_named(bare, name):
    """The address on an emergency sheet leads back to the file, whatever a folder is called."""
    file = bare.home / name / "ledger.db"
    shown = bare.ok("init", "--store", f"sqlite://{quote(os.fsencode(file))}")["store"]
    assert file.exists()
    assert bare.ok("status", "--store", shown)["position"] == 2
    assert bare.ok("key", "sheet", "--store", shown)["store"] == shown


def test_the_default_store_is_in_whatever_folder_there_is(bare, monkeypatch):
    """A home folder may have any name."""
    home = bare.home / "50%41 #1"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    bare.environment.pop("CREDLEDGER_STORE")
    bare.ok("init")
    assert (home / "credledger" / "store" / "ledger.db").exists()


@pytest.mark.parametrize("option", ["--store", "--keyring", "--passphrase-file", "--key-file"])
def test_an_empty_option_does_not_lead_to_another_ledger(payroll, option):
    """As `--store "$STORE"` is where the shell knows no STORE."""
    told = payroll.fails(2, "usage", "app", "delete", "payroll", "--yes", option, "")
    assert told["message"] == f"{option} is empty."
    assert payroll.ok("app", "show", "payroll")


def test_help_imports_no_command_and_knows_each():
    """`--help` is quick because nothing that a command needs is loaded; its lines are their own."""
    told = "import sys; from tools.cli.main import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "tools.cli.main" in loaded
    assert not loaded & {"cryptography", "eventsourcing", "msgpack", "psycopg", "rich", "sqlite3"}
    assert not loaded & {place.split(":")[0] for place, _ in PLACES.values()}
    for name, (_, line) in PLACES.items():
        assert f"{name} " in done.stdout
        command = program.get_command(None, name)
        assert command.get_short_help_str(200).rstrip(".")
        assert line


def _leaves(command=program, path=()):
    if hasattr(command, "default"):
        yield path, command.default
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _leaves(command.get_command(None, name), (*path, name))
    else:
        yield path, command


def test_every_command_has_json_settings_and_an_example():
    """No leaf command is without --json, --store and an example."""
    for path, command in _leaves():
        options = {option for one in command.params for option in one.opts}
        assert {"--json", "--store", "--keyring"} <= options, path
        assert "credledger " + " ".join(path) in command.epilog, path


def _keys(document):
    if isinstance(document, dict):
        return set(document).union(*map(_keys, document.values()))
    return set().union(*map(_keys, document)) if isinstance(document, list) else set()


def test_help_tells_the_shape_of_what_each_command_answers(payroll):
    """Only a service and a program that is run have none; what is told is what comes."""
    told = {" ".join(path): command.epilog.partition("Example:")[0] for path, command in _leaves()}
    assert {name for name, shape in told.items() if WITH_JSON not in shape} == {"exec", "serve"}
    payroll.set("payroll", "user:alice", User="al", Password=CANARY)
    for name, arguments in {
        "status": (),
        "doctor": (),
        "app show": ("payroll",),
        "credential list": (),
        "credential history": ("payroll", "--owner", "user:alice"),
        "key status": (),
        "key slot list": (),
        "role grant": ("auditor", "user:alice"),
        "role list": (),
        "replay rebuild": (),
    }.items():
        keys = _keys(payroll(*name.split(), *arguments).json)
        assert keys, name
        assert keys <= set(re.findall(r'"(\w+)"', told[name])), name


def test_the_help_of_a_noun_cuts_no_line_off(cli):
    """Each verb's own first sentence is told whole, over several lines where it is long."""
    context = click.Context(program, info_name="credledger")
    for name in program.list_commands(context):
        noun = program.get_command(context, name)
        if isinstance(noun, click.Group) and not hasattr(noun, "default"):
            shown = noun.get_help(click.Context(noun, context, info_name=name))
            for verb in noun.commands.values():
                line = verb.get_short_help_str(1000)
                assert " ".join(line.split()) in " ".join(shown.split()), (name, verb.name)


def test_an_option_without_its_value_points_to_the_commands_own_help(capsys):
    """And so does whatever else click finds wrong with a command's words."""
    for words in (["--store"], [], ["x", "--since", "1"]):
        assert run(["app", "show", *words]) == 2
        assert "See `credledger app show --help`." in capsys.readouterr().err


def test_every_family_has_its_exit_code():
    """The switch covers the tree of errors."""
    from ledger.errors import LedgerError

    families = {one.family for one in (LedgerError, *LedgerError.__subclasses__())}
    assert families == set(EXIT_CODES)


def test_what_destroys_needs_consent(payroll):
    """Without a terminal and --yes nothing is destroyed."""
    before = payroll.ok("status")["position"]
    payroll.fails(2, "not-confirmed", "app", "delete", "payroll")
    payroll.fails(2, "not-confirmed", "credential", "delete", "payroll", "--owner", "user:a")
    payroll.fails(2, "not-confirmed", "credential", "delete-all", "--owner", "user:a")
    payroll.fails(2, "not-confirmed", "key", "slot", "remove", "1", "--mislaid")
    assert payroll.ok("status")["position"] == before


def test_app_lifecycle(cli):
    """An application is created, changed, granted, revoked and deleted."""
    created = cli.ok("app", "create", "Payroll", "--kind", "individual", "--reason", "new")
    assert created == {
        "application": "Payroll",
        "changed": True,
        "version": 1,
        "position": 3,
        "readers": "every-owner",
        "readers_before": None,
    }
    cli.fails(5, "application-exists", "app", "create", "PAYROLL", "--kind", "group")
    shown = cli.ok("app", "show", "payroll")
    assert shown["open"] is True
    assert [field["name"] for field in shown["fields"]] == ["Windows User Name", "Windows Password"]
    assert cli.ok("app", "grant", "payroll", "member", "user:Bob")["changed"] is True
    assert cli.ok("app", "grant", "payroll", "member", "user:BOB")["changed"] is False
    assert cli.ok("app", "show", "payroll")["open"] is False
    assert cli.ok("app", "revoke", "payroll", "member", "user:bob")["changed"] is True
    updated = cli.ok(
        "app", "update", "payroll", "--contact", "it@example.com", "--field", "PIN:pin", "--open"
    )
    assert updated["changed"] is True
    shown = cli.ok("app", "show", "payroll")
    assert (shown["open"], shown["contact"]) == (True, "it@example.com")
    assert shown["fields"][-1] == {"name": "PIN", "type": "pin", "masked": True}
    assert [one["application"] for one in cli.ok("app", "list")] == ["Payroll"]
    assert cli.ok("app", "delete", "payroll", "--yes")["changed"] is True
    cli.fails(3, "no-such-application", "app", "show", "payroll")


def test_who_may_read_is_told_with_every_change_of_it(cli):
    """The first member closes an open application, the last one leaves it closed; each in words
    with the way back, and nothing is told where nothing of it changed."""
    cli.ok("app", "create", "Pay roll", "--kind", "individual")
    cli.ok("app", "create", "shared", "--kind", "group", "--member", "group:a")
    open_again = "  `credledger app update 'Pay roll' --open` lets every owner read again."
    closed = "It was open to every owner; from now on its members alone may read."
    gone = "That was its last member; from now on nobody may read."
    for said, sentence, hint, readers in (
        ("grant|pay roll|administrator|user:bob", "Granted.", "", "every-owner"),
        ("grant|pay roll|member|user:bob", f"Granted. {closed}", open_again, "members"),
        ("grant|pay roll|member|user:ann", "Granted.", "", "members"),
        ("grant|pay roll|member|user:ann", "Granted already.", "", "members"),
        ("revoke|pay roll|member|user:bob", "Revoked.", "", "members"),
        (
            "revoke|pay roll|member|user:ann",
            f"Revoked. {gone}",
            "  `credledger app grant 'Pay roll' member CLAIM` names who may.",
            "nobody",
        ),
        ("grant|pay roll|member|user:ann", "Granted.", "", "members"),
        (
            "update|pay roll|--open",
            "Changed. Every owner may read from now on, not its members alone.",
            "",
            "every-owner",
        ),
        ("grant|pay roll|member|user:ann", f"Granted. {closed}", open_again, "members"),
        (
            "revoke|shared|member|group:a",
            f"Revoked. {gone}",
            "  `credledger app grant shared member CLAIM` names who may.",
            "nobody",
        ),
    ):
        arguments = said.split("|")
        before = _readers(cli, arguments[1])
        told = cli("app", *arguments, json_wanted=False).text.splitlines()
        assert told == [line for line in (sentence, hint) if line], said
        assert _readers(cli, arguments[1]) == readers
        # The same in JSON, of a change that is made once more or not at all.
        answer = cli.ok("app", *arguments)
        assert (answer["readers"], answer["changed"]) == (readers, False), (before, said)


def _readers(cli, application):
    """By what the settings say of themselves."""
    shown = cli.ok("app", "show", application)
    return "every-owner" if shown["open"] else "members" if shown["members"] else "nobody"


def test_who_could_read_before_is_told_in_json(cli):
    cli.ok("app", "create", "payroll", "--kind", "individual")
    for said, before, after in (
        (("grant", "payroll", "member", "user:bob"), "every-owner", "members"),
        (("revoke", "payroll", "member", "user:bob"), "members", "nobody"),
        (("update", "payroll", "--open"), "nobody", "every-owner"),
        (("delete", "payroll", "--yes"), "every-owner", "nobody"),
        (("create", "payroll", "--kind", "group", "--member", "user:bob"), None, "members"),
    ):
        answer = cli.ok("app", *said)
        assert (answer["readers_before"], answer["readers"]) == (before, after), said


def test_a_stranger_learns_nothing(payroll):
    """Whether an application exists is no stranger's business."""
    one = payroll.fails(4, "not-allowed", "app", "show", "payroll", "--as", "user:eve")
    other = payroll.fails(4, "not-allowed", "app", "show", "missing", "--as", "user:eve")
    assert one == other
    assert payroll.ok("app", "list", "--as", "user:eve") == []


def test_credential_lifecycle(payroll):
    """Values are set, got, listed, restored and deleted; versions count on."""
    first = payroll.set("payroll", "user:alice", User="al", Password="one")
    assert (first["owner"], first["version"]) == ("user:alice", 1)
    payroll.set("payroll", "user:alice", User="al", Password="two")
    got = payroll.ok("credential", "get", "payroll", "--as", "user:alice", "--reason", "job")
    assert got["fields"] == {"User": "al", "Password": "two"}
    assert (got["complete"], got["missing"], got["version"]) == (True, [], 2)
    restored = payroll.ok(
        "credential", "restore", "payroll", "--owner", "user:alice", "--version", "1"
    )
    assert restored["version"] == 3
    answer = payroll(
        "credential",
        "get",
        "payroll",
        "--as",
        "user:alice",
        "--field",
        "password",
        json_wanted=False,
    )
    assert answer.out == b"one\n"
    history = payroll.ok("credential", "history", "payroll", "--owner", "user:alice")
    assert [one["version"] for one in history] == [1, 2, 3]
    listed = payroll.ok("credential", "list", "--owner", "user:alice")
    assert [(one["application"], one["version"]) for one in listed] == [("payroll", 3)]
    assert payroll.ok("credential", "list", "--older-than", "1d") == []
    deleted = payroll.ok("credential", "delete", "payroll", "--owner", "user:alice", "--yes")
    assert deleted["version"] == 3
    payroll.fails(3, "credentials-not-set", "credential", "get", "payroll", "--as", "user:alice")
    assert payroll.set("payroll", "user:alice", User="a", Password="b")["version"] == 4
    gone = payroll.ok("credential", "delete-all", "--owner", "user:alice", "--yes")
    assert [one["application"] for one in gone] == ["payroll"]


def test_bytes_come_out_raw_and_text_with_a_newline(cli):
    """`--field` prints bytes as they are; JSON marks them as base64."""
    cli.ok("app", "create", "tls", "--kind", "individual", "--field", "Cert:certificate")
    (cli.home / "cert").write_bytes(b"\x00\xff\n")
    values = cli.home / "values.json"
    values.write_text(json.dumps({"Cert": {"file": "cert"}}))
    cli.ok("credential", "set", "tls", "--owner", "service:web", "--values", str(values))
    answer = cli(
        "credential", "get", "tls", "--as", "service:web", "--field", "Cert", json_wanted=False
    )
    assert answer.out == b"\x00\xff\n"
    got = cli.ok("credential", "get", "tls", "--as", "service:web")
    assert got["fields"] == {"Cert": {"base64": "AP8K"}}


def test_get_needs_somebody(payroll):
    """The operator reads for nobody."""
    payroll.fails(2, "caller-required", "credential", "get", "payroll")
    payroll.fails(2, "with-without-as", "app", "list", "--with", "group:x")


def test_check_decides_whether_values_are_set(payroll):
    """A check that fails sets nothing; one that succeeds sets."""
    values = json.dumps({"User": "u", "Password": CANARY}).encode()
    base = ("credential", "set", "payroll", "--owner", "user:a", "--values", "-", "--check", "--")
    answer = payroll(*base, "false", stdin=values)
    assert answer.code == 4
    assert CANARY not in answer.err
    assert payroll.ok("credential", "list") == []
    payroll.fails(2, "command-not-found", *base, "no-such-program-anywhere", stdin=values)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"[1]", "invalid-values"),
        (b"{", "invalid-json"),
        (b'{"User": "a", "User": "b"}', "invalid-json"),
        (b'{"User": "a"}', "missing-field"),
        (b'{"User": "a", "Password": "b", "X": "c"}', "unknown-field"),
        (b'{"User": 1, "Password": "b"}', "invalid-values"),
        (b"[" * 100_000, "invalid-json"),
        (b"\xff\xfe\xff", "not-text"),
        (b'"' + b"x" * (5 * 1024 * 1024) + b'"', "too-large"),
    ],
)
def test_bad_values_change_nothing(payroll, document, code):
    """Malformed values are one of our errors, whatever they are."""
    before = payroll.ok("status")["position"]
    payroll.fails(
        2,
        code,
        "credential",
        "set",
        "payroll",
        "--owner",
        "user:a",
        "--values",
        "-",
        stdin=document,
    )
    assert payroll.ok("status")["position"] == before


def test_standard_input_serves_one_thing_only(payroll):
    """Two readers of standard input are refused, not starved."""
    payroll.environment["CREDLEDGER_KEY_FILE"] = ""
    payroll.fails(
        2,
        "stdin-used-twice",
        "credential",
        "import",
        "-",
        "--passphrase-file",
        "-",
        stdin=b"{}",
    )


def test_import_is_all_or_nothing_and_resumes(payroll):
    """One bad line imports nothing; the same file again changes nothing."""
    lines = [
        {"application": "payroll", "owner": f"user:u{n}", "fields": {"User": "u", "Password": "p"}}
        for n in range(1201)
    ]
    file = payroll.home / "people.jsonl"
    bad = [*lines[:2], {**lines[2], "owner": "group:x"}, {**lines[0]}, {**lines[3], "x": 1}]
    file.write_text("\n".join(json.dumps(line) for line in bad) + "\n{nonsense\n")
    answer = payroll("credential", "import", str(file))
    assert answer.code == 2
    assert [(one["line"], one["code"]) for one in answer.json["rejected"]] == [
        (3, "invalid-owner"),
        (4, "repeated-line"),
        (5, "invalid-line"),
        (6, "invalid-json"),
    ]
    assert payroll.ok("credential", "list") == []
    file.write_text("\n".join(json.dumps(line) for line in lines[:700]))
    assert payroll.ok("credential", "import", str(file))["imported"] == 700
    file.write_text("\n".join(json.dumps(line) for line in lines))
    done = payroll.ok("credential", "import", str(file))
    assert (done["imported"], done["unchanged"], done["rejected"]) == (501, 700, [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_in_every_encoding(payroll, encoding):
    """CSV with or without a mark, values with commas and umlauts."""
    file = payroll.home / "people.csv"
    text = 'application,owner,User,Password\r\npayroll,user:a,"ä,b","line\nbreak"\r\n\r\n'
    file.write_bytes(text.encode(encoding))
    assert payroll.ok("credential", "import", str(file))["imported"] == 1
    got = payroll.ok("credential", "get", "payroll", "--as", "user:a")
    assert got["fields"] == {"User": "ä,b", "Password": "line\nbreak"}


def test_applications_as_code(payroll):
    """A file is planned, applied once, and changes nothing the second time."""
    file = payroll.home / "apps.toml"
    file.write_text(
        '[application."Reports"]\nkind = "group"\nmembers = ["group:Finance"]\n'
        'fields = ["User:user-name", {name = "P", type = "password", masked = false}]\n'
        '[application."payroll"]\nname = "Pay"\nadministrators = ["user:alice"]\n'
    )
    planned = payroll.ok("app", "apply", str(file), "--dry-run")
    assert [one["action"] for one in planned["changes"]] == ["create", "update", "grant"]
    assert len(payroll.ok("app", "list")) == 1
    assert payroll.ok("app", "apply", str(file))["changed"] is True
    assert payroll.ok("app", "apply", str(file))["changes"] == []
    exported = payroll("app", "export", json_wanted=False).text
    again = payroll.home / "again.toml"
    again.write_text(exported)
    assert payroll.ok("app", "apply", str(again))["changes"] == []
    file.write_text('[application."payroll"]\nkind = "individual"\n')
    payroll.fails(2, "not-confirmed", "app", "apply", str(file), "--prune")
    pruned = payroll.ok("app", "apply", str(file), "--prune", "--yes")
    assert [one["action"] for one in pruned["changes"]] == ["delete"]


def test_a_file_of_applications_tells_who_may_read_behind_it(cli):
    """What follows from its steps is a line of the plan; what stays as it is has none, and what is
    said to be open is so, whoever becomes a member."""
    cli.ok("app", "create", "payroll", "--kind", "individual")
    file = cli.home / "apps.toml"
    for text, steps in (
        ('members = ["user:a"]', ["grant", "follows every-owner members"]),
        ('members = ["user:a", "user:b"]', ["grant"]),
        ("members = []", ["revoke", "revoke", "follows members nobody"]),
        ("open = true", ["open", "follows nobody every-owner"]),
        ('open = true\nmembers = ["user:a"]', ["grant", "open"]),
        ('open = false\nmembers = ["user:b"]', ["grant", "revoke", "follows every-owner members"]),
        (
            'open = true\nmembers = ["user:c"]',
            ["grant", "revoke", "open", "follows members every-owner"],
        ),
        ("members = []", ["revoke"]),
    ):
        file.write_text(f'[application."payroll"]\n{text}\n')
        planned = cli.ok("app", "apply", str(file), "--dry-run")["changes"]
        told = [
            " ".join([one["action"], one["from"], one["to"]])
            if one["action"] == "follows"
            else one["action"]
            for one in planned
        ]
        assert told == steps, text
        assert cli.ok("app", "apply", str(file))["changes"] == planned
        assert cli.ok("app", "apply", str(file))["changes"] == []
        follows = [one["to"] for one in planned if one["action"] == "follows"]
        assert follows in ([], [_readers(cli, "payroll")])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "invalid-toml"),
        ("[other]\nx = 1", "invalid-applications"),
        ('[application."a"]\ncolour = "red"', "invalid-applications"),
        ('[application."a"]\nname = "no kind"', "invalid-applications"),
        ('[application."payroll"]\nkind = "group"', "fixed-setting"),
        ('[application."payroll"]\nfields = ["User:user-name"]', "fixed-setting"),
        ('[application."payroll"]\nmembers = [1]', "invalid-applications"),
        ("x = " + "[" * 5000, "invalid-toml"),
    ],
)
def test_bad_application_files_change_nothing(payroll, text, code):
    """A file that cannot be applied says why."""
    file = payroll.home / "apps.toml"
    file.write_text(text)
    payroll.fails(2, code, "app", "apply", str(file))


def test_roles_are_granted_listed_and_revoked(cli):
    """Rights are listed with who holds them."""
    assert cli.ok("role", "grant", "auditor", "user:Ann")["changed"] is True
    assert cli.ok("role", "list") == [{"right": "auditor", "claim": "user:ann"}]
    assert cli.ok("role", "revoke", "auditor", "user:ann")["changed"] is True
    assert cli.ok("role", "revoke", "auditor", "user:ann")["changed"] is False


def test_a_limit_that_was_reached_is_told(payroll):
    """On stderr, or whoever counts takes the first rows for all."""
    for _ in range(3):
        payroll("credential", "get", "payroll", "--as", "user:nobody")
    assert "more than 2 rows: go on with --after " in payroll("audit", "access", "--limit", "2").err
    assert "go on with" not in payroll("audit", "access", "--limit", "0").err


def test_audit_answers_and_records_that_it_was_asked(payroll):
    """Attempts are listed newest first, explained and decided again."""
    payroll.set("payroll", "user:alice", User="al", Password=CANARY)
    payroll.ok("credential", "get", "payroll", "--as", "user:alice", "--reason", "nightly")
    refused = payroll.fails(4, "access-denied", "credential", "get", "missing", "--as", "user:eve")
    rows = payroll.ok("audit", "access")
    assert [one["outcome"] for one in rows] == ["denied", "granted"]
    assert rows[1]["reason"] == "nightly"
    assert rows[1]["authenticated_by"].startswith("operator:1/")
    assert [one["caller"] for one in payroll.ok("audit", "access", "--user", "user:EVE")] == [
        "user:eve"
    ]
    assert payroll.ok("audit", "access", "--until", "2020-01-01") == []
    explained = payroll.ok("audit", "explain", str(refused["position"]))
    assert explained["detail"] == "no-such-application"
    assert explained["mend"]
    assert "mistyped" in explained["why"]
    changes = payroll.ok("audit", "changes", "--app", "payroll", "--by", "operator")
    assert changes[-1]["event"] == "application.created"
    topics = [one["topic"] for one in payroll.ok("log", "events")]
    assert topics.count("audit.queried") == 5
    assert payroll.ok("audit", "recheck") == {"checked": 2, "wrong": [], "unreadable": []}
    everything = (payroll.home / "store/ledger.db").read_bytes()
    assert CANARY.encode() not in everything


def test_the_history_of_changes_tells_whom_a_creation_named_and_what_a_slot_opens(cli):
    """Nobody granted it to them afterwards, so nothing else would tell."""
    named = ("--member", "group:pay", "--administrator", "user:ada", "--ticket-redeemer", "role:r")
    cli.ok("app", "create", "Vault", "--kind", "group", "--ticketing", *named)
    cli.ok("app", "create", "Mail", "--kind", "individual")
    auditor_of(cli)
    told = {one["application"] or one["event"]: one["detail"] for one in cli.ok("audit", "changes")}
    assert told["Vault"] == {
        "kind": "group",
        "ticketing": True,
        "administrators": ["user:ada"],
        "members": ["group:pay"],
        "ticket_redeemers": ["role:r"],
    }
    assert told["Mail"] == {"kind": "individual", "open": True}
    added = [one for one in cli.ok("audit", "changes") if one["event"] == "slot.added"]
    assert [one["detail"]["opens"] for one in added] == ["auditor", "operator"]


def test_slots_and_an_auditors_keyring(payroll):
    """A second operator unlocks; an auditor asks but reads no secret."""
    spare = payroll.home / "spare.key"
    added = payroll.ok(
        "key", "slot", "add", "key-file", "--label", "bob", "--new-key-file", str(spare)
    )
    assert added["slot"] == 2
    passphrase = payroll.home / "aud.txt"
    passphrase.write_text("an auditor's passphrase")
    file = payroll.home / "auditor/keyring"
    payroll.ok(
        "key",
        "slot",
        "add",
        "passphrase",
        "--auditor",
        "--label",
        "ann",
        "--new-passphrase-file",
        str(passphrase),
        "--auditor-file",
        str(file),
        "--argon2-memory",
        "19",
    )
    auditing = ("--keyring", str(file), "--passphrase-file", str(passphrase))
    assert payroll.ok("audit", "access", *auditing) == []
    assert [one["application"] for one in payroll.ok("app", "list", *auditing)] == ["payroll"]
    payroll.fails(4, "operator-needed", "credential", "get", "payroll", "--as", "user:a", *auditing)
    slots = payroll.ok("key", "slot", "list")
    assert [(one["id"], one["kind"], one["opens"]) for one in slots] == [
        (1, "key-file", "operator"),
        (2, "key-file", "operator"),
        (3, "passphrase", "auditor"),
    ]
    size = payroll.ok("log", "checkpoint")["size"]
    payroll.fails(5, "no-passphrase", "key", "passphrase", "--new-passphrase-file", str(passphrase),
                  "--key-file", str(spare))  # fmt: skip
    payroll.ok("status", "--key-file", str(spare))
    assert payroll.ok("log", "checkpoint")["size"] == size
    payroll.ok("key", "slot", "export-auditor", "3", str(payroll.home / "again/keyring"))
    payroll.ok("key", "slot", "remove", "2", "--mislaid", "--yes")
    payroll.fails(6, "wrong-key-file", "status", "--key-file", str(spare))
    status = payroll.ok("key", "status")
    assert [(one["epoch"], one["state"]) for one in status["epochs"]] == [
        (1, "current"),
        (2, "next"),
    ]


def test_log_is_verified_without_a_keyring(payroll):
    """Verification needs no key; a pinned id of another ledger is found out."""
    ledger_id = payroll.ok("status")["ledger_id"]
    (payroll.home / "keys").rename(payroll.home / "elsewhere")
    report = payroll.ok("log", "verify")
    assert (report["ok"], report["unanchored"]) == (True, True)
    assert payroll.ok("log", "verify", "--ledger-id", ledger_id)["unanchored"] is False
    answer = payroll("log", "verify", "--ledger-id", "00" * 32)
    assert (answer.code, answer.json["ok"]) == (8, False)
    payroll.fails(2, "invalid-ledger-id", "log", "verify", "--ledger-id", "abc")
    note = payroll.ok("log", "checkpoint", "--out", str(payroll.home / "head"))
    assert (payroll.home / "head").read_text() == note["note"]
    assert note["size"] == 3


def test_replay_tells_what_was(payroll):
    """Views rebuild to the same digest; state and difference are as of then."""
    payroll.set("payroll", "user:alice", User="al", Password="one")
    rebuilt = payroll.ok("replay", "rebuild")
    assert all(view["same"] for view in rebuilt["views"])
    then = payroll.ok("replay", "state", "--position", "3")
    assert (len(then["applications"]), then["credentials"]) == (1, [])
    now = payroll.ok("replay", "state", "--at", "now")
    assert [one["owner"] for one in now["credentials"]] == ["user:alice"]
    changed = payroll.ok("replay", "diff", "3", "now")
    assert len(changed["credentials"]["added"]) == 1
    payroll.fails(3, "beyond-the-log", "replay", "state", "--position", "999")
    assert payroll.ok("log", "verify", "--views")["ok"] is True


def test_a_rolled_back_store_needs_acceptance(payroll):
    """An older copy is refused until somebody accepts it, with a reason."""
    store = payroll.home / "store/ledger.db"
    old = store.read_bytes()
    payroll.set("payroll", "user:alice", User="al", Password="one")
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (payroll.home / "store" / name).unlink(missing_ok=True)
    store.write_bytes(old)
    payroll.fails(8, "rolled-back", "status")
    assert payroll("doctor").code == 8
    payroll.fails(2, "reason-required", "log", "accept-rollback", "--yes")
    accepted = payroll.ok("log", "accept-rollback", "--yes", "--reason", "restored")
    assert set(accepted) == {"position", "fork", "abandoned_size", "revived"}
    assert payroll.ok("status")


def _program(cli, *arguments, settings=None):
    environment = {**os.environ, **cli.environment, "CREDLEDGER_EXTRA": "x", **(settings or {})}
    return subprocess.run(
        [sys.executable, "-m", "tools.cli.main", *arguments],
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_exec_hands_over_and_forgets_our_settings(payroll):
    """The program gets its values, memory files that its children can open, and nothing of ours."""
    payroll.set("payroll", "user:alice", User="al", Password=CANARY)
    script = (
        "import os, subprocess; print(os.environ['USER_X'], os.environ['PASSWORD'],"
        " subprocess.run(['cat', os.environ['P']], capture_output=True, text=True).stdout,"
        " [k for k in os.environ if k.startswith('CREDLEDGER_')])"
    )
    done = _program(
        payroll,
        "exec",
        "payroll",
        "--as",
        "user:alice",
        "--env",
        "USER_X=User",
        "--env",
        "PASSWORD=Password",
        "--file",
        "P=password",
        "--",
        sys.executable,
        "-c",
        script,
    )
    assert done.stdout.decode().split() == ["al", CANARY, CANARY, "[]"], done.stderr
    code = _program(payroll, "exec", "payroll", "--as", "user:alice", "--", "sh", "-c", "exit 7")
    assert code.returncode == 7
    lost = _program(payroll, "exec", "payroll", "--as", "user:alice", "--", "no-such-program")
    assert lost.returncode == 2
    assert len(payroll.ok("audit", "access")) == 2


def test_exec_leaves_no_signal_ignored(payroll):
    """A program that writes into a pipe which ended is ended by it, as under any other parent."""
    payroll.set("payroll", "user:alice", User="al", Password=CANARY)
    program = ("grep", "SigIgn", "/proc/self/status")
    done = _program(payroll, "exec", "payroll", "--as", "user:alice", "--", *program)
    # Whatever whoever runs the tests ignores itself is nobody's choice here.
    under_any = subprocess.run(program, capture_output=True, check=True)
    assert done.stdout == under_any.stdout


def test_exec_hands_over_utf_8_whatever_the_locale(payroll):
    """Neither is a read recorded for nothing, nor a password changed on its way."""
    payroll.set("payroll", "user:alice", User="al", Password="Zürich–Łódź")
    said = ("exec", "payroll", "--as", "user:alice", "--", "printenv", "PASSWORD")
    narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = _program(payroll, *said, settings=narrow)
    assert (done.returncode, done.stdout.decode()) == (0, "Zürich–Łódź\n")


def test_a_closed_pipe_is_quiet(payroll):
    """A reader that goes away is no error and no traceback."""
    for words in ("log events --limit 0", "--help", "app --help", "app list --json"):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {sys.executable} -m tools.cli.main {words} | true"],
            env={**os.environ, **payroll.environment},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b""), words


def test_an_unforeseen_error_shows_no_text(payroll, monkeypatch):
    """An unforeseen error is exit 1 with its type only, because its text may hold anything."""

    def fail(*_, **__):
        raise RuntimeError(CANARY)

    monkeypatch.setattr("tools.doctor.diagnosis.status_document", fail)
    answer = payroll("status")
    assert (answer.code, answer.error["code"]) == (1, "unexpected")
    assert CANARY not in answer.err


def test_completion_script_is_there():
    """Click's completion answers under the program's name."""
    done = subprocess.run(
        [sys.executable, "-c", "from tools.cli.main import main; main()"],
        env={**os.environ, "_CREDLEDGER_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "credledger" in done.stdout


def test_reference_pages_are_those_the_code_makes():
    """The stored pages name every command, option and error code as they are."""
    from pathlib import Path

    from tools.reference import command_page, error_page

    root = Path(__file__).resolve().parents[2]
    folder = root / "docs/reference"
    assert (folder / "cli.md").read_text(encoding="utf-8") == command_page()
    assert (folder / "errors.md").read_text(encoding="utf-8") == error_page(root)


def test_a_mistyped_field_is_told_with_its_record_and_where_the_names_stand(payroll):
    """Whoever reads learns that this was recorded; whoever sets, that nothing was changed."""
    before = payroll.ok("status")["position"]
    words = ("credential", "get", "payroll", "--as", "user:a", "--field", "Pasword")
    read = payroll.fails(2, "unknown-field", *words)
    assert read["message"].endswith(f"the record is {before + 1}.")
    assert "nothing was changed" not in read["hint"]
    words = ("credential", "set", "payroll", "--owner", "user:a", "--values", "-")
    written = payroll.fails(2, "unknown-field", *words, stdin=b'{"User": "a", "Pasword": "b"}')
    assert "nothing was changed" in written["hint"]
    assert all("credledger app fields" in told["hint"] for told in (read, written))
    assert payroll.ok("status")["position"] == before + 1


def test_a_lost_keyring_leads_to_its_backup(payroll):
    """The hint names the command that brings a keyring back; a key file's does not."""
    lost = payroll.fails(
        6, "keyring-missing", "status", "--keyring", f"{payroll.home}/none/keyring"
    )
    assert "credledger key restore" in lost["hint"]
    lost = payroll.fails(6, "key-file-missing", "status", "--key-file", f"{payroll.home}/none")
    assert "key restore" not in lost["hint"]
