"""The way to one front process: what it asks is answered, and whether it lives is looked for.

A front that says nothing, and nothing either when it is looked for, hangs, and is ended. One that
says what it cannot mean is ended as well, in whosever hands it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from ledger.errors import Unavailable
from tools.service.door import Door, Request
from tools.service.frames import (
    ASKED_BYTES_MAX,
    ASKED_MAX,
    GONE,
    Answer,
    Asked,
    BrokenFrame,
    Frames,
    Here,
    Look,
    Ready,
    Rest,
    Said,
    Stop,
    ToLedger,
    Wanted,
    frame,
)
from tools.service.http_server import GRACE_S
from tools.service.journal import Journal
from tools.service.peers import Peer, peer_of_source
from tools.service.protocol import HEAD_BYTES_MAX
from tools.service.reading import (
    BODY_S_MAX,
    LARGE_BYTES,
    LARGE_MAX,
    ClientGone,
    too_large,
    too_slow,
)
from tools.service.replies import Answered, too_busy

START_S = 30.0
_END_S = 5.0
LOOK_S = 5.0
_SILENT_MAX = 2
"""So many times a front may be looked for in vain: one may be late after a pause of all."""
STOP_S = GRACE_S + _END_S
"""How long one that was told to stop may take."""
_FAULTS = {
    "body-too-large": too_large,
    "request-too-slow": too_slow,
    "too-busy": too_busy,
}
_REST_S = 2 * BODY_S_MAX
"""How long a body that is wanted may take; a front that does what it should says so before."""


class Line(asyncio.Protocol):
    """The way to one front process, and what it asks."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        door: Door,
        journal: Journal,
        number: int = 0,
        let_go: Callable[[int], None] | None = None,
    ) -> None:
        """`number` tells it from other fronts, until it is `let_go`."""
        self._number = number
        self._let_go = let_go
        self._process = process
        self._door = door
        self._journal = journal
        self._frames = Frames(ToLedger, ASKED_BYTES_MAX)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._large = 0
        self._wanted: dict[int, tuple[_Asking, asyncio.Future[Rest]]] = {}
        """The bodies that were asked for, by the numbers of their requests."""
        self._ready = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.ended = asyncio.Event()
        self._silent = 0
        """How often it was looked for since it said anything."""
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's do as that class does

    def data_received(self, data: bytes) -> None:
        """Take what the front says."""
        self._silent = 0
        try:
            for message in self._frames.of(data):
                self._take(message)
        except BrokenFrame:
            self._process.kill()  # in whosever hands it is
            self._transport.abort()

    def pause_writing(self) -> None:
        """It takes no answers, so it is asked for nothing more."""
        self._may_write.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self._may_write.set()
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The front has ended."""
        del exc
        if self._look is not None:
            self._look.cancel()
        if self._let_go is not None:
            self._let_go(self._number)
        self._may_write.set()
        for _, waiting in self._wanted.values():
            if not waiting.done():
                waiting.set_exception(ClientGone())
        self.ended.set()
        self._ready.set()

    @property
    def is_living(self) -> bool:
        """Whether it answers; one that hangs is taken to until it is ended."""
        return self._ready.is_set() and not self.ended.is_set()

    async def wait_ready(self) -> None:
        """Until it answers; `front-not-started`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), START_S)
        if self.ended.is_set() or not self._ready.is_set():
            self._process.kill()
            status = await self.process_ended()
            raise not_started(f"it ended with status {status}")

    def stop(self) -> None:
        """Let it end once what it has in hand is answered."""
        if not self._transport.is_closing():
            self._transport.write(frame(Stop()))
            self._loop.call_later(STOP_S, self._process.kill)

    async def process_ended(self) -> int:
        """The exit status of the process, which has hung up."""
        try:
            return await asyncio.to_thread(self._process.wait, _END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await asyncio.to_thread(self._process.wait)

    def _look_for_it(self) -> None:
        """Ask whether it is there; one that has not said so for long is ended."""
        if self._silent >= _SILENT_MAX:
            self._journal.front_silent()
            self._process.kill()
            return
        self._silent += 1
        if not self._transport.is_closing():
            self._transport.write(frame(Look()))
        self._look = self._loop.call_later(LOOK_S, self._look_for_it)

    def _take(self, message: object) -> None:
        if isinstance(message, Asked):
            if message.head_bytes > HEAD_BYTES_MAX:
                raise BrokenFrame("more than a head has")
            asking = _Asking(message)
            if len(message.body) > LARGE_BYTES:
                self._count_large(asking)
            if len(self._tasks) >= ASKED_MAX:
                raise BrokenFrame("more than a front has in hand")
            task = self._loop.create_task(self._answer(asking, _peer(message)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(message, Rest):
            self._take_rest(message)
        elif isinstance(message, Said):
            self._journal.server_said(message.message, message.exception)
        elif isinstance(message, Here):
            self._door.turned_away(self._number, message.turned_away)
        elif isinstance(message, Ready) and not self._ready.is_set():
            if not message.is_confined:
                self._journal.front_not_confined()
            self._ready.set()
            self._look = self._loop.call_later(LOOK_S, self._look_for_it)

    def _take_rest(self, rest: Rest) -> None:
        """Hand a body on to the request that wants it; nobody else's is kept."""
        asking, waiting = self._wanted.pop(rest.number, (None, None))
        if asking is not None and waiting is not None and not waiting.done():
            self._count_large(asking)
            waiting.set_result(rest)

    async def _answer(self, asking: _Asking, peer: Peer) -> None:
        asked = asking.asked
        read = partial(self._body, asking)
        request = Request(asked.method, asked.path, asked.headers, peer, read)
        try:
            await self._door.answer(request, partial(self._send, asked.number))
        except ClientGone:
            return
        finally:
            self._large -= asking.is_large

    def _count_large(self, asking: _Asking) -> None:
        """Take one of those that may be large; more than a front may have end it."""
        self._large += not asking.is_large
        asking.is_large = True
        if self._large > 2 * LARGE_MAX:
            raise BrokenFrame("more than a front has in hand")

    async def _body(self, asking: _Asking, _: bytes) -> bytes:
        """The body that came in, or whatever kept it from it."""
        asked: Asked | Rest = asking.asked
        if asking.asked.follows:
            asked = await self._rest(asking)
        if asked.fault == GONE:
            raise ClientGone
        if asked.fault:
            fault = _FAULTS.get(asked.fault, too_busy)
            raise fault()
        return asked.body

    async def _rest(self, asking: _Asking) -> Rest:
        """The body, which is read from here on: `request-too-slow` where a front never says so."""
        number = asking.asked.number
        if self._transport.is_closing() or number in self._wanted:
            raise ClientGone
        waiting: asyncio.Future[Rest] = self._loop.create_future()
        self._wanted[number] = asking, waiting
        self._transport.write(frame(Wanted(number)))
        try:
            async with asyncio.timeout(_REST_S):
                return await waiting
        except TimeoutError:
            raise too_slow() from None
        finally:
            self._wanted.pop(number, None)

    async def _send(self, number: int, answered: Answered) -> None:
        while not self._may_write.is_set():
            await self._may_write.wait()
        if not self._transport.is_closing():
            status, media_type, content, _, headers = answered
            self._transport.write(frame(Answer(number, status, media_type, content, headers)))


class _Asking(msgspec.Struct):
    """A request of a front that is worked on."""

    asked: Asked
    is_large: bool = False
    """Whether it counts as one of few."""


def _peer(asked: Asked) -> Peer:
    try:
        return peer_of_source(asked.source)
    except ValueError:
        raise BrokenFrame("no address") from None


def not_started(why: str) -> Unavailable:
    """`front-not-started`, and why."""
    return Unavailable(
        "front-not-started",
        f"A process that is to speak HTTP did not start: {why}.",
        hint="Look at the host's limits of processes and memory, or give --front-processes 0.",
    )
