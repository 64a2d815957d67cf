"""`audit recheck` by several processes: the same answer, keys in few hands, nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import pytest

import tools.processes.workers
from ledger.aggregates.retention import Retention
from ledger.sealing.keys import KeySet
from tests.faults.test_tampering import TRIGGERS
from tests.projections.conftest import World, record_of
from tests.tools.conftest import auditor_of, found
from tools.asking import rechecking
from tools.asking.rechecking import Work, decide_handed, redecide_together
from tools.people.documents import StandardInput
from tools.processes.workers import Worker
from tools.settings import Given, decide
from tools.wiring import open_session

ENOUGH_S = 60
_SECRET = "a password that no worker may see"


@pytest.fixture(autouse=True)
def short_log_is_long(monkeypatch):
    """Several processes share a log of a few rows."""
    monkeypatch.setattr("tools.asking.questions._TOGETHER_FROM_ROWS", 1)
    monkeypatch.setattr("tools.asking.rechecking.STRETCH_ROWS", 4)


@pytest.fixture
def only_together(monkeypatch):
    """One process may not answer in their place."""

    def alone(*_, **__):
        raise AssertionError("decided by one process")

    monkeypatch.setattr("tools.asking.questions.redecide", alone)


def fill(cli):
    cli.ok("app", "create", "payroll", "--kind", "individual", "--field", "Password:password")
    for owner in ("user:ann", "user:ben"):
        cli.set("payroll", owner, Password=_SECRET)
    for _ in range(3):
        cli("credential", "get", "payroll", "--as", "user:ann")
        cli("credential", "get", "payroll", "--as", "user:eve")
        cli.set("payroll", "user:ben", Password=_SECRET)


@pytest.fixture
def filled(begun):
    return begun(found, fill)


@pytest.fixture
def in_file(beginnings):
    return beginnings(None).begun(found, fill)


@pytest.fixture
def session(in_file):
    with open_session(decide(Given(), in_file.environment), StandardInput()) as opened:
        yield opened


def unseen(done, total):
    pass


def work_of(session):
    id_, settings = session.mapper.ledger_id, session.settings
    with session.store.reading() as reading:
        borders = tuple(rechecking.borders_of(reading, 4))
        bounds = rechecking.bounds_of(reading)
    return Work(settings, id_, Retention(), borders, 1, bounds, session.ledger.reach())


def is_gone(process):
    process.join(ENOUGH_S)
    return process.exitcode is not None


def test_several_answer_as_one_does(filled, monkeypatch, request):
    """On each store, and to an auditor; what was asked is recorded alike."""
    auditor = auditor_of(filled)
    alone = filled.ok("audit", "recheck", "--jobs", "1")
    assert (alone["checked"], alone["wrong"], alone["unreadable"]) == (6, [], [])
    request.getfixturevalue("only_together")
    before = filled.ok("status")["position"]
    assert filled.ok("audit", "recheck", "--jobs", "2") == alone
    assert filled.ok("status")["position"] == before + 1
    assert auditor.ok("audit", "recheck", "--jobs", "2") == alone
    newest = filled.ok("log", "events", "--after", str(before))
    assert [one["topic"] for one in newest] == ["audit.queried"] * 2
    assert multiprocessing.active_children() == []


def test_several_answer_of_an_archive(in_file, only_together):
    """Its scratch store is read by them as any other."""
    archive = str(in_file.home / "archive")
    (in_file.home / "safe").mkdir()
    in_file.ok("key", "backup", str(in_file.home / "safe" / "one"))
    in_file.ok("backup", "create", archive)
    assert in_file.ok("audit", "recheck", "--jobs", "2", "--archive", archive)["checked"] == 6


def test_what_should_not_have_been_is_found_by_several(in_file, session, only_together):
    """An access that was forged with all keys, and no other; exit 8."""
    position = World(None, session.ledger).append_access(record_of(application="payroll"))
    answer = in_file("audit", "recheck", "--jobs", "2")
    assert answer.code == 8
    assert [one["position"] for one in answer.json["wrong"]] == [position]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_only_what_lies_in_the_range_is_decided_again(filled, jobs, request):
    """A forged access before the end is named, one behind it or before the beginning is not."""
    with open_session(decide(Given(), filled.environment), StandardInput()) as opened:
        world = World(None, opened.ledger)
        first = world.append_access(record_of(application="payroll"))
        filled("credential", "get", "payroll", "--as", "user:ann")
        second = world.append_access(record_of(application="payroll"))
    if jobs == "2":
        request.getfixturevalue("only_together")
    rows = {one["position"]: one["recorded_at"] for one in filled.ok("log", "events")}
    asked = (
        (("--position", str(first - 1)), [], 6),
        (("--until", rows[first - 1]), [], 6),
        (("--position", str(first)), [first], 7),
        (("--until", rows[first]), [first], 7),
        (("--since", rows[first + 1]), [second], 2),
        (("--since", rows[first], "--position", str(second - 1)), [first], 2),
        ((), [first, second], 9),
    )
    for further, wrong, checked in asked:
        answer = filled("audit", "recheck", "--jobs", jobs, *further)
        assert [one["position"] for one in answer.json["wrong"]] == wrong, further
        assert (answer.code, answer.json["checked"]) == (8 if wrong else 0, checked)
    told = [one["filter"] for one in filled.ok("audit", "questions")][::-1]
    assert told[0] == {"position": first - 1}
    assert told[4] == {"since": rows[first + 1]}
    assert told[6] is None


def test_an_archive_is_decided_again_up_to_a_moment(in_file, only_together):
    """As the ledger is; a moment that cannot be is refused alike."""
    archive = str(in_file.home / "archive")
    position = in_file.ok("status")["position"]
    (in_file.home / "safe").mkdir()
    in_file.ok("key", "backup", str(in_file.home / "safe" / "one"))
    in_file.ok("backup", "create", archive)
    ask = ("audit", "recheck", "--jobs", "2", "--archive", archive)
    assert in_file.ok(*ask, "--position", str(position - 2))["checked"] == 5
    in_file.fails(3, "beyond-the-log", *ask, "--position", "99999")


def tamper(cli, statement):
    import sqlite3

    path = cli.environment["CREDLEDGER_STORE"].removeprefix("sqlite://")
    with sqlite3.connect(path) as connection:
        for (name,) in connection.execute(TRIGGERS).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM log WHERE position = (SELECT min(position) FROM log WHERE topic LIKE 'acc%')",
        "UPDATE log SET recorded_at = recorded_at + 1 WHERE topic = 'application.created'",
        "DELETE FROM commits WHERE size = (SELECT max(size) FROM commits)",
    ],
)
def test_damage_ends_the_same_way_with_several(session, statement, in_file):
    """The error and its position are those that one process tells."""
    told = []
    for jobs in (1, 2):
        if jobs == 1:
            tamper(in_file, statement)
        with pytest.raises(Exception) as caught:
            rechecked(session, jobs)
        told.append((caught.value.code, caught.value.position, caught.value.message))
    assert told[0] == told[1]
    assert multiprocessing.active_children() == []


def rechecked(session, jobs):
    from tools.asking.questions import recheck_accesses

    return recheck_accesses(session, jobs)


def test_a_worker_that_is_killed_costs_time_only(session, monkeypatch):
    """One process answers, and nobody is left behind."""
    started = []
    honest = tools.processes.workers.start

    def start(act, work):
        worker = honest(act, work)
        started.append(worker.process)
        if len(started) == 2:
            worker.process.kill()
        return worker

    monkeypatch.setattr("tools.processes.workers.start", start)
    assert redecide_together(session, 2, unseen) is None
    assert rechecked(session, 2)["checked"] == 6
    assert len(started) == 4
    assert all(is_gone(process) for process in started)
    assert multiprocessing.active_children() == []


def test_ctrl_c_ends_all_of_them(session):
    """It reaches this process alone, which ends the others before anything else."""

    def interrupted(done, total):
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGINT)  # as a terminal sends it to each of them
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redecide_together(session, 2, interrupted)
    assert multiprocessing.active_children() == []


def test_no_key_of_secrets_is_handed_over(in_file, session):
    """What a worker holds opens policy and records, and no value."""
    from ledger.sealing.keyring_file import read_keyring
    from tools.people.holdings import present_holding

    holding = present_holding(session.settings, StandardInput())
    unlocked = read_keyring(session.settings.keyring).unlock(holding)
    secrets = [keys.secret for keys in unlocked.epochs if keys.secret is not None]
    assert secrets
    handed = session.mapper.handed_over()
    assert not any(secret in handed for secret in secrets)
    taken = KeySet.taken_over(handed)
    assert set(taken.epochs) == {keys.epoch for keys in unlocked.epochs}
    assert all(keys.secret is None for keys in taken._held.epochs.values())


def test_a_worker_decides_what_it_is_handed(session):
    """One at a time, in order, until there is nothing left."""
    ours, theirs = multiprocessing.Pipe()
    work = work_of(session)
    working = threading.Thread(target=decide_handed, args=(theirs, work))
    working.start()
    answers = rechecking._decided([Worker(None, ours)], session.mapper, len(work.borders))
    assert [one.number for one in answers] == list(range(len(work.borders)))
    working.join(ENOUGH_S)
    assert not working.is_alive()


def test_a_log_of_one_stretch_is_for_one_process(session, monkeypatch):
    """Nothing would be shared."""
    monkeypatch.setattr("tools.asking.rechecking.STRETCH_ROWS", 1000)
    assert redecide_together(session, 2, unseen) is None
