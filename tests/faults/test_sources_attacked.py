"""Files of other stores that are not what an import hopes for: our errors, and nothing is recorded.

Each is given to the program as a process. Neither stream ever holds a value, and the process that
opens a KeePass database never outgrows its limits.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest
from pykeepass import PyKeePass

from ledger.errors import InvalidInput
from ledger.values import VALUE_BYTES_MAX
from tests.faults.running import Host, Nursery
from tests.tools.keepass_files import PASSWORD, database, packed_as, rewritten
from tools.people.documents import StandardInput
from tools.sources import keepass
from tools.sources.entry import Entry
from tools.sources.importing import Rejected
from tools.sources.keepass import KeePassFile

CANARY = "canary-5ce0"
FIELDS = ("--field", "User:user-name", "--field", "Password:password")


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as started:
        yield started


@pytest.fixture(scope="module")
def base(nursery, tmp_path_factory):
    """A ledger with one individual application."""
    host = Host(nursery, tmp_path_factory.mktemp("sources") / "base")
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    return host


@pytest.fixture
def host(base, tmp_path):
    copied = base.copy(tmp_path / "host")
    (copied.home / "kp").write_text(PASSWORD)
    made = database(copied.home / "team.kdbx")
    group = made.add_group(made.root_group, "payroll")
    made.add_entry(group, "Ann", "ann", CANARY, notes=CANARY)
    made.save()
    return copied


def refused(host, code, *said):
    """The error of an import that recorded nothing and told nothing."""
    before = host.position()
    ended = host.run("credential", "import", *said)
    assert CANARY.encode() not in ended.both
    assert b"Traceback" not in ended.both
    assert host.position() == before
    assert ended.code != 0
    error = json.loads(ended.err)["error"]
    assert (error["code"], bool(error["hint"])) == (code, True), error
    return ended.code


def opens(host, code):
    return refused(host, code, "team.kdbx", "--source-password-file", "kp")


def spoil(host, change):
    path = host.home / "team.kdbx"
    path.write_bytes(change(path.read_bytes()))


def test_a_wrong_password_opens_nothing(host):
    (host.home / "kp").write_text("another phrase altogether")
    assert opens(host, "keepass-locked") == 6


def test_a_password_that_nobody_gives_is_asked_for_on_a_terminal_only(host):
    assert refused(host, "no-source-password", "team.kdbx") == 6


SPOILT = {
    "no KeePass database": (lambda data: b"PK\x03\x04" + data, "not-keepass"),
    "nothing at all": (lambda data: b"", "keepass-damaged"),
    "the beginning of one": (lambda data: data[:40], "keepass-damaged"),
    "one cut off in its header": (lambda data: data[:120], "keepass-damaged"),
    "one cut off in its contents": (lambda data: data[:-40], "keepass-damaged"),
    "one whose last byte is another": (
        lambda data: data[:-50] + bytes([data[-50] ^ 1]) + data[-49:],
        "keepass-damaged",
    ),
    "one whose header is another": (
        lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
        "keepass-damaged",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_database_is_refused(host, name):
    change, code = SPOILT[name]
    spoil(host, change)
    assert opens(host, code) == 2


COSTS = {
    "all the memory that there is": (b"M", struct.pack("<Q", 1 << 45)),
    "more memory than can be counted": (b"M", struct.pack("<Q", (1 << 64) - 1)),
    "threads without end": (b"P", struct.pack("<I", (1 << 24) - 1)),
}


@pytest.mark.parametrize("name", COSTS)
def test_a_password_that_costs_too_much_to_try_is_not_tried(host, name):
    """Before the password is known to be right, the file says what trying it takes."""
    key, value = COSTS[name]

    def dearer(data):
        place = data.index(struct.pack("<I", 1) + key + struct.pack("<I", len(value)))
        start = place + 5 + 4
        return data[:start] + value + data[start + len(value) :]

    spoil(host, dearer)
    assert opens(host, "keepass-too-costly") == 2


def too_costly(host):
    """Whether a database is given up in this process, which a test may limit further."""
    source = KeePassFile(str(host.home / "team.kdbx"), None, StandardInput()).opened_with(PASSWORD)
    with pytest.raises(InvalidInput) as caught:
        list(source.entries())
    return caught.value.code == "keepass-too-costly"


def test_a_password_that_takes_for_ever_to_try_ends_at_a_limit(host, monkeypatch):
    """The process that tries it is ended by the system."""

    def slower(data):
        place = data.index(struct.pack("<I", 1) + b"I" + struct.pack("<I", 8))
        return data[: place + 9] + struct.pack("<Q", 1 << 31) + data[place + 17 :]

    spoil(host, slower)
    monkeypatch.setattr(keepass, "CPU_S_MAX", 2)
    assert too_costly(host)


def test_a_database_that_unpacks_to_more_than_fits_is_refused(host, monkeypatch):
    """Some megabytes of it are gigabytes of XML."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed_as(host.home / "team.kdbx", head + once * 256)
    monkeypatch.setattr(keepass, "MEMORY_BYTES_MAX", 1 << 29)
    assert too_costly(host)


@pytest.mark.parametrize("by", ["attachment", "reference"])
def test_a_database_that_tells_the_same_bytes_again_and_again_is_refused(host, monkeypatch, by):
    """One long text or attachment may stand in any number of entries, and costs but once."""
    made = PyKeePass(str(host.home / "team.kdbx"), password=PASSWORD)
    group = made.find_groups(name="payroll", first=True)
    long = made.add_entry(group, "Long", "long", "x", notes="n" * 60_000)
    number = made.add_binary(b"b" * 60_000)
    for one in range(60):
        entry = made.add_entry(group, f"E{one}", f"e{one}", CANARY)
        if by == "attachment":
            entry.add_attachment(number, "proof")
        else:
            entry.notes = f"{{REF:N@I:{long.uuid.hex.upper()}}}"
    made.save()
    place = str(host.home / "team.kdbx")
    read = KeePassFile(place, None, StandardInput()).opened_with(PASSWORD)
    assert len(list(read.entries())) == 62
    monkeypatch.setattr(keepass, "ANSWER_BYTES_MAX", 3_000_000)
    assert too_costly(host)


def test_a_value_that_is_too_long_is_rejected_however_long_it_is(host):
    """It is not handed over whole, and does not become a shorter one by that."""
    made = PyKeePass(str(host.home / "team.kdbx"), password=PASSWORD)
    group = made.find_groups(name="payroll", first=True)
    made.add_entry(group, "Longer", "bob", "x" * (VALUE_BYTES_MAX + 1))
    made.add_entry(group, "Longest", "cem", "x" * VALUE_BYTES_MAX * 3)
    made.save()
    place = str(host.home / "team.kdbx")
    read = KeePassFile(place, None, StandardInput()).opened_with(PASSWORD)
    found = list(read.entries())
    assert [one.place for one in found if isinstance(one, Entry)] == ["payroll/Ann"]
    rejected = [(one.entry, one.code) for one in found if isinstance(one, Rejected)]
    code = "value-too-long"
    assert rejected == [("payroll/Longer", code), ("payroll/Longest", code)]


def doctype(inner):
    def change(text):
        head = b"<!DOCTYPE KeePassFile [" + inner + b"]>"
        return head + text.replace(b"<Value>ann</Value>", b"<Value>&e;</Value>")

    return change


LAUGHS = b'<!ENTITY a0 "ha">' + b"".join(
    b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)
)
DOCUMENTS = {
    "entities that multiply": doctype(LAUGHS + b'<!ENTITY e "&a11;">'),
    "an entity that is a file": doctype(b'<!ENTITY e SYSTEM "file:///etc/passwd">'),
    "an entity at all": doctype(b'<!ENTITY e "ann">'),
    "elements nested without end": lambda text: text.replace(
        b"</Root>", b"<Group>" * 5000 + b"</Group>" * 5000 + b"</Root>"
    ),
    "no root group": lambda text: b"<KeePassFile><Meta/></KeePassFile>",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_keepass_never_writes_is_refused(host, name):
    """However it is sealed: nothing is expanded, and no other file is read."""
    rewritten(host.home / "team.kdbx", DOCUMENTS[name])
    assert opens(host, "keepass-damaged") == 2


def test_a_protected_value_that_does_not_open_is_no_password(host):
    """Else what it is encoded as would be taken for it.

    Under the key of each run it is other bytes, of which so many are never a text by chance.
    """
    sealed = base64.b64encode(b"\xff" * 64)
    rewritten(
        host.home / "team.kdbx",
        lambda text: text.replace(
            b"<Value>ann</Value>", b'<Value Protected="True">' + sealed + b"</Value>"
        ),
    )
    assert opens(host, "keepass-damaged") == 2


def rejected(host, *said):
    before = host.position()
    ended = host.run("credential", "import", *said)
    assert CANARY.encode() not in ended.both
    assert (ended.code, host.position()) == (2, before), ended
    return [(one["entry"], one["code"]) for one in ended.json["rejected"]]


def test_an_entry_that_stands_there_twice_is_rejected(host):
    """Two entries of one owner, and one key twice in one entry."""
    made = PyKeePass(str(host.home / "team.kdbx"), password=PASSWORD)
    group = made.find_groups(name="payroll", first=True)
    made.add_entry(group, "Ann too", "ANN", CANARY)
    made.save()
    rewritten(
        host.home / "team.kdbx",
        lambda text: text.replace(
            b"<String><Key>Title</Key><Value>Ann</Value>",
            b"<String><Key>Notes</Key><Value>2</Value></String>"
            b"<String><Key>Title</Key><Value>Ann</Value>",
        ),
    )
    told = rejected(host, "team.kdbx", "--source-password-file", "kp")
    assert told == [("payroll/Ann", "invalid-entry")]
    rewritten(
        host.home / "team.kdbx",
        lambda text: text.replace(b"<String><Key>Notes</Key><Value>2</Value></String>", b""),
    )
    told = rejected(host, "team.kdbx", "--source-password-file", "kp")
    assert told == [("payroll/Ann too", "repeated-line")]


def test_a_secret_cannot_become_a_name(host):
    """Names are seen by auditors, and in errors."""
    (host.home / "rules.toml").write_text(
        '[[rule]]\npath = "**"\napplication = "payroll"\nowner = "user:{Password}"\n'
    )
    told = rejected(host, "team.kdbx", "--source-password-file", "kp", "--map", "rules.toml")
    assert told == [("payroll/Ann", "secret-in-name")]


def test_a_file_larger_than_is_read_at_once_is_refused_unread(host):
    for name in ("large.kdbx", "large.json"):
        with (host.home / name).open("wb") as file:
            file.truncate(65 << 20)
    (host.home / "rules.toml").write_text('[[rule]]\npath = "**"\napplication = "payroll"\n')
    assert refused(host, "too-large", "large.kdbx", "--source-password-file", "kp") == 2
    dump = ("large.json", "--format", "vault", "--map", "rules.toml")
    assert refused(host, "too-large", *dump) == 2


RULES = {
    "no rule": "",
    "another table": '[[rules]]\npath = "a"\n',
    "a key that is none": '[[rule]]\npath = "a"\napplication = "a"\nfield = {}\n',
    "a path too few": '[[rule]]\napplication = "a"\n',
    "** twice": '[[rule]]\npath = "**/a/**"\napplication = "a"\n',
    "two names in one part": '[[rule]]\npath = "{a}-{b}"\napplication = "{a}"\n',
    "a name twice": '[[rule]]\npath = "{a}/{a}"\napplication = "{a}"\n',
    "both skip and application": '[[rule]]\npath = "a"\nskip = true\napplication = "a"\n',
    "neither": '[[rule]]\npath = "a"\n',
    "an owner that is no text": '[[rule]]\npath = "a"\napplication = "a"\nowner = 3\n',
    "a field from a number": '[[rule]]\npath = "a"\napplication = "a"\nfields = {A = 3}\n',
    "a field twice": '[[rule]]\npath = "a"\napplication = "a"\nfields = {A = "b", a = "c"}\n',
}


@pytest.mark.parametrize("name", RULES)
def test_rules_that_are_none_are_refused(host, name):
    (host.home / "rules.toml").write_text(RULES[name])
    said = ("team.kdbx", "--source-password-file", "kp", "--map", "rules.toml")
    assert refused(host, "invalid-rules", *said) == 2


def test_what_no_rule_names_is_rejected_rather_than_lost(host):
    (host.home / "rules.toml").write_text('[[rule]]\npath = "other/**"\nskip = true\n')
    told = rejected(host, "team.kdbx", "--source-password-file", "kp", "--map", "rules.toml")
    assert told == [("payroll/Ann", "no-rule")]


UNUSED = {
    "rules for lines": ("people.csv", "--map", "rules.toml"),
    "a password for lines": ("people.csv", "--source-password-file", "kp"),
    "a key file for secrets": ("x.json", "--format", "vault", "--source-key-file", "kp"),
}


@pytest.mark.parametrize("name", UNUSED)
def test_an_option_that_the_format_has_no_use_for_is_refused(host, name):
    assert refused(host, "option-not-used", *UNUSED[name]) == 2


SECRETS = {
    "a list": ("[1, 2]", "invalid-secret"),
    "an answer to another question": ('{"data": {"data": 7, "metadata": {"version": 1}}}', None),
    "an object without data": ("{}", "invalid-secret"),
    "a value that is an object": ('{"data": {"User": {"a": 1}, "Password": "b"}}', None),
    "no owner of that name": ('{"data": {"User": "", "Password": "b"}}', "no-such-name"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_does_not_fit_is_rejected_with_its_path(host, name):
    text, code = SECRETS[name]
    (host.home / "s.json").write_text(text)
    (host.home / "rules.toml").write_text(
        '[[rule]]\npath = "**"\napplication = "payroll"\nowner = "user:{User}"\n'
    )
    told = rejected(host, "s.json", "--format", "vault", "--map", "rules.toml")
    assert [entry for entry, _ in told] == ["s"]
    assert code is None or told[0][1] == code


BROKEN = {
    "a document broken off": ('{"data": {"User": "' + CANARY, "invalid-json"),
    "a repeated key": ('{"data": {"a": "1", "a": "2"}}', "invalid-json"),
    "a number that is none": ('{"data": {"a": NaN}}', "invalid-json"),
    "one nested too deep": ('{"data":' + "[" * 100_000, "invalid-json"),
    "no text": (b"\xff\xfe\xff", "not-text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_dump_that_cannot_be_read_is_refused(host, name):
    text, code = BROKEN[name]
    content = text if isinstance(text, bytes) else text.encode()
    (host.home / "s.json").write_bytes(content)
    (host.home / "rules.toml").write_text('[[rule]]\npath = "**"\napplication = "payroll"\n')
    assert refused(host, code, "s.json", "--format", "vault", "--map", "rules.toml") == 2


def test_a_broken_file_of_a_dump_is_named(host):
    """Among many nobody could find it."""
    (host.home / "dump").mkdir()
    (host.home / "dump" / "junk.json").write_text("junk")
    (host.home / "rules.toml").write_text('[[rule]]\npath = "**"\napplication = "payroll"\n')
    (host.home / "dump" / "more.json").write_text("more")
    said = ("credential", "import", "dump", "--format", "vault", "--map", "rules.toml")
    told = host.run(*said).json["rejected"]
    assert [one["entry"] for one in told] == ["junk.json", "more.json"]
    assert "in dump/junk.json is malformed" in told[0]["message"]


def test_a_dump_without_rules_is_refused(host):
    (host.home / "s.json").write_text('{"data": {}}')
    assert refused(host, "rules-required", "s.json", "--format", "vault") == 2


def test_more_files_than_are_read_at_once_are_refused(host):
    """None of them is too large alone."""
    (host.home / "dump").mkdir()
    for name in ("a.json", "b.json"):
        (host.home / "dump" / name).write_bytes(b'{"data": {}}' + b" " * (33 << 20))
    (host.home / "rules.toml").write_text('[[rule]]\npath = "**"\nskip = true\n')
    assert refused(host, "too-large", "dump", "--format", "vault", "--map", "rules.toml") == 2


def test_an_empty_folder_is_no_dump(host):
    (host.home / "dump").mkdir()
    (host.home / "rules.toml").write_text('[[rule]]\npath = "**"\napplication = "payroll"\n')
    said = ("dump", "--format", "vault", "--map", "rules.toml")
    assert refused(host, "nothing-to-import", *said) == 2
