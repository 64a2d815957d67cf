"""All views of a ledger together, and the questions they answer.

Views only point; every answer is opened from the log's own row, whose leaf and place are checked.
A row of a view whose content does not answer the question is reported as tampering, not shown.

What is shown was sealed with the ledger's keys, but these answers do not walk the tree, so that
they cost what they show and not what the log holds. Somebody who can write to the database and has
no keys can leave rows out of them, take the newest events off a stream, and give a true record a
second place, or another position and time within its month, with a leaf that fits. `log verify`
finds what was done to the log, `log verify --views` what was done to a view. Answers that must not
be shortened walk the log (`projections.streams`): changes here, and `redecide`, `moment` and
`explanation`.

Long answers are read in pages, so that no snapshot lasts: each page is of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.mapping import (
    CredentialDeleted,
    CredentialMapping,
    ValueEvent,
    mapping_from,
    values_in,
)
from ledger.aggregates.recorded import Recorded
from ledger.claims import Claim, parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import InvalidInput
from ledger.identifiers import application_key
from ledger.log.rows import LogRow
from ledger.log.store import Connection, Reading, Store, Writing
from ledger.sealing.streams import StreamNames
from projections.access_history import AccessHistory
from projections.accesses import Accesses
from projections.application_catalogue import ApplicationCatalogue
from projections.application_claims import ApplicationClaims, asked_by, is_named
from projections.applications import Applications
from projections.changes import changes
from projections.credential_view import CredentialView
from projections.digests import Digests, compared
from projections.documents import (
    mapping_document,
    standing,
)
from projections.exposure import Exposure, Person
from projections.history import mapping_history
from projections.key_inventory import KeyInventory
from projections.matrix import PAGE_APPLICATIONS, Cell, Matrix, Owners, live_of
from projections.place import SIDES, Place, read_rows, write_rows
from projections.rebuilding import Rebuild
from projections.streams import fold_streams
from projections.stretch import WHOLE, Stretch
from projections.view import (
    Folded,
    Progress,
    Serving,
    View,
    ViewKeeper,
    astray,
    require_newer,
)

T = TypeVar("T")
_PAGE = 500
_SPANS_PAGE = 100
_MIGRATIONS = "projections.migrations"


def all_views() -> tuple[View, ...]:
    """Every view there is."""
    return (
        CredentialView(),
        AccessHistory(),
        ApplicationCatalogue(),
        KeyInventory(),
        ApplicationClaims(),
    )


class Views:
    """The views of one ledger; a `Maintainer` for the write side."""

    def __init__(self, store: Store, mapper: EventMapper, streams: StreamNames) -> None:
        self._store = store
        self._mapper = mapper
        self._streams = streams
        self._digests = Digests(streams.views_key())
        self._keepers = {
            view.name: ViewKeeper(view, store, mapper, self._digests) for view in all_views()
        }
        self._lacks_some = True
        """Whether tables of a view may be lacking: nobody has looked, or some were."""
        history = self._keepers["access_history"]
        self.accesses = Accesses(history, store, mapper, self._digests)
        """Who tried to read what."""

    def maintain(self, connection: Connection, recorded: Sequence[Recorded]) -> None:
        """Follow the log in the append's own transaction."""
        if recorded:
            self._move(
                connection,
                recorded[0].position,
                lambda keeper, row: keeper.maintained(connection, recorded, row),
            )

    def take_in(self, connection: Connection, folded: Folded) -> None:
        """The same with what was folded before."""
        if folded.last < folded.first:
            return
        self._move(
            connection,
            folded.first,
            lambda keeper, row: keeper.taken_in(connection, folded, row),
        )

    def begin_filling(self, writing: Writing) -> None:
        """Make ready to take in a whole log that nobody asks about meanwhile.

        An index that is made at the end is made of sorted rows. One that grows row by row is
        written to all over, and the longer the log, the less of it is at hand.
        """
        writing.drop_indexes(_MIGRATIONS, self._unneeded())

    def end_filling(self, writing: Writing) -> None:
        """Make ready to be asked again; nothing where nothing was begun."""
        writing.make_indexes(_MIGRATIONS, self._unneeded())

    def _unneeded(self) -> list[str]:
        """The tables whose indexes are of no use while they are filled."""
        keepers = [one for one in self._keepers.values() if one.view.needs_no_index]
        return [keeper.table(side) for keeper in keepers for side in SIDES]

    def _move(
        self,
        connection: Connection,
        first: int,
        moved_to: Callable[[ViewKeeper, tuple[Any, ...] | None], Place | None],
    ) -> None:
        keepers = self._keepers.values()
        if first == 1:
            for keeper in keepers:
                keeper.begin_anew(connection)
        rows = read_rows(connection)
        places = {keeper: moved_to(keeper, rows.get(keeper.view.name)) for keeper in keepers}
        moved = [keeper.places.written(place) for keeper, place in places.items() if place]
        if moved:
            write_rows(connection, moved)

    def bring_forward(self) -> None:
        """Bring all views to the head; `key-missing` where a stale keyring cannot."""
        for keeper in self._there().values():
            keeper.bring_forward()

    def status(self) -> list[dict[str, object]]:
        """Name, position and rows of each."""
        return [keeper.status() for keeper in self._there().values()]

    def digests(self) -> dict[str, str]:
        """The digest of each."""
        return {name: keeper.digest() for name, keeper in self._there().items()}

    def taken(self, reading: Reading) -> dict[str, tuple[int, str]]:
        """Fold version and digest of each view that stands at this snapshot's head."""
        last = reading.last_position()
        found: dict[str, tuple[int, str]] = {}
        for name, keeper in self._keepers.items():
            place = keeper.places.standing(reading)
            if place is not None and place.position == last:
                digest = keeper.digest_of(reading.connection, place.active, place.floor)
                found[name] = (keeper.view.fold_version, digest)
        return found

    def fold_versions(self) -> dict[str, int]:
        """By which fold this program makes each of its views."""
        return {name: keeper.view.fold_version for name, keeper in self._keepers.items()}

    def drop_all(self) -> None:
        """Empty every view."""
        for keeper in self._there().values():
            keeper.drop()

    def rebuild(
        self, name: str | None = None, progress: Progress | None = None
    ) -> list[dict[str, object]]:
        """Fold the log anew, into all views or the named one; digests before and after.

        None is the `same` where something is `interposed`: that may have hidden a row from both.
        """
        there = self._there()
        if name is not None and name not in there:
            raise InvalidInput(
                "unknown-view",
                "There is no view of that name.",
                hint=f"Views are {', '.join(there)}.",
            )
        chosen = [there[name]] if name else list(there.values())
        found = Rebuild(chosen, self._store, self._mapper, progress or _silent).run()
        if self.interposed():
            return [{**view, "same": False} for view in found]
        return found

    def interposed(self) -> tuple[str, ...]:
        """What may keep rows out of the tables of views, or hide them, from a rebuild as well."""
        with self._store.reading() as reading:
            return reading.interposed(_MIGRATIONS)

    def applications(self) -> list[Application]:
        """All live applications, in order of their IDs."""
        live: list[Application] = []
        last = b""
        while True:
            with self._keepers["application_catalogue"].serving() as serving:
                page = serving.reading.connection.execute(
                    f"SELECT stream, position, creation FROM {serving.table}"
                    " WHERE stream > ? ORDER BY stream LIMIT ?",
                    (last, _PAGE),
                )
                streams = [bytes(stream) for stream, *_ in page]
                states = fold_streams(serving.reading, self._mapper, streams, fold_application)
                for stream, (_, position, creation) in zip(streams, page, strict=True):
                    state = live_of(serving, states[stream], stream, position, creation)
                    if state is not None:
                        live.append(state)
            if len(page) < _PAGE:
                break
            last = streams[-1]
        return sorted(live, key=lambda state: state.key)

    def matrix(self) -> Iterator[Cell]:
        """All live applications with who has something set there, in order of their IDs."""
        catalogue = self._keepers["application_catalogue"]
        return Matrix(catalogue, self._mapper, self.owners_in).cells()

    def reachable(self, claims: Sequence[Claim]) -> list[Application]:
        """The live applications that may have to do with somebody who presents these claims.

        Their own claim is the first. No other application can be read by them, or by ticket; which
        of these can is for the rules to say. In order of their IDs.
        """
        keeper = self._there().get("application_claims")
        if keeper is None:
            return self.applications()
        found: dict[bytes, Application | None] = {}
        for text in asked_by(claims):
            last = b""
            while True:
                with keeper.serving() as serving:
                    page = serving.reading.connection.execute(
                        f"SELECT stream, max(position) FROM {serving.table}"
                        " WHERE claim = ? AND stream > ? GROUP BY stream ORDER BY stream LIMIT ?",
                        (self._digests.named(text), last, _PAGE),
                    )
                    streams = [bytes(stream) for stream, _ in page]
                    # What was folded for another claim may be of before it came to name this one.
                    further = [one for one in streams if not is_named(found.get(one), text)]
                    found |= fold_streams(serving.reading, self._mapper, further, fold_application)
                    for stream, (_, position) in zip(streams, page, strict=True):
                        if not is_named(found[stream], text):
                            require_newer(serving, stream, position)
                if len(page) < _PAGE:
                    break
                last = streams[-1]
        live = [state for state in map(_live, found.values()) if state is not None]
        return sorted(live, key=lambda state: state.key)

    def credentials(
        self,
        application: str | None = None,
        owner: str | None = None,
        older_than_us: int | None = None,
        now: int = 0,
    ) -> list[dict[str, Any]]:
        """Metadata of every mapping that is set, by application and owner."""
        key = None if application is None else application_key(application)
        claim = None if owner is None else str(parse_claim(owner))
        conditions: dict[str, object] = {}
        if key is not None:
            conditions["application"] = self._digests.application(key)
        if claim is not None:
            conditions["owner"] = self._digests.claim(claim)
        applications = Applications(self._mapper)

        def answer(serving: Serving, stream: bytes, position: int) -> dict[str, Any] | None:
            mapping = self._mapping(serving, stream, position)
            if mapping is None:
                return None
            named = compared(mapping.application)
            if key not in {None, named} or claim not in {None, mapping.owner}:
                raise astray(position)
            state = applications.get(serving.reading, self._streams.application(named))
            if state is None or not mapping.counts_in(state.creation):
                return None
            if older_than_us is not None and mapping.set_at > now - older_than_us:
                return None
            return mapping_document(standing(mapping), state)

        documents = self._answers("credential_view", "stream, position", conditions, answer)
        return sorted(
            documents, key=lambda one: (one["application"].casefold(), one["owner"] or "")
        )

    def owners(self, state: Application) -> Owners:
        """Who has something set in an application as it is."""
        return self.owners_in([state])[state.key]

    def owners_in(self, states: Sequence[Application]) -> dict[str, Owners]:
        """Who has something set in each of these applications as they are, by key.

        Each mapping is opened from the newest row of its stream, many of them at once.
        """
        found: dict[str, Owners] = {state.key: set() for state in states}
        by_digest = {self._digests.application(state.application): state for state in states}
        left, last = sorted(by_digest), b""
        while left:
            # What is left of an application that a page ended in is asked for by itself.
            asked = left[:1] if last else left[:PAGE_APPLICATIONS]
            marks = ", ".join("?" * len(asked))
            with self._keepers["credential_view"].serving() as serving:
                page = serving.reading.connection.execute(
                    f"SELECT stream, position, application FROM {serving.table}"
                    f" WHERE application IN ({marks}) AND stream > ?"
                    " ORDER BY application, stream LIMIT ?",
                    (*asked, last, _PAGE),
                )
                of = {bytes(stream): by_digest[bytes(digest)] for stream, _, digest in page}
                for recorded, values in self._mappings(serving, [row[:2] for row in page]):
                    state = of[recorded.stream]
                    if compared(values.application) != state.key:
                        raise astray(recorded.position)
                    if values.creation == state.creation:
                        found[state.key].add(values.owner)
            if len(page) < _PAGE:
                left, last = left[len(asked) :], b""
            else:
                last, reached = bytes(page[-1][0]), bytes(page[-1][2])
                left = [one for one in left if one >= reached]
        return found

    def set_for_groups(self, states: Sequence[Application]) -> set[str]:
        """The keys of those group applications that have their shared set, many at once."""
        named = {self._streams.mapping(state.key, None): state for state in states}
        streams = list(named)
        found: set[str] = set()
        for page in range(0, len(streams), _PAGE):
            some = streams[page : page + _PAGE]
            marks = ", ".join("?" * len(some))
            with self._keepers["credential_view"].serving() as serving:
                rows = serving.reading.connection.execute(
                    f"SELECT stream, position FROM {serving.table} WHERE stream IN ({marks})", some
                )
                for recorded, values in self._mappings(serving, rows):
                    state = named[recorded.stream]
                    if (compared(values.application), values.owner) != (state.key, None):
                        raise astray(recorded.position)
                    if values.creation == state.creation:
                        found.add(state.key)
        return found

    def set_for_owner(self, owner: Claim, states: Sequence[Application]) -> set[str]:
        """The keys of those of these applications in which an owner has something set."""
        live = {state.key: state for state in states}
        text, found, last = str(owner), set[str](), b""
        while True:
            with self._keepers["credential_view"].serving() as serving:
                page = serving.reading.connection.execute(
                    f"SELECT stream, position FROM {serving.table}"
                    " WHERE owner = ? AND stream > ? ORDER BY stream LIMIT ?",
                    (self._digests.claim(text), last, _PAGE),
                )
                for recorded, values in self._mappings(serving, page):
                    if values.owner != text:
                        raise astray(recorded.position)
                    state = live.get(compared(values.application))
                    if state is not None and values.creation == state.creation:
                        found.add(state.key)
            if len(page) < _PAGE:
                return found
            last = bytes(page[-1][0])

    def exposure(
        self,
        user: str,
        since: int | None = None,
        *,
        at: int | None = None,
        position: int | None = None,
    ) -> list[dict[str, Any]]:
        """What a person saw, by application, owner and version; `since` is microseconds UTC.

        As of a time, `at`, or of a position: now, if neither is given.
        """
        claim = str(parse_claim(user))
        keeper = self._keepers["access_history"]
        with keeper.serving() as serving:
            stretch = Stretch(since, at, position)
            after, until = stretch.before(serving.reading), stretch.last(serving.reading)
            person = Person(claim, self._digests.claim(claim), after, until)
            spans = person.spans(serving)
        exposure = Exposure(self._mapper, self._streams, self._digests, person)
        lines: list[dict[str, Any]] = []
        for page in range(0, len(spans), _SPANS_PAGE):
            with keeper.serving() as serving:
                for span in spans[page : page + _SPANS_PAGE]:
                    lines.extend(exposure.lines(serving, span))
        return sorted(
            lines,
            key=lambda one: (one["application"].casefold(), one["owner"] or "", one["version"]),
        )

    def changes(
        self,
        application: str | None = None,
        by: str | None = None,
        since: int | None = None,
    ) -> list[dict[str, Any]]:
        """Administration's history, oldest first."""
        return list(self.each_change(application, by, Stretch(since)))[::-1]

    def each_change(
        self,
        application: str | None = None,
        by: str | None = None,
        stretch: Stretch = WHOLE,
        after: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The same newest first, as the log is walked through; `after` is where a page ended."""
        return changes(
            self._store,
            self._mapper,
            application=application,
            by=by,
            stretch=stretch,
            after=after,
        )

    def history(self, application: str, owner: str | None) -> list[dict[str, Any]]:
        """Every event of one mapping, oldest first, never a value."""
        return mapping_history(self._store, self._mapper, self._streams, application, owner)

    def epochs(self) -> dict[int, int]:
        """How many live mappings rest on each epoch, by the view's own count."""
        with self._keepers["key_inventory"].serving() as serving:
            found = serving.reading.connection.execute(
                f"SELECT epoch, count(*) FROM {serving.table} GROUP BY epoch ORDER BY epoch"
            )
        if not all(isinstance(epoch, int) for epoch, _ in found):
            raise astray(serving.position)
        return dict(found)

    def _there(self) -> dict[str, ViewKeeper]:
        """Those whose tables are there: a store of before lacks some until it is migrated."""
        if self._lacks_some:
            with self._store.reading() as reading:
                made = reading.connection.execute(
                    "SELECT name FROM schema_migrations WHERE package = ?", (_MIGRATIONS,)
                )
            made_by = {name for (name,) in made}
            there = {
                name: keeper
                for name, keeper in self._keepers.items()
                if keeper.view.migration in made_by
            }
            self._lacks_some = len(there) < len(self._keepers)
            return there
        return self._keepers

    def _answers(
        self,
        name: str,
        columns: str,
        conditions: Mapping[str, object],
        answer: Callable[..., T | None],
    ) -> list[T]:
        """What each row of a view answers, in order of stream, each page in its own snapshot."""
        answers: list[T] = []
        last = b""
        where = " AND ".join([*(f"{column} = ?" for column in conditions), "stream > ?"])
        while True:
            with self._keepers[name].serving() as serving:
                found = serving.reading.connection.execute(
                    f"SELECT {columns} FROM {serving.table} WHERE {where} ORDER BY stream LIMIT ?",
                    (*conditions.values(), last, _PAGE),
                )
                given = (answer(serving, *row) for row in found)
                answers.extend(one for one in given if one is not None)
            if len(found) < _PAGE:
                return answers
            last = bytes(found[-1][0])

    def _mappings(
        self, serving: Serving, page: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[Recorded, ValueEvent]]:
        """What is set in the mappings that rows of the view point at, as `_mapping` finds each."""
        if not page:
            return
        streams = [bytes(stream) for stream, _ in page]
        marks = ", ".join(["(?)"] * len(streams))
        # Each by itself: a server that has not looked at a new log yet reads the whole of it where
        # it is asked for groups. VALUES names its columns so on either engine.
        newest = serving.reading.connection.execute(
            "SELECT column1, (SELECT max(version) FROM log WHERE stream = column1)"
            f" FROM (VALUES {marks}) AS asked",
            streams,
        )
        versions = {bytes(stream): version for stream, version in newest}
        found = serving.reading.rows_at([position for _, position in page])
        rows = {position: row for position, row in found.items() if row.is_sound}
        self._mapper.opening().require_leaves(list(rows.values()))
        for stream, (_, position) in zip(streams, page, strict=True):
            row = rows.get(position)
            if row is not None and (row.stream, row.version) == (stream, versions.get(stream)):
                if not row.topic.startswith("credential."):
                    raise astray(position)
                recorded = self._mapper.opened(row, self._mapper.text(row))
                if isinstance(recorded.event, CredentialDeleted):
                    raise astray(position)
            else:
                mapping = self._mapping(serving, stream, position)
                if mapping is None:
                    continue
                recorded = mapping.recorded
            yield recorded, values_in(recorded.event, position)

    def _mapping(self, serving: Serving, stream: bytes, position: int) -> CredentialMapping | None:
        """The mapping that a row points at; None if it was deleted since the view's position."""
        newest = serving.reading.newest_of(stream)
        mapping = self._mapping_in(newest, position)
        if newest is None or mapping is None or newest.position != position:
            require_newer(serving, stream, position)
        return mapping

    def _mapping_in(self, row: LogRow | None, position: int) -> CredentialMapping | None:
        """What the newest row of a mapping's stream tells; None where nothing is set."""
        if row is None or not (row.is_sound and row.topic.startswith("credential.")):
            raise astray(position)
        mapping = mapping_from(self._mapper.open(row))
        return mapping if mapping is not None and mapping.secret is not None else None


def _live(state: Application | None) -> Application | None:
    """The application unless it was deleted."""
    return None if state is None or state.deleted else state


def _silent(done: int, total: int) -> None:
    pass
