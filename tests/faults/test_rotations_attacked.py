"""Rows are changed by SQL while keys are rotated, by somebody with rights on the database only.

The keys that a rotation destroys are the only ones of what it overlooks. So whatever the database
says of a row's epoch, topic or version, nothing is destroyed unless the signed log says that
nothing rests on it; and once the rows are put back, every credential is read as before.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from ledger.aggregates.backups import FULL, BackupCreated
from ledger.claims import parse_claim
from ledger.errors import LedgerError, Tampered
from ledger.log.memory import memory_path
from ledger.policy import Caller
from ledger.usecases import rotation
from ledger.usecases.acting import Acting
from ledger.usecases.rotation import Rotation
from ledger.values import FieldValue
from tests.faults.test_tampering import attack, recompute_leaves

ALICE, BOB = parse_claim("user:alice"), parse_claim("user:bob")


def values(password):
    return {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(password)}


def change(ledger, owner, password):
    return ledger.set_credentials(Acting(), "CRM", owner, values(password)).position


def read(ledger, owner):
    return ledger.retrieve(Caller(owner), "CRM").fields["Windows Password"].reveal()


@pytest.fixture
def filled(house):
    """Two mappings, the newest row of the second being the last one of the log."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    change(ledger, ALICE, "of alice")
    change(ledger, BOB, "before")
    change(ledger, BOB, "of bob")
    yield house, ledger
    ledger.close()


def newest(house):
    """Position, epoch, topic, version and leaf of the newest value."""
    return house.sql(
        "SELECT position, epoch, topic, version, leaf FROM log WHERE topic = 'credential.set'"
        " ORDER BY position DESC LIMIT 1"
    )[0]


def put_back(house, row):
    position, epoch, topic, version, leaf = row
    house.sql(
        "UPDATE log SET epoch = ?, topic = ?, version = ?, leaf = ? WHERE position = ?",
        *(epoch, topic, version, leaf, position),
    )


def rotate(ledger, *, destroy_previous=True):
    return ledger.rotate(Acting(), without_backup=True, destroy_previous=destroy_previous)


def require_all_there(house, ledger):
    """The keys of values are held, no destruction was intended, and everything is read."""
    assert not ledger.key_history().destroying
    assert all(keys.secret is not None for keys in ledger._held.unlocked.epochs)
    assert (read(ledger, ALICE), read(ledger, BOB)) == ("of alice", "of bob")


HIDDEN = {
    "a later epoch": "epoch = epoch + 1",
    "another topic": "topic = 'credential.deleted'",
    "the topic of a read": "topic = 'access.granted'",
    "another version": "version = 999",
}


@pytest.mark.parametrize("leaves", ["as signed", "made to fit"])
@pytest.mark.parametrize("how", HIDDEN)
def test_a_row_that_is_hidden_from_a_rotation_costs_no_key(filled, monkeypatch, how, leaves):
    """It is found to be altered, nothing is destroyed; put back, the rotation goes to its end."""
    house, ledger = filled
    row, start = newest(house), Rotation._start

    def starting(self, *asked, **settings):
        start(self, *asked, **settings)
        attack(house, f"UPDATE log SET {HIDDEN[how]} WHERE position = {row[0]}")
        if leaves == "made to fit":
            recompute_leaves(house)

    monkeypatch.setattr(Rotation, "_start", starting)
    with pytest.raises(Tampered):
        rotate(ledger)
    assert ledger.key_history().is_rotating
    put_back(house, row)
    require_all_there(house, ledger)
    assert rotate(ledger).destroyed == (1,)
    assert (read(ledger, ALICE), read(ledger, BOB)) == ("of alice", "of bob")


@pytest.mark.parametrize("how", HIDDEN)
def test_a_row_that_is_hidden_between_rotation_and_destruction_costs_no_key(filled, how):
    """What the rotation itself has looked at is looked at once more before keys are destroyed."""
    house, ledger = filled
    rotated = rotate(ledger, destroy_previous=False)
    row = house.sql(
        "SELECT position, epoch, topic, version, leaf FROM log"
        " WHERE topic = 'credential.resealed' ORDER BY position DESC LIMIT 1"
    )[0]
    later = rotate(ledger, destroy_previous=False)
    attack(house, f"UPDATE log SET {HIDDEN[how]} WHERE position = {row[0]}")
    with pytest.raises(Tampered):
        ledger._rotation.destroy_previous(Acting(), later)
    put_back(house, row)
    require_all_there(house, ledger)
    assert (rotated.epoch, later.epoch) == (2, 3)


def test_a_mapping_that_the_hosts_memory_lacks_costs_no_key(filled):
    """The walk meets a stream of which the memory says that it has no rows."""
    house, ledger = filled
    stream = house.sql("SELECT stream FROM log WHERE position = ?", newest(house)[0])[0][0]
    ledger.close()
    with closing(sqlite3.connect(memory_path(house.keyring_path))) as raw, raw:
        kept = raw.execute("SELECT * FROM tips WHERE stream = ?", (stream,)).fetchone()
        raw.execute("DELETE FROM tips WHERE stream = ?", (stream,))
    again = house.open()
    with pytest.raises(Tampered):
        rotate(again)
    again.close()
    with closing(sqlite3.connect(memory_path(house.keyring_path))) as raw, raw:
        raw.execute("INSERT INTO tips VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
    again = house.open()
    require_all_there(house, again)
    again.close()


def back_up(ledger, folder):
    folder.mkdir()
    ledger.key_backups.create(Acting(), folder / "keyring", ())
    head = ledger.head()
    event = BackupCreated(
        FULL, head.size, head.root, bytes(32), 1000, "/media/tape", base_elsewhere=False
    )
    ledger.backups.record(Acting(), event)


@pytest.mark.parametrize("leaves", ["as signed", "made to fit"])
def test_a_change_that_is_hidden_does_not_pass_for_none_since_the_backup(filled, tmp_path, leaves):
    """Neither for a rotation nor for `doctor`."""
    house, ledger = filled
    back_up(ledger, tmp_path / "safe")
    assert ledger.backups.changed_since() is None
    position = change(ledger, BOB, "since the backup")
    attack(house, f"UPDATE log SET topic = 'access.granted' WHERE position = {position}")
    if leaves == "made to fit":
        recompute_leaves(house)
    with pytest.raises(Tampered):
        ledger.rotate(Acting())
    with pytest.raises(Tampered):
        ledger.backups.changed_since()
    assert ledger.key_history().current == 1


def test_a_change_that_is_hidden_between_the_look_and_the_lock_is_seen(
    filled, tmp_path, monkeypatch
):
    """What was appended since the look is checked under the lock, not believed by its topic."""
    house, ledger = filled
    back_up(ledger, tmp_path / "safe")
    look = rotation.lacking

    def looked(desk, writer, keyring):
        found = look(desk, writer, keyring)
        position = change(ledger, BOB, "of bob")
        attack(house, f"UPDATE log SET topic = 'access.granted' WHERE position = {position}")
        return found

    monkeypatch.setattr(rotation, "lacking", looked)
    with pytest.raises(LedgerError) as caught:
        ledger.rotate(Acting())
    assert caught.value.code == "altered-row"
    assert ledger.key_history().current == 1
