"""Who has credentials set where: one row for each mapping that is set, never a value.

stream (key) | application, owner: digests | position | value version | epoch | set at
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from ledger.aggregates.application import ApplicationDeleted
from ledger.aggregates.mapping import CredentialDeleted, CredentialResealed, values_in
from ledger.aggregates.recorded import Recorded
from ledger.log.upserts import Columns
from projections.digests import Digests
from projections.view import PUT, Operation

_TAKE = "DELETE FROM {table} WHERE stream = ?"
_TAKE_ALL = "DELETE FROM {table} WHERE application = ?"
_RESEALED = ("position", "epoch")
"""What is another where the same values were sealed anew."""


class CredentialView:
    """The fold of `credential.*`, and the end of applications."""

    name = "credential_view"
    fold_version = 1
    columns: Columns = MappingProxyType(
        {
            "stream": bytes,
            "application": bytes,
            "owner": bytes,
            "position": int,
            "value_version": int,
            "epoch": int,
            "set_at": int,
        }
    )
    prefixes: tuple[str, ...] = ("credential.", "application.deleted")
    migration = "0001_views.sql"
    needs_no_index = False

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """A set, restore or resealing puts the row; a deletion takes it away."""
        match recorded.event:
            case ApplicationDeleted(application=application):
                return ((_TAKE_ALL, (digests.application(application),)),)
            case CredentialDeleted():
                return ((_TAKE, (recorded.stream,)),)
            case _:
                values = values_in(recorded.event, recorded.position)
                row = (
                    recorded.stream,
                    digests.application(values.application),
                    digests.claim(values.owner),
                    recorded.position,
                    values.value_version,
                    recorded.epoch,
                    values.set_at,
                )
                return ((_RESEALED if isinstance(values, CredentialResealed) else PUT, row),)
