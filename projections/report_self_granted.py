"""What a report tells of reads by people who gave themselves what they read with.

Grants are followed from the beginning of the log, because one counts for as long as it stands;
counted are reads of the time that is asked about. Of several grants that a read was made with the
oldest is told, as `audit access --self-granted` does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from ledger.aggregates.access import AccessGranted
from ledger.aggregates.recorded import Recorded
from projections.documents import time_text
from projections.report import Section
from projections.report_access import LISTED
from projections.self_granted import Grant, Grants


class _Reads(msgspec.Struct):
    """Reads of one person with one grant of their own."""

    grant: Grant
    granted_at: int
    application: str
    times: int = 0
    last: int = 0


class SelfGranted(Section):
    """Reads with roles and rights that the reader had given, by grant."""

    name: ClassVar[str] = "self_granted"
    title: ClassVar[str] = "Granted by the reader"

    def __init__(self) -> None:
        self._grants = Grants()
        self._granted_at: dict[int, int] = {}
        """Of each grant that may yet be told, by its position."""
        self._reads: dict[tuple[int, str, str], _Reads] = {}

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Follow grants, whenever they were made; count a read that one of them served."""
        record = recorded.event
        if isinstance(record, AccessGranted):
            grant = self._grants.serving(recorded, record) if asked else None
            if grant is not None:
                self._count(recorded, record, grant)
        elif recorded.topic.startswith(("application.", "role.")):
            known = len(self._grants.found)
            self._grants.see(recorded)
            if len(self._grants.found) > known:
                self._granted_at[recorded.position] = recorded.recorded_at

    def told(self) -> dict[str, Any]:
        """The grants that served the newest reads, and how many more there are."""
        order = sorted(self._reads.values(), key=lambda one: (-one.last, one.grant.position))
        return {
            "rows": [
                {
                    "name": one.grant.author,
                    "application": one.application,
                    "role": one.grant.held.role,
                    "claim": one.grant.held.claim,
                    "granted_at": time_text(one.granted_at),
                    "position": one.grant.position,
                    "times": one.times,
                    "last_at": time_text(one.last),
                }
                for one in order[:LISTED]
            ],
            "more": len(order[LISTED:]),
        }

    def _count(self, recorded: Recorded, record: AccessGranted, grant: Grant) -> None:
        place = grant.position, grant.held.claim, record.application
        reads = self._reads.get(place)
        if reads is None:
            at = self._granted_at[grant.position]
            reads = self._reads[place] = _Reads(grant, at, record.application)
        reads.times += 1
        reads.last = recorded.recorded_at
