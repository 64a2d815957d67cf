"""How fast a log is checked without a key, by one process and by two.

What is measured is the check itself, with the start of the processes that it shares its work with,
and not the start of the command. It runs in a process that has done nothing before, as the command
does: in one that has grown a log it takes an eighth longer, for what it holds lies scattered.

A log of commits that are as long as they may be shows what rows cost; one of `SIGNED_ROWS` rows a
commit what they cost with the signatures of a ledger in use.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from ledger.log.stretches import SHARED_ROWS
from ledger.log.verification import verify_log
from tools.bench.figures import Fact
from tools.bench.grown import GROWING_ROWS, Grown
from tools.bench.places import Place
from tools.bench.sharing import Sharing
from tools.processes.garbage import collect_seldom
from tools.settings import Settings
from tools.showing.show import Progress
from tools.stores import store_of

SIGNED_ROWS = 128
"""Rows a commit, for which the aim is meant."""


def sharing(rows_a_commit: int) -> Sharing:
    """What is shared: two processes are to be 1.6 times as fast as one."""
    told = "" if rows_a_commit == GROWING_ROWS else f", {rows_a_commit:,} rows a commit"
    return Sharing(f"rows checked without a key{told}", 300_000.0, 0.625)


CHECKED = sharing(GROWING_ROWS).by_one


def verification_facts(grown: Grown) -> Iterator[Fact]:
    """Rows a second by one and by two, and what part of the one's time the two take.

    A log that is checked by one process whatever is asked for has the first figure only.
    """
    is_shared = grown.size >= SHARED_ROWS
    return sharing(grown.rows_a_commit).facts(grown, partial(_rate, grown), is_shared=is_shared)


def signed_facts(place: Place, events: int, progress: Progress) -> Iterator[Fact]:
    """The same of a log of its own, with a signature in so many rows as the aim is meant for."""
    with Grown(place, SIGNED_ROWS) as grown:
        grown.grow(events, progress)
        yield from verification_facts(grown)


def _rate(grown: Grown, jobs: int) -> float:
    anew = get_context("spawn")
    with ProcessPoolExecutor(1, anew, collect_seldom) as command:
        return command.submit(checked_rate, grown.settings, jobs).result()


def checked_rate(settings: Settings, jobs: int) -> float:
    """Rows a second of one check, by a process that does nothing else."""
    reopen = partial(store_of, settings)
    store = reopen()
    started = time.perf_counter()
    try:
        found = verify_log(store, jobs=jobs, reopen=reopen)
    finally:
        store.close()
    assert found.ok
    return found.size / (time.perf_counter() - started)
