"""The metrics' own door, on an address of its own: one page of text for Prometheus.

Its server is set up like the others, so connections, heads and their time are bounded as theirs
are, and each address has a share of requests. A page is made in a thread, for it asks the store how
far the log goes: in a new one, so that it comes to the store as somebody new does, and is not
answered through a file that was opened long ago and has no name any more. Few are made at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ledger.errors import LedgerError
from tools.processes.unforeseen import unforeseen
from tools.service.callers import Callers
from tools.service.media_types import bounded
from tools.service.pages import METRICS
from tools.service.peers import NOBODY, Peer
from tools.service.protocol import ANSWER, PEER
from tools.service.replies import (
    TO_LOOK,
    Answered,
    Receive,
    Scope,
    Send,
    failed,
    no_such_path,
    require_method,
    send_answer,
    too_busy,
)

PAGES_AT_ONCE = 4


class Exposition:
    """The application that the metrics' server calls."""

    def __init__(self, registry: CollectorRegistry, callers: Callers) -> None:
        """`callers` keeps the shares of this address alone."""
        self._registry = registry
        self._callers = callers
        self._in_hand = 0

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer one request."""
        scope["state"].pop(ANSWER, None)  # it holds what holds it
        self._in_hand += 1
        try:
            answered = await self._answer(scope)
        except LedgerError as error:
            answered = failed(error, TO_LOOK)
        except Exception as error:  # noqa: BLE001 # its text may hold anything
            answered = failed(unforeseen(error), TO_LOOK)
        finally:
            self._in_hand -= 1
        await send_answer(answered, send)

    async def _answer(self, scope: Scope) -> Answered:
        if self._in_hand > PAGES_AT_ONCE:
            raise too_busy()
        peer: Peer = scope["state"].get(PEER, NOBODY)
        self._callers.let_in(peer)
        if scope["path"] != METRICS:
            raise no_such_path()
        require_method(scope["method"], TO_LOOK)
        accepted = bounded("Accept", dict(scope["headers"]).get(b"accept", b"")).decode("latin-1")
        encoder, media_type = _encoder_for(accepted)
        thread = ThreadPoolExecutor(1, thread_name_prefix="credledger-metrics")
        try:
            loop = asyncio.get_running_loop()
            page = await loop.run_in_executor(thread, encoder, self._registry)
        finally:
            thread.shutdown(wait=False)
        return Answered(200, media_type.encode(), page)


def _encoder_for(accepted: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """Who writes the form that is wanted; for a version of it that is no number, the plain one."""
    try:
        return choose_encoder(accepted)
    except TypeError:  # the library compares what it could not read
        return choose_encoder("")
