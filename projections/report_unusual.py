"""What a report tells of unusual reads: how many broke which rule, and whose they were.

Every read since the beginning of the log is judged, because only so a first time is one; counted
are those of the time that is asked about. What came after its end is not looked at. A read that
cannot be opened any more is not judged, so what it gave counts as given for the first time later.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import msgspec

from ledger.aggregates.access import AccessGranted
from ledger.aggregates.recorded import Recorded
from projections.digests import compared
from projections.documents import time_text
from projections.report import Section
from projections.report_access import LISTED
from projections.unusual import RULES, Read, Rules, Watch


class _Person(msgspec.Struct):
    """Reads of one person that broke a rule."""

    name: str
    rules: Counter[str] = msgspec.field(default_factory=Counter)
    last: int = 0


class Unusual(Section):
    """Reads that broke a rule, by who made them."""

    name: ClassVar[str] = "unusual"
    title: ClassVar[str] = "Unusual reads"

    def __init__(self) -> None:
        self._rules = Rules()
        self._watch = Watch(self._rules)
        self._begin: int | None = None
        """The position of the first read of the time that is asked about."""
        self._people: dict[str, _Person] = {}

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Judge a read; whenever it was."""
        record = recorded.event
        if not isinstance(record, AccessGranted):
            return
        if asked and self._begin is None:
            self._begin = recorded.position
        place = compared(record.application), record.owner or ""
        read = Read(
            recorded.position,
            recorded.recorded_at,
            record.caller.encode(),
            *(one.encode() for one in place),
        )
        for position, rule in self._watch.see(read):
            if self._begin is not None and position >= self._begin:
                person = self._people.setdefault(record.caller, _Person(record.caller))
                person.rules[rule] += 1
                person.last = recorded.recorded_at

    def told(self) -> dict[str, Any]:
        """The rules with how many reads broke each, and the people who broke most."""
        order = sorted(self._people.values(), key=lambda one: (-one.rules.total(), one.name))
        stated = self._rules.stated()
        return {
            "rules": [
                (rule, stated[rule], sum(one.rules[rule] for one in order)) for rule in RULES
            ],
            "rows": [
                {
                    "name": one.name,
                    "broken": [one.rules[rule] for rule in RULES],
                    "last_at": time_text(one.last),
                }
                for one in order[:LISTED]
            ],
            "more": len(order[LISTED:]),
        }
