"""Mappings that rest on earlier epochs: those whose newest row carries values sealed under them.

Keys are destroyed by what is found here, so nothing is found by asking the database for an epoch or
a topic. The whole log is walked over, each row checked into the head that this host believes; which
row is the newest of its stream, the host's own tips say, and a stream of which they know less than
the log is damage.

After an epoch was started every row is in it or in a later one, so none that rests on an earlier
epoch lies beyond the start: what a walk has found only grows less.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ledger.aggregates.application import fold_application
from ledger.aggregates.mapping import (
    NEW_VALUE_TOPICS,
    VALUE_TOPICS,
    CredentialResealed,
    ValueEvent,
    values_in,
)
from ledger.identifiers import application_key
from ledger.log.pace import Pace
from ledger.log.rows import LogRow
from ledger.log.transaction import Transaction
from ledger.log.walk import Walk
from ledger.log.writer import Writer
from ledger.usecases.desk import Desk

RESEALED_TOGETHER_MAX = 1000
_HELD_ROWS_MAX = 50_000
_HELD_BYTES_MAX = 32 * 1024**2
"""So many rows, or so many sealed bytes of them, are put in order of their streams."""
_KNOWN_CREATIONS_MAX = 100_000
_STREAM_OF = operator.itemgetter(LogRow._fields.index("stream"))


class Creation(NamedTuple):
    """One of the applications that went by a name, one after the other."""

    application: str
    position: int
    """Where it was created."""


class Found(NamedTuple):
    """A mapping whose newest row rests on an earlier epoch."""

    row: LogRow
    values: ValueEvent
    """What is in it."""
    creation: Creation
    """Whose mapping it is."""


class Page(NamedTuple):
    """What rests among the rows up to a position that were not looked at before."""

    live: tuple[Found, ...]
    ended: tuple[Found, ...]
    """Of applications that were deleted: nobody can be given these values."""
    reached: int
    others: int
    """So many rows the log had, without the caller's, when these were found live or ended."""


def resting(
    desk: Desk,
    writer: Writer,
    pace: Pace,
    *,
    until: int,
    epoch: int,
    mine: Callable[[int], int] = lambda _: 0,
) -> Iterator[Page]:
    """What rests on epochs before this one, which was started at `until`; see `Walk` for errors.

    Nothing was overlooked if it comes to its end. `mine` tells how many rows, none of them about
    an application, the caller has appended since it began to a log of a size.
    """
    known = _Known(mine)
    for rows, reached in _value_rows(desk, writer, pace, until, epoch):
        live, ended = _newest(desk, writer, rows, known)
        yield Page(live, ended, reached, known.others)


def values_of(desk: Desk, writer: Writer, first: int, before: int) -> int:
    """How many values only the keys of these epochs open: from the first on, before the other.

    Both are epochs to which everything was resealed, or the first of all. So whatever was current
    then came into the first epoch, or lived on in the other one, by one row that carries it on.
    """
    walk = Walk(writer.store.reading, writer.signer.ledger, writer.catch_up(), desk.streams.audit)
    count = 0
    for page in walk.after_position(0):
        for row in page:
            if row.topic in NEW_VALUE_TOPICS:
                count += first <= row.epoch < before
            elif row.topic == CredentialResealed.TOPIC:
                count += (row.epoch == first) - (row.epoch == before)
    return count


def is_live(desk: Desk, transaction: Transaction, creation: Creation) -> bool:
    """Whether its mappings still belong to a live application."""
    found = desk.application(transaction, creation.application)
    return found is not None and not found.deleted and found.creation == creation.position


class Lives:
    """Which creations are of live applications, each looked up once.

    For a transaction in which none is created or deleted.
    """

    def __init__(
        self, desk: Desk, transaction: Transaction, known: dict[Creation, bool] | None = None
    ) -> None:
        """`known` were looked up before, and hold."""
        self._desk = desk
        self._transaction = transaction
        self._known = {} if known is None else known

    def look_up(self, creations: Iterable[Creation]) -> None:
        """Read together what is about to be asked one by one."""
        unknown = (creation for creation in creations if creation not in self._known)
        named = {application_key(creation.application) for creation in unknown}
        streams = [self._desk.streams.application(name) for name in named]
        self._transaction.prepare(streams, fold_application)

    def __contains__(self, creation: Creation) -> bool:
        known = self._known.get(creation)
        if known is None:
            known = self._known[creation] = is_live(self._desk, self._transaction, creation)
        return known


def _value_rows(
    desk: Desk, writer: Writer, pace: Pace, until: int, epoch: int
) -> Iterator[tuple[list[LogRow], int]]:
    """Rows with values sealed before the epoch, a paceful number at a time.

    In order of their streams, as many of them as are held, where what is kept by stream lies so:
    the log's index, views, the host's memory are then read and written a piece at a time.
    """
    reached = 0
    for rows, walked in _held_rows(desk, writer, until, epoch):
        if writer.store.lies_by_stream:
            rows.sort(key=_STREAM_OF)
        done = 0
        while done < len(rows):
            some = rows[done : done + min(pace.rows, RESEALED_TOGETHER_MAX)]
            done += len(some)
            yield some, reached + (walked - reached) * done // len(rows)
        reached = walked


def _held_rows(
    desk: Desk, writer: Writer, until: int, epoch: int
) -> Iterator[tuple[list[LogRow], int]]:
    """The same rows in order of position, as many at a time as may be held, and how far it is."""
    head = writer.catch_up()
    walk = Walk(writer.store.reading, writer.signer.ledger, head, desk.streams.audit)
    rows: list[LogRow] = []
    held = 0
    for page in walk.after_position(0):
        found = [
            row
            for row in page
            if row.topic in VALUE_TOPICS and row.epoch < epoch and row.position <= until
        ]
        rows += found
        held += sum(len(row.sealed) for row in found)
        if len(rows) >= _HELD_ROWS_MAX or held >= _HELD_BYTES_MAX:
            yield rows, min(page[-1].position, until)
            rows, held = [], 0
    yield rows, until


class _Known:
    """Which creations are of live applications, for as long as nobody else appends anything."""

    def __init__(self, mine: Callable[[int], int]) -> None:
        self._mine = mine
        self._lives: dict[Creation, bool] = {}
        self.others = -1
        """So many rows the log had, without the caller's, when this was looked up."""

    def at(self, transaction: Transaction) -> dict[Creation, bool]:
        """What holds at the head of a transaction; what is looked up there is to be put in."""
        others = transaction.head.size - self._mine(transaction.head.size)
        if others != self.others or len(self._lives) > _KNOWN_CREATIONS_MAX:
            self.others, self._lives = others, {}
        return self._lives


def _newest(
    desk: Desk, writer: Writer, rows: Sequence[LogRow], known: _Known
) -> tuple[tuple[Found, ...], tuple[Found, ...]]:
    """Those that are the newest of their streams: of live applications, and of deleted ones."""

    def look(transaction: Transaction) -> tuple[tuple[Found, ...], tuple[Found, ...]]:
        live: list[Found] = []
        ended: list[Found] = []
        newest = [_found(desk, row) for row in transaction.newest_among(rows)]
        lives = Lives(desk, transaction, known.at(transaction))
        lives.look_up({found.creation for found in newest})
        for found in newest:
            (live if found.creation in lives else ended).append(found)
        return tuple(live), tuple(ended)

    writer.warm(row.stream for row in rows)
    return writer.look(look)


def _found(desk: Desk, row: LogRow) -> Found:
    values = values_in(desk.mapper.event_in(row), row.position)
    return Found(row, values, Creation(values.application, values.creation))
