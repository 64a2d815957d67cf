"""Receipts: a caller's proof that what he asked for is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.aggregates.access import Access
from ledger.errors import KeyUnavailable
from ledger.usecases.desk import not_allowed
from projections.streams import signed_row
from tools.service import answers, bodies
from tools.service.counter import Counter, Question

if TYPE_CHECKING:
    from ledger.log.proof_document import InclusionProof
    from ledger.policy import Caller
    from tools.wiring import Session


async def make(counter: Counter, question: Question[bodies.Receipt]) -> answers.ReceiptMade:
    """Of one of the caller's own attempts."""
    position = question.body.position
    proof = await counter.wait(lambda: _own(counter.session, question.caller, position))
    return answers.ReceiptMade(proof.as_document())


def _own(session: Session, caller: Caller, position: int) -> InclusionProof:
    """The proof for a retrieval that this caller attempted; `not-allowed` for anything else.

    Whether there is a record at all is told to nobody else, nor is one told of that was erased.
    """
    row = signed_row(session.store, session.mapper, position)
    if row is None or not row.topic.startswith("access."):
        raise not_allowed()
    try:
        record = session.mapper.open_checked(row).event
    except KeyUnavailable:
        raise not_allowed() from None
    claim = str(session.ledger.canonical(caller.claim))
    if not isinstance(record, Access) or record.caller != claim:
        raise not_allowed()
    return session.ledger.receipt(position)
