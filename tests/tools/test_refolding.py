"""Archives brought back with a second process: the same log and views, or the same error."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import tools.processes.workers
from ledger.archive.reading import open_archive
from ledger.codec.mapper import EventMapper
from ledger.errors import Tampered
from ledger.log.following import CheckedHead
from ledger.sealing.keyring_file import read_keyring
from projections.folding import Refolding
from tests.faults.running import until
from tools.people.documents import StandardInput
from tools.people.holdings import present_holding
from tools.recovering.refolding import RefoldingTogether, refolding
from tools.settings import Given, decide

ENOUGH_S = 60
PARTS = 3


@pytest.fixture(autouse=True)
def short_log_is_long(monkeypatch):
    """A second process is worth it for a few rows, whatever this machine has."""
    monkeypatch.setattr("tools.recovering.refolding._TOGETHER_FROM_ROWS", 1)
    monkeypatch.setattr("tools.recovering.refolding.processors", lambda: 2)


@pytest.fixture
def only_together(monkeypatch):
    """One process may not do it in their place."""

    def alone(*_):
        raise AssertionError("checked by one process")

    monkeypatch.setattr(Refolding, "pages", alone)


@pytest.fixture
def only_alone(monkeypatch):
    monkeypatch.setattr("tools.recovering.refolding._TOGETHER_FROM_ROWS", 1 << 62)


def fill(cli):
    """An archive of several parts, each a page; with an epoch that begins in the second."""
    cli.ok("init", "--label", "alice")
    cli.ok("app", "create", "payroll", "--kind", "individual", "--field", "Password:password")
    for part in range(PARTS):
        cli.set("payroll", "user:ann", Password=f"p-{part}")
        cli("credential", "get", "payroll", "--as", "user:ann")
        cli("credential", "get", "payroll", "--as", "user:eve")
        if part == 1:
            cli.ok("key", "rotate", "--without-backup")
        options = ("--since-backup",) if part else ()
        cli.ok("backup", "create", str(cli.archives / str(part)), *options)


@pytest.fixture
def filled(begun):
    return begun(fill)


@pytest.fixture
def in_file(beginnings):
    return beginnings(None).begun(fill)


def newest_of(cli) -> Path:
    return cli.archives / str(PARTS - 1)


def restore(cli):
    """Into an empty place, on a host that remembers nothing."""
    cli.environment["CREDLEDGER_STORE"] = cli.empty()
    for file in Path(cli.environment["CREDLEDGER_KEYRING"]).parent.glob("*memory*"):
        file.unlink()
    return cli("backup", "restore", str(newest_of(cli)))


def test_both_bring_back_the_same(filled, monkeypatch, request):
    """On each store: log, heads and views; and what follows is appended to it."""
    with monkeypatch.context() as patch:
        patch.setattr("tools.recovering.refolding._TOGETHER_FROM_ROWS", 1 << 62)
        alone = restore(filled)
        digests = filled.ok("replay", "rebuild")["views"]
    request.getfixturevalue("only_together")
    together = restore(filled)
    for answer in (alone, together):
        assert answer.code == 0, answer.err
        assert {view["same"] for view in answer.json["views"]} == {True}
    assert {**together.json, "seconds": 0} == {**alone.json, "seconds": 0}
    assert len(digests) == len(together.json["views"])
    assert filled.ok("log", "verify", "--views")["ok"]
    assert filled.ok("credential", "get", "payroll", "--as", "user:ann")["version"] == PARTS
    assert multiprocessing.active_children() == []


def test_drills_and_questions_of_archives_are_together_too(in_file, only_together):
    assert in_file.ok("backup", "drill")["ok"]
    asked = in_file.ok("audit", "access", "--archive", str(newest_of(in_file)))
    assert [one["outcome"] for one in asked] == ["not-set", "granted"] * PARTS


@pytest.mark.parametrize("pages", range(PARTS + 1))
def test_a_worker_that_ends_costs_time_only(in_file, monkeypatch, pages):
    """Whatever it has sent by then; the rest is checked here, and nobody is left behind."""
    honest = RefoldingTogether._sent

    def sent(self, there):
        for number, page in enumerate(honest(self, there)):
            if number == pages:
                return
            yield page

    monkeypatch.setattr(RefoldingTogether, "_sent", sent)
    answer = restore(in_file)
    assert answer.code == 0, answer.err
    assert {view["same"] for view in answer.json["views"]} == {True}
    assert in_file.ok("log", "verify", "--views")["ok"]
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_costs_time_only(in_file, monkeypatch):
    started = []
    honest = tools.processes.workers.start

    def start(act, work):
        worker = honest(act, work)
        started.append(worker.process)
        worker.process.kill()
        return worker

    monkeypatch.setattr("tools.processes.workers.start", start)
    assert restore(in_file).code == 0
    assert len(started) == 1
    assert multiprocessing.active_children() == []


_KILLED = """
import os, signal, sys
import tools.recovering.refolding as refolding
import tools.processes.workers as workers
from tools.cli.main import run

started = []
start = workers.start

def noted(act, work):
    worker = start(act, work)
    started.append(worker.process)
    return worker

workers.start = noted
refolding._TOGETHER_FROM_ROWS, refolding.processors = 1, lambda: 2
honest = refolding.RefoldingTogether._sent

def sent(self, there):
    for number, page in enumerate(honest(self, there)):
        if number == 0:
            print(started[0].pid, flush=True)
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield page

if __name__ == "__main__":
    refolding.RefoldingTogether._sent = sent
    run(["backup", "restore", sys.argv[1]])
"""


@pytest.mark.parametrize("pages", range(PARTS))
def test_a_restore_that_is_killed_leaves_no_worker_and_goes_on(filled, tmp_path, pages):
    """On each store; the next one finds what was brought, and brings the rest."""
    program = tmp_path / "killed.py"
    program.write_text(_KILLED, encoding="utf-8")
    filled.environment["CREDLEDGER_STORE"] = filled.empty()
    ended = subprocess.run(
        [sys.executable, str(program), str(newest_of(filled)), str(pages)],
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
        check=False,
        env={**os.environ, **filled.environment},
    )
    assert ended.returncode == -signal.SIGKILL, ended
    until(lambda: not is_alive(int(ended.stdout)))
    answer = filled("backup", "restore", str(newest_of(filled)))
    assert answer.code == 0, answer.err
    assert {view["same"] for view in answer.json["views"]} == {True}
    assert filled.ok("log", "verify", "--views")["ok"]


def is_alive(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return False


@pytest.mark.parametrize("part", range(PARTS))
def test_damage_is_the_same_error(in_file, monkeypatch, part):
    """One byte of each part; the pages before it are given either way."""
    segment = next((in_file.archives / str(part)).glob("*.segment"))
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(bytes(content))
    told = []
    for rows in (1, 1 << 62):
        monkeypatch.setattr("tools.recovering.refolding._TOGETHER_FROM_ROWS", rows)
        pages = []
        with refold(in_file) as (_, _, refolds), pytest.raises(Tampered) as caught:
            pages.extend(page.head for page in refolds.pages(0))
        told.append((caught.value.code, caught.value.position, pages))
    assert told[0] == told[1]
    assert told[0][0] == "archive-damaged"
    assert multiprocessing.active_children() == []


@contextmanager
def refold(cli):
    settings = decide(Given(), cli.environment)
    unlocked = read_keyring(settings.keyring).unlock(present_holding(settings, StandardInput()))
    mapper = EventMapper(unlocked.ledger_id, unlocked.key_set(), bytes)
    archive = open_archive(newest_of(cli))
    with refolding(archive, mapper, unlocked.stream_names(), None) as refolds:
        yield archive, mapper, refolds


def test_a_restore_that_was_cut_off_goes_on(in_file):
    """What the store holds is checked and learned from, and not folded."""
    with refold(in_file) as (archive, _, together):
        there = archive.parts[0].manifest.head.size
        pages = list(together.pages(there))
    assert [page.folded is None for page in pages] == [True, *[False] * (PARTS - 1)]
    assert [page.after for page in pages] == [0, *[page.head.size for page in pages[:-1]]]
    assert pages[-1].head.frontier.root() == archive.manifest.head.root


@pytest.mark.parametrize("rows", [1, 1 << 62])
@pytest.mark.parametrize("is_there", [False, True])
def test_when_epochs_began_is_learned_on_the_way(in_file, monkeypatch, rows, is_there):
    """By the process that goes on with the ledger, whoever has folded."""
    monkeypatch.setattr("tools.recovering.refolding._TOGETHER_FROM_ROWS", rows)
    with refold(in_file) as (archive, mapper, refolds):
        assert not mapper.knows(2)
        assert list(refolds.pages(archive.last_position() if is_there else 0))
        assert mapper.knows(2)


def test_an_archive_that_changes_meanwhile_is_not_gone_on_with(in_file, monkeypatch):
    """What this process finds must lead to where the other one was."""
    honest = RefoldingTogether._sent

    def sent(self, there):
        page = next(honest(self, there))
        yield page._replace(head=CheckedHead(page.head.frontier, 1, 1, b""))

    monkeypatch.setattr(RefoldingTogether, "_sent", sent)
    with refold(in_file) as (_, _, together), pytest.raises(Tampered) as caught:
        list(together.pages(0))
    assert caught.value.code == "archive-damaged"


def test_a_short_archive_is_brought_back_by_one_process(in_file, only_alone):
    with refold(in_file) as (_, _, alone):
        assert isinstance(alone, Refolding)
