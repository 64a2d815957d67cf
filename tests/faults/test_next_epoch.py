"""The keys held ready are lost: an operator has others made, and every host rotates again."""

from __future__ import annotations

import shutil

import pytest
from msgspec.structs import replace

from ledger.claims import parse_claim
from ledger.errors import Conflict, KeyUnavailable, Refused, Unavailable
from ledger.log.verification import verify_log
from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.slots import passphrase
from ledger.usecases import next_epoch
from ledger.usecases.acting import Acting
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.next_epoch import NextEpoch, ReplaceNext
from ledger.usecases.rotation import Rotation
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import PASSPHRASE, unlocked_by_passphrase
from tests.faults.killing import killed_everywhere
from tests.faults.test_hosts_at_once import another_host
from tests.faults.test_hosts_memory import put_back, size_of
from tests.faults.test_keys_destroyed_elsewhere import accept

ALICE = Caller(parse_claim("user:alice"))
LOST = Acting(reason="the keyring is lost, the backup is older")


def change(ledger, password="first"):
    values = {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(password)}
    return ledger.set_credentials(Acting(), "CRM", ALICE.claim, values)


def read(ledger):
    return ledger.retrieve(ALICE, "CRM").fields["Windows Password"].reveal()


def rotate(ledger):
    return ledger.rotate(Acting(), without_backup=True)


def held(house):
    """The keys in a host's file, by epoch."""
    unlocked = read_keyring(house.keyring_path).unlock(passphrase(PASSPHRASE))
    return {keys.epoch: keys for keys in unlocked.epochs}


@pytest.fixture
def hosts(house, tmp_path):
    """One whose keyring is from before the rotation to epoch 2, and the one that was lost."""
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    change(ledger)
    ledger.close()
    lost = another_host(house, tmp_path / "lost")
    ledger = lost.open()
    rotate(ledger)
    ledger.close()
    assert (list(held(house)), list(held(lost))) == ([1, 2], [1, 2, 3])
    yield house, lost
    lost.close()


def require_whole(house, epoch):
    assert verify_log(house.store()).ok
    ledger = house.open()
    assert ledger.status().epoch == epoch
    assert read(ledger) == "first"
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    ledger.close()


def test_keys_are_rotated_again_once_the_lost_ones_are_replaced(hosts):
    """Until then they cannot be; it is recorded, and other hosts go on by a copy."""
    house, _ = hosts
    ledger = house.open()
    with pytest.raises(KeyUnavailable) as caught:
        rotate(ledger)
    assert caught.value.code == "next-epoch-missing"
    assert "replace-next" in caught.value.hint
    size = ledger.head().size
    outcome = ledger.next_epoch.replace(LOST)
    assert (outcome.epoch, outcome.position) == (3, size + 1)
    recorded = next(one for one in ledger.views.changes() if one["event"] == "epoch.replaced")
    assert recorded["reason"] == LOST.reason
    assert rotate(ledger).epoch == 3
    assert rotate(ledger).epoch == 4
    ledger.close()
    assert list(held(house)) == [1, 2, 3, 4, 5]
    require_whole(house, 4)


def test_what_is_held_is_not_replaced(hosts):
    """Nor is it asked for twice."""
    house, lost = hosts
    theirs = lost.open()
    with pytest.raises(Conflict) as caught:
        theirs.next_epoch.replace(LOST)
    assert caught.value.code == "next-epoch-held"
    theirs.close()
    ledger = house.open()
    ledger.next_epoch.replace(LOST)
    size = ledger.head().size
    with pytest.raises(Conflict) as caught:
        ledger.next_epoch.replace(LOST)
    assert caught.value.code == "next-epoch-held"
    assert ledger.head().size == size
    ledger.close()


def test_what_a_key_backup_holds_is_not_replaced_until_its_end_is_attested(hosts, tmp_path):
    """Neither the file nor the log is changed before."""
    house, lost = hosts
    (tmp_path / "safe").mkdir()
    theirs = lost.open()
    made = theirs.key_backups.create(Acting(), tmp_path / "safe" / "one", ())
    theirs.close()
    ledger = house.open()
    content = house.keyring_path.read_bytes()
    with pytest.raises(Refused) as caught:
        ledger.next_epoch.replace(LOST)
    assert caught.value.code == "next-epoch-in-backup"
    assert str(made.path) in caught.value.hint
    assert house.keyring_path.read_bytes() == content
    ledger.key_backups.attest_replaced(Acting(), made.position)
    assert ledger.next_epoch.replace(LOST).epoch == 3
    ledger.close()


def test_a_backup_of_the_lost_keys_is_none_of_the_new_ones(hosts, tmp_path):
    """So another one is asked for before the next rotation."""
    house, lost = hosts
    (tmp_path / "safe").mkdir()
    theirs, ledger = lost.open(), house.open()
    made = theirs.key_backups.create(Acting(), tmp_path / "safe" / "one", ())
    own = ledger.key_backups.create(Acting(), tmp_path / "safe" / "two", ())
    ledger.key_backups.attest_replaced(Acting(), made.position)
    ledger.next_epoch.replace(LOST)
    history = ledger.key_backups.history()
    assert not history.sufficing()
    assert not history.at(made.position).holds(3)
    assert history.at(own.position).holds(2)
    with pytest.raises(Refused):
        ledger.rotate(Acting())
    theirs.close()
    ledger.close()


def test_a_host_on_which_the_lost_keys_turn_up_drops_them_and_goes_on_by_a_copy(hosts):
    house, lost = hosts
    ledger = house.open()
    ledger.next_epoch.replace(LOST)
    again = lost.open()
    assert read(again) == "first"
    again.close()
    assert list(held(lost)) == [1, 2]
    rotate(ledger)
    ledger.close()
    with pytest.raises(KeyUnavailable) as caught:
        lost.open()
    assert caught.value.code == "keyring-behind"
    shutil.copy2(house.keyring_path, lost.keyring_path)
    require_whole(lost, 3)


@pytest.mark.parametrize("look", ["reads", "writes"])
@pytest.mark.parametrize("kept", ["the start", "more of the new epoch"])
def test_a_process_that_still_holds_the_lost_keys_seals_nothing_with_them(
    hosts, monkeypatch, kept, look
):
    """It runs on while they are replaced and started elsewhere; it is behind, nothing is wrong."""
    house, lost = hosts
    running = lost.open()
    assert read(running) == "first"
    ledger = house.open()
    ledger.next_epoch.replace(LOST)
    if kept == "the start":
        monkeypatch.setattr(Rotation, "_finish", lambda *_: None)
    rotate(ledger)
    monkeypatch.undo()
    size = ledger.head().size
    for _ in range(2):
        with pytest.raises(KeyUnavailable) as caught:
            read(running) if look == "reads" else change(running, "under lost keys")
        assert caught.value.code == "keyring-behind"
    assert ledger.head().size == size
    shutil.copy2(house.keyring_path, lost.keyring_path)
    assert read(running) == "first"
    running.close()
    if kept == "the start":
        rotate(ledger)
    ledger.close()
    require_whole(house, 3)


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_a_copy_of_the_lost_keyring_is_behind_once_others_are_started(hosts, rotations):
    """It is told so, and not that the log was tampered with, however far that went on."""
    house, lost = hosts
    ledger = house.open()
    ledger.next_epoch.replace(LOST)
    for _ in range(rotations):
        rotate(ledger)
    ledger.close()
    with pytest.raises(KeyUnavailable) as caught:
        lost.open()
    assert caught.value.code == "keyring-behind"
    assert f"epoch{'s' if rotations == 3 else ''} {min(rotations + 2, 4)}" in caught.value.message


def test_lost_keys_are_not_started_while_they_are_replaced(hosts, monkeypatch):
    """A host that has them begins to rotate; under the lock the log has chosen others."""
    house, lost = hosts
    ledger, theirs = house.open(), lost.open()
    run = Writer.run

    def running(self, request):
        monkeypatch.undo()
        ledger.next_epoch.replace(LOST)
        return run(self, request)

    monkeypatch.setattr(theirs._writer, "run", running.__get__(theirs._writer))
    with pytest.raises(KeyUnavailable) as caught:
        rotate(theirs)
    assert caught.value.code == "next-epoch-missing"
    assert theirs.key_history().current == 2
    assert rotate(ledger).epoch == 3
    theirs.close()
    ledger.close()
    require_whole(house, 3)


def test_of_two_hosts_that_replace_it_one_is_refused_and_keeps_nothing(
    hosts, tmp_path, monkeypatch
):
    """The other was first after this one looked."""
    house, _ = hosts
    second = another_host(house, tmp_path / "second")
    ledger, other = house.open(), second.open()
    look = next_epoch.require_in_no_backup

    def looking(*asked):
        monkeypatch.undo()
        ledger.next_epoch.replace(LOST)
        return look(*asked)

    monkeypatch.setattr(next_epoch, "require_in_no_backup", looking)
    with pytest.raises(Conflict) as caught:
        other.next_epoch.replace(LOST)
    assert caught.value.code == "next-epoch-changed"
    assert list(held(second)) == [1, 2]
    assert rotate(ledger).epoch == 3
    ledger.close()
    other.close()
    second.close()
    require_whole(house, 3)


def test_a_key_backup_that_is_made_meanwhile_is_seen_under_the_lock(hosts, tmp_path, monkeypatch):
    """The lost keyring turned up, and was backed up after this host had looked for one."""
    house, lost = hosts
    (tmp_path / "safe").mkdir()
    ledger, theirs = house.open(), lost.open()
    look = next_epoch.require_in_no_backup

    def looking(*asked):
        monkeypatch.undo()
        look(*asked)
        theirs.key_backups.create(Acting(), tmp_path / "safe" / "one", ())

    monkeypatch.setattr(next_epoch, "require_in_no_backup", looking)
    with pytest.raises(Refused) as caught:
        ledger.next_epoch.replace(LOST)
    assert caught.value.code == "next-epoch-in-backup"
    assert list(held(house)) == [1, 2]
    assert rotate(theirs).epoch == 3
    theirs.close()
    ledger.close()


class Cut(BaseException):
    """The process dies here."""


def unanswered(ledger, error):
    """The keyring has been changed, and the log has not."""

    def running(*_):
        raise error

    with pytest.MonkeyPatch.context() as patched, pytest.raises(type(error)):
        patched.setattr(ledger._writer, "run", running)
        ledger.next_epoch.replace(LOST)


def test_an_opening_at_that_moment_leaves_the_new_keys_in_the_file(hosts, monkeypatch):
    """It finds keys that the log has not chosen, and waits for the file; by then the log has."""
    house, _ = hosts
    ledger = house.open()
    unanswered(ledger, Unavailable("store-locked", "Locked."))
    keys, lost = held(house)[3], ledger.key_history().committed[3]
    destroy, chosen = HeldKeys.destroy, []

    def destroying(self, told):
        chosen.append(ledger._writer.run(ReplaceNext(ledger._desk, LOST, keys, lost)))
        destroy(self, told)

    monkeypatch.setattr(HeldKeys, "destroy", destroying)
    other = house.open()
    assert chosen
    assert rotate(other).epoch == 3
    other.close()
    assert held(house)[3].state == keys.state
    ledger.close()
    require_whole(house, 3)


@pytest.mark.parametrize("answer", ["killed", "unavailable"])
def test_a_run_that_is_cut_off_before_its_record_is_done_anew(hosts, answer):
    """The keys that the log did not choose are dropped, and others made."""
    house, _ = hosts
    ledger = house.open()
    unanswered(ledger, Cut() if answer == "killed" else Unavailable("store-locked", "Locked."))
    ledger.close()
    left = held(house)
    assert 3 in left
    again = house.open()
    assert list(held(house)) == [1, 2]
    again.next_epoch.replace(LOST)
    assert rotate(again).epoch == 3
    again.close()
    assert held(house)[3].state != left[3].state
    require_whole(house, 3)


def test_an_auditor_replaces_nothing(hosts):
    house, _ = hosts
    ledger = house.open()
    unlocked = ledger._desk.unlocked
    desk = replace(
        ledger._desk, unlocked=replace(unlocked, slot=replace(unlocked.slot, opens="auditor"))
    )
    with pytest.raises(Refused) as caught:
        NextEpoch(desk, ledger._writer, ledger._held).replace(LOST)
    assert caught.value.code == "operator-needed"
    ledger.close()


REPLACE = ("key", "replace-next", "--yes")
ROTATE = ("key", "rotate", "--without-backup")


@pytest.fixture
def unable(on_both, tmp_path):
    """A ledger whose only keyring is an older one, as `key restore` puts it back."""
    host = on_both.copy(tmp_path / "unable")
    older = host.keyring.read_bytes()
    host.ok(*ROTATE)
    host.keyring.write_bytes(older)
    host.fails(6, "next-epoch-missing", *ROTATE)
    yield host
    host.drop_database()


def test_a_killed_replacement_is_done_by_the_same_command(unable, tmp_path):
    """Recorded once or not at all; then keys are rotated."""
    position = unable.position()
    for host, _ in killed_everywhere(unable, tmp_path, *REPLACE):
        recorded = host.topics(position)
        assert recorded in ([], ["epoch.replaced"])
        again = host.run(*REPLACE)
        done = again.code == 0 or (bool(recorded) and again.error["code"] == "next-epoch-held")
        assert done, again
        assert host.topics(position) == ["epoch.replaced"]
        assert host.ok(*ROTATE)["to"] == 3
        host.is_whole()


def test_the_command_asks_first_and_says_what_it_did(unable):
    """Without a terminal and `--yes` nothing is changed."""
    position = unable.position()
    unable.fails(2, "not-confirmed", "key", "replace-next")
    assert unable.position() == position
    findings = unable.run("doctor").json["findings"]
    mends = {one["code"]: one["mend"] for one in findings}
    assert mends["next-epoch-missing"].endswith("credledger key replace-next")
    ended = unable.run(*REPLACE)
    assert ended.json == {"epoch": 3, "position": position + 1}
    assert b"copy it to the other hosts" in ended.err
    codes = {one["code"] for one in unable.run("doctor").json["findings"]}
    assert "next-epoch-missing" not in codes


def put_back_before_replaced_keys(host):
    """Start keys in place of lost ones, then put the log of before back; the keyring, still whole.

    Nothing on the host remembers what came since.
    """
    ledger = host.open()
    size = size_of(host)
    ledger.next_epoch.replace(LOST)
    rotate(ledger)
    change(ledger, "newest")
    ledger.close()
    keyring = held(host)
    put_back(host, size)
    host.memory(unlocked_by_passphrase(host.keyring_path)).path.unlink()
    return keyring


def test_an_older_copy_of_the_log_takes_no_started_keys_out_of_the_file(hosts):
    """It did not choose those that were made in place of the lost ones, and they opened values."""
    host, _ = hosts
    before = put_back_before_replaced_keys(host)
    for _ in range(2):
        ledger = host.open()
        assert read(ledger) == "first"
        with pytest.raises(KeyUnavailable) as caught:
            rotate(ledger)
        assert caught.value.code == "next-epoch-missing"
        ledger.close()
        assert held(host) == before


def test_an_older_copy_of_the_log_has_nobody_give_up_started_keys(hosts):
    """An operator who says that it is the one to go on from does; before, nothing is replaced."""
    host, _ = hosts
    before = put_back_before_replaced_keys(host)
    ledger = host.open()
    with pytest.raises(KeyUnavailable) as caught:
        ledger.next_epoch.replace(LOST)
    ledger.close()
    assert caught.value.code == "keyring-ahead"
    assert "accept-rollback" in caught.value.hint
    assert held(host) == before
    accept(host)
    ledger = host.open()
    ledger.next_epoch.replace(LOST)
    rotate(ledger)
    assert read(ledger) == "first"
    ledger.close()
