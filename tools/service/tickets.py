"""Issuing tickets, and turning them into credentials."""

from __future__ import annotations

from projections.documents import time_text
from tools.service import answers, bodies
from tools.service.counter import Counter, Question
from tools.service.credentials import retrieved


async def issue(counter: Counter, question: Question[bodies.IssueTicket]) -> answers.TicketIssued:
    """A ticket for the caller."""
    issued = await counter.ledger.issue_ticket_async(
        question.caller, question.application, reason=question.acting.reason
    )
    expires_at = None if issued.expires_at is None else time_text(issued.expires_at)
    return answers.TicketIssued(issued.ticket.reveal(), time_text(issued.issued_at), expires_at)


async def redeem(counter: Counter, question: Question[bodies.RedeemTicket]) -> answers.Retrieved:
    """The credentials of whom it was issued to."""
    body = question.body
    found = await counter.ledger.redeem_ticket_async(
        question.caller,
        question.named,
        body.ticket,
        fields=body.fields or None,
        reason=question.acting.reason,
    )
    return retrieved(found, as_bytes=question.as_bytes)
