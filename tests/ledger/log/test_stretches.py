"""A long log checked by several processes: the same answers, from what each of them came to."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from msgspec.structs import replace

from ledger.archive.reading import open_archive
from ledger.claims import parse_claim
from ledger.log.columns import columns_of
from ledger.log.following import CheckedHead
from ledger.log.rows import LogRow, leaves_of
from ledger.log.stretches import Joined, _Versions, check_stretch, joined_stretches
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from tests.faults.hosts import with_auditor
from tests.faults.test_tampering import attack, by_several, command_line, fill
from tools.settings import Given, decide
from tools.stores import store_of

ALICE = Caller(parse_claim("user:alice"))


@pytest.fixture
def long(prepared):
    """Some forty rows: two epochs, an auditor's questions between, access by two runs."""
    house = prepared(fill, lengthen)
    house.reopen = partial(store_of, settings_of(house))
    return house


def lengthen(house):
    _, auditor = with_auditor(house, 2)
    for _ in range(2):
        ledger = house.open()
        for _ in range(6):
            ledger.retrieve(ALICE, "CRM")
        ledger.close()
        theirs = house.open_with(auditor, remember=False)
        theirs.record_query(Acting(), "all", 6)
        theirs.close()
    ledger = house.open()
    ledger.rotate(Acting(), without_backup=True)
    for _ in range(6):
        ledger.retrieve(ALICE, "CRM")
    ledger.close()


def settings_of(house):
    store = house.store_url or f"sqlite://{house.store_path}"
    return decide(Given(store=store, keyring=str(house.keyring_path)), {})


def ledger_row(house):
    with house.store().reading() as reading:
        return reading.ledger(), reading.extent().size


def joined(house, rows, **how):
    row, size = ledger_row(house)
    told = by_several(house, rows)
    return joined_stretches(
        told["reopen"], row, size, jobs=2, stretch_rows=rows, pool=told["pool"], **how
    )


def test_stretches_of_any_length_come_to_the_head_that_one_process_comes_to(long):
    alone = verify_log(long.store())
    assert alone.ok
    for rows in range(1, alone.size + 2):
        found = joined(long, rows)
        assert (found.head.size, found.head.frontier.root()) == (alone.size, alone.root)
        assert found.commits == long.sql("SELECT count(*) FROM commits")[0][0]
        assert len(found.audit_streams) == 1
        assert found.head.epoch == 2


def test_a_remembered_head_is_compared_wherever_it_lies(long):
    with long.store().reading() as reading:
        heads = reading.commits_after(0, 100)
    for head in heads:
        found = joined(long, 7, marks={head.size})
        assert found.marks[head.size].root == head.root
    all_at_once = joined(long, 7, marks={head.size for head in heads})
    assert {size: mark.root for size, mark in all_at_once.marks.items()} == {
        head.size: head.root for head in heads
    }
    between = set(range(1, heads[-1].size)) - {one.size for one in heads}
    assert joined(long, 7, marks={min(between)}).marks.keys() == {min(between)}
    assert joined(long, 7, marks={heads[-1].size + 5}).marks == {}


def test_marks_however_many_make_no_more_stretches(long):
    """Each is noted in the stretch that it lies in, at a head or between two; those of one that
    reaches so far that nobody looked for them there are left to one process."""
    checked = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *said):
            checked.append(said)
            return super().submit(*said)

    row, size = ledger_row(long)
    alone = verify_log(long.store(), marks=range(1, size + 1))
    for rows in (2, 7, size):
        checked.clear()
        found = joined_stretches(
            long.reopen, row, size, jobs=2, stretch_rows=rows, pool=Counting,
            marks=range(1, size + 1),
        )  # fmt: skip
        assert found is not None
        assert found.marks == alone.marks
        assert len(checked) == -(-size // rows)
    attack(long, f"DELETE FROM commits WHERE size BETWEEN {size - 10} AND {size - 1}")
    assert joined(long, 2, marks=[size - 1]) is None
    assert joined(long, 2).head.size == size


def test_marks_are_the_same_by_one_process_and_by_several(long):
    with long.store().reading() as reading:
        sizes = [head.size for head in reading.commits_after(0, 100)]
    marks = [*sizes, min(set(range(1, sizes[-1])) - set(sizes)), sizes[-1] + 5]
    for asked in (marks, sizes):
        alone = verify_log(long.store(), marks=asked)
        found = verify_log(
            long.store(),
            marks=asked,
            jobs=2,
            reopen=long.reopen,
            stretch_rows=7,
            shared_rows=0,
            pool=ThreadPoolExecutor,
        )
        assert found == alone
        assert found.marks.keys() == {size for size in asked if size <= sizes[-1]}


def test_processes_of_their_own_check_a_store_and_an_archive(long, tmp_path):
    alone = verify_log(long.store())
    found = verify_log(long.store(), jobs=2, reopen=long.reopen, stretch_rows=10, shared_rows=0)
    assert found == alone
    command_line(long).ok("backup", "create", str(tmp_path / "archive"))
    reopen = partial(open_archive, tmp_path / "archive")
    of_archive = verify_log(reopen(), jobs=2, reopen=reopen, stretch_rows=10, shared_rows=0)
    assert of_archive == verify_log(reopen())
    row, _ = ledger_row(long)
    for opened in (reopen, long.reopen):
        came_to = joined_stretches(opened, row, alone.size, jobs=2, stretch_rows=10).head
        assert (came_to.size, came_to.frontier.root()) == (alone.size, alone.root)
    attack(long, "UPDATE log SET topic = 'access.denied' WHERE position = 17")
    damaged = verify_log(long.store(), jobs=2, reopen=long.reopen, stretch_rows=10, shared_rows=0)
    assert damaged == verify_log(long.store())
    assert not damaged.ok


def end_abruptly():
    os._exit(3)


def test_where_processes_end_abruptly_one_does_it_all(long):
    assert verify_log(long.store(), jobs=2, reopen=end_abruptly, stretch_rows=10, shared_rows=0).ok


def test_a_stretch_is_taken_only_where_it_goes_on_from_the_one_before(long):
    row, size = ledger_row(long)
    store = long.store()
    first = check_stretch(store, row, 0, 18)
    second = check_stretch(store, row, 18, size)
    assert first.audit_streams == second.audit_streams != {}
    whole = Joined()
    assert whole.take(first)
    assert whole.take(second)
    assert not Joined().take(second)
    for wrong in (
        {"begin": replace(second.begin, recorded_at=1)},
        {"begin": replace(second.begin, epoch=3)},
        {"begin": replace(second.begin, signers=bytes(32))},
        {"begin": replace(second.begin, frontier=CheckedHead().frontier)},
        {"versions": {**second.versions, bytes(16): (2, 2)}},
        {"versions": {stream: (1, last) for stream, (_, last) in second.versions.items()}},
        {"audit_streams": dict.fromkeys(first.audit_streams, bytes(16))},
        {"audit_streams": {bytes(32): next(iter(second.audit_streams.values()))}},
    ):
        fresh = Joined()
        assert fresh.take(first)
        assert not fresh.take(replace(second, **wrong)), wrong


@pytest.mark.parametrize(
    ("versions", "dense", "span"),
    [
        ([4, 5, 6], True, (4, 6)),
        ([4, 6], False, (4, 6)),
        ([4, 4], False, (4, 4)),
        ([9], True, (9, 9)),
    ],
)
def test_versions_within_a_stretch_are_dense_wherever_they_begin(versions, dense, span):
    stream = bytes(16)
    rows = [
        LogRow(at, stream, version, "access.granted", 1, 202611, at, b"", bytes(32))
        for at, version in enumerate(versions, 1)
    ]
    for pages in ([rows], [[row] for row in rows]):
        seen = _Versions()
        for page in pages:
            seen.see(columns_of(page, page[0].position - 1))
        assert (seen.dense, seen.spans()) == (dense, {stream: span})


def test_what_does_not_hold_within_a_stretch_is_no_stretch(long):
    row, size = ledger_row(long)
    assert check_stretch(long.store(), row, 3, size + 1) is None
    attack(long, "UPDATE log SET recorded_at = recorded_at + 1 WHERE position = 9")
    for position, *columns in long.sql("SELECT position, leaf FROM log WHERE position = 9"):
        assert (position, len(columns)) == (9, 1)
    with long.store().reading() as reading:
        (altered,) = reading.rows_after(8, 1)
    (leaf,) = leaves_of(row.id, [altered])
    long.sql("UPDATE log SET leaf = ? WHERE position = 9", leaf)
    assert check_stretch(long.store(), row, 3, 12) is None
    assert check_stretch(long.store(), row, 12, size) is not None
    assert joined(long, 5) is None
