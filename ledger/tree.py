"""The Merkle tree over the log's leaves, as RFC 6962 draws it (section 2.1).

    leaf   = SHA256(0x00 || header || SHA256(sealed))
    node   = SHA256(0x01 || left || right)
    empty  = SHA256("")

A *frontier* is the shortest list of perfect subtrees whose roots, largest first, cover the first
`size` leaves; there is one for each bit set in `size`. Appending a leaf and folding to the root
both cost O(log size), so a writer never holds more of the tree than its right edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256 as _sha256

import msgspec

HASH_BYTES = 32
LEAF_PREFIX, NODE_PREFIX = b"\x00", b"\x01"
_NODE = _sha256(NODE_PREFIX)
"""Copied for each of many nodes, which takes less time than another one begun."""
EMPTY_ROOT = _sha256(b"").digest()


def leaf_hash(header: bytes, sealed: bytes) -> bytes:
    """The leaf of one row: 32 bytes."""
    return leaf_hash_by_digest(header, _sha256(sealed).digest())


def leaf_hash_by_digest(header: bytes, sealed_digest: bytes) -> bytes:
    """The same where only the SHA-256 of the sealed bytes is at hand."""
    return _sha256(LEAF_PREFIX + header + sealed_digest).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes: 32 bytes."""
    return _sha256(NODE_PREFIX + left + right).digest()


class Frontier(msgspec.Struct, frozen=True):
    """The right edge of a tree of `size` leaves."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()
    """Roots of the perfect subtrees, largest first; one for each bit set in `size`."""

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after these leaves."""
        # Level by level from the leaves up: at each, a perfect subtree that stood alone takes the
        # first of the new ones as its right half, and the last one left alone stays at the edge.
        size, nodes = self.size, list(self.nodes)
        level, edge = list(leaves), list[bytes]()
        added, height, begun = len(level), 0, _NODE.copy
        while level:
            if size >> height & 1:
                level.insert(0, nodes.pop())
            if len(level) & 1:
                edge.append(level.pop())
            above = list[bytes]()
            for left, right in zip(level[::2], level[1::2], strict=True):
                node = begun()
                node.update(left + right)
                above.append(node.digest())
            level = above
            height += 1
        return Frontier(size + added, (*nodes, *reversed(edge)))

    def root(self) -> bytes:
        """The Merkle root of the whole tree."""
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root

    def packed(self) -> bytes:
        """The nodes one after the other, as a commit row stores them."""
        return b"".join(self.nodes)


def unpack_frontier(size: int, packed: bytes) -> Frontier | None:
    """The frontier in a commit row, or None when its length does not fit the size."""
    if size < 0 or len(packed) != HASH_BYTES * size.bit_count():
        return None
    nodes = (packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))
    return Frontier(size, tuple(nodes))
