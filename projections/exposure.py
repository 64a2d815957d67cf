"""What one person saw, version by version, and whether it was changed since.

The access history gives how often, first and last for each mapping, without a record being opened.
Versions of a mapping follow each other, so where the first and the last record name the same one,
all between do; else the positions at which the mapping's versions began part them. The first and
the last record of each line are opened and must say what the line says; how many lie between is
the view's own count.

A value counts as changed when the mapping's newest values are others than those that were seen: a
version that was restored holds the values of the one that it goes back to. Deleting a mapping
changes no password, so it does not count, nor does the end of an application; only that nothing is
set any more is told. Values are not compared, nor could they be.

As of a moment, neither reads nor versions that came later are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.mapping import CredentialMapping, CredentialRestored, mapping_from
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.sealing.streams import StreamNames
from projections.access_history import OUTCOME_NUMBERS
from projections.digests import Digests, compared
from projections.documents import time_text
from projections.streams import stream_events
from projections.view import Serving, astray

_GRANTED = OUTCOME_NUMBERS["access.granted"]


class Span(NamedTuple):
    """Records of one person in one mapping, as the view counts them."""

    application: bytes
    owner: bytes
    times: int
    first: int
    """Position."""
    last: int


class Person(msgspec.Struct, frozen=True):
    """Whose exposure is asked for, from some position on, and as of which."""

    claim: str
    digest: bytes
    after: int
    until: int
    """The last position that counts."""

    def spans(self, serving: Serving) -> list[Span]:
        """One for each mapping that they, or somebody on their behalf, were given."""
        return self._spans(serving, "", ())

    def within(self, serving: Serving, span: Span, after: int, until: int) -> Span | None:
        """The part of a span that lies between two positions; None where there is none."""
        conditions = " AND application = ? AND owner = ? AND position > ? AND position <= ?"
        values = (span.application, span.owner, after, until)
        found = self._spans(serving, conditions, values)
        return found[0] if found else None

    def _spans(self, serving: Serving, conditions: str, values: tuple[object, ...]) -> list[Span]:
        # Each kind is counted by itself: engines go over rows twice where they first put them
        # together. What comes of it is a line for each mapping.
        part = (
            "SELECT application, owner, count(*) AS times, min(position) AS first,"
            f" max(position) AS last FROM {serving.table} WHERE {{}}"
            f" AND outcome = {_GRANTED} AND position > ? AND position <= ?{conditions}"
            " GROUP BY application, owner"
        )
        part_values = (max(self.after, serving.floor), self.until, *values)
        found = serving.reading.connection.execute(
            "SELECT application, owner, CAST(sum(times) AS BIGINT), min(first), max(last) FROM"
            f" ({part.format('caller = ?')} UNION ALL"
            f" {part.format('on_behalf = ? AND caller <> ?')}) AS theirs"
            " GROUP BY application, owner ORDER BY application, owner",
            (self.digest, *part_values, self.digest, self.digest, *part_values),
        )
        return [Span(bytes(row[0]), bytes(row[1]), *row[2:]) for row in found]


class Versions(msgspec.Struct):
    """The versions of one mapping's values, as its stream tells them."""

    began: list[tuple[int, int]] = msgspec.field(default_factory=list)
    """Position and version of each, oldest first."""
    newest: CredentialMapping | None = None
    _origins: dict[int, int] = msgspec.field(default_factory=dict)

    def see(self, recorded: Recorded) -> None:
        """Fold one event of the stream."""
        mapping = mapping_from(recorded)
        assert mapping is not None
        self.newest = mapping
        version = mapping.value_version
        if version not in self._origins:
            self.began.append((recorded.position, version))
            before = version
            if isinstance(recorded.event, CredentialRestored):
                before = recorded.event.restored_version
            self._origins[version] = self._origins.get(before, before)

    def changed_since(self, version: int) -> bool:
        """Whether the newest values are others than those of this version."""
        _, newest = self.began[-1]
        return self._origins[newest] != self._origins.get(version, version)

    def bounds(self, span: Span) -> list[tuple[int, int]]:
        """The positions that part a span by version, each as what lies after and up to."""
        edges = [one for one, _ in self.began if span.first < one < span.last]
        return list(zip([span.first - 1, *edges], [*edges, span.last], strict=True))


class Exposure(msgspec.Struct, frozen=True):
    """Turns spans into what was seen."""

    mapper: EventMapper
    streams: StreamNames
    digests: Digests
    person: Person
    _creations: dict[bytes, int | None] = msgspec.field(default_factory=dict)

    def lines(self, serving: Serving, span: Span) -> Iterator[dict[str, Any]]:
        """What of one mapping was seen, a line for each version."""
        first, last = (self._record(serving, span, at) for at in (span.first, span.last))
        owner, application = first[1].owner, compared(first[1].application)
        versions = Versions()
        stream = self.streams.mapping(application, owner)
        for recorded in stream_events(serving.reading, self.mapper, stream):
            if recorded.position > self.person.until:
                break
            versions.see(recorded)
        if not versions.began:
            raise astray(span.first)
        is_set = self._is_set(serving, application, versions.newest)
        if first[1].value_version == last[1].value_version:
            yield _line(span.times, first, last, versions, is_set=is_set)
            return
        for after, until in versions.bounds(span):
            part = self.person.within(serving, span, after, until)
            if part is not None:
                one, other = (self._record(serving, part, at) for at in (part.first, part.last))
                if one[1].value_version != other[1].value_version:
                    raise astray(part.first)
                yield _line(part.times, one, other, versions, is_set=is_set)

    def _is_set(self, serving: Serving, application: str, newest: CredentialMapping | None) -> bool:
        """Whether there is something to read: an application that ended took what was set along."""
        if newest is None or newest.secret is None:
            return False
        stream = self.streams.application(application)
        if stream not in self._creations:
            state: Application | None = None
            for recorded in stream_events(serving.reading, self.mapper, stream):
                if recorded.position > self.person.until:
                    break
                state = fold_application(state, recorded)
            live = state is not None and not state.deleted
            self._creations[stream] = state.creation if state is not None and live else None
        creation = self._creations[stream]
        return creation is not None and newest.counts_in(creation)

    def _record(self, serving: Serving, span: Span, position: int) -> tuple[Recorded, Access]:
        """The record at a position; `view-astray` if it is not what the view says."""
        row = serving.reading.row_at(position)
        if row is None or not row.is_sound or row.topic != "access.granted":
            raise astray(position)
        recorded = self.mapper.open(row)
        record = recorded.event
        if not (isinstance(record, Access) and self._fits(span, record)):
            raise astray(position)
        return recorded, record

    def _fits(self, span: Span, record: Access) -> bool:
        return (
            self.person.claim in {record.caller, record.on_behalf_of}
            and span.application == self.digests.application(record.application)
            and span.owner == self.digests.claim(record.owner)
            and record.value_version is not None
        )


def _line(
    times: int,
    first: tuple[Recorded, Access],
    last: tuple[Recorded, Access],
    versions: Versions,
    *,
    is_set: bool,
) -> dict[str, Any]:
    version = first[1].value_version
    assert version is not None
    return {
        "application": last[1].application,
        "owner": first[1].owner,
        "version": version,
        "first_seen": time_text(first[0].recorded_at),
        "last_seen": time_text(last[0].recorded_at),
        "times": times,
        "changed_since": versions.changed_since(version),
        "set": is_set,
    }
