"""Why one attempt was granted or refused, as of then, and the command that would mend it.

Of a redemption the ticket is told as well: what became of it stands in the row before, where it was
issued in another. The issue of a ticket, or its refusal, is explained by itself, and so is a token
that was refused before anything could be asked with it.

The record's row is checked into the signed head above it, so it is what was recorded then.
"""

from __future__ import annotations

import shlex
from typing import Any

from ledger.aggregates.access import Access
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.retention import KEEPS_ALL, Retention
from ledger.aggregates.tickets import (
    Redemption,
    TicketExpired,
    TicketIssued,
    TicketLapsed,
    TicketNotIssued,
    TicketRedeemed,
    TicketRefused,
)
from ledger.codec.mapper import EventMapper
from ledger.errors import NotFound
from ledger.log.rows import LogRow
from ledger.log.store import Store
from projections.asked import ASKED
from projections.changes import ADMINISTRATION
from projections.documents import access_document, erased_access, time_text
from projections.refused_tokens import REFUSED, explained_refusal
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
    "redeemer": "The caller was a redeemer, and the ticket's user may read.",
    "unbound": "A ticket for no certain application is given to every user and service.",
    "not-ticketing": "The application takes no tickets.",
    "not-a-redeemer": "The caller held none of the application's ticket redeemer claims.",
    "no-such-ticket": "What was handed over is no ticket that was ever issued, or is kept.",
    "ticket-expired": "The ticket's time was over.",
    "ticket-used": "The ticket had been redeemed already.",
    "ticket-for-another-application": "The ticket was issued for another application, or for"
    " an earlier one of the same ID.",
}
_WHY_USER = {
    "issuer-not-trusted": "The ticket held, but the issuer of its user's token was not trusted"
    " any more, or by other settings.",
    "token-for-another-application": "The ticket held, but its user's token was bound to another"
    " application.",
    "not-a-member": "The ticket held, but its user had presented none of the application's member"
    " claims when it was issued.",
    "unknown-field": "The ticket held, but a field was asked for that there is not.",
    "not-set": "The ticket held, but no credentials were set for its user.",
}
"""Where the redeemer was one, and what its user may decided."""
_REDEMPTIONS = frozenset({TicketRedeemed.TOPIC, TicketExpired.TOPIC, TicketRefused.TOPIC})
_ALONE = frozenset({TicketIssued.TOPIC, TicketNotIssued.TOPIC, TicketLapsed.TOPIC})
"""Of tickets, without an access behind them."""


def explain(
    store: Store, mapper: EventMapper, position: int, retention: Retention = KEEPS_ALL
) -> dict[str, Any]:
    """The record at a position with `why` and `mend`; `no-such-record` if it is no attempt.

    `beyond-the-log` where the log has no such position yet.
    Of an erased one it is told that it was there, when, and what erased it.
    """
    row = signed_row(store, mapper, position)
    if row is not None and row.topic in REFUSED and retention.erasure_of(position) is None:
        return explained_refusal(mapper.open_checked(row))
    if row is not None and row.topic in _REDEMPTIONS:
        return explain(store, mapper, position + 1, retention)
    erasure = retention.erasure_of(position)
    recorded = None
    if row is not None and (row.topic.startswith("access.") or row.topic in _ALONE):
        if erasure is not None:
            nothing: dict[str, Any] = {"claims": [], "restricted": None, "rules": None}
            return {**erased_access(row, erasure), **nothing, "why": erasure.why, "mend": None}
        recorded = mapper.open_checked(row)
    record = recorded.event if recorded is not None else None
    if recorded is not None and isinstance(record, TicketIssued | TicketNotIssued):
        return _issue(recorded, record)
    if recorded is not None and isinstance(record, TicketLapsed):
        return _lapse(recorded, record)
    if recorded is None or not isinstance(record, Access):
        raise _nothing_to_explain(row, position)
    attempt = _attempt(store, mapper, position - 1)
    issued = None
    if attempt is not None and attempt.issued is not None:
        issued = _issued(store, mapper, attempt.issued, retention)
    why = _WHY.get(record.detail, record.detail)
    if attempt is not None and record.through is not None:
        why = _WHY_USER.get(record.detail, why)
    return {
        **access_document(recorded, record),
        "claims": list(record.claims),
        "restricted": record.restricted,
        "rules": record.rules,
        **({} if attempt is None else {"ticket": _ticket(attempt, issued)}),
        "why": why,
        "mend": _mend(record) if attempt is None else _mend_redemption(record, issued),
    }


def _nothing_to_explain(row: LogRow | None, position: int) -> NotFound:
    """What lies there instead of an attempt, and which command tells of that."""
    if row is None:
        return NotFound(
            "beyond-the-log",
            "The log does not reach that position yet.",
            hint="`credledger audit access` lists attempts to read with their positions.",
        )
    if row.topic.startswith(ADMINISTRATION):
        listed = f"`credledger audit changes --position {position} --limit 1` tells what it was"
    elif row.topic in ASKED:
        listed = (
            f"`credledger audit questions --position {position} --limit 1` tells who asked what"
        )
    else:
        listed = f"`credledger log events --after {position - 1} --limit 1` shows the row"
    return NotFound(
        "no-such-record",
        f"What was recorded at position {position} is {row.topic}, no attempt to read.",
        hint=f"{listed}; `audit access` lists attempts, `audit tokens` tokens that were refused.",
    )


def _attempt(store: Store, mapper: EventMapper, position: int) -> Redemption | None:
    """What became of a ticket, where the row at a position tells it."""
    row = signed_row(store, mapper, position) if position > 0 else None
    if row is None or row.topic not in _REDEMPTIONS:
        return None
    event = mapper.open_checked(row).event
    return event if isinstance(event, Redemption) else None


def _issued(
    store: Store, mapper: EventMapper, position: int, retention: Retention
) -> TicketIssued | None:
    """The issue of a ticket; None where it was erased."""
    row = signed_row(store, mapper, position)
    if row is None or retention.erasure_of(position) is not None:
        return None
    event = mapper.open_checked(row).event
    return event if isinstance(event, TicketIssued) else None


def _ticket(attempt: Redemption, issued: TicketIssued | None) -> dict[str, Any]:
    """What is told of a ticket beside the access."""
    expires_at = None if issued is None else issued.expires_at
    return {
        "user": attempt.on_behalf_of,
        "claims": [] if issued is None else list(issued.claims),
        "through": attempt.behalf,
        "application": None if issued is None else issued.application,
        "issued": attempt.issued,
        "issued_at": None if issued is None else time_text(issued.issued_at),
        "expires_at": None if expires_at is None else time_text(expires_at),
        "asked_at": time_text(attempt.reading),
    }


def _issue(recorded: Recorded, event: TicketIssued | TicketNotIssued) -> dict[str, Any]:
    """A ticket that was issued, or refused, in the shape of an access."""
    is_issued = isinstance(event, TicketIssued)
    detail = event.detail if isinstance(event, TicketNotIssued) else "issued"
    why = "The user may have it." if is_issued else _WHY.get(detail, detail)
    return {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "outcome": recorded.topic.removeprefix("ticket."),
        "caller": event.user,
        "application": event.application,
        "authenticated_by": recorded.actor.authenticated_by,
        "reason": recorded.reason,
        "detail": detail,
        "claims": list(event.claims),
        "why": why,
        "mend": None if is_issued else _mend_issue(event.application, event.user, detail),
    }


def _lapse(recorded: Recorded, event: TicketLapsed) -> dict[str, Any]:
    """A ticket that nobody brought, in the shape of an access."""
    return {
        "position": recorded.position,
        "recorded_at": time_text(recorded.recorded_at),
        "outcome": "lapsed",
        "caller": None,
        "on_behalf_of": event.user,
        "application": event.application,
        "authenticated_by": recorded.actor.authenticated_by,
        "reason": recorded.reason,
        "detail": "ticket-expired",
        "redeemers": list(event.redeemers),
        "issued": event.issued,
        "why": "Nobody brought the ticket while it was good.",
        "mend": None,
    }


def _mend_issue(application: str | None, user: str, detail: str) -> str | None:
    match application, detail:
        case str(), "no-such-application":
            kind = ("--kind", "individual", "--ticketing")
            return _command("app", "create", application, *kind)
        case str(), "not-a-member":
            return _command("app", "grant", application, "member", user)
        case str(), "not-ticketing":
            return _command("app", "show", application)
        case _, "issuer-not-trusted":
            return _command("issuer", "list")
    return None


def _mend_redemption(record: Access, issued: TicketIssued | None) -> str | None:
    """The same for a redemption: a right for the redeemer or the user, or another ticket."""
    application, user = record.application, record.on_behalf_of
    match record.detail:
        case "not-a-redeemer":
            return _command("app", "grant", application, "ticket-redeemer", record.caller)
        case "not-ticketing":
            return _command("app", "show", application)
        case "not-a-member" if user is not None:
            return _command("app", "grant", application, "member", user)
        case (
            "ticket-expired" | "ticket-used" | "ticket-for-another-application" | "no-such-ticket"
        ) if user is not None:
            further = () if issued is None else issued.claims[1:]
            presented = [word for claim in further for word in ("--with", claim)]
            asked = ("--as", user, *presented, "--app", application)
            return _command("ticket", "issue", *asked)
        case "no-such-application" | "issuer-not-trusted" | "unknown-field" | "not-set":
            return _mend(record)
    return None


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
