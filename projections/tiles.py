"""The tiles of a ledger's tree in a table, so that a proof in a long log costs little more.

    tiles(level, number, root)        level 4, 8, 12, ...; numbers from 0; full tiles only

They are a view: made from the log alone, and made anew where they are not there. Unlike the other
views they need no key (a root is no secret), have no place of their own (each row stands for
itself, and does not change), and are not maintained by appends: whoever asks for a proof has those
made that it lacks, and puts them here, a page under one short lock. Nothing rests on them, see
`ledger.log.subtrees`; so where they cannot be read or written, on a replica or as a role that may
not, proofs are made without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.errors import LedgerError
from ledger.log.store import Reading, Store
from ledger.log.subtrees import TILE_HASHES, Range
from ledger.proofs import Place
from ledger.tree import HASH_BYTES

_MANY = "SELECT level, number, root FROM tiles WHERE level = ? AND number >= ? AND number < ?"
_FEW = (
    "SELECT * FROM (SELECT level, number, root FROM tiles WHERE level = ? AND number >= ?"
    f" ORDER BY number LIMIT {TILE_HASHES}) AS few"
)
_LEAVES = (
    "SELECT * FROM (SELECT 0 AS level, position - 1 AS number, leaf FROM log WHERE position > ?"
    f" ORDER BY position LIMIT {TILE_HASHES}) AS few"
)
"""The hashes of level 0, numbered from 0 as those of all levels are.

A limit that is told says how little a statement reads whatever it is asked for, so that PostgreSQL
plans it once: planning took as long as all the rest. What comes too much is of no harm.
"""
_KEEP = (
    "INSERT INTO tiles (level, number, root) VALUES (?, ?, ?)"
    " ON CONFLICT (level, number) DO UPDATE SET root = excluded.root"
)


class StoredTiles:
    """The table of one ledger's tiles."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_readable = True
        self._is_writable = True

    def roots(self, reading: Reading, ranges: Sequence[Range]) -> Mapping[Place, bytes]:
        """Those of the tiles in these ranges that are here, and the leaves, in one look."""
        if not (ranges and self._is_readable):
            return {}
        statements: list[str] = []
        asked: list[int] = []
        for level, first, count in ranges:
            few = count <= TILE_HASHES
            statements.append((_FEW if few else _MANY) if level else _LEAVES)
            asked += (level, first) if level else (first,)
            asked += () if few else (first + count,)
        try:
            found = reading.connection.execute(" UNION ALL ".join(statements), asked)
        except LedgerError:
            self._is_readable = False
            return {}
        return {
            (level, number): root
            for level, number, root in found
            if type(root) is bytes and len(root) == HASH_BYTES
        }

    def keep(self, roots: Mapping[Place, bytes]) -> None:
        """Put these here; a crash may lose them again."""
        if self._is_writable:
            rows = [(*place, root) for place, root in roots.items()]
            self._is_writable = self._written(_KEEP, rows)

    def forget(self) -> None:
        """Take out all; those that cannot be taken out are not read any more."""
        self._is_readable = self._written("DELETE FROM tiles", [()])

    def _written(self, statement: str, rows: Sequence[tuple[object, ...]]) -> bool:
        try:
            with self._store.writing(durable=False) as writing:
                writing.connection.executemany(statement, rows)
        except LedgerError:
            return False
        return True
