"""An auditor with a program of his own: his keys seal and sign anything in his own stream."""

from __future__ import annotations

import gc
import json

import msgpack
import pytest

from ledger.aggregates.access import AccessDenied, AuditQueried, AuditReviewed
from ledger.aggregates.actor import Actor
from ledger.aggregates.application import ApplicationGranted
from ledger.claims import parse_claim
from ledger.errors import LedgerError, Tampered
from ledger.log.verification import verify_log
from ledger.policy import Caller
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import padded
from ledger.sealing.epochs import EpochKeys, period_of
from ledger.usecases.acting import Acting
from tests.conftest import unlocked_by_passphrase
from tests.faults.hosts import with_auditor
from tests.faults.test_tampering import PAIR, command_line, fill

MALLORY = parse_claim("user:mallory")
AUDITOR = Actor("auditor", 2, "cleo2", "tester@host", "auditor")


class Sealed:
    """An event in the auditor's own stream, or bytes in place of one."""

    def __init__(self, stream, event, actor=AUDITOR, text=None):
        self.stream, self.event, self.actor, self.text = stream, event, actor, text

    def decide(self, transaction):
        transaction._is_auditors = False  # his own program does not look
        text = None if self.text is None else padded(self.text, Compartment.ACCESS)
        at = transaction.recorded_at()
        return transaction._append(self.stream, self.event, self.actor, "", at, text=text).position


def seal(house, event, **how):
    unlocked = house.auditor
    ledger = house.open_with(unlocked, remember=False)
    stream = ledger._desk.streams.audit(unlocked.slot.signing_public_key)
    position = ledger._writer.run(Sealed(stream, event, **how))
    ledger.close()
    return position


@pytest.fixture
def audited(house):
    _, house.auditor = with_auditor(house, 2)
    return house


def exported(cli, form: str, after: int) -> dict:
    answer = cli("audit", "export", "--format", form, "--after", str(after), "--limit", "1")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_a_review_of_what_is_yet_to_come_keeps_nobody_from_reviewing_it(audited):
    """It counts up to where it was signed; the list shows what he said."""
    cli = command_line(audited)
    position = seal(audited, AuditReviewed(0, 2**63, 0, 0, 0, "all there ever is"))
    assert cli.ok("audit", "review", "--list")[0]["until"] == 2**63
    review = cli.ok("audit", "review", "--until", "now", "--note", "what came since")
    assert review["after"] == position - 1
    assert review["until"] >= position


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_what_an_auditor_seals_in_an_operators_name_is_not_told_as_the_operators(audited, form):
    """The row is told, and that its author is not who signed; the true one's are told as ever."""
    cli = command_line(audited)
    operator = Actor("user:petra", 1, "alice", "petra@hq", "operator")
    false = seal(audited, AuditQueried("what petra asked", 1), actor=operator)
    true = seal(audited, AuditQueried("what cleo asked", 1))
    told = json.dumps(exported(cli, form, false - 1))
    assert "petra" not in told
    assert "foreign-author" in told
    assert "auditor:2/tester@host" in json.dumps(exported(cli, form, true - 1))
    review = cli.ok("audit", "review", "--until", "now", "--note", "fine")
    assert "operator:1/" in json.dumps(exported(cli, form, review["position"] - 1))


DEEP, LONG = b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff"
NO_EVENTS = {
    "nested deep": DEEP,
    "longer than all memory": LONG,
    "a field longer than all memory": b"\x83\xa1e\x83\xa1v\x01\xa6filter" + LONG,
    "no text": b"\x83\xa1e\x83\xa1v\x01\xa6filter\xa1\xff",
    "a key twice": b"\x84" + msgpack.packb({"e": 1, "b": 2, "r": 3})[1:] + b"\xa1r\x01",
}


@pytest.mark.parametrize("name", NO_EVENTS)
def test_what_is_no_event_in_an_auditors_stream_stops_nobody(audited, name):
    """He may sign there: what is given out says where, and everything else goes on."""
    cli = command_line(audited)
    position = seal(audited, AuditReviewed(0, 1, 0, 0, 0, "x"), text=NO_EVENTS[name])
    for form in ("jsonl", "ocsf"):
        told = exported(cli, form, position - 1)
        assert "malformed-event" in json.dumps(told)
    assert cli.ok("audit", "review", "--list") == []
    assert cli.ok("status")["last_access_review"] is None
    cli.ok("audit", "report", str(cli.home / "report.html"))
    assert cli.ok("log", "verify", "--views")["ok"]
    assert cli.ok("audit", "recheck")["wrong"] == []
    cli.ok("app", "create", "Mail", "--kind", "individual")


def test_what_is_no_event_among_the_accesses_is_named_and_not_packed(audited):
    """An operator's keys sealed a map that has an author and is no access."""
    cli = command_line(audited)
    ledger = audited.open()
    text = msgpack.packb({"e": {"v": 1, "rows": 1.5}, "b": list("abcde"), "r": ""})

    class Access:
        def decide(self, transaction):
            sealed = padded(text, Compartment.ACCESS)
            stream = transaction._equipment.access_streams.current(1, period_of(audited.clock()))
            at, by = transaction.recorded_at(), Actor("operator", 1, "alice", "a@b")
            nothing = dict.fromkeys(AccessDenied.__struct_fields__)
            event = AccessDenied(**{**nothing, "application": "Mail", "caller": "user:ann"})
            return transaction._append(stream, event, by, "", at, text=sealed).position

    position = ledger._writer.run(Access())
    ledger.close()
    answer = cli("audit", "pack", str(cli.home / "pack"), "--with-access")
    assert (answer.code, answer.error["code"]) == (8, "malformed-event")
    assert answer.error["position"] == position
    assert not (cli.home / "pack").exists()


def test_a_right_that_an_auditor_sealed_and_signed_is_believed_by_no_operators_process(prepared):
    """Neither by one that runs, nor by one that is started, whoever wrote the actor; each says
    where it lies, and releases nothing."""
    house = prepared(fill)
    _, house.auditor = with_auditor(house, 2)
    running = house.open()
    running.create_application(Acting(), "Till", kind="group", members=("group:tills",))
    running.set_credentials(Acting(), "Till", None, PAIR)
    with pytest.raises(LedgerError):
        running.retrieve(Caller(MALLORY), "Till")
    theirs = house.open_with(house.auditor, remember=False)
    stream = theirs._desk.streams.application("till")
    grant = ApplicationGranted("Till", "member", str(MALLORY))
    operator = Actor("operator", 1, "first", "tester@host", "operator")
    position = theirs._writer.run(Sealed(stream, grant, actor=operator))
    theirs.close()
    for ask in (house.open, lambda: running.retrieve(Caller(MALLORY), "Till")):
        with pytest.raises(Tampered) as caught:
            ask()
        assert (caught.value.code, caught.value.position) == ("out-of-class", position)
    running.close()
    (check,) = [one for one in verify_log(house.store()).checks if not one.ok]
    assert (check.name, check.position) == ("out-of-class", position)
    answer = command_line(house)("credential", "get", "Till", "--as", str(MALLORY))
    assert (answer.code, answer.error["code"]) == (8, "out-of-class")


def test_an_auditors_file_and_process_hold_nothing_of_an_operators(audited):
    """No key of values, no half of an operator's slot to try passphrases on: in no byte of the
    file, and in no object that an opened ledger keeps."""
    operators = unlocked_by_passphrase(audited.keyring_path)
    slot = operators.slot
    private = (slot.salt, slot.sealed_private_key, slot.sealed_signing_key, slot.sealed_root)
    secrets = [keys.secret for keys in operators.epochs]
    content = audited.auditor.keyring.to_bytes()
    for one in (*private, *secrets, operators.root, operators.keyring.wrapped):
        assert one
        assert one not in content
        assert one.hex().encode() not in content
    ledger = audited.open_with(audited.auditor, remember=False)
    ledger.record_query(Acting(), "all", 1)
    reached = everything_from(ledger)
    assert any(isinstance(one, EpochKeys) for one in reached)
    assert {one.secret for one in reached if isinstance(one, EpochKeys)} == {None}
    sought = {*private, *secrets, operators.root}
    assert found_in(reached, sought) == set()
    ledger.close()
    ledger = audited.open()
    assert found_in(everything_from(ledger), sought) == sought  # so the search would find them
    ledger.close()


def found_in(reached, sought):
    """Those of these bytes that lie in any of the objects, be it among others."""
    held = b"\x00".join(bytes(one) for one in reached if isinstance(one, bytes | bytearray))
    return {one for one in sought if one in held}


def everything_from(start):
    """All that can be reached from an object without going through modules and classes."""
    reached, waiting = {}, [start]
    while waiting:
        one = waiting.pop()
        if (
            id(one) in reached
            or isinstance(one, type | type(gc))
            or (callable(one) and (getattr(one, "__closure__", None) is None))
        ):
            continue
        reached[id(one)] = one
        waiting.extend(gc.get_referents(one))
        slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        waiting.extend(getattr(one, name) for name in slots if hasattr(one, name))
    return list(reached.values())
