"""How long to wait before a process that ended is started again: longer each time it lived shortly.

    ends ─▶ 1 s ─▶ ends again ─▶ 2 s ─▶ 4 s ─▶ ... ─▶ 60 s, again and again
                     lived a minute, and ends ─▶ 1 s

So one that ended by chance is missed for a second, and one that cannot live takes neither a core
nor the log.
"""

from __future__ import annotations

from collections.abc import Callable

PAUSE_S = 1.0
PAUSE_S_MAX = 60.0
LIVED_S = 60.0
"""Whatever lived so long is taken to be able to."""


class Restarts:
    """Those of one process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """The clock counts seconds, and never back."""
        self._clock = clock
        self._next_s = PAUSE_S
        self._began: float | None = None

    def began(self) -> None:
        """It lives from now on."""
        self._began = self._clock()

    def pause_s(self) -> float:
        """How long to wait now that it ended, or did not begin."""
        began, self._began = self._began, None
        if began is not None and self._clock() - began >= LIVED_S:
            self._next_s = PAUSE_S
        pause = self._next_s
        self._next_s = min(2 * pause, PAUSE_S_MAX)
        return pause
