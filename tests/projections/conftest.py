"""A ledger with a little of everything in it, and ways to be a stale host or an intruder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from ledger.aggregates.access import AccessDenied, AccessGranted
from ledger.aggregates.application import make_field
from ledger.claims import parse_claim
from ledger.errors import KeyUnavailable, LedgerError
from ledger.policy import RULES_VERSION, Caller
from ledger.usecases.acting import Acting
from ledger.values import FieldValue

OPERATOR = Acting(reason="set-up")
PAIR = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("first")}
FULL = {**PAIR, "PIN": FieldValue("1234")}


def caller(text, *groups):
    return Caller(parse_claim(text), tuple(parse_claim(group) for group in groups))


def owner(text):
    return parse_claim(text)


@dataclass
class World:
    """The ledger, its read side, and what an intruder with the database can do."""

    house: object
    ledger: object

    @property
    def store(self):
        return self.ledger._writer.store

    @property
    def mapper(self):
        return self.ledger._desk.mapper

    @property
    def views(self):
        return self.ledger.views

    @property
    def size(self):
        return self.ledger.head().size

    def keeper(self, name):
        return self.views._keepers[name]

    def read(self, who, application, **asked):
        """One attempt; whatever comes of it is recorded."""
        with contextlib.suppress(LedgerError):
            self.ledger.retrieve(who, application, **asked)
        return self.size

    def sql(self, statement, *parameters):
        """What somebody with the database but no keys may do."""
        return self.house.sql(statement, *parameters)

    def table(self, name):
        (side,) = self.sql("SELECT active FROM views WHERE name = ?", name)[0]
        return f"{name}_{side}"

    def digest(self, kind, text):
        return getattr(self.views._digests, kind)(text)

    def append_access(self, record):
        """A record as only somebody with the keys could write it."""

        @dataclass
        class Forged:
            desk: object

            def decide(self, transaction):
                actor = self.desk.actor(transaction, Acting())
                return transaction.append_access(record, actor, "forged").position

        return self.ledger._writer.run(Forged(self.ledger._desk))


@pytest.fixture
def world(house, ledger):
    return World(house, ledger)


@contextlib.contextmanager
def opened(house):
    ledger = house.open()
    yield World(house, ledger)
    ledger.close()


@pytest.fixture
def busy(prepared):
    with opened(prepared(fill)) as world:
        yield world


@pytest.fixture
def sqlite_busy(prepared_file):
    """The same in a file, for what only SQLite tells."""
    with opened(prepared_file(fill)) as world:
        yield world


def fill(house):
    with opened(house) as world:
        fill_world(world)


def fill_world(world):
    """Two kinds of applications, all outcomes, a deletion, a restore and a field added later."""
    ledger = world.ledger
    ledger.create_application(OPERATOR, "Payroll", kind="individual")
    ledger.create_application(OPERATOR, "Finance", kind="group", members=("group:finance",))
    ledger.create_application(OPERATOR, "Gone", kind="individual")
    for name in ("user:alice", "user:bob", "user:carol"):
        ledger.set_credentials(OPERATOR, "Payroll", owner(name), PAIR)
        ledger.set_credentials(OPERATOR, "Gone", owner(name), PAIR)
    ledger.set_credentials(OPERATOR, "Finance", None, PAIR)
    ledger.set_credentials(OPERATOR, "Payroll", owner("user:alice"), PAIR)
    ledger.restoring.credentials(OPERATOR, "Payroll", owner("user:alice"), version=1)
    ledger.delete_credentials(OPERATOR, "Payroll", owner("user:carol"))
    ledger.delete_application(OPERATOR, "Gone")
    world.read(caller("user:alice"), "Payroll")
    world.read(caller("user:bob", "group:sales"), "Finance")
    world.read(caller("user:bob", "group:finance"), "Finance")
    world.read(caller("user:carol"), "Payroll")
    world.read(caller("user:alice"), "Nowhere")
    ledger.update_application(
        OPERATOR, "Payroll", changes={}, add_fields=[make_field("PIN", "pin")]
    )
    world.read(caller("user:alice"), "payroll", fields=["windows password"])


class LackingMapper:
    """Opens what a keyring opens that lacks keys from some position on."""

    def __init__(self, mapper, lacking, code="key-missing"):
        self._mapper = mapper
        self._lacking = lacking
        self._code = code
        self.ledger_id = mapper.ledger_id

    def open(self, row):
        if self._lacking(row):
            raise KeyUnavailable(self._code, "A key is not held.")
        return self._mapper.open(row)

    def text(self, row):
        if self._lacking(row):
            raise KeyUnavailable(self._code, "A key is not held.")
        return self._mapper.text(row)

    def opened(self, row, text):
        return self._mapper.opened(row, text)

    def knows(self, epoch):
        return self._mapper.knows(epoch)

    def learn(self, epoch):
        return self._mapper.learn(epoch)

    def opening(self):
        return _LackingOpening(self, self._mapper.opening())


class _LackingOpening:
    """The same for the rows of one walk."""

    def __init__(self, lacking, opening):
        self._lacking = lacking
        self._opening = opening
        self.require_leaves = opening.require_leaves

    def recorded(self, row):
        return self.told(row, self.text(row))

    def text(self, row):
        self._lacking.text(row)
        return self._opening.text(row)

    def told(self, row, text):
        return self._opening.told(row, text)


def record_of(**fields):
    """An access record with plausible contents."""
    values = {
        "application": "Payroll",
        "owner": "user:alice",
        "caller": "user:alice",
        "claims": ("user:alice",),
        "restricted": False,
        "requested": (),
        "rules": RULES_VERSION,
        "through": "user:alice",
        "creation": None,
        "mapping_position": None,
        "value_version": None,
        "fields": (),
        "complete": None,
        "missing": (),
        "detail": "owner",
    }
    denied = fields.pop("denied", False)
    return (AccessDenied if denied else AccessGranted)(**{**values, **fields})


__all__ = [
    "FULL",
    "OPERATOR",
    "PAIR",
    "LackingMapper",
    "World",
    "caller",
    "owner",
    "record_of",
    "replace",
]
