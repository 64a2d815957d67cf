"""Proofs beside the examples of RFC 6962, an independent implementation, and every altered byte."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from ledger.proofs import (
    SubtreesByEdge,
    SubtreesOfLeaves,
    consistency_path,
    edge_of,
    included_root,
    inclusion_path,
    is_consistent,
)
from ledger.tree import EMPTY_ROOT, Frontier, node_hash

SIZES = st.integers(1, 200)


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def entries_of(size):
    return [number.to_bytes(2, "big") for number in range(size)]


def leaves_of(size):
    return list(map(leaf, entries_of(size)))


def root_of(size):
    return Frontier().extend(leaves_of(size)).root()


class Named:
    """The tree of seven leaves in RFC 6962, section 2.1.3, with the names that it has there."""

    a, b, c, d, e, f, j = leaves_of(7)
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741 # the RFC's name


SEVEN = SubtreesOfLeaves(leaves_of(7))


def test_the_drawn_tree_is_ours():
    """The names stand for the nodes that the RFC draws."""
    assert node_hash(Named.k, Named.l) == root_of(7)


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, [Named.b, Named.h, Named.l]),
        (3, [Named.c, Named.g, Named.l]),
        (4, [Named.f, Named.j, Named.k]),
        (6, [Named.i, Named.k]),
    ],
)
def test_an_audit_path_is_the_one_that_the_rfc_prints(index, path):
    """The audit paths of d0, d3, d4 and d6."""
    assert inclusion_path(SEVEN, index, 7) == path


@pytest.mark.parametrize(
    ("first", "path"),
    [
        (3, [Named.c, Named.d, Named.g, Named.l]),
        (4, [Named.l]),
        (6, [Named.i, Named.j, Named.k]),
    ],
)
def test_a_consistency_proof_is_the_one_that_the_rfc_prints(first, path):
    """The proofs of hash0, hash1 and hash2 against hash."""
    assert consistency_path(SEVEN, first, 7) == path


@settings(deadline=None)
@given(SIZES, st.data())
def test_an_inclusion_path_is_what_an_independent_implementation_makes(size, data):
    """Its paths begin with the leaf itself."""
    index = data.draw(st.integers(0, size - 1))
    oracle = InmemoryTree(algorithm="sha256")
    for entry in entries_of(size):
        oracle.append_entry(entry)
    theirs = oracle.prove_inclusion(index + 1, size).serialize()["path"]
    ours = inclusion_path(SubtreesOfLeaves(leaves_of(size)), index, size)
    assert [leaves_of(size)[index].hex(), *(one.hex() for one in ours)] == theirs


@settings(deadline=None)
@given(SIZES, st.data())
def test_a_consistency_path_leads_to_the_roots_of_an_independent_implementation(size, data):
    """Its proofs have another form, so it says what the two roots are."""
    first = data.draw(st.integers(1, size))
    oracle = InmemoryTree(algorithm="sha256")
    for entry in entries_of(size):
        oracle.append_entry(entry)
    ours = consistency_path(SubtreesOfLeaves(leaves_of(size)), first, size)
    roots = oracle.get_root(first), oracle.get_root(size)
    assert is_consistent(first, roots[0], size, roots[1], ours)


@settings(deadline=None)
@given(SIZES, st.data())
def test_every_leaf_is_proven_and_any_altered_byte_is_not(size, data):
    """A bit changed in the leaf, in a hash of the path or in the root does not fit."""
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(SubtreesOfLeaves(leaves_of(size)), index, size)
    parts = [leaves_of(size)[index], root_of(size), *path]
    assert included_root(parts[0], index, size, path) == parts[1]
    altered = with_a_bit_changed(parts, data)
    assert included_root(altered[0], index, size, altered[2:]) != altered[1]


@settings(deadline=None)
@given(SIZES, st.data())
def test_consistency_is_proven_and_any_altered_byte_is_not(size, data):
    """A bit changed in a root or in a hash of the path does not fit."""
    first = data.draw(st.integers(1, size))
    path = consistency_path(SubtreesOfLeaves(leaves_of(size)), first, size)
    parts = [root_of(first), root_of(size), *path]
    assert is_consistent(first, parts[0], size, parts[1], path)
    altered = with_a_bit_changed(parts, data)
    assert not is_consistent(first, altered[0], size, altered[1], altered[2:])


def with_a_bit_changed(parts, data):
    altered = list(map(bytearray, parts))
    which = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    altered[which][bit // 8] ^= 1 << bit % 8
    return list(map(bytes, altered))


@settings(deadline=None)
@given(SIZES, st.data())
def test_an_inclusion_proof_is_of_one_index_in_one_size(size, data):
    """Another index never fits; another size only where the leaf's way up is the same."""
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(SubtreesOfLeaves(leaves_of(size)), index, size)
    mine, root = leaves_of(size)[index], root_of(size)
    other = data.draw(st.integers(-2, 2 * size).filter(lambda one: one != index))
    assert included_root(mine, other, size, path) != root
    assert included_root(mine, index, index, path) is None
    assert included_root(mine, index, size, [*path, root]) is None
    assert not path or included_root(mine, index, size, path[:-1]) is None
    assert not path or included_root(mine, index, size, path[1:]) is None


@settings(deadline=None)
@given(SIZES, st.data())
def test_a_consistency_proof_is_of_two_sizes(size, data):
    """Sizes in the wrong order, and paths that are longer or shorter, do not fit."""
    first = data.draw(st.integers(1, size))
    path = consistency_path(SubtreesOfLeaves(leaves_of(size)), first, size)
    old, new = root_of(first), root_of(size)
    assert not is_consistent(first, old, size, new, [*path, new])
    assert not path or not is_consistent(first, old, size, new, path[:-1])
    assert not path or not is_consistent(first, old, size, new, [])
    assert first == size or not is_consistent(size, new, first, old, path)
    other = data.draw(SIZES.filter(lambda one: one != first))
    assert not is_consistent(other, root_of(other), size, new, path) or (
        consistency_path(SubtreesOfLeaves(leaves_of(size)), other, size) == path
    )


def test_nothing_is_in_an_empty_tree():
    """Sizes below one have no proofs at all."""
    assert included_root(EMPTY_ROOT, 0, 0, []) is None
    assert not is_consistent(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not is_consistent(0, EMPTY_ROOT, 7, root_of(7), [])


@settings(deadline=None)
@given(SIZES)
def test_the_edge_of_a_tree_is_made_of_its_subtrees(size):
    """Each root in a frontier is that of the perfect subtree it is named as."""
    leaves = leaves_of(size)
    subtrees = SubtreesOfLeaves(leaves)
    edge = edge_of(Frontier().extend(leaves))
    assert {place: subtrees.root(*place) for place in edge} == edge


@settings(deadline=None)
@given(SIZES, st.data())
def test_with_the_edge_known_few_subtrees_are_asked_for(size, data):
    """Of a leaf in the last perfect subtree nothing outside it is asked for."""
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    asked = []

    class Watched(SubtreesOfLeaves):
        def root(self, level, index):
            asked.append(range(index << level, (index + 1) << level))
            return super().root(level, index)

    edged = SubtreesByEdge(Watched(leaves), Frontier().extend(leaves))
    assert inclusion_path(edged, index, size) == inclusion_path(
        SubtreesOfLeaves(leaves), index, size
    )
    level, number = next(
        place for place in edge_of(Frontier().extend(leaves)) if place[1] == index >> place[0]
    )
    within = range(number << level, (number + 1) << level)
    assert len(asked) == level
    assert all(one.start in within and one.stop - 1 in within for one in asked)
