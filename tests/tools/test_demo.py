"""`make demo` as a user runs it, on each store and once more in the same place."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools.conftest import Cli
from tools.demo import Demo, named_anew, show

ROOT = Path(__file__).parents[2]
VIEWS = {
    "credential_view",
    "access_history",
    "application_catalogue",
    "key_inventory",
    "application_claims",
}
DIGEST = re.compile(r"^(\w+)\t([0-9a-f]{64})\t([0-9a-f]{64})\t(yes|no)$", re.MULTILINE)
EXPORT = re.compile(r"^export (\w+)=(.*)$", re.MULTILINE)
ENDED = re.compile(r"^\(exit (\d+)\)$", re.MULTILINE)
SIZE = re.compile(r"^size: (\d+)$", re.MULTILINE)
ID = re.compile(r"^ledger id: ([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one demo printed, and how to go on by hand as it says."""

    text: str
    settings: dict[str, str]

    @property
    def schema(self) -> str:
        """Where the ledger is on a server."""
        return self.settings["CREDLEDGER_STORE"].rsplit("ledger=", 1)[1]

    def ask(self, *arguments: str) -> object:
        """A command's answer with what the demo said to export, asked within this process."""
        cli = Cli(ROOT)
        cli.environment = self.settings
        answer = cli(*arguments)
        assert (answer.code, answer.err) == (0, "")
        return answer.json


def run_demo(folder: Path, store: str | None) -> subprocess.CompletedProcess[str]:
    """Run the demo as `make demo` does, a process that starts one for each command it shows."""
    told = ["--store", store] if store else []
    return subprocess.run(
        [sys.executable, "-m", "tools.demo", "--folder", str(folder), *told],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def in_process(words: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command of a demo, run within this process."""
    cli = Cli(ROOT)
    cli.environment = settings
    answer = cli(*words, json_wanted=False)
    return subprocess.CompletedProcess(words, answer.code, answer.text, answer.err)


def shown_by_processes(folder: Path) -> Shown:
    """`make demo`, which must end well and say nothing else."""
    ended = run_demo(folder, None)
    assert ended.returncode == 0, ended
    assert ended.stderr == ""
    return shown(ended.stdout)


def shown_here(folder: Path, server: str | None, capsys) -> Shown:
    """The same with each command within this process, for most of a process is its start."""
    demo = Demo(folder, server and named_anew(server), in_process)
    if server:
        demo.require_free()
    show(demo)
    said, complaints = capsys.readouterr()
    assert complaints == ""
    return shown(said)


def shown(said: str) -> Shown:
    return Shown(said, {name: shlex.split(value)[0] for name, value in EXPORT.findall(said)})


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request):
    """The URL of a database, or None where the ledger is in a file."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres_server").dsn()


def require_whole(shown: Shown, folder: Path) -> str:
    """All went as it should, and what it left is what it showed; the ledger's id."""
    digests = DIGEST.findall(shown.text)
    assert {view for view, _, _, _ in digests} == VIEWS
    assert all(before == after and same == "yes" for _, before, after, same in digests)
    assert ENDED.findall(shown.text) == ["4", "4", "3"]
    assert {path.name for path in folder.iterdir()} == {"store", "keys", "passphrase"}
    assert (folder / "passphrase" / "passphrase").stat().st_mode & 0o777 == 0o600
    verified = shown.ask("log", "verify", "--views")
    assert verified["ok"]
    assert [str(verified["size"])] == SIZE.findall(shown.text)
    rebuilt = shown.ask("replay", "rebuild")["views"]
    assert {(view["name"], view["digest_after"]) for view in rebuilt} == {
        (name, after) for name, _, after, _ in digests
    }
    refused = shown.ask("audit", "access", "--user", "user:mallory")
    assert [(row["application"], row["outcome"]) for row in refused] == [("payroll", "denied")]
    (ledger_id,) = ID.findall(shown.text)
    assert shown.ask("status")["ledger_id"] == ledger_id
    return ledger_id


@pytest.mark.timeout(600)
def test_the_demo_does_the_whole_job_and_does_it_anew_the_second_time(
    server, request, tmp_path, monkeypatch, capsys
):
    """Exit 0, equal digests, and a ledger to go on with; on a server the first one stays too.

    There the first demo is told the name of its ledger, and the second gives one a new name. In
    files the first demo is the program's own processes, as a user has it.
    """
    monkeypatch.chdir(ROOT)  # where `make demo` runs
    folder = tmp_path / "a demo"
    if server is None:
        first = shown_by_processes(folder)
    else:
        named = f"{server}&ledger={request.getfixturevalue('postgres_schema')}"
        first = shown_here(folder, named, capsys)
    first_id = require_whole(first, folder)
    second = shown_here(folder, server, capsys)
    assert require_whole(second, folder) != first_id
    if server is not None:
        assert first.schema == request.getfixturevalue("postgres_schema") != second.schema
        assert len({named_anew(server) for _ in range(9)}) == 9
        require_refused(second, folder, tmp_path)
        database = request.getfixturevalue("postgres_server")
        for shown in (first, second):
            counted = database.execute(f"SELECT count(*) FROM {shown.schema}.log")
            assert counted[0][0] >= int(SIZE.findall(shown.text)[0])
        database.execute(f"DROP SCHEMA {second.schema} CASCADE")


def require_refused(shown: Shown, folder: Path, elsewhere: Path) -> None:
    """A store that is not free, mistyped or unreachable is refused before the folder is cleared.

    The keyring of the ledger that lies there stays. A demo is long, so this asks one that was run.
    """
    keyring = (folder / "keys" / "keyring").read_bytes()
    for wrong, said in (
        (shown.settings["CREDLEDGER_STORE"], "A ledger lies there already"),
        (f"postgresql://postgres@/postgres?host={elsewhere}/nowhere", "cannot be reached"),
        ("mysql://x/y", "A store is written"),
    ):
        ended = run_demo(folder, wrong)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert said in ended.stderr
        assert (folder / "keys" / "keyring").read_bytes() == keyring
    assert shown.ask("log", "verify")["ok"]


def test_make_demo_runs_the_demo():
    """With the store that is named, or none."""
    for store, command in (
        ("postgresql://x/y?z=1&a=b", "-m tools.demo --store 'postgresql://x/y?z=1&a=b'"),
        ("", "-m tools.demo"),
    ):
        told = subprocess.run(
            ["make", "--no-print-directory", "-n", "demo", f"STORE={store}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.splitlines()[-1].strip().endswith(command)
