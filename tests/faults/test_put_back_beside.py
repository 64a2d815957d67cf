"""A process that runs while an older log is put back beside it, and an operator accepts that one.

It goes on at once, whichever of the two is longer. Nothing of the other may be left in it by then:
neither what it has folded, nor where its own records stood, nor how keys are counted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

import pytest

from ledger.log.memory import memory_path
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.epochs import period_after, period_of, period_start
from ledger.sealing.slots import OPERATOR, new_passphrase
from ledger.usecases.acting import Acting
from ledger.usecases.opening import accept_new_memory
from projections.redecide import redecide
from tests.conftest import CHEAP
from tests.faults.hosts import copied
from tests.faults.test_hosts_memory import code_of, put_back, remembered, size_of, spliced
from tests.faults.test_keys_destroyed_elsewhere import ANN, accept, read, values

ROWS = 40
"""So many make the log that is gone on with longer than the other one."""


def working(house, application="CRM"):
    """A process that has set something."""
    ledger = house.open()
    ledger.create_application(Acting(), application, kind="individual")
    set_again(ledger, application)
    return ledger


def set_again(ledger, application="CRM"):
    ledger.set_credentials(Acting(), application, ANN, values("first"))


@pytest.fixture
def running(house):
    """One on each kind of store."""
    return working(house)


def grow(house, application):
    """Another process goes on, until the log is longer than it was."""
    ledger = house.open()
    if application != "CRM":
        ledger.create_application(Acting(), application, kind="individual")
    for number in range(ROWS):
        ledger.grant(Acting(), application, "administrator", f"user:a{number}")
    ledger.close()


def add_slot(house, label):
    """Another process adds an operator's slot."""
    ledger = house.open()
    holding = new_passphrase(f"{label} planets orbit quietly")
    ledger.add_slot(Acting(), label=label, opens=OPERATOR, holding=holding, cost=CHEAP)
    ledger.close()


def require_whole(house):
    """The log is one that anybody can verify, and decide again."""
    report = verify_log(house.store())
    assert report.ok, [check for check in report.checks if not check.ok]
    ledger = house.open()
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    assert all(view["same"] for view in ledger.views.rebuild())
    ledger.close()


def test_its_own_records_begin_a_stream_of_their_own(house, running):
    """The stream of its records has no rows in the log of now, which would lack some for ever."""
    size = size_of(house)
    for _ in range(3):
        read(running)
    put_back(house, size)
    accept(house)
    grow(house, "Other")
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_what_it_has_folded_of_the_other_log_is_folded_anew(house, running):
    """Of an application that both logs have changed, each otherwise."""
    size = size_of(house)
    running.grant(Acting(), "CRM", "administrator", "user:other")
    assert read(running) == "first"
    put_back(house, size)
    accept(house)
    grow(house, "CRM")
    assert read(running) == "first"
    assert "user:other" not in map(str, running.application("CRM").administrators)
    running.close()
    require_whole(house)


def test_epochs_that_both_logs_have_started_are_followed_anew(house, running):
    """The stream of keys is longer in the log of now than in the other."""
    size = size_of(house)
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    other.close()
    assert running.status().epoch == 2
    put_back(house, size)
    accept(house)
    other = house.open()
    for _ in range(2):
        other.rotate(Acting(), without_backup=True)
    other.close()
    grow(house, "Other")
    assert read(running) == "first"
    assert running.status().epoch == 3
    running.close()
    require_whole(house)


def test_months_of_an_epoch_are_counted_from_the_one_in_which_it_began_now(sqlite_house):
    """What it made of the same keys before is of another month."""
    house, running = sqlite_house, working(sqlite_house)
    size, began = size_of(house), period_of(house.clock())
    running.rotate(Acting(), without_backup=True)
    house.clock.offset_us += period_start(period_after(began, 1)) - house.clock() + 1_000_000
    assert read(running) == "first"
    put_back(house, size)
    accept(house)
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    other.close()
    grow(house, "Other")
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_months_are_counted_so_though_a_slower_thread_opens_the_beginning_of_before(sqlite_house):
    """It had read that row before the log was put back."""
    house, running = sqlite_house, working(sqlite_house)
    size, began = size_of(house), period_of(house.clock())
    running.rotate(Acting(), without_backup=True)
    with house.store().reading() as reading:
        (row,) = (one for one in reading.rows_after(size, ROWS) if one.topic == "epoch.started")
    house.clock.offset_us += period_start(period_after(began, 1)) - house.clock() + 1_000_000
    put_back(house, size)
    accept(house)
    other = house.open()
    other.rotate(Acting(), without_backup=True)
    other.close()
    grow(house, "Other")
    assert read(running) == "first"
    running._desk.mapper.open(row)
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_it_tells_the_hosts_memory_nothing_of_the_other_log(house, running):
    """It has committed something that it did not keep there yet, and ends only now."""
    size = size_of(house)
    for name in ("One", "Two"):  # the memory is written once a second
        running.create_application(Acting(), name, kind="individual")
    put_back(house, size)
    accept(house)
    grow(house, "Two")
    seen = remembered(house)
    running.close()
    assert remembered(house) == seen
    require_whole(house)


def go_further(house, running):
    """The process records more and tells the host's memory; then that log is put back."""
    size = size_of(house)
    for name in ("One", "Two", "Three", "Four", "Five"):
        running.create_application(Acting(), name, kind="individual")
    running._writer._remember(always=True)
    put_back(house, size)


@pytest.mark.parametrize("kept", [True, False])
def test_it_goes_on_at_once_though_the_log_of_now_is_the_shorter_one(house, running, kept):
    """An operator of its host has accepted that one, and it may be of a year ago."""
    running._writer._remember(always=True)
    size = size_of(house)
    for name in ("One", "Two", "Three", "Four", "Five"):
        running.create_application(Acting(), name, kind="individual")
    read(running)
    if kept:
        running._writer._remember(always=True)
    put_back(house, size)
    assert code_of(running.status) == "rolled-back"
    accept(house)
    assert size_of(house) < running._writer.head.size
    assert code_of(lambda: running.application("One")) == "no-such-application"
    assert read(running) == "first"
    running.create_application(Acting(), "Two", kind="individual")
    running.close()
    assert running._writer.unremembered is None
    assert remembered(house).size == size_of(house)
    require_whole(house)


def test_what_it_let_go_by_the_longer_log_it_takes_up_again(house, running):
    """Keys that this log needs again, though the file alone has them."""
    size, before = size_of(house), house.keyring_path.read_bytes()
    for destroys in (False, True):
        running.rotate(Acting(), without_backup=True, destroy_previous=destroys)
    assert running.status().epochs[0][3] is False
    put_back(house, size)
    house.keyring_path.write_bytes(before)
    accept(house)
    assert read(running) == "first"
    running.trust.new_service_pair(Acting())
    running.close()
    require_whole(house)


def test_it_goes_on_from_one_accepted_after_another_though_the_file_takes_the_first_ones_place(
    house, running
):
    """A file system gives the number of a file that is gone to the next one."""
    for _ in range(3):
        read(running)
    go_further(house, running)
    accept(house)
    accept(house)
    found = memory_path(house.keyring_path).stat()
    running._writer._memory._gone_by = (found.st_dev, found.st_ino, 0)
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_a_process_of_a_host_without_memory_writes_no_given_up_log_over_the_accepted_one(house):
    """It began before there was a file, and ends with a head that it never kept."""
    working(house).close()
    size = size_of(house)
    other = copied(house, "other").open()
    other.create_application(Acting(), "Other", kind="individual")
    other.grant(Acting(), "Other", "administrator", "user:ada")
    memory_path(house.keyring_path).unlink()
    running = house.open()
    put_back(house, size)
    accept(house)
    seen = remembered(house)
    assert seen.size < running._writer.head.size
    running.close()
    other.close()
    assert remembered(house) == seen
    house.open().close()


@pytest.mark.parametrize("counts", [-1, 0, 1, 100])
def test_nobody_without_the_keyring_makes_a_memory_that_it_goes_back_to(house, running, counts):
    """Who may write to the folder puts an older one there, with whatever it counts."""
    running._writer._remember(always=True)
    path = memory_path(house.keyring_path)
    accept(house)
    assert read(running) == "first"
    older = path.read_bytes()
    go_further(house, running)
    path.unlink()
    path.write_bytes(older)
    with closing(sqlite3.connect(path)) as raw, raw:
        (count,) = raw.execute("PRAGMA user_version").fetchone()
        raw.execute(f"PRAGMA user_version = {count + counts}")
    size, head = size_of(house), running._writer.head
    for _ in range(3):
        assert code_of(lambda: read(running)) == "memory-replaced"
        assert code_of(running.status) == "memory-replaced"
    running.close()
    assert running._writer.head is head
    assert size_of(house) == size


@pytest.mark.parametrize("gone", ["a right", "keys"])
def test_a_log_that_ends_below_what_is_remembered_of_a_stream_is_rolled_back(house, tmp_path, gone):
    """Tips may be newer than the head they lie with, which may be that of the log of now."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.close()
    path, newer = memory_path(house.keyring_path), tmp_path / "newer"
    older, size = path.read_bytes(), size_of(house)
    running, ledger = house.open(), house.open()
    if gone == "keys":
        ledger.rotate(Acting(), without_backup=True)
    else:
        ledger.grant(Acting(), "CRM", "member", "user:ann")
    ledger.close()
    newer.write_bytes(path.read_bytes())
    put_back(house, size)
    path.write_bytes(older)
    spliced(path, newer, taken=False)
    running._writer._branch.tips.adopt(size)  # as where a neighbour has written since
    assert code_of(lambda: running.grant(Acting(), "CRM", "member", "user:ada")) == "rolled-back"
    assert code_of(lambda: running.application("CRM")) == "rolled-back"
    assert size_of(house) == size
    if gone == "keys":
        assert code_of(house.open) == "rolled-back"
    accept(house)
    ledger = house.open()
    ledger.grant(Acting(), "CRM", "member", "user:ada")
    for opened in (ledger, running):
        assert len(opened.application("CRM").members) == 1
        opened.close()


def test_a_memory_of_a_log_that_was_given_up_is_not_gone_back_to(house, running):
    """Its log was put back beside it: only who has gone on from the accepted one knows better."""
    for name in ("One", "Two", "Three"):
        running.create_application(Acting(), name, kind="individual")
    running._writer._remember(always=True)
    size, path = size_of(house), memory_path(house.keyring_path)
    given_up = path.read_bytes()
    put_back(house, size - 2)
    accept(house)
    assert read(running) == "first"
    path.unlink()
    path.write_bytes(given_up)
    assert code_of(lambda: read(running)) == "memory-replaced"
    running.close()
    assert path.read_bytes() == given_up


def test_it_leaves_no_gap_in_its_access_stream_where_nobody_had_to_accept(house, running):
    """Its host had not remembered its last records yet; another process of the host went on."""
    read(running)
    running._writer._remember(always=True)
    size = size_of(house)
    read(running)  # within the same second
    assert remembered(house).size == size
    put_back(house, size)
    grow(house, "Desk")
    read(running)
    running.close()
    require_whole(house)


def test_one_that_only_looked_leaves_nothing_of_the_other_log_where_nobody_had_to_accept(house):
    """Its host remembers less than was put back, so what it saw further on is not known there."""
    ledger = working(house)
    ledger.close()
    running, elsewhere = house.open(), copied(house, "elsewhere").open()
    size = size_of(house)
    elsewhere.grant(Acting(), "CRM", "member", "user:ann")
    set_again(elsewhere)
    assert len(running.application("CRM").members) == 1
    assert remembered(house).size == size
    put_back(house, size)
    grow(house, "Desk")
    running.close()
    require_whole(house)
    ledger = house.open()
    assert not ledger.application("CRM").members
    set_again(ledger)
    ledger.close()


def test_a_memory_made_anew_is_gone_on_with_after_a_log_was_accepted(house, running):
    """The damaged one cannot say how often that was done."""
    put_back(house, size_of(house) - 1)
    accept(house)
    set_again(running)
    memory_path(house.keyring_path).write_bytes(b"damaged")
    accept(house, accept_new_memory)
    assert read(running) == "first"
    running.close()
    require_whole(house)


def test_nor_is_one_of_before_gone_back_to(house, running):
    """It tells of an acceptance, and the one made anew knew of none: its log is back as well."""
    put_back(house, size_of(house) - 1)
    accept(house)
    set_again(running)
    running.close()
    size, path = size_of(house), memory_path(house.keyring_path)
    before = path.read_bytes()
    house.clock.offset_us += 60_000_000
    path.write_bytes(b"damaged")
    accept(house, accept_new_memory)
    again = working(house, "Other")
    assert read(again) == "first"
    put_back(house, size)
    path.unlink()
    path.write_bytes(before)
    assert code_of(lambda: read(again)) == "memory-replaced"
    again.close()
    assert path.read_bytes() == before


def test_its_receipts_hold_though_as_many_signers_are_others(house, running):
    """Each log got one more after they had parted."""
    size = size_of(house)
    add_slot(house, "carol")
    position = running.retrieve(Caller(ANN), "CRM").position
    assert running.receipt(position).fields.position == position
    put_back(house, size)
    house.sql(f"DELETE FROM signers WHERE from_size >= {size}")
    accept(house)
    add_slot(house, "dave")
    grow(house, "Other")
    position = running.retrieve(Caller(ANN), "CRM").position
    assert running.receipt(position).fields.position == position
    running.close()
    require_whole(house)


def test_what_it_says_once_it_says_in_the_log_of_now_as_well(house, running):
    """As that commits which wait for no standby were accepted."""
    size = size_of(house)
    said = []

    @dataclass(frozen=True)
    class Say:
        def decide(self, transaction):
            said.append(transaction.next_position)
            return True

    running._writer.record_along(Say())
    for _ in range(2):
        read(running)
    assert len(said) == 1
    put_back(house, size)
    accept(house)
    grow(house, "Other")
    for _ in range(2):
        read(running)
    assert len(said) == 2
    running.close()


def test_who_was_behind_appends_nothing_to_a_log_that_is_being_restored(house):
    """To it the pages of an archive are rows of others, and each page ends with a signed head."""
    behind = working(copied(house, "other"))
    other = house.open()
    other.create_application(Acting(), "Other", kind="individual")
    other.close()
    size = size_of(house)
    house.clock.offset_us += 2_000_000  # a restore takes longer
    with house.store().writing() as writing:
        writing.begin_restoring()
    for _ in range(2):
        assert code_of(lambda: read(behind)) == "store-restoring"
        assert code_of(behind.status) == "store-restoring"
    assert size_of(house) == size
    with house.store().writing() as writing:
        writing.end_restoring()
    assert read(behind) == "first"
    assert behind.application("Other").name == "Other"
    behind.close()
    require_whole(house)


def test_nor_does_who_stands_where_a_page_of_the_archive_ends(house):
    """As an idle service of another host, whose newest row is the archive's last one."""
    running = working(house)
    assert read(running) == "first"
    size = size_of(house)
    house.clock.offset_us += 2_000_000
    with house.store().writing() as writing:
        writing.begin_restoring()
    for _ in range(2):
        assert code_of(lambda: read(running)) == "store-restoring"
    assert size_of(house) == size
    with house.store().writing() as writing:
        writing.end_restoring()
    assert read(running) == "first"
    running.close()
    require_whole(house)
