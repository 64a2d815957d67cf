"""Fetches: what waits for somebody else's server is done beside whoever asks, and by few.

    begin ─▶ line ─▶ one of `AT_ONCE_MAX` threads ─▶ answered

A server that is slow holds a thread of these, which nothing else is done by, for as long as a
fetch may take; who waits for it need hold none. A thread is there while there is something to
fetch. The process does not wait for it at its end, which is why the standard library's pool, whose
threads are waited for, is none for this.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

_Fetch = tuple[Callable[[], None], "Future[None]"]
"""What is to be done, and where whoever asked hears of it."""

AT_ONCE_MAX = 8


class Fetches:
    """Does a few at once, and the others in their order; any number of threads may ask."""

    def __init__(self, at_once_max: int = AT_ONCE_MAX) -> None:
        self._at_once_max = at_once_max
        self._guard = threading.Lock()
        self._line: deque[_Fetch] = deque()
        self._threads = 0

    def begin(self, work: Callable[[], None]) -> Future[None]:
        """Have it done; the answer is set once it is, with whatever it raised.

        The answer cannot be cancelled, for others may wait for it too.
        """
        one = work, Future[None]()
        one[1].set_running_or_notify_cancel()
        with self._guard:
            self._line.append(one)
            if self._threads == self._at_once_max:
                return one[1]
            self._threads += 1
        thread = threading.Thread(target=self._work, name="credledger-fetch", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread for it
            for _, answered in self._left_behind(one):
                answered.set_exception(error)
        return one[1]

    def _left_behind(self, one: _Fetch) -> list[_Fetch]:
        """What nobody will do where no thread came for this one: all of it, if there is no other.

        Whoever came meanwhile may have counted on that thread.
        """
        with self._guard:
            self._threads -= 1
            left = [each for each in self._line if each is one or not self._threads]
            for each in left:
                self._line.remove(each)
            return left

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._line:
                    self._threads -= 1
                    return
                work, answered = self._line.popleft()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 # whoever waits is to hear of it
                answered.set_exception(error)
            else:
                answered.set_result(None)
