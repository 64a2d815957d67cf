"""A service in this process, in a thread with a loop of its own, and whoever asks it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn.server
import uvloop

from ledger.usecases.acting import Acting
from ledger.values import FieldValue
from tests.conftest import PASSPHRASE, House
from tests.tools.service.clients import Client
from tools.service.journal import Journal
from tools.service.outlet import Outlet
from tools.service.peers import account_claim
from tools.service.places import Address
from tools.service.server import Service, ServiceSettings
from tools.settings import Settings

ME = account_claim(os.geteuid())
"""Whoever runs the tests, as a unix socket tells it."""
VALUES = {"Windows User Name": "CONTOSO\\me", "Windows Password": "canary-9f2e71"}


def settings_of(house: House, *, accept_clock: bool = False) -> Settings:
    """What a command on this host would run with."""
    secret = house.keyring_path.parent / "passphrase"
    secret.write_text(PASSPHRASE, encoding="utf-8")
    secret.chmod(0o600)
    return Settings(
        store=house.store_url or f"sqlite://{house.store_path}",
        keyring=house.keyring_path,
        passphrase_file=str(secret),
        key_file=None,
        slot=None,
        new_passphrase_file=None,
        accept_clock=accept_clock,
    )


class _Often:
    """`asyncio` to the server, which sleeps a tenth of a second before it looks whether to end.

    Each test that ends one would wait for two or three such looks; so it sleeps shorter.
    """

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


uvicorn.server.asyncio = _Often()


@dataclass
class Running:
    """A service that answers."""

    service: Service
    socket: Path
    address: tuple[str, int]
    house: House
    log: io.StringIO
    outlet: Outlet
    loop: asyncio.AbstractEventLoop
    clients: list[Client] = field(default_factory=list)

    def logged(self) -> str:
        """Its log, which takes nothing more then."""
        self.outlet.close()
        return self.log.getvalue()

    def client(self) -> Client:
        """Somebody at the unix socket: this process's account."""
        self.clients.append(Client(self.socket))
        return self.clients[-1]

    def stranger(self, token: str | None = None) -> Client:
        """Somebody who comes over TCP."""
        self.clients.append(Client(self.address, token))
        return self.clients[-1]


@contextmanager
def running(
    house: House, folder: Path, *, sealed: bool = False, accept_clock: bool = False, **settings
):
    """Start a service for this ledger, and end it behind the test."""
    wanted = {
        "socket": folder / "socket",
        "listen": Address("127.0.0.1", 0),
        "tls": None,
        "behind_proxy": False,
        "metrics": None,
        "caller_rate": 1e6,
        "address_rate": 1e6,
        **settings,
    }
    log = io.StringIO()
    outlet = Outlet(log.write)
    told = settings_of(house, accept_clock=accept_clock)
    service = Service(told, ServiceSettings(**wanted), Journal(outlet))
    if not sealed:
        service.seal.open(None)
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await service.serve()

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    try:
        assert service.listening.wait(30)
        one = Running(service, folder / "socket", service.address, house, log, outlet, loops[0])
        yield one
    finally:
        for client in one.clients:
            client.close()
        with contextlib.suppress(RuntimeError):  # its loop is gone where the test stopped it
            loops[0].call_soon_threadsafe(service.stop)
        thread.join(30)
        service.close()
    assert not thread.is_alive()


def furnish(house: House) -> None:
    """An individual application with this account's credentials, and one of a group."""
    ledger = house.open()
    ledger.create_application(Acting(), "payroll", kind="individual")
    ledger.create_application(
        Acting(), "shared", kind="group", members=("group:finance",), administrators=(str(ME),)
    )
    values = {name: FieldValue(value) for name, value in VALUES.items()}
    ledger.set_credentials(Acting(), "payroll", ME, values)
    ledger.close()


@pytest.fixture
def furnished(prepared):
    """The house of `furnish`, on each kind of store."""
    return prepared(furnish)


@pytest.fixture
def service(furnished, tmp_path):
    """A service for it."""
    with running(furnished, tmp_path) as one:
        yield one


@pytest.fixture
def client(service):
    """This account, at the unix socket."""
    return service.client()


@pytest.fixture
def impatient(monkeypatch):
    """Who writes to the file past the ledger is not waited for as long as elsewhere."""
    monkeypatch.setattr("ledger.log.sqlite.STRANGER_TIMEOUT_S", 0.2)
