"""Every attempt to read, by caller, person on whose behalf, owner, application and outcome.

position (key) | caller, on behalf of, owner, application: digests | outcome

Time order is position order, so no time is kept: a span of time is a span of positions. The
column of those on whose behalf somebody asked is empty but for such attempts, and indexed only
there; the outcome is indexed only where it is not `granted`.

Erased records lose their rows with the event that erases them, whether or not a key of theirs is
still held somewhere, so that live appends and rebuilds agree at every position. There may be
millions of them, so the event moves the view's floor only, and they are swept away a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from ledger.aggregates.access import Access
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import HistoryErased
from ledger.codec.opening import Opening
from ledger.errors import KeyUnavailable
from ledger.log.rows import EPOCH_STARTED, LogRow
from ledger.log.upserts import Columns
from projections.digests import Digests
from projections.view import PUT, UP_TO, Operation

OUTCOME_NUMBERS = {"access.granted": 1, "access.denied": 2, "access.not-set": 3}


class AccessHistory:
    """The fold of `access.*`, and of their erasure."""

    name = "access_history"
    fold_version = 2
    columns: Columns = MappingProxyType(
        {
            "position": int,
            "caller": bytes,
            "on_behalf": bytes,
            "owner": bytes,
            "application": bytes,
            "outcome": int,
        }
    )
    prefixes: tuple[str, ...] = ("access.", "history.")
    migration = "0001_views.sql"
    needs_no_index = True

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """One row a record; whatever stood at its position gives way, and what is erased goes."""
        record = recorded.event
        if isinstance(record, HistoryErased):
            return ((UP_TO, (record.until,)),)
        if not isinstance(record, Access):
            return ()
        behalf = record.on_behalf_of
        row = (
            recorded.position,
            digests.claim(record.caller),
            None if behalf is None else digests.claim(behalf),
            digests.claim(record.owner),
            digests.application(record.application),
            OUTCOME_NUMBERS[recorded.topic],
        )
        return ((PUT, row),)


def lacks_destroyed(rows: Iterable[LogRow], opening: Opening) -> bool:
    """Whether a log, from its first row on, has records whose key was destroyed, and kept them.

    Folded while the key was there, they have rows in the view; folded without it, none. Errors as
    `Opening.recorded`, but for `key-destroyed`.
    """
    erased, newest = 0, 0
    for row in rows:
        if not row.topic.startswith((*AccessHistory.prefixes, EPOCH_STARTED)):
            continue
        try:
            record = opening.recorded(row).event
        except KeyUnavailable as error:
            if error.code != "key-destroyed":
                raise
            newest = row.position
            continue
        if isinstance(record, HistoryErased):
            erased = record.until
    return newest > erased
