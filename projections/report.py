"""A report of the whole log up to a moment: one walk, seen by as many sections as there are.

Every section is a fold of its own. It sees each event, told whether that lies in the time asked
about, because what stands at the end (which value is current, which key backup still stands) rests
on everything before it; and it is told of each row that does not open. What a section keeps grows
with the state of the ledger, the values that were read and the number of names in it, never with
the number of reads.

A section knows nothing of the others, so one more is one more class and one more template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.codec.mapper import EventMapper
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.export import readable
from projections.streams import Walk
from projections.view import Progress


class Section:
    """A part of the report; by itself it looks at nothing."""

    name: ClassVar[str] = ""
    """Names its template, too."""
    title: ClassVar[str] = ""

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """One event; `asked` if it lies in the time asked about."""

    def pass_over(self, row: LogRow, *, asked: bool) -> None:
        """A row that was erased or whose key is not held."""

    def told(self) -> dict[str, Any]:
        """What its template shows."""
        return {}


def fold_report(
    store: Store,
    mapper: EventMapper,
    sections: Iterable[Section],
    *,
    last: int,
    since: int | None = None,
    until: int | None = None,
    retention: Retention = KEEPS_ALL,
    progress: Progress | None = None,
) -> int:
    """Show the log up to the position `last` to all sections; how many rows that were.

    `since` and `until` are microseconds UTC, both included. Tampered with everything that following
    the log finds.
    """
    seeing = tuple(sections)
    walk = Walk(store, mapper, until=until, until_position=last, progress=progress)
    rows = 0
    for checked in walk.rows():
        rows += 1
        asked = since is None or checked.row.recorded_at >= since
        recorded, _ = readable(checked, retention)
        for section in seeing:
            if recorded is None:
                section.pass_over(checked.row, asked=asked)
            else:
                section.see(recorded, asked=asked)
    return rows
