"""`audit export`: rows for a SIEM, to standard output or into a file that grows."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from ledger.errors import Unavailable
from tests.faults.running import ROOT
from tests.tools.conftest import Cli
from tests.tools.test_retention import later, old  # noqa: F401 # fixtures
from tools.asking import exports

CANARY = "canary-7a3e"


@pytest.fixture
def used(payroll):
    """A ledger with attempts of all outcomes in it."""
    payroll.set("payroll", "user:ann", User="a", Password=CANARY)
    payroll.ok("credential", "get", "payroll", "--as", "user:ann", "--reason", "pay day")
    payroll.fails(3, "credentials-not-set", "credential", "get", "payroll", "--as", "user:bob")
    payroll.fails(4, "access-denied", "credential", "get", "nowhere", "--as", "user:mal")
    return payroll


def lines(text):
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def export(cli, *arguments, form="jsonl"):
    answer = cli("audit", "export", "--format", form, *arguments, json_wanted=False)
    assert answer.code == 0, answer.err
    return lines(answer.text)


def position_of(row):
    return row["position"] if "position" in row else row["metadata"]["sequence"]


def size_of(cli):
    return cli.ok("status")["position"]


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_all_rows_go_out_and_it_is_recorded_first(used, form):
    """The record says how many rows, is not one of them, and comes with the next export."""
    before = size_of(used)
    rows = export(used, "--reason", "weekly", form=form)
    assert [position_of(row) for row in rows] == list(range(1, before + 1))
    (record,) = export(used, "--after", str(before), "--limit", "1")
    assert (record["position"], record["event"]) == (before + 1, "audit.queried")
    assert record["detail"] == {
        "filter": f'export {{"format": "{form}", "after": 0}}',
        "rows": before,
    }
    assert record["reason"] == "weekly"


def test_people_are_told_how_to_go_on(used):
    """On standard error, so that the rows stay alone."""
    size = size_of(used)
    said = used("audit", "export", "--format", "jsonl", json_wanted=False)
    assert said.err == f"Exported {size} rows, up to position {size}. Go on with --after {size}.\n"
    none = used("audit", "export", "--format", "jsonl", "--until", "2001-01-01", json_wanted=False)
    assert (none.out, none.err) == (b"", "Exported 0 rows, up to position 0.\n")


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_every_line_is_ascii_and_no_text_ends_it(used, form):
    """Whatever people were called and gave as reasons."""
    used.fails(
        4, "access-denied", "credential", "get", "x", "--as", "user:\u202eevil\u00e9<script>"
    )
    answer = used("audit", "export", "--format", form, json_wanted=False)
    assert answer.out.isascii()
    assert len(lines(answer.text)) == answer.out.count(b"\n")


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_no_value_leaves(used, form):
    """A canary that was set and read is nowhere in what goes out."""
    answer = used("audit", "export", "--format", form, json_wanted=False)
    for text in (CANARY, CANARY.encode().hex()):
        assert text not in answer.text + answer.err


def test_pages_put_together_are_the_whole(used):
    """Each goes on behind the last row of the one before; only their own records are new."""
    size = size_of(used)
    whole = export(used)
    paged, cursor = [], 0
    while cursor < size:
        page = export(used, "--after", str(cursor), "--limit", "2")
        assert 1 <= len(page) <= 2
        paged, cursor = paged + page, page[-1]["position"]
    assert paged[:size] == whole


def test_until_ends_with_the_last_row_of_that_time(used):
    """And the record tells the right number of rows."""
    rows = export(used)
    until = rows[3]["recorded_at"]
    assert export(used, "--until", until) == rows[:4]
    assert export(used, "--until", until, "--limit", "2") == rows[:2]
    told = [row["detail"]["rows"] for row in export(used) if row["event"] == "audit.queried"]
    assert told[-2:] == [4, 2]


def test_a_cursor_beyond_the_log_is_refused(used):
    """It is another ledger's, or the store was rolled back: a shipper must not just wait."""
    size = size_of(used)
    used.fails(3, "beyond-the-log", "audit", "export", "--format", "jsonl", "--after", "9999")
    new = used.home / "new.jsonl"
    told = ("audit", "export", "--format", "jsonl", "--after", "9999", "--out", str(new))
    used.fails(3, "beyond-the-log", *told)
    used.fails(2, "usage", "audit", "export", "--format", "xml")
    used.fails(2, "usage", "audit", "export")
    used.fails(2, "invalid-time", "audit", "export", "--format", "jsonl", "--until", "soon")
    assert not new.exists()
    assert size_of(used) == size


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_a_file_goes_on_behind_its_own_last_row(used, form):
    """The same command again and again gives every row once."""
    out = used.home / "siem.jsonl"
    told = ("audit", "export", "--format", form, "--out", str(out))
    first = used.ok(*told)
    assert first["position"] == first["rows"] == size_of(used) - 1
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    second = used.ok(*told)
    assert (second["rows"], second["position"]) == (1, first["position"] + 1)
    used.ok("app", "update", "payroll", "--name", "Pay")
    third = used.ok(*told, "--after", str(second["position"]))
    assert third == {**second, "rows": 2, "position": second["position"] + 2}
    rows = lines(out.read_text())
    assert [position_of(row) for row in rows] == list(range(1, third["position"] + 1))
    said = used(*told, json_wanted=False)
    assert said.text == f"Exported 1 row, up to position {third['position'] + 1}.\n"


@pytest.mark.parametrize("left", range(0, 400, 57))
def test_what_a_kill_left_of_a_line_is_written_anew(used, left):
    """Cut anywhere behind a whole line, the file ends up as if nothing had been."""
    out = used.home / "siem.jsonl"
    told = ("audit", "export", "--format", "jsonl", "--out", str(out))
    used.ok(*told)
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) - left])
    used.ok(*told)
    assert out.read_bytes().startswith(whole)
    rows = lines(out.read_text())
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))


FOREIGN = {
    "notes": b"do not lose this\n",
    "no line": b"do not lose this",
    "json": b'{"position": 3}\n',
    "list": b"[1]\n",
    "deep": b"[" * 100_000 + b"\n",
    "other ledger": b'{"ledger_id": "' + b"0" * 64 + b'", "position": 3}\n',
    "empty lines": b"\n\n",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_export_of_this_ledger_is_left_alone(used, content):
    """It is refused before anything is recorded, and not a byte of it changes."""
    out = used.home / "file"
    out.write_bytes(content)
    size = size_of(used)
    told = ("audit", "export", "--format", "jsonl", "--out", str(out))
    used.fails(5, "not-this-export", *told)
    assert out.read_bytes() == content
    assert size_of(used) == size


@pytest.mark.parametrize("position", [10**30, 2**63, 0, -5])
def test_a_file_that_ends_with_a_position_of_no_row_is_left_alone(used, position):
    """Whoever wrote that: nothing is put behind it, and nothing comes twice."""
    out = used.home / "siem.jsonl"
    told = ("audit", "export", "--format", "jsonl", "--out", str(out))
    used.ok(*told)
    rows = lines(out.read_text())
    rows[-1]["position"] = position
    content = "".join(json.dumps(row) + "\n" for row in rows)
    out.write_text(content)
    size = size_of(used)
    used.fails(5, "not-this-export", *told)
    assert out.read_text() == content
    assert size_of(used) == size


def test_a_file_of_another_format_or_cursor_is_left_alone(used):
    """One file holds one form, and --after may not say otherwise than its last row."""
    out = used.home / "siem.jsonl"
    used.ok("audit", "export", "--format", "jsonl", "--out", str(out))
    content = out.read_bytes()
    other = ("audit", "export", "--format", "ocsf", "--out", str(out))
    used.fails(5, "not-this-export", *other)
    again = ("audit", "export", "--format", "jsonl", "--out", str(out), "--after", "1")
    used.fails(2, "export-goes-on", *again)
    assert out.read_bytes() == content


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_a_file_goes_on_behind_no_row_that_was_given_up(used, form):
    """The log went on from an older copy: what lies there now would be missed by the receiver."""
    store, older = used.home / "store", used.home / "older"
    shutil.copytree(store, older)
    out = used.home / "siem.jsonl"
    told = ("audit", "export", "--format", form, "--out", str(out))
    for _ in range(3):
        used.ok("app", "list")
        used.ok("audit", "access")
    used.ok(*told)
    content = out.read_bytes()
    shutil.rmtree(store)
    shutil.copytree(older, store)
    used.ok("log", "accept-rollback", "--yes", "--reason", "the disk is gone")
    if size_of(used) < len(lines(content.decode())):
        used.fails(3, "beyond-the-log", *told)
    while size_of(used) < len(lines(content.decode())):
        used.ok("audit", "access")
    size = size_of(used)
    used.fails(5, "export-forked", *told)
    assert out.read_bytes() == content
    assert size_of(used) == size
    used.ok("audit", "export", "--format", form, "--out", str(used.home / "new.jsonl"))


def test_a_place_that_cannot_be_written_is_named_so(used):
    """A folder, one that is missing, and a device all end alike; nothing is recorded."""
    size = size_of(used)
    for place in (used.home, used.home / "none" / "siem.jsonl", "/dev/null"):
        told = ("audit", "export", "--format", "jsonl", "--out", str(place))
        error = used.fails(7, "export-not-writable", *told)
        assert "free space" in error["hint"]
    assert size_of(used) == size


def test_two_exports_into_one_file_do_not_mix(used):
    """The second is refused as long as the first is at it."""
    out = used.home / "siem.jsonl"
    asked = exports.Asked("jsonl", None, None, None)
    with exports._grown(out, asked, "00", lambda _: None):
        told = ("audit", "export", "--format", "jsonl", "--out", str(out))
        used.fails(5, "export-running", *told)


class Full:
    """A file on a disk with so much room, and none any more."""

    def __init__(self, file, room_bytes):
        self._file, self._room_bytes = file, room_bytes

    def write(self, content):
        if not self._room_bytes:
            raise OSError(28, "No space left on device")
        written = self._file.write(content[: self._room_bytes])
        self._room_bytes -= written
        return written

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("room_bytes", [0, 4, 5, 12])
def test_a_full_disk_leaves_whole_lines_only(tmp_path, room_bytes):
    """Of the line that there was no room for nothing stays, so the next run goes on."""
    with exports._opened(tmp_path / "file") as file:
        growing = exports._Growing(Full(file, room_bytes))
        growing.write("one:\n")
        growing.write("two: 2\n")
        if room_bytes < 12:
            with pytest.raises(Unavailable) as caught:
                growing.make_durable()
            assert caught.value.code == "export-not-writable"
        else:
            growing.make_durable()
    expected = {0: b"", 4: b"", 5: b"one:\n", 12: b"one:\ntwo: 2\n"}
    assert (tmp_path / "file").read_bytes() == expected[room_bytes]


@pytest.fixture
def auditor(used):
    """The same ledger with an auditor's keyring, which opens no secret."""
    safe = used.home / "auditor"
    safe.mkdir(mode=0o700)
    used.ok(
        *("key", "slot", "add", "key-file", "--auditor", "--label", "ada"),
        *("--new-key-file", str(safe / "key"), "--auditor-file", str(safe / "keyring")),
    )
    theirs = Cli(used.home)
    theirs.environment |= {
        "CREDLEDGER_KEYRING": str(safe / "keyring"),
        "CREDLEDGER_KEY_FILE": str(safe / "key"),
    }
    return theirs


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_an_auditor_exports_the_same_rows(used, auditor, form):
    """Those that an operator exports, and it is recorded as the auditor's."""
    rows = export(used, form=form)
    assert export(auditor, "--limit", str(len(rows)), form=form) == rows
    record = export(used, "--after", str(len(rows) + 1))[0]
    assert (record["event"], record["by"]) == ("audit.queried", "auditor")


def test_an_auditor_one_rotation_behind_reads_on(used, auditor):
    """The keys of the next epoch are held ready."""
    used.ok("key", "rotate", "--without-backup")
    size = size_of(used)
    rows = export(auditor)
    assert [row["position"] for row in rows] == list(range(1, size + 1))
    assert not any(row["unreadable"] for row in rows)


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_erased_records_stay_in_their_places(old, form):  # noqa: F811
    """With who did what gone, and the event that erased it named."""
    first = [row["event"] for row in export(old)].index("access.granted")
    old.ok("key", "retention", "set", "--access-older-than", "31")
    done = old.ok("key", "retention", "apply", "--yes")
    rows = export(old, form=form)
    assert [position_of(row) for row in rows] == list(range(1, len(rows) + 1))
    why = f"erased by policy at position {done['position']}"
    for row in rows[first : first + 3]:
        told = row.get("unmapped", row)
        assert (told["unreadable"], told["detail"], told["by"]) == (why, None, None)
    assert "user:alice" in json.dumps(rows[:first])  # whose credentials were set is kept
    assert "user:bob" not in json.dumps(rows)


def test_a_reader_that_goes_away_ends_it_quietly(used):
    """As `head` does."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tools.cli.main audit export --format jsonl | head -1"],
        env={**used.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert json.loads(done.stdout)["position"] == 1
    assert "rror" not in done.stderr
