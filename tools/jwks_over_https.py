"""Fetching an issuer's public keys: one GET over TLS, small, short, and never led elsewhere.

    name ─▶ connection ─▶ TLS ─▶ head ─▶ body
    └───────────── one deadline ────────────┘

The certificate is checked against the system's authorities (`SSL_CERT_FILE` names others, as for
every program that uses OpenSSL). A redirect is not followed, because whoever could set one would
choose the keys. All of it must be over within the time: each wait for the other side is given what
is left, so that neither a resolver that is silent nor a byte now and then makes it longer.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledger.errors import Unavailable
from ledger.tokens.jose import JWKS_BYTES_MAX
from tools.name_lookups import NameLookups

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

TIMEOUT_S = 5.0
_CHUNK_BYTES = 16 * 1024
_LOOKUPS = NameLookups()


def fetch_jwks(url: str, *, timeout_s: float = TIMEOUT_S, lookups: NameLookups = _LOOKUPS) -> bytes:
    """What an https URL holds; `keys-not-fetched` for any other answer than a small 200."""
    deadline = _Deadline(timeout_s)
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        raise _not_fetched("its place is no https URL")
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection = _Connection(parts.hostname, parts.port or 443, deadline, lookups)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Accept": "application/json"})
            with connection.getresponse() as answer:
                if answer.status != http.HTTPStatus.OK:
                    raise _not_fetched(f"the answer was {answer.status}")
                return _body(answer)
    except TimeoutError as error:
        raise _not_fetched("the answer took too long") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _not_fetched("the connection failed") from error


class _Deadline:
    """When all of it must be over."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left_s(self) -> float:
        """What is left of the time, never nothing; `TimeoutError` behind it."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Timed(ssl.SSLSocket):
    """A connection that waits for nothing longer than until a deadline."""

    deadline: _Deadline

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(self.deadline.left_s())
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        self.settimeout(self.deadline.left_s())
        return super().send(data, flags)


class _Connection(http.client.HTTPSConnection):
    """One that is made, and answered by, within a deadline."""

    def __init__(self, host: str, port: int, deadline: _Deadline, lookups: NameLookups) -> None:
        self._tls = ssl.create_default_context()
        self._tls.sslsocket_class = _Timed
        super().__init__(host, port, context=self._tls)
        self._deadline, self._lookups = deadline, lookups

    def connect(self) -> None:
        """Look up the host and connect to it, over TLS."""
        with contextlib.ExitStack() as undoing:
            made = undoing.enter_context(self._connected())
            made.settimeout(self._deadline.left_s())  # for the whole of the handshake
            timed = self._tls.wrap_socket(made, server_hostname=self.host)
            assert isinstance(timed, _Timed)
            timed.deadline = self._deadline
            self.sock = timed
            undoing.pop_all()

    def _connected(self) -> socket.socket:
        """A connection to one of the host's addresses; one that is silent leaves time for all."""
        found = self._lookups.addresses(self.host, self.port, self._deadline.left_s())
        for number, (family, kind, protocol, _, place) in enumerate(found):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(self._deadline.left_s() / (len(found) - number))
                made.connect(place)
            except OSError:
                made.close()
                if number == len(found) - 1:
                    raise
            else:
                return made
        raise OSError


def _body(answer: http.client.HTTPResponse) -> bytes:
    content = b""
    while chunk := answer.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > JWKS_BYTES_MAX:
            raise _not_fetched("the answer is too large")
    return content


def _not_fetched(why: str) -> Unavailable:
    return Unavailable(
        "keys-not-fetched",
        f"The issuer's keys could not be fetched: {why}.",
        hint="Check the URL and the way there; nothing was changed.",
    )
