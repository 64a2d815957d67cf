"""The service as applications meet it: audited reads over HTTP, beside a trivial handler.

Sixty-four connections are kept, each with a token of its own that the service has verified before.
Whoever asks shares the cores with the service. The ceiling is the same server with a handler that
decodes the same question and encodes the same answer; the ratio of the two is what counts.

    python -m tools.bench.service    measures this alone
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from joserfc import jwt
from joserfc.jwk import ECKey
from rich.console import Console

from ledger.aggregates.issuers import Settings
from ledger.usecases.acting import Acting
from tools.bench.askers import ask
from tools.bench.commands import peaks_kib
from tools.bench.figures import Fact
from tools.bench.grown import Grown, asking
from tools.bench.machine import machine
from tools.bench.places import places
from tools.bench.population import MAPPINGS_MAX
from tools.bench.tables import facts_table
from tools.showing.show import progress

CONNECTIONS = 64
_SECONDS = 4.0
_AIMS = {"SQLite": 4_000.0}
_AIM_ELSEWHERE = 3_000.0
_P99_AIM_MS = 40.0
_MEMORY_AIM_MIB = 200.0
_ISSUER = "https://issuer.example"
_UNLIMITED = ("--caller-rate", "1000000", "--address-rate", "1000000")


def service_facts(
    grown: Grown, mappings: int = MAPPINGS_MAX, size: int | None = None
) -> Iterator[Fact]:
    """Reads a second, their p99, the ceiling, and the memory that the service came to.

    `size` is the length of the log, where there are several.
    """
    engine = grown.place.name
    requests = _requests(grown, mappings)
    with _trivial() as port:
        ceiling = ask(port, requests, _SECONDS)
    with _serving(grown) as (process, port):
        reads = ask(port, requests, _SECONDS)
        memory = sum(peaks_kib(process.pid).values()) / 1024
    aim = _AIMS.get(engine, _AIM_ELSEWHERE)
    several = f"{CONNECTIONS} connections"
    yield Fact(engine, f"audited reads over HTTP, {several}", reads.rate, "/s", size, aim)
    yield Fact(engine, "their p99", reads.p99_ms, "ms", size, _P99_AIM_MS)
    yield Fact(engine, f"a trivial handler, {several}", ceiling.rate, "/s", size)
    yield Fact(engine, "the trivial one by ours", ceiling.rate / reads.rate, "x", size)
    name = f"peak memory of the service, {mappings:,} mappings"
    yield Fact(engine, name, memory, "MiB", size, _MEMORY_AIM_MIB)


def _requests(grown: Grown, mappings: int) -> list[bytes]:
    """One for each connection, of as many callers, with tokens of an issuer that is trusted."""
    key = ECKey.generate_key("P-256", {"kid": "bench"})
    settings = Settings(
        audience="credledger",
        algorithms=("ES256",),
        keys=json.dumps({"keys": [key.as_dict(private=False)]}),
        keys_url="",
        speaks_for_local=True,
    )
    with grown.opened() as session:
        session.ledger.trust.add(Acting(), _ISSUER, settings)
    return [_request(number * (mappings // CONNECTIONS), key) for number in range(CONNECTIONS)]


def _request(mapping: int, key: ECKey) -> bytes:
    caller, application = asking(mapping)
    now = int(time.time())
    claims = {
        "iss": _ISSUER,
        "aud": "credledger",
        "sub": caller.claim.value,
        "client_id": "bench",
        "jti": str(mapping),
        "iat": now,
        "exp": now + 1800,
    }
    token = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "bench"}, claims, key)
    body = json.dumps({"application": application})
    return (
        "POST /v1/credentials/get HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


@contextmanager
def _serving(grown: Grown) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The service in a process of its own, and its port; nobody would read a pipe of its log."""
    line = [sys.executable, "-m", "tools.cli.main", "serve", "--listen", "127.0.0.1:0", *_UNLIMITED]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(line, env=grown.environment, stderr=log) as process,
    ):
        try:
            yield process, _port_told(process, log)
        finally:
            process.terminate()


def _port_told(process: subprocess.Popen[bytes], log: IO[str]) -> int:
    """The port, once the service says in its log where it listens."""
    while process.poll() is None:
        log.seek(0)
        for told in map(json.loads, log.read().splitlines()):
            if told["event"] == "listening":
                return int(told["places"][0].rpartition(":")[2])
        time.sleep(0.05)
    raise RuntimeError("the service did not start")


@contextmanager
def _trivial() -> Iterator[int]:
    line = [sys.executable, "-m", "tools.bench.trivial"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    """Measure the service alone, on each engine."""
    facts: list[Fact] = []
    with places(None) as found:
        for place in found:
            with Grown(place) as grown, progress(f"{place.name}: making mappings") as show:
                grown.equip(MAPPINGS_MAX, show)
                facts.extend(service_facts(grown))
    console = Console(width=120)
    console.print(machine())
    console.print(facts_table(facts))


if __name__ == "__main__":
    main()
