"""What a proof takes in a log of some length: with the tiles there, and the first one, without.

The first proof of a log makes tiles that later ones find: it is asked for row 1, whose path takes
in more than half of the log. Later ones are for rows all over it: by a new prover each, as commands
make them, which checks the signatures of the head and of its signers every time; and by one that
is kept, as a service would keep it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from ledger.log.proving import Prover
from projections.tiles import StoredTiles
from tools.bench.figures import Fact, median_ms
from tools.bench.grown import Grown
from tools.stores import existing_store, required_ledger

_PROOFS = 101
_MS_MAX = 1.0


def proof_facts(grown: Grown, size: int) -> Iterator[Fact]:
    """The first proof, and the middle one of many after it."""
    store = existing_store(grown.settings)
    try:
        ledger, tiles = required_ledger(store), StoredTiles(store)
        tiles.forget()

        def fact(name: str, ms: float, aim: float | None = None) -> Fact:
            return Fact(grown.place.name, f"inclusion proof, {name}", ms, "ms", size, aim)

        def new() -> Prover:
            return Prover(store, ledger, tiles)

        kept, places = new(), [1 + number * (size - 1) // _PROOFS for number in range(_PROOFS)]
        yield fact("the first, which makes tiles", _took_s(new, 1) * 1000)
        for position in places:
            kept.inclusion(position)
        took_ms = median_ms(partial(_took_s, new, position) for position in places)
        yield fact("tiles there, signatures checked", took_ms)
        took_ms = median_ms(partial(_took_s, lambda: kept, position) for position in places)
        yield fact("tiles there", took_ms, _MS_MAX)
    finally:
        store.close()


def _took_s(prover: Callable[[], Prover], position: int) -> float:
    started = time.perf_counter()
    prover().inclusion(position)
    return time.perf_counter() - started
