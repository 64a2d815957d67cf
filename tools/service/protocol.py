"""A connection: uvicorn's own, which also knows its peer and bounds what comes besides a body.

The parser keeps whatever is no body until it is complete, so that is bounded in bytes as they come
in: a head, and what may stand between and behind the pieces of a body. A head is bounded in time
as well, by a look at all connections once a second (`close_slow`). Fields behind a body are dropped
(RFC 9110, section 6.5): whoever looks at heads on the way here has not seen them.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tools.service.peers import NOBODY, Peer, peer_of

HEAD_BYTES_MAX = 32 * 1024
"""A token has at most 16 KiB."""
HEAD_S_MAX = 10.0
CONNECTIONS_MAX = 2000
SOURCE_CONNECTIONS_MAX = 500
"""Of one address or account, so that no single one can keep all others out."""
PEER = "credledger.peer"
"""Where the peer stands in a request's scope."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"cache-control: no-store\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.peer: Peer = NOBODY
        self._bytes = 0
        """That came in a row and were no body."""
        self._has_advanced = False
        """Whether a head came to its end, or a piece of a body, with what came last."""
        self.head_since: float | None = None
        """When the head that is not complete yet began, by the loop's clock."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look who it is; one too many is let go at once."""
        made = cast("asyncio.Transport", transport)  # uvloop's do as that class does
        super().connection_made(made)
        self.head_since = self.loop.time()
        descriptor = transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=socket.dup(descriptor)) as connected:
            self.peer = peer_of(connected)
        others = cast("set[Connection]", self.connections)
        alike = sum(1 for one in others if one.peer.source == self.peer.source)
        if len(others) > CONNECTIONS_MAX or alike > SOURCE_CONNECTIONS_MAX:
            made.close()

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless too much of it has been no body."""
        self._has_advanced = False
        super().data_received(data)
        if self._has_advanced or self.transport.is_closing():
            return
        self._bytes += len(data)
        if self._bytes > HEAD_BYTES_MAX:
            self._cut_off()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._bytes = 0
        self.head_since = self.loop.time()
        self.scope[PEER] = self.peer  # type: ignore[literal-required] # ours, for the door

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, which counts only before a body."""
        if self.head_since is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.head_since = None
        self._advance()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._advance()
        super().on_body(body)

    def _advance(self) -> None:
        self._bytes, self._has_advanced = 0, True

    def _cut_off(self) -> None:
        if self.head_since is not None:  # a request that is in hand may be answered at any time
            self.transport.write(_TOO_LARGE)
        self.transport.close()


def close_slow(connections: set[Any], now: float) -> None:
    """Close the connections whose head has not come to its end in time."""
    for connection in list(connections):
        since = connection.head_since
        if since is not None and now - since > HEAD_S_MAX:
            connection.transport.close()
