"""What the log says of its backups, and what came after the newest one."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import ledger.aggregates
from ledger.aggregates.backups import (
    CONFIGURATION,
    FULL,
    INCREMENTAL,
    BackupCreated,
    BackupDrilled,
    BackupRestored,
    Backups,
    fold_backups,
)
from ledger.aggregates.event import from_payload, topics
from ledger.claims import parse_claim
from ledger.errors import Refused
from ledger.log import walk
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases.acting import Acting
from tests.conftest import CHEAP
from tests.ledger.archive.conftest import PAIR
from tests.ledger.recording import SECOND, recorded

BOOKKEEPING = (
    "retry-key.",
    "key.",
    "keys.",
    "history.",
    "host.",
    "shares.",
    "access.", "audit.", "import.", "ticket.", "token.", "backup.", "rollback.", "memory.", "clock.", "async.",
)  # fmt: skip
ONE, TWO, THREE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32


def created(position: int, digest: bytes = ONE, kind: str = FULL) -> BackupCreated:
    return BackupCreated(
        kind, position, bytes(32), digest, 1000, f"/backup/{position}", base_elsewhere=False
    )


def folded(*events) -> Backups:
    state = None
    for number, happened in enumerate(events, start=1):
        state = fold_backups(state, recorded(happened, number, number))
    assert state is not None
    return state


def test_the_newest_archive_is_what_was_written_or_restored_from_last():
    state = folded(created(5), created(9, TWO, INCREMENTAL))
    assert (state.newest.position, state.newest.digest) == (9, TWO)
    assert (state.newest.kind, state.newest.recorded_at) == (INCREMENTAL, 2 * SECOND)
    assert state.newest.directory == "/backup/9"
    assert state.drilled is None
    restored = BackupRestored(FULL, 12, bytes(32), THREE, 20, "/backup/12")
    state = folded(created(5), restored)
    assert (state.newest.position, state.newest.digest) == (12, THREE)


def test_of_two_archives_written_at_once_the_one_that_reaches_further_is_gone_on_from():
    """Whichever was recorded last; and where the other was put is known all the same."""
    state = folded(created(5), created(9, TWO), created(7, THREE, INCREMENTAL))
    assert (state.newest.position, [one.digest for one in state.chain]) == (9, [TWO])
    assert state.directories == ("/backup/5", "/backup/9", "/backup/7")
    again = folded(created(5), created(5, TWO))
    assert again.newest.digest == TWO


def test_an_archive_recorded_before_anybody_could_vouch_had_its_base_looked_for():
    """Events of schema 1 do not tell."""
    told = {"kind": FULL, "position": 5, "root": bytes(32), "digest": ONE, "archive_bytes": 1000}
    stored = {"v": 1, **told, "directory": "/backup/5"}
    assert from_payload(BackupCreated.TOPIC, stored) == created(5)


def test_a_drill_is_no_backup():
    state = folded(created(5), BackupDrilled(5, bytes(32), ONE, 1200, "/backup/5"))
    assert (state.newest.recorded_at, state.drilled.recorded_at) == (SECOND, 2 * SECOND)
    assert state.drilled.digest == ONE


def test_every_topic_either_needs_a_backup_or_is_known_not_to():
    """A new topic is put into one of the two lists on purpose."""
    for module in pkgutil.iter_modules(ledger.aggregates.__path__, "ledger.aggregates."):
        importlib.import_module(module.name)
    for topic in topics():
        sides = topic.startswith(CONFIGURATION), topic.startswith(BOOKKEEPING)
        assert sides.count(True) == 1, topic


def record(opened, position: int) -> int:
    return opened.backups.record(Acting(), created(position))


def test_what_came_after_the_newest_backup_is_told(house, ledger, monkeypatch):
    """Its first position; reads, questions and drills do not count."""
    monkeypatch.setattr(walk, "PAGE_ROWS", 3)
    assert ledger.backups.changed_since() == 1
    ledger.create_application(Acting(), "Payroll", kind="individual")
    owner = parse_claim("user:ann")
    ledger.set_credentials(Acting(), "Payroll", owner, PAIR)
    record(ledger, ledger.head().size)
    assert ledger.backups.changed_since() is None
    for _ in range(7):
        ledger.retrieve(Caller(owner), "Payroll")
    ledger.record_query(Acting(), "everything", 1)
    drill = BackupDrilled(1, bytes(32), ONE, 1, "/backup")
    ledger.backups.record(Acting(), drill)
    assert ledger.backups.changed_since() is None
    changed = ledger.role_grant(Acting(), "auditor", "user:ann").position
    ledger.retrieve(Caller(owner), "Payroll")
    assert ledger.backups.changed_since() == changed
    record(ledger, changed)
    assert ledger.backups.changed_since() is None
    again = ledger.set_credentials(Acting(), "Payroll", owner, PAIR).position
    assert ledger.backups.changed_since() == again


def test_an_auditor_records_no_backup(house, ledger, tmp_path):
    """Neither with this nor with a program of their own: the class of the key forbids it."""
    told = "nine auditors count the owls"
    ledger.add_slot(
        Acting(), label="cleo", opens="auditor", holding=new_passphrase(told), cost=CHEAP,
        auditor_file=tmp_path / "cleo",
    )  # fmt: skip
    auditor = house.open_with(read_keyring(tmp_path / "cleo").unlock(passphrase(told)))
    try:
        with pytest.raises(Refused) as caught:
            record(auditor, 1)
        assert caught.value.code == "operator-needed"
        assert auditor.backups.known() == Backups()
    finally:
        auditor.close()
