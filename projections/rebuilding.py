"""Building views anew beside the ones that serve, and comparing the two.

The log is read once for all of them: each row is opened and folded once, outside the lock; under
it a page is only written into the idle table of every view that looks at it. As long as nobody else
appends, the next page is read and folded by a second thread meanwhile. Where others append, there
is none to hold up who holds the lock, pages are small, and the rebuild steps aside after each for
as long as it held the lock, so that those who read wait for little. Nothing of it need be durable
before the last page, in which one row for each view switches its tables.

The table that served is then compared with the new one at the same position: it takes in what was
appended meanwhile, by the same fold, until one snapshot shows both equally far. Both digests are
of that position, so appends by others cannot make them differ.

A rebuild that was killed leaves nothing behind but filled idle tables, which the next one
empties. Of two at once, the later one wins and the earlier one ends in `rebuild-overtaken`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from ledger.codec.mapper import EventMapper
from ledger.errors import Conflict
from ledger.log.pace import Pace
from ledger.log.store import Connection, Reading, Store
from projections.place import Place, Reach
from projections.view import Batch, Page, Progress, ViewKeeper, read_page

_SNAPSHOTS = 5
"""So often the comparison tries to meet a quiet moment before it takes the lock."""


class _ReadAhead(NamedTuple):
    """A page that was read, and what it does to each view."""

    page: Page
    total: int
    """The log's last position then."""
    batches: dict[ViewKeeper, list[Batch]]
    rows: int
    """So many rows were asked for."""


class Rebuild:
    """One rebuild of some views."""

    def __init__(
        self,
        keepers: Iterable[ViewKeeper],
        store: Store,
        mapper: EventMapper,
        progress: Progress,
    ) -> None:
        self._keepers = tuple(keepers)
        self._store = store
        self._mapper = mapper
        self._opening = mapper.opening()
        self._progress = progress
        self._pace = Pace()

    def run(self) -> list[dict[str, Any]]:
        """`{"name", "digest_before", "digest_after", "same"}` of each view."""
        with self._store.reading() as reading:
            damaged = {one for one in self._keepers if one.places.damaged(reading)}
        found = self._beside([one for one in self._keepers if one not in damaged])
        found.update((keeper, self._from_scratch(keeper)) for keeper in damaged)
        return [_document(keeper, *found[keeper]) for keeper in self._keepers]

    def _from_scratch(self, keeper: ViewKeeper) -> tuple[str, str]:
        """A view whose own row counts for nothing is compared as it was found."""
        before = keeper.digest()
        keeper.bring_forward()
        return before, keeper.digest()

    def _beside(self, keepers: list[ViewKeeper]) -> dict[ViewKeeper, tuple[str, str]]:
        for keeper in keepers:
            keeper.bring_forward()
        served = {keeper: self._emptied(keeper) for keeper in keepers}
        if served:
            self._fill(served)
        return {keeper: self._compare(keeper, place) for keeper, place in served.items()}

    def _emptied(self, keeper: ViewKeeper) -> Place:
        """The view with its idle table empty; it may be as long as the log, so not at once."""
        begun: Place | None = None
        left = True
        while left:
            with self._store.writing(durable=False) as writing:
                self._pace.take_lock()
                served = _required(keeper, writing)
                if begun is not None and served.active != begun.active:
                    raise _overtaken()
                begun = served
                left = keeper.clear_some(writing.connection, served.idle, self._pace.rows)
                keeper.places.write_idle(writing.connection, Reach(0))
                last = writing.last_position()
            self._pace.let_go(last)
        return served

    def _fill(self, served: dict[ViewKeeper, Place]) -> None:
        prefixes = tuple({prefix for keeper in served for prefix in keeper.view.prefixes})
        position, pace = 0, self._pace
        with ThreadPoolExecutor(1) as reader:

            def read(after: int) -> Future[_ReadAhead]:
                return reader.submit(self._read, served, after, prefixes, pace.rows)

            coming = read(position)
            while True:
                page, total, batches, asked = coming.result()
                if page.stopped is not None:
                    if not page.learn(self._mapper):
                        raise page.stopped
                    coming = read(position)
                    continue
                if asked > pace.rows:  # somebody has begun to append since it was asked for
                    coming = read(position)
                    continue
                if pace.is_calm:
                    coming = read(page.last)
                position, last = self._written(served, page, total, batches, position, prefixes)
                self._progress(position, max(total, position))
                if position == last:
                    return
                calm = pace.is_calm
                pace.let_go(last)
                if not calm:
                    coming = read(position)

    def _read(
        self, keepers: Iterable[ViewKeeper], position: int, prefixes: tuple[str, ...], rows: int
    ) -> _ReadAhead:
        """The page after this position, folded, in a snapshot of its own and outside the lock."""
        with self._store.reading() as reading:
            page = read_page(reading, self._opening, position, prefixes, rows)
            total = reading.last_position()
        batches = {keeper: keeper.folded(page.recorded) for keeper in keepers}
        return _ReadAhead(page, total, batches, rows)

    def _written(
        self,
        served: dict[ViewKeeper, Place],
        page: Page,
        total: int,
        batches: dict[ViewKeeper, list[Batch]],
        position: int,
        prefixes: tuple[str, ...],
    ) -> tuple[int, int]:
        """How far the new tables hold the log once the page is in them, and how far it goes.

        Where that is the same, they serve.
        """
        pace = self._pace
        # The log only grows: where too much is left here, the tables are not switched yet.
        with self._store.writing(durable=pace.may_end(total - page.last)) as writing:
            pace.take_lock()
            last = writing.last_position()
            for keeper, place in served.items():
                self._take_in(writing, keeper, place, position, page.last, batches[keeper])
            position = page.last
            if position < last and pace.may_end(last - position):
                # Others append without pause: under the lock the end holds still.
                page = self._page(writing, position, prefixes, last - position)
                for keeper, place in served.items():
                    rest = keeper.folded(page.recorded)
                    self._take_in(writing, keeper, place, position, page.last, rest)
                position = page.last
            if position == last:
                for keeper in served:
                    _switch(writing, keeper)
        return position, last

    def _take_in(
        self,
        writing: Reading,
        keeper: ViewKeeper,
        served: Place,
        position: int,
        last: int,
        batches: list[Batch],
    ) -> None:
        """Write a page into the idle table of one view, if nobody else rebuilt it meanwhile."""
        if _required(keeper, writing).active != served.active:
            raise _overtaken()
        idle = keeper.places.idle(writing.connection)
        if idle.position != position:
            raise _overtaken()
        floor = keeper.carry_out(writing.connection, served.idle, batches, idle.floor)
        keeper.places.write_idle(writing.connection, Reach(last, floor))

    def _compare(self, keeper: ViewKeeper, served: Place) -> tuple[str, str]:
        for _ in range(_SNAPSHOTS):
            with self._store.reading() as reading:
                place = _switched(keeper, reading, served)
                if place.position == keeper.places.idle(reading.connection).position:
                    return _digests(keeper, reading.connection, place)
            with self._store.writing(durable=False) as writing:
                self._catch_up(keeper, writing, served)
        with self._store.writing(durable=False) as writing:
            place = self._catch_up(keeper, writing, served)
            return _digests(keeper, writing.connection, place)

    def _catch_up(self, keeper: ViewKeeper, writing: Reading, served: Place) -> Place:
        """Fold into the idle table what the new one holds already."""
        place = _switched(keeper, writing, served)
        position, floor = keeper.places.idle(writing.connection)
        while position < place.position:
            page = self._page(writing, position, keeper.view.prefixes)
            recorded = [one for one in page.recorded if one.position <= place.position]
            floor = keeper.apply(writing.connection, place.idle, recorded, floor)
            position = min(page.last, place.position)
        keeper.places.write_idle(writing.connection, Reach(position, floor))
        return place

    def _page(
        self, reading: Reading, position: int, prefixes: tuple[str, ...], rows: int | None = None
    ) -> Page:
        page = read_page(reading, self._mapper.opening(), position, prefixes, rows)
        if page.stopped is not None:
            raise page.stopped
        return page


def _document(keeper: ViewKeeper, before: str, after: str) -> dict[str, Any]:
    return {
        "name": keeper.view.name,
        "digest_before": before,
        "digest_after": after,
        "same": before == after,
    }


def _switch(writing: Reading, keeper: ViewKeeper) -> None:
    """Let the new table serve; the old one is now the idle one."""
    place = _required(keeper, writing)
    floor = keeper.places.idle(writing.connection).floor
    keeper.places.write(writing.connection, Place(place.idle, writing.last_position(), floor))
    keeper.places.write_idle(writing.connection, Reach(place.position, place.floor))


def _digests(keeper: ViewKeeper, connection: Connection, place: Place) -> tuple[str, str]:
    idle = keeper.places.idle(connection)
    before = keeper.digest_of(connection, place.idle, idle.floor)
    return before, keeper.digest_of(connection, place.active, place.floor)


def _required(keeper: ViewKeeper, reading: Reading) -> Place:
    place = keeper.places.standing(reading)
    if place is None:
        raise _overtaken()
    return place


def _switched(keeper: ViewKeeper, reading: Reading, served: Place) -> Place:
    place = _required(keeper, reading)
    if place.active == served.active:
        raise _overtaken()
    return place


def _overtaken() -> Conflict:
    return Conflict(
        "rebuild-overtaken",
        "Somebody else rebuilt or dropped the view meanwhile.",
        hint="The view serves; run `credledger replay rebuild` again to compare digests.",
    )
