"""The example unit and container file agree with the program, with each other and the how-to."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from ledger.sealing import slots
from tests.conftest import PASSPHRASE
from tests.prepared import settle_in
from tests.test_docs import REFERENCE
from tests.tools.service.clients import Client
from tests.tools.service.conftest import VALUES, furnish
from tools.cli.main import program
from tools.service.front_line import STOP_S
from tools.service.places import parse_address
from tools.settings import OPTION_OF, SYSTEMD_CREDENTIALS, sqlite_path
from tools.unsealing import hand_over

ROOT = REFERENCE.parents[1]
UNIT = ROOT / "docs" / "examples" / "service" / "credledger.service"
CONTAINER = UNIT.parent / "Containerfile"
HOW_TO = (ROOT / "docs" / "how-to" / "run-the-service.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines_of(path):
    """Its lines, continued ones put together, without comments."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def told(path, separator):
    """What a file says, by the word that each line begins with; a word may begin many."""
    found: dict[str, list[str]] = {}
    for line in lines_of(path):
        name, _, value = line.partition(separator)
        found.setdefault(name, []).append(value)
    return found


def image_text():
    return CONTAINER.read_text(encoding="utf-8")


def unit():
    return told(UNIT, "=")


def container():
    return told(CONTAINER, " ")


def started():
    """Whatever starts a service: the name, the program's path, its arguments and environment."""
    said, image = unit(), container()
    path, *arguments = shlex.split(one(said["ExecStart"]))
    yield "unit", path, arguments, dict(line.split("=", 1) for line in said["Environment"])
    (path,) = json.loads(one(image["ENTRYPOINT"]))
    variables = dict(word.split("=", 1) for word in shlex.split(one(image["ENV"])))
    yield "container", path, json.loads(one(image["CMD"])), variables


def one(lines):
    (line,) = lines
    return line


def options_of(arguments):
    """What the program makes of them; a usage error where it knows one of them not."""
    name, *rest = arguments
    assert name == "serve"
    return program.get_command(click.Context(program), name).make_context(name, rest).params


def commands_of(text, name):
    """What stands behind this word, in each line of a page or file that begins with it."""
    return [line.strip() for line in re.findall(rf"(?m)^(?:RUN |    && )?{name} (.*?)\\?$", text)]


def folders_made(text):
    """Each folder that `install` makes, with its mode, owner and group."""
    found = {}
    for line in commands_of(text, "install"):
        words = shlex.split(line)
        at = {key: words[words.index(key) + 1] for key in ("-o", "-g", "-m")}
        assert "-d" in words
        for word in words:
            if word.startswith("/"):
                found[word] = (at["-m"], at["-o"], at["-g"])
    return found


def test_every_option_and_variable_is_one_of_the_program_s():
    """With a value that it takes, and what is started is the command that the project installs."""
    for name, path, arguments, environment in started():
        options = options_of(arguments)
        assert options["socket"] is not None, name
        for address in ("listen", "metrics"):
            if options[address] is not None:
                assert parse_address(options[address]).is_loopback, name  # or TLS is needed
        assert set(environment) == {"CREDLEDGER_STORE", "CREDLEDGER_KEYRING"} <= set(OPTION_OF)
        assert sqlite_path(environment["CREDLEDGER_STORE"]) is not None
        assert Path(path).name in PROJECT["project"]["scripts"], name


def test_the_two_start_the_same_program_at_the_same_places():
    """Path, store, keyring and socket, so that the how-to may speak of both at once."""
    (_, path, arguments, environment), (_, *other) = started()
    assert other[0] == path
    assert other[2] == environment
    assert options_of(other[1])["socket"] == options_of(arguments)["socket"]


def test_the_unit_may_write_where_its_program_does_and_nowhere_else():
    """Store, keyring and socket lie in the folders that it is given, each apart from the others."""
    said = unit()
    ((_, _, arguments, environment), _) = started()
    state = Path("/var/lib") / one(said["StateDirectory"])
    runtime = Path("/run") / one(said["RuntimeDirectory"])
    keys = Path(one(said["ReadWritePaths"]))
    assert sqlite_path(environment["CREDLEDGER_STORE"]).parent == state
    assert Path(environment["CREDLEDGER_KEYRING"]).parent == keys
    assert Path(options_of(arguments)["socket"]).parent == runtime
    assert one(said["ProtectSystem"]) == "strict"
    assert float(one(said["TimeoutStopSec"])) > STOP_S


def test_the_folders_are_the_account_s_own():
    """The how-to makes those that systemd does not, for the same account and as narrow."""
    said = unit()
    user, group = one(said["User"]), one(said["Group"])
    assert [line.split()[-1] for line in commands_of(HOW_TO, "useradd")] == [user]
    narrow = (one(said["StateDirectoryMode"]), user, group)
    keys = one(said["ReadWritePaths"])
    assert folders_made(HOW_TO) == dict.fromkeys(
        (f"/var/lib/{one(said['StateDirectory'])}", keys), narrow
    )
    assert narrow[0] == "0700"
    assert int(one(said["UMask"]), 8) == 0o077
    members = int(one(said["RuntimeDirectoryMode"]), 8)
    assert members & stat.S_IXGRP  # who is in the group comes to the socket
    assert not members & stat.S_IRWXO


def test_the_credential_has_the_name_that_the_program_looks_for():
    """The how-to encrypts it under that name, to the file from which the unit loads it."""
    name, file = one(unit()["LoadCredentialEncrypted"]).split(":")
    assert name in SYSTEMD_CREDENTIALS
    (encrypted,) = commands_of(HOW_TO, "systemd-creds")
    assert encrypted.split() == ["encrypt", f"--name={name}", "passphrase.txt", file]
    assert all(f"`{one}`" in HOW_TO for one in SYSTEMD_CREDENTIALS if one != name)
    assert not Path(file).is_relative_to(one(unit()["ReadWritePaths"]))


def test_the_how_to_speaks_of_what_there_is():
    """The unit's name, its socket, its group, the account of the image, and the extra."""
    said = unit()
    ((_, _, arguments, _), _) = started()
    where = str(options_of(arguments)["socket"])
    assert commands_of(HOW_TO, "systemctl") == [f"enable --now {UNIT.stem}"]
    assert commands_of(HOW_TO, "credledger unseal") == [f"--socket {where}"]
    assert re.findall(r"--unix-socket (\S+)", HOW_TO) == [where]
    (joined,) = commands_of(HOW_TO, "usermod")
    assert joined.split()[:3] == ["--append", "--groups", one(said["Group"])]
    uid = re.findall(r"--uid (\d+)", image_text())
    assert re.findall(r"as uid (\d+)", HOW_TO) == uid * 2
    extras = re.findall(r"credledger\[([\w,]+)\]|/source\[([\w,]+)\]", HOW_TO + image_text())
    named = {name for found in extras for word in found for name in word.split(",") if name}
    assert "service" in named
    assert named <= set(PROJECT["project"]["optional-dependencies"])


def test_the_image_has_all_of_the_program_and_folders_of_its_account():
    """Each package is copied, each volume is a folder of the account's, and it is no root."""
    image = container()
    user = one(image["USER"])
    assert user == one(unit()["User"])
    assert [line.split()[-1] for line in commands_of(image_text(), "useradd")] == [user]
    ((_, _, arguments, environment), _) = started()
    volumes = json.loads(one(image["VOLUME"]))
    made = folders_made(image_text())
    assert set(made) == set(volumes)
    assert {(owner, group) for _, owner, group in made.values()} == {(user, user)}
    needed = (
        sqlite_path(environment["CREDLEDGER_STORE"]),
        Path(environment["CREDLEDGER_KEYRING"]),
        Path(options_of(arguments)["socket"]),
    )
    assert {str(path.parent) for path in needed} == set(volumes)
    copied = {word for line in image["COPY"] for word in line.split()[:-1]} - {"--from=build"}
    packages = {
        name.rstrip("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    sources = {word for word in copied if not word.startswith("/")}
    assert sources >= {*packages, "pyproject.toml", PROJECT["project"]["readme"]}
    assert all((ROOT / word).exists() for word in sources)
    versions = {
        tuple(map(int, found)) for found in re.findall(r"python:(\d+)\.(\d+)", image_text())
    }
    assert len(versions) == 1
    assert min(versions) >= (3, 11)
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert one(image["STOPSIGNAL"]) == "SIGTERM"


@contextmanager
def running_there(root, arguments, environment):
    """What is started, with its absolute paths below another root."""
    said = [
        re.sub(r":\d+$", ":0", word) if re.match(r"[\d.]+:", word) else below(root, word)
        for word in arguments
    ]
    variables = {name: value for name, value in os.environ.items() if "CREDLEDGER" not in name}
    variables |= {name: below(root, value) for name, value in environment.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.cli.main", *said],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if json.loads(line)["event"] == "listening":
                break
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def below(root, text):
    return re.sub(r"/(var|etc|run)/", rf"{root}/\1/", text)


@pytest.mark.parametrize("which", ["unit", "container"])
def test_what_they_start_answers_at_its_socket(prepared_file, tmp_path, which):
    """The unit's unlocked by its credential, the container's by whoever unseals it."""
    house = prepared_file(furnish)
    ((_, _, arguments, environment),) = [one for one in started() if one[0] == which]
    root = tmp_path / "r"
    socket = Path(below(root, str(options_of(arguments)["socket"])))
    socket.parent.mkdir(parents=True)
    keyring = Path(below(root, environment["CREDLEDGER_KEYRING"]))
    shutil.copytree(
        house.store_path.parent, sqlite_path(below(root, environment["CREDLEDGER_STORE"])).parent
    )
    shutil.copytree(house.keyring_path.parent, keyring.parent)
    settle_in(keyring)
    if which == "unit":
        credential = root / one(unit()["LoadCredentialEncrypted"]).split(":")[0]
        credential.write_text(PASSPHRASE, encoding="utf-8")
        credential.chmod(0o400)
        environment = {**environment, "CREDENTIALS_DIRECTORY": str(root)}
    with running_there(root, arguments, environment):
        client = Client(socket)
        if which == "container":
            assert client.send("GET", "/health/ready").status == 423
            hand_over(socket, slots.passphrase(PASSPHRASE), None)
        assert client.ok("/v1/credentials/get", {"application": "payroll"})["fields"] == VALUES
        client.close()


# Systemd is a part of the system, and no package index has it. Where it is not, the tests above
# still hold the unit's command and options against the program; its directives go unlooked at.
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_in_the_unit(tmp_path):
    """Every directive is one that it knows, with a value that it takes."""
    text = UNIT.read_text(encoding="utf-8").replace(
        "/opt/credledger/bin/credledger", sys.executable
    )
    (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stderr) == (0, "")
