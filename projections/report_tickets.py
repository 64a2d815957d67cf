"""What a report tells of tickets: how many, what became of them, and who redeemed for how many."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import msgspec

from ledger.aggregates.recorded import Recorded
from ledger.aggregates.tickets import (
    Redemption,
    TicketIssued,
    TicketLapsed,
    TicketNotIssued,
)
from projections.documents import time_text
from projections.report import Section
from projections.report_access import LISTED, OTHERS

_NAMES_MAX = 10_000
_BECAME = ("redeemed", "expired", "refused")


class _Redeemer(msgspec.Struct):
    """What one redeemer did."""

    name: str
    became: Counter[str] = msgspec.field(default_factory=Counter)
    users: set[str] = msgspec.field(default_factory=set)
    last: int = 0


class Tickets(Section):
    """Tickets that were issued and redeemed, or not."""

    name: ClassVar[str] = "tickets"
    title: ClassVar[str] = "Read on somebody's behalf, by ticket"

    def __init__(self) -> None:
        self._issued = self._not_issued = self._lapsed = 0
        self._redeemers: dict[str, _Redeemer] = {}

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Count an issue, or an attempt to redeem."""
        event = recorded.event
        if not asked:
            return
        self._issued += isinstance(event, TicketIssued)
        self._not_issued += isinstance(event, TicketNotIssued)
        self._lapsed += isinstance(event, TicketLapsed)
        if isinstance(event, Redemption):
            self._count(recorded, event)

    def told(self) -> dict[str, Any]:
        """Totals, and the redeemers who read for most users."""
        total = Counter[str]()
        for one in self._redeemers.values():
            total.update(one.became)
        order = sorted(
            self._redeemers.values(), key=lambda one: (-one.became["redeemed"], one.name)
        )
        return {
            "issued": self._issued,
            "not_issued": self._not_issued,
            "lapsed": self._lapsed,
            **{became: total[became] for became in _BECAME},
            "rows": [
                {
                    "name": one.name,
                    **{became: one.became[became] for became in _BECAME},
                    "users": len(one.users),
                    "last_at": time_text(one.last),
                }
                for one in order[:LISTED]
            ],
            "more": len(order[LISTED:]),
        }

    def _count(self, recorded: Recorded, event: Redemption) -> None:
        name = event.caller
        if name not in self._redeemers and len(self._redeemers) >= _NAMES_MAX:
            name = OTHERS
        redeemer = self._redeemers.setdefault(name, _Redeemer(name))
        became = recorded.topic.removeprefix("ticket.")
        redeemer.became[became] += 1
        redeemer.last = recorded.recorded_at
        if became == "redeemed" and event.on_behalf_of is not None:
            redeemer.users.add(event.on_behalf_of)
