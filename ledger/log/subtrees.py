"""The roots of a log's perfect subtrees, from tiles where somebody keeps some, else from leaves.

A *tile* is the root over 16 hashes four levels below, hence over 16, 256, 4096, ... leaves. Only
full ones are kept; what lies right of them comes from the leaves in the log. A root at any level is
hashed from at most 8 tiles, or leaves; a path takes one look at tiles and one at leaves.

    level 8    tile                                   over 256 leaves
    level 4    tile tile tile ... tile   tile tile    over 16 leaves each
    level 0    the leaves in the log

A tile that is lacking is hashed from what lies below it and handed to whoever keeps tiles, page by
page, so that the next proof finds it. None is believed: what they lead to is held against a signed
root. Leaves are read as they are stored, for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ledger.errors import Tampered
from ledger.log.store import Reading, Store
from ledger.proofs import Place, perfect_root
from ledger.tree import HASH_BYTES

TILE_LEVELS = 4
TILE_HASHES = 1 << TILE_LEVELS
PAGE_TILES = 512
"""So many are made and kept at a time; for the lowest 8192 leaves are read in one snapshot."""


Progress = Callable[[int, int], None]
"""Told how many leaves were read, of how many; 0 where nobody knows."""
Range = tuple[int, int, int]
"""A level, the first number in it, and how many."""


class Tiles(Protocol):
    """Whoever keeps tiles; none of the three ever fails."""

    def roots(self, reading: Reading, ranges: Sequence[Range]) -> Mapping[Place, bytes]:
        """Those of the tiles in these ranges that are kept, in one look.

        A range of level 0 is of leaves, which lie in the log: they may come along, as stored.
        The snapshot may be of no further use after it.
        """
        ...

    def keep(self, roots: Mapping[Place, bytes]) -> None:
        """Have these from now on, if they can be kept."""
        ...

    def forget(self) -> None:
        """Have none any more."""
        ...


class NoTiles:
    """Where nobody keeps tiles."""

    def roots(self, reading: Reading, ranges: Sequence[Range]) -> Mapping[Place, bytes]:
        """None, whatever is asked for."""
        del reading, ranges
        return {}

    def keep(self, roots: Mapping[Place, bytes]) -> None:
        """They are lost."""

    def forget(self) -> None:
        """There are none."""


class LogSubtrees:
    """All perfect subtrees of the first `size` leaves of a log."""

    def __init__(self, store: Store, size: int, tiles: Tiles, progress: Progress) -> None:
        self._store = store
        self._size = size
        self._tiles = tiles
        self._progress = progress
        self._read = 0
        self._found: dict[Place, bytes] = {}
        self._held: dict[Place, list[bytes]] = {}

    def look_along(self, reading: Reading, index: int) -> None:
        """Read in one snapshot what a path beside this leaf is made of, as far as it is kept.

        The snapshot may be of no further use after it.
        """
        levels = range(0, self._size.bit_length(), TILE_LEVELS)
        ranges = [self._under(level, index >> level + TILE_LEVELS) for level in levels]
        self._found |= self._tiles.roots(reading, [one for one in ranges if one[2] > 0])

    def root(self, level: int, index: int) -> bytes:
        """The root of one subtree; `missing-row` or `altered-row` where leaves are not there."""
        above = level % TILE_LEVELS
        number, first = divmod(index << above, TILE_HASHES)
        tile = (level - above, number)
        hashes = self._held.get(tile)
        if hashes is None:
            hashes = self._held[tile] = self._hashes(*self._under(*tile))
        return perfect_root(hashes[first : first + (1 << above)])

    def _under(self, level: int, number: int) -> Range:
        """The hashes of a level that lie under one tile; fewer at the right edge."""
        first = number << TILE_LEVELS
        return level, first, min(TILE_HASHES, (self._size >> level) - first)

    def _hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """So many hashes of one level: leaves, or tiles; those that nobody kept are made."""
        try:
            return [self._found[level, number] for number in range(first, first + count)]
        except KeyError:
            return self._looked_up(level, first, count)

    def _looked_up(self, level: int, first: int, count: int) -> list[bytes]:
        """The same where some were not read along with others."""
        wanted = [(level, number) for number in range(first, first + count)]
        if level == 0:
            return self._leaves(first, count)
        found: dict[Place, bytes] = {one: self._found[one] for one in wanted if one in self._found}
        with self._store.reading() as reading:
            found |= self._tiles.roots(reading, [(level, first, count)])
        lacking = [number for _, number in (one for one in wanted if one not in found)]
        while lacking:
            begin = lacking[0]
            page = [number for number in lacking[:PAGE_TILES] if number < begin + PAGE_TILES]
            made = self._made(level, begin, page[-1] + 1 - begin)
            self._tiles.keep(made)
            found |= made
            lacking = lacking[len(page) :]
        return [found[one] for one in wanted]

    def _made(self, level: int, first: int, count: int) -> dict[Place, bytes]:
        """Tiles hashed from what lies below them."""
        below = self._hashes(level - TILE_LEVELS, first << TILE_LEVELS, count << TILE_LEVELS)
        begins = range(0, count << TILE_LEVELS, TILE_HASHES)
        roots = [perfect_root(below[begin : begin + TILE_HASHES]) for begin in begins]
        return {(level, number): root for number, root in enumerate(roots, first)}

    def _leaves(self, first: int, count: int) -> list[bytes]:
        with self._store.reading() as reading:
            leaves = reading.leaves_after(first, count)
        if len(leaves) != count:
            raise Tampered("missing-row", "A row is missing from the log.")
        if not _are_leaves(leaves):
            raise Tampered("altered-row", "A row cannot be one the ledger wrote.")
        self._read += count
        self._progress(self._read, 0)
        return leaves


def _are_leaves(leaves: Sequence[bytes]) -> bool:
    """Whether each can be a leaf: databases are not strict."""
    return all(type(leaf) is bytes and len(leaf) == HASH_BYTES for leaf in leaves)
