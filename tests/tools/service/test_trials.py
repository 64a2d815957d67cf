"""However many tokens come at once, no more of them are refused than one address's share."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ledger.errors import LedgerError, Refused
from tools.service import trials
from tools.service.shares import Shares
from tools.service.trials import Trials

BURST = 5
MANY = 40
HERE, THERE = "192.0.2.7", "192.0.2.8"


class Court:
    """Trials whose share never grows, of tokens whose verdicts are said before."""

    def __init__(self) -> None:
        self.now = 0.0
        self.trials = Trials(Shares(rate=1, burst=BURST, clock=lambda: self.now))
        self.on_trial, self.most = Counter(), Counter()

    async def look(self, is_good, source=HERE):
        """The code of what becomes of one."""
        try:
            async with self.trials.one(source):
                self.on_trial[source] += 1
                self.most[source] = max(self.most[source], self.on_trial[source])
                await asyncio.sleep(0)  # others come meanwhile
                self.on_trial[source] -= 1
                if not is_good:
                    raise Refused("token-refused", "No.")
        except LedgerError as error:
            return error.code
        return "believed"

    def of(self, *verdicts, source=HERE):
        return Counter(asyncio.run(self._all(verdicts, source)))

    async def _all(self, verdicts, source):
        return await asyncio.gather(*(self.look(one, source) for one in verdicts))


@pytest.fixture
def court():
    return Court()


def test_of_many_at_once_no_more_are_refused_than_one_after_the_other(court):
    """The share is the same; others have theirs, and it grows as any does."""
    told = court.of(*[False] * MANY)
    assert told == {"token-refused": BURST, "too-many-requests": MANY - BURST}
    assert court.of(True) == {"too-many-requests": 1}
    assert court.of(*[False] * MANY, source=THERE)["token-refused"] == BURST
    court.now += 2
    assert court.of(*[False] * MANY)["token-refused"] == 2


def test_who_is_believed_is_turned_away_for_nobody_s_being_on_trial(court):
    """However many come at once, they wait for each other, and take nothing."""
    assert court.of(*[True] * MANY) == {"believed": MANY}
    assert court.most[HERE] == BURST
    assert court.of(*[False] * MANY)["token-refused"] == BURST


def test_those_who_wait_hear_that_the_share_is_used_up(court):
    """Good ones before the last refusal are believed; behind it nobody is looked at or waits on."""
    told = court.of(*([False, True] * MANY))
    assert told["token-refused"] == BURST
    assert told["believed"] >= BURST - 1
    assert told.total() == 2 * MANY
    assert court.trials._addresses == {}


def test_few_are_on_trial_or_wait_of_one_address_and_of_all(court, monkeypatch):
    """One too many is told to come again; later there is room again."""
    monkeypatch.setattr(trials, "SOURCE_HERE_MAX", 3)
    monkeypatch.setattr(trials, "HERE_MAX", 4)

    async def ask():
        both = [court.look(is_good=True) for _ in range(4)]
        both += [court.look(True, THERE) for _ in range(2)]
        return await asyncio.gather(*both)

    for _ in range(2):
        assert asyncio.run(ask()) == [*["believed"] * 3, "too-busy", "believed", "too-busy"]
    assert court.trials._addresses == {}


def test_whoever_is_told_to_go_while_he_waits_keeps_nobody_waiting(court):
    """The next one is called in his place."""
    asyncio.run(court.look(is_good=False))

    async def ask():
        going = asyncio.Event()

        async def hold():
            async with court.trials.one(HERE):
                await going.wait()

        held = [asyncio.ensure_future(hold()) for _ in range(BURST - 1)]
        waiting = [asyncio.ensure_future(court.look(is_good=True)) for _ in range(4)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        going.set()
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(*held)
        return await asyncio.gather(*waiting[2:])

    assert asyncio.run(ask()) == ["believed", "believed"]
    assert court.trials._addresses == {}


def test_an_address_without_room_for_its_name_is_not_looked_at():
    """As many names as may be are kept, each with less than its whole share."""
    now = [0.0]
    shares = Shares(rate=1, burst=2, clock=lambda: now[0], names_max=1)
    shares.take(HERE)
    assert (shares.left(HERE), shares.left(THERE)) == (1, 0)
    now[0] = 1
    assert shares.left(THERE) == 2
    assert shares.left(HERE) == 2
