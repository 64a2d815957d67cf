"""Importing what other stores hold: KeePass databases and dumps of Vault's."""

from __future__ import annotations

import base64
import json
import os

import pytest
from pykeepass import PyKeePass

from tests.tools.keepass_files import PASSWORD, database
from tools.sources.import_run import import_lines

CANARY = "canary-77d1"
FIELDS = ("--field", "User:user-name", "--field", "Password:password")


@pytest.fixture
def two(anywhere):
    """A ledger with an individual and a group application, on each kind of store."""
    anywhere.ok("app", "create", "Payroll", "--kind", "individual", *FIELDS)
    anywhere.ok("app", "create", "Warehouse", "--kind", "group", "--member", "group:bi", *FIELDS)
    return anywhere


@pytest.fixture
def keepass(tmp_path):
    """A database with three entries in two groups, one thrown away, and its password in a file."""
    made = database(tmp_path / "team.kdbx")
    payroll = made.add_group(made.root_group, "Payroll")
    inner = made.add_group(made.root_group, "Sites")
    warehouse = made.add_group(inner, "Warehouse")
    made.add_entry(payroll, "Petra's", "petra", f"{CANARY}-1", notes="asks for a PIN")
    made.add_entry(payroll, "Bob's", "bob", f"{CANARY}-2", url="https://pay.example")
    made.add_entry(warehouse, "reader", "dwh", f"{CANARY}-3")
    made.trash_entry(made.add_entry(payroll, "Eve's", "eve", f"{CANARY}-4"))
    made.save()
    (tmp_path / "kp").write_text(PASSWORD + "\n")
    return tmp_path / "team.kdbx"


def bring(cli, path, *said, code=0):
    answer = cli("credential", "import", str(path), *said)
    assert answer.code == code, answer
    assert CANARY.encode() not in answer.out + answer.err.encode()
    return answer.json


def opened_by(tmp_path):
    return ("--source-password-file", str(tmp_path / "kp"))


def values(cli, application, *claims):
    return cli.ok("credential", "get", application, *claims)["fields"]


def test_groups_of_keepass_become_applications_and_user_names_owners(two, keepass, tmp_path):
    """Without any rule; the recycle bin and what no field takes are counted, not imported."""
    done = bring(two, keepass, *opened_by(tmp_path))
    assert done["applications"] == [
        {"application": "Payroll", "source": 2, "imported": 2, "unchanged": 0, "in_ledger": 2},
        {"application": "Warehouse", "source": 1, "imported": 1, "unchanged": 0, "in_ledger": 1},
    ]
    assert done["left_out"] == [
        {"why": "no-field", "application": "Payroll", "key": "Notes", "entries": 1},
        {"why": "no-field", "application": "Payroll", "key": "URL", "entries": 1},
        {"why": "recycle-bin", "application": None, "key": None, "entries": 1},
    ]
    assert done["destroy"] == os.path.realpath(keepass)
    assert values(two, "payroll", "--as", "user:bob") == {"User": "bob", "Password": f"{CANARY}-2"}
    found = values(two, "warehouse", "--as", "user:ann", "--with", "group:bi")
    assert found == {"User": "dwh", "Password": f"{CANARY}-3"}


def test_a_second_import_finds_everything_unchanged(two, keepass, tmp_path):
    bring(two, keepass, *opened_by(tmp_path))
    again = bring(two, keepass, *opened_by(tmp_path))
    assert (again["imported"], again["unchanged"]) == (0, 3)
    assert [one["in_ledger"] for one in again["applications"]] == [2, 1]


def test_a_dry_run_counts_and_records_nothing(two, keepass, tmp_path):
    """It shows what the source holds beside what the ledger has, and asks to destroy nothing."""
    before = two.ok("status")["position"]
    told = bring(two, keepass, *opened_by(tmp_path), "--dry-run")
    assert (told["dry_run"], told["last_position"], told["destroy"]) == (True, None, None)
    assert [(one["source"], one["in_ledger"]) for one in told["applications"]] == [(2, 0), (1, 0)]
    assert two.ok("status")["position"] == before


def test_people_are_told_what_to_destroy(two, keepass, tmp_path):
    answer = two("credential", "import", str(keepass), *opened_by(tmp_path), json_wanted=False)
    assert f"Destroy {os.path.realpath(keepass)}" in answer.err
    assert "application Payroll, source 2, imported 2, unchanged 0, in_ledger 2" in answer.text


RULES = """
[[rule]]
path = "Payroll/{person}'s"
application = "payroll"
owner = "user:{person}@contoso.example"
fields = { User = "Login", password = "Password", Door = "PIN" }

[[rule]]
path = "Sites/**"
skip = true
"""


def test_rules_say_where_entries_belong(two, keepass, tmp_path):
    """Owners from titles, fields from further strings; the first rule that fits is taken."""
    two.ok("app", "update", "payroll", "--field", "Door:pin")
    made = PyKeePass(str(keepass), password=PASSWORD)
    for entry in made.entries:
        entry.set_custom_property("Login", f"{entry.username}@pay")
        entry.set_custom_property("PIN", "0042", protect=True)
    made.save()
    (tmp_path / "rules.toml").write_text(RULES)
    done = bring(two, keepass, *opened_by(tmp_path), "--map", str(tmp_path / "rules.toml"))
    assert [one["source"] for one in done["applications"]] == [2]
    assert {"why": "skipped", "application": None, "key": None, "entries": 1} in done["left_out"]
    assert values(two, "payroll", "--as", "user:petra@contoso.example") == {
        "User": "petra@pay",
        "Password": f"{CANARY}-1",
        "Door": "0042",
    }


def test_an_attachment_is_a_value_of_bytes(anywhere, tmp_path):
    """Under its file's name."""
    anywhere.ok("app", "create", "Cloud", "--kind", "group", "--field", "Certificate:certificate")
    made = database(tmp_path / "team.kdbx")
    entry = made.add_entry(made.add_group(made.root_group, "Cloud"), "c", "u", "p")
    entry.add_attachment(made.add_binary(b"\x00\x01\xff"), "cloud.pfx")
    made.save()
    (tmp_path / "kp").write_text(PASSWORD)
    (tmp_path / "rules.toml").write_text(
        '[[rule]]\npath = "Cloud/c"\napplication = "Cloud"\nfields = {Certificate = "cloud.pfx"}\n'
    )
    done = bring(
        anywhere, tmp_path / "team.kdbx", *opened_by(tmp_path), "--map", f"{tmp_path}/rules.toml"
    )
    assert {one["key"] for one in done["left_out"]} == {"UserName", "Password"}
    anywhere.ok("app", "grant", "Cloud", "member", "user:ann")
    found = values(anywhere, "Cloud", "--as", "user:ann")
    assert base64.b64decode(found["Certificate"]["base64"]) == b"\x00\x01\xff"


def test_a_reference_to_another_entry_is_followed(two, tmp_path):
    """And one that leads nowhere or in a circle keeps the file out."""
    made = database(tmp_path / "team.kdbx")
    payroll = made.add_group(made.root_group, "Payroll")
    first = made.add_entry(payroll, "a", "ann", f"{CANARY}-shared")
    number = first.uuid.hex.upper()
    made.add_entry(payroll, "b", "bob", f"{{REF:P@I:{number}}}")
    made.save()
    (tmp_path / "kp").write_text(PASSWORD)
    bring(two, tmp_path / "team.kdbx", *opened_by(tmp_path))
    assert values(two, "payroll", "--as", "user:bob")["Password"] == f"{CANARY}-shared"
    first.password = f"{{REF:P@I:{number}}}"
    made.add_entry(payroll, "c", "cyd", "{REF:P@I:00000000000000000000000000000000}")
    made.save()
    told = bring(two, tmp_path / "team.kdbx", *opened_by(tmp_path), code=2)
    assert [(one["entry"], one["code"]) for one in told["rejected"]] == [
        ("Payroll/a", "invalid-entry"),
        ("Payroll/b", "invalid-entry"),
        ("Payroll/c", "invalid-entry"),
    ]


def test_a_key_file_alone_opens_what_was_sealed_with_it_alone(two, tmp_path):
    (tmp_path / "kf").write_bytes(b"k" * 32)
    made = database(tmp_path / "team.kdbx", password=None, key_file=tmp_path / "kf")
    made.add_entry(made.add_group(made.root_group, "Payroll"), "a", "ann", CANARY)
    made.save()
    done = bring(two, tmp_path / "team.kdbx", "--source-key-file", str(tmp_path / "kf"))
    assert done["imported"] == 1


def dump(data, **more):
    """What `kv get -format=json` prints for engine 1."""
    told = {"request_id": "x", "lease_duration": 2764800, "data": data, **more}
    return json.dumps(told, indent=2) + "\n"


def dump2(data, **metadata):
    """The same for engine 2."""
    told = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "version": 3}
    return dump({"data": data, "metadata": {**told, **metadata}})


VAULT_RULES = """
[[rule]]
path = "secret/payroll/{person}"
application = "Payroll"
owner = "user:{person}"
fields = { User = "login" }

[[rule]]
path = "secret/team-{team}"
application = "{team}"
"""


@pytest.fixture
def mapped(tmp_path):
    (tmp_path / "rules.toml").write_text(VAULT_RULES)
    return ("--format", "vault", "--map", str(tmp_path / "rules.toml"))


def test_a_folder_of_secrets_of_both_engines_is_imported(two, tmp_path, mapped):
    """Each file's place in the folder is its path; keys become fields, numbers as written."""
    folder = tmp_path / "dump" / "secret"
    (folder / "payroll").mkdir(parents=True)
    (folder / "payroll" / "ann.json").write_text(
        dump2({"login": "ann", "password": f"{CANARY}-1", "port": 5432, "tags": ["x"]})
    )
    (folder / "payroll" / "bob.json").write_text(dump({"login": "bob", "password": 1.50}))
    (folder / "payroll" / "eve.json").write_text(dump2(None, deletion_time="2026-02-02T00:00:00Z"))
    (folder / "team-Warehouse.json").write_text(dump2({"USER": "dwh", "Password": CANARY}))
    done = bring(two, tmp_path / "dump", *mapped)
    assert [(one["application"], one["source"]) for one in done["applications"]] == [
        ("Payroll", 2),
        ("Warehouse", 1),
    ]
    assert done["left_out"] == [
        {"why": "deleted", "application": None, "key": None, "entries": 1},
        {"why": "no-field", "application": "Payroll", "key": "port", "entries": 1},
        {"why": "no-field", "application": "Payroll", "key": "tags", "entries": 1},
    ]
    assert values(two, "payroll", "--as", "user:bob") == {"User": "bob", "Password": "1.5"}
    found = values(two, "warehouse", "--as", "user:ann", "--with", "group:bi")
    assert found == {"User": "dwh", "Password": CANARY}


def unfit(folder):
    """Everything in a folder that is no file of answers, or none that can be read."""
    inner = folder / "secret" / "payroll"
    (inner / "bob").write_text(dump({"login": "bob", "password": CANARY}))
    (inner / "cut.json").write_text('{"data": {"login": "' + CANARY)
    (inner / "twice.json").write_text('{"data": {"login": "a", "login": "b"}}')
    (inner / "empty.json").write_text("")
    (inner / "latin.json").write_bytes(b"caf\xe9")
    (inner / "linked.json").symlink_to("nowhere")
    (inner / "all").symlink_to(folder / "secret", target_is_directory=True)
    os.mkfifo(inner / "pipe.json")
    (inner / os.fsdecode(b"\xff.json")).write_text(dump({"login": "x", "password": "x"}))
    return {
        "all": "not-a-file",
        "bob": "not-named-json",
        "cut.json": "invalid-json",
        "empty.json": "nothing-to-import",
        "latin.json": "not-text",
        "linked.json": "not-a-file",
        "pipe.json": "not-a-file",
        "twice.json": "invalid-json",
        "\ufffd.json": "not-text",
    }


def test_nothing_of_a_folder_is_lost_unseen(two, tmp_path, mapped):
    """All that is not read is rejected by its name, in one go, and nothing is imported."""
    inner = tmp_path / "dump" / "secret" / "payroll"
    inner.mkdir(parents=True)
    (inner / "ann.JSON").write_text(dump({"login": "ann", "password": "a"}))
    (inner / "eve.json").write_text(dump2(None))
    expected = unfit(tmp_path / "dump")
    told = bring(two, tmp_path / "dump", *mapped, code=2)
    found = {one["entry"]: one["code"] for one in told["rejected"]}
    assert found == {f"secret/payroll/{name}": code for name, code in expected.items()}
    assert len(told["rejected"]) == len({one["line"] for one in told["rejected"]}) == len(expected)
    assert told["entries"] == len(expected) + 2
    assert (told["imported"], told["destroy"]) == (0, None)
    for name in expected:
        place = inner / (os.fsdecode(b"\xff.json") if name.startswith("\ufffd") else name)
        place.unlink()
    done = bring(two, tmp_path / "dump", *mapped)
    assert (done["entries"], done["imported"]) == (2, 1)
    assert values(two, "payroll", "--as", "user:ann") == {"User": "ann", "Password": "a"}


@pytest.mark.parametrize("name", ["ann.json", "ann.JSON"])
def test_a_file_alone_tells_the_same_path_as_in_a_folder(two, tmp_path, name):
    """Or its end would become a part of somebody's name."""
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rule]]\npath = "{person}"\napplication = "Payroll"\nowner = "user:{person}"\n'
        'fields = { User = "login" }\n'
    )
    (tmp_path / name).write_text(dump({"login": "ann", "password": "a"}))
    bring(two, tmp_path / name, "--format", "vault", "--map", str(rules))
    assert values(two, "payroll", "--as", "user:ann") == {"User": "ann", "Password": "a"}


def test_a_subfolder_that_cannot_be_read_is_rejected(two, tmp_path, mapped):
    """Here its path is longer than the system takes; a stranger's folder ends in the same way."""
    inner = tmp_path / "dump" / "secret" / "payroll"
    inner.mkdir(parents=True)
    (inner / "ann.json").write_text(dump({"login": "ann", "password": "a"}))
    name = "d" * 250
    here = os.open(tmp_path / "dump", os.O_RDONLY)
    for _ in range(17):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    told = bring(two, tmp_path / "dump", *mapped, code=2)
    assert [one["code"] for one in told["rejected"]] == ["file-unreadable"]
    assert told["rejected"][0]["entry"].startswith(f"{name}/{name}")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_nothing_to_import(two, tmp_path, mapped, content):
    """`kv get` leaves one where it fails; from a pipe it is the same."""
    (tmp_path / "one.json").write_bytes(content)
    said = ("credential", "import", str(tmp_path / "one.json"), *mapped)
    assert "one.json is empty" in two.fails(2, "nothing-to-import", *said)["message"]
    two.fails(2, "nothing-to-import", "credential", "import", "-", *mapped, stdin=content)


def test_what_stands_before_a_break_in_a_file_of_many_is_checked_too(two, tmp_path, mapped):
    """The break itself is the last thing that is rejected."""
    (tmp_path / "all.json").write_text(dump({}, path="nowhere") + '{"data": {"login": "' + CANARY)
    told = bring(two, tmp_path / "all.json", *mapped, code=2)
    found = [(one["line"], one["entry"], one["code"]) for one in told["rejected"]]
    assert found == [(1, "nowhere", "no-rule"), (2, "all.json", "invalid-json")]


def test_people_are_told_what_is_lost_with_the_source(two, tmp_path, mapped):
    """Where anything is left out, and not where nothing is."""
    folder = tmp_path / "dump" / "secret" / "payroll"
    folder.mkdir(parents=True)
    (folder / "ann.json").write_text(dump({"login": "ann", "password": "a"}))
    said = ("credential", "import", str(tmp_path / "dump"), *mapped)
    assert two(*said, json_wanted=False).err.startswith("Destroy ")
    (folder / "bob.json").write_text(dump({"login": "bob", "password": "b", "note": "n"}))
    told = two(*said, json_wanted=False).err
    assert told.startswith("What is left out is not in the ledger.")
    assert f"Destroy {os.path.realpath(tmp_path / 'dump')} as soon as" in told


@pytest.mark.parametrize("json_wanted", [True, False])
def test_nothing_is_to_be_destroyed_that_does_not_stand_in_the_ledger(
    two, tmp_path, monkeypatch, json_wanted
):
    """Here somebody else deletes a mapping before it is counted."""

    def overtaken(*said):
        position = import_lines(*said)
        two.ok("credential", "delete", "payroll", "--owner", "user:ann", "--yes")
        return position

    monkeypatch.setattr("tools.sources.import_run.import_lines", overtaken)
    (tmp_path / "people.csv").write_text("application,owner,User,Password\nPayroll,user:ann,a,b\n")
    answer = two("credential", "import", str(tmp_path / "people.csv"), json_wanted=json_wanted)
    assert answer.code == 0
    if json_wanted:
        (row,) = answer.json["applications"]
        assert (row["source"], row["in_ledger"], answer.json["destroy"]) == (1, 0, None)
    else:
        assert answer.err.startswith(f"Keep {os.path.realpath(tmp_path / 'people.csv')}:")


def test_many_secrets_in_one_file_carry_their_paths(two, tmp_path, mapped):
    """One document after the other, each with a `path` beside its data; from a pipe as well."""
    text = dump({"login": "ann", "password": "a"}, path="secret/payroll/ann") + dump2(
        {"login": "bob", "password": "b"}
    ).replace("{", '{"path": "/secret/payroll/bob",', 1)
    (tmp_path / "all.json").write_text(text)
    assert bring(two, tmp_path / "all.json", *mapped)["imported"] == 2
    again = two("credential", "import", "-", *mapped, stdin=text.encode())
    assert (again.json["unchanged"], again.json["destroy"]) == (2, None)


def test_a_value_in_base64_becomes_bytes_where_the_rule_says_so(anywhere, tmp_path):
    anywhere.ok("app", "create", "Cloud", "--kind", "group", "--field", "Certificate:certificate")
    anywhere.ok("app", "grant", "Cloud", "member", "user:ann")
    (tmp_path / "cloud.json").write_text(dump({"pfx": base64.b64encode(b"\x01\xfe").decode()}))
    (tmp_path / "rules.toml").write_text(
        '[[rule]]\npath = "cloud"\napplication = "Cloud"\n'
        'fields = { Certificate = { key = "pfx", base64 = true } }\n'
    )
    rules = ("--format", "vault", "--map", f"{tmp_path}/rules.toml")
    bring(anywhere, tmp_path / "cloud.json", *rules)
    found = values(anywhere, "Cloud", "--as", "user:ann")
    assert base64.b64decode(found["Certificate"]["base64"]) == b"\x01\xfe"


def test_counts_and_the_file_to_destroy_end_an_import_of_csv_too(two, tmp_path):
    """What was there already counts in the ledger's column; a file from a pipe has no place."""
    two.set("payroll", "user:zoe", User="zoe", Password="z")
    sheet = f"application,owner,User,Password\nPAYROLL,user:ann,ann,{CANARY}\n"
    (tmp_path / "people.csv").write_text(sheet)
    done = bring(two, tmp_path / "people.csv")
    assert done["applications"] == [
        {"application": "Payroll", "source": 1, "imported": 1, "unchanged": 0, "in_ledger": 1}
    ]
    assert done["destroy"] == os.path.realpath(tmp_path / "people.csv")
    assert done["left_out"] == []


MARK = "#TYPE System.Management.Automation.PSCustomObject\r\n"
QUOTED = f'"application","owner","User","Password"\r\n"Payroll","user:ann","ann","{CANARY}"\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_that_windows_powershell_writes_first_is_skipped(two, tmp_path, encoding):
    """Lines are still counted as the file counts them."""
    (tmp_path / "people.csv").write_bytes((MARK + QUOTED).encode(encoding))
    assert bring(two, tmp_path / "people.csv")["imported"] == 1
    more = '"Payroll","user:bob"\r\n'
    (tmp_path / "people.csv").write_bytes((MARK + QUOTED + more).encode(encoding))
    told = bring(two, tmp_path / "people.csv", code=2)
    assert [(one["line"], one["code"]) for one in told["rejected"]] == [(4, "invalid-line")]


@pytest.mark.parametrize("text", [MARK + MARK + QUOTED, "# TYPE x\n" + QUOTED, "#TYPE x\n"])
def test_no_other_first_line_is_skipped(two, tmp_path, text):
    (tmp_path / "people.csv").write_text(text)
    told = bring(two, tmp_path / "people.csv", code=2)
    assert [one["code"] for one in told["rejected"]] == ["invalid-heading"]


UNREAD = {
    "nothing there": ("none.csv", (), 3, "no-such-file"),
    "a folder": ("folder", (), 2, "file-unreadable"),
    "no text": ("latin.csv", (), 2, "not-text"),
    "no database there": ("none.kdbx", (), 3, "no-such-file"),
    "a folder for a database": ("folder", ("--format", "keepass"), 2, "file-unreadable"),
    "no database": ("latin.csv", ("--format", "keepass", "PASSWORD"), 2, "not-keepass"),
    "a cut database": ("cut.kdbx", ("PASSWORD",), 2, "keepass-damaged"),
    "a wrong password": ("whole.kdbx", ("PASSWORD",), 6, "keepass-locked"),
    "no dump there": ("none.json", ("--format", "vault", "RULES"), 3, "no-such-file"),
    "a folder without dumps": ("folder", ("--format", "vault", "RULES"), 2, "nothing-to-import"),
    "no text in a dump": ("latin.csv", ("--format", "vault", "RULES"), 2, "not-text"),
    "no JSON in a dump": ("rules.toml", ("--format", "vault", "RULES"), 2, "invalid-json"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_source_that_cannot_be_read_is_named(cli, tmp_path, name):
    """By its path, without a byte of it, and before a password is asked for."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.csv").write_bytes(f"application,owner\n{CANARY},caf\xe9".encode("latin-1"))
    database(tmp_path / "whole.kdbx").save()
    (tmp_path / "cut.kdbx").write_bytes((tmp_path / "whole.kdbx").read_bytes()[:120])
    (tmp_path / "kp").write_text("another password\n")
    (tmp_path / "rules.toml").write_text(VAULT_RULES)
    further = {
        "PASSWORD": opened_by(tmp_path),
        "RULES": ("--map", str(tmp_path / "rules.toml")),
    }
    file, options, exit_code, code = UNREAD[name]
    said = [one for option in options for one in further.get(option, (option,))]
    error = cli.fails(exit_code, code, "credential", "import", str(tmp_path / file), *said)
    assert str(tmp_path / file) in error["message"]
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "no-such-file"),
        (b"caf\xe9", "not-text"),
        (b"x =", "invalid-toml"),
        (b'[[rule]]\npath = "a"', "invalid-rules"),
        (b"[other]", "invalid-rules"),
    ],
)
def test_rules_that_cannot_be_read_are_named(cli, tmp_path, content, code):
    """By the path of their file."""
    rules = tmp_path / "rules.toml"
    if content is not None:
        rules.write_bytes(content)
    (tmp_path / "dump.json").write_text("{}")
    said = ("--format", "vault", "--map", str(rules))
    exit_code = 3 if content is None else 2
    error = cli.fails(exit_code, code, "credential", "import", str(tmp_path / "dump.json"), *said)
    assert str(rules) in error["message"]
