"""What a recheck found in a stretch of the log, and how two stretches in a row are put together.

A row that could not be judged is told in ranges of one reason. Rows of one range lie side by side,
but for those of one erasure: all that it erased is one range, whatever lies between. Which rows
join follows from the last range alone, so stretches that are put together in order tell exactly
what one walk over all of them tells.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec


class Rechecked(msgspec.Struct):
    """Accesses that were decided again, and what came of it."""

    checked: int = 0
    wrong: list[dict[str, Any]] = msgspec.field(default_factory=list)
    unreadable: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Ranges `{"from", "to", "why"}`, by rising position."""

    def miss(self, first: int, last: int, why: str, *, erased: bool = False) -> None:
        """Note rows that cannot be judged, behind all noted before."""
        before = self.unreadable[-1] if self.unreadable else None
        if before is not None and before["why"] == why and (erased or before["to"] == first - 1):
            before["to"] = last
        else:
            self.unreadable.append({"from": first, "to": last, "why": why})

    def take(self, next_one: Rechecked, erasures: Collection[str]) -> None:
        """Put what the next stretch told behind this one's; `erasures` by what is said of them."""
        self.checked += next_one.checked
        self.wrong += next_one.wrong
        for one in next_one.unreadable:
            self.miss(one["from"], one["to"], one["why"], erased=one["why"] in erasures)

    def as_document(self) -> dict[str, Any]:
        """The JSON shape of `audit recheck`."""
        return {"checked": self.checked, "wrong": self.wrong, "unreadable": self.unreadable}
