"""Which target applications exist: stream, newest position and present creation of each."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from ledger.aggregates.application import ApplicationCreated, ApplicationDeleted
from ledger.aggregates.recorded import Recorded
from ledger.log.upserts import Columns
from projections.digests import Digests
from projections.view import PUT, Operation

_MOVE = "UPDATE {table} SET position = ? WHERE stream = ?"
_TAKE = "DELETE FROM {table} WHERE stream = ?"


class ApplicationCatalogue:
    """The fold of `application.*`."""

    name = "application_catalogue"
    fold_version = 1
    columns: Columns = MappingProxyType(
        {
            "stream": bytes,
            "position": int,
            "creation": int,
        }
    )
    prefixes: tuple[str, ...] = ("application.",)
    migration = "0001_views.sql"
    needs_no_index = False

    def fold(
        self,
        recorded: Recorded,
        digests: Digests,  # noqa: ARG002 # all folds are called alike
    ) -> Iterable[Operation]:
        """A creation puts the row, a change moves it, a deletion takes it away."""
        match recorded.event:
            case ApplicationCreated():
                yield PUT, (recorded.stream, recorded.position, recorded.position)
            case ApplicationDeleted():
                yield _TAKE, (recorded.stream,)
            case _:
                yield _MOVE, (recorded.position, recorded.stream)
