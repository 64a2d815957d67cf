"""A store as those see it who ask: whole, as far as this process has checked its log.

Whoever writes to the database can take rows away and put them back. What was checked to its end a
moment ago would then end earlier for one snapshot, and an answer that rests on that lack the newest
rows, though each row in it lies under a signed head. So no snapshot is given that ends before the
head which this process had checked when it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from ledger.log.following import rolled_back
from ledger.log.store import Reading, ServerState, Store, Writing


class Known(Protocol):
    """How far the log is known to go."""

    def reach(self) -> int:
        """So many rows were checked."""
        ...

    def catch_up(self) -> object:
        """See whether the log still goes on from there, or an older one was accepted here."""
        ...


class KnownSize:
    """A size that somebody else has checked."""

    def __init__(self, size: int) -> None:
        self._size = size

    def reach(self) -> int:
        """The size as it was told."""
        return self._size

    def catch_up(self) -> None:
        """Nothing: it stays as it was told."""


class CheckedStore:
    """A store of which no snapshot is given that ends before what is known of its log."""

    def __init__(self, store: Store, known: Known | None = None) -> None:
        self.itself = store
        """As those see it who check it."""
        self._known = known or KnownSize(0)

    def know(self, known: Known) -> None:
        """What is known from now on."""
        self._known = known

    @property
    def lies_by_stream(self) -> bool:
        """Of the store itself, as all that follows."""
        return self.itself.lies_by_stream

    @property
    def works_elsewhere(self) -> bool:
        """Likewise."""
        return self.itself.works_elsewhere

    @property
    def address(self) -> str:
        """Where it is, as shown to people."""
        return self.itself.address

    def create(self) -> None:
        """Make the place and its tables; nothing happens where they are already."""
        self.itself.create()

    def server(self) -> ServerState | None:
        """The state of the server, if there is one."""
        return self.itself.server()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """A short consistent snapshot; `rolled-back` where it ends before what was checked."""
        known = self._known.reach()  # before the snapshot is taken: others may append meanwhile
        with self.itself.reading() as reading:
            if _ends(reading) >= known:
                yield reading
                return
        self._known.catch_up()
        known = self._known.reach()
        with self.itself.reading() as reading:
            end = _ends(reading)
            if end < known:
                raise rolled_back(end)
            yield reading

    def writing(self, *, durable: bool = True) -> AbstractContextManager[Writing]:
        """A snapshot under the lock, which nothing is answered from."""
        return self.itself.writing(durable=durable)

    def close(self) -> None:
        """Let go of all connections."""
        self.itself.close()


def _ends(reading: Reading) -> int:
    extent = reading.extent()
    return min(extent.last, extent.size)
