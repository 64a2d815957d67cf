"""Ledgers that commands have made once and that are put back for each test that begins with one.

What a test begins with is told in *steps*, functions that run commands on what the step before has
left. As commands record where they put things, each test finds its ledger at the very place where
it was made: a folder, and on a server a database.

    step ──▶ kept aside ──▶ step ──▶ kept aside ──▶ put back in the place for each test

What is put back is the whole folder and database, byte for byte, and what a step noted on its
`Cli`. So the tests of a process that begin alike have one ledger, with one id and the same keys,
and only one of them has it at a time.
"""

from __future__ import annotations

import copy
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.log.host_file import host_path
from tests.prepared import settle_in

if TYPE_CHECKING:
    from tests.contracts.postgres_server import PostgresServer
    from tests.tools.conftest import Cli

Step = Callable[["Cli"], object]


class Place:
    """Where ledgers begin on one kind of store: a folder, and a database of a server."""

    def __init__(self, folder: Path, server: PostgresServer | None, new: Callable[[Path], Cli]):
        self._folder, self._aside = folder / "place", folder / "aside"
        self._server, self._new = server, new
        self._database = f"begun_{uuid.uuid4().hex[:12]}"
        self._kept: dict[tuple[Step, ...], dict[str, Any]] = {}

    def begun(self, *steps: Step) -> Cli:
        """A ledger as these steps left it; what another test began with is gone."""
        if steps in self._kept:
            return self._put_back(steps)
        cli = self.begun(*steps[:-1]) if len(steps) > 1 else self._nothing()
        steps[-1](cli)
        self._keep(steps, cli)
        return self._put_back(steps)

    def _nothing(self) -> Cli:
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "home").mkdir(parents=True)
        self._replace_database("template1")
        cli = self._cli()
        cli.environment["CREDLEDGER_STORE"] = cli.empty()
        return cli

    def _cli(self) -> Cli:
        cli = self._new(self._folder / "home")
        cli.archives = self._folder / "archives"
        cli.empty = self._empty_store
        return cli

    def _empty_store(self) -> str:
        """A place for another store, with nothing there."""
        name = f"backup_{uuid.uuid4().hex[:12]}"
        if self._server is None:
            return f"sqlite://{self._folder}/home/{name}/ledger.db"
        return f"{self._server.dsn(database=self._database)}&ledger={name}"

    def _keep(self, steps: tuple[Step, ...], cli: Cli) -> None:
        shutil.copytree(self._folder, self._aside / str(len(self._kept)), symlinks=True)
        if self._server is not None:
            name = f"{self._database}_{len(self._kept)}"
            self._server.execute(f"CREATE DATABASE {name} TEMPLATE {self._database}")
        noted = {name: value for name, value in vars(cli).items() if name != "empty"}
        self._kept[steps] = copy.deepcopy(noted)

    def _put_back(self, steps: tuple[Step, ...]) -> Cli:
        number = list(self._kept).index(steps)
        shutil.rmtree(self._folder)
        shutil.copytree(self._aside / str(number), self._folder, symlinks=True)
        self._replace_database(f"{self._database}_{number}")
        cli = self._cli()
        vars(cli).update(copy.deepcopy(self._kept[steps]))
        keyring = Path(cli.environment["CREDLEDGER_KEYRING"])
        if host_path(keyring).exists():
            settle_in(keyring)
        return cli

    def _replace_database(self, template: str) -> None:
        if self._server is not None:
            self._server.execute(
                f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)",
                f"CREATE DATABASE {self._database} TEMPLATE {template} STRATEGY FILE_COPY",
            )
