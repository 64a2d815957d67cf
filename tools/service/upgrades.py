"""Wishes for another protocol (`Upgrade`, RFC 9110, section 7.8), which are heard and not granted.

A parser that has met one takes what comes behind the head for bytes of the other protocol, a body
too. Some clients say with every first request that they could do HTTP/2, so the body is read by
another parser. That one gets a head which says no more than how the body ends; from there on it
reads whatever comes, with the callbacks of the connection.
"""

from __future__ import annotations

from typing import Protocol

from httptools import HttpRequestParser

FRAMING = (b"content-length", b"transfer-encoding")
"""Of which one is in a head that a body follows."""


class Callbacks(Protocol):
    """What a parser calls."""

    def on_message_begin(self) -> None:
        """A head begins."""
        ...

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        ...

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of a head, or behind a body."""
        ...

    def on_headers_complete(self) -> None:
        """A head is complete."""
        ...

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        ...

    def on_message_complete(self) -> None:
        """A request is complete."""
        ...


class _BehindFirstHead:
    """The callbacks, but for the first head."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._is_behind = False
        self.on_body = callbacks.on_body
        self.on_message_complete = callbacks.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._callbacks.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._callbacks.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._callbacks.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._callbacks.on_headers_complete()
        self._is_behind = True


def parser_of_body(headers: list[tuple[bytes, bytes]], callbacks: Callbacks) -> HttpRequestParser:
    """A parser that has read a head with these headers, their wish left out."""
    framing = [b"%b: %b\r\n" % header for header in headers if header[0] in FRAMING]
    parser = HttpRequestParser(_BehindFirstHead(callbacks))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
    return parser
