"""Tickets: one request issues one, another turns it into the credentials of whom it was issued to.

A redemption is decided, recorded and the ticket ended at one position under one lock; of two at the
same time, in one process or in several, the later one finds the ticket ended. Two rows tell of it:
what became of the ticket, and right behind it the access. Killed before the commit, nothing has
happened; killed after it, the ticket is used and its values were released to nobody.

A ticket whose issue was erased is none that anybody knows: it was over long before.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

import msgspec

from ledger.aggregates.access import Access, AccessGranted
from ledger.aggregates.application import Application
from ledger.aggregates.mapping import CredentialMapping
from ledger.aggregates.tickets import (
    Redemption,
    TicketExpired,
    TicketIssued,
    TicketNotIssued,
    TicketRedeemed,
    TicketRefused,
    TicketState,
    fold_ticket,
)
from ledger.claims import Claim
from ledger.errors import KeyUnavailable, Tampered
from ledger.identifiers import display_name
from ledger.log.transaction import Transaction
from ledger.policy import (
    Caller,
    Moment,
    decide_issue,
    decide_redemption,
    owner_for,
    user_of,
)
from ledger.sealing.tickets import Ticket
from ledger.usecases.decisions import Asked
from ledger.usecases.desk import Desk
from ledger.usecases.outcomes import IssuedTicket
from ledger.usecases.retention import retention_of
from ledger.usecases.retrieval import Release, access_record, denied

_SECOND_US = 1_000_000


class Issue(NamedTuple):
    """What was recorded of somebody who asked for a ticket."""

    event: TicketIssued | TicketNotIssued
    position: int


class IssueTicket(msgspec.Struct, frozen=True):
    """One user asks for a ticket."""

    desk: Desk
    caller: Caller
    application: str | None
    ticket: Ticket
    """What they get, if they get it."""
    reason: str

    def decide(self, transaction: Transaction) -> Issue:
        """Append its issue, as the first event of a stream of its own, or the refusal."""
        desk, asked = self.desk, self.application
        caller = self.caller.canonical(desk.issuers(transaction))
        application = None if asked is None else desk.application(transaction, asked)
        decision = decide_issue(
            application,
            desk.roles(transaction),
            caller,
            bound=asked is not None,
            issuers=desk.issuers(transaction),
        )
        shown = None if asked is None else display_name(asked)
        if application is not None and not application.deleted:
            shown = application.application
        claims = tuple(str(claim) for claim in caller.claims)
        author = desk.author(transaction, caller)
        if not decision.allowed:
            refused = TicketNotIssued(claims[0], claims, shown, decision.detail)
            recorded = transaction.append_access(refused, author, self.reason)
            return Issue(refused, recorded.position)
        issued_at = transaction.clock_reading
        digest = self.ticket.digest(desk.streams.tickets_key())
        issued = TicketIssued(
            ticket=digest,
            user=claims[0],
            claims=claims,
            application=shown,
            creation=None if application is None else application.creation,
            issued_at=issued_at,
            expires_at=None
            if application is None
            else issued_at + application.ticket_timeout_s * _SECOND_US,
        )
        recorded = transaction.append(desk.streams.ticket(digest), issued, author, self.reason)
        return Issue(issued, recorded.position)


def handed_over(issue: Issue, ticket: Ticket) -> IssuedTicket:
    """The ticket whose issue is durable; `access-denied` where it was refused."""
    issued = issue.event
    if isinstance(issued, TicketNotIssued):
        raise denied(issue.position)
    return IssuedTicket(
        ticket, issued.application, issued.issued_at, issued.expires_at, issue.position
    )


class RedeemTicket(msgspec.Struct, frozen=True):
    """One redeemer asks for the credentials of whom a ticket was issued to."""

    desk: Desk
    asked: Asked
    ticket: Ticket | None
    """None where what was handed over cannot be one."""
    reason: str

    def decide(self, transaction: Transaction) -> Release:
        """Append what becomes of the ticket, and the access record right behind it."""
        desk = self.desk
        caller = self.asked.caller.canonical(desk.issuers(transaction))
        asked = self.asked._replace(caller=caller)
        moment = Moment(transaction.clock_reading, transaction.recorded_at())
        digest = None if self.ticket is None else self.ticket.digest(desk.streams.tickets_key())
        state = None if digest is None else ticket_state(desk, transaction, digest)
        application = desk.application(transaction, asked.application)
        decision = decide_redemption(
            application,
            desk.roles(transaction),
            asked.caller,
            state,
            moment,
            fields=asked.fields,
            issuers=desk.issuers(transaction),
        )
        owner = None
        if application is not None and state is not None:
            owner = owner_for(application, user_of(state))
        mapping = None
        if application is not None and decision.allowed:
            mapping = self._mapping(transaction, application, owner)
        user = None if state is None else state.user
        record = access_record(asked, application, decision, mapping, owner, user)
        self._tell(transaction, record, digest, state, moment, decision.behalf)
        recorded = transaction.append_access(
            record, desk.author(transaction, asked.caller), self.reason
        )
        if application is None or not decision.allowed:
            return Release(record, recorded.position)
        place = None if mapping is None else desk.mapper.associated_data(mapping.recorded)
        page = application.credential_page_url
        return Release(record, recorded.position, mapping, page, place, desk.box.now)

    def _mapping(
        self, transaction: Transaction, application: Application, owner: Claim | None
    ) -> CredentialMapping | None:
        found = self.desk.mapping(transaction, application, owner)
        return found if found is not None and found.counts_in(application.creation) else None

    def _tell(
        self,
        transaction: Transaction,
        record: Access,
        digest: bytes | None,
        state: TicketState | None,
        moment: Moment,
        behalf: Claim | None,
    ) -> None:
        """Append what becomes of the ticket: in its own stream where that ends it."""
        happened = _became(record, state)(
            ticket=digest,
            application=record.application,
            caller=record.caller,
            claims=record.claims,
            on_behalf_of=record.on_behalf_of,
            issued=None if state is None else state.position,
            reading=moment.reading,
            behalf=None if behalf is None else str(behalf),
            detail=record.detail,
        )
        author = self.desk.author(transaction, self.asked.caller)
        if digest is None or isinstance(happened, TicketRefused):
            transaction.append_access(happened, author, self.reason)
        else:
            stream = self.desk.streams.ticket(digest)
            transaction.append(stream, happened, author, self.reason)


def _became(record: Access, state: TicketState | None) -> type[Redemption]:
    if isinstance(record, AccessGranted):
        return TicketRedeemed
    is_noticed = state is not None and state.ended is None and record.detail == "ticket-expired"
    return TicketExpired if is_noticed else TicketRefused


def ticket_state(desk: Desk, transaction: Transaction, digest: bytes) -> TicketState | None:
    """The ticket as its stream tells it; None where it was never issued, or that was erased."""
    try:
        found = transaction.load(desk.streams.ticket(digest), fold_ticket)
    except KeyUnavailable as error:
        if error.code != "key-destroyed":
            raise
        return None
    if found is None or retention_of(desk, transaction).until >= found.position:
        return None
    if not hmac.compare_digest(found.digest, digest):
        raise Tampered("wrong-stream", "A ticket's stream tells of another one.")
    return found
