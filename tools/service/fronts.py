"""The front processes: starting them, answering what they ask, and starting them again.

A front holds nothing that cannot be had again: where one ends, those who were connected to it hear
nothing more, as when a network fails, and another is started. What they had asked is decided and
recorded all the same, once. One that says nothing, and nothing either when it is looked for, hangs,
and is ended.

Where fronts end one after the other, the next one is waited for longer (see `restarts.py`). Whoever
connects while none lives waits a second or two in the system's line; beyond that it would be for
nothing, so he is hung up on at once, and not a byte of his is read here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

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
from tools.service.http_server import BACKLOG, GRACE_S
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
from tools.service.restarts import PAUSE_S, Restarts
from tools.service.tls import Tls

START_S = 30.0
_HANG_UP_S = 0.2
"""How often those are looked for who connect while no front lives."""
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
_NOT_HANDED_ON = ("CREDLEDGER_", "CREDENTIALS_", "PG")
"""How names of variables begin that lead to a keyring, its passphrase or a store."""


class Fronts:
    """The front processes of one listening socket."""

    def __init__(
        self,
        count: int,
        listening: socket.socket,
        tls: Tls | None,
        door: Door,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = count
        """As many as there should be."""
        self.ended = 0
        """How many ended by themselves, or did not start."""
        self._listening = listening
        self._tls = tls
        self._door = door
        self._journal = journal
        self._clock = clock
        self._lines: set[_Line] = set()
        self._expected = 0
        self._stopping = asyncio.Event()
        self._numbers = list(range(count, 0, -1))
        """Those that no front has; one that is started again takes that of one that ended."""

    @property
    def living(self) -> int:
        """How many there are that answer; in any thread."""
        return sum(line.is_living for line in self._lines.copy())

    async def start(self) -> list[_Line]:
        """Start them all, or none: `front-not-started`."""
        starts = (self._start() for _ in range(self.count))
        started = await asyncio.gather(*starts, return_exceptions=True)
        lines = [one for one in started if isinstance(one, _Line)]
        faults = [one for one in started if isinstance(one, BaseException)]
        if faults and not self._stopping.is_set():
            self.stop()
            await self.keep(lines)
            raise faults[0]
        return lines

    async def keep(self, lines: list[_Line]) -> None:
        """See to it that there are as many until `stop`, and wait for their ends."""
        away = asyncio.get_running_loop().create_task(self._turn_away())
        try:
            await asyncio.gather(*map(self._keep, lines))
        finally:
            away.cancel()

    def stop(self) -> None:
        """Take no more connections, and let each end once what it has in hand is answered."""
        self._stopping.set()
        self._listening.close()
        for line in self._lines:
            line.stop()

    async def _keep(self, line: _Line | None) -> None:
        restarts = Restarts(self._clock)
        while line is not None:
            restarts.began()
            await line.ended.wait()
            self._lines.discard(line)
            with self._expecting(1):
                code = await line.process_ended()
            if self._stopping.is_set():
                return
            pause_s = restarts.pause_s()
            self._journal.front_ended(code, pause_s)
            line = await self._another(restarts, pause_s)

    async def _another(self, restarts: Restarts, pause_s: float) -> _Line | None:
        """One that is started behind this pause, or a longer one; None if `stop` comes first."""
        while True:
            self.ended += 1
            with self._expecting(1 if pause_s <= PAUSE_S else 0):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause_s)
                if self._stopping.is_set():
                    return None
            try:
                with self._expecting(1):
                    return await self._start()
            except Unavailable as error:
                if self._stopping.is_set():
                    return None
                pause_s = restarts.pause_s()
                self._journal.front_not_started(error.message, pause_s)

    @contextlib.contextmanager
    def _expecting(self, count: int) -> Iterator[None]:
        """Meanwhile so many more are about to answer."""
        self._expected += count
        try:
            yield
        finally:
            self._expected -= count

    async def _turn_away(self) -> None:
        """Hang up on whoever connects while nobody is there or expected, until cancelled."""
        while True:
            if not (self.living or self._expected):
                with contextlib.suppress(OSError):  # nobody more is in the line
                    for _ in range(BACKLOG):
                        self._listening.accept()[0].close()
            await asyncio.sleep(_HANG_UP_S)

    async def _start(self) -> _Line:
        if self._stopping.is_set():
            raise _not_started("the service is told to stop")
        number = self._numbers.pop() if self._numbers else 0
        with contextlib.ExitStack() as undoing:
            undoing.callback(self._free, number)
            try:
                ours, theirs = socket.socketpair()
                undoing.enter_context(ours)
                with theirs:
                    process = self._process(theirs)
            except OSError as error:
                raise _not_started(error.strerror or type(error).__name__) from error
            undoing.pop_all()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: _Line(process, self._door, self._journal, number, self._free), sock=ours
        )
        self._lines.add(line)
        if self._stopping.is_set():
            line.stop()
        try:
            await line.wait_ready()
        except Unavailable:
            self._lines.discard(line)
            raise
        return line

    def _free(self, number: int) -> None:
        if number:
            self._numbers.append(number)

    def _process(self, link: socket.socket) -> subprocess.Popen[bytes]:
        """Without anything that leads to keys or a store, and without modules of the folder."""
        descriptors = link.fileno(), self._listening.fileno()
        options = [] if self._tls is None else _options(self._tls)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tools.service.front", *map(str, descriptors), *options],
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith(_NOT_HANDED_ON)
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
        )


class _Line(asyncio.Protocol):
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
            raise _not_started(f"it ended with status {status}")

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
            asking = _Asking(message)
            if _is_large(message):
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


@dataclass(slots=True)
class _Asking:
    """A request of a front that is worked on."""

    asked: Asked
    is_large: bool = False
    """Whether it counts as one of few."""


def _is_large(asked: Asked) -> bool:
    size = len(asked.body) + sum(len(name) + len(value) for name, value in asked.headers)
    return size > LARGE_BYTES + HEAD_BYTES_MAX


def _peer(asked: Asked) -> Peer:
    try:
        return peer_of_source(asked.source)
    except ValueError:
        raise BrokenFrame("no address") from None


def _not_started(why: str) -> Unavailable:
    return Unavailable(
        "front-not-started",
        f"A process that is to speak HTTP did not start: {why}.",
        hint="Look at the host's limits of processes and memory, or give --front-processes 0.",
    )


def _options(tls: Tls) -> list[str]:
    options = ["--certificate", str(tls.certificate), "--certificate-key", str(tls.key)]
    if tls.client_authority is not None:
        options += ["--client-authority", str(tls.client_authority)]
    return options
