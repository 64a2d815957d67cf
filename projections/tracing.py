"""The log folded up to its end, with what stood at one moment on the way.

Besides the state then and now it keeps what bringing the one back from the other needs: at which
version each stream stands, and where the values of then are sealed last. Two versions of a mapping
hold the same values if both go back to the same `credential.set`: a restored version goes back to
the one it was restored from, a resealed one keeps its number. No value is looked at for this.

Every row is checked into a signed head on the way. What is held in memory is both states without
the sealed values, never the log.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.aggregates.application import Application, ApplicationEvent, fold_application
from ledger.aggregates.mapping import CredentialRestored, mapping_from
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import NO_ROLES, Roles, fold_roles
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
from ledger.log.store import Store
from projections.documents import Standing, standing
from projections.moment import lean
from projections.streams import Walk
from projections.view import Progress

PREFIXES = ("application.", "credential.", "role.")


class Traced(NamedTuple):
    """One mapping at one moment."""

    standing: Standing | None
    """None where nothing is set."""
    origin: int
    """The version whose `credential.set` its values go back to."""
    version: int
    """Of its stream."""


class Source(NamedTuple):
    """The newest row that carries the values of then."""

    version: int
    """In its stream."""
    epoch: int


class Trace:
    """What stood then, what stands now, and what lies between."""

    def __init__(self, position: int | None, at: int | None) -> None:
        """Then is after the last event at or before `position`, or `at` in microseconds UTC."""
        self.applications: dict[str, Application] = {}
        """By key, as they are now; deleted ones included."""
        self.applications_then: dict[str, Application] = {}
        self.mappings: dict[bytes, Traced] = {}
        """By stream, as they are now; deleted ones included."""
        self.mappings_then: dict[bytes, Traced] = {}
        self.sources: dict[bytes, Source] = {}
        """Of the values of then, by stream."""
        self.roles = NO_ROLES
        self.roles_then = NO_ROLES
        self.position = 0
        """Of the last row that was walked over."""
        self._position = position
        self._at = at
        self._is_then = True
        self._origins: dict[bytes, dict[int, int]] = {}

    def follow(self, store: Store, mapper: EventMapper, progress: Progress | None) -> None:
        """Fold the log to its end."""
        walk = Walk(store, mapper, progress=progress)
        for recorded in walk.events(PREFIXES):
            if self._is_then and self._is_later(recorded):
                self._keep_then()
            self._fold(recorded)
        self.position = walk.position
        if self._is_then:
            self._keep_then()

    def _is_later(self, recorded: Recorded) -> bool:
        if self._position is not None:
            return recorded.position > self._position
        return self._at is not None and recorded.recorded_at > self._at

    def _keep_then(self) -> None:
        self._is_then = False
        self.applications_then = dict(self.applications)
        self.mappings_then = dict(self.mappings)
        self.roles_then = self.roles

    def _fold(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, ApplicationEvent):
            key = application_key(recorded.event.application)
            state = fold_application(self.applications.get(key), recorded)
            if state is not None:
                self.applications[key] = state
        elif recorded.topic.startswith("role."):
            self.roles = fold_roles(self.roles, recorded) or Roles()
        else:
            self._fold_mapping(recorded)

    def _fold_mapping(self, recorded: Recorded) -> None:
        mapping = mapping_from(recorded)
        assert mapping is not None
        stream, origin = recorded.stream, mapping.value_version
        if mapping.secret is None:
            self.mappings[stream] = Traced(None, origin, recorded.version)
            return
        origin = self._origin(recorded, origin)
        self.mappings[stream] = Traced(lean(standing(mapping)), origin, recorded.version)
        then = None if self._is_then else self.mappings_then.get(stream)
        if self._is_then or (then is not None and then.standing and then.origin == origin):
            self.sources[stream] = Source(recorded.version, recorded.epoch)

    def _origin(self, recorded: Recorded, version: int) -> int:
        """Where a version's values come from; only what was restored is kept by name."""
        known = self._origins.get(recorded.stream, {})
        if isinstance(recorded.event, CredentialRestored):
            before = recorded.event.restored_version
            known = self._origins.setdefault(recorded.stream, {})
            known[version] = known.get(before, before)
        return known.get(version, version)
