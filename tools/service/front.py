"""A front process: it speaks HTTP and TLS with strangers, and holds no key.

    clients ─▶ TLS, heads, bodies, their bounds ─▶ socket pair ─▶ the ledger's process

Parsing what strangers send costs as much as answering it, and is where a fault would be met first.
Here it is done on another core, by a process that has neither the keyring nor the store, nor
anything of the environment that leads to them. Whose a request is, and what becomes of it, is
decided by the ledger's process alone, from the token itself. Without that process there is nothing
to say, so its end is this one's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path
from typing import cast

import uvloop

from ledger.errors import LedgerError
from tools.processes.hardening import harden
from tools.service.confinement import confine
from tools.service.frames import (
    ASKED_MAX,
    SAID_LENGTH_MAX,
    TURNED_AWAY_MAX,
    Answer,
    Asked,
    BrokenFrame,
    Frames,
    Here,
    Look,
    Ready,
    Said,
    Stop,
    ToFront,
    frame,
)
from tools.service.http_server import Servers, hand_faults_to, hand_lines_to, uvicorn_config
from tools.service.pauses import collect_seldom, keep_what_is_there
from tools.service.peers import NOBODY, Peer
from tools.service.protocol import ANSWER, PEER
from tools.service.reading import IN_HAND_MAX, LARGE_BYTES, LARGE_MAX, Bodies, ClientGone
from tools.service.replies import Answered, Receive, Scope, Send, deliver, failed, too_busy
from tools.service.tls import Tls

_LOOKED_AT = frozenset(
    (
        b"authorization",
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"accept",
        b"idempotency-key",
    )
)
"""The headers that the door looks at."""


class Link(asyncio.Protocol):
    """The way to the ledger's process."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._frames = Frames(ToFront)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._turned_away = 0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        # uvloop's do as that class does
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whoever waits for it."""
        try:
            for message in self._frames.of(data):
                if isinstance(message, Answer):
                    waiting = self._waiting.get(message.number)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
                elif isinstance(message, Look):
                    self._transport.write(frame(self._here()))
                elif isinstance(message, Stop):
                    self._servers.stop()
        except BrokenFrame:
            os._exit(1)

    def connection_lost(self, exc: Exception | None) -> None:
        """The ledger's process has ended: nobody can be answered any more."""
        del exc
        os._exit(1)

    def turn_away(self) -> None:
        """Note a request that is answered without the ledger's process, which will be told."""
        self._turned_away += 1

    def _here(self) -> Here:
        told = min(self._turned_away, TURNED_AWAY_MAX)
        self._turned_away -= told
        return Here(told)

    def ready(self, *, is_confined: bool) -> None:
        """Tell that this process answers."""
        self._transport.write(frame(Ready(is_confined)))

    def say(self, message: str, exception: str = "") -> None:
        """Put a line into the service's log."""
        said = Said(message[:SAID_LENGTH_MAX], exception[:SAID_LENGTH_MAX])
        self._transport.write(frame(said))

    async def ask(
        self, scope: Scope, headers: list[tuple[bytes, bytes]], body: bytes, fault: str
    ) -> Answered:
        """What is answered to this request."""
        peer: Peer = scope["state"].get(PEER, NOBODY)
        self._number = number = self._number + 1
        waiting = self._waiting[number] = self._loop.create_future()
        asked = Asked(number, scope["method"], scope["path"], peer.source, headers, body, fault)
        self._transport.write(frame(asked))
        try:
            answer = await waiting
        finally:
            del self._waiting[number]
        return Answered(answer.status, answer.media_type, answer.content, "", answer.headers)


class Front:
    """The application that this process's server calls."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._bodies = Bodies()
        self._in_hand = 0
        self._asked = 0
        """Requests that came in whole and are not answered yet."""
        self._large = 0
        """Bodies that are not answered yet, for the ledger's process may be slower than clients."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request by what the ledger's process says."""
        # Taken out of the scope, or the two would hold each other.
        whole = scope["state"].pop(ANSWER, None)
        headers = [one for one in scope["headers"] if one[0] in _LOOKED_AT]
        self._in_hand += 1
        try:
            if self._in_hand > ASKED_MAX // 2:
                self._link.turn_away()
                await deliver(failed(too_busy(), ("POST",)), whole, send)
                return
            body, fault = await self._body(scope, headers, receive)
            answered = await self._ask(scope, headers, body, fault)
        except ClientGone:
            return
        finally:
            self._in_hand -= 1
        await deliver(answered, whole, send)

    async def _ask(
        self, scope: Scope, headers: list[tuple[bytes, bytes]], body: bytes, fault: str
    ) -> Answered:
        is_large = len(body) > LARGE_BYTES
        is_busy = scope["method"] == "POST" and self._asked >= IN_HAND_MAX
        if is_busy or (is_large and self._large >= LARGE_MAX):
            return await self._link.ask(scope, headers, b"", "too-busy")
        self._asked += 1
        self._large += is_large
        try:
            return await self._link.ask(scope, headers, body, fault)
        finally:
            self._asked -= 1
            self._large -= is_large

    async def _body(
        self, scope: Scope, headers: list[tuple[bytes, bytes]], receive: Receive
    ) -> tuple[bytes, str]:
        """The body, or the code of what is wrong with it; the door says the rest."""
        if scope["method"] != "POST":
            return b"", ""
        told = dict(headers).get(b"content-length", b"0")
        peer: Peer = scope["state"].get(PEER, NOBODY)
        try:
            return await self._bodies.read(told, receive, peer.source), ""
        except LedgerError as error:
            return b"", error.code


async def _run(
    link_end: int, listening: int, context: ssl.SSLContext | None, *, is_confined: bool
) -> None:
    loop = asyncio.get_running_loop()
    servers = Servers()
    loop.add_signal_handler(signal.SIGTERM, servers.stop)
    end = socket.socket(fileno=link_end)
    end.setblocking(False)
    _, link = await loop.create_connection(lambda: Link(servers), sock=end)
    hand_lines_to(link.say)
    hand_faults_to(link.say)
    heads = loop.create_task(servers.watch_heads())
    link.ready(is_confined=is_confined)
    await servers.run(Front(link), socket.socket(fileno=listening), context)
    heads.cancel()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="credledger-front")
    parser.add_argument("link", type=int)
    parser.add_argument("listening", type=int)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--certificate-key", type=Path)
    parser.add_argument("--client-authority", type=Path)
    return parser.parse_args()


def main() -> None:
    """Be the process, for as long as the ledger's wants it."""
    given = _arguments()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the ledger's process says when
    harden()
    collect_seldom()
    keep_what_is_there()
    context = None
    if given.certificate is not None:
        context = Tls(given.certificate, given.certificate_key, given.client_authority).context()
    uvicorn_config(Front).load()  # what it imports is not there to be had later
    is_confined = confine()
    uvloop.run(_run(given.link, given.listening, context, is_confined=is_confined))
    os._exit(0)


if __name__ == "__main__":
    main()
