"""How fast long work may go beside those who append.

It holds the lock for a page at a time. The first two are small, for only then can it know whether
somebody else appends; as long as nobody does, each is twice as large as the one before. As soon as
somebody does, a page is as large as can be worked off in `BUSY_HELD_S`, for that is how much longer
others have to wait, and after each the work stays away for as long as it held the lock, at least
`ASIDE_MIN_S`: whoever waits comes next, and half of the time is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CALM_ROWS = 4000
BUSY_ROWS = 50
BUSY_ROWS_MIN = 20
"""Below that, what every commit costs would be most of the work."""
BUSY_HELD_S = 0.003
ASIDE_MIN_S = 0.001


class Pace:
    """The pace of one long work, such as a rebuild."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._last: int | None = None
        self._began = 0.0
        self.rows = BUSY_ROWS
        """So many rows the next page has."""

    @property
    def is_calm(self) -> bool:
        """Whether nobody else has appended for some pages."""
        return self.rows > BUSY_ROWS

    def take_lock(self) -> None:
        """The lock is held from now on."""
        self._began = self._clock()

    def may_end(self, rest: int) -> bool:
        """Whether so few events are left that they are taken in before the lock is let go."""
        return rest <= BUSY_ROWS

    def let_go(self, last: int) -> None:
        """The lock is free; let others go first if the log grew to `last` since the page before.

        What the work itself appends is not to be counted in `last`.
        """
        held_s = self._clock() - self._began
        before, self._last = self._last, last
        if before is None:
            return
        if last > before:
            self.rows = _rows_in_time(self.rows, held_s)
            self._sleep(max(ASIDE_MIN_S, held_s))
        else:
            self.rows = min(2 * self.rows, CALM_ROWS)


def _rows_in_time(rows: int, held_s: float) -> int:
    """How many are worked off in `BUSY_HELD_S` where so many took so long."""
    fitting = int(rows * BUSY_HELD_S / held_s) if held_s else BUSY_ROWS
    return min(BUSY_ROWS, max(BUSY_ROWS_MIN, fitting))
