"""Issuing tickets, and turning them into credentials."""

from __future__ import annotations

from ledger.errors import InvalidInput, LedgerError, NotFound, Refused
from tools.service import answers, bodies
from tools.service.counter import Counter, Question
from tools.service.credentials import retrieved
from tools.shapes import ticket_document

_ANSWERS = (InvalidInput, NotFound, Refused)
"""By which somebody is told that there is nothing for them."""


async def issue(counter: Counter, question: Question[bodies.IssueTicket]) -> answers.TicketIssued:
    """A ticket for the caller."""
    try:
        issued = await counter.ledger.tickets.issue_async(
            question.caller, question.application, reason=question.reason
        )
    except _ANSWERS as error:
        _count(counter, "not-issued", error)
        raise
    counter.tickets.count("issued")
    return answers.TicketIssued(**ticket_document(issued))


async def redeem(counter: Counter, question: Question[bodies.RedeemTicket]) -> answers.Retrieved:
    """The credentials of whom it was issued to."""
    body = question.body
    try:
        found = await counter.ledger.tickets.redeem_async(
            question.caller,
            question.named,
            body.ticket,
            fields=body.fields,
            reason=question.reason,
        )
    except _ANSWERS as error:
        _count(counter, "refused", error)
        raise
    counter.tickets.count("redeemed")
    return retrieved(found, as_bytes=question.as_bytes)


def _count(counter: Counter, became: str, error: LedgerError) -> None:
    """Count what was recorded; what was no attempt at all has no position."""
    if error.position is not None:
        counter.tickets.count(became)
