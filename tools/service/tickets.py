"""Issuing tickets, and turning them into credentials."""

from __future__ import annotations

from tools.service import answers, bodies
from tools.service.counter import Counter, Question
from tools.service.credentials import retrieved
from tools.shapes import ticket_document


async def issue(counter: Counter, question: Question[bodies.IssueTicket]) -> answers.TicketIssued:
    """A ticket for the caller."""
    issued = await counter.ledger.tickets.issue_async(
        question.caller, question.application, reason=question.reason
    )
    return answers.TicketIssued(**ticket_document(issued))


async def redeem(counter: Counter, question: Question[bodies.RedeemTicket]) -> answers.Retrieved:
    """The credentials of whom it was issued to."""
    body = question.body
    found = await counter.ledger.tickets.redeem_async(
        question.caller,
        question.named,
        body.ticket,
        fields=body.fields,
        reason=question.reason,
    )
    return retrieved(found, as_bytes=question.as_bytes)
