"""Tokens on trial: each that is being verified may be refused, and refused ones have a share.

    comes ─▶ is the share enough for it and all that are on trial? ── yes ─▶ on trial ─▶ verdict
             │                                                    ▲                       │
             ├─ some is left ─▶ waits for the next verdict ───────┘    refused: takes one ┘
             └─ none is left ─▶ too-many-requests

If the share were looked at before a trial and taken from behind it, any number could pass at once;
if it were taken from before, and given back, whoever is believed would be turned away because
others are on trial. So what is on trial counts as if it were refused, and who finds no room beside
it waits: he is turned away only for what was refused.

How many are here is bounded, of one address and in all, so that strangers, whatever their tokens
are waited for, leave room in hand for those who are known.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

import msgspec

from ledger.errors import Refused, Unavailable
from tools.service.replies import too_busy
from tools.service.shares import Shares

HERE_MAX = 400
"""Tokens that are on trial or wait for it; those that wait for keys have room of their own
(`key_waits.WAITING_MAX`), and both together leave a third of what may be in hand."""
SOURCE_HERE_MAX = 300
"""Of one address or account, so that no single one can keep all others' out."""


class Trials:
    """Who may have a token looked at that may turn out to be refused; used on one event loop."""

    def __init__(self, refused: Shares) -> None:
        """`refused` are the addresses' shares of refused tokens."""
        self._refused = refused
        self._addresses: dict[str, _Address] = {}
        self._here = 0

    @contextlib.asynccontextmanager
    async def one(self, source: str) -> AsyncGenerator[None]:
        """Have one of this address looked at inside; `Refused` there takes one of its share.

        `too-many-requests` where none of that is left, and `too-busy` where too many wait already.
        """
        address = self._come(source)
        try:
            await self._begin(source, address)
            try:
                yield
            except Refused:
                self._refused.take(source)
                raise
            finally:
                address.on_trial -= 1
                address.call_next()
        finally:
            self._go(source, address)

    async def _begin(self, source: str, address: _Address) -> None:
        """Wait until the share would do, were all that are on trial refused."""
        try:
            while (left := self._refused.left(source)) <= address.on_trial:
                if not left:
                    raise too_many()
                await address.called()
            address.on_trial += 1
        finally:
            address.call_next()  # who may begin, or be turned away, as well

    def _come(self, source: str) -> _Address:
        address = self._addresses.setdefault(source, _Address())
        if self._here >= HERE_MAX or address.here >= SOURCE_HERE_MAX:
            self._forget(source, address)
            raise too_busy()
        address.here += 1
        self._here += 1
        return address

    def _go(self, source: str, address: _Address) -> None:
        address.here -= 1
        self._here -= 1
        self._forget(source, address)

    def _forget(self, source: str, address: _Address) -> None:
        if not address.here:
            del self._addresses[source]


class _Address(msgspec.Struct):
    """Those of one address."""

    here: int = 0
    on_trial: int = 0
    waiting: deque[asyncio.Future[None]] = msgspec.field(default_factory=deque)

    async def called(self) -> None:
        """Wait to be the next."""
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(call)
        try:
            await call
        finally:
            with contextlib.suppress(ValueError):  # it was taken out to be called
                self.waiting.remove(call)

    def call_next(self) -> None:
        """Let whoever waits longest look whether there is room now."""
        while self.waiting:
            call = self.waiting.popleft()
            if not call.done():  # or whoever waited has been told to go
                call.set_result(None)
                return


def too_many() -> Unavailable:
    """A share is used up."""
    return Unavailable(
        "too-many-requests",
        "More is asked than one caller or address may.",
        hint="Come again after the time that Retry-After names; nothing was done.",
    )
