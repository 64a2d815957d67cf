"""A running process, the memory it shares with others of its host, and a log put back in time."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ledger.aggregates.access import AuditQueried
from ledger.claims import parse_claim
from ledger.errors import LedgerError, Unavailable
from ledger.log import columns, following, writer
from ledger.log.following import Follower
from ledger.log.memory import HostMemory, memory_path
from ledger.log.observers import Holding
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import House, unlocked_by_passphrase
from tests.faults.hosts import copied
from tests.faults.test_tampering import attack

_UNLIMITED_S = 30
ANN = parse_claim("user:ann")


def create(ledger, name: str) -> None:
    ledger.create_application(Acting(), name, kind="individual")


def values(password: str) -> dict[str, FieldValue]:
    return {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(password)}


def put_back(house: House, size: int) -> None:
    """The store as it was at this size; views notice by themselves that they stand beyond it."""
    attack(
        house,
        f"DELETE FROM log WHERE position > {size}",
        f"DELETE FROM commits WHERE size > {size}",
    )


def size_of(house: House) -> int:
    with house.store().reading() as reading:
        return reading.last_position()


def remembered(house: House):
    unlocked = unlocked_by_passphrase(house.keyring_path)
    return house.memory(unlocked).recall()


def code_of(action) -> str:
    with pytest.raises(LedgerError) as caught:
        action()
    return caught.value.code


def test_a_log_put_back_to_where_a_process_stands_is_noticed_by_what_its_neighbour_saw(house):
    standing = house.open()
    create(standing, "CRM")
    size = size_of(house)
    neighbour = house.open()
    for name in ("One", "Two", "Three"):
        create(neighbour, name)
    neighbour.close()
    seen = remembered(house)
    put_back(house, size)
    for _ in range(seen.size):
        assert code_of(lambda: create(standing, "Fork")) == "rolled-back"
    assert code_of(lambda: standing.application("One")) == "rolled-back"
    standing.close()
    assert size_of(house) == size
    assert remembered(house) == seen
    assert code_of(house.open) == "rolled-back"


def test_what_a_neighbour_has_checked_is_gone_on_from(house):
    """Both change one stream by turns, each beginning with what the other remembered."""
    one, other = house.open(), house.open()
    create(one, "CRM")
    for turn in range(4):
        for ledger, name in ((one, f"one{turn}"), (other, f"other{turn}")):
            ledger.grant(Acting(), "CRM", "administrator", f"user:{name}")
            ledger._writer._remember(always=True)
    one.close()
    other.close()
    assert remembered(house).size == size_of(house)
    assert verify_log(house.store()).ok
    assert len(house.open().application("CRM").administrators) == 8


def test_a_log_that_grew_again_to_the_same_size_is_not_built_on(house):
    standing = house.open()
    create(standing, "CRM")
    size = size_of(house)
    create(standing, "Lost")
    put_back(house, size)
    elsewhere = copied(house, "elsewhere").open()
    create(elsewhere, "Other")
    elsewhere.close()
    assert size_of(house) == size + 1
    assert code_of(lambda: create(standing, "Next")) == "forked"
    assert code_of(lambda: standing.application("Other")) == "forked"
    assert size_of(house) == size + 1
    assert verify_log(house.store()).ok


def test_a_process_whose_memory_was_taken_away_guesses_nothing_and_writes_no_half(house):
    first = house.open()
    create(first, "CRM")
    first.close()
    running = house.open()
    memory_path(house.keyring_path).unlink()
    assert code_of(lambda: running.application("CRM")) == "memory-replaced"
    assert code_of(lambda: create(running, "CRM")) == "memory-replaced"
    running.close()
    assert running._writer.unremembered.code == "memory-replaced"
    assert not memory_path(house.keyring_path).exists()
    anew = house.open()
    assert anew.application("CRM").name == "CRM"
    anew.close()
    assert remembered(house).size == size_of(house)


def test_an_older_memory_put_in_place_is_not_mixed_with_what_a_process_knows(house):
    first = house.open()
    create(first, "CRM")
    first.close()
    path = memory_path(house.keyring_path)
    older = path.read_bytes()
    running = house.open()
    create(running, "Desk")
    running._writer._remember(always=True)
    create(running, "Third")
    path.unlink()
    path.write_bytes(older)
    running.close()
    assert running._writer.unremembered.code == "memory-replaced"
    assert path.read_bytes() == older
    anew = house.open()
    assert [anew.application(name).name for name in ("CRM", "Desk", "Third")]


def test_an_older_memory_written_over_the_file_decides_nothing(house):
    """As by `cp` from a backup of the folder; in it a member's right was not revoked yet."""
    other = house.open()
    create(other, "CRM")
    other.grant(Acting(), "CRM", "member", "user:ann")
    other.set_credentials(Acting(), "CRM", ANN, values("first"))
    other._writer._remember(always=True)
    path = memory_path(house.keyring_path)
    older = path.read_bytes()
    running = house.open()
    other.revoke(Acting(), "CRM", "member", "user:ann")
    create(other, "Desk")
    other.close()
    assert running.application("Desk").name == "Desk"
    path.write_bytes(older)
    for _ in range(2):
        assert code_of(lambda: running.retrieve(Caller(ANN), "CRM")) == "memory-replaced"
    running.close()
    anew = house.open()
    assert code_of(lambda: anew.retrieve(Caller(ANN), "CRM")) == "access-denied"
    anew.close()


def test_a_memory_that_was_emptied_does_not_say_that_streams_have_no_rows(house):
    """Nor is it taken for the one of a host that has none yet."""
    running = house.open()
    create(running, "CRM")
    running._writer._remember(always=True)
    os.truncate(memory_path(house.keyring_path), 0)
    assert code_of(lambda: running.application("CRM")) == "memory-replaced"
    assert code_of(lambda: create(running, "Desk")) == "memory-replaced"
    running.close()
    assert running._writer.unremembered.code == "memory-replaced"
    assert house.open().application("CRM").name == "CRM"


def spliced(path, older, taken):
    """Single rows of an older memory in the place of those of now; or only theirs taken away."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("ATTACH ? AS older", (str(older),))
        raw.execute("DELETE FROM tips WHERE stream IN (SELECT stream FROM older.tips)")
        if not taken:
            raw.execute("INSERT INTO tips SELECT * FROM older.tips")


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("warm", [False, True])
def test_rows_of_an_older_memory_among_those_of_now_decide_nothing(house, tmp_path, taken, warm):
    """Each is authentic; that its stream goes further is shown by the log."""
    ledger = house.open()
    create(ledger, "CRM")
    ledger.grant(Acting(), "CRM", "member", "user:ann")
    ledger.set_credentials(Acting(), "CRM", ANN, values("first"))
    ledger._writer._remember(always=True)
    path, older = memory_path(house.keyring_path), tmp_path / "older"
    older.write_bytes(path.read_bytes())
    ledger.revoke(Acting(), "CRM", "member", "user:ann")
    ledger.close()
    ledger = house.open()
    if warm:
        create(ledger, "Desk")
    spliced(path, older, taken)
    assert code_of(lambda: ledger.retrieve(Caller(ANN), "CRM")) == "stream-altered"
    assert code_of(lambda: ledger.application("CRM")) == "stream-altered"
    ledger.close()


def test_nor_does_that_of_a_value_which_was_replaced(house, tmp_path):
    ledger = house.open()
    create(ledger, "CRM")
    ledger.set_credentials(Acting(), "CRM", ANN, values("first"))
    ledger._writer._remember(always=True)
    path, older = memory_path(house.keyring_path), tmp_path / "older"
    older.write_bytes(path.read_bytes())
    ledger.set_credentials(Acting(), "CRM", ANN, values("second"))
    ledger.close()
    ledger = house.open()
    spliced(path, older, taken=False)
    assert code_of(lambda: ledger.retrieve(Caller(ANN), "CRM")) == "stream-altered"
    ledger.close()


@pytest.mark.parametrize("what", ["right", "value"])
def test_nor_do_they_where_a_process_had_folded_as_far(house, tmp_path, what):
    """What it has at hand fits the older row; the log shows that its neighbour has gone on."""
    running = house.open()
    create(running, "CRM")
    running.grant(Acting(), "CRM", "member", "user:ann")
    running.set_credentials(Acting(), "CRM", ANN, values("first"))
    running.retrieve(Caller(ANN), "CRM")
    running._writer._remember(always=True)
    path, older = memory_path(house.keyring_path), tmp_path / "older"
    older.write_bytes(path.read_bytes())
    neighbour = house.open()
    if what == "right":
        neighbour.revoke(Acting(), "CRM", "member", "user:ann")
    else:
        neighbour.set_credentials(Acting(), "CRM", ANN, values("second"))
    neighbour.close()
    spliced(path, older, taken=False)
    assert code_of(lambda: running.retrieve(Caller(ANN), "CRM")) == "stream-altered"
    running.close()


def test_a_new_memory_made_beside_is_written_on_by_who_was_running(house):
    running = house.open()
    create(running, "CRM")
    running._writer._remember(always=True)
    unlocked = unlocked_by_passphrase(house.keyring_path)
    kept = house.memory(unlocked)
    with kept.anew() as fresh:
        fresh.remember(kept.recall(), running._writer._branch.tips._known)
        kept.replace_by(fresh)
    create(running, "Desk")
    running.close()
    assert running._writer.unremembered is None
    assert remembered(house).size == size_of(house)


def test_a_memory_that_makes_way_is_there_until_the_new_one_is(house, monkeypatch):
    """Without any, whatever log comes next would be believed; a journal would be played into it."""
    ledger = house.open()
    create(ledger, "CRM")
    ledger.close()
    kept = house.memory(unlocked_by_passphrase(house.keyring_path))
    size = kept.recall().size
    journal = kept.path.with_name(f"{kept.path.name}-journal")

    def killed(self, target):
        assert not journal.exists()
        raise KeyboardInterrupt

    with kept.anew() as fresh:
        fresh.remember(kept.recall(), {})
        journal.write_bytes(b"left behind")
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(type(kept.path), "replace", killed)
            kept.replace_by(fresh)
    assert remembered(house).size == size


def test_a_memory_that_cannot_be_read_now_is_not_called_damaged(sqlite_house):
    ledger = sqlite_house.open()
    create(ledger, "CRM")
    ledger.close()
    unlocked = unlocked_by_passphrase(sqlite_house.keyring_path)
    memory = sqlite_house.memory(unlocked)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        with pytest.raises(OSError, match="Too many open files") as full:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        assert full.value.errno == errno.EMFILE
        with pytest.raises(Unavailable) as caught:
            memory.recall()
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.code == "memory-not-readable"
    assert memory.recall() == remembered(sqlite_house)


def test_what_is_durable_is_answered_whatever_becomes_of_the_memory(house, monkeypatch):
    ledger = house.open()
    writer = ledger._writer
    append = writer._append

    def then_unreadable(*appending):
        head = append(*appending)
        monkeypatch.setattr(writer._branch.tips, "_remembered", denied)
        return head

    def denied(stream):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(writer, "_append", then_unreadable)
    create(ledger, "CRM")
    monkeypatch.undo()
    assert ledger.application("CRM").name == "CRM"


def test_the_writer_outlives_whatever_fails_and_leaves_nobody_waiting(house, monkeypatch):
    ledger = house.open()
    writer = ledger._writer

    def broken(*_):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(writer, "_committed", broken)
    monkeypatch.setattr(writer, "_landed", broken)
    with pytest.raises(PermissionError):
        writer.submit(ledger.changes.create(Acting(), "A", kind="individual")).result(_UNLIMITED_S)
    monkeypatch.undo()
    writer.submit(ledger.changes.create(Acting(), "B", kind="individual")).result(_UNLIMITED_S)
    assert {ledger.application(name).name for name in ("A", "B")} == {"A", "B"}


class Faulty:
    """A request with a fault of its own."""

    def decide(self, transaction):
        transaction.append_access(AuditQueried("x", 1), None, "")
        raise KeyError("fault")


def test_a_fault_in_one_request_fails_that_one_alone(house):
    ledger = house.open()
    writer = ledger._writer
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def decide(self, transaction):
            begun.set()
            go_on.wait(_UNLIMITED_S)

    slow = writer.submit(Slow())
    begun.wait(_UNLIMITED_S)
    answers = [
        writer.submit(ledger.changes.create(Acting(), "A", kind="individual")),
        writer.submit(Faulty()),
        writer.submit(ledger.changes.create(Acting(), "B", kind="individual")),
    ]
    go_on.set()
    slow.result(_UNLIMITED_S)
    answers[0].result(_UNLIMITED_S)
    answers[2].result(_UNLIMITED_S)
    assert answers[1].exception(_UNLIMITED_S) is not None
    assert {ledger.application(name).name for name in ("A", "B")} == {"A", "B"}
    ledger.close()
    assert verify_log(house.store()).ok


def test_a_fold_that_another_thread_continued_meanwhile_is_no_damage(house, monkeypatch):
    """One thread has looked the tip up; another commits and folds before the first goes on."""
    ledger = house.open()
    create(ledger, "CRM")
    folds = ledger._writer._branch.equipment.folds
    tip_of = folds._tip
    inside = threading.local()

    def overtaken(stream, size):
        tip = tip_of(stream, size)
        if tip is not None and getattr(inside, "first", False):
            inside.first = False
            with ThreadPoolExecutor(1) as another:
                another.submit(ledger.grant, Acting(), "CRM", "administrator", "user:ada").result()
                another.submit(ledger.application, "CRM").result()
        return tip

    monkeypatch.setattr(folds, "_tip", overtaken)
    inside.first = True
    assert ledger.application("CRM").name == "CRM"
    assert not inside.first


def test_a_look_that_is_overtaken_brings_back_no_right_that_a_neighbour_revoked(house, monkeypatch):
    """Another thread goes on from what the neighbour remembered, before the look has moved tips."""
    standing, neighbour = house.open(), house.open()
    standing.create_application(Acting(), "CRM", kind="group", members=("user:ann",))
    standing.set_credentials(Acting(), "CRM", None, values("first"))
    standing._writer._remember(always=True)
    caught_up, end = standing._writer._caught_up, Holding.end

    def caught_up_too_early():
        found = caught_up()
        monkeypatch.setattr(standing._writer, "_caught_up", caught_up)
        neighbour.revoke(Acting(), "CRM", "member", "user:ann")
        neighbour.grant(Acting(), "CRM", "member", "user:ann")
        monkeypatch.setattr(Holding, "end", overtaken)
        return found

    def overtaken(self):
        monkeypatch.setattr(Holding, "end", end)
        neighbour.revoke(Acting(), "CRM", "member", "user:ann")
        neighbour._writer._remember(always=True)
        with ThreadPoolExecutor(1) as another:
            another.submit(standing.key_history).result()
        end(self)

    monkeypatch.setattr(standing._writer, "_caught_up", caught_up_too_early)
    standing.may_get(Caller(ANN), "CRM")
    assert Holding.end is end
    assert code_of(lambda: standing.retrieve(Caller(ANN), "CRM")) == "access-denied"
    assert standing.grant(Acting(), "CRM", "member", "user:ann").changed
    standing.close()
    neighbour.close()
    assert verify_log(house.store()).ok


def test_the_head_is_found_though_another_thread_records_once_it_is_looked_for(house, monkeypatch):
    """The snapshot may be older than what this process knows by then."""
    ledger = house.open()
    create(ledger, "CRM")
    store = ledger._writer.store
    reading = store.reading

    @contextmanager
    def overtaken():
        with reading() as snapshot:
            monkeypatch.setattr(store, "reading", reading)
            assert snapshot.last_position() == before
            with ThreadPoolExecutor(1) as another:
                another.submit(create, ledger, "Another").result()
            yield snapshot

    before = ledger.reach()
    catch_up = ledger._writer.catch_up

    def caught_up():
        found = catch_up()
        monkeypatch.setattr(store, "reading", overtaken)
        return found

    monkeypatch.setattr(ledger._writer, "catch_up", caught_up)
    assert ledger.head().size == before
    assert ledger.reach() == before + 1
    ledger.close()


def test_a_head_of_another_kind_below_the_remembered_one_is_damage_and_no_crash(
    sqlite_house, monkeypatch
):
    """It is looked at where the log may have parted below what the host remembers."""
    monkeypatch.setattr(following, "_PAGE_COMMITS", 2)
    house = sqlite_house
    ledger = house.open()
    for name in ("One", "Two", "Three", "Four"):
        create(ledger, name)
    ledger.close()
    size = size_of(house)
    other = house.open(remember=False)
    create(other, "Five")
    other.close()
    attack(
        house,
        f"DELETE FROM commits WHERE size = {size}",
        f"UPDATE commits SET frontier = zeroblob(length(frontier)) WHERE size = {size + 1}",
        f"UPDATE commits SET frontier = 5 WHERE size < {size}",
    )
    assert code_of(house.open) == "wrong-frontier"


def test_a_host_remembers_no_head_within_a_commit_that_it_follows_page_by_page(house, monkeypatch):
    """Whoever takes the heads between away makes one commit of all since this host looked last.

    Killed within it, the host goes on from the head it had; its streams are known further.
    """
    other = copied(house, "other")
    first = other.open()
    first.close()
    remembered_size = remembered(other).size
    ledger = house.open()
    for number in range(12):
        create(ledger, f"App {number}")
    ledger.close()
    size = size_of(house)
    attack(house, f"DELETE FROM commits WHERE size > {remembered_size} AND size < {size}")
    monkeypatch.setattr(columns, "PAGE_ROWS", 2)
    monkeypatch.setitem(Follower.__init__.__kwdefaults__, "page_rows", 2)
    monkeypatch.setitem(Follower.__init__.__kwdefaults__, "held_rows", 2)
    monkeypatch.setattr(writer, "_FRESH_TIPS_MAX", 1)
    kept = []
    remember = HostMemory.remember

    def killed_at_the_third(memory, head, tips, passing):
        remember(memory, head, tips, passing)
        kept.append((head.size, len(tips)))
        if len(kept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(HostMemory, "remember", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        other.open()
    assert kept == [(remembered_size, 2)] * 3
    monkeypatch.setattr(HostMemory, "remember", remember)
    again = other.open()
    assert again.head().size == size
    assert again.application("App 11").application == "App 11"
    again.close()
    assert remembered(other).size == size


def test_a_process_that_comes_upon_a_long_commit_that_is_restored_is_told_so(house):
    """Its rows are there before its head is."""
    behind = house.open()
    size = size_of(house)
    ledger = house.open(remember=False)
    create(ledger, "CRM")
    create(ledger, "Mail")
    ledger.close()
    attack(house, f"DELETE FROM commits WHERE size > {size + 1}")
    assert code_of(behind.head) == "unsigned-rows"
    attack(house, "INSERT INTO restoring (one) VALUES (1)")
    assert code_of(behind.head) == "store-restoring"
    behind.close()


def test_that_the_memory_lacks_the_newest_is_told_though_another_thread_had_just_written_it(
    house, monkeypatch
):
    running = house.open()
    create(running, "CRM")
    writer = running._writer

    class Guard:
        """Lets another thread go on as soon as it is let go."""

        def __init__(self):
            self.own, self.was_let_go = threading.Lock(), False

        def __enter__(self):
            self.own.acquire()

        def __exit__(self, *_):
            self.own.release()
            if not self.was_let_go:
                self.was_let_go = True
                monkeypatch.setattr(writer._memory, "remember", fails)
                writer._remember(always=True)

    def fails(*_):
        raise Unavailable("memory-not-written", "There is no room.")

    monkeypatch.setattr(writer, "_branch_guard", Guard())
    writer._remember(always=True)
    assert writer.unremembered.code == "memory-not-written"
    monkeypatch.undo()
    running.close()
