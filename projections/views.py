"""All views of a ledger together, and the questions they answer.

Views only point; every answer is opened from the log's own row, whose leaf and place are checked,
and a row that does not answer the question is reported as tampering, not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.mapping import mapping_from
from ledger.aggregates.recorded import Recorded
from ledger.codec.mapper import EventMapper
from ledger.errors import InvalidInput, KeyUnavailable
from ledger.identifiers import application_key
from ledger.log.store import Connection, Reading, Store
from ledger.sealing.streams import StreamNames
from projections.access_history import OUTCOME_NUMBERS, AccessHistory
from projections.application_catalogue import ApplicationCatalogue
from projections.credential_view import CredentialView
from projections.digests import Digests
from projections.documents import access_document, mapping_document, time_text
from projections.key_inventory import KeyInventory
from projections.streams import fold_stream, log_events, stream_events
from projections.view import Progress, View, ViewKeeper, astray

_PAGE = 500
_ADMINISTRATION = (
    "application.",
    "credential.",
    "role.",
    "slot.",
    "epoch.",
    "passphrase.",
    "auditor.",
    "rollback.",
    "clock.",
    "memory.",
)


class Views:
    """The four views of one ledger; a `Maintainer` for the write side."""

    def __init__(self, store: Store, mapper: EventMapper, streams: StreamNames) -> None:
        self._store = store
        self._mapper = mapper
        self._streams = streams
        self._digests = Digests(streams)
        views: tuple[View, ...] = (
            CredentialView(),
            AccessHistory(),
            ApplicationCatalogue(),
            KeyInventory(),
        )
        self._keepers = {
            view.name: ViewKeeper(view, store, mapper, self._digests) for view in views
        }

    def maintain(self, connection: Connection, recorded: Sequence[Recorded]) -> None:
        """Follow the log in the append's own transaction."""
        for keeper in self._keepers.values():
            keeper.maintain(connection, recorded)

    def bring_forward(self) -> None:
        """Bring all views to the head."""
        for keeper in self._keepers.values():
            keeper.bring_forward()

    def status(self) -> list[dict[str, object]]:
        """Name, position and rows of each."""
        return [keeper.status() for keeper in self._keepers.values()]

    def digests(self) -> dict[str, str]:
        """The digest of each."""
        return {name: keeper.digest() for name, keeper in self._keepers.items()}

    def drop_all(self) -> None:
        """Empty every view."""
        for keeper in self._keepers.values():
            keeper.drop()

    def rebuild(
        self, name: str | None = None, progress: Progress | None = None
    ) -> list[dict[str, object]]:
        """Fold the log anew, into all views or the named one; digests before and after."""
        if name is not None and name not in self._keepers:
            raise InvalidInput(
                "unknown-view",
                "There is no view of that name.",
                hint=f"Views are {', '.join(self._keepers)}.",
            )
        chosen = [self._keepers[name]] if name else list(self._keepers.values())
        return [keeper.rebuild(progress or _silent) for keeper in chosen]

    def applications(self) -> list[Application]:
        """All live applications, in order of their IDs."""
        keeper = self._ready("application_catalogue")
        with self._store.reading() as reading:
            table = keeper.table(reading.connection)
            found = reading.connection.execute(f"SELECT stream FROM {table}")
            states = [self._application(reading, stream) for (stream,) in found]
        live = [state for state in states if state is not None and not state.deleted]
        return sorted(live, key=lambda state: state.key)

    def credentials(
        self,
        application: str | None = None,
        owner: str | None = None,
        older_than_us: int | None = None,
        now: int = 0,
    ) -> list[dict[str, Any]]:
        """Metadata of every mapping that is set, by application and owner."""
        keeper = self._ready("credential_view")
        where, parameters = ["position > 0"], []
        if application is not None:
            where.append("application = ?")
            parameters.append(self._digests.application(application_key(application)))
        if owner is not None:
            where.append("owner = ?")
            parameters.append(self._digests.claim(owner))
        documents = []
        states: dict[str, Application | None] = {}
        with self._store.reading() as reading:
            table = keeper.table(reading.connection)
            found = reading.connection.execute(
                f"SELECT stream, position FROM {table} WHERE {' AND '.join(where)}", parameters
            )
            for stream, position in found:
                row = reading.row_at(position)
                newest = reading.newest_of(stream)
                if row is None or row.stream != stream or newest != row:
                    raise astray(position)
                mapping = mapping_from(self._mapper.open(row))
                if mapping is None or mapping.secret is None:
                    raise astray(position)
                key = application_key(mapping.application)
                if key not in states:
                    states[key] = self._application(reading, self._streams.application(key))
                state = states[key]
                if state is None or not mapping.counts_in(state.creation):
                    continue
                if older_than_us is not None and mapping.set_at > now - older_than_us:
                    continue
                documents.append(mapping_document(mapping, state))
        return sorted(
            documents, key=lambda one: (one["application"].casefold(), one["owner"] or "")
        )

    def access(
        self,
        user: str | None = None,
        owner: str | None = None,
        application: str | None = None,
        outcome: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int | None = 100,
        after: int | None = None,
    ) -> list[dict[str, Any]]:
        """Attempts to read, newest first; `after` is the position that a page ended with."""
        keeper = self._ready("access_history")
        where, parameters = self._access_filter(user, owner, application, outcome, since, until)
        documents: list[dict[str, Any]] = []
        before = after
        while limit is None or limit == 0 or len(documents) < limit:
            wanted = _PAGE if not limit else min(_PAGE, limit - len(documents))
            with self._store.reading() as reading:
                table = keeper.table(reading.connection)
                bound = "" if before is None else " AND position < ?"
                found = reading.connection.execute(
                    f"SELECT position FROM {table} WHERE {where}{bound}"
                    " ORDER BY position DESC LIMIT ?",
                    (*parameters, *(() if before is None else (before,)), wanted),
                )
                for (position,) in found:
                    documents.append(self._access_at(reading, position, user, owner, application))
            if len(found) < wanted:
                break
            before = found[-1][0]
        return documents

    def changes(
        self,
        application: str | None = None,
        by: str | None = None,
        since: int | None = None,
    ) -> list[dict[str, Any]]:
        """Administration's history, oldest first."""
        key = application_key(application) if application is not None else None
        documents = []
        for recorded in log_events(self._store, self._mapper, _ADMINISTRATION):
            named = getattr(recorded.event, "application", None)
            if key is not None and (named is None or application_key(named) != key):
                continue
            if by is not None and recorded.actor.claim != by:
                continue
            if since is not None and recorded.recorded_at < since:
                continue
            documents.append(change_document(recorded))
        return documents

    def history(self, application: str, owner: str | None) -> list[dict[str, Any]]:
        """Every event of one mapping, oldest first, never a value."""
        stream = self._streams.mapping(application_key(application), owner)
        documents = []
        with self._store.reading() as reading:
            for recorded in stream_events(reading, self._mapper, stream):
                mapping = mapping_from(recorded)
                documents.append(
                    {
                        "version": mapping.value_version if mapping else None,
                        "event": recorded.topic.removeprefix("credential."),
                        "recorded_at": time_text(recorded.recorded_at),
                        "by": recorded.actor.claim,
                        "reason": recorded.reason,
                        "position": recorded.position,
                    }
                )
        return documents

    def epochs(self) -> dict[int, int]:
        """How many live mappings rest on each epoch."""
        keeper = self._ready("key_inventory")
        with self._store.reading() as reading:
            table = keeper.table(reading.connection)
            found = reading.connection.execute(
                f"SELECT epoch, count(*) FROM {table} GROUP BY epoch ORDER BY epoch"
            )
        return {int(epoch): int(count) for epoch, count in found}

    def _ready(self, name: str) -> ViewKeeper:
        keeper = self._keepers[name]
        keeper.bring_forward()
        return keeper

    def _application(self, reading: Reading, stream: bytes) -> Application | None:
        return fold_stream(reading, self._mapper, stream, fold_application)

    def _access_filter(
        self,
        user: str | None,
        owner: str | None,
        application: str | None,
        outcome: str | None,
        since: int | None,
        until: int | None,
    ) -> tuple[str, list[object]]:
        where: list[str] = ["1 = 1"]
        parameters: list[object] = []

        def add(condition: str, value: object) -> None:
            where.append(condition)
            parameters.append(value)

        if user is not None:
            add("caller = ?", self._digests.claim(user))
        if owner is not None:
            add("owner = ?", self._digests.claim(owner))
        if application is not None:
            add("application = ?", self._digests.application(application_key(application)))
        if outcome is not None:
            number = OUTCOME_NUMBERS.get(f"access.{outcome}")
            if number is None:
                raise InvalidInput("invalid-outcome", "Outcomes are granted, denied and not-set.")
            add("outcome = ?", number)
        if since is not None:
            add("recorded_at >= ?", since)
        if until is not None:
            add("recorded_at <= ?", until)
        if since is not None and until is not None and since > until:
            raise InvalidInput("reversed-range", "--since lies after --until.")
        return " AND ".join(where), parameters

    def _access_at(
        self,
        reading: Reading,
        position: int,
        user: str | None,
        owner: str | None,
        application: str | None,
    ) -> dict[str, Any]:
        row = reading.row_at(position)
        if row is None:
            raise astray(position)
        try:
            recorded = self._mapper.open(row)
        except KeyUnavailable:
            return {"position": position, "outcome": "unreadable"}
        record = recorded.event
        if not isinstance(record, Access):
            raise astray(position)
        document = access_document(recorded, record)
        fits = (
            (user is None or user in (record.caller, record.on_behalf_of))
            and (owner is None or owner == record.owner)
            and (
                application is None
                or application_key(record.application) == application_key(application)
            )
        )
        if not fits:
            raise astray(position)
        return document


def change_document(recorded: Recorded) -> dict[str, Any]:
    """What `audit changes` tells of one event: names and claims, never sealed bytes."""
    event = recorded.event
    detail = {
        name: getattr(event, name)
        for name in (
            "role",
            "claim",
            "right",
            "owner",
            "value_version",
            "slot",
            "label",
            "epoch",
            "changes",
            "field",
            "restored_version",
            "fork",
        )
        if hasattr(event, name)
    }
    return {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "event": recorded.topic,
        "application": getattr(event, "application", None),
        "by": recorded.actor.claim,
        "authenticated_by": recorded.actor.authenticated_by,
        "reason": recorded.reason,
        "detail": detail,
    }


def _silent(done: int, total: int) -> None:
    pass
