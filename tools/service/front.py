"""A front process: it speaks HTTP and TLS with strangers, and holds no key.

    clients ─▶ TLS, heads, bodies, their bounds ─▶ socket pair ─▶ the ledger's process

Parsing what strangers send costs as much as answering it, and is where a fault would be met first.
Here it is done on another core, by a process that has neither the keyring nor the store, nor
anything of the environment that leads to them. Whose a request is, and what becomes of it, is
decided by the ledger's process alone, from the token itself: of a large body no more is read here
than came with the head until that process wants it, so strangers hold no room of those it knows.
Without that process there is nothing
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
    GONE,
    SAID_LENGTH_MAX,
    TURNED_AWAY_MAX,
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
    ToFront,
    ToLedger,
    Wanted,
    frame,
)
from tools.service.http_server import Servers, hand_faults_to, hand_lines_to, uvicorn_config
from tools.service.pages import HEALTH, LIVE
from tools.service.pauses import collect_seldom, keep_what_is_there
from tools.service.peers import NOBODY, Peer
from tools.service.protocol import ANSWER, HAS_COME, PEER
from tools.service.reading import (
    IN_HAND_MAX,
    LARGE_BYTES,
    LARGE_MAX,
    Bodies,
    ClientGone,
    handed_on,
    not_yet,
)
from tools.service.replies import (
    TO_ASK,
    Answered,
    Receive,
    Scope,
    Send,
    deliver,
    failed,
    health,
    too_busy,
)
from tools.service.tls import Tls

_BUSY = "too-busy"
_WATCHED_MAX = ASKED_MAX * 3 // 4
"""So many may be in hand where one more asks for the service's health: others may be half of it."""


class Link(asyncio.Protocol):
    """The way to the ledger's process."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._frames = Frames(ToFront)
        self._asking: dict[int, Asking] = {}
        self._number = 0
        self._turned_away = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        # uvloop's do as that class does
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to whoever waits for it."""
        try:
            for message in self._frames.of(data):
                if isinstance(message, Answer | Wanted):
                    self._hand_on(message)
                elif isinstance(message, Look):
                    self._transport.write(frame(self._here()))
                elif isinstance(message, Stop):
                    self._servers.stop()
        except BrokenFrame:
            os._exit(1)

    def _hand_on(self, message: Answer | Wanted) -> None:
        asking = self._asking.get(message.number)
        if isinstance(message, Answer):
            if asking is not None:
                asking.take(message)
        elif asking is None:
            self.send(Rest(message.number, b"", GONE))
        else:
            asking.take_wanted()

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

    def request(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> Asking:
        """A request that may be put to the ledger's process, and is ended by whoever made it."""
        self._number += 1
        made = self._asking[self._number] = Asking(self, self._number, scope, headers)
        return made

    def send(self, message: ToLedger) -> None:
        """Say something to the ledger's process."""
        self._transport.write(frame(message))

    def forget(self, number: int) -> None:
        """Wait for no answer to this request."""
        del self._asking[number]


class UnwantedError(Exception):
    """A request was answered without its body."""


class Asking:
    """One request to the ledger's process: whole, or its head and, where that is wanted, a body."""

    def __init__(
        self, link: Link, number: int, scope: Scope, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._link, self._number = link, number
        self._scope, self._headers = scope, headers
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._wanted = asyncio.Event()
        """Set once the body is wanted, or nothing more of it is."""
        self._has_begun = self._is_said = False
        self.is_wanted = False

    @property
    def is_unheard(self) -> bool:
        """Whether the ledger's process has the head, and has not said yet what it wants."""
        return self._has_begun and not self.is_wanted

    async def want(self) -> None:
        """Ask with the head alone until the body is wanted; `UnwantedError`."""
        self._has_begun = True
        self._link.send(self._asked(b"", "", follows=True))
        await self._wanted.wait()
        if not self.is_wanted:
            raise UnwantedError

    def say(self, body: bytes, fault: str) -> None:
        """Hand the body over, with the head unless that went before."""
        self._is_said = True
        if self._has_begun:
            self._link.send(Rest(self._number, body, fault))
        else:
            self._has_begun = True
            self._link.send(self._asked(body, fault))

    async def answered(self) -> Answered:
        """What the ledger's process says."""
        answer = await self._answer
        return Answered(answer.status, answer.media_type, answer.content, "", answer.headers)

    def end(self) -> None:
        """Wait for nothing more; whoever waits for its body is told that none comes."""
        if self._has_begun and not self._is_said and not self._answer.done():
            self._link.send(Rest(self._number, b"", GONE))
        self._link.forget(self._number)

    def take(self, answer: Answer) -> None:
        """It is answered."""
        if not self._answer.done():
            self._answer.set_result(answer)
        self._wanted.set()

    def take_wanted(self) -> None:
        """Its body is to be read."""
        self.is_wanted = True
        self._wanted.set()

    def _asked(self, body: bytes, fault: str, *, follows: bool = False) -> Asked:
        scope, peer = self._scope, _peer(self._scope)
        head = self._number, scope["method"], scope["path"], peer.source, self._headers
        return Asked(*head, body, fault, follows)


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
        asking = self._link.request(scope, handed_on(scope["headers"]))
        self._in_hand += 1
        try:
            answered = await self._answered(asking, scope, receive)
        except ClientGone:
            return
        finally:
            self._in_hand -= 1
            asking.end()
        await deliver(answered, whole, send)

    def hurry(self) -> None:
        """Wait for bodies that are on their way only shortly from now on: the service stops."""
        self._bodies.hurry()

    async def _answered(self, asking: Asking, scope: Scope, receive: Receive) -> Answered:
        if scope["method"] != "POST":
            return await self._looked_at(asking, scope["path"])
        if self._in_hand > ASKED_MAX // 2:
            return self._turned_away()
        told = dict(scope["headers"]).get(b"content-length", b"0")
        body, fault = b"", ""
        has_come = scope["state"].get(HAS_COME, not_yet)
        source = _peer(scope).source
        try:
            body = await self._bodies.read(told, receive, source, asking.want, has_come)
        except UnwantedError:
            return await asking.answered()
        except LedgerError as error:
            if asking.is_unheard:  # it took too long to say whose this is
                return failed(error, TO_ASK)
            fault = error.code
        return await self._ask(asking, body, fault)

    async def _looked_at(self, asking: Asking, path: str) -> Answered:
        """A page, for which no body is read.

        Whoever watches is not turned away. Where the ledger's process answers none of very many who
        do, it is there all the same, but not ready.
        """
        if path in HEALTH and self._in_hand > _WATCHED_MAX:
            return health(200, "live") if path == LIVE else health(503, "unavailable")
        if path not in HEALTH and self._in_hand > ASKED_MAX // 2:
            return self._turned_away()
        asking.say(b"", "")
        return await asking.answered()

    async def _ask(self, asking: Asking, body: bytes, fault: str) -> Answered:
        is_large = len(body) > LARGE_BYTES
        is_busy = self._asked >= IN_HAND_MAX or (is_large and self._large >= LARGE_MAX)
        if is_busy or fault == _BUSY:
            return self._turned_away()
        asking.say(body, fault)
        self._asked += 1
        self._large += is_large
        try:
            return await asking.answered()
        finally:
            self._asked -= 1
            self._large -= is_large

    def _turned_away(self) -> Answered:
        """What is one too many is told so here, for the ledger's process has enough to do."""
        self._link.turn_away()
        return failed(too_busy(), TO_ASK)


def _peer(scope: Scope) -> Peer:
    peer: Peer = scope["state"].get(PEER, NOBODY)
    return peer


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
    front = Front(link)
    servers.at_stop(front.hurry)
    await servers.run(front, socket.socket(fileno=listening), context)
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
