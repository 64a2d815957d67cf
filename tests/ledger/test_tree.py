"""The Merkle tree, beside RFC 6962's own roots and an independent implementation."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from ledger.tree import EMPTY_ROOT, Frontier, unpack_frontier


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def test_the_empty_tree_has_the_hash_of_nothing():
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70))
def test_a_root_is_what_an_independent_implementation_computes(entries):
    oracle = InmemoryTree(algorithm="sha256")
    for entry in entries:
        oracle.append_entry(entry)
    assert Frontier().extend(map(leaf, entries)).root() == oracle.get_root()


@given(st.integers(0, 200), st.integers(0, 60))
def test_extending_in_two_steps_is_extending_in_one(size, more):
    leaves = [leaf(bytes([number % 256, number // 256])) for number in range(size + more)]
    halfway = Frontier().extend(leaves[:size])
    packed = unpack_frontier(size, halfway.packed())
    assert packed == halfway
    assert packed.extend(leaves[size:]) == Frontier().extend(leaves)
