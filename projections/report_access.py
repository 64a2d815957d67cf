"""What a report tells of accesses: how many and when, of what, by whom, refused, still exposed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

import msgspec

from ledger.aggregates.access import Access
from ledger.aggregates.application import ApplicationDeleted
from ledger.aggregates.mapping import (
    CredentialDeleted,
    CredentialResealed,
    CredentialRestored,
    CredentialSet,
)
from ledger.aggregates.recorded import Recorded
from ledger.log.rows import LogRow
from projections.digests import compared
from projections.documents import access_document, time_text
from projections.report import Section

OUTCOMES = ("granted", "denied", "not-set")
QUARTER_US = 900_000_000
"""Times are counted by the quarter of an hour, which every zone's days are made of."""
LISTED = 25
"""So many rows a table shows."""
_NAMES_MAX = 50_000
"""So many names are counted apart; anybody may try names that there are not."""
OTHERS = "(all others)"


class Accesses(Section):
    """How many attempts there were, with what outcome, and when."""

    name: ClassVar[str] = "accesses"
    title: ClassVar[str] = "Accesses over time"

    def __init__(self) -> None:
        self._quarters: dict[str, Counter[int]] = {outcome: Counter() for outcome in OUTCOMES}
        self._unreadable = 0

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Count an attempt."""
        if asked and isinstance(recorded.event, Access):
            self._quarters[_outcome(recorded)][recorded.recorded_at // QUARTER_US] += 1

    def pass_over(self, row: LogRow, *, asked: bool) -> None:
        """Count one that nobody can read any more."""
        self._unreadable += asked and row.topic.startswith("access.")

    def told(self) -> dict[str, Any]:
        """Totals, and for each outcome how many in which quarter of an hour since 1970."""
        return {
            "totals": {outcome: counted.total() for outcome, counted in self._quarters.items()},
            "unreadable": self._unreadable,
            "quarters": self._quarters,
        }


class _Count(msgspec.Struct):
    """Attempts under one name."""

    name: str
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    last: int = 0


class _ByName(Section, ABC):
    """Attempts counted under a name that each of them has."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Count an attempt under its name."""
        if not asked or not isinstance(recorded.event, Access):
            return
        key, name = self._named(recorded.event)
        if key not in self._counts and len(self._counts) >= _NAMES_MAX:
            key = name = OTHERS
        count = self._counts.setdefault(key, _Count(name))
        count.outcomes[_outcome(recorded)] += 1
        count.last = recorded.recorded_at

    def told(self) -> dict[str, Any]:
        """The names with most attempts, and how many more there are."""
        order = sorted(self._counts.values(), key=lambda one: (-one.outcomes.total(), one.name))
        return {
            "rows": [
                {
                    "name": one.name,
                    **{outcome: one.outcomes[outcome] for outcome in OUTCOMES},
                    "last_at": time_text(one.last),
                }
                for one in order[:LISTED]
            ],
            "more": len(order[LISTED:]),
        }

    @abstractmethod
    def _named(self, record: Access) -> tuple[str, str]:
        """What attempts are counted by, and how that is shown."""


class ByApplication(_ByName):
    """Attempts by target application."""

    name: ClassVar[str] = "by_application"
    title: ClassVar[str] = "By target application"

    def _named(self, record: Access) -> tuple[str, str]:
        return compared(record.application), record.application


class ByPerson(_ByName):
    """Attempts by who asked."""

    name: ClassVar[str] = "by_person"
    title: ClassVar[str] = "By person and service"

    def _named(self, record: Access) -> tuple[str, str]:
        return record.caller, record.caller


class Refusals(Section):
    """Attempts that were refused or found nothing: why, and the newest of them."""

    name: ClassVar[str] = "refusals"
    title: ClassVar[str] = "Refused, or nothing there"

    def __init__(self) -> None:
        self._why: Counter[str] = Counter()
        self._newest: deque[dict[str, Any]] = deque(maxlen=LISTED)

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Note an attempt that gave nothing out."""
        record = recorded.event
        if not asked or not isinstance(record, Access) or _outcome(recorded) == "granted":
            return
        self._why[record.detail] += 1
        self._newest.append(access_document(recorded, record))

    def told(self) -> dict[str, Any]:
        """Reasons with their numbers, and the newest attempts first."""
        newest = list(reversed(self._newest))
        return {
            "why": self._why.most_common(),
            "rows": newest,
            "more": self._why.total() - len(newest),
        }


Place = tuple[str, str | None]
"""An application as it is compared, and an owner."""


class _Standing(msgspec.Struct, frozen=True):
    """A value that is set."""

    application: str
    owner: str | None
    version: int
    since: int


class _Seen(msgspec.Struct):
    """Who saw one value."""

    people: AbstractSet[str] = frozenset()
    times: int = 0
    last: int = 0


class Exposure(Section):
    """Values that somebody saw and nobody has changed since, whenever they were seen.

    Somebody who was given a value by a ticket of another's saw it, and so did the other, as `audit
    exposure` has it. A version that was restored holds the values of the one that it goes back to:
    who saw these then knows what is set now. So it is kept of each value that was read who did.
    """

    name: ClassVar[str] = "exposure"
    title: ClassVar[str] = "Seen, and not changed since"

    def __init__(self) -> None:
        self._values: dict[Place, _Standing] = {}
        self._seen: dict[Place, dict[int, _Seen]] = {}
        """By the version that was set with these values."""
        self._origins: dict[tuple[Place, int], int] = {}
        """Of versions that were restored: the one that was set with their values."""
        self._crowds: dict[AbstractSet[str], AbstractSet[str]] = {}
        """Each once, for most values are read by the same few."""

    def see(self, recorded: Recorded, *, asked: bool) -> None:
        """Begin anew with a value, end with its deletion, count who sees it; whenever it was."""
        del asked
        match recorded.event:
            case Access() as record if recorded.topic == "access.granted":
                self._count(recorded, record)
            case CredentialSet() | CredentialRestored() | CredentialResealed() as happened:
                self._begin(happened)
            case CredentialDeleted() as gone:
                self._values.pop((compared(gone.application), gone.owner), None)
            case ApplicationDeleted(application=application):
                key = compared(application)
                self._values = {
                    place: one for place, one in self._values.items() if place[0] != key
                }

    def told(self) -> dict[str, Any]:
        """The values that most people saw, and how many values there are in all."""
        found = ((one, self._seen_of(place, one.version)) for place, one in self._values.items())
        seen = [(one, by) for one, by in found if by is not None]
        seen.sort(
            key=lambda both: (
                -len(both[1].people),
                both[0].application.casefold(),
                both[0].owner or "",
            )
        )
        return {
            "rows": [
                {
                    "application": one.application,
                    "owner": one.owner,
                    "version": one.version,
                    "set_at": time_text(one.since),
                    "people": len(by.people),
                    "times": by.times,
                    "last_at": time_text(by.last),
                }
                for one, by in seen[:LISTED]
            ],
            "more": len(seen[LISTED:]),
            "standing": len(self._values),
            "seen": len(seen),
        }

    def _begin(self, happened: CredentialSet | CredentialRestored | CredentialResealed) -> None:
        place = compared(happened.application), happened.owner
        version = happened.value_version
        known = self._values.get(place)
        if known is not None and known.version == version:
            return
        if isinstance(happened, CredentialRestored):
            self._origins[place, version] = self._origin(place, happened.restored_version)
        if known is not None:
            self._put_by(self._seen_of(place, known.version))
        self._values[place] = _Standing(
            happened.application, happened.owner, version, happened.set_at
        )

    def _put_by(self, seen: _Seen | None) -> None:
        if seen is not None:
            crowd = frozenset(seen.people)
            seen.people = self._crowds.setdefault(crowd, crowd)

    def _count(self, recorded: Recorded, record: Access) -> None:
        if record.value_version is None:
            return
        place = compared(record.application), record.owner
        versions = self._seen.setdefault(place, {})
        seen = versions.setdefault(self._origin(place, record.value_version), _Seen())
        people = {one for one in (record.caller, record.on_behalf_of) if one is not None}
        if not people <= seen.people:
            if not isinstance(seen.people, set):
                seen.people = set(seen.people)
            seen.people |= people
        seen.times += 1
        seen.last = recorded.recorded_at

    def _origin(self, place: Place, version: int) -> int:
        return self._origins.get((place, version), version)

    def _seen_of(self, place: Place, version: int) -> _Seen | None:
        return self._seen.get(place, {}).get(self._origin(place, version))


def _outcome(recorded: Recorded) -> str:
    return recorded.topic.removeprefix("access.")
