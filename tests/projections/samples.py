"""One event of every topic, with contents of the right kind, and as it would be exported."""

from __future__ import annotations

import importlib
import pkgutil

import ledger.aggregates
from ledger.aggregates import event as registry
from ledger.aggregates.actor import Actor
from ledger.aggregates.issuers import Settings
from ledger.aggregates.recorded import Recorded
from ledger.log.rows import LogRow
from projections.export import exported_row
from projections.streams import CheckedRow

LEDGER_ID = bytes(range(32))
SECRET = b"canary-of-a-sealed-value"
AT = 1_795_000_000_123_456
_CLAIMS = ("user:ann", "group:finance")
_VALUES = {
    "application": "Payroll",
    "administrators": _CLAIMS,
    "members": _CLAIMS,
    "ticket_redeemers": _CLAIMS,
    "fields": (("Password", "password", True),),
    "field": ("PIN", "pin", True),
    "changes": {"name": "Pay", "masked": {"User": False}},
    "claim": "user:ann",
    "claims": _CLAIMS,
    "caller": "user:ann",
    "owner": "user:ann",
    "set_by": "operator",
    "set_at": AT,
    "reading": AT,
    "through": "group:finance",
    "on_behalf_of": None,
    "ticket": SECRET,
    "user": "user:ann",
    "issued_at": AT,
    "expires_at": AT,
    "behalf": "group:finance",
    "requested": ("Password",),
    "missing": (),
    "complete": True,
    "restricted": False,
    "ticketing": False,
    "open": True,
    "keys": ((1, "access", 3), (1, "secret", -1)),
    "epochs": ((1, False), (2, True)),
    "slots": (1, 2),
    "lacking": ("database",),
    "secret": SECRET,
    "started": (1, b"s", b"t", (b"u",) * 120),
    "next": (2, b"s", b"t", (b"u",) * 120),
    "host": bytes(16),
    "half": bytes(32),
    "before": bytes(32),
    "after": bytes(32),
    "digest": bytes(32),
    "root": bytes(32),
    "abandoned_root": bytes(32),
    "public_key": bytes(32),
    "signing_key": bytes(32),
    "role": "member",
    "right": "auditor",
    "opens": "operator",
    "label": "ann",
    "path": "/media/safe/keyring",
    "directory": "/media/tape/full",
    "hold": "case 7",
    "filter": 'access {"user": "user:ann"}',
    "detail": "member",
    "kind": "full",
    "kept": "keyring.before",
    "name": "Pay",
    "contact": "pay@contoso.example",
    "credential_page": "none",
    "issuer": "https://sts.contoso.example",
    "settings": Settings("credledger", ("ES256",), "", "https://sts.contoso.example/keys"),
    "id": "7d9f",
    "why": "expired",
    "source": "192.0.2.7",
    "reasons": (("expired", 7),),
    "first_at": AT,
    "last_at": AT,
    "made_at": AT,
    "kids": ("a", "b"),
    "jwks": '{"keys":[]}',
}


def sample_classes():
    """The classes of all topics, in order of topic."""
    for module in pkgutil.iter_modules(ledger.aggregates.__path__, "ledger.aggregates."):
        importlib.import_module(module.name)
    return [registry._CLASSES[topic] for topic in registry.topics()]


def sample(cls, **fields):
    """An event of this class; numbers are 7 where nothing else is said."""
    names = cls.__struct_fields__
    return cls(**{name: fields.get(name, _VALUES.get(name, 7)) for name in names})


def exported_sample(event, *, claim="operator", reason="why", content=None):
    """The same as a row on its way out; `content` in its place, if it does not open."""
    topic = event.TOPIC
    row = LogRow(41, bytes(16), 3, topic, 2, 202611, AT, b"sealed", bytes(32))
    actor = Actor(claim, 1, "ann", "ann@host")
    recorded = Recorded(41, bytes(16), 3, topic, 2, 202611, AT, event, actor, reason)
    return exported_row(CheckedRow(row, 42, content or recorded), LEDGER_ID.hex())
