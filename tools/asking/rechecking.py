"""Deciding every access again by several processes (`projections.redeciding`).

Stretches are handed out in order to whoever is free. Where a worker dies or finds something amiss,
all of them end, and one process decides everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, NamedTuple

from ledger.aggregates.retention import Retention
from ledger.codec.mapper import EventMapper
from ledger.log.checked_store import CheckedStore, KnownSize
from ledger.sealing.keys import KeySet
from projections.redeciding import STRETCH_ROWS, Decided, Decider, Joining, borders_of
from projections.streams import know_newest
from projections.stretch import WHOLE, Bounds, Stretch, bounds_of
from tools.processes.workers import READY, Worker, taken_over, workers
from tools.settings import Settings
from tools.stores import store_of

if TYPE_CHECKING:
    from projections.rechecked import Rechecked
    from tools.showing.show import Progress
    from tools.wiring import Session


class Work(NamedTuple):
    """What a worker is told besides keys, for all its stretches."""

    settings: Settings
    ledger_id: bytes
    retention: Retention
    borders: tuple[int, ...]
    newest_epoch: int
    bounds: Bounds
    """Of what is asked about."""
    known: int
    """So many rows of the log were checked before."""


def redecide_together(
    session: Session, jobs: int, progress: Progress, stretch: Stretch = WHOLE
) -> Rechecked | None:
    """What so many processes found; None where one process is to decide everything."""
    know_newest(session.store, session.mapper)
    with session.store.reading() as reading:
        bounds = bounds_of(reading, stretch)
        borders = borders_of(reading, STRETCH_ROWS, bounds.last)
        newest = reading.row_at(reading.last_position())
    if len(borders) < 2 or newest is None or not newest.is_sound:
        return None
    retention = session.ledger.retention.state()
    epoch = newest.following_epoch
    ledger_id = session.mapper.ledger_id
    known = session.ledger.reach()
    work = Work(session.settings, ledger_id, retention, tuple(borders), epoch, bounds, known)
    joining = Joining(borders, retention)
    with workers(min(jobs, len(borders)), decide_handed, work) as started:
        for decided in _decided(started, session.mapper, len(borders)):
            if decided is None or not joining.take(decided):
                return None
            progress(min(joining.size, bounds.last), bounds.last)
    return joining.found()


def _decided(
    started: list[Worker], mapper: EventMapper, stretches: int
) -> Iterator[Decided | None]:
    """What comes of the stretches, handed out in order to whoever is free; None if one is lost."""
    numbers = iter(range(stretches))
    busy = {worker.connection: worker for worker in started}
    while busy:
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            try:
                answer = connection.recv()
                if answer == READY:
                    connection.send_bytes(mapper.handed_over())
                number = next(numbers, None)
                connection.send(number)  # None where there are no more
            except (EOFError, OSError):
                yield None
                return
            if number is None:
                del busy[connection]
            if answer != READY:
                yield answer


def decide_handed(connection: Connection, work: Work) -> None:
    """Take the keys, then decide each stretch that is handed out, until there are no more."""
    keys = KeySet.taken_over(taken_over(connection))
    mapper = EventMapper(work.ledger_id, keys, os.urandom)
    store = CheckedStore(store_of(work.settings), KnownSize(work.known))
    try:
        asked = work.retention, work.borders, work.newest_epoch, work.bounds
        decider = Decider(store, mapper, *asked)
        for number in iter(connection.recv, None):
            connection.send(decider.decide(number))
    finally:
        store.close()
