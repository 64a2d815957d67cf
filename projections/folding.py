"""Rows folded into views before they are written, a page at a time.

What rows do to a view follows from the rows and their keys alone. So whoever has these can work it
out without any store, and another process can, while this one reads on and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ledger.aggregates.recorded import Recorded
from ledger.archive.pages import Page, checked_pages
from ledger.archive.reading import Archive
from ledger.codec.mapper import EventMapper
from ledger.errors import KeyUnavailable
from ledger.log.rows import EPOCH_STARTED, LogRow
from ledger.log.store import Connection, Writing
from projections.digests import Digests
from projections.view import Folded, batches_of, topics_of
from projections.views import Views, all_views

_KEPT_BYTES_MAX = 1024**2
"""Fewer texts than other walks keep: of 16 times as many a restore was no quicker."""


class Folding:
    """Opens rows and folds them into all views; for one thread."""

    def __init__(self, mapper: EventMapper, digests: Digests) -> None:
        self._opening = mapper.opening(_KEPT_BYTES_MAX)
        self._digests = digests
        self._views = all_views()
        self._prefixes = tuple({prefix for view in self._views for prefix in view.prefixes})
        self._lacking = False

    def folded(self, rows: Sequence[LogRow]) -> Folded:
        """What these rows, which go on from those before and were checked, do to the views.

        It ends before the first row whose key is lacking, and nothing behind it is folded. A record
        whose key was destroyed has no row in any view. Tampered as `Opening.recorded`.
        """
        if self._lacking:
            return Folded(rows[0].position, 0, {})
        recorded: list[Recorded] = []
        last = rows[-1].position
        for row in rows:
            # In which month an epoch began is learned from its start.
            if not (row.topic.startswith(self._prefixes) or row.topic == EPOCH_STARTED):
                continue
            try:
                recorded.append(self._opening.recorded(row))
            except KeyUnavailable as error:
                if error.code != "key-destroyed":
                    last, self._lacking = row.position - 1, True
                    break
        topics, digests = topics_of(recorded), self._digests
        batches = {view.name: batches_of(view, recorded, topics, digests) for view in self._views}
        return Folded(rows[0].position, last, batches)

    def learn(self, rows: Sequence[LogRow]) -> None:
        """Learn when epochs began from rows that need not be folded."""
        for row in rows:
            if row.topic == EPOCH_STARTED:
                with suppress(KeyUnavailable):
                    self._opening.recorded(row)


class Refolding:
    """Brings an archive into the views; this process checks and folds all of it itself.

    Where a key is lacking, the views stay behind, and whoever brings them forward tells what
    becomes of such a row.
    """

    def __init__(
        self,
        archive: Archive,
        views: Views,
        folding: Folding,
        audit_stream_of: Callable[[bytes], bytes] | None,
    ) -> None:
        self._archive = archive
        self._views = views
        self._folding = folding
        self._audit_stream_of = audit_stream_of

    def pages(self, there: int) -> Iterator[Page[Folded]]:
        """As `checked_pages`."""
        pages = checked_pages(self._archive, self._folding.folded, self._audit_stream_of, there)
        for page in pages:
            if page.folded is None:
                self._folding.learn(page.rows)
            yield page

    def begin(self, writing: Writing) -> None:
        """Make the views of an empty store ready for a whole log."""
        self._views.begin_filling(writing)

    def end(self, writing: Writing) -> None:
        """Make them ready to be asked."""
        self._views.end_filling(writing)

    def take_in(self, connection: Connection, folded: Folded) -> None:
        """Write what a page's rows do to the views."""
        self._views.take_in(connection, folded)
