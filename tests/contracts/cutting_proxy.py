"""A small TCP proxy before a server's socket file that cuts the line in the middle of a commit."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CuttingProxy:
    """Hands bytes on, until somebody says the word that it was told to cut at."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._from_client: bytes | None = None
        self._from_server: bytes | None = None
        self.cuts = 0

    def cut_before_server_hears(self, word: bytes) -> None:
        """Cut when a client says the word; the server does not hear it."""
        self._from_client = word

    def cut_before_client_hears(self, word: bytes) -> None:
        """Cut when the server says the word; the client does not hear it."""
        self._from_server = word

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
        with client, server, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            server.connect(self._upstream)
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    said = key.fileobj.recv(65536)
                    if not said or self._cuts(said, by_client=key.fileobj is client):
                        return
                    key.data.sendall(said)

    def _cuts(self, said: bytes, *, by_client: bool) -> bool:
        word = self._from_client if by_client else self._from_server
        if word is None or word not in said:
            return False
        self._from_client = self._from_server = None
        self.cuts += 1
        return True


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
