"""Values that rest on keys destroyed on a branch that was given up, and kills on the way to them.

A slot's removal ends it and waits with its rotations, a key backup takes the place of a keyring
that is further ahead, and the removal goes on. Each is killed at its boundaries; the same command
then does what is left.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import key_file, passphrase
from tests.faults.killing import CLOSE, PASSPHRASES, killed_everywhere
from tests.faults.running import KILLED

BACKUP = "safe/one"
REMOVE = ("key", "slot", "remove", "2", "--without-backup", "--yes")
RESTORE = ("key", "restore", BACKUP)
ROTATE = ("key", "rotate", "--without-backup")


@pytest.fixture
def put_back(base, tmp_path):
    """An older log whose values rest on a key that the keyring, which is ahead, has no more."""
    host = base.copy(tmp_path / "put-back")
    (host.home / "safe").mkdir(mode=0o700)
    host.ok("key", "backup", BACKUP)
    kept = shutil.copytree(host.store.parent, tmp_path / "kept")
    for options in ((), ("--destroy-previous", "--yes")):
        host.ok(*ROTATE, *options)
    shutil.rmtree(host.store.parent)
    shutil.copytree(kept, host.store.parent)
    host.ok("log", "accept-rollback", "--yes", "--reason", "the older one")
    return host


def keys_in(path, holding, after=0):
    """The keys of a file's epochs after some one, as somebody opens it."""
    epochs = read_keyring(path).unlock(holding).epochs
    return {key for one in epochs if one.epoch > after for key in (one.secret, one.state)}


def slots_of(host):
    return [slot["label"] for slot in host.ok("key", "slot", "list")]


def require_removed(host):
    """The slot opens nothing, no key that its holder had is in use, and the values are there."""
    assert slots_of(host) == ["ann", "cleo"]
    assert [slot.id for slot in read_keyring(host.keyring).slots] == [1, 3]
    unlocked = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": str(host.home / "first")}
    assert host.run("key", "status", environment=unlocked).code == 6
    assert host.ok("key", "status")["epoch"] == 3
    host.ok("credential", "get", "Reports", "--as", "service:nightly")
    host.is_whole()


def test_a_removal_that_was_killed_before_values_were_back_goes_on_once_they_are(
    put_back, tmp_path
):
    """It ends in `values-lost` untouched, with the slot ended; never with an epoch begun."""
    seen = set()
    for number in itertools.count(1, CLOSE):
        host = put_back.copy(tmp_path / str(number))
        position = host.position()
        ended = host.run(*REMOVE, kill_at=number)
        seen.add(recorded := tuple(host.topics(position)))
        assert recorded in ((), ("slot.removed",))
        assert host.ok("key", "status")["epoch"] == 1
        host.ok(*RESTORE)
        host.ok(*REMOVE)
        require_removed(host)
        if ended.code != KILLED:
            assert (ended.code, ended.error["code"]) == (6, "values-lost")
            break
    assert seen == {(), ("slot.removed",)}


def test_a_removal_that_goes_on_with_a_key_backup_is_finished_however_often_it_is_killed(
    put_back, tmp_path
):
    """The backup has the slot still: it goes before an epoch begins, and with it what it opened."""
    put_back.fails(6, "values-lost", *REMOVE)
    put_back.ok(*RESTORE)
    had = keys_in(put_back.home / BACKUP, passphrase(PASSPHRASES["first"]))
    position = put_back.position()
    for host, _ in killed_everywhere(put_back, tmp_path, *REMOVE, step=1):
        assert slots_of(host) == ["ann", "cleo"]
        if host.ok("key", "status")["epoch"] > 1:
            assert [slot.id for slot in read_keyring(host.keyring).slots] == [1, 3]
        host.ok("credential", "get", "Reports", "--as", "service:nightly")
        done = "epoch.resealed" in host.topics(position)
        again = host.run(*REMOVE)
        assert again.code == (5 if done else 0), again
        require_removed(host)
        assert host.topics(position).count("epoch.resealed") == 1
        own = key_file((host.home / "secret" / "key").read_bytes())
        assert not had & keys_in(host.keyring, own, after=2)


def test_a_killed_restore_over_a_keyring_that_is_ahead_is_finished_by_the_same_command(
    put_back, tmp_path
):
    """The file is the one or the other, and what it held of the other branch is kept aside."""
    backup, ahead = (put_back.home / BACKUP).read_bytes(), put_back.keyring.read_bytes()
    position, seen = put_back.position(), set()
    for host, _ in killed_everywhere(put_back, tmp_path, *RESTORE, step=1):
        found, recorded = host.keyring.read_bytes(), host.topics(position)
        seen.add((found == backup, len(recorded)))
        assert found in (backup, ahead)
        if found == backup:
            host.fails(5, "keyring-not-lost", *RESTORE)
        else:
            host.ok(*RESTORE)
        assert host.keyring.read_bytes() == backup
        kept = {path.read_bytes() for path in host.keyring.parent.glob("*.replaced-*")}
        assert kept == {ahead}
        assert set(host.topics(position)) == {"key.restored"}
        host.ok("credential", "get", "Reports", "--as", "service:nightly")
        host.ok(*ROTATE)
        host.is_whole()
    assert {(False, 0), (True, 1)} <= seen


def test_values_are_brought_back_by_a_key_backup_of_before_the_last_rotation(base, tmp_path):
    """It lacks the epoch held ready, and the keyring the key of the values: no file has both."""
    host = base.copy(tmp_path / "put-back")
    (host.home / "safe").mkdir(mode=0o700)
    host.ok("key", "backup", BACKUP)
    host.ok(*ROTATE)
    kept = shutil.copytree(host.store.parent, tmp_path / "kept")
    host.ok(*ROTATE, "--destroy-previous", "--yes")
    ahead = host.keyring.read_bytes()
    shutil.rmtree(host.store.parent)
    shutil.copytree(kept, host.store.parent)
    host.ok("log", "accept-rollback", "--yes", "--reason", "the older one")
    read = ("credential", "get", "Reports", "--as", "service:nightly")
    host.fails(6, "key-destroyed", *read)
    assert "key restore" in host.fails(6, "values-lost", *ROTATE).error["hint"]
    restored = host.ok(*RESTORE)
    assert Path(restored["kept"]).read_bytes() == ahead
    host.ok(*read)
    assert "replace-next" in host.fails(6, "next-epoch-missing", *ROTATE).error["hint"]
    host.ok("key", "replace-next", "--yes")
    host.ok(*ROTATE, "--destroy-previous", "--yes")
    host.ok(*read)
    host.is_whole()
