"""The read path: decide, record durably, and only then open.

Policy is brought forward, the mapping looked up, the decision made and recorded, all at one
position under one lock. Values are opened by the caller's own thread after the commit, from the
row that the record names. Whatever the outcome, there is exactly one record of it.

A decision is a pure function of the request, the policy's state and the mapping's newest row. Those
are immutable and kept from request to request, so where the very same objects are met again the
same decision is recorded again, at its own new position; anything else is decided anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ledger.aggregates.access import OUTCOMES, Access, AccessDenied
from ledger.aggregates.application import Application, field_of
from ledger.aggregates.mapping import CredentialMapping
from ledger.aggregates.roles import Roles
from ledger.errors import InvalidInput, LedgerError, NotFound, Refused
from ledger.identifiers import display_name
from ledger.log.transaction import Transaction
from ledger.policy import RULES_VERSION, Decision, decide_get, owner_for
from ledger.usecases.decisions import Asked, Decided
from ledger.usecases.desk import Desk
from ledger.usecases.outcomes import Retrieved


class Release(NamedTuple):
    """A recorded decision, and where the values lie if it was granted."""

    record: Access
    position: int
    mapping: CredentialMapping | None
    credential_page: str | None


@dataclass(frozen=True, slots=True)
class Retrieve:
    """One caller asks for the credentials that are theirs in one application."""

    desk: Desk
    asked: Asked
    reason: str

    def decide(self, transaction: Transaction) -> Release:
        """Append the access record."""
        desk, asked = self.desk, self.asked
        application = desk.application(transaction, asked.application)
        roles = desk.roles(transaction)
        decided = desk.decisions.of(asked)
        if decided is None or not decided.holds(application, roles, transaction):
            decided = self._decided(application, roles, transaction)
            desk.decisions.keep(asked, decided)
        position = transaction.append_access(decided.record, desk.slot, self.reason).position
        return Release(decided.record, position, decided.mapping, decided.credential_page)

    def _decided(
        self, application: Application | None, roles: Roles, transaction: Transaction
    ) -> Decided:
        asked = self.asked
        decision = decide_get(
            application, roles, asked.caller, restricted=asked.restricted, fields=asked.fields
        )
        stream = newest = mapping = page = None
        if decision.allowed and application is not None:
            owner = owner_for(application, self.asked.caller)
            stream = self.desk.mapping_stream(application, owner)
            newest = transaction.newest(stream)
            found = self.desk.mapping(transaction, application, owner)
            if found is not None and found.counts_in(application.creation):
                mapping = found
            page = application.credential_page_url
        record = self._record(application, decision, mapping)
        return Decided(application, roles, stream, newest, record, mapping, page)

    def _record(
        self, application: Application | None, decision: Decision, mapping: CredentialMapping | None
    ) -> Access:
        outcome = "denied"
        released: tuple[str, ...] = ()
        missing: tuple[str, ...] = ()
        detail = decision.detail
        if decision.allowed and application is not None:
            outcome = "not-set"
            if mapping is not None:
                outcome = "granted"
                released = self._released(application, mapping)
                missing = tuple(
                    field.name for field in application.fields if field.name not in mapping.fields
                )
            else:
                detail = "not-set"
        live = application is not None and not application.deleted
        owner = owner_for(application, self.asked.caller) if live and application else None
        return OUTCOMES[outcome](
            application=application.application
            if live and application
            else display_name(self.asked.application),
            owner=str(owner) if owner else None,
            caller=str(self.asked.caller.claim),
            claims=tuple(str(claim) for claim in self.asked.caller.claims),
            restricted=self.asked.restricted,
            requested=self.asked.fields,
            rules=RULES_VERSION,
            through=str(decision.through) if decision.through else None,
            creation=application.creation if live and application else None,
            mapping_position=mapping.recorded.position if mapping else None,
            value_version=mapping.value_version if mapping else None,
            fields=released,
            complete=not missing if mapping else None,
            missing=missing,
            detail=detail,
        )

    def _released(self, application: Application, mapping: CredentialMapping) -> tuple[str, ...]:
        if not self.asked.fields:
            return mapping.fields
        wanted = dict.fromkeys(field_of(application, name).name for name in self.asked.fields)
        return tuple(name for name in wanted if name in mapping.fields)


def opened(desk: Desk, release: Release) -> Retrieved:
    """The values of a granted release; our error for any other outcome."""
    record, mapping = release.record, release.mapping
    if record.detail == "unknown-field":
        raise InvalidInput(
            "unknown-field",
            "The application has no field of that name.",
            position=release.position,
        )
    if isinstance(record, AccessDenied):
        raise Refused(
            "access-denied",
            f"Access is refused; the reference number is {release.position}.",
            hint="Give the reference number to the ledger's operator, who can have it explained.",
            position=release.position,
        )
    if mapping is None or mapping.secret is None:
        raise _not_set(release)
    values = desk.open_values(mapping.recorded, mapping.secret)
    return Retrieved(
        application=record.application,
        owner=record.owner,
        version=mapping.value_version,
        fields={name: values[name] for name in record.fields},
        complete=bool(record.complete),
        missing=record.missing,
        position=release.position,
    )


def _not_set(release: Release) -> LedgerError:
    return NotFound(
        "credentials-not-set",
        f"No credentials are set for this owner; the record is {release.position}.",
        hint="Set them with `credledger credential set`.",
        position=release.position,
        credential_page=release.credential_page,
    )
