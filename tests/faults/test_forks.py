"""A process that forks while it writes: parent and child both go on, in one log."""

from __future__ import annotations

import os
import threading
import traceback

from ledger.claims import parse_claim
from ledger.errors import LedgerError
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue

ALICE = parse_claim("user:alice")
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
READS = 40


def in_child(work) -> int:
    """Fork, run the work in the child, and return the child's exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()  # pytest's own report would run in the child
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_forked_while_others_write_has_a_writer_and_a_stream_of_its_own(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ALICE, PAIR)
    stop = threading.Event()

    def keep_writing():
        while not stop.is_set():
            ledger.retrieve(Caller(ALICE), "CRM")

    threads = [threading.Thread(target=keep_writing) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert (
                in_child(lambda: [ledger.retrieve(Caller(ALICE), "CRM") for _ in range(READS)]) == 0
            )
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    ledger.close()
    assert verify_log(house.store()).ok
    again = house.open()
    assert len(again.views.accesses.newest(outcome="granted", limit=0)) >= 5 * READS
    assert all(view["same"] for view in again.views.rebuild())
    again.close()


def test_a_child_that_closes_takes_nothing_from_its_parent(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.set_credentials(Acting(), "CRM", ALICE, PAIR)

    def close_all():
        ledger.close()
        ledger._writer.store.close()

    assert in_child(close_all) == 0
    assert ledger.retrieve(Caller(ALICE), "CRM").version == 1
    ledger.close()
    assert verify_log(house.store()).ok


def test_a_closed_ledger_answers_with_an_error_and_never_hangs(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    outcomes = []

    def ask():
        for _ in range(50):
            try:
                ledger.grant(Acting(), "CRM", "member", "user:alice")
                outcomes.append("done")
            except LedgerError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    ledger.close()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert len(outcomes) == 200
    assert set(outcomes) <= {"done", "ledger-closed"}
    assert outcomes[-1] == "ledger-closed"


def test_a_caller_who_gave_up_in_time_leaves_nothing(house):
    ledger = house.open()
    started, go_on = threading.Event(), threading.Event()

    class Holds:
        def decide(self, transaction):
            started.set()
            go_on.wait(30)

    class Never:
        def decide(self, transaction):
            raise AssertionError

    first = ledger._writer.submit(Holds())
    started.wait(30)
    second = ledger._writer.submit(Never())
    assert second.cancel()
    go_on.set()
    assert first.result(30) is None
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.close()
