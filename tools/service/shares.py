"""Shares: how much one caller or one address may ask in a second, and in one burst.

The generic cell rate algorithm (ITU-T I.371): of each name only the moment is kept at which its
share would be whole again. One that is whole is forgotten, and where too many are kept, nobody who
is not known yet is let in until some are; so nobody can fill the memory with names.
"""

from __future__ import annotations

from collections.abc import Callable

NAMES_MAX = 100_000
_ROUNDING_S = 1e-9
"""What rounding leaves over is no wait."""


class Shares:
    """The shares of all names of one kind; used in one thread."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float], names_max: int = NAMES_MAX
    ) -> None:
        """`rate` requests a second, and `burst` at once; the clock counts seconds."""
        self._step = 1 / rate
        self._leeway = burst / rate
        self._clock = clock
        self._names_max = names_max
        self._whole_at: dict[str, float] = {}

    def left(self, name: str) -> int:
        """How many requests this name may take now; nothing is taken of its share."""
        now = self._clock()
        known = self._whole_at.get(name)
        if known is None and self._is_full(now):
            return 0
        used = 0.0 if known is None else max(known - now, 0.0)
        return max(int((self._leeway - used + _ROUNDING_S) / self._step), 0)

    def take(self, name: str) -> None:
        """Take one request of a share of which `left` left one."""
        now = self._clock()
        self._whole_at[name] = max(self._whole_at.get(name, now), now) + self._step

    def wait_s(self, name: str) -> float:
        """How long this name must wait; 0 takes one request of its share."""
        now = self._clock()
        known = self._whole_at.get(name)
        next_whole = (now if known is None or known < now else known) + self._step
        wait = next_whole - now - self._leeway
        if wait > _ROUNDING_S:
            return wait
        if known is None and self._is_full(now):
            return self._leeway
        self._whole_at[name] = next_whole
        return 0.0

    def _is_full(self, now: float) -> bool:
        """Whether too many names are kept for another one, even without those that are whole."""
        if len(self._whole_at) >= self._names_max:
            self._whole_at = {name: at for name, at in self._whole_at.items() if at > now}
        return len(self._whole_at) >= self._names_max
