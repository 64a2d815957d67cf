"""Deciding every access again by several processes, and what these are given to do it with.

    parent   unlocks ── starts ─────────── keys ── stretch ── stretch ...          ends them
    worker               │ shuts itself off ▲   │ ▲      │                            │
                         └── "ready" ───────┘   └─┘ ... ─┘ what was found             ▼

A worker is an interpreter of its own: nothing that is open here is in it, neither a connection nor
a thread. It needs keys, and has nobody to ask for a passphrase. So it first sees to it that its
memory is nobody else's (`tools.hardening`) and says that it is ready, and only then keys
come through the pair of sockets that the two have: those of `state` and `access`, never of
`secret`, so no worker can open a value. Neither arguments, nor environment, nor a file tells any.

None outlives its work. It ends when this process ends it, or when the other end of its pair is
gone, after the stretch at hand; Ctrl-C is this process's alone. Where a worker dies, cannot shut
itself off or finds something amiss, all of them end, and this process decides everything by itself
(`projections.redeciding`): what that finds is the answer, and its errors are the errors.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.resource_tracker import ensure_running
from typing import TYPE_CHECKING, NamedTuple

from ledger.aggregates.retention import Retention
from ledger.codec.mapper import EventMapper
from ledger.sealing.keys import KeySet
from projections.redeciding import STRETCH_ROWS, Decided, Decider, Joining, borders_of
from projections.streams import know_newest
from tools.hardening import harden
from tools.settings import Settings
from tools.stores import store_of

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from projections.rechecked import Rechecked
    from tools.show import Progress
    from tools.wiring import Session

_ENDING_S = 10.0
_GARBAGE_OBJECTS = 100_000
_READY = b"ready"


class Work(NamedTuple):
    """What a worker is told besides keys, for all its stretches."""

    settings: Settings
    ledger_id: bytes
    retention: Retention
    borders: tuple[int, ...]
    newest_epoch: int


class Worker(NamedTuple):
    """One process, and this end of the pair."""

    process: SpawnProcess
    connection: Connection


def redecide_together(session: Session, jobs: int, progress: Progress) -> Rechecked | None:
    """What so many processes found; None where one process is to decide everything."""
    know_newest(session.store, session.mapper)
    with session.store.reading() as reading:
        borders = borders_of(reading, STRETCH_ROWS)
        newest = reading.row_at(reading.last_position())
    if len(borders) < 2 or newest is None or not newest.is_sound:
        return None
    retention = session.ledger.retention.state()
    epoch = newest.following_epoch
    work = Work(session.settings, session.mapper.ledger_id, retention, tuple(borders), epoch)
    joining = Joining(borders, retention)
    with _workers(min(jobs, len(borders)), work) as workers:
        for decided in _decided(workers, session.mapper, len(borders)):
            if decided is None or not joining.take(decided):
                return None
            progress(joining.size, newest.position)
    return joining.found()


def _decided(
    workers: list[Worker], mapper: EventMapper, stretches: int
) -> Iterator[Decided | None]:
    """What comes of the stretches, handed out in order to whoever is free; None if one is lost."""
    numbers = iter(range(stretches))
    busy = {worker.connection: worker for worker in workers}
    while busy:
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            try:
                answer = connection.recv()
                if answer == _READY:
                    connection.send_bytes(mapper.handed_over())
                number = next(numbers, None)
                connection.send(number)  # None where there are no more
            except (EOFError, OSError):
                yield None
                return
            if number is None:
                del busy[connection]
            if answer != _READY:
                yield answer


@contextmanager
def _workers(count: int, work: Work) -> Iterator[list[Worker]]:
    """So many processes, which are gone at the end, whatever happens."""
    workers: list[Worker] = []
    try:
        with _ctrl_c_is_ours():
            workers.extend(_started(work) for _ in range(count))
        yield workers
    finally:
        for worker in workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join(_ENDING_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _started(work: Work) -> Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


@contextmanager
def _ctrl_c_is_ours() -> Iterator[None]:
    """What is started meanwhile is born with SIGINT held back; one that comes reaches us after."""
    ensure_running()  # it starts with the first process otherwise, and lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection, work: Work) -> None:
    """What a worker does with its life."""
    # Whatever goes wrong, the process that started this one meets it again, and tells it.
    with suppress(Exception):
        harden()
        gc.freeze()
        # What is held of a log only grows: to look through it for garbage often is in vain.
        gc.set_threshold(_GARBAGE_OBJECTS)
        decide_handed(connection, work)


def decide_handed(connection: Connection, work: Work) -> None:
    """Take the keys, then decide each stretch that is handed out, until there are no more."""
    connection.send(_READY)
    keys = KeySet.taken_over(connection.recv_bytes())
    mapper = EventMapper(work.ledger_id, keys, os.urandom)
    store = store_of(work.settings)
    try:
        decider = Decider(store, mapper, work.retention, work.borders, work.newest_epoch)
        for number in iter(connection.recv, None):
            connection.send(decider.decide(number))
    finally:
        store.close()
