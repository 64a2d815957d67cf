"""A request's head and body as they come in, within their bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from ledger.errors import InvalidInput, LedgerError, Unavailable
from tools.service.forms import BODY_BYTES_MAX
from tools.service.replies import Message, Receive, too_busy

IN_HAND_MAX = 1000
"""Requests that are worked on at once; one whose body is on its way is not."""
BODY_S_MAX = 30.0
"""All of a body, its first byte as well."""
HURRIED_S_MAX = 2.0
"""The same once the service stops."""
_LENGTH_DIGITS_MAX = len(str(BODY_BYTES_MAX))
LARGE_BYTES = 64 * 1024
LARGE_MAX = 32
"""Bodies beyond `LARGE_BYTES` that are read at once, all of them of callers who are known."""
SOURCE_LARGE_MAX = 8
"""Of one address or account, so that no single one can keep all others' out."""
_ONCE = (b"authorization", b"content-type", b"content-length", b"idempotency-key")
"""Headers of which two would mean different things to different readers."""
_LIST = b"accept"
"""The one header that is looked at and has a list."""


def not_yet() -> bool:
    """What is asked for has not come, as far as anybody knows."""
    return False


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


LOOKED_AT = frozenset((*_ONCE, b"content-encoding", _LIST))
"""The headers that the door looks at."""
_ENOUGH = 2
"""Of the same header: they tell that it does not come once."""
LOOKED_AT_MAX = _ENOUGH * len(LOOKED_AT)
"""So many of them at most are handed on by whoever keeps to `handed_on`."""


def headers_by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Those that are looked at, each with all that it says, in its order."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in LOOKED_AT:
            found.setdefault(name, []).append(value)
    return found


def handed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What of these headers the door needs to see, which is few and no longer than they are."""
    found = headers_by_name(headers)
    if _LIST in found:
        found[_LIST] = [b",".join(found[_LIST])]  # several are one list (RFC 9110, section 5.3)
    return [(name, value) for name, values in found.items() for value in values[:_ENOUGH]]


def each_once(headers: dict[bytes, list[bytes]]) -> dict[bytes, bytes]:
    """What each header says; `malformed-header` where one that must be alone comes twice."""
    for name in _ONCE:
        if len(headers.get(name, ())) > 1:
            raise InvalidInput("malformed-header", f"{name.decode()} comes more than once.")
    return {name: b",".join(values) for name, values in headers.items()}


class Bodies:
    """Reads bodies, of which few may be large at once, so that nobody fills the memory."""

    def __init__(self) -> None:
        self._large: Counter[str] = Counter()
        """By their sources."""
        self._awaited: set[asyncio.Timeout] = set()
        """When the bodies that are on their way must be there."""
        self._is_hurried = False

    def hurry(self) -> None:
        """Wait for no body longer than `HURRIED_S_MAX` from now on: the service stops."""
        self._is_hurried = True
        until = asyncio.get_running_loop().time() + HURRIED_S_MAX
        for one in self._awaited:
            if not one.expired():
                one.reschedule(min(until, one.when() or until))

    async def read(
        self,
        told: bytes,
        receive: Receive,
        source: str,
        want: Callable[[], Awaitable[None]] | None = None,
        has_come: Callable[[], bool] = not_yet,
    ) -> bytes:
        """The whole body, whose length the head tells; `body-too-large`, `request-too-slow`.

        `too-busy` where it would be one large body too many; `ClientGone` where the connection
        ends before it. Where it turns out to be large, `want` says first that it is to be read, or
        raises whatever that ends with. `has_come` tells whether `receive` need not be waited for.
        """
        digits = told.strip().lstrip(b"0") or b"0"
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX or int(digits) > BODY_BYTES_MAX:
            raise too_large()
        message = None
        if has_come():  # a timer is dear, and nearly always all there is has come
            message = await receive()
            if not message.get("more_body") and message["type"] == "http.request":
                content = bytes(message["body"])
                if len(content) <= LARGE_BYTES:
                    return content
        held = _Held(source)
        timeout = asyncio.timeout(HURRIED_S_MAX if self._is_hurried else BODY_S_MAX)
        self._awaited.add(timeout)
        try:
            async with timeout:
                return await self._gather(held, message or await receive(), receive, want)
        except TimeoutError:
            raise too_slow() from None
        finally:
            self._awaited.discard(timeout)
            if held.is_large:
                self._large -= Counter((source,))  # which keeps no source that has none

    async def _gather(
        self,
        held: _Held,
        message: Message,
        receive: Receive,
        want: Callable[[], Awaitable[None]] | None,
    ) -> bytes:
        content = bytearray()
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            content += message["body"]
            if len(content) > BODY_BYTES_MAX:
                raise too_large()
            if len(content) > LARGE_BYTES and not held.is_large:
                if want is not None:
                    await want()
                self._hold(held)
            if not message.get("more_body"):
                return bytes(content)
            message = await receive()

    def _hold(self, held: _Held) -> None:
        alike = self._large[held.source]
        if self._large.total() >= LARGE_MAX or alike >= SOURCE_LARGE_MAX:
            raise too_busy()
        held.is_large = True
        self._large[held.source] += 1


class _Held(msgspec.Struct):
    """What one body takes of what all may."""

    source: str
    is_large: bool = False


def too_large() -> LedgerError:
    """More than a body has."""
    return InvalidInput("body-too-large", f"A body has at most {BODY_BYTES_MAX} bytes.")


def too_slow() -> LedgerError:
    """It did not end in time."""
    return Unavailable(
        "request-too-slow",
        f"The body did not come to its end within {BODY_S_MAX:.0f} seconds, or before the"
        " service stopped.",
        hint="Nothing was done; send it again.",
    )
