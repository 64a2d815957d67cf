"""What rests on each epoch's keys: the epoch under which each live mapping is sealed."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.application import ApplicationDeleted
from ledger.aggregates.mapping import CredentialDeleted, mapping_from
from ledger.aggregates.recorded import Recorded
from projections.digests import Digests
from projections.view import Operation

_PUT = (
    "INSERT INTO {table} (stream, application, epoch) VALUES (?, ?, ?)"
    " ON CONFLICT (stream) DO UPDATE SET application = excluded.application,"
    " epoch = excluded.epoch"
)
_TAKE = "DELETE FROM {table} WHERE stream = ?"
_TAKE_ALL = "DELETE FROM {table} WHERE application = ?"


class KeyInventory:
    """The fold of `credential.*` as far as keys go."""

    name = "key_inventory"
    fold_version = 1
    key = "stream"
    prefixes: tuple[str, ...] = ("credential.", "application.deleted")

    def fold(self, recorded: Recorded, digests: Digests) -> Iterable[Operation]:
        """A live mapping rests on the epoch of its newest row."""
        match recorded.event:
            case ApplicationDeleted(application=application):
                yield _TAKE_ALL, (digests.application(application),)
            case CredentialDeleted():
                yield _TAKE, (recorded.stream,)
            case _:
                mapping = mapping_from(recorded)
                if mapping is not None:
                    named = digests.application(mapping.application)
                    yield _PUT, (recorded.stream, named, recorded.epoch)
