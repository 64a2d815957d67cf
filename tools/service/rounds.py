"""Rounds: what a service does again and again by itself, for as long as it runs.

Nobody waits for it, so nobody would miss it: a round that fails is no reason for there to be no
more of them. What the ledger says is wrong, whoever asks it hears of himself; what nobody foresaw
is told to the running loop, as what a callback of it raises is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ledger.errors import LedgerError


async def rounds(pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do this, so long after the last time, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(pause_s)
        try:
            await work()
        except LedgerError:
            continue
        except Exception as error:  # noqa: BLE001 # the next round may do
            loop.call_exception_handler({"message": "A round failed.", "exception": error})
