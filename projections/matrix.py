"""All applications in order of their IDs, and who has something set in each, page by page.

The store knows applications by digest only, so that their order must be found first: of each, the
first row is opened, which bears its ID. What follows goes by pages of `PAGE_APPLICATIONS`: those
are folded together, and the mappings set in them are found and opened together, so that no
statement is about one application alone. Each page is of one moment. An application that was
deleted since its ID was read is left out, and one that was made since does not come.

What is held at any time is the ID and stream of every application, and of one page of them what
stands there and who owns; never the mappings of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ledger.aggregates.application import Application, ApplicationEvent, fold_application
from ledger.codec.mapper import EventMapper
from ledger.identifiers import application_key
from projections.streams import fold_streams
from projections.view import Serving, ViewKeeper, astray, require_newer

PAGE_APPLICATIONS = 100
_PAGE = 500
Owners = set[str | None]
"""Who has something set in an application; None stands for a group's shared set."""


class Cell(NamedTuple):
    """One application, and who has something set there."""

    application: Application
    owners: Owners


class Matrix:
    """The applications of one ledger with their owners."""

    def __init__(
        self,
        catalogue: ViewKeeper,
        mapper: EventMapper,
        owners: Callable[[Sequence[Application]], dict[str, Owners]],
    ) -> None:
        """`catalogue` is the keeper of that view; `owners` tells who owns, by application key."""
        self._catalogue = catalogue
        self._mapper = mapper
        self._owners = owners

    def cells(self) -> Iterator[Cell]:
        """Every live application, in order of IDs."""
        streams = [stream for _, stream in sorted(self._named())]
        for begin in range(0, len(streams), PAGE_APPLICATIONS):
            states = self._live(streams[begin : begin + PAGE_APPLICATIONS])
            owners = self._owners(states)
            for state in states:
                yield Cell(state, owners[state.key])

    def _named(self) -> Iterator[tuple[str, bytes]]:
        """The key and the stream of each application in the catalogue."""
        last = b""
        while True:
            with self._catalogue.serving() as serving:
                page = serving.reading.connection.execute(
                    f"SELECT stream, position FROM {serving.table}"
                    " WHERE stream > ? ORDER BY stream LIMIT ?",
                    (last, _PAGE),
                )
                streams = [bytes(stream) for stream, _ in page]
                first = serving.reading.rows_of(streams, 1)
                for stream, (_, position) in zip(streams, page, strict=True):
                    rows = first.get(stream)
                    if not rows:
                        raise astray(position)
                    event = self._mapper.open(rows[0]).event
                    if not isinstance(event, ApplicationEvent):
                        raise astray(position)
                    yield application_key(event.application), stream
            if len(page) < _PAGE:
                return
            last = streams[-1]

    def _live(self, streams: Sequence[bytes]) -> list[Application]:
        """Those of these that are there still, in the order given."""
        with self._catalogue.serving() as serving:
            marks = ", ".join("?" * len(streams))
            page = serving.reading.connection.execute(
                f"SELECT stream, position, creation FROM {serving.table} WHERE stream IN ({marks})",
                streams,
            )
            there = {bytes(stream): place for stream, *place in page}
            wanted = [stream for stream in streams if stream in there]
            states = fold_streams(serving.reading, self._mapper, wanted, fold_application)
            found = (live_of(serving, states[one], one, *there[one]) for one in wanted)
            return [state for state in found if state is not None]


def live_of(
    serving: Serving, state: Application | None, stream: bytes, position: int, creation: int
) -> Application | None:
    """The state, None if it was deleted since; `view-astray` unless it fits the catalogue's row."""
    live = None if state is None or state.deleted else state
    if live is None or live.creation != creation:
        require_newer(serving, stream, position)
    return live
