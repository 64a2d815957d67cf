"""Connections over TLS, counted from the moment at which they are taken.

    taken ─▶ one too many? ─▶ handshake, HANDSHAKE_S_MAX at most ─▶ a connection like any other
                  │                       │
                  └──── let go ◀──────────┘

A loop's own server would tell of a connection only once its handshake is done, so whoever never
does one could hold any number of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Collection

from tools.service.peers import peer_of
from tools.service.protocol import Connection

HANDSHAKE_S_MAX = 10.0
_RETRY_S = 1.0
"""How long nobody is taken where the process has as many files open as it may."""


class TlsListener:
    """Takes connections; in the hands of uvicorn it is one of its servers."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], Connection],
        connections: Collection[object],
    ) -> None:
        """`connections` are those whose handshake is done."""
        self._listening = listening.dup()
        self._listening.setblocking(False)
        self._context = context
        self._make = make
        self._connections = connections
        self._shaking: dict[Connection, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Take no more, and let those go whose handshake is not done."""
        if self._listening.fileno() >= 0:  # or it was told before
            self._loop.remove_reader(self._listening)
            self._listening.close()
        if self._pause is not None:
            self._pause.cancel()
        for task in self._shaking.values():
            task.cancel()

    async def wait_closed(self) -> None:
        """Return once nothing is left to do."""
        if self._shaking:
            await asyncio.wait(self._shaking.values())

    def _listen(self) -> None:
        self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        """Take one connection, at once: nothing may come between it and who sees to its end."""
        try:
            made, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process took it, or it is gone
        except OSError:
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(_RETRY_S, self._listen)
        else:
            made.setblocking(False)
            self._begin(made)

    def _begin(self, made: socket.socket) -> None:
        connection = self._make()
        connection.peer = peer_of(made)
        others = {connection, *self._connections, *self._shaking}
        if connection.is_too_many(made.fileno(), others):
            made.close()
            return
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ended(task: asyncio.Task[None]) -> None:
            del self._shaking[connection]
            if task.cancelled():
                made.close()  # it may have been before the handshake began

        task = self._loop.create_task(self._shake(connection, made))
        self._shaking[connection] = task
        task.add_done_callback(ended)

    async def _shake(self, connection: Connection, made: socket.socket) -> None:
        with contextlib.suppress(OSError):  # whatever fails, the connection is closed then
            await self._loop.connect_accepted_socket(
                lambda: connection,
                made,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S_MAX,
            )
