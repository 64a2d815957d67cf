"""Proofs of the store's log for somebody else to keep; no key is needed, nothing is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import Tampered
from ledger.log.proof_document import Proof
from ledger.log.proving import Prover
from projections.tiles import StoredTiles
from tools.settings import Settings
from tools.showing.show import progress
from tools.stores import existing_store, required_ledger


def prove_row(settings: Settings, position: int, size: int | None, pinned: bytes | None) -> Proof:
    """That the row at this position is in the log of a signed size, the newest unless told."""
    with _prover(settings, pinned) as prover:
        return prover.inclusion(position, size)


def prove_growth(settings: Settings, first: int, second: int | None, pinned: bytes | None) -> Proof:
    """That the log of the second signed size, the newest unless told, begins with the first."""
    with _prover(settings, pinned) as prover:
        return prover.consistency(first, second)


@contextmanager
def _prover(settings: Settings, pinned: bytes | None) -> Iterator[Prover]:
    store = existing_store(settings)
    try:
        ledger = required_ledger(store)
        if pinned not in {None, ledger.id}:
            raise Tampered("altered-ledger", "The store is not that of the pinned ledger.")
        with progress("Proving") as show:
            yield Prover(store, ledger, StoredTiles(store), show)
    finally:
        store.close()
