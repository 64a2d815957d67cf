"""Looking up the addresses of a host, and waiting for them only so long.

The system's resolver cannot be told to stop: where its servers are silent it takes as long as they
are configured to, which can be minutes. So it is asked in a thread that is left behind when the
time is over and that the process does not wait for at its end. While one host is looked up nobody
looks it up again; whoever asks waits for the answer that is on its way.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

Found = list[tuple[Any, ...]]
"""As `socket.getaddrinfo` has it."""


def by_the_system(host: str, port: int) -> Found:
    """What the system's resolver says; an `OSError` where that is nothing."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class NameLookups:
    """Looks up hosts, each once at a time; any number of threads may ask."""

    def __init__(self, look_up: Callable[[str, int], Found] = by_the_system) -> None:
        self._look_up = look_up
        self._guard = threading.Lock()
        self._running: dict[tuple[str, int], Future[Found]] = {}

    def addresses(self, host: str, port: int, timeout_s: float) -> Found:
        """Where the host is; an `OSError`, or `TimeoutError` where that takes too long."""
        with self._guard:
            found = self._running.get((host, port))
            if found is None:
                found = self._running[host, port] = Future()
                try:
                    self._begin(host, port, found)
                except RuntimeError as error:  # the system has no thread for it
                    del self._running[host, port]
                    raise OSError from error
        return found.result(timeout_s)

    def _begin(self, host: str, port: int, found: Future[Found]) -> None:
        name, asked = "credledger-lookup", (host, port, found)
        threading.Thread(target=self._find, args=asked, name=name, daemon=True).start()

    def _find(self, host: str, port: int, found: Future[Found]) -> None:
        try:
            answer = self._look_up(host, port)
        except BaseException as error:  # noqa: BLE001 # whoever waits is to hear of it
            self._forget(host, port)
            found.set_exception(error)
        else:
            self._forget(host, port)
            found.set_result(answer)

    def _forget(self, host: str, port: int) -> None:
        with self._guard:
            del self._running[host, port]
