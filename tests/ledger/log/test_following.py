"""A commit as long as the log: checked as a whole, and no more than a part of it at hand."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Tampered
from ledger.log import columns
from ledger.log.following import CheckedHead, Follower
from ledger.log.rows import AUDITOR, signers_digest
from ledger.log.signers import HeadSigner
from ledger.log.tips import StreamTips
from ledger.log.verification import verify_log
from ledger.tree import Frontier
from tests.ledger.log.in_lists import Counted, InLists, Sealed

PART = 20
ROWS = 30 * PART + 7


@pytest.fixture
def parts(monkeypatch):
    """Rows are read a few at a time, and counted."""
    monkeypatch.setattr(columns, "PAGE_ROWS", PART)
    gc.collect()  # what a test before this one raised may hold some
    monkeypatch.setattr(Sealed, "alive", 0)
    monkeypatch.setattr(Sealed, "most", 0)


@pytest.fixture
def one_commit(parts):
    """A log whose heads but the last were taken away, which is as good as a log of one commit."""
    log = Counted(ROWS, 5)
    log.commits = log.commits[-1:]
    return log


def found(log, **how):
    checks = [check for check in verify_log(log, **how).checks if not check.ok]
    return [(check.name, check.position) for check in checks]


def changed(log, position, **columns_of_it):
    log.rows[position - 1] = log.fitted(log.rows[position - 1]._replace(**columns_of_it))


def followed(log, follower):
    """The heads on the way to the end."""
    heads, head = [], CheckedHead()
    while True:
        moved = follower.follow(log, head)
        if moved.size == head.size:
            return heads
        heads.append(head := moved)


def by_several(log):
    def pool(_, **how):
        return ThreadPoolExecutor(1, **how)

    return {"jobs": 2, "reopen": lambda: log, "stretch_rows": 50, "shared_rows": 0, "pool": pool}


def test_a_check_of_the_whole_log_holds_a_part_of_a_commit_however_long_that_is(one_commit):
    marks = [1, PART, PART + 1, 77, 2 * PART, ROWS - 1, ROWS]
    whole = verify_log(InLists(ROWS, 1), marks=marks)
    assert Sealed.most <= PART
    for how in ({}, by_several(one_commit)):
        told = verify_log(one_commit, marks=marks, **how)
        assert told.ok
        assert (told.root, told.marks) == (whole.root, whole.marks)
        assert Sealed.most <= PART


@pytest.mark.parametrize("gap", [2, PART, PART + 1, ROWS])
def test_a_gap_is_told_of_once_the_head_fits_and_what_is_wrong_with_the_head_before_it(
    one_commit, gap
):
    changed(one_commit, gap, version=500)
    one_commit.sign(ROWS)
    assert found(one_commit) == found(one_commit, **by_several(one_commit)) == [("stream-gap", gap)]
    one_commit.commits[0] = one_commit.commits[0]._replace(signature=bytes(64))
    assert found(one_commit) == [("bad-signature", ROWS)]
    one_commit.commits[0] = one_commit.commits[0]._replace(root=bytes(32))
    assert found(one_commit) == [("wrong-root", ROWS)]
    one_commit.rows[-1] = one_commit.rows[-1]._replace(leaf=bytes(32))
    assert found(one_commit) == [("altered-row", ROWS)]


def test_streams_of_rows_that_nobody_signed_for_are_not_gathered(one_commit, monkeypatch):
    """Somebody can put there as many as the disk holds, and a head that counts them."""
    seen = []
    follower = Follower(
        one_commit.row,
        every_signature=True,
        compare=lambda rows, _: seen.append(rows.last),
        page_rows=PART,
    )
    one_commit.commits[0] = one_commit.commits[0]._replace(signature=bytes(64))
    with pytest.raises(Tampered) as caught:
        follower.follow(one_commit, CheckedHead())
    assert (caught.value.code, seen) == ("bad-signature", [])


def test_who_must_see_rows_vouched_for_is_given_a_page_of_them_at_a_time(one_commit):
    seen, tips, alone = [], StreamTips(), StreamTips()
    follower = Follower(
        one_commit.row, observe=seen.extend, tips=tips, page_rows=2 * PART, held_rows=4 * PART
    )
    head, sizes = CheckedHead(), []
    while (moved := follower.follow(one_commit, head)).size != head.size:
        head = moved
        sizes.append(head.size)
        assert head.is_within_commit is (head.size < ROWS)
        assert follower.head_size == ROWS
        assert len(seen) == head.size
        del seen[:-1]
        seen[:] = [None] * head.size
    assert sizes == [*range(2 * PART, ROWS, 2 * PART), ROWS]
    assert Sealed.most <= 4 * PART
    held = Follower(one_commit.row, tips=alone, page_rows=2 * PART, held_rows=ROWS)
    assert followed(one_commit, held) == [head]
    assert tips.unremembered() == alone.unremembered()


def test_a_commit_that_may_be_held_is_one_page(one_commit):
    seen = []
    follower = Follower(one_commit.row, observe=seen.extend, page_rows=PART, held_rows=ROWS)
    assert [head.size for head in followed(one_commit, follower)] == [ROWS]
    assert [row.position for row in seen] == [*range(1, ROWS + 1)]


DAMAGE = {
    "the last row": (lambda log: changed(log, ROWS, sealed=b"other"), "wrong-frontier"),
    "its leaf": (lambda log: log.rows.append(log.rows.pop()._replace(leaf=bytes(32))), "altered-row"),
    "the root": (lambda log: log.commits.append(log.commits.pop()._replace(root=bytes(32))), "wrong-root"),
    "the signature": (
        lambda log: log.commits.append(log.commits.pop()._replace(signature=bytes(64))),
        "bad-signature",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("every_signature", [True, False])
def test_no_row_is_seen_before_the_head_of_its_commit_fits(one_commit, damage, every_signature):
    seen = []
    follower = Follower(
        one_commit.row,
        observe=seen.extend,
        every_signature=every_signature,
        page_rows=PART,
        held_rows=PART,
    )
    do, code = DAMAGE[damage]
    do(one_commit)
    if damage == "the root" and not every_signature:
        code = "bad-signature"  # of a head that is to vouch for a page it is looked at first
    with pytest.raises(Tampered) as caught:
        follower.follow(one_commit, CheckedHead())
    assert (caught.value.code, caught.value.position, seen) == (code, ROWS, [])


def test_rows_that_are_other_ones_when_they_are_read_again_are_not_seen(one_commit):
    seen = []
    follower = Follower(one_commit.row, observe=seen.extend, page_rows=PART, held_rows=PART)
    head = follower.follow(one_commit, CheckedHead())
    true = list(one_commit.rows)
    changed(one_commit, PART + 1, sealed=b"other")
    with pytest.raises(Tampered) as caught:
        follower.follow(one_commit, head)
    assert (caught.value.code, caught.value.position) == ("wrong-frontier", ROWS)
    assert seen == one_commit.rows[:PART]
    one_commit.rows = true
    assert follower.follow(one_commit, head).size == 2 * PART
    assert seen == true[: 2 * PART]


def test_rows_that_flicker_are_not_seen(one_commit):
    """One row when the head is checked, another one when it is to be shown."""
    seen, asked = [], []

    class Flickering(InLists):
        def rows_after(self, position, limit):
            asked.append(position)
            rows = super().rows_after(position, limit)
            if asked.count(0) < 2:
                return rows
            return [self.fitted(rows[0]._replace(sealed=b"other")), *rows[1:]]

    log = Flickering(ROWS, ROWS)
    follower = Follower(log.row, observe=seen.extend, page_rows=PART, held_rows=PART)
    with pytest.raises(Tampered) as caught:
        follower.follow(log, CheckedHead())
    assert (caught.value.code, seen) == ("wrong-frontier", [])


def test_another_follower_goes_on_from_within_a_commit(one_commit):
    first = Follower(one_commit.row, observe=list, page_rows=PART, held_rows=PART)
    within = first.follow(one_commit, CheckedHead())
    seen = []
    other = Follower(one_commit.row, observe=seen.extend, page_rows=PART, held_rows=PART)
    head = other.follow(one_commit, within)
    assert (head.size, len(seen)) == (2 * PART, PART)


ALTERED = {
    "sealed": b"other",
    "stream": bytes(16),
    "version": 9,
    "topic": "audit.queried",
    "epoch": 2,
    "period": 197002,
    "recorded_at": 1,
}
OF_HEADS = {"root": bytes(32), "frontier": bytes(32), "signature": bytes(64), "signer": bytes(32)}
rows_altered = st.tuples(
    st.integers(0, 59), st.sampled_from(sorted(ALTERED)), st.sampled_from(["kept", "fitted"])
)
heads_altered = st.tuples(st.integers(0, 19), st.sampled_from(sorted(OF_HEADS)))


@settings(deadline=None)
@given(
    alterations=st.lists(rows_altered, max_size=2),
    of_heads=st.lists(heads_altered, max_size=1),
    signed=st.booleans(),
    gone=st.sets(st.integers(0, 58)),
    rows_a_commit=st.sampled_from([1, 3, 7]),
    part=st.sampled_from([1, 2, 5]),
)
def test_what_a_check_finds_is_the_same_in_parts_of_any_length(
    alterations, of_heads, signed, gone, rows_a_commit, part
):
    """Rows altered, some of them with heads that somebody signed for them; heads taken away."""
    log = InLists(60, rows_a_commit)
    for at, column, leaf in alterations:
        altered = log.rows[at]._replace(**{column: ALTERED[column]})
        log.rows[at] = log.fitted(altered) if leaf == "fitted" else altered
    if signed:
        log.sign(rows_a_commit)
    for number, column in of_heads:
        at = number % len(log.commits)
        log.commits[at] = log.commits[at]._replace(**{column: OF_HEADS[column]})
    newest = log.commits.pop()
    log.commits = [one for at, one in enumerate(log.commits) if at not in gone] + [newest]
    marks = range(0, 60, 7)
    whole = verify_log(log, marks=marks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PAGE_ROWS", part)
        assert verify_log(log, marks=marks) == whole
        assert verify_log(log, marks=marks, **by_several(log)) == whole


def test_a_way_that_was_looked_for_is_gone_along_from_its_middle(one_commit):
    """By who walks from the end of a log to its beginning, part by part."""
    first = Follower(one_commit.row, observe=list, page_rows=PART, held_rows=PART)
    first.follow(one_commit, CheckedHead())
    asked = []
    read = one_commit.tuples_after
    one_commit.tuples_after = lambda after, limit: asked.append(after) or read(after, limit)
    for position, begin in ((ROWS - 1, 600), (10 * PART + 3, 10 * PART), (3, 0)):
        seen = []
        other = Follower(one_commit.row, observe=seen.extend, page_rows=PART, held_rows=PART)
        other.way = first.way
        head = other.unchecked_head(one_commit, position)
        assert head.size == begin
        asked.clear()
        moved = other.follow(one_commit, head)
        assert asked == [begin]
        assert [row.position for row in seen] == [*range(begin + 1, min(begin + PART, ROWS) + 1)]
        assert (other.head_size, moved.size) == (ROWS, seen[-1].position)
    changed(one_commit, 10 * PART + 1, sealed=b"other")
    other = Follower(one_commit.row, observe=seen.extend, page_rows=PART, held_rows=PART)
    other.way = first.way
    with pytest.raises(Tampered):
        other.follow(one_commit, other.unchecked_head(one_commit, 10 * PART + 3))


class Audited(Counted):
    """After an operator's head, one of an auditor over all other rows: `audit.*`, of one stream."""

    def __init__(self, rows, introduced_at):
        super().__init__(rows, introduced_at)
        key = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
        public_key = key.public_key().public_bytes_raw()
        self.auditor = HeadSigner(self.row, key, AUDITOR)
        self.at = introduced_at
        self.theirs = self.signer.introduce(public_key, AUDITOR, "begin", self.frontier(self.at))
        for number in range(self.at + 1, rows + 1):
            values = {"stream": b"an auditor's own", "topic": "audit.queried"}
            changed(self, number, version=number - self.at, **values)
        self.sign_again()

    def frontier(self, size):
        return Frontier().extend(row.leaf for row in self.rows[:size])

    def sign_again(self):
        end = self.frontier(len(self.rows))
        signers = signers_digest(self.row.id, self.signers(), end.size)
        self.commits = [self.commits[0], self.auditor.commit(end, signers)]

    def signers(self):
        return (self.introduced, self.theirs) if hasattr(self, "theirs") else (self.introduced,)


@pytest.mark.parametrize("behind", [1, PART, PART + 1, 3 * PART, 5 * PART])
@pytest.mark.parametrize(
    "other", [{}, {"topic": "role.granted"}, {"stream": b"somebody else's.", "version": 1}]
)
def test_what_an_auditor_may_not_sign_is_found_in_any_part_of_a_commit(parts, behind, other):
    log = Audited(3 + 5 * PART, 3)
    changed(log, log.at + behind, **other)
    if "stream" in other:
        for number in range(log.at + behind + 1, len(log.rows) + 1):
            changed(log, number, version=log.rows[number - 1].version - 1)
    log.sign_again()
    wrong = [("out-of-class", len(log.rows))] if other else []
    assert found(log) == found(log, **by_several(log)) == wrong
    for held_rows in (PART, 10 * PART):
        seen = []
        how = {"observe": seen.extend, "page_rows": PART, "held_rows": held_rows}
        following = Follower(log.row, audit_stream_of=lambda _: b"an auditor's own", **how)
        with pytest.raises(Tampered) if other else nullcontext():
            followed(log, following)
        assert len(seen) == (log.at if other else len(log.rows))


def test_a_head_of_other_rows_is_none_that_was_checked_though_it_is_signed(parts):
    log = InLists(ROWS, ROWS)
    follower = Follower(log.row)
    (head,) = followed(log, follower)
    follower.check_head(log, head)
    changed(log, 1, sealed=b"another")
    log.sign(ROWS)
    with pytest.raises(Tampered) as caught:
        follower.check_head(log, head)
    assert (caught.value.code, caught.value.position) == ("forked", ROWS)


@pytest.mark.parametrize("size", [5, 7, PART, ROWS - 2, ROWS])
@pytest.mark.parametrize("rows_a_commit", [5, ROWS])
def test_a_log_of_other_rows_is_not_the_remembered_one_though_it_is_signed(
    parts, size, rows_a_commit
):
    """Whoever holds a key can sign another log as long as the true one, or a longer one."""
    log, other = InLists(ROWS, rows_a_commit), InLists(ROWS, rows_a_commit)
    changed(other, 1, sealed=b"another")
    other.sign(rows_a_commit)
    remembered = CheckedHead(Frontier().extend(row.leaf for row in log.rows[:size]))
    for how in ({}, by_several(log)):
        assert found(log, remembered=remembered, **how) == []
    for how in ({}, by_several(other)):
        assert found(other, remembered=remembered, **how) == [("forked", size)]
