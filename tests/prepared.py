"""Ledgers prepared once and copied for each test, since preparing is most of what a test costs.

What a test begins with is told in *steps*, functions that take a house and go on from what the
step before left. Each process of a run takes a step once, on each kind of store:

    found ──▶ template ──▶ fill ──▶ template ──▶ add a slot ──▶ template ──▶ copied for each test

A copy is the keyring, the host's memory and the store, all of them byte for byte: folders, and on a
server a database of its own. So the copies of one template are the same ledger, with the same keys,
at other places; a test that needs a second ledger founds it. Nothing is open in a template, hence a
step closes what it opens.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledger.log.host_file import host_path, this_host
from ledger.sealing.keyring_file import read_keyring

if TYPE_CHECKING:
    from tests.conftest import House
    from tests.contracts.postgres_server import PostgresServer

Step = Callable[["House"], object]
_FOLDERS = ("store", "keys")


class Templates:
    """The templates of one process, in a folder and on a server that are theirs to fill."""

    def __init__(self, folder: Path, new_house: Callable[[Path], House]) -> None:
        self._folder = folder
        self._new_house = new_house
        self._numbers = itertools.count(1)
        self._made: dict[tuple[PostgresServer | None, tuple[Step, ...]], House] = {}

    @contextlib.contextmanager
    def copied(self, folder: Path, server: PostgresServer | None, *steps: Step) -> Iterator[House]:
        """A house in that folder as the steps left theirs; it is closed and gone at the end."""
        house = self._copy(self._template(server, steps), folder, server)
        try:
            yield house
        finally:
            house.close()
            if server is not None:
                server.execute(f"DROP DATABASE {_database(house)} WITH (FORCE)")

    def _template(self, server: PostgresServer | None, steps: tuple[Step, ...]) -> House:
        made = self._made.get((server, steps))
        if made is None:
            folder = self._folder / str(next(self._numbers))
            if steps:
                made = self._copy(self._template(server, steps[:-1]), folder, server)
                steps[-1](made)
            else:
                made = self._new_house(folder)
                if server is not None:
                    made.store_url = _create(server)
                made.found()
            made.close()
            made.opened.clear()
            self._made[server, steps] = made
        return made

    def _copy(self, template: House, folder: Path, server: PostgresServer | None) -> House:
        house = copy.deepcopy(template)
        place = self._new_house(folder)
        house.store_path, house.keyring_path = place.store_path, place.keyring_path
        for name in _FOLDERS:
            source = template.store_path.parents[1] / name
            if source.exists():
                shutil.copytree(source, folder / name)
        if house.keyring_path.exists():
            settle_in(house.keyring_path)
        if server is not None:
            house.store_url = _create(server, _database(template))
        return house


def settle_in(keyring: Path) -> None:
    """Let a copied host be one that the ledger was founded on: alone, it tells nothing."""
    path = host_path(keyring)
    if path.exists():  # the keyring may be lost
        ledger_id = bytes.fromhex(json.loads(path.read_bytes())["ledger"])
        path.unlink()
    else:
        ledger_id = read_keyring(keyring).ledger_id
    this_host(keyring, ledger_id, os.urandom, founding=True)


def _create(server: PostgresServer, template: str = "template1") -> str:
    name = f"house_{uuid.uuid4().hex[:12]}"
    # By files: the other strategy writes each page to the write-ahead log as well.
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return f"{server.dsn(database=name)}&ledger=credledger"


def _database(house: House) -> str:
    return urlsplit(house.store_url).path.removeprefix("/")
