"""Answers for coroutines: all those of a commit cross to their event loop together.

Waking a loop costs more than a request, so the writer's thread lays the answers of one commit into
the loop's mailbox and wakes it after the last; the loop empties the mailbox in its own thread.

    writer ── put ──▶ mailbox ── deliver, in the loop's thread ──▶ futures

This module is imported by whoever awaits first: commands never do, and `asyncio` takes a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Mailbox:
    """Answers on their way to one event loop, which is woken once for all that lie here."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weak, or the loop would live as long as the mailbox that is kept for it.
        self._loop = weakref.ref(loop)
        self._answers: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._guard = threading.Lock()
        self._collecting = False

    def put(self, future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        """Send an answer, from any thread."""
        with self._guard:
            self._answers.append((future, value, error))
            # Looked at after appending: if more lie here, the loop has yet to find the last one.
            if len(self._answers) == 1 and not self._collecting:
                self._wake()

    def collect(self) -> None:
        """Wake nobody for what is put from now on, until `wake`."""
        with self._guard:
            self._collecting = True

    def wake(self) -> None:
        """Wake the loop if anything lies here."""
        with self._guard:
            self._collecting = False
            if self._answers:
                self._wake()

    def is_of(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it leads to this loop."""
        return self._loop() is loop

    def _wake(self) -> None:
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._deliver)
                return
        except RuntimeError:
            pass
        self._answers.clear()  # the loop is closed or gone: nobody waits any more

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
        if isinstance(error, StopIteration):
            # No future takes one: it would end the coroutine as if it had returned.
            error = RuntimeError(f"a request raised {type(error).__name__}")
        self._mailbox.put(self.future, None, error)

    def done(self) -> bool:
        """Whether it was answered, or has failed."""
        return self._sent


class Mailboxes:
    """The mailboxes of the loops that ask one writer."""

    def __init__(self) -> None:
        self._of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = (
            weakref.WeakKeyDictionary()
        )
        self._newest: Mailbox | None = None
        self._guard = threading.Lock()

    def awaited(self) -> Awaited[Any]:
        """An answer for the coroutine that runs."""
        loop = asyncio.get_running_loop()
        mailbox = self._newest  # of the one loop that there mostly is
        if mailbox is None or not mailbox.is_of(loop):
            with self._guard:
                mailbox = self._of.get(loop)
                if mailbox is None:
                    mailbox = self._of[loop] = Mailbox(loop)
            self._newest = mailbox
        return Awaited(mailbox, loop.create_future())

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Each loop is woken once for all that is answered meanwhile."""
        with self._guard:
            mailboxes = list(self._of.values())
        for mailbox in mailboxes:
            mailbox.collect()
        try:
            yield
        finally:
            for mailbox in mailboxes:
                mailbox.wake()
