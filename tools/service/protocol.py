"""A connection: uvicorn's own, which also knows its peer and bounds what comes besides a body.

The parser keeps whatever is no body until it is complete, so that is bounded in bytes as they come
in: a head, and what may stand between and behind the pieces of a body. A head is bounded in time
as well, by a look at all connections once a second (`connections.py`). A request that waits behind
the one that is answered takes far more room than its bytes: so nothing is read while any does, and
of what was read before, no more is parsed than has few of them. Fields behind a body are
dropped (RFC 9110, section 6.5): whoever looks at heads on the way here has not seen them.

What cannot be read is answered in its turn, or not at all: a client that has sent one request
behind the other takes the first answer for the first one's.

    in a head, nothing in hand      told at once
    in a head, requests in hand     told behind the last one's answer
    in the body of one in hand      told in place of its answer
    in the body of one that waits   told in place of its answer, in its turn
    in a body that was answered     closed without a word
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
from collections.abc import Collection, Sized
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tools.processes.descriptors import is_spare, share
from tools.service.connections import are_too_many
from tools.service.heads import is_sound
from tools.service.peers import NOBODY, Peer, peer_of
from tools.service.upgrades import FRAMING, parser_of_body

HEAD_BYTES_MAX = 32 * 1024
"""A token has at most 16 KiB."""
_FIELD_BYTES = 4
"""Between a field's name, its value and the next one."""
_OF_CONNECTION = (b"connection", b"proxy-connection")
HEAD_S_MAX = 10.0
UNREAD_S_MAX = 30.0
"""How long nothing of an answer may be taken."""
PARTING_S_MAX = 2.0
"""How long the other side of a connection that is closed may take to part as well, over TLS."""
WAITING_MAX = 32
"""Where so many requests of a connection wait for the answer to an earlier one, none is parsed."""
_PIECE_BYTES = 4096
"""What is parsed before that is looked at again: at most 150 heads, or a part of a body."""
IDLE_S_MAX = 30
"""Between an answer and the next request."""
PEER = "credledger.peer"
"""Where the peer stands in the state of a request's scope."""
ANSWER = "credledger.answer"
"""Where that state has what answers the request in one piece: `Whole` of the replies; not HEAD."""
HAS_COME = "credledger.has-come"
"""Where that state tells whether the next piece of the request's body need not be waited for."""
_OTHER_NAME = b"RTSP/"
"""Of the one other protocol whose requests the parser takes for those of HTTP (RFC 7826)."""
_BEFORE_OTHER = re.compile(rb"[^ ](?= +" + _OTHER_NAME + rb")")
"""The byte before that name and its blanks, which may be the last one of a target."""
SOCKETS = "credledger.sockets"
"""Where the state of an application tells at how many sockets this process is connected to."""
_NOT_HTTP = "Invalid HTTP request received."
_UNREADABLE = (
    b"HTTP/1.1 400 Bad Request\r\ncache-control: no-store\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b"
) % (len(_NOT_HTTP), _NOT_HTTP.encode())
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"cache-control: no-store\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class _HeadTooLargeError(Exception):
    """A head came to its end beyond the bound; the parser ends with it."""


class _UnsoundHeadError(Exception):
    """A head came to its end that two readers could read as two; the parser ends with it."""


class _Flow(FlowControl):
    """Reads nothing while requests wait: the one that is answered has come whole then."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless any wait."""
        if not self._waiting:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.peer: Peer = NOBODY
        self._bytes = 0
        """That came in a row and were no body."""
        self._has_advanced = False
        """Whether a head came to its end, or a piece of a body, with what came last."""
        self._has_ended = False
        """Whether nothing that comes is looked at any more."""
        self.head_since: float | None = None
        """When the head that is not complete yet began, by the loop's clock."""
        self._rest_since: float | None = None
        """When something came behind an answer that begins no request: uvicorn waits on then."""
        self._unread, self._unread_since = 0, 0.0
        """How many bytes of answers wait for their reader, and since when as many."""
        self._parting_since: float | None = None
        """When it was first seen that it is closed and nothing waits to leave."""
        self._later = memoryview(b"")
        """What came behind as many requests as may wait."""
        self._held = b""
        """What came last in a head, whose meaning shows once more has come."""
        self._pieces: list[bytes] = []
        """What came last of a body."""
        self._is_in_target = False
        """Whether what was parsed last was of a target."""
        self._answering: RequestResponseCycle | None = None
        """The request that was begun last; `cycle` is the one that came last."""
        self._common: list[tuple[bytes, bytes]] = []
        self._begin = b""
        """How a 200 with these common headers begins."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look who it is; one too many is let go at once."""
        made = cast("asyncio.Transport", transport)  # uvloop's do as that class does
        super().connection_made(made)
        self.flow = _Flow(made, self.pipeline)
        self.head_since = self.loop.time()
        descriptor = transport.get_extra_info("socket").fileno()
        connected = socket.socket(fileno=descriptor)
        try:
            self.peer = peer_of(connected)
        finally:
            connected.detach()  # it stays the transport's
        if self.is_too_many(descriptor, self.connections):
            made.close()

    def is_too_many(self, descriptor: int, connections: Collection[Any]) -> bool:
        """Whether this one must go, which has that number and is the last of these."""
        most = share(self.app_state.get(SOCKETS, 1))
        return (
            is_spare(descriptor)
            or (most is not None and len(connections) > most)
            or are_too_many(connections, self.peer.source)
        )

    def data_received(self, data: bytes) -> None:
        """Parse what came, as far as there is room for requests that wait."""
        if self._has_ended:
            return
        self._unset_keepalive_if_required()
        if self.pipeline or self._later or len(data) > _PIECE_BYTES:
            self._later = memoryview(bytes(self._later) + data)
            self._take()
        else:
            self._take_piece(data)

    def _take(self) -> None:
        while self._later and not self._has_ended and len(self.pipeline) < WAITING_MAX:
            piece, self._later = self._later[:_PIECE_BYTES], self._later[_PIECE_BYTES:]
            self._take_piece(bytes(piece))

    def _take_piece(self, data: bytes) -> None:
        """Parse it, unless too much of what came has been no body."""
        self._has_advanced = False
        try:
            self._feed(self._held + data)
        except HttpParserError:
            self._end_unreadable()
            return
        if self.head_since is None and self.cycle.response_complete and self._rest_since is None:
            self._rest_since = self.loop.time()
        if not self._has_advanced:
            self._bytes += len(data)
            if self._bytes > HEAD_BYTES_MAX:
                self._end(_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        """Parse it; `HttpParserError` where a request is of a protocol that the parser hides.

        A name that stands behind a target is the protocol's, and it stands there where the byte
        before its blanks, parsed alone, was of a target. In a body it may stand anywhere.
        """
        self._held, begin = b"", 0
        # Looked for first, because the expression takes long for all of a body.
        for found in _BEFORE_OTHER.finditer(data) if _OTHER_NAME in data else ():
            self._parse(data[begin : found.start()])
            if self._is_last_of_target(found[0]):
                raise HttpParserError(_OTHER_NAME)
            begin = found.end()
        end = max(begin, _may_begin_other(data))
        self._parse(data[begin:end])
        if self.head_since is None:
            self._parse(data[end:])
        else:
            self._held = data[end:]
        self._hand_on()

    def _is_last_of_target(self, byte: bytes) -> bool:
        self._is_in_target = False
        self._parse(byte)
        return self._is_in_target

    def on_url(self, url: bytes) -> None:
        """A piece of a target."""
        super().on_url(url)
        self._is_in_target = True

    def _parse(self, data: bytes) -> None:
        """Whoever asks for another protocol is answered in this one (RFC 9110, section 7.8)."""
        rest: bytes | memoryview = data
        while rest:
            try:
                self.parser.feed_data(rest)
            except HttpParserUpgrade as found:
                rest = memoryview(rest)[found.args[0] :]
                self._read_on()
            else:
                return

    def _read_on(self) -> None:
        """Take the request for complete only where no body follows its head."""
        self.cycle.more_body = any(name in FRAMING for name, _ in self.headers)
        if self.cycle.more_body:
            self.parser = parser_of_body(self.headers, self)

    # asyncio takes a word from here, whether the connection stays; uvicorn's own class, which never
    # has one to give and lets go of what is in hand, narrows that to None.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Whoever has said all there is to say is still answered what was asked for whole."""
        if not self._has_ended:
            self._end(b"")
        return self.scheme == "http" and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more, for whatever is in hand."""
        super().connection_lost(exc)
        self._later = memoryview(b"")
        if self._answering is not None:  # which uvicorn looks up only where it came last
            self._answering.disconnected = True
            self._answering.message_event.set()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._bytes = 0
        self._rest_since, self.head_since = None, self.loop.time()
        self.scope["state"][PEER] = self.peer

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, which counts only before a body."""
        if self.head_since is not None:
            super().on_header(name, value)
        elif name.lower() in _OF_CONNECTION:
            self._end_behind(self.cycle)

    def on_headers_complete(self) -> None:
        """The head is complete; one beyond the bound is asked of nobody, however it came in.

        Nor is one that is not sound. A path counts as it was sent: to others on the way, an escape
        in it need not be what it stands for. Nothing here takes a query, so a target that has one
        is the path of nothing.
        """
        fields = sum(len(name) + len(value) + _FIELD_BYTES for name, value in self.headers)
        if len(self.url) + fields > HEAD_BYTES_MAX:
            self._end(_TOO_LARGE)
            raise _HeadTooLargeError
        if not is_sound(self.url, self.headers, self.parser.get_http_version()):
            self._end_unreadable()
            raise _UnsoundHeadError
        super().on_headers_complete()
        self.scope["path"] = self.url.decode("ascii")
        self.head_since = None
        self._advance()

    def on_body(self, body: bytes) -> None:
        """A piece of a body, which may be one of very many that came together."""
        self._advance()
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """A request came to its end."""
        self._hand_on()
        super().on_message_complete()

    def _hand_on(self) -> None:
        """Add what has come of a body at once: uvicorn copies all of it for each piece."""
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces.clear()
            super().on_body(body)

    def is_late(self, now: float) -> bool:
        """Whether a head has not come to its end in time, or none has begun.

        A head's time begins anew while an earlier request is in hand: it may not be read then.
        """
        if self._rest_since is not None:
            return now - self._rest_since > IDLE_S_MAX
        if self.head_since is None:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            self.head_since = now
        return now - self.head_since > HEAD_S_MAX

    def is_unread(self, now: float) -> bool:
        """Whether nothing of what waits to leave has left for long; asked again and again."""
        waits = self.transport.get_write_buffer_size()
        if not waits or waits != self._unread:
            self._unread, self._unread_since = waits, now
        return now - self._unread_since > UNREAD_S_MAX

    def is_parting_late(self, now: float) -> bool:
        """Whether it was closed long ago but for the other side's word; asked again and again."""
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            self._parting_since = None
            return False
        if self._parting_since is None:
            self._parting_since = now
        return now - self._parting_since > PARTING_S_MAX

    def _advance(self) -> None:
        self._bytes, self._has_advanced = 0, True

    def _end_unreadable(self) -> None:
        """Tell of what is no HTTP, unless what came was ended before."""
        if not self._has_ended:
            self.logger.warning(_NOT_HTTP)
            self._end(_UNREADABLE)

    def _end(self, answer: bytes) -> None:
        """Look at nothing more, and close behind this answer, which leaves in its turn."""
        self._has_ended = True
        cycle, in_head = self.cycle, self.head_since is not None
        if cycle is None or cycle.response_complete:
            self._say_last(answer if in_head else b"")
        elif in_head or not cycle.more_body:
            cycle.on_response = functools.partial(self._say_last, answer)
        elif self.pipeline:  # it is the newest, so it waits there, and nobody has seen it
            self.pipeline[0] = (cycle, functools.partial(self._told, cycle, answer))
        else:
            self._say_instead(cycle, answer)

    async def _told(self, cycle: RequestResponseCycle, answer: bytes, *_: object) -> None:
        """Tell it as the answer of a request, as the application would be asked for one."""
        cycle.scope["state"].pop(ANSWER, None)  # it holds what holds it
        self._say_instead(cycle, answer)

    def _say_instead(self, cycle: RequestResponseCycle, answer: bytes) -> None:
        """Tell it where whoever may be working on the request can say nothing any more."""
        begun, cycle.disconnected = cycle.response_started, True
        cycle.message_event.set()
        self._say_last(b"" if begun else answer)

    def _end_behind(self, cycle: RequestResponseCycle) -> None:
        """Close behind the answer: the parser may take such a field for the last word."""
        cycle.keep_alive = False
        if cycle.response_complete:
            self._say_last(b"")

    def _say_last(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request, and with what came behind those that wait."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._take()
            self.flow.resume_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer."""
        self._answering = cycle
        cycle.scope["state"][HAS_COME] = cycle.message_event.is_set
        if cycle.scope["method"] != "HEAD":
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


def _may_begin_other(data: bytes) -> int:
    """Where `_BEFORE_OTHER` may have begun that is not complete; the end of the data if nowhere."""
    if data.endswith(b"\n"):
        return len(data)
    names = (_OTHER_NAME[:length] for length in range(len(_OTHER_NAME) - 1, 0, -1))
    name = next((one for one in names if data.endswith(one)), b"")
    return max(len(data.removesuffix(name).rstrip(b" ")) - 1, 0)
