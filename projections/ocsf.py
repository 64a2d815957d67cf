"""Rows of the log as OCSF events, for systems that know no ledger but know the schema.

OCSF (Open Cybersecurity Schema Framework, https://schema.ocsf.io) sorts what happened into classes
with activities. Each topic has its class and activity in `ACTIONS`; what the class asks for is
filled from the event by the function that stands beside it. Everything that the plain export tells
stands under `unmapped` too, so nothing is lost on the way, and `position`, `leaf` and `head_size`
are always there.

    access, credential values   Datastore Activity    the ledger is the database, an application
                                                      a table in it
    who may do what             User Access or        by whether the claim is one person's or one
                                Group Management      that many hold
    slots and passphrases       Account Change        a slot is an account of the ledger
    unlocking by shares,        Authentication        whoever redeems a ticket stands for the
    tickets                                           user that it was issued to
    applications, keys, policy  Entity Management
    backups, questions, risks   API Activity          operations of the ledger itself

A row that cannot be told, because it was erased or its key is not held, is a Base Event: its topic
is known and nothing else of it. The version of the schema is pinned: it changes with a version of
this program only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import msgspec

from ledger.aggregates.access import Access, AccessGranted
from ledger.aggregates.recorded import Recorded
from ledger.aggregates.tickets import TicketEvent, TicketRedeemed
from ledger.aggregates.token_use import TokenRefused, TokensRefused
from ledger.claims import LOCAL, OWNER_TYPES, Claim, parse_claim
from ledger.errors import InvalidInput
from projections.export import Exported

SCHEMA_VERSION = "1.5.0"
OTHER = 99
PRODUCT = {"name": "credledger", "vendor_name": "credledger"}
_OWN_CLAIMS = ("operator", "auditor")
_WHOM = ("caller", "user", "on_behalf_of", "owner", "claim", "right", "role")
"""Fields of events that name somebody, in the order of a message."""


class Class(Enum):
    """The classes in use: number, caption, category's number and caption."""

    BASE = (0, "Base Event", 0, "Uncategorized")
    ACCOUNT = (3001, "Account Change", 3, "Identity & Access Management")
    AUTHENTICATION = (3002, "Authentication", 3, "Identity & Access Management")
    ENTITY = (3004, "Entity Management", 3, "Identity & Access Management")
    USER_ACCESS = (3005, "User Access Management", 3, "Identity & Access Management")
    GROUP = (3006, "Group Management", 3, "Identity & Access Management")
    API = (6003, "API Activity", 6, "Application Activity")
    DATASTORE = (6005, "Datastore Activity", 6, "Application Activity")


class Severity(Enum):
    """How much a reader ought to care: number and caption."""

    INFORMATIONAL = (1, "Informational")
    LOW = (2, "Low")
    MEDIUM = (3, "Medium")


class Told(msgspec.Struct, frozen=True):
    """One row that opened, as the functions below see it."""

    recorded: Recorded
    detail: Mapping[str, Any]
    """The event's fields, as the plain export tells them."""
    application: str | None
    ledger_id: str

    @property
    def host(self) -> str:
        """Where the acting account is."""
        return str(self.recorded.actor.account).rpartition("@")[2] or "unknown"


About = Callable[[Told], dict[str, Any]]
"""What a class asks for besides what all classes have."""


class Action(msgspec.Struct, frozen=True):
    """What a topic is in OCSF."""

    ocsf: Class
    activity: int
    name: str
    """The activity's caption, as the schema has it; our own where the activity is `OTHER`."""
    about: About
    severity: Severity = Severity.INFORMATIONAL


def ocsf_document(exported: Exported) -> dict[str, Any]:
    """The row as one OCSF event; `KeyError` for a topic without an action, which no test allows."""
    document, recorded = exported.document, exported.recorded
    if recorded is None:
        return _unreadable(exported)
    told = Told(recorded, document["detail"], document["application"], str(document["ledger_id"]))
    action = action_of(recorded)
    return {
        **_classified(action.ocsf, action.activity, action.name, action.severity),
        **_status(recorded),
        "time": recorded.recorded_at // 1000,
        "message": _message(told),
        "metadata": _metadata(document),
        "actor": {"user": _actor(told), "app_name": PRODUCT["name"]},
        "src_endpoint": {"name": told.host},
        **action.about(told),
        "unmapped": _unmapped(document),
    }


def action_of(recorded: Recorded) -> Action:
    """The action of an event; of a right, by who got it."""
    action = ACTIONS[recorded.topic]
    if action.ocsf is Class.USER_ACCESS and not _is_one_persons(_claim_of(recorded)):
        return Action(Class.GROUP, action.activity, action.name, _group_right, action.severity)
    return action


def _classified(ocsf: Class, activity: int, name: str, severity: Severity) -> dict[str, Any]:
    uid, caption, category, category_caption = ocsf.value
    severity_id, severity_caption = severity.value
    return {
        "class_uid": uid,
        "class_name": caption,
        "category_uid": category,
        "category_name": category_caption,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": uid * 100 + activity,
        "type_name": f"{caption}: {name}",
        "severity_id": severity_id,
        "severity": severity_caption,
    }


def _status(recorded: Recorded) -> dict[str, Any]:
    record = recorded.event
    if isinstance(record, TokenRefused):
        return {"status_id": 2, "status": "Failure", "status_code": record.why}
    if isinstance(record, TokensRefused):
        return {"status_id": 2, "status": "Failure", "status_code": "several"}
    detail = getattr(record, "detail", None) if isinstance(record, Access | TicketEvent) else None
    if detail is None:
        return {"status_id": 1, "status": "Success"}
    given = isinstance(record, AccessGranted | TicketRedeemed)
    number, caption = (1, "Success") if given else (2, "Failure")
    return {"status_id": number, "status": caption, "status_code": detail}


def _metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    ledger_id, position = document["ledger_id"], document["position"]
    return {
        "version": SCHEMA_VERSION,
        "product": PRODUCT,
        "uid": f"{ledger_id}/{position}",
        "sequence": position,
        "tenant_uid": ledger_id,
        "log_name": "credledger",
        "event_code": document["event"],
        "original_time": document["recorded_at"],
    }


def _unmapped(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "ledger_id"}


def _unreadable(exported: Exported) -> dict[str, Any]:
    document = exported.document
    return {
        **_classified(Class.BASE, OTHER, "Unreadable", Severity.INFORMATIONAL),
        "status_id": OTHER,
        "status": "Unreadable",
        "status_detail": document["unreadable"],
        "time": exported.row.recorded_at // 1000,
        "message": f"{_words(document['event'])}: unreadable",
        "metadata": _metadata(document),
        "unmapped": _unmapped(document),
    }


def _message(told: Told) -> str:
    whom = (told.detail.get(name) for name in _WHOM)
    named = [str(one) for one in (told.application, *whom) if one]
    said = _words(told.recorded.topic)
    return f"{said}: {', '.join(dict.fromkeys(named))}" if named else said


def _words(topic: str) -> str:
    return topic.replace(".", " ").replace("-", " ")


def _actor(told: Told) -> dict[str, Any]:
    """Who acted, and by which account of the ledger: the slot that was unlocked."""
    actor, record = told.recorded.actor, told.recorded.event
    account = {
        "name": str(actor.label),
        "uid": str(actor.slot),
        "type_id": OTHER,
        "type": str(actor.opens),
    }
    if isinstance(record, Access | TicketEvent):
        asked = told.detail["caller" if "caller" in told.detail else "user"]
        claims = (str(claim) for claim in told.detail.get("claims", ()))
        groups = [{"name": claim} for claim in claims if not _is_one_persons(claim)]
        held = {"groups": groups} if groups else {}
        return {**_user(str(asked)), **held, "account": account}
    if actor.claim in _OWN_CLAIMS:
        admin = {"type_id": 2, "type": "Admin"}
        who = {"name": str(actor.account), "uid": actor.authenticated_by}
        return {**who, **admin, "account": account}
    return {**_user(str(actor.claim)), "account": account}


def _user(text: str) -> dict[str, Any]:
    """A claim as a user; its issuer is the domain."""
    claim = _claim(text)
    if claim is None:
        return {"name": text, "type_id": 0, "type": "Unknown"}
    number, caption = {"user": (1, "User"), "service": (3, "System")}.get(
        claim.type, (OTHER, claim.type)
    )
    domain = {} if claim.issuer == LOCAL else {"domain": claim.issuer}
    return {"name": claim.value, "uid": text, "type_id": number, "type": caption, **domain}


@functools.lru_cache(maxsize=4096)
def _claim(text: str) -> Claim | None:
    """None for what is no claim: an auditor can seal anything in a stream of his own."""
    try:
        return parse_claim(text)
    except InvalidInput:
        return None


def _is_one_persons(text: str) -> bool:
    claim = _claim(text)
    return claim is None or claim.type in OWNER_TYPES


def _claim_of(recorded: Recorded) -> str:
    return str(getattr(recorded.event, "claim", ""))


def _privilege(told: Told) -> str:
    return str(told.detail.get("role") or told.detail.get("right"))


def _where(told: Told) -> dict[str, Any]:
    """What a right is in: an application, or the whole ledger."""
    if told.application is None:
        return {"name": "ledger", "uid": told.ledger_id, "type": "ledger"}
    return {"name": told.application, "type": "target application"}


def _user_right(told: Told) -> dict[str, Any]:
    return {
        "user": _user(_claim_of(told.recorded)),
        "privileges": [_privilege(told)],
        "resources": [_where(told)],
    }


def _group_right(told: Told) -> dict[str, Any]:
    one = _user(_claim_of(told.recorded))
    return {
        "group": {name: one[name] for name in ("name", "uid", "type", "domain") if name in one},
        "privileges": [_privilege(told)],
        "resource": _where(told),
    }


def _values(told: Told) -> dict[str, Any]:
    """The ledger is the database, the target application a table in it."""
    table = {} if told.application is None else {"table": {"name": told.application}}
    return {
        "database": {
            "name": "ledger",
            "uid": told.ledger_id,
            "type_id": OTHER,
            "type": "credential ledger",
        },
        **table,
    }


def _records(told: Told) -> dict[str, Any]:
    return {**_values(told), "table": {"name": "access records"}}


def _application(told: Told) -> dict[str, Any]:
    return {"entity": _entity(str(told.application), "target application")}


def _slot(told: Told) -> dict[str, Any]:
    number = str(told.detail["slot"])
    name = str(told.detail.get("label") or f"slot {number}")
    return {"user": {"name": name, "uid": number, "type_id": 2, "type": "Admin"}}


def _unlocking(told: Told) -> dict[str, Any]:
    return {
        **_slot(told),
        "service": {"name": "ledger", "uid": told.ledger_id},
        "auth_protocol_id": OTHER,
        "auth_protocol": "recovery shares",
    }


def _ticket(told: Told) -> dict[str, Any]:
    """Whom a ticket stands for: the user it was issued to, or nobody whom the ledger knows."""
    user = told.detail.get("on_behalf_of") or told.detail.get("user") or "unknown"
    return {
        "user": _user(str(user)),
        "service": {"name": told.application or "ledger", "uid": told.ledger_id},
        "auth_protocol_id": OTHER,
        "auth_protocol": "ticket",
    }


def _token(told: Told) -> dict[str, Any]:
    """Somebody who showed a token; of most refused ones it is not known who."""
    issuer, source = told.detail.get("issuer"), told.detail.get("source")
    caller = told.detail.get("caller")
    return {
        "user": {"name": "Unknown", "type_id": 0, "type": "Unknown"}
        if caller is None
        else _user(str(caller)),
        "service": {"name": "ledger", "uid": told.ledger_id},
        "auth_protocol_id": OTHER,
        "auth_protocol": "JSON Web Token",
        **({} if issuer is None else {"session": {"issuer": str(issuer)}}),
        **({} if source is None else {"src_endpoint": {"name": str(source)}}),
    }


def _issuer(told: Told) -> dict[str, Any]:
    return {"entity": _entity(str(told.detail["issuer"]), "token issuer")}


def _service_key(_: Told) -> dict[str, Any]:
    return {"entity": _entity("service key", "keys")}


def _shares(told: Told) -> dict[str, Any]:
    return {"entity": _entity(f"slot {told.detail['slot']}", "recovery shares")}


def _epoch(told: Told) -> dict[str, Any]:
    number = told.detail.get("epoch")
    return {"entity": _entity("next epoch" if number is None else f"epoch {number}", "keys")}


def _keys(told: Told) -> dict[str, Any]:
    return {"entity": _entity(f"{len(told.detail['keys'])} keys", "keys")}


def _host(told: Told) -> dict[str, Any]:
    return {"entity": _entity(str(told.detail["host"]), "Device", 1)}


def _policy(told: Told) -> dict[str, Any]:
    return {"entity": _entity(str(told.detail.get("hold") or "retention"), "Policy", 5)}


def _entity(name: str, kind: str, number: int = OTHER) -> dict[str, Any]:
    return {"name": name, "type": kind, "type_id": number}


def _operation(told: Told) -> dict[str, Any]:
    service = {"name": "ledger", "uid": told.ledger_id}
    place = told.detail.get("directory") or told.detail.get("path")
    resources = {"resources": [{"name": str(place), "type": "file"}]} if place else {}
    return {"api": {"operation": told.recorded.topic, "service": service}, **resources}


_LOW, _MEDIUM = Severity.LOW, Severity.MEDIUM
ACTIONS: Mapping[str, Action] = {
    "access.granted": Action(Class.DATASTORE, 1, "Read", _values),
    "access.not-set": Action(Class.DATASTORE, 1, "Read", _values),
    "access.denied": Action(Class.DATASTORE, 1, "Read", _values, _LOW),
    "ticket.issued": Action(Class.AUTHENTICATION, OTHER, "Ticket Issue", _ticket),
    "ticket.not-issued": Action(Class.AUTHENTICATION, OTHER, "Ticket Issue", _ticket, _LOW),
    "ticket.redeemed": Action(Class.AUTHENTICATION, OTHER, "Ticket Redemption", _ticket),
    "ticket.expired": Action(Class.AUTHENTICATION, OTHER, "Ticket Redemption", _ticket, _LOW),
    "ticket.lapsed": Action(Class.AUTHENTICATION, OTHER, "Ticket Expiry", _ticket),
    "ticket.refused": Action(Class.AUTHENTICATION, OTHER, "Ticket Redemption", _ticket, _LOW),
    "import.compared": Action(Class.DATASTORE, 10, "Decrypt", _values),
    "credential.set": Action(Class.DATASTORE, 5, "Write", _values),
    "credential.restored": Action(Class.DATASTORE, 2, "Update", _values),
    "credential.resealed": Action(Class.DATASTORE, 9, "Encrypt", _values),
    "credential.deleted": Action(Class.DATASTORE, 7, "Delete", _values),
    "history.erased": Action(Class.DATASTORE, 7, "Delete", _records, _LOW),
    "application.created": Action(Class.ENTITY, 1, "Create", _application),
    "application.updated": Action(Class.ENTITY, 3, "Update", _application),
    "application.field-added": Action(Class.ENTITY, 3, "Update", _application),
    "application.opened": Action(Class.ENTITY, 3, "Update", _application, _LOW),
    "application.closed": Action(Class.ENTITY, 3, "Update", _application),
    "application.deleted": Action(Class.ENTITY, 4, "Delete", _application, _LOW),
    "application.granted": Action(Class.USER_ACCESS, 1, "Assign Privileges", _user_right),
    "application.revoked": Action(Class.USER_ACCESS, 2, "Revoke Privileges", _user_right),
    "role.granted": Action(Class.USER_ACCESS, 1, "Assign Privileges", _user_right, _LOW),
    "role.revoked": Action(Class.USER_ACCESS, 2, "Revoke Privileges", _user_right, _LOW),
    "issuer.added": Action(Class.ENTITY, 1, "Create", _issuer, _MEDIUM),
    "issuer.changed": Action(Class.ENTITY, 3, "Update", _issuer, _MEDIUM),
    "issuer.removed": Action(Class.ENTITY, 4, "Delete", _issuer, _LOW),
    "service-key.made": Action(Class.ENTITY, 1, "Create", _service_key),
    "token.used": Action(Class.AUTHENTICATION, 1, "Logon", _token),
    "token.refused": Action(Class.AUTHENTICATION, 1, "Logon", _token, _LOW),
    "token.refusals": Action(Class.AUTHENTICATION, 1, "Logon", _token, _LOW),
    "retry-key.taken": Action(Class.API, OTHER, "Request Known", _operation),
    "slot.added": Action(Class.ACCOUNT, 1, "Create", _slot, _LOW),
    "slot.removed": Action(Class.ACCOUNT, 6, "Delete", _slot, _LOW),
    "passphrase.changed": Action(Class.ACCOUNT, 3, "Password Change", _slot),
    "audit.passphrase-changed": Action(Class.ACCOUNT, 3, "Password Change", _slot),
    "auditor.exported": Action(Class.ACCOUNT, OTHER, "Keyring Export", _slot, _LOW),
    "shares.created": Action(Class.ENTITY, 1, "Create", _shares, _LOW),
    "shares.restored": Action(Class.AUTHENTICATION, 1, "Logon", _unlocking, _MEDIUM),
    "epoch.started": Action(Class.ENTITY, 10, "Activate", _epoch),
    "epoch.replaced": Action(Class.ENTITY, 3, "Update", _epoch, _LOW),
    "epoch.resealed": Action(Class.ENTITY, 3, "Update", _epoch),
    "keys.destroying": Action(Class.ENTITY, 11, "Deactivate", _keys, _LOW),
    "keys.destroyed": Action(Class.ENTITY, 4, "Delete", _keys, _LOW),
    "retention.set": Action(Class.ENTITY, 3, "Update", _policy, _LOW),
    "hold.set": Action(Class.ENTITY, 1, "Create", _policy),
    "hold.released": Action(Class.ENTITY, 4, "Delete", _policy, _LOW),
    "host.seen": Action(Class.ENTITY, 3, "Update", _host),
    "host.forgotten": Action(Class.ENTITY, 7, "Unenroll", _host),
    "audit.queried": Action(Class.API, 2, "Read", _operation),
    "audit.reviewed": Action(Class.API, 2, "Read", _operation),
    "backup.created": Action(Class.API, 1, "Create", _operation),
    "backup.drilled": Action(Class.API, 2, "Read", _operation),
    "backup.restored": Action(Class.API, 3, "Update", _operation, _MEDIUM),
    "key.backed-up": Action(Class.API, 1, "Create", _operation),
    "key.backup-replaced": Action(Class.API, 4, "Delete", _operation),
    "key.restored": Action(Class.API, 3, "Update", _operation, _MEDIUM),
    "backup.waived": Action(Class.API, OTHER, "Risk Accepted", _operation, _MEDIUM),
    "async.accepted": Action(Class.API, OTHER, "Risk Accepted", _operation, _MEDIUM),
    "clock.accepted": Action(Class.API, OTHER, "Risk Accepted", _operation, _MEDIUM),
    "memory.accepted": Action(Class.API, OTHER, "Risk Accepted", _operation, _MEDIUM),
    "rollback.accepted": Action(Class.API, OTHER, "Risk Accepted", _operation, _MEDIUM),
}
"""Every topic of the ledger."""
