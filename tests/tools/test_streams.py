"""A program whose standard streams were closed before it began."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(cli, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command under a shell that closes what `redirections` says."""
    told = [sys.executable, "-m", "tools.cli.main", *arguments]
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", *told],
        env={**cli.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_is_done_where_nobody_could_hear_the_answer(payroll):
    before = payroll.ok("status")["position"]
    asked = ("credential", "get", "payroll", "--as", "user:alice")
    ended = run(payroll, ">&-", *asked, "--json")
    assert ended.returncode == 7
    assert json.loads(ended.stderr)["error"]["code"] == "no-output"
    assert run(payroll, ">&- 2>&-", *asked).returncode == 7
    assert payroll.ok("status")["position"] == before


def test_a_closed_error_stream_or_input_stops_nothing(payroll):
    listed = run(payroll, "<&- 2>&-", "app", "list", "--json")
    assert listed.returncode == 0
    assert [one["application"] for one in json.loads(listed.stdout)] == ["payroll"]
    silent = run(payroll, "2>&-", "app", "show", "nope")
    assert (silent.returncode, silent.stdout, silent.stderr) == (3, "", "")


def test_no_file_gets_the_number_of_a_closed_stream(payroll):
    """What a program that is run says on its closed error stream must not land in the store."""
    payroll.set("payroll", "user:alice", User="alice", Password="first")
    said = ("sh", "-c", "echo lost >&2; echo heard")
    asked = ("exec", "payroll", "--as", "user:alice", "--", *said)
    ended = run(payroll, "<&- 2>&-", *asked)
    assert (ended.returncode, ended.stdout) == (0, "heard\n")
    assert payroll.ok("log", "verify")["ok"]


def piped_to_nobody(cli, *arguments: str, stream: str = "stdout") -> int:
    """The exit code of one command, of which one stream is a pipe whose reader has gone."""
    reads, writes = os.pipe()
    os.close(reads)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writes}
    try:
        return subprocess.run(
            [sys.executable, "-m", "tools.cli.main", *arguments],
            env={**cli.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            **streams,
            timeout=60,
            check=False,
        ).returncode
    finally:
        os.close(writes)


def test_a_verdict_that_nobody_hears_out_is_the_exit_code_still(payroll, tmp_path):
    assert piped_to_nobody(payroll, "log", "verify") == 0
    assert piped_to_nobody(payroll, "log", "verify", "--ledger-id", "0" * 64) == 8
    assert piped_to_nobody(payroll, "log", "verify", "--ledger-id", "0" * 64, "--json") == 8
    bad = "".join(f'{{"application": "none", "line": {number}}}\n' for number in range(1000))
    (tmp_path / "bad.jsonl").write_text(bad)
    imported = ("credential", "import", str(tmp_path / "bad.jsonl"), "--json")
    assert piped_to_nobody(payroll, *imported) == 2  # more than the stream holds back


def test_an_answer_that_is_cut_short_by_its_reader_is_no_failure(payroll, tmp_path):
    many = "".join(f'[application."App {number:02}"]\nkind = "group"\n' for number in range(60))
    (tmp_path / "many.toml").write_text(many)
    assert piped_to_nobody(payroll, "app", "list") == 0
    payroll.ok("app", "apply", str(tmp_path / "many.toml"))
    assert piped_to_nobody(payroll, "app", "list", "--json") == 0  # more than the stream holds back


def test_an_error_that_nobody_can_be_told_is_the_exit_code_still(payroll):
    unknown = ("app", "show", "nope")
    assert piped_to_nobody(payroll, *unknown, stream="stderr") == 3
    assert piped_to_nobody(payroll, *unknown, "--json", stream="stderr") == 3
    assert piped_to_nobody(payroll, "app", stream="stderr") == 2
    assert run(payroll, "2>/dev/full", *unknown).returncode == 3
    assert run(payroll, ">/dev/full 2>/dev/full", "app", "list").returncode == 7


def test_a_note_that_nobody_reads_does_not_pass_for_an_answer_cut_short(payroll):
    assert piped_to_nobody(payroll, "audit", "who-can", "payroll", stream="stderr") == 7
