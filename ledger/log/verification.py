"""The check of a whole log from its first row on, as a report.

Every row, commit, signature and signer is checked by following the log (`ledger.log.following`),
and each stream's versions must be dense. At the end the tables must hold as many rows and commits
as were followed, in the same snapshot: a row that was put beside another at its position, or before
the first, has no place in the tree and would otherwise be seen by nobody. Nor would a signer's row
at the head's size or beyond, which no head counts yet: so all of them are judged once more there.

With several jobs, stretches of a long log are checked at once (`ledger.log.stretches`). What they
find whole is taken from them; where they find something, one process follows the log from its
beginning, and the report is always its.

Whose an auditor's stream is takes the stream key to say. Without it an auditor must keep to one
stream and share it with nobody; one who only ever signed in the stream of another who never did is
seen by hosts that unlock, not here.

Damage is reported with its position, never raised; what keeps the store from being read is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import msgspec

from ledger.errors import LedgerError, Tampered
from ledger.log.columns import PAGE_ROWS, Columns
from ledger.log.following import VERIFIED_ROWS, CheckedHead, Follower
from ledger.log.marks import Mark, Marks
from ledger.log.rows import LedgerRow
from ledger.log.store import LogReading, LogSource
from ledger.log.stretches import (
    SHARED_ROWS,
    STRETCH_ROWS,
    Joined,
    Pool,
    Reopen,
    joined_stretches,
    processes,
)
from ledger.tree import Frontier

_LEAST = -(2**63)


class Check(msgspec.Struct, frozen=True):
    """One thing that was checked of the whole log."""

    name: str
    ok: bool
    detail: str
    position: int | None = None


class Verification(msgspec.Struct, frozen=True):
    """The result of checking a whole log without any key."""

    ok: bool
    size: int
    root: bytes
    checks: tuple[Check, ...]
    marks: Mapping[int, Mark] = msgspec.field(default_factory=dict)
    """What the log says at the sizes that were asked for, as far as it holds."""


def verify_log(
    store: LogSource,
    *,
    pinned: bytes | None = None,
    remembered: CheckedHead | None = None,
    marks: Iterable[int] = (),
    progress: Callable[[int, int], None] | None = None,
    jobs: int = 1,
    reopen: Reopen | None = None,
    stretch_rows: int = STRETCH_ROWS,
    shared_rows: int = SHARED_ROWS,
    pool: Pool = processes,
) -> Verification:
    """Check every row, commit and signature; damage is reported, never raised.

    `pinned` is the ledger id that somebody wrote down; `remembered` this host's memory. Without
    either, a rolled-back or foreign database cannot be told from the true one, and the check
    of that name says so. `marks` are further sizes at which somebody outside knows the root. With
    several `jobs`, `reopen` opens the same log in other processes; a log of fewer rows than
    `shared_rows`, or than two stretches, is not worth their start.
    """
    sizes = frozenset([*marks, *([] if remembered is None else [remembered.size])])
    if jobs > 1 and reopen is not None:
        least = max(shared_rows, 2 * stretch_rows)
        joined = _joined(store, reopen, sizes, jobs, least, stretch_rows, pool, progress)
        if joined is not None:
            found = _verify(store, pinned, remembered, sizes, progress, joined)
            if found.ok:
                return found
    return _verify(store, pinned, remembered, sizes, progress, Joined())


def _joined(
    store: LogSource,
    reopen: Reopen,
    marks: frozenset[int],
    jobs: int,
    least: int,
    stretch_rows: int,
    pool: Pool,
    progress: Callable[[int, int], None] | None,
) -> Joined | None:
    """What several processes found whole of the log; None where they did not, or it is short."""
    try:
        with store.reading() as reading:
            ledger, size = reading.ledger(), reading.extent().size
    except Tampered:
        return None
    if ledger is None or not ledger.is_sound or size < least:
        return None
    return joined_stretches(
        reopen,
        ledger,
        size,
        jobs=jobs,
        marks=marks,
        progress=progress,
        stretch_rows=stretch_rows,
        pool=pool,
    )


def _verify(
    store: LogSource,
    pinned: bytes | None,
    remembered: CheckedHead | None,
    marks: frozenset[int],
    progress: Callable[[int, int], None] | None,
    joined: Joined,
) -> Verification:
    """Follow the log to its end from where others have followed it already."""
    checks: list[Check] = []
    head = joined.head
    marked = Marks(marks, joined.marks)
    try:
        with store.reading() as reading:
            ledger = reading.ledger()
            total = reading.last_position()
        if ledger is None:
            raise Tampered("altered-ledger", "The store does not name its ledger.")
        if not ledger.is_sound:
            raise Tampered("altered-ledger", "The ledger's row is none that this version writes.")
        checks.append(_pinned(ledger, pinned))
        versions = Versions(joined.versions)

        def compare(columns: Columns, frontier: Frontier) -> None:
            versions.see(columns)
            marked.see(columns, frontier)

        follower = Follower(
            ledger,
            every_signature=True,
            to_damage=True,
            compare=compare,
            page_rows=VERIFIED_ROWS,
        )
        follower.take_up(joined.commits, joined.audit_streams)
        while True:
            with store.reading() as reading:
                moved = follower.follow(reading, head, until=marked.next())
                if moved.size == head.size:
                    _require_nothing_besides(reading, head.size, follower.commits)
                    follower.require_signers(reading, head)
                    break
            marked.passed(moved)
            head = moved
            if progress is not None:
                progress(head.size, total)
        if head.size == 0:
            # The ledger's row and its first events are of one transaction.
            raise Tampered("missing-row", "The log has no rows at all.", position=1)
        checks.append(Check("log", ok=True, detail=f"{head.size} rows, each signed for"))
        checks.append(_remembered(remembered, head, marked.found))
    except LedgerError as error:
        if error.family != Tampered.family:
            raise
        checks.append(Check(error.code, ok=False, detail=error.message, position=error.position))
    ok = all(check.ok for check in checks)
    return Verification(ok, head.size, head.frontier.root(), tuple(checks), marked.found)


class Versions:
    """That each stream's versions are dense."""

    def __init__(self, newest: dict[bytes, int] | None = None) -> None:
        """`newest` are those of the rows before."""
        self._newest = {} if newest is None else newest

    def see(self, columns: Columns) -> None:
        """Take in the next rows; `stream-gap` where a stream lacks one."""
        newest = self._newest
        both = zip(columns.streams, columns.versions, strict=True)
        for position, (stream, version) in enumerate(both, columns.after + 1):
            if version != newest.get(stream, 0) + 1:
                raise Tampered("stream-gap", "A stream lacks an event.", position=position)
            newest[stream] = version


def _require_nothing_besides(reading: LogReading, size: int, commits: int) -> None:
    """The tables hold no row and no commit but those that were followed."""
    counts = reading.counts()
    if counts.rows != size:
        raise Tampered(
            "unsigned-rows",
            "The log's table holds rows that no head counts.",
            position=_surplus_row(reading),
        )
    if counts.commits != commits:
        raise Tampered(
            "repeated-commit",
            "The table of heads holds more of them than the log has.",
            position=_surplus_commit(reading),
        )


def _surplus_row(reading: LogReading) -> int | None:
    """The position of a row before the first, else the first that comes twice; None if hidden."""
    position = _LEAST
    while page := reading.rows_after(position, PAGE_ROWS):
        found = _out_of_place([row.position for row in page])
        if found is not None or len(page) == 1:
            return found
        # The next page begins with this one's last row, or another beside it.
        position = page[-1].position - 1
    return None


def _surplus_commit(reading: LogReading) -> int | None:
    size = _LEAST
    while page := reading.commits_after(size, PAGE_ROWS):
        found = _out_of_place([commit.size for commit in page])
        if found is not None or len(page) == 1:
            return found
        size = page[-1].size - 1
    return None


def _out_of_place(places: list[int]) -> int | None:
    if places[0] < 1:
        return places[0]
    return next((one for one, other in pairwise(places) if one == other), None)


def _pinned(ledger: LedgerRow, pinned: bytes | None) -> Check:
    if pinned is None:
        return Check("ledger-id", ok=True, detail="not pinned: compare it with what init printed")
    same = ledger.id == pinned
    return Check("ledger-id", same, "is the pinned one" if same else "is not the pinned one")


def _remembered(
    remembered: CheckedHead | None, head: CheckedHead, marks: Mapping[int, Mark]
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
    then = marks.get(remembered.size)
    if then is None or then.root != remembered.frontier.root():
        return Check(
            "forked",
            ok=False,
            detail="not the log that this host remembers",
            position=remembered.size,
        )
    # Without an unlock nobody knows whether the memory itself is authentic.
    detail = f"agrees at size {remembered.size}, as its file says"
    return Check("host-memory", ok=True, detail=detail)
