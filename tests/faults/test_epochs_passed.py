"""A rotation on an older log that was put back, whose next epoch's keys were destroyed further on.

It goes past that epoch. Another host may hold it whole, and lack what follows it.
"""

from __future__ import annotations

import shutil

import pytest

from ledger.errors import LedgerError
from ledger.log.verification import verify_log
from ledger.usecases.acting import Acting
from ledger.usecases.rotation import Rotation
from tests.faults.killing import CLOSE, killed_everywhere
from tests.faults.test_hosts_at_once import another_host
from tests.faults.test_hosts_memory import put_back, size_of
from tests.faults.test_keys_destroyed_elsewhere import ANN, accept, read, values
from tests.faults.writes import VALUES


@pytest.fixture
def hosts(house, tmp_path):
    """The host that destroyed keys and went back, and one with a keyring of before."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    size = size_of(house)
    ledger.rotate(Acting(), without_backup=True)
    other = another_host(house, tmp_path / "other")
    for destroys in (False, True):
        ledger.rotate(Acting(), without_backup=True, destroy_previous=destroys)
    ledger.close()
    put_back(house, size)
    accept(house)
    return house, other


def test_nothing_is_set_in_an_epoch_that_is_passed(hosts, monkeypatch):
    """It was answered, and no keyring that opens the ledger had the key of it."""
    house, other = hosts
    beside, serves = other.open(), Rotation._serves
    answers = []

    def beside_it(rotation, history):
        if not answers:
            try:
                beside.set_credentials(Acting(), "CRM", ANN, values("between"))
                answers.append("set")
            except LedgerError as error:
                answers.append(error.code)
        return serves(rotation, history)

    monkeypatch.setattr(Rotation, "_serves", beside_it)
    ledger = house.open()
    assert ledger.rotate(Acting(), without_backup=True).epoch == 3
    assert answers == ["keyring-behind"]
    ledger.set_credentials(Acting(), "CRM", ANN, values("after"))
    assert read(ledger) == "after"
    for running in (ledger, beside):
        running.close()
    assert verify_log(house.store()).ok


def test_a_killed_rotation_past_an_epoch_is_finished_by_the_next(base, tmp_path):
    """The file is never further ahead than it may be found, nor the log in the passed epoch."""
    host = base.copy(tmp_path / "passed")
    host.ok("credential", "delete", "Reports", "--yes")
    host.settle()
    kept = shutil.copytree(host.store.parent, tmp_path / "kept")
    rotate = ("key", "rotate", "--without-backup")
    for options in ((), ("--destroy-previous", "--yes")):
        host.ok(*rotate, *options)
    host.settle()
    shutil.rmtree(host.store.parent)
    shutil.copytree(kept, host.store.parent)
    host.ok("log", "accept-rollback", "--yes", "--reason", "the older one")
    seen = set()
    for killed, _ in killed_everywhere(host, tmp_path, *rotate, step=CLOSE):
        killed.is_whole()
        epoch = killed.ok("key", "status")["epoch"]
        seen.add(epoch)
        again = killed.ok(*rotate)
        assert again["to"] in {3, epoch + 1}, killed.boundaries()  # all but its answer was done
        killed.ok("credential", "set", "Reports", "--values", "-", stdin=VALUES)
        killed.ok("credential", "get", "Reports", "--as", "service:nightly")
        killed.is_whole()
    assert seen == {1, 3}
