"""Following a log that somebody else wrote: its rows and heads checked, without decryption keys.

A *checked head* is what this process has convinced itself of: the frontier, the time of the last
row and the epoch that the next row must be in. `follow` moves it over the rows and commits that
lie after it and stops with `Tampered` at the first thing that does not hold:

- positions dense and none used twice, times growing, the period the month of the time, the epoch
  the newest started;
- each leaf the hash of its row; each commit's frontier and root those of the leaves up to it;
- each head signed by a key that was live there; an auditor's commit holds `audit.*` rows of one
  stream only, the auditor's own. Whose a stream is can only be told with the stream key; without
  it, an auditor must keep to one stream and share it with nobody;
- signer rows begun and ended by live operators, the first bound to the ledger id.

An operator signs only what it has checked, so signatures below the newest operator's one need no
check of their own when following (hashes still are); `every_signature` checks all the same.
A commit is checked as a whole, however long it is, and no more of it is at hand than a part. Who
sees its rows, and when, is told in `ledger.log.observers`.

What this cannot see: a whole database rolled back to an earlier head on a host that remembers
none; rows put beside those below the head where it begins (`ledger.log.verification` counts);
and heads between that were taken away, because the next one holds their rows as well.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable

import msgspec

from ledger.errors import Tampered
from ledger.log.columns import PAGE_ROWS, Edge, looked_at
from ledger.log.observers import (
    Compare,
    Comparing,
    Holding,
    Milestone,
    Milestones,
    Nobody,
    Observe,
    Observer,
    Spread,
    Way,
)
from ledger.log.rows import AUDITOR, CommitRow, Extent, LedgerRow, LogRow
from ledger.log.signers import SignerBook, require_counted, roots_in
from ledger.log.store import LogReading, Reading
from ledger.log.tips import StreamTips
from ledger.replacing import replace
from ledger.tree import Frontier, unpack_frontier

_PAGE_COMMITS = 500
_SHORT_COMMIT_ROWS = 40
"""So many commits are read first as if they were no longer."""
_PAGE_COMMITTED_ROWS = 20_000
HELD_ROWS = 20_000
"""The rows of a longer commit are not held for who must see them vouched for, but read twice."""
VERIFIED_ROWS = 4000
"""The longest page where each signature is checked, so that no head vouches for its page."""
_OF_THE_ROW_BEFORE = frozenset({"time-backwards", "wrong-epoch"})
"""What is told of a row by the one before it."""
_LEAF_OF = operator.itemgetter(LogRow._fields.index("leaf"))
_HINT_EMPTY = (
    "The store is empty: check --store, or bring the newest archive back with `credledger backup"
    " restore DIR`, with --key-backup if the keyring is lost too."
)
_HINT = (
    "Check --store: after a move the ledger is elsewhere. If an older copy was put back on purpose,"
    " run `credledger log accept-rollback`; otherwise keep a copy and find out who changed it."
)


class CheckedHead(msgspec.Struct, frozen=True):
    """How far the log has been checked, and what the next row must continue."""

    frontier: Frontier = msgspec.field(default_factory=Frontier)
    recorded_at: int = 0
    """Microseconds UTC of the last row; 0 for an empty log."""
    epoch: int = 1
    """The epoch that the next row must be in."""
    signers: bytes = b""
    """Digest of all signer rows that this head rests on; empty for an empty log."""
    within: int = 0
    """The size of the signed head that vouched for this one, which lies within its commit; 0 for
    the head of a commit, which the store holds.
    """

    @property
    def size(self) -> int:
        """Rows checked so far."""
        return self.frontier.size

    @property
    def is_within_commit(self) -> bool:
        """Whether it lies within a commit, where no log ends and the store has no head."""
        return self.within > 0

    def after(self, rows: list[LogRow]) -> CheckedHead:
        """The head after these rows, which must continue it."""
        if not rows:
            return replace(self, signers=b"")
        frontier = self.frontier.extend(list(map(_LEAF_OF, rows)))
        return CheckedHead(frontier, rows[-1].recorded_at, rows[-1].following_epoch)


class Follower:
    """Moves a checked head over the rows that lie after it."""

    def __init__(
        self,
        ledger: LedgerRow,
        *,
        every_signature: bool = False,
        to_damage: bool = False,
        audit_stream_of: Callable[[bytes], bytes] | None = None,
        observe: Observe | None = None,
        compare: Compare | None = None,
        tips: StreamTips | None = None,
        page_rows: int = _PAGE_COMMITTED_ROWS,
        held_rows: int = HELD_ROWS,
    ) -> None:
        """`audit_stream_of` tells an auditor key's own stream, where the stream key is at hand.

        `observe` sees the rows of each commit once they fit its head; `tips` move once a page is
        believed. Of a commit of more than `held_rows` they are given a page at a time, once its
        head is checked: the heads that `follow` then gives lie within it. `compare`, which is
        instead of both, sees rows before their head. A page ends with the last commit within
        `page_rows` rows; with `to_damage`, which is for `every_signature`, also before the first
        head that does not hold, and only the page after it is Tampered.
        """
        self._ledger = ledger
        self._tips = tips
        self._every_signature = every_signature
        self._to_damage = to_damage
        self._found: Tampered | None = None
        self._audit_stream_of = audit_stream_of
        self._observe = observe
        self._compare = compare
        self._held_rows = max(held_rows, page_rows)
        self.way: Way | None = None
        """That through the last commit that was too long to be held. It may be told of another
        follower of this ledger, which need not look for it then.
        """
        self.head_size = 0
        """Of the signed head that the rows seen last were checked into."""
        self._page_rows = page_rows
        self._page_commits = min(_PAGE_COMMITS, page_rows // _SHORT_COMMIT_ROWS + 1)
        self._book: SignerBook | None = None
        self.commits = 0
        """How many commits were checked."""
        self.audit_streams: dict[bytes, bytes] = {}
        """The one stream that each auditor signed in, where the stream key is not at hand."""

    def signers_digest(self, reading: LogReading, size: int) -> bytes:
        """The digest of the signer rows that a head of this size rests on."""
        return self.book(reading).digest_at(size)

    def take_up(self, commits: int, audit_streams: dict[bytes, bytes]) -> None:
        """Go on from where others have followed the log, with what they met on the way."""
        self.commits = commits
        self.audit_streams = audit_streams

    def book(self, reading: LogReading) -> SignerBook:
        """The signer rows as they stand in this snapshot, checked once for each change."""
        rows, book = reading.signers(), self._book
        if book is None or book.rows != rows:
            book = SignerBook(self._ledger, rows, roots_in(reading), partly=self._to_damage)
            self._book = book
        return book

    def known_book(self, reading: LogReading, head: CheckedHead) -> SignerBook:
        """The book as it was last read, if it is that of a head which was followed.

        Threads follow a log side by side, and a slower one may have read an older book since.
        """
        book = self._book
        if book is None or book.digest_at(head.size) != head.signers:
            return self.continued_book(reading, head)
        return book

    def forget_book(self) -> None:
        """Read the signer rows anew next time: this process has appended some."""
        self._book = None

    def continued_book(self, reading: LogReading, head: CheckedHead) -> SignerBook:
        """The signer rows, if those that the head rests on are still the same."""
        book = self.book(reading)
        if head.size and book.digest_at(head.size) != head.signers:
            raise _tampered(
                "bad-signer", "The signers are not those of the head checked before.", head.size
            )
        return book

    def require_signers(self, reading: LogReading, head: CheckedHead) -> None:
        """`bad-signer` unless every signer row holds, and lies below the head that counts it.

        What `to_damage` holds back is raised here: no head rests on a row that is beyond them all.
        """
        book = self.continued_book(reading, head)
        if book.damage is not None:
            raise book.damage
        require_counted(book.rows, head.size)

    def check_head(self, reading: LogReading, head: CheckedHead) -> None:
        """That the commit of a head checked before is still there, with its root and signature.

        Raises `bad-signer`, `missing-commit`, `altered-commit`, `forked` or `bad-signature`.
        """
        if head.size == 0:
            return
        book = self.continued_book(reading, head)
        commit = reading.commit_at(head.size)
        if commit is None:
            raise _tampered("missing-commit", "The head that was checked is gone.", head.size)
        if commit.is_sound and commit.root != head.frontier.root():
            raise forked(head)
        book.require(commit)

    def unchecked_head(self, reading: Reading, position: int) -> CheckedHead:
        """A head at or below this position as the store tells it, to begin in the middle.

        Its frontier is not believed for itself: rows that are followed from there are, because
        they must lead to the root of a signed head. On a way that was looked for already it is the
        last one at hand.
        """
        way = self.way
        milestone = None if way is None else way.before(position)
        if way is not None and milestone is not None:
            return _head_on(way, milestone, self.book(reading))
        commit = _commit_within(reading, position)
        if commit is None:
            return CheckedHead()
        row = reading.row_at(commit.size)
        frontier = unpack_frontier(commit.size, commit.frontier) if commit.is_sound else None
        if frontier is None or row is None or not row.is_sound:
            raise _tampered("altered-commit", "A head cannot be one the ledger wrote.", commit.size)
        signers = self.book(reading).digest_at(commit.size)
        return CheckedHead(frontier, row.recorded_at, row.following_epoch, signers)

    def follow(self, reading: LogReading, head: CheckedHead, *, until: int = 0) -> CheckedHead:
        """Check the next page; the same head comes back when nothing lies after it.

        A page ends early at the size `until`, so that a caller can look at the root there. The
        head may lie within a commit that is longer than its rows are held (`is_within_commit`).
        """
        if self._found is not None:
            raise self._found
        extent = reading.extent()
        require_continued(extent, head)
        if extent.last == extent.size == head.size:
            return head
        moved = None if self.way is None else self._along(self.way, reading, head)
        if moved is not None:
            return moved
        commits = self._page(reading, head, until)
        if not commits:
            if extent.last != head.size:
                beyond = reading.rows_after(head.size, 1)
                first = beyond[0].position if beyond else head.size + 1
                raise _tampered("unsigned-rows", "The rows do not end at the head.", first)
            raise _tampered("missing-commit", "The head that was checked is gone.", head.size)
        try:
            book = self.continued_book(reading, head)
        except Tampered:
            if _is_of_another_branch(reading, head, commits[0]):
                raise forked(head) from None
            raise
        if book.damage is not None:
            commits = [commit for commit in commits if commit.size <= book.reach]
            if not commits:
                raise book.damage
        vouched = self._vouched(commits, book)
        if self._must_hold and commits[0].size - head.size > self._held_rows:
            return self._gone_over_twice(reading, head, commits[0], book, vouched)
        observer = self._observer(head, commits[0], book)
        moved = self._walked(reading, head, commits, book, vouched, observer)
        observer.end()
        return replace(moved, signers=book.digest_at(moved.size))

    @property
    def _must_hold(self) -> bool:
        """Whether somebody sees rows who must see none before its head fits."""
        return self._observe is not None or self._tips is not None

    def _observer(self, head: CheckedHead, commit: CommitRow, book: SignerBook) -> Observer:
        if self._must_hold:
            return Holding(self._observe, self._tips)
        if self._compare is None:
            return Nobody()
        if commit.size - head.size > self._page_rows and not _is_signed(book, commit):
            return Nobody()  # as many rows as somebody likes, of which nobody will hear
        return Comparing(self._compare)

    def _gone_over_twice(
        self,
        reading: LogReading,
        head: CheckedHead,
        commit: CommitRow,
        book: SignerBook,
        vouched: int,
    ) -> CheckedHead:
        """The first page of a commit whose rows are not held, once its head has been checked."""
        milestones = Milestones(self._page_rows, _milestone(head))
        end = self._walked(reading, head, [commit], book, vouched, milestones)
        signers = book.digest_at(end.size)
        # Threads follow a log side by side, and another one may be on a way of its own by now.
        self.way = way = Way((*milestones.passed, _milestone(end)), signers)
        moved = self._along(way, reading, head)
        if moved is None:  # not even now the rows that were there a moment ago
            raise _tampered("wrong-frontier", "A head does not fit its rows.", commit.size)
        return moved

    def _along(self, way: Way, reading: LogReading, head: CheckedHead) -> CheckedHead | None:
        """The next page on the way to a head that was checked; None where that is not the way.

        Nor where other rows lie there now, or other signers than that head was signed over: then
        they are looked at as any others.
        """
        milestone = way.after(head.frontier)
        if milestone is None:
            return None
        book = self.continued_book(reading, head)
        if book.digest_at(way.size) != way.signers:
            return None
        (frontier, edge), until = _milestone(head), milestone.edge.position
        holding = Holding(self._observe, self._tips)
        for looked in looked_at(reading, self._ledger.id, edge, until, keep=True):
            holding.come_by(looked, frontier)
            frontier, edge = frontier.extend(looked.columns.leaves), looked.edge
        if (frontier, edge) != milestone:
            return None
        self.head_size = way.size
        holding.vouched(until)
        holding.end()
        return _head_on(way, milestone, book)

    def follow_to_end(
        self, pages: Callable[[CheckedHead], CheckedHead], head: CheckedHead
    ) -> CheckedHead:
        """Repeat `pages` until the head rests."""
        while (moved := pages(head)).size != head.size:
            head = moved
        return moved

    def _page(self, reading: LogReading, head: CheckedHead, until: int) -> list[CommitRow]:
        commits = reading.commits_after(head.size, self._page_commits)
        size = head.size
        for at, commit in enumerate(commits):
            try:
                _require_next(commit, size)
            except Tampered:
                # Of two that have one size, the next page must see both.
                whole = at - 1 if commit.is_sound else at
                if whole <= 0 or not self._to_damage:
                    raise
                commits = commits[:whole]
                break
            size = commit.size
        within = head.size + self._page_rows
        if until > head.size:
            within = min(within, until)
        # A single transaction may be larger than a page; it is checked as a whole all the same.
        page = [commit for commit in commits if commit.size <= within] or commits[:1]
        if commits:
            # Of commits as long as these, a page would hold so many; the next may be shorter.
            fitting = self._page_rows * len(commits) // (commits[-1].size - head.size)
            self._page_commits = min(_PAGE_COMMITS, 2 * fitting + 1)
        return page

    def _vouched(self, commits: list[CommitRow], book: SignerBook) -> int:
        """The size of the page's newest head by an operator, its signature checked.

        It vouches for what lies below it in the same page only: the page is believed as a whole
        or, where one of its rows or roots does not fit, not at all.
        """
        if self._every_signature:
            return 0
        operators = set(book.operators())
        newest = next((one for one in reversed(commits) if one.signer in operators), None)
        if newest is None:
            return 0
        book.require(newest)
        return newest.size

    def _walked(
        self,
        reading: LogReading,
        head: CheckedHead,
        commits: list[CommitRow],
        book: SignerBook,
        vouched: int,
        observer: Observer,
    ) -> CheckedHead:
        """The head that the last of these commits comes to, or the last before damage that is held.

        No more rows are at hand than a part of a page, however long a commit is.
        """
        moved, frontier, spread = head, head.frontier, Spread()
        waiting = deque(commits)
        # Read once for the whole page, so that a position that comes again is seen.
        for looked in looked_at(
            reading,
            self._ledger.id,
            _milestone(head).edge,
            commits[-1].size,
            keep=observer.keeps,
        ):
            columns = looked.columns
            observer.come_by(looked, frontier)
            reached = columns.after
            while waiting and waiting[0].size <= columns.last:
                commit = waiting[0]
                frontier = frontier.extend(
                    columns.leaves[reached - columns.after : commit.size - columns.after]
                )
                try:
                    if self._checked(commit, frontier, book, vouched) == AUDITOR:
                        spread.take(columns.between(reached, commit.size))
                        self._check_auditor(spread, commit)
                except Tampered as found:
                    return self._stopped(found, reading, head, moved, commit, book)
                reached = commit.size
                edge = columns.edge(reached)
                # A head that was taken away may be there again: the one beyond it was seen.
                within = head.within if reached < head.within else 0
                moved = CheckedHead(frontier, edge.recorded_at, edge.epoch, within=within)
                spread = Spread()
                waiting.popleft()
                self.commits += 1
                self.head_size = commit.size
                observer.vouched(commit.size)
            if looked.damage is not None:  # nothing below is wrong: the heads there fit their rows
                return self._stopped(looked.damage, reading, head, moved, waiting[0], book)
            if waiting and reached < columns.last:
                frontier = frontier.extend(columns.leaves[reached - columns.after :])
                if book.class_at(waiting[0].signer, waiting[0].size) == AUDITOR:
                    spread.take(columns.between(reached, columns.last))
        return moved

    def _stopped(
        self,
        found: Tampered,
        reading: LogReading,
        head: CheckedHead,
        moved: CheckedHead,
        commit: CommitRow,
        book: SignerBook,
    ) -> CheckedHead:
        """How far the page holds before what was found, which is raised where it is not held."""
        cause = _cause(found, book)
        if moved is head and _may_be_of_another_branch(found, head):
            cause = forked(head) if _is_of_another_branch(reading, head, commit) else cause
        if moved is head or not self._to_damage:
            raise cause from None
        self._found = cause
        return moved  # the heads so far were checked each for itself

    def _checked(
        self, commit: CommitRow, frontier: Frontier, book: SignerBook, vouched: int
    ) -> str | None:
        """The class of who signed a head that fits its rows; None where another one vouches."""
        if frontier.packed() != commit.frontier:
            raise _tampered("wrong-frontier", "A head does not fit its rows.", commit.size)
        if frontier.root() != commit.root:
            raise _tampered("wrong-root", "A head's root is not that of its rows.", commit.size)
        if self._every_signature or commit.size > vouched:
            return book.require(commit)
        return None

    def _check_auditor(self, spread: Spread, commit: CommitRow) -> None:
        if not spread.is_of_one_stream or (
            self._own_stream(commit.signer, spread.stream) != spread.stream
            or not spread.is_of_questions
        ):
            raise _tampered(
                "out-of-class", "An auditor's key signed what only an operator may.", commit.size
            )

    def _own_stream(self, auditor: bytes, stream: bytes | None) -> bytes | None:
        """The one stream that this auditor may sign in; None where it is somebody else's."""
        if self._audit_stream_of is not None:
            return self._audit_stream_of(auditor)
        found = self.audit_streams.get(auditor)
        if found is None and stream is not None and stream not in self.audit_streams.values():
            found = self.audit_streams[auditor] = stream
        return found


def _cause(found: Tampered, book: SignerBook) -> Tampered:
    """What is wrong first: no signature holds if the signers are not those it was made over."""
    if book.damage is not None and found.code == "bad-signature":
        return book.damage
    return found


def _is_signed(book: SignerBook, commit: CommitRow) -> bool:
    try:
        book.require(commit)
    except Tampered:
        return False
    return True


def _milestone(head: CheckedHead) -> Milestone:
    return Milestone(head.frontier, Edge(head.size, head.recorded_at, head.epoch))


def _head_on(way: Way, milestone: Milestone, book: SignerBook) -> CheckedHead:
    frontier, edge = milestone
    within = way.size if way.begin < frontier.size < way.size else 0
    signers = book.digest_at(frontier.size)
    return CheckedHead(frontier, edge.recorded_at, edge.epoch, signers, within)


def _require_next(commit: CommitRow, size: int) -> None:
    """That a head can be the one after another of this size."""
    if not commit.is_sound:
        raise _tampered("altered-commit", "A head cannot be one the ledger wrote.", size + 1)
    if commit.size <= size:
        raise _tampered("repeated-commit", "A size has more than one head.", size)


def _may_be_of_another_branch(found: Tampered, head: CheckedHead) -> bool:
    """Whether this says only that what lies there does not go on from the head checked before."""
    is_first = found.code in _OF_THE_ROW_BEFORE and found.position == head.size + 1
    return is_first or found.code == "wrong-frontier"


def _is_of_another_branch(reading: LogReading, head: CheckedHead, commit: CommitRow) -> bool:
    """Whether rows and heads up to this one fit each other, and only not the head checked before.

    As where another host has restored an older archive, and no head of the log that goes on from
    there ends where that one did.
    """
    if head.size == 0:
        return False
    before = _commit_within(reading, head.size)
    if before is not None and not before.is_sound:
        return False
    frontier = Frontier() if before is None else unpack_frontier(before.size, before.frontier)
    while frontier is not None and frontier.size < commit.size:
        if frontier == head.frontier:
            return False
        until = head.size if frontier.size < head.size else commit.size
        rows = reading.rows_after(frontier.size, min(PAGE_ROWS, until - frontier.size))
        if not rows or not all(row.is_sound for row in rows):
            return False
        frontier = frontier.extend(row.leaf for row in rows)
    return frontier is not None and frontier.packed() == commit.frontier


def _commit_within(reading: LogReading, position: int) -> CommitRow | None:
    """A commit of at most this size, not far below it; None where the log's beginning is near."""
    back = _PAGE_COMMITS
    while back < position:
        found = reading.commits_after(position - back, 1)
        if found and not (found[0].is_sound and found[0].size > position):
            return found[0]
        back *= 8
    return None


def _tampered(code: str, message: str, position: int) -> Tampered:
    return Tampered(code, message, position=position)


def require_continued(extent: Extent, head: CheckedHead) -> None:
    """`rolled-back` or `forked` where the log does not go on from the head checked before.

    A log that goes further is not looked into here: the rows after the head are checked against
    its frontier.
    """
    if max(extent.last, extent.size) < max(head.size, head.within):
        raise rolled_back(extent.last)
    if extent.size == head.size and extent.frontier != head.frontier.packed():
        raise forked(head)


def rolled_back(last: int) -> Tampered:
    """The log ends with this position, before what was checked."""
    return Tampered(
        "rolled-back",
        "The store is shorter than this host remembers it.",
        hint=_HINT if last else _HINT_EMPTY,
        position=last + 1,
    )


def forked(head: CheckedHead) -> Tampered:
    """The log has another root at the size of the head checked before."""
    return Tampered(
        "forked",
        "The store is not the log this host remembers.",
        hint=_HINT,
        position=head.size,
    )
