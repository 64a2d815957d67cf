"""The log as an application recorder of the `eventsourcing` library.

The library's words, in ours::

    originator_id       stream, 16 bytes as a UUID
    originator_version  version - 1: suites and aggregates of the library may count from 0
    topic               topic
    state               sealed, exactly as it is stored
    notification id     position

Inserting is the trivial request with ready rows: the events are placed under the lock as they
are, and each must be the next of its stream and open at its place. What was sealed for another
epoch or month does not open there and is a conflict; seal it again and repeat. Selecting gives rows
up to the head that this process has checked, and computes each leaf from the row.

Errors of ours that the library has a word for come as its own: a conflict is `IntegrityError`,
invalid input `DataError`, and a store that does not serve `OperationalError`. Refusals and
tampering stay what they are, because nobody should retry those.

What it does not do: subscriptions, which need a database that notifies; `select_notifications` from
the last seen id serves a follower. See decision 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.persistence import (
    ApplicationRecorder,
    DataError,
    IntegrityError,
    Notification,
    NotSupportedError,
    OperationalError,
    StoredEvent,
)

from ledger.errors import Conflict, InvalidInput, Tampered, Unavailable
from ledger.log.rows import LogRow
from ledger.log.store import Reading
from ledger.log.transaction import Transaction
from ledger.log.writer import Writer

T = TypeVar("T")

_PAGE_ROWS = 1000
_FIRST_VERSION = 1
_MOST = 2**63 - 1
_TOPIC_CHARACTERS_MAX = 100


class InsertReady(msgspec.Struct, frozen=True):
    """Events that are sealed already, all or none."""

    events: Sequence[StoredEvent]

    def decide(self, transaction: Transaction) -> list[int]:
        """Their positions; `version-taken` or `sealed-for-another-place` if one does not fit."""
        return [
            transaction.append_ready(
                _stream(event.originator_id),
                event.originator_version + _FIRST_VERSION,
                _known_form(event.topic),
                bytes(event.state),
            ).position
            for event in self.events
        ]


class LedgerRecorder(ApplicationRecorder):
    """One ledger's log, for code that is written against the library's recorders."""

    def __init__(self, writer: Writer) -> None:
        """Through the writer of an open ledger, which stays its owner's to close."""
        self._writer = writer

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        **kwargs: Any,  # noqa: ARG002 # the library's signature
    ) -> Sequence[int]:
        """Append sealed events in one transaction, durably; their positions."""
        if not stored_events:
            return []
        with _in_their_words():
            return self._writer.run(InsertReady(stored_events))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The sealed events of one stream, in order of version or from the newest."""
        stream = _stream(originator_id)
        first = 0 if gt is None else gt + _FIRST_VERSION
        last = _MOST if lte is None else lte + _FIRST_VERSION
        wanted = _MOST if limit is None or desc else limit

        def select(reading: Reading, size: int) -> list[StoredEvent]:
            rows: list[LogRow] = []
            after = max(first, 0)
            while len(rows) < wanted:
                page = reading.stream_rows(stream, after, min(_PAGE_ROWS, wanted - len(rows)))
                fitting = [row for row in page if row.version <= last and row.position <= size]
                rows += self._checked(fitting)
                if not page or len(fitting) < len(page):
                    break
                after = page[-1].version
            if desc:
                rows = rows[::-1][:limit]
            return [
                StoredEvent(
                    UUID(bytes=row.stream), row.version - _FIRST_VERSION, row.topic, row.sealed
                )
                for row in rows
            ]

        return self._select(select)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The sealed events of the whole log, in order of position."""
        after = 0 if start is None else start - 1 if inclusive_of_start else start

        def select(reading: Reading, size: int) -> list[Notification]:
            found: list[Notification] = []
            last = size if stop is None else min(stop, size)
            position = max(after, 0)
            while position < last and len(found) < limit:
                page = reading.rows_after(position, min(_PAGE_ROWS, last - position))
                if not page:
                    break
                for row in self._checked(page):
                    if (not topics or row.topic in topics) and len(found) < limit:
                        found.append(_notification(row))
                position = page[-1].position
            return found

        return self._select(select)

    def max_notification_id(self) -> int | None:
        """The position of the last event; None in an empty log."""
        with _in_their_words():
            return self._writer.catch_up().size or None

    def subscribe(  # the library's signature
        self,
        gt: int | None = None,  # noqa: ARG002
        topics: Sequence[str] = (),  # noqa: ARG002
    ) -> NoReturn:
        """Not supported: nothing notifies here."""
        raise NotSupportedError("The ledger has no subscriptions; select notifications in turn.")

    def _select(self, select: Callable[[Reading, int], T]) -> T:
        with _in_their_words():
            size = self._writer.catch_up().size
            with self._writer.store.reading() as reading:
                return select(reading, size)

    def _checked(self, rows: list[LogRow]) -> list[LogRow]:
        ledger_id = self._writer.signer.ledger.id
        for row in rows:
            if row.computed_leaf(ledger_id) != row.leaf:
                raise Tampered(
                    "altered-row", "A row is not the one that was recorded.", position=row.position
                )
        return rows


def _stream(originator_id: UUID | str) -> bytes:
    try:
        found = originator_id if isinstance(originator_id, UUID) else UUID(originator_id)
    except ValueError as error:
        raise InvalidInput("invalid-originator", "An originator ID must be a UUID.") from error
    return found.bytes


def _known_form(topic: str) -> str:
    if not topic.isascii() or len(topic) > _TOPIC_CHARACTERS_MAX:
        raise InvalidInput("invalid-topic", "A topic is at most 100 ASCII characters.")
    return topic


def _notification(row: LogRow) -> Notification:
    return Notification(
        UUID(bytes=row.stream), row.version - _FIRST_VERSION, row.topic, row.sealed, row.position
    )


@contextmanager
def _in_their_words() -> Iterator[None]:
    try:
        yield
    except Conflict as error:
        raise IntegrityError(error.message) from error
    except InvalidInput as error:
        raise DataError(error.message) from error
    except Unavailable as error:
        raise OperationalError(error.message) from error
