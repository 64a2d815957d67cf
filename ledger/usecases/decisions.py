"""Decisions kept from request to request, each with the very states that it rests on.

A decision to release is a pure function of the request, the policy's states and the mapping's
newest event. All of them are immutable, and folds hand out the same objects until a stream is
continued. So where the very same objects are met again under the lock, the same decision is
recorded again, at its own new position; anything else is decided anew (decision 6).

Only releases are kept, of callers with few claims and mappings of usual size, and those of an
application only as long as its policy stays the same: nobody can fill the memory by asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application, fold_application
from ledger.aggregates.issuers import Issuers, fold_issuers
from ledger.aggregates.mapping import CredentialMapping
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import Roles, fold_roles
from ledger.identifiers import field_key
from ledger.log.transaction import Transaction
from ledger.policy import Caller
from ledger.values import fields_named

_KEPT_MAX = 10_000
_GROUPS_MAX = 8
_TEXTS_LENGTH_MAX = 2048
_SECRET_BYTES_MAX = 4096


class Asked(NamedTuple):
    """A request, apart from the reason given for it."""

    caller: Caller
    application: str
    restricted: bool
    fields: tuple[str, ...]


class Released(NamedTuple):
    """A decision to release, and the mapping's newest event that it rests on."""

    stream: bytes
    newest: Recorded
    record: Access
    mapping: CredentialMapping
    credential_page: str | None
    reason: str
    """What was given as the reason when it was kept."""
    text: bytes
    """What is sealed of the record with that reason."""
    secret_place: bytes
    """What binds the mapping's values to their row."""


class Policy(NamedTuple):
    """The states that decisions about one application rest on, and their streams."""

    stream: bytes
    application: Application
    roles_stream: bytes
    roles: Roles | None
    issuers_stream: bytes
    issuers: Issuers | None

    def is_as(self, other: Policy) -> bool:
        """Whether these are the other's very objects."""
        return (
            self.application is other.application
            and self.roles is other.roles
            and self.issuers is other.issuers
        )

    def stands(self, transaction: Transaction) -> bool:
        """Whether the folds give these very objects."""
        application = transaction.load(self.stream, fold_application)
        return (
            application is self.application
            and transaction.load(self.roles_stream, fold_roles) is self.roles
            and transaction.load(self.issuers_stream, fold_issuers) is self.issuers
        )


class Decisions:
    """The releases that one process has decided; used under the lock only."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Policy, dict[Asked, Released]]] = {}
        self._count = 0

    def of(self, asked: Asked, key: str, transaction: Transaction) -> Released | None:
        """What was decided about the application of this key, if it would be decided again."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        policy, decided = kept
        released = decided.get(asked)
        if released is None:
            return None
        if key not in transaction.standing:
            if not policy.stands(transaction):
                return None
            transaction.standing.add(key)
        return released if transaction.newest(released.stream) is released.newest else None

    def keep(self, asked: Asked, policy: Policy, released: Released) -> None:
        """Remember a release for the next request like this."""
        if not _is_usual(asked, released):
            return
        if self._count >= _KEPT_MAX:
            self._kept.clear()
            self._count = 0
        key = policy.application.key
        known, decided = self._kept.get(key, (None, {}))
        if known is None or not known.is_as(policy):
            self._count -= len(decided)
            decided = {}
            self._kept[key] = (policy, decided)
        self._count += asked not in decided
        decided[asked] = released


def _is_usual(asked: Asked, released: Released) -> bool:
    """Whether all of it is small; how long a claim may be is limited where it is parsed."""
    texts = (asked.application, released.reason, *asked.fields)
    return (
        len(asked.caller.groups) <= _GROUPS_MAX
        and sum(map(len, texts)) <= _TEXTS_LENGTH_MAX
        and len(released.mapping.secret or b"") <= _SECRET_BYTES_MAX
    )


def asked_for(
    caller: Caller, application: str, restricted: bool, fields: Sequence[str] | None
) -> Asked:
    """The request; `no-fields-named`, `too-many-fields`, or what is wrong with a field's name."""
    named = fields_named(fields)
    for name in named:
        field_key(name)
    return Asked(caller, application, restricted, named)
