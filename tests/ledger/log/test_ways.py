"""What somebody does to a log while a process is on its way through a commit of it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import Tampered
from ledger.log import columns
from ledger.log.following import CheckedHead, Follower
from ledger.log.rows import OPERATOR
from ledger.tree import Frontier
from tests.ledger.log.in_lists import InLists

PART = 20
SIGNED = 5
"""The size of the head before the long commit."""
ROWS = 10 * PART + SIGNED


class WithSigners(InLists):
    """One whose signers change."""

    table = ()

    def signers(self):
        return self.table or super().signers()


@pytest.fixture
def log(monkeypatch):
    """Two heads, the second of a commit too long to be held; with it another operator ended."""
    monkeypatch.setattr(columns, "PAGE_ROWS", PART)
    log = WithSigners(ROWS, SIGNED)
    frontier = Frontier().extend([row.leaf for row in log.rows[:SIGNED]])
    other = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)).public_key().public_bytes_raw()
    log.table = (
        log.introduced,
        log.signer.introduce(other, OPERATOR, "begin", Frontier()),
        log.signer.introduce(other, OPERATOR, "end", frontier),
    )
    log.sign(SIGNED)
    log.commits = [log.commits[0], log.commits[-1]]
    return log


@pytest.fixture
def follower(log):
    return Follower(log.row, observe=list, page_rows=PART, held_rows=PART)


def to_end(log, follower, head):
    return follower.follow_to_end(lambda page: follower.follow(log, page), head)


def test_signers_that_are_others_than_the_head_was_signed_over_are_found(log, follower):
    """The end of a key was taken away once the head that counts it had been checked."""
    signed = Follower(log.row).follow(log, CheckedHead(), until=SIGNED)
    assert signed.size == SIGNED
    whole = log.table
    within = follower.follow(log, signed)
    assert within.size < ROWS
    log.table = whole[:2]
    with pytest.raises(Tampered) as caught:
        to_end(log, follower, within)
    assert (caught.value.code, caught.value.position) == ("bad-signer", within.size)
    with pytest.raises(Tampered) as caught:
        to_end(log, follower, signed)
    assert (caught.value.code, caught.value.position) == ("bad-signature", ROWS)
    log.table = whole
    assert to_end(log, follower, signed).size == ROWS


def test_no_head_rests_within_a_commit(log, follower):
    """Cut off there, with a head beneath that nobody signed."""
    signed = Follower(log.row).follow(log, CheckedHead(), until=SIGNED)
    within = follower.follow(log, signed)
    log.rows = log.rows[: within.size]
    forged = log.signer.commit(within.frontier, within.signers)._replace(signature=bytes(64))
    log.commits = [log.commits[0], forged]
    for _ in range(2):
        with pytest.raises(Tampered) as caught:
            to_end(log, follower, within)
        assert (caught.value.code, caught.value.position) == ("rolled-back", within.size + 1)


def test_a_head_within_a_commit_that_is_there_again_does_not_end_the_log(log, follower):
    """The one beyond it was checked before, and is gone."""
    signed = Follower(log.row).follow(log, CheckedHead(), until=SIGNED)
    within = follower.follow(log, signed)
    log.sign(SIGNED)
    head = Follower(log.row).follow(log, within, until=within.size + SIGNED)
    size = head.size
    assert within.size < size < ROWS
    log.commits = [one for one in log.commits if one.size <= size]
    log.rows = log.rows[:size]
    with pytest.raises(Tampered) as caught:
        to_end(log, follower, head)
    assert (caught.value.code, caught.value.position) == ("rolled-back", size + 1)
