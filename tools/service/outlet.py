"""The outlet: lines leave for a stream that may be slow, blocked or closed; nobody waits for them.

    answers ─ put, never wait ─▶ at most LINES_MAX lines ─▶ one thread ─▶ standard error

A reader that has stopped reading would otherwise stop the service with the next line. What finds
no room, or cannot be written, is dropped and counted. The thread writes past the interpreter's own
buffer, whose lock a blocked write would hold until the process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import queue
import sys
import threading
from collections.abc import Callable

LINES_MAX = 1000
END_S_MAX = 2.0
"""How long the end waits for what has not left yet."""


class Outlet:
    """Takes lines; used from any thread."""

    def __init__(self, write: Callable[[str], object], lines_max: int = LINES_MAX) -> None:
        """`write` may block, and raise an `OSError`."""
        self._write = write
        self._lines: queue.Queue[str | None] = queue.Queue(lines_max)
        self._unwritten = 0
        self._unqueued = 0
        self._thread = threading.Thread(target=self._empty, name="credledger-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that nobody will read."""
        return self._unqueued + self._unwritten

    def write(self, line: str) -> None:
        """Take a line, or drop it."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._unqueued += 1

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Let what was taken leave, but wait for it only so long."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=END_S_MAX)
            self._thread.join(END_S_MAX)

    def _empty(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except OSError:
                self._unwritten += 1


def to_descriptor(descriptor: int) -> Outlet:
    """An outlet to a file, pipe or terminal."""
    return Outlet(functools.partial(_write_all, descriptor))


def to_standard_error() -> Outlet:
    """An outlet to what the process was started with; where that is closed, all is dropped.

    Another file may have its number then, so it is not written to by number.
    """
    stream = sys.__stderr__
    return Outlet(_closed) if stream is None else to_descriptor(stream.fileno())


def _write_all(descriptor: int, line: str) -> None:
    rest = line.encode()
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _closed(line: str) -> None:
    raise OSError(errno.EBADF, line)
