"""Decisions kept from request to request, each with the very states that it rests on.

A decision to release is a pure function of the request, the policy's states and the mapping's
newest event. All of them are immutable, and folds hand out the same objects until a stream is
continued. So where the very same objects are met again under the lock, the same decision is
recorded again, at its own new position; anything else is decided anew.

Only releases to callers with few claims are kept, so that strangers cannot fill the memory.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application
from ledger.aggregates.mapping import CredentialMapping
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import Roles
from ledger.log.transaction import Transaction
from ledger.policy import Caller

_KEPT_MAX = 10_000
_GROUPS_MAX = 8


class Asked(NamedTuple):
    """A request, apart from the reason given for it."""

    caller: Caller
    application: str
    restricted: bool
    fields: tuple[str, ...]


class Decided(NamedTuple):
    """What a request was answered, and what the answer rests on."""

    application: Application | None
    roles: Roles
    stream: bytes | None
    """The mapping's, where one was looked up."""
    newest: Recorded | None
    """The newest event of that stream."""
    record: Access
    mapping: CredentialMapping | None
    credential_page: str | None

    def holds(
        self, application: Application | None, roles: Roles, transaction: Transaction
    ) -> bool:
        """Whether nothing that it rests on has changed."""
        return (
            self.application is application
            and self.roles is roles
            and (self.stream is None or transaction.newest(self.stream) is self.newest)
        )


class Decisions:
    """The decisions of one process; used under the lock only."""

    def __init__(self) -> None:
        self._kept: dict[Asked, Decided] = {}

    def of(self, asked: Asked) -> Decided | None:
        """What was decided last, whether or not it still holds."""
        return self._kept.get(asked)

    def keep(self, asked: Asked, decided: Decided) -> None:
        """Remember it for the next request, if it is a release."""
        if decided.mapping is None or len(asked.caller.groups) > _GROUPS_MAX:
            return
        if len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
        self._kept[asked] = decided
