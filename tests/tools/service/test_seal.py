"""A sealed service holds no key; whoever may unlock it does so over its socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.errors import KeyUnavailable, LedgerError, Unavailable
from ledger.sealing import slots
from tests.conftest import PASSPHRASE
from tests.tools.service.clients import Client
from tests.tools.service.conftest import furnish, running, settings_of
from tools.exits import exit_code
from tools.service.peers import Peer
from tools.service.seal import Seal
from tools.service.tally import Tally
from tools.service.unsealing import UNSEAL_PATH, Unseal, let_unseal
from tools.settings import with_systemd_credential
from tools.unsealing import hand_over

GET = "/v1/credentials/get"
SERVE = (sys.executable, "-m", "tools.cli.main", "serve")


@pytest.fixture
def house(prepared_file):
    return prepared_file(furnish)


@pytest.fixture
def sealed(house, tmp_path):
    with running(house, tmp_path, sealed=True) as one:
        yield one


def test_a_sealed_service_answers_its_health_and_nothing_else(sealed):
    """Alive, not ready, and 423 to every operation."""
    client = sealed.client()
    assert client.send("GET", "/health/live").status == 200
    ready = client.send("GET", "/health/ready")
    assert (ready.status, ready.document) == (423, {"status": "sealed"})
    client.fails(423, "sealed", GET, {"application": "payroll"})
    assert client.send("GET", "/.well-known/jwks.json").status == 423


def test_a_passphrase_unseals_once(sealed):
    """A wrong one leaves it sealed; the right one opens it; then none is looked at any more."""
    wrong = slots.passphrase("not the right one at all")
    with pytest.raises(KeyUnavailable):
        hand_over(sealed.socket, wrong, None)
    client = sealed.client()
    client.fails(423, "sealed", GET, {"application": "payroll"})
    done = hand_over(sealed.socket, slots.passphrase(PASSPHRASE), None)
    assert done == {"slot": 1, "was_sealed": True}
    assert client.ok(GET, {"application": "payroll"})["version"] == 1
    assert client.send("GET", "/health/ready").status == 200
    size = sealed.service.seal.counter.ledger.head().size
    for holding in (slots.passphrase(PASSPHRASE), wrong):
        assert hand_over(sealed.socket, holding, None) == {"slot": 1, "was_sealed": False}
    assert sealed.service.seal.counter.ledger.head().size == size
    assert sealed.logged().count('"event": "unsealed"') == 1


def test_what_is_closed_is_opened_no_more(house):
    """Nor by whoever waited for a thread meanwhile: nobody would close it again."""
    going, told = threading.Event(), []
    with ThreadPoolExecutor(1) as pool:
        seal = Seal(
            settings_of(house),
            pool,
            lambda _: contextlib.nullcontext(),
            Tally(()),
            lambda *missed: told.append(missed),
        )
        assert seal.open(None).was_sealed
        pool.submit(going.wait)
        late = pool.submit(seal.open, None)
        seal.close()
        going.set()
        assert late.exception(30).code == "service-stopped"
    with pytest.raises(Unavailable) as caught:
        assert seal.counter
    assert caught.value.code == "service-stopped"
    assert seal.is_sealed


def test_what_unlocks_nothing_is_the_caller_s_fault(sealed):
    """The service has nothing to mend, so no answer says so; and nobody hears which slots fit."""
    client = sealed.client()
    wrong = {"passphrase": "not the right one at all"}
    client.fails(403, "wrong-passphrase", UNSEAL_PATH, wrong)
    client.fails(403, "wrong-passphrase", UNSEAL_PATH, {**wrong, "slot": 1})
    client.fails(403, "wrong-key-file", UNSEAL_PATH, {"key": "AAAA"})
    client.fails(422, "no-such-slot", UNSEAL_PATH, {"passphrase": PASSPHRASE, "slot": 9})
    client.fails(422, "passphrase-or-key", UNSEAL_PATH, {})
    client.fails(423, "sealed", GET, {"application": "payroll"})


def test_guesses_at_the_passphrase_are_bounded(house, tmp_path):
    """As many as requests of one account are."""
    with running(house, tmp_path, sealed=True, address_rate=1) as sealed:
        client = sealed.client()
        codes = [client.ask(UNSEAL_PATH, {"key": "AAAA"}).code for _ in range(3)]
        assert codes == ["wrong-key-file", "wrong-key-file", "too-many-requests"]


def test_nobody_else_may_try(sealed):
    """Another account, or anybody over TCP, is refused before a key is derived."""
    for peer in (Peer("192.0.2.7"), Peer("unix:4711", 4711)):
        with pytest.raises(LedgerError) as caught:
            let_unseal(peer)
        assert caught.value.code == "not-allowed-to-unseal"
    reply = sealed.stranger().ask("/v1/unseal", {"passphrase": PASSPHRASE})
    assert (reply.status, reply.code) == (403, "not-allowed-to-unseal")
    assert PASSPHRASE not in repr(Unseal(passphrase=PASSPHRASE))


def test_where_no_service_is_that_is_said(tmp_path):
    """Exit 7, and nothing of the passphrase."""
    with pytest.raises(Unavailable) as caught:
        hand_over(tmp_path / "none", slots.passphrase(PASSPHRASE), None)
    assert (caught.value.code, exit_code(caught.value.family)) == ("service-unreachable", 7)


def test_a_systemd_credential_unlocks_where_nothing_else_does(house, tmp_path):
    """By its name; what was said on the command line goes first."""
    settings = settings_of(house)
    (tmp_path / "credledger.key").write_bytes(b"k" * 32)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert with_systemd_credential(settings, environment) == settings
    bare = type(settings)(settings.store, settings.keyring, None, None, None, None)
    assert with_systemd_credential(bare, {}) == bare
    assert with_systemd_credential(bare, environment).key_file == tmp_path / "credledger.key"
    (tmp_path / "credledger.passphrase").write_text(PASSPHRASE, encoding="utf-8")
    chosen = with_systemd_credential(bare, environment).passphrase_file
    assert chosen == str(tmp_path / "credledger.passphrase")


@contextmanager
def process(house, folder, *more, passphrase=True):
    """A service in a process of its own; killed at the end if it still runs.

    `said_first` has the lines of its log until it answers.
    """
    settings = settings_of(house)
    environment = {
        **{name: value for name, value in os.environ.items() if "CREDLEDGER" not in name},
        "CREDLEDGER_STORE": settings.store,
        "CREDLEDGER_KEYRING": str(settings.keyring),
    }
    if passphrase:
        environment["CREDLEDGER_PASSPHRASE_FILE"] = settings.passphrase_file
    started = subprocess.Popen(
        [*SERVE, "--socket", str(folder / "socket"), *more],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        started.said_first = []
        for line in started.stderr:
            started.said_first.append(json.loads(line))
            if json.loads(line)["event"] == "listening":
                break
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(30)
        started.stderr.close()


def test_a_service_is_hardened_and_stops_when_it_is_told(house, tmp_path):
    """No core, not dumpable, no new rights; SIGTERM ends it with 0 and a last line."""
    with process(house, tmp_path) as started:
        client = Client(tmp_path / "socket")
        client.ok(GET, {"application": "payroll"})
        client.close()
        told = Path(f"/proc/{started.pid}")
        limits = (told / "limits").read_text(encoding="utf-8").splitlines()
        (line,) = [one for one in limits if one.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
        assert "NoNewPrivs:\t1\n" in (told / "status").read_text(encoding="utf-8")
        started.send_signal(signal.SIGTERM)
        last = started.stderr.read().splitlines()[-1]
        assert started.wait(30) == 0
        assert json.loads(last)["event"] == "stopped"


def test_a_process_that_is_hardened_is_not_dumpable():
    """As the system tells it."""
    ask = (
        "import ctypes; from tools.processes.hardening import harden; harden();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout == "0\n"
