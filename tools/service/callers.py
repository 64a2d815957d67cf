"""Whose a request is: the subject of a token, or the peer of a unix socket.

A token that was verified before and has not expired costs a look into a dictionary; any other is
verified in a thread, for its issuer's keys may have to be fetched. Whatever is wrong with a token,
the answer is the same. An address whose tokens are refused again and again must wait before any
more of them are looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

from ledger.errors import Refused, Unavailable
from ledger.policy import Caller
from tools.service.peers import Peer
from tools.service.shares import Shares

_REFUSED_RATE = 10.0
_REFUSED_BURST = 50
_SCHEME = b"bearer "


class Verified(Protocol):
    """A verified token."""

    @property
    def caller(self) -> Caller:
        """For whom it speaks."""
        ...

    @property
    def application(self) -> str | None:
        """The ID by the request or the token, which agree."""
        ...


class Tokens(Protocol):
    """What verifies tokens."""

    def known(self, token: bytes, application: str | None) -> Verified | None:
        """A token that was verified before, at once; None if it has to be verified."""
        ...

    def verify(self, token: bytes, application: str | None, source: str) -> Verified:
        """The whole check, which takes its time; `token-refused`."""
        ...

    def settle(self) -> None:
        """Write down what is known of refused tokens by now."""
        ...

    def public_keys(self) -> bytes:
        """The JWKS of the keys that tokens may be encrypted to."""
        ...


class NoTokens:
    """Where no issuer is trusted, no token is."""

    def known(self, token: bytes, application: str | None) -> Verified | None:
        """None."""
        return None

    def verify(self, token: bytes, application: str | None, source: str) -> Verified:
        """`token-refused`."""
        raise Refused("token-refused", "The token is not accepted.")

    def settle(self) -> None:
        """Nothing is pending."""

    def close(self) -> None:
        """Nothing is pending."""

    def public_keys(self) -> bytes:
        """None."""
        return b'{"keys":[]}'


class Identified(NamedTuple):
    """Whose a request is."""

    caller: Caller
    application: str | None


class Callers:
    """Tells whose requests are, and that nobody asks for more than a share."""

    def __init__(
        self,
        caller_rate: float,
        address_rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Rates are requests a second; twice as many may come at once."""
        self._callers = Shares(caller_rate, int(caller_rate * 2), clock)
        self._addresses = Shares(address_rate, int(address_rate * 2), clock)
        self._refused = Shares(_REFUSED_RATE, _REFUSED_BURST, clock)

    def let_in(self, peer: Peer) -> None:
        """Take a request of the address's share; `too-many-requests`."""
        _wait(self._addresses.wait_s(peer.source))

    async def identify(
        self,
        peer: Peer,
        token: bytes | None,
        application: str | None,
        tokens: Tokens,
        threads: Executor,
    ) -> Identified:
        """Whose it is; `no-caller`, `token-refused`, `too-many-requests`."""
        if token is None:
            if peer.claim is None:
                raise no_caller()
            found = Identified(Caller(peer.claim), application)
        else:
            verified = tokens.known(token, application)
            if verified is None:
                verified = await self._verified(peer, token, application, tokens, threads)
            found = Identified(verified.caller, verified.application)
        _wait(self._callers.wait_s(str(found.caller.claim)))
        return found

    async def _verified(
        self,
        peer: Peer,
        token: bytes,
        application: str | None,
        tokens: Tokens,
        threads: Executor,
    ) -> Verified:
        _wait(self._refused.wait_s(peer.source))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            threads, lambda: tokens.verify(token, application, peer.source)
        )


def bearer(authorization: bytes) -> bytes:
    """The token of an `Authorization` header; `no-caller` for another scheme."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise no_caller()
    return authorization[len(_SCHEME) :].strip()


def no_caller() -> Refused:
    """Nobody is known to ask."""
    return Refused(
        "no-caller",
        "Nobody is known to ask: there is no token.",
        hint="Send `Authorization: Bearer TOKEN`, or ask over the unix socket.",
    )


class TooMany(Unavailable):
    """More than a share."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            "too-many-requests",
            "More is asked than one caller or address may.",
            hint="Come again after the time that Retry-After names; nothing was done.",
        )
        self.wait_s = wait_s
        """Until one more request is in the share."""


def _wait(seconds: float) -> None:
    if seconds > 0:
        raise TooMany(seconds)
