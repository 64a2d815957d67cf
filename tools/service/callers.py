"""Whose a request is: the subject of a token, or the peer of a unix socket.

A token that was verified before and has not expired costs a look into a dictionary; any other is
verified in a thread, for the log is looked at. Where its issuer's keys have to be fetched first,
that is waited for without one. Whatever is wrong with a token, the answer is the same. An address
whose tokens are refused again and again must wait before any more of them are looked at, however
many come at once (`trials.py`); those that were verified before are none of them.

Who is trusted is looked at again where that is a second old. A body may be on its way for longer,
so what its head said is held against the trust of the moment at which it is there.

    head ─▶ token, caller, share ─▶ (the body is read) ─▶ application, if the token is bound to one

A head says all that is needed to know whose a request is, so nothing of a body is looked at before.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ledger.errors import Refused
from ledger.policy import Caller
from ledger.tokens.issuer_keys import KeysAwaited
from tools.service.key_waits import KeyWaits
from tools.service.peers import Peer
from tools.service.shares import Shares
from tools.service.trials import Trials, too_many

if TYPE_CHECKING:
    from ledger.tokens.verifier import TokenVerifier, VerifiedCaller

T = TypeVar("T")

_REFUSED_RATE = 10.0
_REFUSED_BURST = 50
_PAGES_RATE = 10.0
_PAGES_BURST = 50
"""Of the description and the public keys: one is long, for the others the log is looked at."""
_SCHEME = b"bearer "
_NO_TOKEN = b""


class Identified(NamedTuple):
    """Whose a request is."""

    caller: Caller
    application: str | None
    verified: VerifiedCaller | None = None
    """By its token, if there is one."""

    @property
    def is_good_once(self) -> bool:
        """Whether its token is good for one use, which `Callers.use` takes."""
        return self.verified is not None and self.verified.is_good_once


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
        self._trials = Trials(Shares(_REFUSED_RATE, _REFUSED_BURST, clock))
        self._pages = Shares(_PAGES_RATE, _PAGES_BURST, clock)
        self._key_waits = KeyWaits()

    def let_in(self, peer: Peer) -> None:
        """Take a request of the address's share; `too-many-requests`."""
        _wait(self._addresses.wait_s(peer.source))

    def let_look(self, peer: Peer) -> None:
        """Take a page of the address's share of those; `too-many-requests`."""
        _wait(self._pages.wait_s(peer.source))

    async def identify(
        self,
        peer: Peer,
        token: bytes | None,
        verifier: TokenVerifier,
        threads: Executor,
    ) -> Identified:
        """Whose it is, by its head; `no-caller`, `token-refused`, `too-many-requests`, `too-busy`.

        It takes one request of the caller's share. A token that is good for one use stays so until
        `use`. Whether it is good for what the body names is for `bind` to say.
        """
        if token is None:
            if peer.claim is None:
                raise no_caller()
            found = Identified(Caller(peer.claim, peer=peer.uid), None)
        else:
            verified = verifier.known(token)
            if verified is None and verifier.is_stale and verifier.remembers(token):
                await _in_thread(threads, verifier.look)
                verified = verifier.known(token)
            if verified is None:
                verified = await self._verified(peer, token, None, verifier, threads)
            found = _by_token(verified)
        _wait(self._callers.wait_s(str(found.caller.claim)))
        return found

    async def bind(
        self,
        peer: Peer,
        token: bytes | None,
        found: Identified,
        application: str | None,
        verifier: TokenVerifier,
        threads: Executor,
    ) -> Identified:
        """The same for the application that the body names, if it names one; `token-refused`.

        That is where the token is bound to another one, or would not be believed any more.
        """
        if found.verified is None:
            return Identified(found.caller, application)
        assert token is not None
        if verifier.is_stale:
            await _in_thread(threads, verifier.look)
        verified = verifier.again(found.verified, application)
        if verified is None:
            verified = await self._verified(peer, token, application, verifier, threads)
        return _by_token(verified)

    async def use(
        self, peer: Peer, found: Identified, verifier: TokenVerifier, threads: Executor
    ) -> None:
        """Take the one use of a token that is good for one; `token-refused` where it is taken."""
        assert found.verified is not None
        ask = functools.partial(verifier.use, found.verified, source=peer.source)
        async with self._trials.one(peer.source):
            await _in_thread(threads, ask)

    async def _verified(
        self,
        peer: Peer,
        token: bytes,
        application: str | None,
        verifier: TokenVerifier,
        threads: Executor,
    ) -> VerifiedCaller:
        ask = functools.partial(
            verifier.believe, token, application=application, source=peer.source
        )
        try:
            async with self._trials.one(peer.source):
                return await _in_thread(threads, ask)
        except KeysAwaited as awaited:  # which is no verdict, and on trial is nobody who waits
            await self._key_waits.until(awaited, peer.source)
        async with self._trials.one(peer.source):
            return await _in_thread(threads, functools.partial(ask, waits=False))


async def _in_thread(threads: Executor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _by_token(verified: VerifiedCaller) -> Identified:
    return Identified(verified.caller, verified.application, verified)


def shown_token(authorization: Sequence[bytes]) -> bytes | None:
    """The token that `Authorization` shows, if it comes; `no-caller` for another scheme.

    Two of that header show none that anybody believes: which of them counts, readers may differ on.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        return _NO_TOKEN
    (value,) = authorization
    if value[: len(_SCHEME)].lower() != _SCHEME:
        raise no_caller()
    return value[len(_SCHEME) :].strip()


def no_caller() -> Refused:
    """Nobody is known to ask."""
    return Refused(
        "no-caller",
        "Nobody is known to ask: there is no token.",
        hint="Send `Authorization: Bearer TOKEN`, or ask over the unix socket.",
    )


def _wait(seconds: float) -> None:
    if seconds > 0:
        raise too_many()
