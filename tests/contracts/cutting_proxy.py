"""A small TCP proxy before a server's socket file that cuts the line at a chosen word."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CuttingProxy:
    """Hands bytes on, until the client says the word."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._word: bytes | None = None
        self._hand_on = False
        self.cuts = 0

    def cut_at(self, word: bytes, *, hand_on: bool) -> None:
        """Cut at the next such word, before or after the server has heard it and has answered."""
        self._hand_on = hand_on
        self._word = word

    def serve(self) -> None:
        """One connection after another, until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.settimeout(20)
        with client, server, selectors.DefaultSelector() as ready:
            server.connect(self._upstream)
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    try:
                        said = key.fileobj.recv(65536)
                    except OSError:
                        return
                    if not said:
                        return
                    word = self._word
                    if key.fileobj is client and word is not None and word in said:
                        self._word = None
                        self.cuts += 1
                        if self._hand_on:
                            with contextlib.suppress(OSError):
                                server.sendall(said)
                                server.recv(65536)
                        return
                    key.data.sendall(said)


@contextmanager
def cutting_proxy(upstream: str) -> Iterator[CuttingProxy]:
    """A proxy that serves until the block is left."""
    proxy = CuttingProxy(upstream)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(10)
