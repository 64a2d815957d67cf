"""What leaves: an answer, or the problem that an error becomes, and the headers that go with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from ledger.errors import InvalidInput, LedgerError, NotFound, Unavailable
from tools.service.problems import CLOSING, problem_of, status_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Whole = Callable[[bytes, bytes], bool]
"""Sends a 200 of this media type and content in one piece; whether it did."""
PROBLEM = b"application/problem+json"
JSON = b"application/json"
TO_ASK = ("POST",)
TO_LOOK = ("GET", "HEAD")
"""HEAD is answered as GET is, without the content (RFC 9110, section 9.3.2)."""
encode = msgspec.json.Encoder().encode


class Answered(NamedTuple):
    """What leaves."""

    status: int
    media_type: bytes
    content: bytes
    code: str = ""
    """Of the error, if it is one."""
    headers: tuple[tuple[bytes, bytes], ...] = ()


def failed(error: LedgerError, allowed: tuple[str, ...]) -> Answered:
    """The problem that an error is told as; `allowed` are the methods that the path takes."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status = status_of(error)
    if status == 429:
        headers = ((b"retry-after", b"1"),)  # no share is smaller than one request a second
    elif status == 405:
        headers = ((b"allow", ", ".join(allowed).encode()),)
    elif status == 401:
        refused = b', error="invalid_token"' if error.code == "token-refused" else b""
        headers = ((b"www-authenticate", b'Bearer realm="credledger"' + refused),)
    return Answered(status, PROBLEM, encode(problem_of(error)), error.code, headers)


def health(status: int, word: str) -> Answered:
    """What whoever watches is told."""
    return Answered(status, JSON, encode({"status": word}))


async def deliver(answered: Answered, whole: Whole | None, send: Send) -> None:
    """Send it in one piece where that may be, or by the server's own means."""
    content = answered.media_type, answered.content
    if answered.status != 200 or whole is None or not whole(*content):
        await send_answer(answered, send)


async def send_answer(answered: Answered, send: Send) -> None:
    """Send it by the server's own means."""
    headers = [
        (b"content-type", answered.media_type),
        (b"content-length", str(len(answered.content)).encode()),
        *answered.headers,
    ]
    if answered.status in CLOSING:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    await send({"type": "http.response.body", "body": answered.content})


def require_method(given: str, allowed: tuple[str, ...]) -> None:
    """`method-not-allowed` for one that is none of these."""
    if given not in allowed:
        raise InvalidInput(
            "method-not-allowed",
            f"This path takes {' and '.join(allowed)} only.",
            hint="`GET /openapi.json` describes what there is.",
        )


def no_such_path() -> NotFound:
    """Nothing is there."""
    return NotFound(
        "no-such-path",
        "There is no operation of this path.",
        hint="`GET /openapi.json` describes all there are.",
    )


def too_busy() -> Unavailable:
    """As many requests as may be are worked on already."""
    return Unavailable("too-busy", "Too much is asked at once; nothing was done.")
