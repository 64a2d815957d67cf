"""Coroutines that read: answered like threads, without standing in the way of their loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref

import pytest

from ledger.claims import parse_claim
from ledger.errors import Refused, Unavailable
from ledger.log.awaiting import Mailbox, Mailboxes
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue

PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
ALICE, MALLORY = (Caller(parse_claim(f"user:{name}")) for name in ("alice", "mallory"))


@pytest.fixture
def crm(ledger):
    ledger.create_application(Acting(), "CRM", kind="individual", members=("user:alice",))
    ledger.set_credentials(Acting(), "CRM", ALICE.claim, PAIR)
    return ledger


class Holds:
    """Keeps the writer busy until a test lets it go on."""

    def __init__(self):
        self.began, self.go_on = threading.Event(), threading.Event()

    def decide(self, transaction):
        self.began.set()
        self.go_on.wait(30)


def test_each_coroutine_gets_its_own_answer_and_each_answer_has_a_record(crm):
    """Sixty-four callers at once are each released or refused, and recorded once."""

    async def ask(number: int) -> int:
        if number % 8 == 0:
            with pytest.raises(Refused) as caught:
                await crm.retrieve_async(MALLORY, "CRM", reason=str(number))
            return caught.value.position
        got = await crm.retrieve_async(ALICE, "CRM", reason=str(number))
        assert got.fields["Windows Password"].reveal() == "first"
        return got.position

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(ask(number) for number in range(64)))

    positions = asyncio.run(all_of_them())
    recorded = {one["position"]: one for one in crm.views.accesses.newest(limit=0)}
    assert len(set(positions)) == 64
    for number, position in enumerate(positions):
        assert recorded[position]["reason"] == str(number)
        assert recorded[position]["outcome"] == ("denied" if number % 8 == 0 else "granted")
    assert verify_log(crm._writer.store).ok


def test_loops_in_several_threads_are_answered_each_in_its_own(crm):
    """A caller's coroutine goes on in the thread that it began in."""
    threads_seen = []

    async def ask_often() -> None:
        for _ in range(20):
            await crm.retrieve_async(ALICE, "CRM")
            threads_seen.append(threading.get_ident())

    threads = [threading.Thread(target=lambda: asyncio.run(ask_often())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(threads_seen.count, set(threads_seen))) == [20] * 4


def test_who_is_cancelled_before_his_turn_leaves_nothing(crm):
    """A request that nobody waits for any more is not carried out."""
    holding = Holds()

    async def give_up() -> None:
        crm._writer.submit(holding)
        await asyncio.to_thread(holding.began.wait, 30)
        asking = asyncio.ensure_future(crm.retrieve_async(ALICE, "CRM"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        holding.go_on.set()
        await crm.retrieve_async(ALICE, "CRM", reason="after")

    asyncio.run(give_up())
    assert [one["reason"] for one in crm.views.accesses.newest(limit=0)] == ["after"]


def test_a_loop_that_ended_before_its_answer_does_not_disturb_the_writer(crm):
    """Others are served though one caller's loop is gone."""
    holding = Holds()

    async def leave() -> None:
        crm._writer.submit(holding)
        await asyncio.to_thread(holding.began.wait, 30)
        crm._writer._join(holding, Mailboxes().awaited())

    asyncio.run(leave())
    holding.go_on.set()
    assert crm.retrieve(ALICE, "CRM").version == 1


def test_answers_of_several_threads_reach_a_loop_without_one_being_lost():
    """A loop is woken although answers come from many threads at the same moment."""

    async def receive() -> int:
        loop = asyncio.get_running_loop()
        mailbox = Mailbox(loop)
        futures = [loop.create_future() for _ in range(400)]

        def send(first: int) -> None:
            for future in futures[first::4]:
                mailbox.put(future, 1, None)

        await asyncio.gather(*(asyncio.to_thread(send, first) for first in range(4)))
        return sum(await asyncio.wait_for(asyncio.gather(*futures), 30))

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert [asyncio.run(receive()) for _ in range(20)] == [400] * 20
    finally:
        sys.setswitchinterval(usual)


def test_answers_that_are_collected_wake_their_loop_once_and_at_the_end():
    """Each waking costs more than a request, and lets go of the interpreter in mid-commit."""

    async def receive() -> tuple[list[bool], list[int]]:
        mailboxes = Mailboxes()
        awaited = [mailboxes.awaited() for _ in range(3)]
        with mailboxes.together():
            for answer in awaited:
                answer.set_result(1)
            for _ in range(5):
                await asyncio.sleep(0)
            meanwhile = [answer.future.done() for answer in awaited]
        woken = await asyncio.wait_for(asyncio.gather(*(one.future for one in awaited)), 30)
        late = mailboxes.awaited()
        late.set_result(2)
        assert await asyncio.wait_for(late.future, 30) == 2
        return meanwhile, woken

    assert asyncio.run(receive()) == ([False] * 3, [1] * 3)


def test_a_fault_that_no_future_takes_harms_nobody_else(crm):
    """A request that raises StopIteration fails alone."""

    class Empty:
        def decide(self, transaction):
            return next(iter(()))

    async def ask() -> int:
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(crm._writer.run_async(Empty()), 30)
        return (await asyncio.wait_for(crm.retrieve_async(ALICE, "CRM"), 30)).version

    assert asyncio.run(ask()) == 1


def test_loops_do_not_gather(crm):
    """Asking from a new loop each time keeps none but the one that was answered last."""
    loops = []

    async def ask() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await crm.retrieve_async(ALICE, "CRM")

    for _ in range(5):
        asyncio.run(ask())
    gc.collect()
    assert [loop() for loop in loops[:-1]] == [None] * 4


def test_a_closed_ledger_tells_coroutines_so(crm):
    """Nobody awaits for ever."""
    crm.close()

    async def ask() -> None:
        await asyncio.wait_for(crm.retrieve_async(ALICE, "CRM"), 30)

    with pytest.raises(Unavailable) as caught:
        asyncio.run(ask())
    assert caught.value.code == "ledger-closed"


def test_no_nonce_seals_two_records_of_a_commit(crm):
    """Those of many requests are drawn at once, and each is used for one."""

    async def all_of_them() -> None:
        await asyncio.gather(*(crm.retrieve_async(ALICE, "CRM") for _ in range(64)))

    before = crm.head().size
    asyncio.run(all_of_them())
    with crm._writer.store.reading() as reading:
        sealed = [row.sealed for row in reading.rows_after(before, 100)]
    assert len({one[:12] for one in sealed}) == len(sealed) == 64
