"""The plan that brings an earlier moment back, and its difference as people are shown it.

    from: now, to: then
    applications, credentials   what is added, removed and changed, as `replay diff` tells it
    roles                       rights that are granted again and revoked again
    recreated                   applications that are deleted and created again
    staying                     fields that were added since: they are never taken away
    lost                        credentials of then whose key was destroyed

Everything is decided from the log alone; nothing here opens a value. A mapping whose values are
those of then stays, whatever its version; one that was set since, and not there then, is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from ledger.aggregates.application import Application
from ledger.aggregates.restoration import (
    ApplicationStep,
    MappingStep,
    RolesStep,
    as_restored,
    fields_added,
    is_another,
    restored,
)
from ledger.aggregates.roles import Roles
from ledger.codec.mapper import EventMapper
from ledger.errors import NotFound
from ledger.identifiers import application_key
from ledger.log.store import Reading, Store
from ledger.replacing import replace
from projections.documents import (
    Standing,
    application_document,
    mapping_document,
    time_text,
)
from projections.streams import signed_position_at
from projections.tracing import Trace, Traced
from projections.view import Progress

States = dict[str, tuple[Application | None, Application | None]]
"""Applications as they are and as they will be, by key; None where they are not there."""


class ApplicationChange(NamedTuple):
    """An application that stands otherwise than it did."""

    step: ApplicationStep
    before: Application | None
    after: Application | None


class MappingChange(NamedTuple):
    """A mapping that stands otherwise than it did."""

    step: MappingStep | None
    """None where it ends with its application."""
    before: Standing | None
    after: Standing | None


class Plan(msgspec.Struct, frozen=True):
    """All that has to happen, applications first."""

    here: dict[str, Any]
    """`{"position", "at"}` of the end of the log that was folded."""
    moment: dict[str, Any]
    """The same of the moment that is brought back."""
    applications: tuple[ApplicationChange, ...]
    mappings: tuple[MappingChange, ...]
    roles: RolesStep | None
    creations: dict[str, int]
    """Of live applications, by key."""
    staying: tuple[dict[str, Any], ...]
    states: States
    """Of all applications that the plan looked at."""

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it was."""
        return not (self.applications or self.mappings or self.roles)

    @property
    def deletes(self) -> tuple[int, int]:
        """How many applications end, for a while or for good, and how many credentials."""
        ending = sum(
            change.before is not None and (change.after is None or change.step.is_anew)
            for change in self.applications
        )
        return ending, sum(change.after is None for change in self.mappings)

    def steps(self) -> Iterator[MappingStep]:
        """What has to be done to mappings."""
        return (change.step for change in self.mappings if change.step is not None)

    def lost(self, held: Collection[int]) -> list[MappingChange]:
        """Those whose values rest on an epoch of which no key is held."""
        return [change for change in self.mappings if _is_lost(change, held)]

    def without_lost(self, held: Collection[int]) -> Plan:
        """The plan without what cannot be done."""
        kept = [change for change in self.mappings if not _is_lost(change, held)]
        # Where the application is created again, what is set there now ends all the same.
        ending = [
            MappingChange(None, change.before, None)
            for change in self.lost(held)
            if change.before is not None and self._is_anew(change.before)
        ]
        return replace(self, mappings=(*kept, *ending))

    def difference(self, lost: Collection[MappingChange] = ()) -> dict[str, Any]:
        """What would change, in the shape of `replay diff` and a little more; never a value."""
        applications = [
            (
                None if one.before is None else application_document(one.before),
                None if one.after is None else application_document(one.after),
            )
            for one in self.applications
        ]
        return {
            "from": self.here,
            "to": self.moment,
            "applications": _parted(applications),
            "credentials": _parted([self._told(one) for one in self.mappings]),
            "roles": {
                "granted": _rights(self.roles.granted if self.roles else ()),
                "revoked": _rights(self.roles.revoked if self.roles else ()),
            },
            "recreated": [
                one.step.application
                for one in self.applications
                if one.step.is_anew and one.before is not None
            ],
            "staying": list(self.staying),
            "lost": [after for _, after in map(self._told, lost)],
        }

    def _is_anew(self, mapping: Standing) -> bool:
        return _is_anew(*self.states[application_key(mapping.application)])

    def _told(self, change: MappingChange) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        named = change.before or change.after
        assert named is not None
        present, after = self.states[application_key(named.application)]
        return _document(change.before, present), _document(change.after, after)


def plan_restoration(
    store: Store,
    mapper: EventMapper,
    *,
    position: int | None = None,
    at: int | None = None,
    application: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """What brings one application, or with None everything, back to a position or time.

    `at` is microseconds UTC. `no-such-application` if the log has never known it.
    """
    trace = Trace(position, at)
    trace.follow(store, mapper, progress)
    chosen = None if application is None else application_key(application)
    if chosen is not None and chosen not in trace.applications:
        raise NotFound("no-such-application", "There is no target application of this ID.")
    states = {
        key: _before_and_after(trace, key)
        for key in sorted(trace.applications)
        if chosen in {None, key}
    }
    with store.reading() as reading:
        then = signed_position_at(reading, mapper, at or 0) if position is None else position
        here, moment = (_place(reading, trace.position), _place(reading, then))
    return Plan(
        here=here,
        moment=moment,
        applications=tuple(_application_changes(trace, states)),
        mappings=tuple(_mapping_changes(trace, states)),
        roles=_roles_step(trace.roles, trace.roles_then) if chosen is None else None,
        creations={
            key: state.creation for key, state in trace.applications.items() if not state.deleted
        },
        staying=tuple(_staying(states, trace)),
        states=states,
    )


def _before_and_after(trace: Trace, key: str) -> tuple[Application | None, Application | None]:
    present, then = _live(trace.applications.get(key)), _live(trace.applications_then.get(key))
    return present, None if then is None else as_restored(present, then)


def _live(state: Application | None) -> Application | None:
    return None if state is None or state.deleted else state


def _application_changes(trace: Trace, states: States) -> Iterator[ApplicationChange]:
    for key, (present, after) in states.items():
        known, then = trace.applications[key], _live(trace.applications_then.get(key))
        if restored(known, then):
            step = ApplicationStep(known.application, known.version, then, _is_anew(present, after))
            yield ApplicationChange(step, present, after)


def _is_anew(present: Application | None, after: Application | None) -> bool:
    return after is not None and (present is None or is_another(present, after))


def _mapping_changes(trace: Trace, states: States) -> Iterator[MappingChange]:
    """In order of applications and owners."""
    found = []
    for stream, now in trace.mappings.items():
        was = trace.mappings_then.get(stream)
        named = now.standing or (was.standing if was else None)
        key = None if named is None else application_key(named.application)
        if named is None or key is None or key not in states:
            continue
        present, after = states[key]
        before = _counting(now, present)
        then = None if was is None else _counting(was, trace.applications_then.get(key))
        is_anew = _is_anew(present, after)
        is_same = was is not None and was.origin == now.origin
        if then is None and before is None:
            continue
        if then is not None and before is not None and is_same and not is_anew:
            continue
        ends = is_anew or after is None
        step = _mapping_step(trace, stream, before, then, ends=ends)
        found.append(((key, named.owner or ""), MappingChange(step, before, then)))
    found.sort(key=itemgetter(0))
    return (change for _, change in found)


def _counting(traced: Traced, state: Application | None) -> Standing | None:
    """The mapping, if it is set for this creation of a live application."""
    one, live = traced.standing, _live(state)
    counts = one is not None and live is not None and one.creation == live.creation
    return one if counts else None


def _mapping_step(
    trace: Trace, stream: bytes, before: Standing | None, then: Standing | None, *, ends: bool
) -> MappingStep | None:
    """What is to be done; nothing where a mapping ends with its application."""
    named = then or before
    assert named is not None
    version = trace.mappings[stream].version
    if then is not None:
        source = trace.sources[stream]
        return MappingStep(named.application, named.owner, version, source.version, source.epoch)
    return None if ends else MappingStep(named.application, named.owner, version, None, 0)


def _place(reading: Reading, position: int) -> dict[str, Any]:
    place = min(position, reading.last_position())
    row = reading.row_at(place)
    return {"position": place, "at": None if row is None else time_text(row.recorded_at)}


def _roles_step(present: Roles, then: Roles) -> RolesStep | None:
    step = RolesStep(
        present.version,
        tuple(sorted((right, str(claim)) for right, claim in then.held - present.held)),
        tuple(sorted((right, str(claim)) for right, claim in present.held - then.held)),
    )
    return step if step.granted or step.revoked else None


def _staying(states: States, trace: Trace) -> Iterator[dict[str, Any]]:
    for key, (present, after) in states.items():
        then = trace.applications_then.get(key)
        if present is None or after is None or then is None or _is_anew(present, after):
            continue
        added = fields_added(present, then)
        if added:
            yield {
                "application": present.application,
                "fields": [
                    {"name": field.name, "type": field.type, "masked": field.masked}
                    for field in added
                ],
            }


def _is_lost(change: MappingChange, held: Collection[int]) -> bool:
    step = change.step
    return step is not None and step.source is not None and step.epoch not in held


def _document(mapping: Standing | None, state: Application | None) -> dict[str, Any] | None:
    return None if mapping is None or state is None else mapping_document(mapping, state)


def _parted(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {
        "added": [after for before, after in pairs if before is None],
        "removed": [before for before, after in pairs if after is None],
        "changed": [
            {"before": before, "after": after}
            for before, after in pairs
            if before is not None and after is not None
        ],
    }


def _rights(held: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"right": right, "claim": claim} for right, claim in held]
