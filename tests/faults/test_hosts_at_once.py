"""Two hosts, several processes, several threads: all change and read one application at once.

Each host has a keyring of its own in a folder of its own, and so a memory of its own. Every worker
does a bounded number of things and says what it was answered. From those answers alone it is told
what each read must have met: the value that was set last before its position, and whether its
caller was a member there. The log must say the same, decided again from its beginning.
"""

from __future__ import annotations

import dataclasses
import shutil
from bisect import bisect_left

import msgpack
import pytest

from ledger.claims import parse_claim
from ledger.policy import Caller
from ledger.sealing.envelope import open_sealed
from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import Clock
from tests.faults.running import until
from tests.faults.test_contention import Worker, require_dense
from tests.prepared import settle_in

STEPS = 8
REBUILDS = 4
THREADS = ("read", "admit", "write", "grant")
TURMOIL = """
import os, threading
from ledger.errors import Refused
from ledger.values import FieldValue
crowd = Acting()
def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\\n")
def read(number):
    try:
        found = ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
        say("read", found.position, found.version, found.fields["Windows Password"].reveal())
    except Refused as refused:
        say("refused", refused.position, 0, "-")
def admit(number):
    change = ledger.grant if number % 2 else ledger.revoke
    outcome = change(crowd, "CRM", "member", "user:alice")
    say("grant" if number % 2 else "revoke", outcome.position, outcome.version, outcome.changed)
def write(number):
    value = FieldValue(f"{name}{number}")
    values = {"Windows User Name": FieldValue("s"), "Windows Password": value}
    outcome = ledger.set_credentials(crowd, "CRM", None, values)
    say("set", outcome.position, outcome.version, f"{name}{number}")
def grant(number):
    outcome = ledger.grant(crowd, "CRM", "administrator", f"user:{name}-{number}")
    say("other", outcome.position, outcome.version, outcome.changed)
failures = []
def run(step):
    try:
        for number in range(count):
            step(number)
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=run, args=(step,)) for step in (read, admit, write, grant)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ledger.close()
assert not failures, failures
"""

UNTIL_TOLD = """
import threading
told = threading.Event()
def wait():
    sys.stdin.readline()
    told.set()
threading.Thread(target=wait, daemon=True).start()
number = 0
while not told.wait(0.02):  # as fast as people are; a rebuild must get its turn
    number += 1
    change = ledger.grant if number % 2 else ledger.revoke
    change(Acting(), "CRM", "member", f"group:{name}")
    ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
ledger.close()
"""


def fill(house):
    """A group application with credentials and a member."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("user:alice",))
    values = {"Windows User Name": FieldValue("s"), "Windows Password": FieldValue("first")}
    ledger.set_credentials(Acting(), "CRM", None, values)
    ledger.close()


@pytest.fixture
def crm(prepared):
    return prepared(fill)


def another_host(house, folder):
    """The same ledger as a host sees it that was given a copy of the keyring and nothing else."""
    keyring = folder / "keys" / "keyring"
    keyring.parent.mkdir(parents=True)
    shutil.copy2(house.keyring_path, keyring)
    settle_in(keyring)
    return dataclasses.replace(house, keyring_path=keyring, opened=[])


def answers(workers):
    """What all of them were told, by kind: positions, versions and the rest, in the log's order."""
    told = {kind: [] for kind in ("read", "refused", "grant", "revoke", "set", "other")}
    for worker in workers:
        lines = [line.split() for line in worker.printed()]
        assert len(lines) == STEPS * len(THREADS)
        for kind, position, version, rest in lines:
            told[kind].append((int(position), int(version), rest))
    return {kind: sorted(some) for kind, some in told.items()}


def newest_before(position, events):
    """The last of these events before this position."""
    return events[bisect_left(events, (position,)) - 1]


def begun(workers):
    """All of them, once each has opened the ledger and was told to begin."""
    for worker in workers:
        assert worker.line() == "open"
    for worker in workers:
        worker.begin()


def test_two_hosts_that_read_and_change_at_once_agree_on_what_each_read_met(crm, nursery, tmp_path):
    """Nothing is lost or decided by an older state, nobody starves, and all hosts agree."""
    hosts = (crm, another_host(crm, tmp_path / "other"))
    workers = [
        Worker(nursery, host, TURMOIL, f"w{number}", STEPS)
        for number, host in enumerate((*hosts, hosts[1]))
    ]
    try:
        begun(workers)
        told = answers(workers)
    finally:
        for worker in workers:
            worker.end()
    values = [(0, 1, "first"), *told["set"]]
    assert [version for _, version, _ in values] == list(range(1, len(values) + 1))
    for position, version, value in told["read"]:
        assert (version, value) == newest_before(position, values)[1:]
    changed = [
        (position, kind)
        for kind in ("grant", "revoke")
        for position, _, changed in told[kind]
        if changed == "True"
    ]
    changes = [(0, "grant"), *sorted(changed)]
    for kind, last in (("read", "grant"), ("refused", "revoke")):
        for position, _, _ in told[kind]:
            assert newest_before(position, changes)[1] == last
    for host in hosts:
        ledger = host.open()
        assert len(ledger.application("CRM").administrators) == STEPS * len(workers)
        recorded = {
            one["position"]: one["outcome"] for one in ledger.views.accesses.newest(limit=0)
        }
        reads = dict.fromkeys((one[0] for one in told["read"]), "granted")
        assert recorded == reads | dict.fromkeys((one[0] for one in told["refused"]), "denied")
        again = redecide(host.store(), ledger._desk.mapper)
        assert again == {"checked": len(recorded), "wrong": [], "unreadable": []}
        ledger.close()
        require_dense(host)
        host.close()


def test_views_that_are_rebuilt_while_others_write_are_their_folds(crm, nursery, tmp_path):
    """Each rebuild compares like with like, whatever two hosts append meanwhile."""
    hosts = (crm, another_host(crm, tmp_path / "other"))
    workers = [Worker(nursery, host, UNTIL_TOLD, f"w{number}") for number, host in enumerate(hosts)]
    ledger = crm.open()

    try:
        begun(workers)
        for _ in range(REBUILDS):
            before = ledger.head().size
            until(lambda before=before: ledger.head().size > before)
            assert all(view["same"] for view in ledger.views.rebuild())
        for worker in workers:
            worker.begin()
            assert worker.rows() == []
    finally:
        for worker in workers:
            worker.end()
    digests = ledger.views.digests()
    assert {view["name"]: view["digest_after"] for view in ledger.views.rebuild()} == digests
    ledger.close()
    require_dense(crm)


def sealed_in(mapper, row) -> dict:
    """All that is sealed in a row, the clock's own reading included."""
    cipher = mapper.cipher(row.topic, row.epoch, row.period, row.stream)
    return msgpack.unpackb(open_sealed(cipher, row.sealed, mapper.associated_data(row)))


def test_a_host_whose_clock_was_set_back_writes_between_others_and_keeps_what_it_read(
    crm, tmp_path
):
    """Times grow with positions all the same, and only rows that were late hold a reading."""
    behind = another_host(crm, tmp_path / "other")
    behind.clock = Clock(-4 * 60 * 1_000_000)
    right, late = crm.open(), behind.open()
    size = right.head().size
    for turn in range(3):
        for ledger in (right, late):
            ledger.grant(Acting(), "CRM", "member", f"group:{turn}")
            ledger.retrieve(Caller(parse_claim("user:alice")), "CRM")
    assert late.status().clock_behind_us > 3 * 60 * 1_000_000
    with crm.store().reading() as reading:
        rows = reading.rows_after(size, 100)
    assert len(rows) == 3 * 3
    mapper = late._desk.mapper
    readings = [sealed_in(mapper, row).get("c") for row in rows]
    assert [reading is None for reading in readings] == [True, True, False] * 3
    for row, told in zip(rows, readings, strict=True):
        assert told is None or told < row.recorded_at - 3 * 60 * 1_000_000
    right.close()
    late.close()
    require_dense(crm)
