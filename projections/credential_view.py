"""Who has credentials set where: one row for each mapping that is set, never a value.

stream (key) | application, owner: digests | position | value version | epoch | set at
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.application import ApplicationDeleted
from ledger.aggregates.mapping import CredentialDeleted, mapping_from
from ledger.aggregates.recorded import Recorded
from projections.digests import Digests
from projections.view import Operation

_PUT = (
    "INSERT INTO {table} (stream, application, owner, position, value_version, epoch, set_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET"
    " application = excluded.application, owner = excluded.owner,"
    " position = excluded.position, value_version = excluded.value_version,"
    " epoch = excluded.epoch, set_at = excluded.set_at"
)
_TAKE = "DELETE FROM {table} WHERE stream = ?"
_TAKE_ALL = "DELETE FROM {table} WHERE application = ?"


class CredentialView:
    """The fold of `credential.*`, and the end of applications."""

    name = "credential_view"
    fold_version = 1
    key = "stream"
    prefixes: tuple[str, ...] = ("credential.", "application.deleted")

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """A set, restore or resealing puts the row; a deletion takes it away."""
        match recorded.event:
            case ApplicationDeleted(application=application):
                yield _TAKE_ALL, (digests.application(application),)
            case CredentialDeleted():
                yield _TAKE, (recorded.stream,)
            case _:
                mapping = mapping_from(recorded)
                if mapping is not None:
                    row = (
                        recorded.stream,
                        digests.application(mapping.application),
                        digests.claim(mapping.owner),
                        recorded.position,
                        mapping.value_version,
                        recorded.epoch,
                        mapping.set_at,
                    )
                    yield _PUT, row
