"""A gate that many pass at once, and that one can shut to be alone.

Those inside are let out first; those who come while it is shut wait. A thread that shuts the gate
while it is inside itself is told so, for it would wait for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Counts who is inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}
        self._shut = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be inside; waits while the gate is shut, unless this thread is inside already."""
        thread = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._shut or thread in self._inside)
            self._inside[thread] = self._inside.get(thread, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[thread] -= 1
                if not self._inside[thread]:
                    del self._inside[thread]
                self._changed.notify_all()

    def shut(self, timeout_s: float) -> bool:
        """Let nobody in and wait until all are out; False if that does not come about."""
        with self._changed:
            self._shut = True
            if threading.get_ident() in self._inside:
                return False
            return self._changed.wait_for(lambda: not self._inside, timeout_s)

    def open(self) -> None:
        """Let all pass again."""
        with self._changed:
            self._shut = False
            self._changed.notify_all()
