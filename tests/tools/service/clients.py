"""A client of the service that is nobody's library: one connection, and what came over it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

JSON = "application/json"
MSGPACK = "application/msgpack"


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def document(self) -> Any:
        if self.headers["content-type"] == MSGPACK:
            return msgpack.unpackb(self.content)
        return json.loads(self.content)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        return self.document["code"]


class Client:
    """One connection that is kept, over a unix socket or TCP."""

    def __init__(self, place: Path | tuple[str, int], token: str | None = None) -> None:
        self._place = place
        self._token = token
        self._connection = http.client.HTTPConnection("localhost", timeout=30)
        self._connection.sock = self.connected()

    def connected(self) -> socket.socket:
        """Another connection to the same place."""
        return connected(self._place)

    def ask(self, path: str, body: Any = None, *, form: str = JSON, **headers: str) -> Reply:
        """POST a body; `headers` have underscores for dashes."""
        packed = msgpack.packb(body) if form == MSGPACK else json.dumps(body).encode()
        return self.send("POST", path, packed, content_type=form, **headers)

    def send(self, method: str, path: str, content: bytes = b"", **headers: str) -> Reply:
        """Send whatever it is."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token is not None:
            said.setdefault("authorization", f"Bearer {self._token}")
        if self._connection.sock is None:
            self._connection.sock = self.connected()
        self._connection.request(method, path, content, said)
        answer = self._connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, told, answer.read())

    def ok(self, path: str, body: Any = None, **more: Any) -> Any:
        reply = self.ask(path, body, **more)
        assert reply.status == 200, reply
        return reply.document

    def fails(self, status: int, code: str, path: str, body: Any = None, **more: Any) -> Any:
        reply = self.ask(path, body, **more)
        assert (reply.status, reply.code) == (status, code), reply
        assert reply.document["status"] == status
        return reply.document

    def close(self) -> None:
        self._connection.close()


def connected(place: Path | tuple[str, int], timeout: float = 30) -> socket.socket:
    """A connection to a unix socket or a TCP address."""
    if isinstance(place, tuple):
        return socket.create_connection(place, timeout=timeout)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(timeout)
    made.connect(str(place))
    return made


def raw(place: Path | tuple[str, int], content: bytes) -> bytes:
    """What a connection answers to these bytes until it is closed, or says no more."""
    with connected(place, timeout=5) as made:
        answer = b""
        with contextlib.suppress(OSError):  # who refuses does not read to the end
            made.sendall(content)
            made.shutdown(socket.SHUT_WR)
        try:
            while piece := made.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
        return answer
