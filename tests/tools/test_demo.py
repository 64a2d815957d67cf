"""`make demo` as a user runs it, on each store and once more in the same place."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VIEWS = {"credential_view", "access_history", "application_catalogue", "key_inventory"}
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
        """Run a command with what the demo said to export."""
        return json.loads(run("tools.cli.main", *arguments, "--json", **self.settings).stdout)


def run(module: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the project, which must end well and say nothing else."""
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended
    assert ended.stderr == ""
    return ended


def show(folder: Path, server: str | None) -> Shown:
    """Run the demo as `make demo` does."""
    told = ["--store", server] if server else []
    text = run("tools.demo", "--folder", str(folder), *told).stdout
    exports = EXPORT.findall(text)
    return Shown(text, {name: shlex.split(value)[0] for name, value in exports})


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
def test_the_demo_does_the_whole_job_and_does_it_anew_the_second_time(server, request, tmp_path):
    """Exit 0, equal digests, and a ledger to go on with; on a server the first one stays too."""
    folder = tmp_path / "a demo"
    first = show(folder, server)
    first_id = require_whole(first, folder)
    second = show(folder, server)
    assert require_whole(second, folder) != first_id
    if server is not None:
        assert first.schema != second.schema
        database = request.getfixturevalue("postgres_server")
        for shown in (first, second):
            counted = database.execute(f"SELECT count(*) FROM {shown.schema}.log")
            assert counted[0][0] >= int(SIZE.findall(shown.text)[0])
            database.execute(f"DROP SCHEMA {shown.schema} CASCADE")


def refused(folder: Path, store: str) -> str:
    """What a demo that is to change nothing says."""
    ended = subprocess.run(
        [sys.executable, "-m", "tools.demo", "--folder", str(folder), "--store", store],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


@pytest.mark.timeout(600)
def test_a_store_that_is_not_free_is_refused_before_the_folder_is_cleared(
    postgres_server, postgres_schema, tmp_path
):
    """The keyring of the ledger that lies there stays, and so does that of a mistyped store."""
    store = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    folder = tmp_path / "demo"
    ledger_id = require_whole(show(folder, store), folder)
    keyring = (folder / "keys" / "keyring").read_bytes()
    for wrong, said in (
        (store, "A ledger lies there already"),
        (f"postgresql://postgres@/postgres?host={tmp_path}/nowhere", "cannot be reached"),
        ("mysql://x/y", "A store is written"),
    ):
        assert said in refused(folder, wrong)
        assert (folder / "keys" / "keyring").read_bytes() == keyring
    assert ledger_id


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
