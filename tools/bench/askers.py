"""Whoever asks a service: connections that are kept, each asking again once it is answered.

    python -m tools.bench.askers PORT SECONDS    is one process of them; one request a line is read

Answers are told by their length only, as a client that costs much would slow the service on the
same cores down. Any status but 200 ends it.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import cast

import msgspec
import uvloop

_WARM_S = 1.0
_TIMEOUT_S = 120
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Asked(msgspec.Struct, frozen=True):
    """What a load came to."""

    rate: float
    """Answers a second."""
    p99_ms: float


def ask(port: int, requests: Sequence[bytes], seconds: float) -> Asked:
    """Ask from a process of its own, one connection for each request."""
    lines = b"".join(base64.b64encode(one) + b"\n" for one in requests)
    line = [sys.executable, "-m", "tools.bench.askers", str(port), str(seconds)]
    told = subprocess.run(line, input=lines, capture_output=True, check=True, timeout=_TIMEOUT_S)
    return Asked(**json.loads(told.stdout))


class _Asker(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, until: float, times: list[tuple[float, float]]) -> None:
        self._request = request
        self._until = until
        self._times = times
        self._answer = b""
        self._asked_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast(
            "asyncio.WriteTransport", transport
        )  # uvloop's do as that class does
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Ask again once the answer is whole."""
        self._answer += data
        head, end, content = self._answer.partition(_END)
        if not end or len(content) < int(head.partition(_LENGTH)[2].partition(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(self._answer.decode()))
            return
        now = time.perf_counter()
        self._times.append((now, now - self._asked_at))
        self._answer = b""
        if now < self._until:
            self._ask()
        elif not self.done.done():
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody cuts off a connection that is asking."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the service hung up"))

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self._transport.write(self._request)


async def _all(port: int, requests: Sequence[bytes], seconds: float) -> Asked:
    loop, times = asyncio.get_running_loop(), list[tuple[float, float]]()
    begins = time.perf_counter() + _WARM_S
    askers = [_Asker(request, begins + seconds, times) for request in requests]
    for asker in askers:
        await loop.create_connection(functools.partial(_itself, asker), "127.0.0.1", port)
    await asyncio.gather(*(asker.done for asker in askers))
    counted = sorted(took for at, took in times if begins <= at < begins + seconds)
    return Asked(len(counted) / seconds, counted[int(len(counted) * 0.99)] * 1000)


def _itself(asker: _Asker) -> _Asker:
    return asker


def main() -> None:
    """Be the process."""
    requests = [base64.b64decode(line) for line in sys.stdin.buffer]
    asked = uvloop.run(_all(int(sys.argv[1]), requests, float(sys.argv[2])))
    print(json.dumps({"rate": asked.rate, "p99_ms": asked.p99_ms}))


if __name__ == "__main__":
    main()
