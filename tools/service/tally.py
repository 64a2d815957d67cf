"""How often each of a few things happened, in plain numbers.

Counted by the event loop alone and read by anybody, for whom a number that is one behind will do.
"""

from __future__ import annotations

from collections.abc import Iterable


class Tally:
    """Counts by kind; kinds that are known from the beginning are told of as 0."""

    def __init__(self, kinds: Iterable[str] = ()) -> None:
        self._counts = dict.fromkeys(kinds, 0)

    def count(self, kind: str, times: int = 1) -> None:
        """So many more; from the event loop only."""
        self._counts[kind] = self._counts.get(kind, 0) + times

    def told(self) -> dict[str, int]:
        """All of them so far."""
        return self._counts.copy()
