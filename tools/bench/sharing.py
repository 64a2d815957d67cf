"""The same work by one process and by two, and what part of the one's time the two take.

In turn, several times over, because two processes on a busy machine are a matter of luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

import msgspec

from tools.bench.figures import Fact
from tools.bench.grown import Grown

_ROUNDS = 3


class Sharing(msgspec.Struct, frozen=True):
    """Work that two processes can share."""

    what: str
    rate_min: float
    """The aim of one process, a second."""
    time_max: float | None = None
    """The aim of two processes' time by that of one."""

    @property
    def by_one(self) -> str:
        """The name of one process's figure."""
        return f"{self.what}, one process"

    def facts(
        self, grown: Grown, rate: Callable[[int], float], *, is_shared: bool
    ) -> Iterator[Fact]:
        """The figures of one and of two; of one alone where the log is too short to be shared.

        `rate` does all of the work with so many processes, and tells how much a second.
        """
        engine, size = grown.place.name, grown.size
        jobs = (1, 2) if is_shared else (1,)
        rates: dict[int, list[float]] = {one: [] for one in jobs}
        for _ in range(_ROUNDS):
            for one in jobs:
                rates[one].append(rate(one))
        alone = median(rates[1])
        yield Fact(engine, self.by_one, alone, "/s", size, self.rate_min)
        if is_shared:
            both, two = median(rates[2]), f"{self.what}, two processes"
            yield Fact(engine, two, both, "/s", size)
            yield Fact(engine, f"{two}, time by one's", alone / both, "x", size, self.time_max)
