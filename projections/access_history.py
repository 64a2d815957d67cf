"""Every attempt to read, by caller, owner, application and outcome.

position (key) | caller, owner, application: digests | outcome | recorded at
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.access import Access
from ledger.aggregates.recorded import Recorded
from ledger.errors import LedgerError
from ledger.identifiers import application_key
from projections.digests import Digests
from projections.view import Operation

OUTCOME_NUMBERS = {"access.granted": 1, "access.denied": 2, "access.not-set": 3}
_PUT = (
    "INSERT INTO {table} (position, caller, owner, application, outcome, recorded_at)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


class AccessHistory:
    """The fold of `access.*`."""

    name = "access_history"
    fold_version = 1
    key = "position"
    prefixes: tuple[str, ...] = ("access.",)

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """One row a record."""
        record = recorded.event
        if isinstance(record, Access):
            row = (
                recorded.position,
                digests.claim(record.on_behalf_of or record.caller),
                digests.claim(record.owner),
                digests.application(_key(record.application)),
                OUTCOME_NUMBERS[recorded.topic],
                recorded.recorded_at,
            )
            yield _PUT, row


def _key(application: str) -> str:
    try:
        return application_key(application)
    except LedgerError:
        return application
