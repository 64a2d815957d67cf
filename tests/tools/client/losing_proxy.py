"""A proxy that hands requests on and loses some answers, after the service has done its work."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class LosingProxy:
    """One request for each connection; the first `losing` answers are lost."""

    to: Path
    losing: int
    requests: list[bytes] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __enter__(self):
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with closing(client):
                client.settimeout(10)
                request = whole(client)
                if not request:
                    continue
                self.requests.append(request)
                answer = self._handed_on(request)
                if len(self.requests) > self.losing:
                    client.sendall(answer)

    def _handed_on(self, request: bytes) -> bytes:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as service:
            service.settimeout(10)
            service.connect(str(self.to))
            service.sendall(request)
            return whole(service)


def whole(stream: socket.socket) -> bytes:
    """One message with its body, as its head tells the length."""
    content = b""
    while b"\r\n\r\n" not in content:
        piece = stream.recv(65536)
        if not piece:
            return b""
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    told = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(told[0].partition(b":")[2]) if told else 0
    while len(body) < length:
        body += stream.recv(65536)
    return head + b"\r\n\r\n" + body
