"""Building a view anew beside the one that serves, and comparing the two.

The idle table is filled in pages, each opened outside the lock; the last page is folded under it
and one row switches the tables. The table that served is then compared with the new one at the
same position: it takes in what was appended meanwhile, by the same fold, until one snapshot shows
both equally far. Both digests are of that position, so appends by others cannot make them differ.

A rebuild that was killed leaves nothing behind but a filled idle table, which the next one
empties. Of two at once, the later one wins and the earlier one ends in `rebuild-overtaken`.
"""

from __future__ import annotations

from typing import Any

from ledger.errors import Conflict
from ledger.log.store import Connection, Reading, Store
from projections.place import Place
from projections.view import Page, Progress, ViewKeeper

_SNAPSHOTS = 5
"""So often the comparison tries to meet a quiet moment before it takes the lock."""


class Rebuild:
    """One rebuild of one view."""

    def __init__(self, keeper: ViewKeeper, store: Store, progress: Progress) -> None:
        self._keeper = keeper
        self._places = keeper.places
        self._store = store
        self._progress = progress

    def run(self) -> dict[str, Any]:
        """`{"name", "digest_before", "digest_after", "same"}`."""
        with self._store.reading() as reading:
            damaged = self._places.damaged(reading)
        before, after = self._from_scratch() if damaged else self._beside()
        return {
            "name": self._keeper.view.name,
            "digest_before": before,
            "digest_after": after,
            "same": before == after,
        }

    def _from_scratch(self) -> tuple[str, str]:
        """A view whose own row counts for nothing is compared as it was found."""
        before = self._keeper.digest()
        self._keeper.bring_forward()
        return before, self._keeper.digest()

    def _beside(self) -> tuple[str, str]:
        self._keeper.bring_forward()
        served = self._emptied()
        self._fill(served)
        return self._compare(served)

    def _emptied(self) -> Place:
        """The view with its idle table empty; it may be as long as the log, so not at once."""
        begun: Place | None = None
        left = True
        while left:
            with self._store.writing() as writing:
                served = self._required(writing)
                if begun is not None and served.active != begun.active:
                    raise _overtaken()
                begun = served
                left = self._keeper.clear_some(writing.connection, served.idle)
                self._places.write_idle(writing.connection, 0)
        return served

    def _fill(self, served: Place) -> None:
        position, at_end = 0, False
        while not at_end:
            with self._store.reading() as reading:
                page = self._page(reading, position)
                total = reading.last_position()
            with self._store.writing() as writing:
                place = self._required(writing)
                if place.active != served.active:
                    raise _overtaken()
                self._expect_idle(writing.connection, position)
                self._keeper.apply(writing.connection, served.idle, page.recorded)
                self._places.write_idle(writing.connection, page.last)
                position = page.last
                at_end = position == writing.last_position()
                if at_end:
                    self._switch(writing, place)
            self._progress(position, max(total, position))

    def _switch(self, writing: Reading, place: Place) -> None:
        """Let the new table serve; the old one is now the idle one."""
        self._places.write(writing.connection, Place(place.idle, writing.last_position()))
        self._places.write_idle(writing.connection, place.position)

    def _compare(self, served: Place) -> tuple[str, str]:
        for _ in range(_SNAPSHOTS):
            with self._store.reading() as reading:
                place = self._switched(reading, served)
                if place.position == self._places.idle_position(reading.connection):
                    return self._digests(reading.connection, place)
            with self._store.writing() as writing:
                self._catch_up(writing, served)
        with self._store.writing() as writing:
            place = self._catch_up(writing, served)
            return self._digests(writing.connection, place)

    def _catch_up(self, writing: Reading, served: Place) -> Place:
        """Fold into the idle table what the new one holds already."""
        place = self._switched(writing, served)
        position = self._places.idle_position(writing.connection)
        while position < place.position:
            page = self._page(writing, position)
            recorded = [one for one in page.recorded if one.position <= place.position]
            self._keeper.apply(writing.connection, place.idle, recorded)
            position = min(page.last, place.position)
        self._places.write_idle(writing.connection, position)
        return place

    def _digests(self, connection: Connection, place: Place) -> tuple[str, str]:
        return (
            self._keeper.digest_of(connection, place.idle),
            self._keeper.digest_of(connection, place.active),
        )

    def _page(self, reading: Reading, position: int) -> Page:
        page = self._keeper.page(reading, position)
        if page.stopped is not None:
            raise page.stopped
        return page

    def _required(self, reading: Reading) -> Place:
        place = self._places.standing(reading)
        if place is None:
            raise _overtaken()
        return place

    def _switched(self, reading: Reading, served: Place) -> Place:
        place = self._required(reading)
        if place.active == served.active:
            raise _overtaken()
        return place

    def _expect_idle(self, connection: Connection, position: int) -> None:
        if self._places.idle_position(connection) != position:
            raise _overtaken()


def _overtaken() -> Conflict:
    return Conflict(
        "rebuild-overtaken",
        "Somebody else rebuilt or dropped the view meanwhile.",
        hint="The view serves; run `credledger replay rebuild` again to compare digests.",
    )
