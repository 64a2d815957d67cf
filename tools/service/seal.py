"""The seal: no ledger is open until somebody has unlocked it.

    sealed ── open ──▶ open ── close ──▶ sealed for good

While it is sealed, the process holds no key and answers its health alone. Once it is closed nothing
opens it again: an attempt to unlock may still wait in a thread then, and nobody would close what it
opens.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import NamedTuple

from ledger.errors import LedgerError, Unavailable
from ledger.tokens.issuer_keys import Missed
from tools.people.documents import StandardInput
from tools.service.counter import Counter
from tools.service.rounds import rounds
from tools.service.tally import Tally
from tools.settings import Settings
from tools.wiring import Unlock, open_session, token_verifier

READY_S = 1.0
"""How long the answer to whether it is ready is good for."""
SETTLE_S = 5.0
SWEEP_S = 30.0
"""How often tickets are looked for that nobody brought; they may wait for minutes anyway."""
LOOK_AHEAD_S = 0.4
"""Twice within the time for which known tokens are believed (`ledger.tokens.verifier.LOOK_US`)."""


class Opened(NamedTuple):
    """By whom the ledger was opened."""

    slot: int
    was_sealed: bool
    """Whether it is only open since now."""


class Seal:
    """Keeps the ledger shut until it is unlocked."""

    def __init__(
        self,
        settings: Settings,
        threads: Executor,
        watch: Callable[[int], AbstractContextManager[object]],
        tickets: Tally,
        missed: Missed,
    ) -> None:
        """`missed` is told of each fetch of an issuer's keys that got none."""
        self.settings = settings
        self.threads = threads
        self._watch = watch
        self._tickets = tickets
        self._missed = missed
        self._counter: Counter | None = None
        self._stack = ExitStack()
        self._is_closed = False
        self._guard = threading.Lock()
        self._looking: asyncio.Future[LedgerError | None] | None = None
        """The newest look at whether the log can be read."""
        self._looked_at = 0.0
        """When it came to its end."""

    @property
    def counter(self) -> Counter:
        """Where the open ledger is asked; `sealed`, or `service-stopped`."""
        counter = self._counter
        if counter is None:
            if self._is_closed:
                raise _stopped()
            raise Unavailable(
                "sealed",
                "The service is sealed: nobody has unlocked its ledger yet.",
                hint="Run `credledger unseal` on its host.",
            )
        return counter

    def open(self, unlock: Unlock | None) -> Opened:
        """Unlock and open the ledger, in the calling thread.

        Where it is open already, nothing is unlocked. Whatever opening a ledger may raise leaves it
        sealed. `service-stopped` once it was closed.
        """
        with self._guard:
            if self._is_closed:
                raise _stopped()
            if self._counter is not None:
                return Opened(self._counter.session.unlocked.slot.id, was_sealed=False)
            with ExitStack() as stack:
                opening = open_session(self.settings, StandardInput(), unlock=unlock)
                session = stack.enter_context(opening)
                session.ledger.watch_commits(self._watch)
                verifier = token_verifier(session.ledger, self._missed)
                stack.callback(verifier.close)
                self._counter = Counter(session, self.threads, verifier, self._tickets)
                self._stack = stack.pop_all()
            return Opened(session.unlocked.slot.id, was_sealed=True)

    @property
    def is_sealed(self) -> bool:
        """Whether nobody has unlocked it yet."""
        return self._counter is None

    async def require_ready(self) -> None:
        """Raise whatever keeps reads from being recorded, as far as can be known without one.

        Whoever asks while that is looked at waits for the answer, for the last one may be old.
        """
        counter, looking = self.counter, self._looking
        if looking is None or (looking.done() and time.monotonic() - self._looked_at >= READY_S):
            looking = self._looking = asyncio.ensure_future(self._missing(counter))
        missing = await asyncio.shield(looking)
        if missing is not None:
            raise missing

    async def _missing(self, counter: Counter) -> LedgerError | None:
        """Why no read is recorded at this moment; None where nothing is known of that."""
        try:
            await counter.wait(counter.ledger.require_recording)
        except LedgerError as error:
            return error
        finally:
            self._looked_at = time.monotonic()
        return None

    async def settle(self) -> None:
        """Every few seconds write down what is known of refused tokens, until cancelled."""

        async def work() -> None:
            if self._counter is not None:
                await self._counter.wait(self._counter.verifier.settle)

        await rounds(SETTLE_S, work)

    async def sweep(self) -> None:
        """Twice a minute record the end of tickets that nobody brought, until cancelled."""

        async def work() -> None:
            if self._counter is not None:
                recorded: list[int] = []
                sweep = partial(self._counter.ledger.tickets.sweep, tell=recorded.append)
                try:
                    await self._counter.wait(sweep)
                finally:  # what was recorded stands, whatever became of the rest
                    self._tickets.count("lapsed", sum(recorded))

        await rounds(SWEEP_S, work)

    async def look_ahead(self) -> None:
        """Keep the knowledge of whose tokens are trusted fresh, until cancelled.

        Where the log cannot be read, whoever shows a token hears of it himself.
        """

        async def work() -> None:
            if self._counter is not None:
                await self._counter.wait(self._counter.verifier.look_ahead)

        await rounds(LOOK_AHEAD_S, work)

    def close(self) -> str:
        """Finish what waits, and let go of the ledger and its keys, for good.

        The code of what this host's memory lacks then, if it could not be written; else nothing.
        """
        with self._guard:
            self._is_closed = True
            counter, self._counter = self._counter, None
            self._stack.close()
        missed = None if counter is None else counter.ledger.unremembered
        return "" if missed is None else missed.code


def _stopped() -> Unavailable:
    return Unavailable(
        "service-stopped",
        "The service has stopped, and its ledger is not opened again.",
        hint="Start the service anew, and unseal that one.",
    )
