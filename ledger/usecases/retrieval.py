"""The read path: decide, record durably, and only then open.

Policy is brought forward, the mapping looked up, the decision made and recorded, all at one
position under one lock. Values are opened by the caller's own thread after the commit, from the
row that the record names. Whatever the outcome, there is exactly one record of it.

A decision that was made before is recorded again where nothing has changed; see `decisions.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ledger.aggregates.access import OUTCOMES, Access, AccessDenied
from ledger.aggregates.application import Application
from ledger.aggregates.mapping import CredentialMapping
from ledger.claims import Claim
from ledger.codec.mapper import text_of
from ledger.errors import InvalidInput, KeyUnavailable, LedgerError, NotFound, Refused
from ledger.identifiers import application_key, display_name
from ledger.log.transaction import Transaction
from ledger.policy import RULES_VERSION, Decision, decide_get, fields_released, owner_for
from ledger.replacing import replace
from ledger.sealing.secrets import SecretKeys
from ledger.usecases.decisions import Asked, Released
from ledger.usecases.desk import Desk
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.outcomes import Retrieved
from ledger.values import unpack_values


class Release(NamedTuple):
    """A recorded decision, and where the values lie if it was granted."""

    record: Access
    position: int
    mapping: CredentialMapping | None = None
    credential_page: str | None = None
    secret_place: bytes | None = None
    """What binds the mapping's values to their row, if it was granted."""
    keys: SecretKeys | None = None
    """Those held when it was recorded: what is granted opens, whatever is destroyed right after."""


class Retrieve(msgspec.Struct, frozen=True):
    """One caller asks for the credentials that are theirs in one application."""

    desk: Desk
    asked: Asked
    reason: str

    def decide(self, transaction: Transaction) -> Release:
        """Append the access record."""
        desk, asked = self.desk, self.asked
        known = desk.decisions.of(asked, application_key(asked.application), transaction)
        if known is not None:
            return self._released(transaction, known)
        caller = asked.caller.canonical(desk.issuers(transaction))
        return replace(self, asked=asked._replace(caller=caller)).decide_anew(transaction)

    def decide_anew(self, transaction: Transaction) -> Release:
        """Decide anew, of a caller whose claims are as they are compared."""
        desk, asked = self.desk, self.asked
        application = desk.application(transaction, asked.application)
        decision = decide_get(
            application,
            desk.roles(transaction),
            asked.caller,
            restricted=asked.restricted,
            fields=asked.fields,
            issuers=desk.issuers(transaction),
        )
        if application is None or not decision.allowed:
            return self._withheld(transaction, self._record(application, decision, None), None)
        page = application.credential_page_url
        owner = owner_for(application, asked.caller)
        mapping = desk.mapping(transaction, application, owner)
        if mapping is None or not mapping.counts_in(application.creation):
            return self._withheld(transaction, self._record(application, decision, None), page)
        record = self._record(application, decision, mapping)
        released = Released(
            desk.mapping_stream(application, owner),
            mapping.recorded,
            record,
            mapping,
            page,
            self.reason,
            text_of(record, desk.author(transaction, asked.caller), self.reason),
            desk.mapper.associated_data(mapping.recorded),
        )
        desk.decisions.keep(asked, desk.policy(transaction, application), released)
        return self._released(transaction, released)

    def _released(self, transaction: Transaction, known: Released) -> Release:
        text = known.text if known.reason == self.reason else None
        recorded = transaction.append_access(
            known.record, self.desk.author(transaction, self.asked.caller), self.reason, text
        )
        return Release(
            known.record,
            recorded.position,
            known.mapping,
            known.credential_page,
            known.secret_place,
            self.desk.box.now,
        )

    def _withheld(
        self, transaction: Transaction, record: Access, credential_page: str | None
    ) -> Release:
        recorded = transaction.append_access(
            record, self.desk.author(transaction, self.asked.caller), self.reason
        )
        return Release(record, recorded.position, credential_page=credential_page)

    def _record(
        self, application: Application | None, decision: Decision, mapping: CredentialMapping | None
    ) -> Access:
        owner = None if application is None else owner_for(application, self.asked.caller)
        return access_record(self.asked, application, decision, mapping, owner)


def access_record(
    asked: Asked,
    application: Application | None,
    decision: Decision,
    mapping: CredentialMapping | None,
    owner: Claim | None,
    on_behalf_of: str | None = None,
) -> Access:
    """What is recorded of a decision, with every input of it.

    `owner` is whose credentials they are, where there is such an application; without a `mapping`
    nothing is released.
    """
    outcome = "denied"
    released: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    detail = decision.detail
    if decision.allowed and application is not None:
        outcome = "not-set"
        if mapping is not None:
            outcome = "granted"
            released = fields_released(application, asked.fields, mapping.fields)
            missing = tuple(
                field.name for field in application.fields if field.name not in mapping.fields
            )
        else:
            detail = "not-set"
    live = application if application is not None and not application.deleted else None
    return OUTCOMES[outcome](
        application=display_name(asked.application) if live is None else live.application,
        owner=str(owner) if live is not None and owner else None,
        caller=str(asked.caller.claim),
        claims=tuple(str(claim) for claim in asked.caller.claims),
        restricted=asked.restricted,
        requested=asked.fields,
        rules=RULES_VERSION,
        through=str(decision.through) if decision.through else None,
        creation=None if live is None else live.creation,
        mapping_position=mapping.recorded.position if mapping else None,
        value_version=mapping.value_version if mapping else None,
        fields=released,
        complete=not missing if mapping else None,
        missing=missing,
        detail=detail,
        on_behalf_of=on_behalf_of,
    )


def _where_fields_are_told(record: Access) -> str:
    if record.on_behalf_of is not None:  # who redeems a ticket need not be one who may look
        return (
            "To whoever may get from the application, `credledger app fields ID` lists them;"
            " nothing was released, and the ticket is as it was."
        )
    return "`credledger app fields ID` lists them; nothing was released."


def opened(release: Release) -> Retrieved:
    """The values of a granted release; our error for any other outcome."""
    record, mapping = release.record, release.mapping
    if record.detail == "unknown-field":
        raise InvalidInput(
            "unknown-field",
            f"The application has no field of that name; the record is {release.position}.",
            hint=_where_fields_are_told(record),
            position=release.position,
        )
    if isinstance(record, AccessDenied):
        raise denied(release.position)
    place, keys = release.secret_place, release.keys
    if mapping is None or mapping.secret is None or place is None or keys is None:
        raise _not_set(release)
    values = unpack_values(keys.open(mapping.recorded.epoch, mapping.secret, place))
    return Retrieved(
        application=record.application,
        owner=record.owner,
        version=mapping.value_version,
        fields={name: values[name] for name in record.fields},
        complete=bool(record.complete),
        missing=record.missing,
        position=release.position,
    )


class Opener:
    """Opens what was recorded, by the keys that are there now where those held then will not do."""

    def __init__(self, desk: Desk, held: HeldKeys) -> None:
        self._desk = desk
        self._held = held

    def open(self, release: Release) -> Retrieved:
        """As `opened`."""
        try:
            return opened(release)
        except KeyUnavailable:
            # A key backup may have taken the keyring's place since this process looked, and another
            # thread may have found that out before.
            self._held.renew_if_changed()
            if self._desk.box.now is release.keys:
                raise
            return opened(release._replace(keys=self._desk.box.now))


def denied(position: int) -> Refused:
    """The one answer to whoever may not, whatever the reason."""
    return Refused(
        "access-denied",
        f"Access is refused; the reference number is {position}.",
        hint="Give the reference number to the ledger's operator, who can have it explained.",
        position=position,
    )


def _not_set(release: Release) -> LedgerError:
    return NotFound(
        "credentials-not-set",
        f"No credentials are set for this owner; the record is {release.position}.",
        hint="Set them with `credledger credential set`.",
        position=release.position,
        credential_page=release.credential_page,
    )
