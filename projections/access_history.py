"""Every attempt to read, by caller, person on whose behalf, owner, application and outcome.

position (key) | caller, on behalf of, owner, application: digests | outcome

Time order is position order, so no time is kept: a span of time is a span of positions. The
column of those on whose behalf somebody asked is empty but for such attempts, and indexed only
there; the outcome is indexed only where it is not `granted`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from ledger.aggregates.access import Access
from ledger.aggregates.recorded import Recorded
from ledger.log.upserts import Columns
from projections.digests import Digests
from projections.view import PUT, Operation

OUTCOME_NUMBERS = {"access.granted": 1, "access.denied": 2, "access.not-set": 3}


class AccessHistory:
    """The fold of `access.*`."""

    name = "access_history"
    fold_version = 1
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
    prefixes: tuple[str, ...] = ("access.",)

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """One row a record; whatever stood at its position gives way."""
        record = recorded.event
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
