"""Files that are not what an import hopes for: nothing of them is recorded, and the line is named.

Each file is given to the program as a process. A refusal is an exit code with a stable code; where
lines are at fault, standard output names each of them. Neither stream ever holds a value.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.faults.running import ROOT, Host

CANARY = "canary-2b7e"
BATCH = 500
VALUE_BYTES_MAX = 64 * 1024
LINE_CHARACTERS_MAX = 4 * 1024 * 1024
FIELDS = ("--field", "User:user-name", "--field", "Password:password")
HEADING = "application,owner,User,Password\n"


@pytest.fixture(scope="module")
def base(nursery, tmp_path_factory):
    """A ledger with one individual application."""
    host = Host(nursery, tmp_path_factory.mktemp("imports") / "base")
    host.ok("init", "--label", "ann")
    host.ok("app", "create", "payroll", "--kind", "individual", *FIELDS)
    return host


@pytest.fixture
def host(base, tmp_path):
    return base.copy(tmp_path / "host")


def line(number, password=CANARY, **changes):
    fields = {"User": f"p{number}", "Password": password}
    mapping = {"application": "payroll", "owner": f"user:p{number}", "fields": fields}
    return json.dumps({**mapping, **changes}) + "\n"


def lines(count, password=CANARY):
    return "".join(line(number, password) for number in range(count))


def offer(host, content, name="people.jsonl"):
    """Import this content; the program's end and how many events were recorded."""
    (host.home / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = host.position()
    ended = host.run("credential", "import", name)
    assert CANARY.encode() not in ended.both
    assert b"Traceback" not in ended.both
    return ended, host.position() - before


REJECTED = {
    "a line broken off": (line(2)[:40] + "\n", "invalid-json"),
    "a line that is no object": ("[1, 2]\n", "invalid-line"),
    "a number where text belongs": (line(2, owner=7), "invalid-line"),
    "a key that is none": (line(2, passwort=CANARY), "invalid-line"),
    "a repeated key": ('{"application": "a", "application": "b"}\n', "invalid-json"),
    "a line nested too deep": ("[" * 50_000 + "\n", "invalid-json"),
    "a field that is none": (line(2, fields={"User": "a", "Pasword": CANARY}), "unknown-field"),
    "a field too few": (line(2, fields={"User": "a"}), "missing-field"),
    "an owner that is no claim": (line(2, owner="petra"), "invalid-claim"),
    "an application that is not there": (line(2, application="nowhere"), "no-such-application"),
    "a mapping that stands there twice": (line(0, owner="user:P0"), "repeated-line"),
    "a value too long": (line(2, CANARY.ljust(VALUE_BYTES_MAX + 1, "x")), "value-too-long"),
    "a control character outside a string": (line(2)[:-2] + "\x01}\n", "invalid-json"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_one_bad_line_is_named_and_keeps_all_others_out(host, name):
    """Nothing of the file is imported, whatever stands before and after that line."""
    bad, code = REJECTED[name]
    ended, recorded = offer(host, line(0) + "\n" + line(1) + bad + line(3))
    assert (ended.code, recorded) == (2, 0), ended
    assert ended.json["imported"] == 0
    assert ended.json["last_position"] is None
    assert [(one["line"], one["code"]) for one in ended.json["rejected"]] == [(4, code)]


def test_a_bad_line_after_whole_batches_keeps_those_out_too(host):
    """The whole file is checked before its first batch."""
    ended, recorded = offer(host, lines(2 * BATCH) + "{}\n" + line(5_000) + "{\n")
    assert (ended.code, recorded) == (2, 0)
    assert [one["line"] for one in ended.json["rejected"]] == [2 * BATCH + 1, 2 * BATCH + 3]
    mended, recorded = offer(host, lines(2 * BATCH))
    assert (mended.code, recorded) == (0, 2 * BATCH)


SHEETS = {
    "a heading without owner": (
        "application,User,Password\n",
        1,
        "invalid-heading",
        "The first line names no column owner (in small letters).",
    ),
    "values for a heading": (
        f"payroll,user:a,a,{CANARY}\n",
        1,
        "invalid-heading",
        "The first line names no column application and no column owner (in small letters).",
    ),
    "a heading with a column twice": (
        "application,owner,User,Pin,User\n",
        1,
        "invalid-heading",
        "Columns 3 and 5 of the first line have the same name.",
    ),
    "semicolons": (
        "application;owner;User;Password\n",
        1,
        "invalid-heading",
        "The first line is one cell; commas stand between cells, not semicolons or tabs.",
    ),
    "a sheet without a column for a field": (
        "application,owner,User\npayroll,user:a,a\n",
        2,
        "missing-field",
        "Every field of the application needs a value; Password has none.",
    ),
    "an empty cell": (
        HEADING + f"payroll,user:a,,{CANARY}\n",
        2,
        "missing-field",
        "Every field of the application needs a value; User has none.",
    ),
    "a cell too few": (
        HEADING + "payroll,user:a,a\n",
        2,
        "invalid-line",
        "The line has 3 cells, and the first line names 4.",
    ),
    "a cell too many": (
        HEADING + f"payroll,user:a,a,{CANARY},b\n",
        2,
        "invalid-line",
        "The line has 5 cells, and the first line names 4.",
    ),
    "a quote that never ends": (
        HEADING + f'payroll,user:a,a,"{CANARY}\n\n\n',
        2,
        "invalid-csv",
        "The line is not well-formed CSV: unexpected end of data.",
    ),
    "a quote that never ends, further down": (
        HEADING + f'payroll,user:a,a,b\n\npayroll,user:b,b,"{CANARY}\n\n\n',
        4,
        "invalid-csv",
        "The line is not well-formed CSV: unexpected end of data.",
    ),
    "nothing at all": (
        "",
        1,
        "invalid-heading",
        "The file is empty; a first line names application, owner and fields.",
    ),
}


@pytest.mark.parametrize("name", SHEETS)
def test_a_bad_sheet_is_refused_with_its_line(host, name):
    """And with what is wrong there, without a cell of it."""
    content, *told = SHEETS[name]
    ended, recorded = offer(host, content, "people.csv")
    assert (ended.code, recorded) == (2, 0), ended
    assert [list(one.values()) for one in ended.json["rejected"]] == [told]


WRITTEN = {
    "UTF-8 with a mark": line(0).encode("utf-8-sig"),
    "UTF-16 as PowerShell writes it": line(0).replace("\n", "\r\n").encode("utf-16"),
    "UTF-16 in the other order": b"\xfe\xff" + line(0).encode("utf-16-be"),
    "lines that end as on Windows": line(0).replace("\n", "\r\n").encode(),
    "no end of line at all": line(0).rstrip().encode(),
    "empty lines between": f"\n \n{line(0)}\n\n".encode(),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_is_read_however_its_text_was_written(host, name):
    """Marks, encodings and ends of lines change neither owner nor value."""
    ended, recorded = offer(host, WRITTEN[name])
    assert (ended.code, recorded) == (0, 1), ended
    found = host.ok("credential", "get", "payroll", "--as", "user:p0")
    assert found["fields"] == {"User": "p0", "Password": CANARY}


def test_a_sheet_in_utf_16_keeps_commas_and_quotes_of_its_values(host):
    """A spreadsheet's export is read as the spreadsheet meant it."""
    sheet = HEADING + f'payroll,user:p0,p0,"{CANARY}, ""quoted"""\n'
    ended, recorded = offer(host, sheet.encode("utf-16"), "people.csv")
    assert (ended.code, recorded) == (0, 1)
    found = host.ok("credential", "get", "payroll", "--as", "user:p0")
    assert found["fields"]["Password"] == f'{CANARY}, "quoted"'


UNREAD = {
    "bytes that are no text": (bytes(range(256)) * 20, "not-text"),
    "Latin-1": (line(0).encode() + "caf\xe9".encode("latin-1"), "not-text"),
    "half a character of UTF-16": (line(0).encode("utf-16") + b"x", "not-text"),
    "a huge line": (line(0) + "x" * (LINE_CHARACTERS_MAX + 1), "too-large"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_file_that_cannot_be_read_as_lines_is_refused_as_a_whole(host, name):
    content, code = UNREAD[name]
    ended, recorded = offer(host, content)
    assert (ended.code, ended.error["code"], recorded) == (2, code, 0), ended
    assert "line" in ended.error["message"].casefold()


def test_the_longest_value_is_kept_as_given(host):
    """64 KiB go in and come out."""
    longest = CANARY.ljust(VALUE_BYTES_MAX, "x")
    ended, recorded = offer(host, line(0, longest))
    assert (ended.code, recorded) == (0, 1)
    found = host.ok("credential", "get", "payroll", "--as", "user:p0")
    assert found["fields"]["Password"] == longest


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"], ids=["none", "lines", "mark"])
def test_an_empty_file_imports_nothing(host, content):
    """There is nothing wrong with it either."""
    ended, recorded = offer(host, content)
    assert (ended.code, recorded) == (0, 0)
    told = ended.json
    assert (told["imported"], told["unchanged"], told["last_position"]) == (0, 0, None)
    assert told["rejected"] == told["applications"] == told["left_out"] == []


def test_what_is_no_file_is_refused_or_empty(host):
    """A missing file, a folder, a link in a circle; a device."""
    (host.home / "circle").symlink_to("circle")
    before = host.position()
    host.fails(3, "no-such-file", "credential", "import", "nowhere.jsonl")
    host.fails(2, "file-unreadable", "credential", "import", "keys")
    host.fails(2, "file-unreadable", "credential", "import", "circle")
    host.fails(2, "not-a-file", "credential", "import", "/dev/zero")
    assert host.ok("credential", "import", "-", stdin=b"")["imported"] == 0
    assert host.position() == before


SWAPPING = """
import shutil
from tools.sources import import_run
from tools.cli.main import main
check = import_run.check_lines
def swapping(*arguments):
    found = check(*arguments)
    shutil.copy("after.jsonl", "people.jsonl")
    return found
import_run.check_lines = swapping
main(["credential", "import", "people.jsonl", "--json"])
"""


def import_changing(host, first, second):
    """Import a file that is replaced once it was checked."""
    (host.home / "people.jsonl").write_text(first)
    (host.home / "after.jsonl").write_text(second)
    return subprocess.run(
        [sys.executable, "-c", SWAPPING],
        cwd=host.home,
        env={**os.environ, **host.environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


CHANGED = {
    "another value": (lines(3), lines(3, CANARY + "-2")),
    "a line less": (lines(3), lines(2)),
    "a line more": (lines(3), lines(4)),
    "a line broken": (lines(3), lines(2) + "{\n"),
    "nothing": (lines(3), ""),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_file_that_changes_after_its_check_is_not_imported(host, name):
    """What was checked is what is imported: a conflict otherwise, and the batch stays out."""
    before = host.position()
    ended = import_changing(host, *CHANGED[name])
    error = json.loads(ended.stderr)["error"]
    assert (ended.returncode, error["code"]) == (5, "file-changed"), ended
    assert error["hint"]
    assert CANARY.encode() not in ended.stdout + ended.stderr
    assert host.position() == before
    host.is_whole()


def test_only_batches_that_are_still_the_same_go_in(host):
    """The first batch is as it was checked, the second is not, though it ends with the file."""
    whole = lines(2 * BATCH)
    changed = whole.replace(f'"User": "p{BATCH + 7}"', '"User": "somebody else"')
    before = host.position()
    ended = import_changing(host, whole, changed)
    assert (ended.returncode, json.loads(ended.stderr)["error"]["code"]) == (5, "file-changed")
    assert host.position() in {before, before + BATCH}
    assert host.ok("credential", "import", "people.jsonl")["imported"] >= BATCH
    host.is_whole()


def test_a_file_that_stays_the_same_is_read_twice_and_imported(host):
    """The two readings of one content are one import."""
    ended = import_changing(host, lines(3), lines(3))
    assert (ended.returncode, json.loads(ended.stdout)["imported"]) == (0, 3), ended


def test_a_pipe_is_refused_and_standard_input_is_not(host):
    """What can be read once only comes by standard input, which is held."""
    os.mkfifo(host.home / "pipe")
    host.fails(2, "not-a-file", "credential", "import", "pipe")
    assert host.ok("credential", "import", "-", stdin=lines(2).encode())["imported"] == 2


def test_many_bad_lines_are_counted_and_some_are_shown(host):
    """Twenty are enough to see what is wrong; a script gets all."""
    (host.home / "bad.jsonl").write_text("{\n" * 50)
    ended = host.run("credential", "import", "bad.jsonl")
    assert (ended.code, len(ended.json["rejected"])) == (2, 50)
    assert ended.json["rejected"][2]["message"].count("line 3") == 1


def test_an_interrupted_import_says_what_was_recorded(host):
    """Ctrl-C is exit 130 with the truth."""
    (host.home / "people.jsonl").write_text(lines(3 * BATCH))
    script = """
from ledger.usecases.ledger import Ledger
from tools.cli.main import main
first = Ledger.import_batch
def interrupting(self, *arguments):
    if self.head().size > {0}:
        raise KeyboardInterrupt
    return first(self, *arguments)
Ledger.import_batch = interrupting
main(["credential", "import", "people.jsonl"])
"""
    before = host.position()
    ended = subprocess.run(
        [sys.executable, "-c", script.replace("{0}", str(before))],
        cwd=host.home,
        env={**os.environ, **host.environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 130
    assert f"at least {BATCH} mappings were imported" in ended.stderr
    assert "nothing was changed" not in ended.stderr
    assert host.position() > before + BATCH - 1
    again = host.ok("credential", "import", "people.jsonl")
    assert (again["imported"], again["unchanged"]) == (2 * BATCH, BATCH)
