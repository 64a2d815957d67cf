"""Taking everything from somebody who leaves: all roles in applications and all rights, at once.

One transaction, so nobody is ever half gone. The applications are listed before it; those created
between the list and the lock are found under the lock among the rows that came since. What is
taken is what the claim itself holds: of groups the ledger knows no members, and nobody needs a
role to read their own credentials in an open application.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ledger.aggregates import application as applications
from ledger.aggregates import roles as rights
from ledger.aggregates.access import AuditQueried
from ledger.aggregates.application import ApplicationCreated
from ledger.claims import Claim
from ledger.identifiers import application_key
from ledger.log.following import CheckedHead
from ledger.log.transaction import Transaction
from ledger.replacing import replace
from ledger.usecases.acting import Acting
from ledger.usecases.desk import Desk
from ledger.usecases.outcomes import LeavingOutcome
from ledger.usecases.restoration import require_operator


class Leave(msgspec.Struct, frozen=True):
    """Revoke all that a claim holds; with `only_look` nothing is appended."""

    desk: Desk
    acting: Acting
    claim: Claim
    listed: Sequence[str]
    """The IDs of all applications at `head`."""
    head: CheckedHead
    exposed: int
    """How many lines of what this claim saw are shown with it, which is recorded."""
    only_look: bool = False

    def decide(self, transaction: Transaction) -> LeavingOutcome:
        """Append every revocation, and that the history was asked; who only looks asks nothing."""
        if not self.only_look:
            require_operator(self.desk, self.acting)
        claim = self.desk.issuers(transaction).canonical(self.claim)
        return replace(self, claim=claim).take_all(transaction)

    def take_all(self, transaction: Transaction) -> LeavingOutcome:
        """The same for a claim that is as it is compared."""
        taken: list[tuple[str, str]] = []
        for key in sorted(self._keys(transaction)):
            taken.extend(self._leave_application(transaction, key))
        held = self._give_up_rights(transaction)
        position = transaction.next_position - 1
        if not self.only_look:
            asked = AuditQueried(f"leaver {self.claim}", self.exposed)
            actor = self.desk.actor(transaction, self.acting)
            position = transaction.append_access(asked, actor, self.acting.reason).position
        return LeavingOutcome(position, tuple(taken), held)

    def _keys(self, transaction: Transaction) -> set[str]:
        """All applications there are, those created since the list was made included."""
        keys = {application_key(one) for one in self.listed}
        for row in transaction.rows_after(self.head):
            if row.topic == ApplicationCreated.TOPIC:
                created = self.desk.mapper.open_checked(row).event
                assert isinstance(created, ApplicationCreated)
                keys.add(application_key(created.application))
        return keys

    def _leave_application(self, transaction: Transaction, key: str) -> list[tuple[str, str]]:
        state = self.desk.application(transaction, key)
        if state is None or state.deleted:
            return []
        held = [role for role in applications.ROLES if self.claim in state.claims_of(role)]
        if not self.only_look:
            stream = self.desk.streams.application(key)
            for role in held:
                for happened in applications.revoke(state, role, self.claim):
                    actor = self.desk.actor(transaction, self.acting)
                    transaction.append(stream, happened, actor, self.acting.reason)
        return [(state.application, role) for role in held]

    def _give_up_rights(self, transaction: Transaction) -> tuple[str, ...]:
        roles = self.desk.roles(transaction)
        held = tuple(right for right in rights.RIGHTS if (right, self.claim) in roles.held)
        if not self.only_look:
            for right in held:
                for happened in rights.revoke(roles, right, self.claim):
                    actor = self.desk.actor(transaction, self.acting)
                    stream = self.desk.streams.roles()
                    transaction.append(stream, happened, actor, self.acting.reason)
        return held
