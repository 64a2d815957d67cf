"""The HTTP server: uvicorn as this service sets it up, and the heads that it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Generator
from typing import Any, Protocol, cast

import uvicorn

from tools.processes.unforeseen import unforeseen
from tools.service.connections import close_slow, close_unread
from tools.service.handshakes import TlsListener
from tools.service.protocol import IDLE_S_MAX, SOCKETS, Connection
from tools.service.rounds import rounds

GRACE_S = 20
"""How long what is in hand may be answered once the service stops."""
_CUT_OFF_S = 1
"""So long before its end those are cut off who do not take their answers."""
BACKLOG = 1024


class Servers:
    """The servers of one process, each for one kind of socket, all on one loop."""

    def __init__(self) -> None:
        self._servers: list[_Server] = []
        self._is_stopping = False
        self._at_stop: list[Callable[[], None]] = []

    async def run(
        self,
        application: Any,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        *,
        sockets: int = 1,
    ) -> None:
        """Answer at one socket until `stop`; it is one of so many of this process."""
        config = uvicorn_config(application)
        config.load()
        config.ssl = context
        server = _Server(config, sockets)
        server.should_exit = self._is_stopping  # told before it was there
        self._servers.append(server)
        await server.serve([listening])

    async def watch_heads(self) -> None:
        """Close connections whose heads do not come to their end, until cancelled.

        And those whose answers are not taken, as long as too much of them waits.
        """
        loop = asyncio.get_running_loop()

        async def look() -> None:
            held = [server.server_state.connections for server in self._servers]
            for connections in held:
                close_slow(connections, loop.time())
            close_unread({one for connections in held for one in connections})

        await rounds(1, look)

    def at_stop(self, work: Callable[[], None]) -> None:
        """Do this as well, on the loop, once it is told to stop."""
        self._at_stop.append(work)
        if self._is_stopping:
            work()

    def stop(self) -> None:
        """Take no more connections, and end once what is in hand is answered."""
        self._is_stopping = True
        for work in self._at_stop:
            work()
        asyncio.get_running_loop().call_later(GRACE_S - _CUT_OFF_S, self._cut_off)
        for server in self._servers:
            server.should_exit = True

    def _cut_off(self) -> None:
        """Let go of all connections, or whoever takes no answer would be an exception at last."""
        for server in self._servers:
            for connection in list(server.server_state.connections):
                cast("Connection", connection).transport.abort()


class _Server(uvicorn.Server):
    """A server that leaves signals to the service."""

    def __init__(self, config: uvicorn.Config, sockets: int) -> None:
        super().__init__(config)
        self._sockets = sockets

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """None."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; over TLS with a listener that counts who has not done a handshake yet."""
        self.lifespan.state[SOCKETS] = self._sockets
        context = self.config.ssl
        if context is None:
            await super().startup(sockets)
            return
        assert sockets is not None
        state = self.server_state

        def make() -> Connection:
            return Connection(self.config, state, self.lifespan.state)

        # uvicorn closes them as it would close the loop's own, and asks nothing else of them.
        listeners = [TlsListener(one, context, make, state.connections) for one in sockets]
        self.servers = cast("list[asyncio.Server]", listeners)
        self.started = True


class Say(Protocol):
    """Takes something that the server has to say."""

    def __call__(self, message: str, exception: str = "") -> None:
        """And the type of what was raised, if anything was."""


class ServerLines(logging.Handler):
    """Takes over records of the server's, without what an exception quotes."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, and of what was raised the type alone."""
        raised = record.exc_info[0] if record.exc_info else None
        self._say(str(record.msg), "" if raised is None else raised.__name__)


def hand_lines_to(say: Say) -> None:
    """Say by this what the HTTP server has to say, without what it would fill in."""
    log = logging.getLogger("uvicorn.error")
    log.handlers, log.propagate = [ServerLines(say)], False


def hand_faults_to(say: Say) -> None:
    """Say by this what a callback of the running loop raised, which would be a page of text."""

    def handle(_: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        raised = told.get("exception")
        if isinstance(raised, Exception):
            say(unforeseen(raised).message, type(raised).__name__)
        else:
            say("Something unforeseen happened.")

    asyncio.get_running_loop().set_exception_handler(handle)


def uvicorn_config(application: Any) -> uvicorn.Config:
    """How each server of the service is set up, but for TLS."""
    return uvicorn.Config(
        application,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        headers=[("Cache-Control", "no-store")],
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S_MAX,
        timeout_graceful_shutdown=GRACE_S,
    )
