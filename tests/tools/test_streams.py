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
