"""Attacks on signed heads, on signers, and by auditors whose keys sign what is not theirs."""

from __future__ import annotations

import pytest

from ledger.aggregates.access import AuditQueried
from ledger.aggregates.actor import Actor
from ledger.errors import Tampered
from ledger.log.following import CheckedHead, Follower
from ledger.log.memory import memory_path
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import passphrase
from ledger.usecases.acting import Acting
from tests.faults.hosts import SECOND, copied, with_auditor, with_second_slot
from tests.faults.test_tampering import attack, command_line, failed, without_constraints


def test_a_head_vouches_only_for_what_folds_to_it(house):
    ledger = house.open()
    for name in ("A", "B", "C"):
        ledger.create_application(Acting(), name, kind="individual")
    ledger.close()
    store = house.store()
    with store.reading() as reading:
        row = reading.ledger()
        follower = Follower(row)
        head = follower.follow(reading, CheckedHead(), until=3)
    assert head.size == 3
    # A genuine head above, a forged signature below it; then the genuine head is taken away.
    attack(house, "UPDATE commits SET signature = zeroblob(64) WHERE size = 4",
           "UPDATE commits SET root = zeroblob(32) WHERE size = 5")  # fmt: skip
    with store.reading() as reading, pytest.raises(Tampered):
        follower.follow(reading, head)
    attack(house, "DELETE FROM commits WHERE size = 5", "DELETE FROM log WHERE position = 5")
    with store.reading() as reading, pytest.raises(Tampered):
        follower.follow(reading, head)


def test_a_removed_operator_does_not_come_back_by_a_deleted_row(house):
    with_second_slot(house)
    removed = read_keyring(house.keyring_path).unlock(passphrase(SECOND))
    ledger = house.open()
    ledger.remove_slot(Acting(), 2, mislaid=True)
    ledger.close()
    attack(house, "DELETE FROM signers WHERE change = 'end'")
    with pytest.raises(Tampered):
        house.open()
    assert removed.slot.id == 2


def test_a_tail_taken_away_without_its_heads_is_noticed(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    ledger.close()
    attack(house, "DELETE FROM log WHERE position = 3")
    with pytest.raises(Tampered):
        house.open()


class InStream:
    """An auditor's question, appended to whatever stream."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def decide(self, transaction):
        actor = Actor("auditor", 2, "cleo2", "tester@host", "auditor")
        transaction.append(self.stream, AuditQueried("all", 1), actor)


def test_an_auditor_is_held_to_his_own_stream_by_hosts_that_do_not_know_him(house):
    other = copied(house, "other")  # before the auditors came
    _, second = with_auditor(house, 2)
    _, third = with_auditor(house, 3)
    auditor = house.open_with(second, remember=False)
    own = auditor._desk.streams.audit(second.slot.signing_public_key)
    auditor._writer.run(InStream(own))
    watching = other.open()
    size = watching.head().size
    auditor._writer.run(InStream(auditor._desk.streams.audit(third.slot.signing_public_key)))
    auditor.close()
    with pytest.raises(Tampered) as caught:
        watching.head()
    assert (caught.value.code, caught.value.position) == ("out-of-class", size + 1)
    assert failed(house) == [("out-of-class", size + 1)]


def test_an_auditor_in_another_ones_name_is_named_without_a_key_once_both_have_signed(house):
    _, second = with_auditor(house, 2)
    _, third = with_auditor(house, 3)
    own = house.open_with(third, remember=False)
    stream = own._desk.streams.audit(third.slot.signing_public_key)
    other = house.open_with(second, remember=False)
    other._writer.run(InStream(stream))
    other.close()
    # As long as the true auditor has asked nothing, only who holds the stream key can tell.
    assert failed(house) == []
    answer = command_line(house)("log", "verify", "--views")
    assert (answer.code, answer.error["code"]) == (8, "out-of-class")
    forced = own._writer._branch.follower
    forced._audit_stream_of = None  # his own program, that does not look
    own._writer.run(InStream(stream))
    own.close()
    with house.store().reading() as reading:
        size = reading.last_position()
    assert failed(house) == [("out-of-class", size)]


INTRODUCING = {
    "its root": ("UPDATE commits SET root = zeroblob(32) WHERE size = {}", "wrong-root", 0),
    "its frontier": ("UPDATE commits SET frontier = zeroblob(64) WHERE size = {}", "wrong-frontier", 0),
    "its signature": (
        "UPDATE commits SET signature = zeroblob(64) WHERE size = {}", "bad-signature", 0,
    ),
    "itself, taken away": ("DELETE FROM commits WHERE size = {}", "bad-signer", 1),
    "the key introduced": (
        "UPDATE signers SET public_key = zeroblob(32) WHERE from_size = {}", "bad-signer", 1,
    ),
    "where the key begins": (
        "UPDATE signers SET from_size = from_size + 1 WHERE from_size = {}", "bad-signer", 2,
    ),
}  # fmt: skip
"""What is altered of a head that introduces a signer, what is named, and how far behind it."""


@pytest.mark.parametrize("name", INTRODUCING)
def test_what_is_altered_where_a_signer_is_introduced_is_named_for_itself(house, name):
    statement, code, behind = INTRODUCING[name]
    ledger = house.open()
    for application in ("A", "B", "C", "D"):
        ledger.create_application(Acting(), application, kind="individual")
    size = ledger.head().size
    ledger.close()
    with_second_slot(house)
    ledger = house.open()
    for application in ("E", "F"):
        ledger.create_application(Acting(), application, kind="individual")
    ledger.close()
    attack(house, statement.format(size))
    assert failed(house) == [(code, size + behind)]
    if code == "bad-signer":
        with pytest.raises(Tampered) as caught:
            house.open()
        assert caught.value.code == code


FORGED = (
    "INSERT INTO signers SELECT 7, {}, {}, {}, introduced_by, signature"
    " FROM signers WHERE ordinal = 2"
)
ENDED = (
    "INSERT INTO signers SELECT 7, public_key, class, 'end', 5000, introduced_by, signature"
    " FROM signers WHERE ordinal = 1"
)
BEYOND = {
    "at the head": (FORGED.format("zeroblob(32)", "'auditor', 'begin'", "{size}"), 0),
    "behind it": (FORGED.format("zeroblob(32)", "'auditor', 'begin'", 99), 99),
    "as far as can be": (
        FORGED.format("zeroblob(32)", "'operator', 'begin'", 2**63 - 1), 2**63 - 1,
    ),
    "the founding operator's end": (ENDED, 5000),
    "nonsense": (
        "INSERT INTO signers VALUES (7, 'x', 'nobody', 'never', 1000000, '7', 'y')", 1_000_000,
    ),
}  # fmt: skip
"""Signer rows that no head counts, and the size that each tells."""


@pytest.fixture
def two_signers(prepared):
    """A ledger with two operators, of whose rows others are forged."""
    return prepared(with_second_slot)


def newest_size(house) -> int:
    with house.store().reading() as reading:
        return reading.extent().size


@pytest.mark.parametrize("name", BEYOND)
def test_a_forged_signer_beyond_the_head_is_named_alike_by_every_command(two_signers, name):
    """No head rests on it, so no signature tells; the packs that leave it out are not made."""
    size = newest_size(two_signers)
    statement, told = BEYOND[name]
    without_constraints(two_signers, "signers")
    attack(two_signers, statement.format(size=size))
    place = (told or size) + 1
    assert failed(two_signers) == [("bad-signer", place)]
    cli = command_line(two_signers)
    pack = str(two_signers.keyring_path.with_name("pack"))
    for words in (("app", "list"), ("log", "checkpoint"), ("audit", "pack", pack)):
        answer = cli(*words)
        assert (answer.code, answer.error["code"]) == (8, "bad-signer")
        assert answer.error["position"] == place
    viewed = cli("log", "verify", "--views")
    assert (viewed.code, viewed.json["ok"]) == (8, False)


@pytest.mark.parametrize("with_head", [False, True])
def test_a_true_signer_whose_head_was_taken_away_is_named(house, with_head):
    """It is signed by an operator, but no head counts it any more."""
    house.open().close()
    size = newest_size(house)
    with_second_slot(house)
    memory_path(house.keyring_path).unlink()
    if not with_head:
        attack(house, f"DELETE FROM commits WHERE size > {size}",
               f"DELETE FROM log WHERE position > {size}")  # fmt: skip
    assert failed(house) == ([] if with_head else [("bad-signer", size + 1)])
    pack = command_line(house)("audit", "pack", str(house.keyring_path.with_name("pack")))
    assert pack.code == (0 if with_head else 8)


HEADS = {
    "signature": ("signature = zeroblob(64)", "bad-signature"),
    "root": ("root = zeroblob(32)", "forked"),
    "frontier": ("frontier = zeroblob(64)", "forked"),
    "signer": ("signer = zeroblob(32)", "bad-signature"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_newest_head_that_is_not_as_signed_is_refused_by_a_host_that_remembers_it(house, name):
    change, code = HEADS[name]
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    size = ledger.head().size
    ledger.close()
    attack(house, f"UPDATE commits SET {change} WHERE size = {size}")
    with pytest.raises(Tampered) as caught:
        house.open()
    assert (caught.value.code, caught.value.position) == (code, size)
    assert [place for _, place in failed(house)] == [size]


@pytest.mark.parametrize("name", HEADS)
def test_a_head_below_the_newest_is_for_log_verify_to_check(house, name):
    """The newest one vouches for all rows below it, so the host goes on and says what is true."""
    ledger = house.open()
    for application in ("CRM", "Desk"):
        ledger.create_application(Acting(), application, kind="individual")
    size = ledger.head().size - 1
    ledger.close()
    attack(house, f"UPDATE commits SET {HEADS[name][0]} WHERE size = {size}")
    ledger = house.open()
    assert [ledger.application(one).name for one in ("CRM", "Desk")] == ["CRM", "Desk"]
    ledger.close()
    assert [place for _, place in failed(house)] == [size]


def test_heads_between_that_were_taken_away_are_missed_by_nobody(house):
    """The next head holds their rows too; who signed them first is lost, as the page says."""
    ledger = house.open()
    for application in ("CRM", "Desk", "Last"):
        ledger.create_application(Acting(), application, kind="individual")
    ledger.close()
    attack(house, "DELETE FROM commits WHERE size IN (3, 4)")
    assert failed(house) == []
    house.open().close()
