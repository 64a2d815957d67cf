"""Running the service: its sockets, its start and its end.

    unix socket ─▶ uvicorn ──────────────────────────────┐
    TCP, TLS    ─▶ front processes, or uvicorn ──────────┴▶ one door, one seal, one event loop
    metrics     ─▶ uvicorn ──▶ a door of their own

Each kind of socket has a server of its own, because one has TLS and the other has not; all of this
process run on one loop. Only the unix socket is always this process's, for what the system tells of
a peer need be believed of nobody then. At SIGTERM or SIGINT no more connections are taken, what is
in hand is answered, what is on its way is hardly waited for, and the ledger is closed behind the
last answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ledger.errors import InvalidInput
from tools.file_modes import is_open_to_others
from tools.processes.descriptors import allow, wanted_for
from tools.processes.hardening import harden
from tools.service.callers import Callers
from tools.service.connections import CONNECTIONS_MAX
from tools.service.door import Door
from tools.service.exposition import Exposition
from tools.service.fronts import Fronts
from tools.service.http_server import Servers, hand_faults_to, hand_lines_to
from tools.service.journal import Journal
from tools.service.metrics import Metrics
from tools.service.outlet import to_standard_error
from tools.service.pauses import collect_seldom, keep_what_is_there
from tools.service.places import Address, tcp_socket, unix_socket
from tools.service.seal import Seal
from tools.service.tls import Tls
from tools.settings import STANDARD_INPUT, Settings

THREADS = 16
_SOCKETS = 3
"""As many as this process may answer at itself: a unix socket, TCP, metrics."""


class ServiceSettings(msgspec.Struct, frozen=True):
    """How the service runs."""

    socket: Path | None
    listen: Address | None
    tls: Tls | None
    behind_proxy: bool
    """Whether something before it speaks TLS."""
    metrics: Address | None
    caller_rate: float
    address_rate: float
    front_processes: int = 0
    """How many speak HTTP and TLS over TCP; with none, the ledger's process does."""

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


class Service:
    """One run of the service."""

    def __init__(self, settings: Settings, service: ServiceSettings, journal: Journal) -> None:
        self._service = service
        self._journal = journal
        self._metrics = Metrics()
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="credledger-service")
        metrics, missed = self._metrics, journal.keys_not_fetched
        self.seal = Seal(settings, threads, metrics.watch, metrics.tickets, missed)
        self._metrics.look_at(self.seal, journal)
        callers = Callers(service.caller_rate, service.address_rate)
        self._door = Door(self.seal, callers, self._metrics, journal, self._is_reachable)
        watchers = Callers(service.caller_rate, service.address_rate)
        self._exposition = Exposition(self._metrics.registry, watchers)
        self._servers = Servers()
        self._servers.at_stop(self._door.hurry)
        self._fronts: Fronts | None = None
        self._is_stopping = False
        self.listening = threading.Event()
        """Set once it answers."""
        self.address: tuple[str, int] | None = None
        """Where it listens over TCP, if it does."""
        self.metrics_address: tuple[str, int] | None = None
        """Where it tells its metrics, if it does."""

    async def serve(self) -> None:
        """Answer until `stop`."""
        loop = asyncio.get_running_loop()
        hand_faults_to(self._journal.server_said)
        with contextlib.ExitStack() as undoing:
            listening, places = self._listening(undoing)
            fronts, lines = self._fronts, []
            if fronts is not None:
                lines = await fronts.start()
                if self._is_stopping:  # told before any of it answered
                    await fronts.keep(lines)
                    return
            undoing.pop_all()
        runs = [self._servers.run(*one, sockets=len(listening)) for one in listening]
        if fronts is not None:
            runs.append(fronts.keep(lines))
        works = (
            self._servers.watch_heads(),
            self.seal.settle(),
            self.seal.sweep(),
            self.seal.look_ahead(),
        )
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
            made = undoing.enter_context(unix_socket(service.socket))
            undoing.callback(service.socket.unlink, missing_ok=True)
            found.append((self._door, made, None))
            places.append(f"unix:{service.socket}")
        if service.listen is not None:
            made = undoing.enter_context(tcp_socket(service.listen))
            if service.front_processes:
                asked = service.front_processes, made, service.tls
                self._fronts = Fronts(*asked, self._door, self._journal)
                self._metrics.look_at_fronts(self._fronts)
            else:
                found.append((self._door, made, context))
            self.address = made.getsockname()[:2]
            scheme = "http" if context is None else "https"
            places.append(f"{scheme}://{Address(*self.address)}")
        if service.metrics is not None:
            made = undoing.enter_context(tcp_socket(service.metrics))
            found.append((self._exposition, made, None))
            self.metrics_address = made.getsockname()[:2]
        return found, places

    def _is_reachable(self) -> bool:
        """Whether somebody answers over TCP, if anybody should."""
        return self._fronts is None or self._fronts.living > 0

    def stop(self) -> None:
        """Take no more connections, and end once what is in hand is answered; on the loop."""
        self._is_stopping = True
        self._journal.stopping()
        self._servers.stop()
        if self._fronts is not None:
            self._fronts.stop()

    def close(self) -> None:
        """Close the ledger, and then the log."""
        self._journal.stopped(self.seal.close())
        self._journal.close()


def run(settings: Settings, service: ServiceSettings, *, unlock: bool) -> None:
    """Run the service until it is told to stop.

    It is sealed at first, unless the settings name something to `unlock` with.
    """
    service.check()
    harden()
    connections = _SOCKETS * CONNECTIONS_MAX
    limit = allow(connections)
    collect_seldom()
    journal = Journal(to_standard_error())
    hand_lines_to(journal.server_said)
    if limit is not None:
        journal.few_open_files(limit, wanted_for(connections))
    for option, path in _open_to_others(settings, service):
        journal.open_to_others(option, str(path))
    running = Service(settings, service, journal)
    try:
        if unlock:
            journal.unsealed(running.seal.open(None).slot)
        keep_what_is_there()
        uvloop.run(_until_signal(running))
    finally:
        running.close()


def _open_to_others(settings: Settings, service: ServiceSettings) -> Iterator[tuple[str, Path]]:
    """The files with secrets that others may read, each with the option that names it."""
    secret, tls = settings.passphrase_file, service.tls
    if secret is not None and secret != STANDARD_INPUT and is_open_to_others(Path(secret)):
        yield "--passphrase-file", Path(secret)
    if tls is not None and is_open_to_others(tls.key):
        yield "--certificate-key", tls.key


async def _until_signal(running: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.stop)
    await running.serve()
