"""`credledger serve` and `credledger unseal`, as they are typed."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PASSPHRASE
from tests.tools.conftest import Cli
from tests.tools.service.certificates import Authority
from tests.tools.service.clients import Client
from tests.tools.service.conftest import furnish, running, settings_of
from tests.tools.service.test_seal import process

PAYROLL = {"application": "payroll"}
GET = "/v1/credentials/get"


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish)


@pytest.fixture
def cli(tmp_path):
    """The command line of somebody who has neither store nor keyring."""
    made = Cli(tmp_path)
    made.environment = {}
    return made


@pytest.fixture
def sealed(house, tmp_path):
    with running(house, tmp_path, sealed=True) as one:
        yield one


def written(folder, content):
    file = folder / "given"
    file.write_bytes(content)
    file.chmod(0o600)
    return str(file)


def test_a_passphrase_file_unseals(sealed, cli, tmp_path):
    """The slot is told; a second time that there is nothing to unseal."""
    said = ("unseal", "--socket", str(sealed.socket))
    given = ("--passphrase-file", written(tmp_path, f"{PASSPHRASE}\n".encode()))
    assert cli.ok(*said, *given) == {"slot": 1, "was_sealed": True}
    assert sealed.client().ok(GET, PAYROLL)["version"] == 1
    assert cli.ok(*said, *given) == {"slot": 1, "was_sealed": False}
    again = cli(*said, *given, json_wanted=False)
    assert (again.code, again.text) == (
        0,
        "It was unlocked already, by slot 1; there is nothing to do.\n",
    )


def test_standard_input_unseals_and_people_read_a_sentence(sealed, cli):
    """`-` is a passphrase on standard input."""
    said = ("unseal", "--socket", str(sealed.socket), "--passphrase-file", "-")
    answer = cli(*said, stdin=PASSPHRASE.encode(), json_wanted=False)
    assert (answer.code, answer.text) == (0, "Unlocked by slot 1.\n")


def test_what_does_not_unlock_leaves_it_sealed(sealed, cli, tmp_path):
    """A wrong passphrase, a wrong key, a slot that is not there: exit 6, and no word of either."""
    socket = ("unseal", "--socket", str(sealed.socket))
    wrong = written(tmp_path, b"canary, not the right one")
    for given in (
        ("--passphrase-file", wrong),
        ("--passphrase-file", wrong, "--slot", "1"),
        ("--key-file", written(tmp_path / "..", b"c" * 32)),
    ):
        answer = cli(*socket, *given)
        assert answer.code == 6, answer
        assert "canary" not in answer.err
    right = written(tmp_path, PASSPHRASE.encode())
    assert cli(*socket, "--passphrase-file", right, "--slot", "9").code in {3, 6}
    sealed.client().fails(423, "sealed", GET, PAYROLL)
    assert base64.b64encode(b"c" * 32).decode() not in sealed.logged()


def test_nothing_to_unlock_with_or_nobody_there_is_said(sealed, cli, tmp_path):
    """Exit 6 without a passphrase, exit 7 without a service."""
    assert cli("unseal", "--socket", str(sealed.socket)).code == 6
    given = ("--passphrase-file", written(tmp_path, PASSPHRASE.encode()))
    answer = cli("unseal", "--socket", str(tmp_path / "none"), *given)
    assert (answer.code, answer.error["code"]) == (7, "service-unreachable")
    assert "none (No such file or directory)." in answer.error["message"]


def test_a_process_that_waits_sealed_is_unsealed_by_the_command(house, cli, tmp_path):
    """Both in processes of their own would do no more than this."""
    with process(house, tmp_path, passphrase=False) as started:
        client = Client(tmp_path / "socket")
        client.fails(423, "sealed", GET, PAYROLL)
        given = ("--passphrase-file", written(tmp_path, PASSPHRASE.encode()))
        assert cli.ok("unseal", "--socket", str(tmp_path / "socket"), *given)["slot"] == 1
        assert client.ok(GET, PAYROLL)["version"] == 1
        client.close()
        started.terminate()
        told = [json.loads(line)["event"] for line in started.stderr.read().splitlines()]
        assert told[-3:] == ["unsealed", "stopping", "stopped"]
        assert started.wait(30) == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o600])
def test_files_with_secrets_that_others_may_read_are_told_of(house, tmp_path, mode):
    """In one line each, and nothing is refused; of files of the owner's alone there is none."""
    certificate, key = Authority(tmp_path).issue("server", "127.0.0.1")
    secret = Path(written(tmp_path, PASSPHRASE.encode()))
    secret.chmod(mode)
    key.chmod(mode)
    options = (
        *("--listen", "127.0.0.1:0", "--front-processes", "0", "--passphrase-file", str(secret)),
        *("--certificate", str(certificate), "--certificate-key", str(key)),
    )
    with process(house, tmp_path, *options, passphrase=False) as started:
        lines = [one for one in started.said_first if one["event"] == "open-to-others"]
    told = [(one["level"], one["option"], one["path"]) for one in lines]
    named = (("--passphrase-file", secret), ("--certificate-key", key))
    expected = [("warning", option, str(path)) for option, path in named]
    assert told == (expected if mode != 0o600 else [])


def test_a_service_that_nobody_could_unseal_does_not_start(house, tmp_path):
    """Without a unix socket it has its passphrase, or is refused before it listens."""
    made = Cli(tmp_path)
    made.environment = {
        "CREDLEDGER_STORE": f"sqlite://{house.store_path}",
        "CREDLEDGER_KEYRING": str(house.keyring_path),
    }
    said = ("serve", "--listen", "127.0.0.1:0")
    assert "--socket" in made.fails(2, "sealed-for-ever", *said)["hint"]
    secret = written(tmp_path, b"wrong\n")
    made.fails(6, "wrong-passphrase", *said, "--passphrase-file", secret)


@pytest.mark.parametrize("which", ["--listen", "--metrics"])
def test_an_address_that_is_taken_leaves_nothing_behind(house, tmp_path, which):
    """One of our errors and no word more, and no socket that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = ("serve", "--socket", str(tmp_path / "s"), which, place, "--json")
        line = [sys.executable, "-m", "tools.cli.main", *said]
        settings = settings_of(house)
        environment = {
            **{name: value for name, value in os.environ.items() if "CREDLEDGER" not in name},
            "CREDLEDGER_STORE": settings.store,
            "CREDLEDGER_KEYRING": str(settings.keyring),
        }
        answer = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert answer.returncode == 7
    assert json.loads(answer.stderr.splitlines()[-1])["error"]["code"] == "cannot-listen"
    assert "Warning" not in answer.stderr
    assert not (tmp_path / "s").exists()


LACKING = "import sys; sys.modules[sys.argv.pop(1)] = None; from tools.cli.main import main; main()"


@pytest.mark.parametrize(
    ("library", "said", "code", "extra"),
    [
        ("uvicorn", ("serve", "--socket", "/nowhere"), "service-missing", "service"),
        ("structlog", ("serve", "--socket", "/nowhere"), "service-missing", "service"),
        ("prometheus_client", ("serve", "--socket", "/nowhere"), "service-missing", "service"),
        ("httpx", ("app", "list", "--server", "unix:///nowhere"), "client-missing", "client"),
        ("stamina", ("app", "list", "--server", "unix:///nowhere"), "client-missing", "client"),
    ],
)
def test_what_is_not_installed_is_named_with_how_to_install_it(library, said, code, extra):
    """Exit 7 and the extra's name; no trace of Python."""
    environment = {name: value for name, value in os.environ.items() if "CREDLEDGER" not in name}
    line = [sys.executable, "-c", LACKING, library, *said, "--json"]
    answer = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    told = json.loads(answer.stderr)["error"]
    assert (answer.returncode, told["code"]) == (7, code)
    assert f"{sys.executable} -m pip install 'credledger[{extra}]'" in told["hint"]
