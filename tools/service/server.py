"""Running the service: its sockets, its start and its end.

    unix socket ─▶ uvicorn ─┐
    TCP, TLS    ─▶ uvicorn ─┴▶ one door, one seal, one event loop
    metrics     ─▶ uvicorn ──▶ a door of their own

Each kind of socket has a server of its own, because one has TLS and the other has not; all run on
one loop. At SIGTERM or SIGINT no more connections are taken, what is in hand is
answered, and the ledger is closed behind the last answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from ledger.errors import InvalidInput, Unavailable
from tools.certificates import demand, show_own
from tools.service.callers import Callers
from tools.service.door import Door
from tools.service.exposition import Exposition
from tools.service.handshakes import TlsListener
from tools.service.hardening import harden
from tools.service.journal import Journal
from tools.service.metrics import Metrics
from tools.service.outlet import to_standard_error
from tools.service.pauses import collect_seldom, keep_what_is_there
from tools.service.protocol import IDLE_S_MAX, Connection, close_slow
from tools.service.seal import Seal
from tools.settings import Settings

THREADS = 16
GRACE_S = 20
BACKLOG = 1024
SOCKET_MODE = 0o660


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen over TCP."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate, and who must show one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    """Whose certificates clients must have; None for none."""

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and newer; `certificate-unreadable`, `invalid-certificate`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        show_own(context, self.certificate, self.key)
        if self.client_authority is not None:
            demand(context, self.client_authority)
        return context


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the service runs."""

    socket: Path | None
    listen: Address | None
    tls: Tls | None
    behind_proxy: bool
    """Whether something before it speaks TLS."""
    metrics: Address | None
    caller_rate: float
    address_rate: float

    def check(self) -> None:
        """`nowhere-to-listen`, `tls-needed`, and what files of `tls` are no certificates."""
        if self.tls is not None:
            self.tls.context()
        if self.socket is None and self.listen is None:
            raise InvalidInput("nowhere-to-listen", "Give --socket, or --listen, or both of them.")
        open_to_others = self.listen is not None and not self.listen.is_loopback
        if open_to_others and self.tls is None and not self.behind_proxy:
            raise InvalidInput(
                "tls-needed",
                "Tokens and credentials must not cross a network in clear.",
                hint="Give --certificate and --certificate-key, or --behind-proxy where a proxy"
                " speaks TLS.",
            )


def parse_address(text: str) -> Address:
    """`HOST:PORT` with an IP address; `invalid-address`."""
    host, colon, port = text.rpartition(":")
    with contextlib.suppress(ValueError):
        address = ip_address(host.removeprefix("[").removesuffix("]"))
        if colon and 0 <= int(port) <= 65535:
            return Address(str(address), int(port))
    raise InvalidInput(
        "invalid-address",
        "An address is written IP:PORT, such as 127.0.0.1:8443 or [::1]:8443.",
    )


class _Server(uvicorn.Server):
    """A server that leaves signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """None."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; over TLS with a listener that counts who has not done a handshake yet."""
        context = self.config.ssl
        if context is None:
            await super().startup(sockets)
            return
        assert sockets is not None
        state = self.server_state

        def make() -> Connection:
            return Connection(self.config, state, self.lifespan.state)

        # uvicorn closes them as it would close the loop's own.
        self.servers = [TlsListener(one, context, make, state.connections) for one in sockets]  # type: ignore[misc]
        self.started = True


class Service:
    """One run of the service."""

    def __init__(self, settings: Settings, service: ServiceSettings, journal: Journal) -> None:
        self._service = service
        self._journal = journal
        self._metrics = Metrics()
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="credledger-service")
        self.seal = Seal(settings, threads, self._metrics.watch)
        self._metrics.look_at(self.seal, journal)
        callers = Callers(service.caller_rate, service.address_rate)
        self._door = Door(self.seal, callers, self._metrics, journal)
        watchers = Callers(service.caller_rate, service.address_rate)
        self._exposition = Exposition(self._metrics.registry, watchers)
        self._servers: list[_Server] = []
        self.listening = threading.Event()
        """Set once it answers."""
        self.address: tuple[str, int] | None = None
        """Where it listens over TCP, if it does."""
        self.metrics_address: tuple[str, int] | None = None
        """Where it tells its metrics, if it does."""

    async def serve(self) -> None:
        """Answer until `stop`."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undoing:
            listening, places = self._listening(undoing)
            undoing.pop_all()
        runs = [self._run(*one) for one in listening]
        works = (self._watch_heads(), self.seal.settle(), self.seal.look_ahead())
        background = [loop.create_task(work) for work in works]
        self._journal.listening(places, sealed=self.seal.is_sealed)
        self.listening.set()
        try:
            await asyncio.gather(*runs)
        finally:
            for task in background:
                task.cancel()

    def _listening(
        self, undoing: contextlib.ExitStack
    ) -> tuple[list[tuple[Any, socket.socket, ssl.SSLContext | None]], list[str]]:
        """The sockets, who answers at each, and where; `undoing` lets them go again."""
        service = self._service
        found: list[tuple[Any, socket.socket, ssl.SSLContext | None]] = []
        places: list[str] = []
        context = None if service.tls is None else service.tls.context()
        if service.socket is not None:
            made = undoing.enter_context(_unix_socket(service.socket))
            undoing.callback(service.socket.unlink, missing_ok=True)
            found.append((self._door, made, None))
            places.append(f"unix:{service.socket}")
        if service.listen is not None:
            made = undoing.enter_context(_tcp_socket(service.listen))
            found.append((self._door, made, context))
            self.address = made.getsockname()[:2]
            scheme = "http" if context is None else "https"
            places.append(f"{scheme}://{Address(*self.address)}")
        if service.metrics is not None:
            made = undoing.enter_context(_tcp_socket(service.metrics))
            found.append((self._exposition, made, None))
            self.metrics_address = made.getsockname()[:2]
        return found, places

    def stop(self) -> None:
        """Take no more connections, and end once what is in hand is answered; on the loop."""
        self._journal.stopping()
        for server in self._servers:
            server.should_exit = True

    def close(self) -> None:
        """Close the ledger, and then the log."""
        self._journal.stopped(self.seal.close())
        self._journal.close()

    async def _run(
        self, application: Any, listening: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        config = uvicorn_config(application)
        config.load()
        config.ssl = context
        server = _Server(config)
        self._servers.append(server)
        await server.serve([listening])

    async def _watch_heads(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            for server in self._servers:
                close_slow(server.server_state.connections, loop.time())


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


def run(settings: Settings, service: ServiceSettings, *, unlock: bool) -> None:
    """Run the service until it is told to stop.

    It is sealed at first, unless the settings name something to `unlock` with.
    """
    service.check()
    harden()
    collect_seldom()
    journal = Journal(to_standard_error())
    server_log = logging.getLogger("uvicorn.error")
    server_log.handlers, server_log.propagate = [journal.from_server()], False
    running = Service(settings, service, journal)
    try:
        if unlock:
            journal.unsealed(running.seal.open(None).slot)
        keep_what_is_there()
        uvloop.run(_until_signal(running))
    finally:
        running.close()


async def _until_signal(running: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.stop)
    await running.serve()


def _unix_socket(path: Path) -> socket.socket:
    """A socket of this path; one that nobody listens at any more is taken away."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _is_alive(path):
            path.unlink()
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        made.close()
        raise _cannot_listen(str(path), error) from error
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def _tcp_socket(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
    except OSError as error:
        made.close()
        raise _cannot_listen(str(address), error) from error
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


def _cannot_listen(place: str, error: OSError) -> Unavailable:
    return Unavailable(
        "cannot-listen",
        f"The service cannot listen at {place}: {error.strerror or error}.",
        hint="Look whether another process does, and whether the folder is there and writable.",
    )
