"""How fast a log is checked without a key, by one process and by two.

What is measured is the check itself, with the start of the processes that it shares its work with,
and not the start of the command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from ledger.log.stretches import STRETCH_ROWS
from ledger.log.verification import verify_log
from tools.bench.figures import Fact
from tools.bench.grown import Grown
from tools.bench.sharing import Sharing
from tools.stores import store_of

_SHARING = Sharing("rows checked without a key", 300_000.0, 0.625)
"""Two processes are to be 1.6 times as fast as one."""
CHECKED = _SHARING.by_one


def verification_facts(grown: Grown) -> Iterator[Fact]:
    """Rows a second by one and by two, and what part of the one's time the two take.

    A log that is checked by one process whatever is asked for has the first figure only.
    """
    is_shared = grown.size >= 2 * STRETCH_ROWS
    return _SHARING.facts(grown, partial(_rate, grown), is_shared=is_shared)


def _rate(grown: Grown, jobs: int) -> float:
    reopen = partial(store_of, grown.settings)
    store = reopen()
    started = time.perf_counter()
    try:
        found = verify_log(store, jobs=jobs, reopen=reopen)
    finally:
        store.close()
    assert found.ok
    return found.size / (time.perf_counter() - started)
