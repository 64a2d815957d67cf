"""Checking rows and heads that somebody else wrote, without any decryption key.

A *checked head* is what this process has convinced itself of: the frontier, the time of the last
row and the epoch that the next row must be in. `follow` moves it over the rows and commits that
lie after it and stops with `Tampered` at the first thing that does not hold:

- positions dense, times growing, the period the month of the time, the epoch the newest started;
- each leaf the hash of its row; each commit's frontier and root those of the leaves up to it;
- each head signed by a key that was live there; an auditor's commit holds `audit.*` rows of one
  stream only;
- signer rows begun and ended by live operators, the first bound to the ledger id.

An operator signs only what it has checked, so signatures below the newest operator's one need no
check of their own when following (hashes still are); `every_signature` checks all the same.
What this cannot see: a whole database rolled back to an earlier head on a host that remembers
none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ledger.errors import LedgerError, Tampered
from ledger.log.rows import AUDITOR, CommitRow, Extent, LedgerRow, LogRow, signers_digest
from ledger.log.signers import SignerBook
from ledger.log.store import LogReading, LogSource
from ledger.log.tips import StreamTips, Tip
from ledger.sealing.epochs import period_of
from ledger.tree import Frontier, unpack_frontier

PAGE_ROWS = 2000
_PAGE_COMMITS = 500
_PAGE_COMMITTED_ROWS = 20_000
_LEAST = -(2**63)
EPOCH_STARTED = "epoch.started"
_HINT = (
    "If an older copy was put back on purpose, run `credledger log accept-rollback`;"
    " otherwise keep a copy and find out who changed it."
)


@dataclass(frozen=True, slots=True)
class CheckedHead:
    """How far the log has been checked, and what the next row must continue."""

    frontier: Frontier = field(default_factory=Frontier)
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
        epoch = self.epoch
        for row in rows:
            if row.topic == EPOCH_STARTED and row.position > 1:
                epoch += 1
        frontier = self.frontier.extend(row.leaf for row in rows)
        return CheckedHead(frontier, rows[-1].recorded_at if rows else self.recorded_at, epoch)


class Follower:
    """Moves a checked head over the rows that lie after it."""

    def __init__(
        self,
        ledger: LedgerRow,
        *,
        every_signature: bool = False,
        audit_stream_of: Callable[[bytes], bytes] | None = None,
        observe: Callable[[list[LogRow]], None] | None = None,
        tips: StreamTips | None = None,
    ) -> None:
        """`audit_stream_of` tells an auditor key's own stream, where the stream key is at hand.

        `observe` sees pages of rows as they are checked; `tips` move once a page is believed.
        """
        self._ledger = ledger
        self._tips = tips
        self._every_signature = every_signature
        self._audit_stream_of = audit_stream_of
        self._observe = observe
        self._book: SignerBook | None = None

    def book(self, reading: LogReading) -> SignerBook:
        """The signer rows as they stand in this snapshot, checked once for each change."""
        rows = reading.signers()
        if self._book is None or self._book.rows != rows:
            self._book = SignerBook(self._ledger, rows, reading)
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
        if head.size and signers_digest(self._ledger.id, book.rows, head.size) != head.signers:
            raise _tampered(
                "bad-signer", "The signers are not those of the head checked before.", head.size
            )
        return book

    def follow(self, reading: LogReading, head: CheckedHead, *, until: int = 0) -> CheckedHead:
        """Check the next page; the same head comes back when nothing lies after it.

        A page ends early at the size `until`, so that a caller can look at the root there.
        """
        extent = reading.extent()
        require_continued(extent, head)
        if extent.last == extent.size == head.size:
            return head
        commits = self._page(reading, head, until)
        if not commits:
            if extent.last != head.size:
                raise _tampered("unsigned-rows", "The rows do not end at the head.", head.size + 1)
            raise _tampered("missing-commit", "The head that was checked is gone.", head.size)
        book = self.continued_book(reading, head)
        vouched = self._vouched(commits, book)
        moved: dict[bytes, Tip] = {}
        for commit in commits:
            rows = list(self._rows(reading, head, commit.size))
            head = self._checked(rows, commit, head, book, vouched)
            if self._tips is not None:
                self._tips.after(rows, moved)
        if self._tips is not None:
            self._tips.move(moved)
        return replace(head, signers=signers_digest(self._ledger.id, book.rows, head.size))

    def follow_to_end(
        self, pages: Callable[[CheckedHead], CheckedHead], head: CheckedHead
    ) -> CheckedHead:
        """Repeat `pages` until the head rests."""
        while (moved := pages(head)).size != head.size:
            head = moved
        return moved

    def _page(self, reading: LogReading, head: CheckedHead, until: int) -> list[CommitRow]:
        commits = reading.commits_after(head.size, _PAGE_COMMITS)
        for commit in commits:
            if not commit.is_sound:
                raise _tampered(
                    "altered-commit", "A head cannot be one the ledger wrote.", head.size + 1
                )
        within = head.size + _PAGE_COMMITTED_ROWS
        if until > head.size:
            within = min(within, until)
        # A single transaction may be larger than a page; it is checked as a whole all the same.
        return [commit for commit in commits if commit.size <= within] or commits[:1]

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

    def _rows(self, reading: LogReading, head: CheckedHead, size: int) -> Iterator[LogRow]:
        position, recorded_at, epoch = head.size, head.recorded_at, head.epoch
        while position < size:
            page = reading.rows_after(position, min(PAGE_ROWS, size - position))
            if not page:
                raise _tampered("missing-row", "A row is missing from the log.", position + 1)
            for row in page:
                position += 1
                self._check_row(row, position, recorded_at, epoch)
                recorded_at = row.recorded_at
                if row.topic == EPOCH_STARTED and position > 1:
                    epoch += 1
                yield row
            if self._observe is not None:
                self._observe(page)

    def _check_row(self, row: LogRow, position: int, recorded_at: int, epoch: int) -> None:
        if not row.is_sound:
            raise _tampered("altered-row", "A row cannot be one the ledger wrote.", position)
        if row.position != position:
            raise _tampered("missing-row", "A row is missing from the log.", position)
        try:
            leaf = row.computed_leaf(self._ledger.id)
            period = period_of(row.recorded_at)
        except (ValueError, OverflowError, TypeError, AttributeError, struct.error) as error:
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
        if unpack_frontier(commit.size, commit.frontier) != moved.frontier:
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
        own = self._audit_stream_of(commit.signer) if self._audit_stream_of else None
        fits = (
            all(row.topic.startswith("audit.") for row in rows)
            and len(streams) == 1
            and (own is None or streams == {own})
        )
        if not fits:
            raise _tampered(
                "out-of-class", "An auditor's key signed what only an operator may.", commit.size
            )


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
        hint=_HINT,
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


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked of the whole log."""

    name: str
    ok: bool
    detail: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking a whole log without any key."""

    ok: bool
    size: int
    root: bytes
    checks: tuple[Check, ...]


def verify_log(
    store: LogSource,
    *,
    pinned: bytes | None = None,
    remembered: CheckedHead | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check every row, commit and signature; damage is reported, never raised.

    `pinned` is the ledger id that somebody wrote down; `remembered` this host's memory. Without
    either, a rolled-back or foreign database cannot be told from the true one, and the check
    of that name says so.
    """
    checks: list[Check] = []
    head = CheckedHead()
    root_then: bytes | None = None
    try:
        with store.reading() as reading:
            ledger = reading.ledger()
            total = reading.last_position()
        if ledger is None:
            raise Tampered("no-ledger-row", "The store does not name its ledger.")
        if not ledger.is_sound:
            raise Tampered("altered-ledger", "The ledger's row is none that this version writes.")
        checks.append(_pinned(ledger, pinned))
        versions = Versions()
        follower = Follower(ledger, every_signature=True, observe=versions.see)
        while True:
            with store.reading() as reading:
                moved = follower.follow(reading, head, until=remembered.size if remembered else 0)
            if moved.size == head.size:
                break
            head = moved
            if remembered is not None and head.size == remembered.size:
                root_then = head.frontier.root()
            if progress is not None:
                progress(head.size, total)
        with store.reading() as reading:
            _require_nothing_below(reading)
        checks.append(Check("log", ok=True, detail=f"{head.size} rows, each signed for"))
        checks.append(_remembered(remembered, head, root_then))
    except LedgerError as error:
        if error.family != Tampered.family:
            raise
        checks.append(Check(error.code, ok=False, detail=error.message, position=error.position))
    return Verification(
        all(check.ok for check in checks), head.size, head.frontier.root(), tuple(checks)
    )


def _require_nothing_below(reading: LogReading) -> None:
    """No row and no head lies before the first, where nobody would look for it."""
    row = next(iter(reading.rows_after(_LEAST, 1)), None)
    commit = next(iter(reading.commits_after(_LEAST, 1)), None)
    if (row is not None and row.position < 1) or (commit is not None and commit.size < 1):
        raise _tampered("unsigned-rows", "Something lies before the log's first row.", 0)


class Versions:
    """That each stream's versions are dense."""

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}

    def see(self, rows: list[LogRow]) -> None:
        """Take in the next rows; `stream-gap` where a stream lacks one."""
        for row in rows:
            if row.version != self._newest.get(row.stream, 0) + 1:
                raise _tampered("stream-gap", "A stream lacks an event.", row.position)
            self._newest[row.stream] = row.version


def _pinned(ledger: LedgerRow, pinned: bytes | None) -> Check:
    if pinned is None:
        return Check("ledger-id", ok=True, detail="not pinned: compare it with what init printed")
    same = ledger.id == pinned
    return Check("ledger-id", same, "is the pinned one" if same else "is not the pinned one")


def _remembered(
    remembered: CheckedHead | None, head: CheckedHead, root_then: bytes | None
) -> Check:
    if remembered is None:
        return Check(
            "host-memory",
            ok=True,
            detail="none here: a rolled-back database could not be told from the true one",
        )
    if head.size < remembered.size:
        return Check(
            "rolled-back",
            ok=False,
            detail="rows that this host remembers are gone",
            position=head.size + 1,
        )
    if root_then != remembered.frontier.root():
        return Check(
            "forked",
            ok=False,
            detail="not the log that this host remembers",
            position=remembered.size,
        )
    # Without an unlock nobody knows whether the memory itself is authentic.
    detail = f"agrees at size {remembered.size}, as its file says"
    return Check("host-memory", ok=True, detail=detail)
