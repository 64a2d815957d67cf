r"""Proofs about the log's tree: that a leaf is in it, and that one tree begins with another.

    inclusion     the siblings on the way from a leaf up to the root, lowest first
    consistency   the roots of subtrees that give both the root at an earlier size and the later one

                 root              of leaf 2 in 7 leaves:  leaf 3, (0 1), (4 5 6)
              /        \
         (0 1 2 3)   (4 5 6)       of 3 leaves in 7:       leaf 2, leaf 3, (0 1), (4 5 6)
          /    \      /   \
       (0 1) (2 3) (4 5)   6

Either has about log2(size) hashes. Whoever makes one needs the roots of that many *perfect
subtrees*: 2^level leaves that begin at a multiple of 2^level. How they come by those is theirs
(`Subtrees`), so a proof costs as little as they do. Whoever checks one needs no tree at all.

Indices begin at 0: the row at position p is the leaf of index p - 1. Nothing here reads or writes.

Source: RFC 6962, sections 2.1.1 and 2.1.2; the checks are those of RFC 9162, 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from ledger.tree import NODE_PREFIX, Frontier, node_hash

Place = tuple[int, int]
"""Level and index of a perfect subtree."""


class Subtrees(Protocol):
    """Whoever knows the roots of perfect subtrees."""

    def root(self, level: int, index: int) -> bytes:
        """The root over the 2^level leaves from index * 2^level on, all of them in the tree."""
        ...


class SubtreesOfLeaves:
    """All subtrees of leaves that are at hand."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves

    def root(self, level: int, index: int) -> bytes:
        """The root, hashed from its leaves each time."""
        return perfect_root(self._leaves[index << level : (index + 1) << level])


class SubtreesByEdge:
    """Subtrees of which some stand in frontiers, as the right edge of a signed tree does."""

    def __init__(self, others: Subtrees, *frontiers: Frontier) -> None:
        self._others = others
        self._edge = {
            place: node for frontier in frontiers for place, node in edge_of(frontier).items()
        }

    def root(self, level: int, index: int) -> bytes:
        """The root, from a frontier where it stands in one."""
        return self._edge.get((level, index)) or self._others.root(level, index)


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^n hashes of one level."""
    # The same as a frontier that is extended by them, in as few steps as can be: whoever makes
    # tiles of a log does this for all of it.
    level = hashes
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [sha256(NODE_PREFIX + left + right).digest() for left, right in pairs]
    return level[0]


def edge_of(frontier: Frontier) -> dict[Place, bytes]:
    """Which perfect subtrees a frontier holds the roots of."""
    size = frontier.size
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    places = [(level, (size >> level) - 1) for level in levels]
    return dict(zip(places, frontier.nodes, strict=True))


def inclusion_path(subtrees: Subtrees, index: int, size: int) -> list[bytes]:
    """The siblings of a leaf in the tree of `size` leaves, lowest first."""
    assert 0 <= index < size
    begin, end, path = 0, size, list[bytes]()
    while end - begin > 1:
        middle = begin + _left_part(end - begin)
        if index < middle:
            path.append(_root_between(subtrees, middle, end))
            end = middle
        else:
            path.append(_root_between(subtrees, begin, middle))
            begin = middle
    return path[::-1]


def consistency_path(subtrees: Subtrees, first: int, second: int) -> list[bytes]:
    """What proves that the tree of `second` leaves begins with that of `first`, lowest first."""
    assert 0 < first <= second
    begin, end, path = 0, second, list[bytes]()
    while first != end:
        middle = begin + _left_part(end - begin)
        if first <= middle:
            path.append(_root_between(subtrees, middle, end))
            end = middle
        else:
            path.append(_root_between(subtrees, begin, middle))
            begin = middle
    if begin:
        path.append(_root_between(subtrees, begin, end))  # else it is the first root itself
    return path[::-1]


def included_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that this path leads to from the leaf; None where it is of another length."""
    if not 0 <= index < size:
        return None
    node, last = index, size - 1
    root = leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            node, last = _past_right_edge(node, last)
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the path proves that the second tree begins with the first."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    hashes = [first_root, *path] if first.bit_count() == 1 else list(path)
    if not hashes:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = hashes[0]
    for other in hashes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(other, old), node_hash(other, new)
            node, last = _past_right_edge(node, last)
        else:
            new = node_hash(new, other)
        node, last = node >> 1, last >> 1
    return (old, new, last) == (first_root, second_root, 0)


def _left_part(size: int) -> int:
    """The largest power of two below a size of at least 2: what the left subtree holds."""
    return 1 << (size - 1).bit_length() - 1


def _root_between(subtrees: Subtrees, begin: int, end: int) -> bytes:
    """The root over the leaves of a node; those of the right edge are no perfect subtrees."""
    size, nodes = end - begin, list[bytes]()
    if not size & size - 1:  # a node of 2^n leaves is a perfect subtree, and most are
        level = size.bit_length() - 1
        return subtrees.root(level, begin >> level)
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append(subtrees.root(level, begin >> level))
        begin += 1 << level
    return Frontier(size, tuple(nodes)).root()


def _past_right_edge(node: int, last: int) -> tuple[int, int]:
    """Where the node stands in the level in which it is a right child, or the first of all."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last
