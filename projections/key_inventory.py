"""What rests on each epoch's keys: the epoch under which each live mapping is sealed."""

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
_RESEALED = ("epoch",)
"""What is another where the same values were sealed anew."""


class KeyInventory:
    """The fold of `credential.*` as far as keys go."""

    name = "key_inventory"
    fold_version = 1
    columns: Columns = MappingProxyType(
        {
            "stream": bytes,
            "application": bytes,
            "epoch": int,
        }
    )
    prefixes: tuple[str, ...] = ("credential.", "application.deleted")
    migration = "0001_views.sql"
    needs_no_index = False

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """A live mapping rests on the epoch of its newest row."""
        match recorded.event:
            case ApplicationDeleted(application=application):
                return ((_TAKE_ALL, (digests.application(application),)),)
            case CredentialDeleted():
                return ((_TAKE, (recorded.stream,)),)
            case _:
                values = values_in(recorded.event, recorded.position)
                row = (recorded.stream, digests.application(values.application), recorded.epoch)
                return ((_RESEALED if isinstance(values, CredentialResealed) else PUT, row),)
