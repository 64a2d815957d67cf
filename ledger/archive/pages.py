"""An archive checked page by page, and folded: all of a restore that needs no store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from ledger.archive.reading import Archive
from ledger.log.columns import columns_of
from ledger.log.following import CheckedHead, Follower
from ledger.log.rows import CommitRow, LogRow
from ledger.log.verification import Versions
from ledger.replacing import replace

_PAGE_ROWS = 5000
"""Three pages are held at once where two processes work together, opened and folded."""
_PAGE_COMMITS = 500
F = TypeVar("F")
"""What rows do to the views, in the shape of whoever takes that in."""


class Page(NamedTuple, Generic[F]):
    """Rows that were checked into signed heads, and all that goes into the store with them."""

    head: CheckedHead
    """The one that they lead to; the page ends with it."""
    signed: CheckedHead
    """The newest up to there that was signed: another one within a commit that is too long for a
    page, whose signed head was checked before its first page was made."""
    rows: Sequence[LogRow]
    commits: Sequence[CommitRow]
    folded: F | None
    """None where the store holds the page already."""

    @property
    def after(self) -> int:
        """The position before its first row."""
        return self.head.size - len(self.rows)


def checked_pages(
    archive: Archive,
    fold: Callable[[Sequence[LogRow]], F],
    audit_stream_of: Callable[[bytes], bytes] | None,
    there: int,
) -> Iterator[Page[F]]:
    """All pages of an archive, of which the store holds the rows up to `there` already.

    Tampered with every finding of the row checks.
    """
    versions = Versions()
    rows: list[LogRow] = []

    def see(some: list[LogRow]) -> None:
        versions.see(columns_of(some, some[0].position - 1))
        rows.extend(some)

    follower = Follower(
        archive.ledger(),
        every_signature=True,
        audit_stream_of=audit_stream_of,
        observe=see,
        page_rows=_PAGE_ROWS,
    )
    head = signed = CheckedHead()
    total = archive.last_position()
    while head.size < total:
        end = archive.segment_end(head.size + 1)
        if head.size < there:
            end = min(end, there)
        rows = []
        before, head = head, follower.follow(archive, head, until=end)
        if before.size < there < head.size:  # in a commit, whose pages may have been others before
            held, rows = rows[: there - before.size], rows[there - before.size :]
            signers, within = follower.signers_digest(archive, there), follower.head_size
            before = replace(before.after(held), signers=signers, within=within)
            yield Page(before, signed, held, [], None)
        signed = signed if head.is_within_commit else head
        if head.size <= there:
            yield Page(head, signed, rows, [], None)
        else:
            commits = _commits(archive, before.size, head.size)
            yield Page(head, signed, rows, commits, fold(rows))


def _commits(archive: Archive, after: int, until: int) -> list[CommitRow]:
    found: list[CommitRow] = []
    while after < until:
        page = archive.commits_after(after, _PAGE_COMMITS)
        found.extend(commit for commit in page if commit.size <= until)
        after = page[-1].size
    return found
