"""A connection: uvicorn's own, which also knows its peer and bounds what comes besides a body.

The parser keeps whatever is no body until it is complete, so that is bounded in bytes as they come
in: a head, and what may stand between and behind the pieces of a body. A head is bounded in time
as well, by a look at all connections once a second (`close_slow`). Fields behind a body are dropped
(RFC 9110, section 6.5): whoever looks at heads on the way here has not seen them.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tools.service.peers import NOBODY, Peer, peer_of

HEAD_BYTES_MAX = 32 * 1024
"""A token has at most 16 KiB."""
_FIELD_BYTES = 4
"""Between a field's name, its value and the next one."""
HEAD_S_MAX = 10.0
CONNECTIONS_MAX = 2000
SOURCE_CONNECTIONS_MAX = 500
"""Of one address or account, so that no single one can keep all others out."""
PEER = "credledger.peer"
"""Where the peer stands in the state of a request's scope."""
ANSWER = "credledger.answer"
"""Where that state has what answers the request in one piece: `Whole` of the replies."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"cache-control: no-store\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class _HeadTooLargeError(Exception):
    """A head came to its end beyond the bound; the parser ends with it."""


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
        self._common: list[tuple[bytes, bytes]] = []
        self._begin = b""
        """How a 200 with these common headers begins."""

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
        self.scope["state"][PEER] = self.peer

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, which counts only before a body."""
        if self.head_since is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete; one beyond the bound is asked of nobody, however it came in."""
        fields = sum(len(name) + len(value) + _FIELD_BYTES for name, value in self.headers)
        if len(self.url) + fields > HEAD_BYTES_MAX:
            self._cut_off()
            raise _HeadTooLargeError
        self.head_since = None
        self._advance()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._advance()
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless it was answered or cut off before."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _advance(self) -> None:
        self._bytes, self._has_advanced = 0, True

    def _cut_off(self) -> None:
        if self.head_since is not None:  # a request that is in hand may be answered at any time
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer."""
        cycle.scope["state"][ANSWER] = functools.partial(self._answer_whole, cycle)
        super()._start_asgi_task(cycle, app)

    def _answer_whole(self, cycle: RequestResponseCycle, media_type: bytes, content: bytes) -> bool:
        """Send a 200 in one piece, where the client takes what it is sent.

        It is what uvicorn's own `send` does, for a head that is known to be sound.
        """
        if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if cycle.default_headers is not self._common:  # they are renewed with the date
            self._common = cycle.default_headers
            lines = (b"%b: %b\r\n" % header for header in self._common)
            self._begin = b"".join((b"HTTP/1.1 200 OK\r\n", *lines))
        end = b"" if cycle.keep_alive else b"connection: close\r\n"
        cycle.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (self._begin, media_type, len(content), end, content)
        )
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


def close_slow(connections: set[Any], now: float) -> None:
    """Close the connections whose head has not come to its end in time."""
    for connection in list(connections):
        since = connection.head_since
        if since is not None and now - since > HEAD_S_MAX:
            connection.transport.close()
