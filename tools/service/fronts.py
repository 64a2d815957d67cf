"""The front processes: starting them, and starting them again.

A front holds nothing that cannot be had again: where one ends, those who were connected to it hear
nothing more, as when a network fails, and another is started. What they had asked is decided and
recorded all the same, once. What one asks is answered in `front_line.py`.

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

from ledger.errors import Unavailable
from tools.service.door import Door
from tools.service.front_line import Line, not_started
from tools.service.http_server import BACKLOG
from tools.service.journal import Journal
from tools.service.restarts import PAUSE_S, Restarts
from tools.service.tls import Tls

_HANG_UP_S = 0.2
"""How often those are looked for who connect while no front lives."""
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
        self._lines: set[Line] = set()
        self._expected = 0
        self._stopping = asyncio.Event()
        self._numbers = list(range(count, 0, -1))
        """Those that no front has; one that is started again takes that of one that ended."""

    @property
    def living(self) -> int:
        """How many there are that answer; in any thread."""
        return sum(line.is_living for line in self._lines.copy())

    async def start(self) -> list[Line]:
        """Start them all, or none: `front-not-started`."""
        starts = (self._start() for _ in range(self.count))
        started = await asyncio.gather(*starts, return_exceptions=True)
        lines = [one for one in started if isinstance(one, Line)]
        faults = [one for one in started if isinstance(one, BaseException)]
        if faults and not self._stopping.is_set():
            self.stop()
            await self.keep(lines)
            raise faults[0]
        return lines

    async def keep(self, lines: list[Line]) -> None:
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

    async def _keep(self, line: Line | None) -> None:
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

    async def _another(self, restarts: Restarts, pause_s: float) -> Line | None:
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

    async def _start(self) -> Line:
        if self._stopping.is_set():
            raise not_started("the service is told to stop")
        number = self._numbers.pop() if self._numbers else 0
        with contextlib.ExitStack() as undoing:
            undoing.callback(self._free, number)
            try:
                ours, theirs = socket.socketpair()
                undoing.enter_context(ours)
                with theirs:
                    process = self._process(theirs)
            except OSError as error:
                raise not_started(error.strerror or type(error).__name__) from error
            undoing.pop_all()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: Line(process, self._door, self._journal, number, self._free), sock=ours
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


def _options(tls: Tls) -> list[str]:
    options = ["--certificate", str(tls.certificate), "--certificate-key", str(tls.key)]
    if tls.client_authority is not None:
        options += ["--client-authority", str(tls.client_authority)]
    return options
