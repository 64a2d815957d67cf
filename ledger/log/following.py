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
What this cannot see: a whole database rolled back to an earlier head on a host that remembers
none; rows put beside those below the head where it begins (`ledger.log.verification` counts);
and heads between that were taken away, because the next one holds their rows as well.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import msgspec

from ledger.errors import Tampered
from ledger.log.rows import (
    AUDITOR,
    EPOCH_STARTED,
    NO_ROW,
    CommitRow,
    Extent,
    LedgerRow,
    LogRow,
    leaves_of,
)
from ledger.log.signers import SignerBook, require_counted, roots_in
from ledger.log.store import LogReading, Reading
from ledger.log.tips import StreamTips, Tip
from ledger.replacing import replace
from ledger.sealing.epochs import period_of
from ledger.tree import Frontier, unpack_frontier

PAGE_ROWS = 1000
"""So many are read at once; of more, the first are out of the cache when they are hashed."""
_PAGE_COMMITS = 500
_SHORT_COMMIT_ROWS = 40
"""So many commits are read first as if they were no longer."""
_PAGE_COMMITTED_ROWS = 20_000
VERIFIED_ROWS = 4000
"""The longest page where each signature is checked, so that no head vouches for its page."""
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

    @property
    def size(self) -> int:
        """Rows checked so far."""
        return self.frontier.size

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
        observe: Callable[[list[LogRow]], None] | None = None,
        tips: StreamTips | None = None,
        page_rows: int = _PAGE_COMMITTED_ROWS,
    ) -> None:
        """`audit_stream_of` tells an auditor key's own stream, where the stream key is at hand.

        `observe` sees the rows of each commit once they fit its head; `tips` move once a page is
        believed. A page ends with the last commit within `page_rows` rows; with `to_damage`, which
        is for `every_signature`, also before the first head that does not hold, and only the page
        after it is Tampered.
        """
        self._ledger = ledger
        self._tips = tips
        self._every_signature = every_signature
        self._to_damage = to_damage
        self._found: Tampered | None = None
        self._audit_stream_of = audit_stream_of
        self._observe = observe
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
        rows = reading.signers()
        if self._book is None or self._book.rows != rows:
            self._book = SignerBook(self._ledger, rows, roots_in(reading), partly=self._to_damage)
        return self._book

    def known_book(self, reading: LogReading, head: CheckedHead) -> SignerBook:
        """The book as it was last read; it changes only with heads that are followed."""
        return self._book or self.continued_book(reading, head)

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
        they must lead to the root of a signed head.
        """
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

        A page ends early at the size `until`, so that a caller can look at the root there.
        """
        if self._found is not None:
            raise self._found
        extent = reading.extent()
        require_continued(extent, head)
        if extent.last == extent.size == head.size:
            return head
        commits = self._page(reading, head, until)
        if not commits:
            if extent.last != head.size:
                beyond = reading.rows_after(head.size, 1)
                first = beyond[0].position if beyond else head.size + 1
                raise _tampered("unsigned-rows", "The rows do not end at the head.", first)
            raise _tampered("missing-commit", "The head that was checked is gone.", head.size)
        book = self.continued_book(reading, head)
        if book.damage is not None:
            commits = [commit for commit in commits if commit.size <= book.reach]
            if not commits:
                raise book.damage
        vouched = self._vouched(commits, book)
        moved: dict[bytes, Tip] = {}
        # Read once for the whole page, so that a position that comes again is seen.
        begin, (page, damage) = head.size, self._rows(reading, head, commits[-1].size)
        for commit in commits:
            try:
                if damage is not None and commit.size - begin > len(page):
                    raise damage  # nothing below it is wrong: the heads there fit their rows
                rows = page[head.size - begin : commit.size - begin]
                head = self._checked(rows, commit, head, book, vouched)
            except Tampered as found:
                cause = _cause(found, book)
                if head.size == begin and _is_of_another_branch(found, reading, head, commit):
                    cause = forked(head)
                if head.size == begin or not self._to_damage:
                    raise cause from None
                self._found = cause
                break  # the heads so far were checked each for itself
            self.commits += 1
            if self._observe is not None:
                self._observe(rows)
            if self._tips is not None:
                self._tips.after(rows, moved)
        if self._tips is not None:
            self._tips.move(moved)
        return replace(head, signers=book.digest_at(head.size))

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

    def _rows(
        self, reading: LogReading, head: CheckedHead, size: int
    ) -> tuple[list[LogRow], Tampered | None]:
        """The rows after the head up to this size, or to the first that does not fit, and why."""
        rows: list[LogRow] = []
        recorded_at, epoch = head.recorded_at, head.epoch
        while (position := head.size + len(rows)) < size:
            page = reading.rows_after(position, min(PAGE_ROWS, size - position))
            if not page:
                gone = _tampered("missing-row", "A row is missing from the log.", position + 1)
                return rows, gone
            if self._are_plain(page, position, recorded_at, epoch):
                rows += page
                recorded_at = page[-1].recorded_at
                continue
            for at, row in enumerate(page, position + 1):
                try:
                    self._check_row(row, at, recorded_at, epoch)
                except Tampered as damage:
                    return rows, damage
                rows.append(row)
                recorded_at, epoch = row.recorded_at, row.following_epoch
        return rows, None

    def _are_plain(self, page: list[LogRow], position: int, recorded_at: int, epoch: int) -> bool:
        """Whether all that `_check_row` asks holds of these rows, all of one month and epoch.

        Column by column, because a whole log is walked over in this way. Where it says no, the
        rows are looked at one by one, which also names what is wrong.
        """
        try:
            leaves = leaves_of(self._ledger.id, page)
            columns = zip(*page, strict=True)
            positions, _, versions, topics, epochs, periods, times, _, stored = columns
            return (
                stored == tuple(leaves)
                and positions == tuple(range(position + 1, position + 1 + len(page)))
                and min(versions) >= 1
                and times[0] > recorded_at
                and all(map(operator.lt, times, times[1:]))
                and set(periods) == {period_of(times[0])} == {period_of(times[-1])}
                and set(epochs) == {epoch}
                and EPOCH_STARTED not in topics
            )
        except NO_ROW:
            return False

    def _check_row(self, row: LogRow, position: int, recorded_at: int, epoch: int) -> None:
        if not row.is_sound:
            raise _tampered("altered-row", "A row cannot be one the ledger wrote.", position)
        if row.position < position:
            raise _tampered("repeated-row", "A position has more than one row.", row.position)
        if row.position != position:
            raise _tampered("missing-row", "A row is missing from the log.", position)
        try:
            leaf = row.computed_leaf(self._ledger.id)
            period = period_of(row.recorded_at)
        except NO_ROW as error:
            raise _tampered(
                "altered-row", "A row cannot be one the ledger wrote.", position
            ) from error
        if leaf != row.leaf:
            raise _tampered("altered-row", "A row is not the one that was recorded.", position)
        if row.recorded_at <= recorded_at:
            raise _tampered("time-backwards", "A row's time does not grow.", position)
        if row.period != period:
            raise _tampered("wrong-period", "A row's period is not its month.", position)
        if row.epoch != epoch:
            raise _tampered("wrong-epoch", "A row is sealed under a wrong epoch.", position)

    def _checked(
        self,
        rows: list[LogRow],
        commit: CommitRow,
        head: CheckedHead,
        book: SignerBook,
        vouched: int,
    ) -> CheckedHead:
        moved = head.after(rows)
        if moved.size != commit.size or moved.frontier.packed() != commit.frontier:
            raise _tampered("wrong-frontier", "A head does not fit its rows.", commit.size)
        if moved.frontier.root() != commit.root:
            raise _tampered("wrong-root", "A head's root is not that of its rows.", commit.size)
        if self._every_signature or commit.size > vouched:
            signer_class = book.require(commit)
            if signer_class == AUDITOR:
                self._check_auditor(rows, commit)
        return moved

    def _check_auditor(self, rows: list[LogRow], commit: CommitRow) -> None:
        streams = {row.stream for row in rows}
        own = self._own_stream(commit.signer, rows)
        if streams != {own} or not all(row.topic.startswith("audit.") for row in rows):
            raise _tampered(
                "out-of-class", "An auditor's key signed what only an operator may.", commit.size
            )

    def _own_stream(self, auditor: bytes, rows: list[LogRow]) -> bytes | None:
        """The one stream that this auditor may sign in; None where it is somebody else's."""
        if self._audit_stream_of is not None:
            return self._audit_stream_of(auditor)
        found = self.audit_streams.get(auditor)
        if found is None and rows and rows[0].stream not in self.audit_streams.values():
            found = self.audit_streams[auditor] = rows[0].stream
        return found


def _cause(found: Tampered, book: SignerBook) -> Tampered:
    """What is wrong first: no signature holds if the signers are not those it was made over."""
    if book.damage is not None and found.code == "bad-signature":
        return book.damage
    return found


def _require_next(commit: CommitRow, size: int) -> None:
    """That a head can be the one after another of this size."""
    if not commit.is_sound:
        raise _tampered("altered-commit", "A head cannot be one the ledger wrote.", size + 1)
    if commit.size <= size:
        raise _tampered("repeated-commit", "A size has more than one head.", size)


def _is_of_another_branch(
    found: Tampered, reading: LogReading, head: CheckedHead, commit: CommitRow
) -> bool:
    """Whether rows and heads fit each other there, and only not the head checked before.

    As where another host has restored an older archive, and no head of the log that goes on from
    there ends where that one did.
    """
    if found.code != "wrong-frontier" or head.size == 0 or reading.commit_at(head.size) is not None:
        return False
    before = _commit_within(reading, head.size)
    if before is not None and not before.is_sound:
        return False
    frontier = Frontier() if before is None else unpack_frontier(before.size, before.frontier)
    while frontier is not None and frontier.size < commit.size:
        rows = reading.rows_after(frontier.size, min(PAGE_ROWS, commit.size - frontier.size))
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
    if max(extent.last, extent.size) < head.size:
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
