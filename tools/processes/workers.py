"""Processes of ours that open rows, and how they come by the keys.

    parent   unlocks ── starts ─────────── keys ── work ── work ...            ends them
    worker               │ shuts itself off ▲  │ ▲   │                            │
                         └── "ready" ───────┘  └─┘ ... ─┘ what came of it         ▼

A worker is an interpreter of its own: nothing that is open here is in it, neither a connection nor
a thread. It needs keys, and has nobody to ask for a passphrase. So it first sees to it that its
memory is nobody else's (`tools.processes.hardening`) and says that it is ready, and only then keys
come through the pair of sockets that the two have: those of `state` and `access`, never of
`secret`, so no worker can open a value. Neither arguments, nor environment, nor a file tells any.

None outlives its work. It ends when this process ends it, or when the other end of its pair is
gone, after the work at hand; Ctrl-C is this process's alone. One that dies, cannot shut itself off
or finds something amiss is no fault: this process does its work by itself, and the errors that it
meets then are the errors.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.resource_tracker import ensure_running
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.processes.garbage import collect_seldom
from tools.processes.hardening import harden

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

READY = b"ready"
Act = Callable[[Connection, Any], None]
"""What a worker does with its life; it is told by its name, so it is a function of a module."""
_ENDING_S = 10.0


class Worker(NamedTuple):
    """One process, and this end of the pair."""

    process: SpawnProcess
    connection: Connection


@contextmanager
def workers(count: int, act: Act, work: object) -> Iterator[list[Worker]]:
    """So many processes, which are gone at the end, whatever happens."""
    started: list[Worker] = []
    try:
        with _ctrl_c_is_ours():
            started.extend(start(act, work) for _ in range(count))
        yield started
    finally:
        for worker in started:
            worker.connection.close()
            worker.process.terminate()
        for worker in started:
            worker.process.join(_ENDING_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def start(act: Act, work: object) -> Worker:
    """One process, which somebody has to end."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, act, work), daemon=True)
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


def serve(connection: Connection, act: Act, work: object) -> None:
    """A worker's life."""
    # Whatever goes wrong, the process that started this one meets it again, and tells it.
    with suppress(Exception):
        harden()
        collect_seldom()
        act(connection, work)


def taken_over(connection: Connection) -> bytes:
    """Say, in a worker that is shut off, that it is ready; the keys that it is handed."""
    connection.send(READY)
    return connection.recv_bytes()
