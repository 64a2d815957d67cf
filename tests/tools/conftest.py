"""The command line in this process, on a ledger of its own for each test."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.tools.beginnings import Place
from tests.tools.issuers_web import web  # noqa: F401 # a fixture
from tools.cli.main import run


@dataclass
class Answer:
    """What one command left."""

    code: int
    out: bytes
    err: str

    @property
    def text(self):
        return self.out.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err.splitlines()[-1])["error"]


class Cli:
    """Runs commands with JSON answers; `init` makes the ledger with a key file."""

    def __init__(self, home: Path):
        self.home = home
        self.environment = {
            "CREDLEDGER_STORE": f"sqlite://{home}/store/ledger.db",
            "CREDLEDGER_KEYRING": f"{home}/keys/keyring",
            "CREDLEDGER_KEY_FILE": f"{home}/secret/key",
        }

    def __call__(self, *arguments: str, stdin: bytes = b"", json_wanted: bool = True) -> Answer:
        said = list(arguments)
        if json_wanted:
            said.insert(said.index("--") if "--" in said else len(said), "--json")
        with CliRunner().isolation(input=stdin, env=self.environment) as (out, err, _):
            code = run(said)
            sys.stdout.flush()
            sys.stderr.flush()
            return Answer(code, out.getvalue(), err.getvalue().decode())

    def ok(self, *arguments: str, stdin: bytes = b"") -> Any:
        answer = self(*arguments, stdin=stdin)
        assert answer.code == 0, answer.err
        return answer.json

    def fails(self, code: int, name: str, *arguments: str, stdin: bytes = b"") -> dict[str, Any]:
        answer = self(*arguments, stdin=stdin)
        assert (answer.code, answer.error["code"]) == (code, name), answer
        assert set(answer.error) >= {"code", "message", "hint"}
        return answer.error

    def set(self, application: str, owner: str | None, **values: Any) -> Any:
        whose = () if owner is None else ("--owner", owner)
        document = json.dumps(values).encode()
        return self.ok("credential", "set", application, *whose, "--values", "-", stdin=document)


@pytest.fixture
def bare(tmp_path):
    """No ledger yet."""
    return Cli(tmp_path)


@pytest.fixture
def cli(bare):
    """A ledger without applications."""
    bare.ok("init", "--label", "alice")
    return bare


@pytest.fixture
def payroll(cli):
    """An individual application with a user name and a password."""
    cli.ok(
        "app",
        "create",
        "payroll",
        "--kind",
        "individual",
        "--field",
        "User:user-name",
        "--field",
        "Password:password",
    )
    return cli


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request, bare):
    """A ledger without applications, on each kind of store."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        schema = request.getfixturevalue("postgres_schema")
        bare.environment["CREDLEDGER_STORE"] = f"{server.dsn()}&ledger={schema}"
    bare.ok("init", "--label", "alice")
    return bare


@pytest.fixture(scope="session")
def beginnings(tmp_path_factory):
    """Gives the place where ledgers begin on this server, or in files where it is None."""
    folder, made = tmp_path_factory.mktemp("beginnings"), {}

    def place(server):
        if server not in made:
            made[server] = Place(folder / str(len(made)), server, Cli)
        return made[server]

    return place


@pytest.fixture(params=["sqlite", "postgresql"])
def begun(request, beginnings):
    """Gives the ledger that some steps leave, on each kind of store; see `beginnings`."""
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres_server")
    return beginnings(server).begun


def found(cli: Cli) -> None:
    """What `begun` begins with: a ledger without applications."""
    cli.ok("init", "--label", "alice")


def auditor_of(cli: Cli) -> Cli:
    """Makes an auditor's keyring of a ledger, and gives who runs commands with it."""
    file, key = cli.home / "auditor/keyring", cli.home / "auditor/key"
    file.parent.mkdir(mode=0o700)
    cli.ok(
        "key", "slot", "add", "key-file", "--auditor", "--label", "ada",
        "--auditor-file", str(file), "--new-key-file", str(key),
    )  # fmt: skip
    auditor = Cli(cli.home)
    auditor.environment = {
        **cli.environment,
        "CREDLEDGER_KEYRING": str(file),
        "CREDLEDGER_KEY_FILE": str(key),
    }
    return auditor
