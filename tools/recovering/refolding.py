"""An archive read, checked and folded by a second process, while this one writes.

    worker     page 1 ──▶ page 2 ──▶ page 3 ...       read, rows and heads checked, opened, folded
                    ╲          ╲
    this one         page 1 ──▶ page 2 ──▶ ...        written, views with them

What comes from the worker was checked by the same code as here. Where it does not come, or the
worker finds something amiss, this process checks the archive anew from its beginning, and goes on
writing where it was: what it finds then is the finding.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ledger.archive.manifest import damaged
from ledger.archive.pages import Page, checked_pages
from ledger.archive.reading import Archive, Part
from ledger.codec.mapper import EventMapper
from ledger.errors import LedgerError
from ledger.log.following import CheckedHead
from ledger.log.rows import CommitRow, LogRow
from ledger.sealing.keys import KeySet
from ledger.sealing.streams import StreamNames
from ledger.tree import Frontier
from projections.digests import Digests
from projections.folding import Folding, Refolding
from projections.view import Folded
from tools.processes.processors import processors
from tools.processes.workers import taken_over, workers

if TYPE_CHECKING:
    from ledger.archive.restoring import Refold
    from ledger.log.store import Connection as StoreConnection
    from ledger.log.store import Writing
    from projections.views import Views

_TOGETHER_FROM_ROWS = 50_000
"""A shorter log is restored before a worker has begun."""
_PAGES_AHEAD = 3
"""So many are at hand besides the one that is written and the one that is next."""
_encode = msgspec.msgpack.encode
_SentHead = tuple[int, tuple[bytes, ...], int, int, bytes, int]


class Work(NamedTuple):
    """What a worker is told besides keys."""

    ledger_id: bytes
    parts: tuple[Part, ...]
    """Of the archive."""


class _Handed(NamedTuple):
    """What a worker is told once it is to begin."""

    keys: bytes
    stream_key: bytes
    there: int
    """So many rows the store holds already."""


_handed = msgspec.msgpack.Decoder(_Handed)


class _Sent(NamedTuple):
    """A page on its way from the worker."""

    head: _SentHead
    signed: _SentHead
    rows: list[LogRow]
    commits: list[CommitRow]
    folded: Folded | None


_sent = msgspec.msgpack.Decoder(_Sent | None)


@contextmanager
def refolding(
    archive: Archive, mapper: EventMapper, streams: StreamNames, views: Views
) -> Iterator[Refold[Folded]]:
    """What brings an archive into the views: with a worker, where it is worth one.

    The worker comes up while this process still looks whether the archive may be brought at all,
    and is handed no key before that.
    """
    folding = Folding(mapper, Digests(streams.views_key()))
    alone = Refolding(archive, views, folding, streams.audit)
    if archive.last_position() < _TOGETHER_FROM_ROWS or processors() < 2:
        yield alone
        return
    with workers(1, send_pages, Work(mapper.ledger_id, archive.parts)) as (worker,):
        yield RefoldingTogether(archive, mapper, streams, folding, alone, worker.connection)


class RefoldingTogether:
    """Brings an archive into the views, with a worker that checks and folds it."""

    def __init__(
        self,
        archive: Archive,
        mapper: EventMapper,
        streams: StreamNames,
        folding: Folding,
        alone: Refolding,
        worker: Connection,
    ) -> None:
        self._archive = archive
        self._mapper = mapper
        self._streams = streams
        self._folding = folding
        self._alone = alone
        self._worker = worker

    def pages(self, there: int) -> Iterator[Page[Folded]]:
        """As `checked_pages`."""
        head = CheckedHead()
        for page in self._sent(there):
            # This process, too, has to know when each epoch began.
            self._folding.learn(page.rows)
            head = page.head
            yield page
        if head.size == self._archive.last_position():
            return
        for page in self._alone.pages(max(there, head.size)):
            if page.head.size == head.size and page.head != head:
                raise damaged("The archive was changed while it was read.")
            if page.head.size > head.size:
                yield page

    def begin(self, writing: Writing) -> None:
        """Make the views of an empty store ready for a whole log."""
        self._alone.begin(writing)

    def end(self, writing: Writing) -> None:
        """Make them ready to be asked."""
        self._alone.end(writing)

    def take_in(self, connection: StoreConnection, folded: Folded) -> None:
        """Write what a page's rows do to the views."""
        self._alone.take_in(connection, folded)

    def _sent(self, there: int) -> Iterator[Page[Folded]]:
        """What the worker sends, to the end or as far as it comes."""
        self._archive.let_go()  # the worker unpacks it
        handed = _Handed(self._mapper.handed_over(), self._streams.handed_over(), there)
        with ThreadPoolExecutor(1) as reader, suppress(EOFError, OSError):
            self._worker.recv()
            self._worker.send_bytes(_encode(handed))
            # Pages are taken off its hands while others are written: it seldom waits for that.
            coming = deque(reader.submit(self._worker.recv_bytes) for _ in range(_PAGES_AHEAD))
            while (sent := _sent.decode(coming.popleft().result())) is not None:
                coming.append(reader.submit(self._worker.recv_bytes))
                yield _received(sent)


def send_pages(connection: Connection, work: Work) -> None:
    """Take the keys, then send page after page; None after the last one, and for damage."""
    keys, stream_key, there = _handed.decode(taken_over(connection))
    mapper = EventMapper(work.ledger_id, KeySet.taken_over(keys), os.urandom)
    streams = StreamNames(stream_key)
    folding = Folding(mapper, Digests(streams.views_key()))
    pages = checked_pages(Archive(work.parts), folding.folded, streams.audit, there)
    with suppress(LedgerError):
        for page in pages:
            connection.send_bytes(_encode(_as_sent(page)))
    connection.send_bytes(_encode(None))


def _as_sent(page: Page[Folded]) -> _Sent:
    head, signed = _head_as_sent(page.head), _head_as_sent(page.signed)
    return _Sent(head, signed, list(page.rows), list(page.commits), page.folded)


def _received(sent: _Sent) -> Page[Folded]:
    head, signed = _head_received(sent.head), _head_received(sent.signed)
    return Page(head, signed, sent.rows, sent.commits, sent.folded)


def _head_as_sent(head: CheckedHead) -> _SentHead:
    frontier = head.frontier
    return frontier.size, frontier.nodes, head.recorded_at, head.epoch, head.signers, head.within


def _head_received(sent: _SentHead) -> CheckedHead:
    size, nodes, recorded_at, epoch, signers, within = sent
    return CheckedHead(Frontier(size, nodes), recorded_at, epoch, signers, within)
