"""Waiting for an issuer's keys that are on their way: on the event loop, and not without bound.

Which issuer a token names is known before anybody knows whether it is a genuine one, so strangers
wait here as well. They hold no thread, but room: so few may wait for one issuer that they keep
nobody from waiting for another one, and fewer of one address that it does not keep all others out.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from ledger.tokens.issuer_keys import ANSWER_S_MAX, KeysAwaited
from tools.service.replies import too_busy

WAITING_MAX = 256
"""For all issuers; a quarter of what may be in hand (`tools.service.reading.IN_HAND_MAX`)."""
ISSUER_WAITING_MAX = 128
SOURCE_WAITING_MAX = 64
"""Of one address or account, whichever issuers it waits for."""


class KeyWaits:
    """Those who wait; used on the event loop alone."""

    def __init__(self) -> None:
        self._issuers: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()

    async def until(self, awaited: KeysAwaited, source: str) -> None:
        """Wait until the issuer has answered, or has not in time; `too-busy`."""
        if (
            self._issuers.total() >= WAITING_MAX
            or self._issuers[awaited.url] >= ISSUER_WAITING_MAX
            or self._sources[source] >= SOURCE_WAITING_MAX
        ):
            raise too_busy()
        self._issuers[awaited.url] += 1
        self._sources[source] += 1
        answered = asyncio.wrap_future(awaited.answered)
        try:
            await asyncio.wait((answered,), timeout=ANSWER_S_MAX)
            if answered.done():
                answered.result()
        finally:
            answered.cancel()  # what comes of it now is nobody's
            self._issuers -= Counter((awaited.url,))  # which keeps none that has none
            self._sources -= Counter((source,))
