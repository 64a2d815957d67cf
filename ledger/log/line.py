"""The line of requests that wait for the writer, and how many of them go together.

Callers who were answered together mostly come back together, a moment later. A writer that went
off with the first of them would leave the others to the next commit, and pay for every commit
twice. So it waits for as many as were answered last time, but no longer than `GATHER_S` after
the first; a caller who is alone never waits.

There are three kinds of answers: a `Reply` for a thread that waits, a future of
`concurrent.futures`, and an `Awaited` for a coroutine. Waking an event loop for each of its
callers would cost more than their requests, so all answers of a commit go there together.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
import weakref
from collections import deque
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


class Mailbox:
    """Answers on their way to one event loop, which is woken once for all that lie here."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answers: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()

    def put(self, future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        """Send an answer; for the writer's thread."""
        self._answers.append((future, value, error))
        # Looked at after appending: if more lie here, the loop has yet to find the last one.
        if len(self._answers) == 1:
            with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while self._answers:
            future, value, error = self._answers.popleft()
            if future.done():
                continue  # the caller gave up
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


class Awaited(Generic[T]):
    """What a coroutine waits for."""

    def __init__(self, mailbox: Mailbox, future: asyncio.Future[T]) -> None:
        self.future = future
        """Of the caller's own loop."""
        self._mailbox = mailbox
        self._sent = False

    def set_running_or_notify_cancel(self) -> bool:
        """Whether the caller still waits; if he gives up later, the answer is lost to him only."""
        return not self.future.cancelled()

    def set_result(self, value: T) -> None:
        """Answer."""
        self._sent = True
        self._mailbox.put(self.future, value, None)

    def set_exception(self, error: BaseException) -> None:
        """Fail."""
        self._sent = True
        self._mailbox.put(self.future, None, error)

    def done(self) -> bool:
        """Whether it was answered, or has failed."""
        return self._sent


class Line:
    """First come, first served."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = (
            weakref.WeakKeyDictionary()
        )
        self._guard = threading.Lock()

    def awaited(self) -> Awaited[Any]:
        """An answer for the coroutine that runs."""
        loop = asyncio.get_running_loop()
        mailbox = self._mailboxes.get(loop)
        if mailbox is None:
            with self._guard:
                mailbox = self._mailboxes.setdefault(loop, Mailbox(loop))
        return Awaited(mailbox, loop.create_future())

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
