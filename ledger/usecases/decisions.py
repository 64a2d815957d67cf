"""Decisions kept from request to request, each with the very states that it rests on.

A decision to release is a pure function of the request, the policy's states and the mapping's
newest event. All of them are immutable, and folds hand out the same objects until a stream is
continued. So where the very same objects are met again under the lock, the same decision is
recorded again, at its own new position; anything else is decided anew (decision 6).

Only releases are kept, of callers with few claims and mappings of usual size, and those of an
application only as long as its policy stays the same: nobody can fill the memory by asking.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.aggregates.access import Access
from ledger.aggregates.application import Application
from ledger.aggregates.mapping import CredentialMapping
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.roles import Roles
from ledger.policy import Caller

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


class _Kept(NamedTuple):
    """What was decided under one state of an application and of the service-level rights."""

    application: Application
    roles: Roles
    released: dict[Asked, Released]


class Decisions:
    """The releases that one process has decided; used under the lock only."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._count = 0

    def of(self, asked: Asked, application: Application, roles: Roles) -> Released | None:
        """What was decided under these very states; its mapping is still to be looked at."""
        kept = self._kept.get(application.key)
        if kept is None or kept.application is not application or kept.roles is not roles:
            return None
        return kept.released.get(asked) if _is_usual(asked) else None

    def keep(
        self, asked: Asked, application: Application, roles: Roles, released: Released
    ) -> None:
        """Remember a release for the next request like this."""
        if not _is_usual(asked) or len(released.mapping.secret or b"") > _SECRET_BYTES_MAX:
            return
        if self._count >= _KEPT_MAX:
            self._kept.clear()
            self._count = 0
        kept = self._kept.get(application.key)
        if kept is None or kept.application is not application or kept.roles is not roles:
            self._count -= len(kept.released) if kept else 0
            kept = self._kept[application.key] = _Kept(application, roles, {})
        self._count += asked not in kept.released
        kept.released[asked] = released


def _is_usual(asked: Asked) -> bool:
    """Whether a request is small; how long a claim may be is limited where it is parsed."""
    return (
        len(asked.caller.groups) <= _GROUPS_MAX
        and len(asked.application) + sum(map(len, asked.fields)) <= _TEXTS_LENGTH_MAX
    )
