"""The line of requests that wait for the writer, and how many of them go together.

Callers who were answered together mostly come back together, a moment later. A writer that went
off with the first of them would leave the others to the next commit, and pay for every commit
twice. So it waits for as many as were answered last time, but no longer than `GATHER_S` after
the first; a caller who is alone never waits.

There are three kinds of answers: a `Reply` for a thread that waits, a future of
`concurrent.futures`, and an `Awaited` for a coroutine (`ledger.log.awaiting`).
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar, cast

from ledger.log.transaction import Request

T = TypeVar("T")
Waiting = tuple[Request[Any], "Answer"]

BATCH_MAX = 512
GATHER_S = 0.001


class Answer(Protocol):
    """What the writer asks of whatever a caller waits for."""

    def set_running_or_notify_cancel(self) -> bool:
        """Whether the caller still waits; he cannot give up any more."""
        ...

    def set_result(self, value: Any, /) -> None:
        """Answer."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """Fail."""
        ...

    def done(self) -> bool:
        """Whether it was answered, or has failed."""
        ...


class Reply(Generic[T]):
    """What a caller waits for who does nothing else meanwhile; lighter than a future."""

    __slots__ = ("_done", "_error", "_value")

    def __init__(self) -> None:
        self._done = threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None
        self._value: T | None = None

    def result(self) -> T:
        """Wait for the answer, or for the error."""
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def set_result(self, value: T) -> None:
        """Answer."""
        self._value = value
        self._done.release()

    def set_exception(self, error: BaseException) -> None:
        """Fail."""
        self._error = error
        self._done.release()

    def done(self) -> bool:
        """Whether it was answered, or has failed."""
        return not self._done.locked()

    def set_running_or_notify_cancel(self) -> bool:
        """Whoever waits like this cannot give up."""
        return True


class Line:
    """First come, first served."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()

    def join(self, request: Request[Any], answer: Answer) -> None:
        """Wait for the writer."""
        self._queue.put((request, answer))

    def end(self) -> None:
        """Nobody joins after this."""
        self._queue.put(None)

    def turn_away(self, error: BaseException) -> None:
        """Fail whoever waits behind the end, which nobody serves any more."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None and item[1].set_running_or_notify_cancel():
                    item[1].set_exception(error)

    def batches(self) -> Iterator[list[Waiting]]:
        """Those who go together, until the line has ended; blocks while nobody waits."""
        came = 1
        while (first := self._queue.get()) is not None:
            batch, ended = [first], False
            until = time.monotonic() + GATHER_S
            while len(batch) < BATCH_MAX:
                patience_s = until - time.monotonic() if len(batch) < came else 0.0
                try:
                    item = (
                        self._queue.get(timeout=patience_s)
                        if patience_s > 0
                        else (self._queue.get_nowait())
                    )
                except queue.Empty:
                    break
                if item is None:
                    ended = True
                    break
                batch.append(item)
            came = len(batch)
            # A caller may have given up; once it is running he cannot any more.
            yield [one for one in batch if one[1].set_running_or_notify_cancel()]
            if ended:
                return
