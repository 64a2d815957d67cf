"""Rows far below the newest head are changed by SQL, on a host that remembers the streams.

Every signature above stays valid and nobody reads the whole log before a release, so only what the
host remembers of each stream can tell. In every case nothing is released that the true log would
not have given, and `log verify` names the damage.

Leaves need no key, so each case that alters or moves a row is tried with leaves made to fit too.
"""

from __future__ import annotations

import os

import pytest

from ledger.claims import parse_claim
from ledger.codec.mapper import EventMapper
from ledger.errors import LedgerError, Refused, Tampered
from ledger.policy import Caller
from ledger.usecases.acting import Acting
from ledger.usecases.opening import accept_rollback
from ledger.values import FieldValue
from tests.conftest import unlocked_by_passphrase
from tests.faults.test_tampering import attack, failed, recompute_leaves

ALICE, MALLORY = parse_claim("user:alice"), parse_claim("user:mallory")
OLD = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("leaked")}
ABANDONED = {
    "Windows User Name": FieldValue("svc"),
    "Windows Password": FieldValue("abandoned"),
}
NEW = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue("changed")}


def fill(house):
    """Mallory's membership and right are revoked, a password is changed, an application deleted."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("group:crm", "user:mallory"))
    ledger.set_credentials(Acting(), "CRM", None, OLD)
    ledger.revoke(Acting(), "CRM", "member", "user:mallory")
    ledger.set_credentials(Acting(), "CRM", None, NEW)
    ledger.create_application(Acting(), "Vault", kind="individual", restricted=True)
    ledger.set_credentials(Acting(), "Vault", MALLORY, OLD)
    ledger.role_grant(Acting(), "restricted-access", "user:mallory")
    ledger.role_revoke(Acting(), "restricted-access", "user:mallory")
    ledger.create_application(Acting(), "Old", kind="individual")
    ledger.set_credentials(Acting(), "Old", MALLORY, OLD)
    ledger.delete_application(Acting(), "Old")
    ledger.create_application(Acting(), "Last", kind="individual")
    ledger.close()


@pytest.fixture
def filled(prepared):
    return prepared(fill)


def positions(house) -> dict[str, int]:
    """Where the newest row of each topic lies."""
    with house.store().reading() as reading:
        return {row.topic: row.position for row in reading.rows_after(0, 100)}


def as_member(ledger):
    return ledger.retrieve(Caller(ALICE, (parse_claim("group:crm"),)), "CRM")


def as_mallory(ledger):
    return ledger.retrieve(Caller(MALLORY), "CRM")


def as_bob(ledger):
    return ledger.retrieve(Caller(parse_claim("user:bob")), "CRM")


def restricted(ledger):
    return ledger.retrieve(Caller(MALLORY), "Vault", restricted=True)


def from_deleted(ledger):
    return ledger.retrieve(Caller(MALLORY), "Old")


LATER = " WHERE position = {0}"
SWAP = (
    "CREATE TABLE kept AS SELECT * FROM log WHERE position IN ({0}, {1})",
    "DELETE FROM log WHERE position IN ({0}, {1})",
    (
        "INSERT INTO log SELECT {0}, stream, version, topic, epoch, period, recorded_at, sealed,"
        " leaf FROM kept WHERE position = {1}"
    ),
    (
        "INSERT INTO log SELECT {1}, stream, version, topic, epoch, period, recorded_at, sealed,"
        " leaf FROM kept WHERE position = {0}"
    ),
)
CUTS = {
    "a revocation taken away": ("application.revoked", ("DELETE FROM log" + LATER,), as_mallory),
    "a changed password taken away": ("credential.set", ("DELETE FROM log" + LATER,), as_member),
    "a right's end taken away": ("role.revoked", ("DELETE FROM log" + LATER,), restricted),
    "an application's end taken away": (
        "application.deleted",
        ("DELETE FROM log" + LATER,),
        from_deleted,
    ),
    "a revocation moved to another stream": (
        "application.revoked",
        ("UPDATE log SET stream = zeroblob(16)" + LATER,),
        as_mallory,
    ),
    "a revocation told as something else": (
        "application.revoked",
        ("UPDATE log SET topic = 'application.granted'" + LATER,),
        as_mallory,
    ),
    "a revocation's sealed bytes emptied": (
        "application.revoked",
        ("UPDATE log SET sealed = x''" + LATER,),
        as_mallory,
    ),
    "a revocation replaced by an older row": (
        "application.revoked",
        (
            "CREATE TABLE kept AS SELECT * FROM log" + LATER,
            "DELETE FROM log" + LATER,
            (
                "INSERT INTO log SELECT {0}, kept.stream, kept.version, log.topic, log.epoch,"
                " log.period, log.recorded_at, log.sealed, log.leaf FROM log, kept"
                " WHERE log.stream = kept.stream AND log.version = 1"
            ),
        ),
        as_mallory,
    ),
}


ALTERED = [name for name in CUTS if not name.endswith("taken away")]
CASES = [*((name, False) for name in CUTS), *((name, True) for name in ALTERED)]


@pytest.mark.parametrize(("name", "recomputed"), CASES)
def test_a_host_that_remembers_releases_nothing_over_a_cut_stream(filled, name, recomputed):
    topic, statements, ask = CUTS[name]
    position = positions(filled)[topic]
    if topic == "credential.set":  # the newest of the group's mapping, not of all
        position = 6
    attack(filled, *(statement.format(position) for statement in statements))
    if recomputed:
        recompute_leaves(filled)
    ledger = filled.open()
    with pytest.raises(Tampered) as caught:
        ask(ledger)
    codes = {"stream-altered", "stream-gap"} | (set() if recomputed else {"altered-row"})
    assert caught.value.code in codes
    ledger.close()
    assert [place for _, place in failed(filled)] == [position]


@pytest.mark.parametrize(("name", "recomputed"), CASES)
def test_a_running_process_goes_on_deciding_by_the_true_log(filled, name, recomputed):
    topic, statements, ask = CUTS[name]
    position = 6 if topic == "credential.set" else positions(filled)[topic]
    ledger = filled.open()
    if ask is as_member:
        assert as_member(ledger).fields["Windows Password"].reveal() == "changed"
    else:
        with pytest.raises(LedgerError):
            ask(ledger)
    attack(filled, *(statement.format(position) for statement in statements))
    if recomputed:
        recompute_leaves(filled)
    if ask is as_member:
        assert as_member(ledger).fields["Windows Password"].reveal() == "changed"
    else:
        with pytest.raises(LedgerError):
            ask(ledger)
    ledger.close()


@pytest.mark.parametrize("recomputed", [False, True])
def test_two_rows_that_changed_places_are_noticed(filled, recomputed):
    first, second = 4, 6  # both of the group's mapping
    with filled.store().reading() as reading:
        assert reading.row_at(first).stream == reading.row_at(second).stream
    attack(filled, *(statement.format(first, second) for statement in SWAP))
    if recomputed:
        recompute_leaves(filled)
    ledger = filled.open()
    with pytest.raises(Tampered):
        as_member(ledger)
    ledger.close()
    assert [place for _, place in failed(filled)] == [first]


def test_every_row_of_a_mapping_taken_away_is_not_told_as_not_set(filled):
    attack(filled, "DELETE FROM log WHERE position IN (4, 6)")
    ledger = filled.open()
    with pytest.raises(Tampered):
        as_member(ledger)
    ledger.close()
    assert failed(filled) == [("missing-row", 4)]


def roll_back(house):
    """A log put back before two changes, accepted and gone on from with two others of their kind.

    The rows of the abandoned branch are what somebody kept of it: they open, at the same versions.
    """
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="group", members=("group:crm",))
    ledger.set_credentials(Acting(), "CRM", None, OLD)
    put_back_to = ledger.head().size
    ledger.grant(Acting(), "CRM", "member", "user:mallory")
    ledger.set_credentials(Acting(), "CRM", None, ABANDONED)
    ledger.close()
    with house.store().reading() as reading:
        house.abandoned = {row.topic: row for row in reading.rows_after(put_back_to, 10)}
    attack(
        house,
        f"DELETE FROM log WHERE position > {put_back_to}",
        f"DELETE FROM commits WHERE size > {put_back_to}",
    )
    unlocked = unlocked_by_passphrase(house.keyring_path)
    accept_rollback(
        house.store(),
        house.keyring_path,
        unlocked,
        acting=Acting(reason="a restored disk"),
        memory=house.memory(unlocked),
        account="tester@host",
        clock=house.clock,
        random=os.urandom,
        mapper=EventMapper(unlocked.ledger_id, unlocked.key_set(), os.urandom),
    )
    ledger = house.open()
    ledger.grant(Acting(), "CRM", "member", "user:bob")
    ledger.set_credentials(Acting(), "CRM", None, NEW)
    ledger.close()


@pytest.mark.parametrize("topic", ["application.granted", "credential.set"])
def test_a_row_of_an_abandoned_branch_does_not_count_again(prepared, topic):
    """It opens and its leaf fits; only what the host remembers of its stream tells it apart."""
    house = prepared(roll_back)
    position = positions(house)[topic]
    row = house.abandoned[topic]
    with house.store().reading() as reading:
        now = reading.row_at(position)
    assert (now.stream, now.version) == (row.stream, row.version)
    attack(house)  # the triggers go
    house.sql("UPDATE log SET sealed = ? WHERE position = ?", row.sealed, position)
    recompute_leaves(house)
    ledger = house.open()
    ask = as_mallory if topic == "application.granted" else as_bob
    with pytest.raises(Tampered) as caught:
        ask(ledger)
    assert caught.value.code == "stream-altered"
    ledger.close()
    assert failed(house) == [("wrong-frontier", position)]


def test_a_host_without_memory_walks_the_log_before_it_releases(filled):
    attack(filled, "DELETE FROM log WHERE position = 6")
    unlocked = unlocked_by_passphrase(filled.keyring_path)
    with pytest.raises(Tampered) as caught:
        filled.open_with(unlocked, remember=False)
    assert caught.value.position == 6


def test_the_true_log_is_served_from_memory(filled):
    ledger = filled.open()
    with pytest.raises(Refused):
        as_mallory(ledger)
    assert as_member(ledger).fields["Windows Password"].reveal() == "changed"
    ledger.close()
