"""Those who wait for an issuer's keys hold room, of which there is so much and no more."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future

import pytest

from ledger.errors import Unavailable
from ledger.tokens.issuer_keys import KeysAwaited
from tools.service import key_waits, trials
from tools.service.key_waits import KeyWaits
from tools.service.reading import IN_HAND_MAX


def awaited(url="https://a.example/keys"):
    answered = Future()
    answered.set_running_or_notify_cancel()
    return KeysAwaited(url, answered)


async def begin(waits, *asked):
    """Have each of them wait: an issuer's answer, and a source."""
    tasks = [asyncio.create_task(waits.until(*one)) for one in asked]
    await asyncio.sleep(0)
    return tasks


async def turned_away(waits, *asked):
    with pytest.raises(Unavailable) as caught:
        await waits.until(*asked)
    return caught.value.code == "too-busy"


def test_one_address_keeps_nobody_else_from_waiting(monkeypatch):
    """It is one too many itself, for any issuer."""
    monkeypatch.setattr(key_waits, "SOURCE_WAITING_MAX", 2)

    async def ask():
        waits, one, other = KeyWaits(), awaited(), awaited("https://b.example/keys")
        tasks = await begin(waits, (one, "192.0.2.1"), (one, "192.0.2.1"), (one, "192.0.2.2"))
        assert await turned_away(waits, one, "192.0.2.1")
        assert await turned_away(waits, other, "192.0.2.1")
        one.answered.set_result(None)
        await asyncio.gather(*tasks)
        await asyncio.gather(*await begin(waits, (one, "192.0.2.1"), (one, "192.0.2.1")))

    asyncio.run(ask())


def test_one_issuer_keeps_nobody_from_waiting_for_another(monkeypatch):
    """Whatever addresses they come from."""
    monkeypatch.setattr(key_waits, "ISSUER_WAITING_MAX", 2)

    async def ask():
        waits, one, other = KeyWaits(), awaited(), awaited("https://b.example/keys")
        tasks = await begin(waits, (one, "192.0.2.1"), (one, "192.0.2.2"))
        assert await turned_away(waits, one, "192.0.2.3")
        tasks += await begin(waits, (other, "192.0.2.3"))
        assert not any(task.done() for task in tasks)
        for each in (one, other):
            each.answered.set_result(None)
        await asyncio.gather(*tasks)

    asyncio.run(ask())


def test_all_who_wait_leave_room_for_those_who_do_not(monkeypatch):
    """There is a bound for all issuers together, well below what may be in hand."""
    # Beside those whose tokens are on trial, or wait for that.
    assert key_waits.WAITING_MAX + trials.HERE_MAX < IN_HAND_MAX * 3 // 4
    assert key_waits.SOURCE_WAITING_MAX < key_waits.ISSUER_WAITING_MAX < key_waits.WAITING_MAX
    monkeypatch.setattr(key_waits, "WAITING_MAX", 2)

    async def ask():
        waits, issuers = KeyWaits(), [awaited(f"https://{name}.example/") for name in "abc"]
        *two, third = ((issuer, issuer.url) for issuer in issuers)
        tasks = await begin(waits, *two)
        assert await turned_away(waits, *third)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        tasks += await begin(waits, third)
        assert [task.done() for task in tasks] == [True, False, False]
        for each in issuers:
            each.answered.set_result(None)
        await asyncio.gather(*tasks[1:])

    asyncio.run(ask())


def test_what_comes_of_a_fetch_behind_the_bound_troubles_nobody(monkeypatch):
    """Who waited has gone on without it, and nobody is left who would hear of it."""
    monkeypatch.setattr(key_waits, "ANSWER_S_MAX", 0.01)
    faults = []

    async def ask():
        late, loop = awaited(), asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: faults.append(told))
        await KeyWaits().until(late, "192.0.2.1")
        late.answered.set_exception(ZeroDivisionError())
        for _ in range(3):
            await asyncio.sleep(0)
        del late
        gc.collect()

    asyncio.run(ask())
    assert faults == []


def test_what_nobody_foresaw_in_a_fetch_is_raised_to_who_waits():
    """As it would be if he had fetched himself."""
    failed = awaited()
    failed.answered.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(KeyWaits().until(failed, "192.0.2.1"))
