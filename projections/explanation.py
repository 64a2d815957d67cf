"""Why one attempt was granted or refused, as of then, and the command that would mend it.

The record's row is checked into the signed head above it, so it is what was recorded then.
"""

from __future__ import annotations

import shlex
from typing import Any

from ledger.aggregates.access import Access
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.codec.mapper import EventMapper
from ledger.errors import NotFound
from ledger.log.store import Store
from projections.documents import access_document, erased_access
from projections.streams import signed_row

_WHY = {
    "issuer-not-trusted": "The token's issuer was not trusted there, or by other settings than"
    " those that verified the token.",
    "token-for-another-application": "The token was bound to another application.",
    "no-such-application": "There was no target application of this ID; it may have been mistyped.",
    "not-a-member": "The caller held none of the application's member claims.",
    "not-an-owner": "Only a user or a service owns credentials; the caller was neither.",
    "restricted-request-needed": "The application is restricted and the request was a plain one.",
    "restricted-access-needed": "The caller did not hold the restricted-access right.",
    "unknown-field": "The caller was allowed, but asked for a field that there is not.",
    "not-set": "The caller was allowed, but no credentials were set.",
    "owner": "The caller asked for their own credentials and was allowed to.",
    "member": "The caller held one of the application's member claims.",
}


def explain(
    store: Store, mapper: EventMapper, position: int, retention: Retention = KEEPS_ALL
) -> dict[str, Any]:
    """The record at a position with `why` and `mend`; `no-such-record` if it is no attempt.

    Of an erased one it is told that it was there, when, and what erased it.
    """
    row = signed_row(store, mapper, position)
    erasure = retention.erasure_of(position)
    recorded = None
    if row is not None and row.topic.startswith("access."):
        if erasure is not None:
            nothing: dict[str, Any] = {"claims": [], "restricted": None, "rules": None}
            return {**erased_access(row, erasure), **nothing, "why": erasure.why, "mend": None}
        recorded = mapper.open_checked(row)
    record = recorded.event if recorded is not None else None
    if recorded is None or not isinstance(record, Access):
        raise NotFound(
            "no-such-record",
            "There is no attempt to read at this position.",
            hint="`credledger audit access` lists them with their positions.",
        )
    return {
        **access_document(recorded, record),
        "claims": list(record.claims),
        "restricted": record.restricted,
        "rules": record.rules,
        "why": _WHY.get(record.detail, record.detail),
        "mend": _mend(record),
    }


def _mend(record: Access) -> str | None:
    """A command line to paste; every name in it is quoted for the shell."""
    application, caller = record.application, record.caller
    presented = [word for claim in record.claims[1:] for word in ("--with", claim)]
    match record.detail:
        case "no-such-application":
            return _command("app", "create", application, "--kind", "individual")
        case "not-a-member":
            return _command("app", "grant", application, "member", caller)
        case "issuer-not-trusted":
            return _command("issuer", "list")
        case "not-an-owner":
            return _command("app", "show", application)
        case "restricted-request-needed":
            asked = ("--as", caller, *presented, "--restricted")
            return _command("credential", "get", application, *asked)
        case "restricted-access-needed":
            return _command("role", "grant", "restricted-access", caller)
        case "unknown-field":
            return _command("app", "show", application)
        case "not-set":
            owner = ("--owner", record.owner) if record.owner else ()
            return _command("credential", "set", application, *owner)
    return None


def _command(*words: str) -> str:
    return shlex.join(("credledger", *words))
