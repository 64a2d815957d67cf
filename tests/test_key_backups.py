"""Key backups on both stores: what is recorded of them, and what a lost keyring gets back."""

from __future__ import annotations

import hashlib
import os
import re
import shutil

import pytest
from msgspec import structs

from ledger import places
from ledger.aggregates.keys import SlotAdded
from ledger.errors import Conflict, InvalidInput, KeyUnavailable, NotFound, Refused, Unavailable
from ledger.log.verification import verify_log
from ledger.sealing import key_backup_file
from ledger.sealing.key_backup_file import read_key_backup
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.shares import Scheme, combine, read_share
from ledger.sealing.slots import AUDITOR, OPERATOR, key_file, new_passphrase, passphrase
from ledger.usecases.acting import Acting
from ledger.usecases.slots import KeyringEvent
from tests.conftest import CHEAP, PASSPHRASE
from tests.faults.test_hosts_at_once import another_host
from tests.faults.test_rotated_elsewhere import hold_another, rotate

OTHER = "two otters share one stone"
MORE = key_file(bytes(range(32)))


def back_up(house, name="one", forbidden=()):
    """A key backup in a folder of its own."""
    place = house.keyring_path.parent.parent / "safe" / name
    place.parent.mkdir(exist_ok=True)
    ledger = house.open()
    try:
        return ledger.key_backups.create(Acting(reason="weekly"), place, forbidden)
    finally:
        ledger.close()


def restore(house, source, holding=None):
    """What `key restore` does, once it has read the backup."""
    keyring, content = read_key_backup(source)
    backup = keyring.unlock(holding or passphrase(PASSPHRASE))
    ledger = house.open_with(backup, of_key_backup=True)
    try:
        return ledger.key_backups.restore(Acting(), source, content)
    finally:
        ledger.close()


def history(house):
    ledger = house.open()
    try:
        return ledger.key_backups.history()
    finally:
        ledger.close()


def change(house, what):
    ledger = house.open()
    try:
        return what(ledger)
    finally:
        ledger.close()


def add(house, label="second", holding=MORE, **more):
    slot = {"label": label, "opens": OPERATOR, "holding": holding, "cost": CHEAP, **more}
    return change(house, lambda ledger: ledger.add_slot(Acting(), **slot)).slot


def refusal(call, family):
    with pytest.raises(family) as caught:
        call()
    return caught.value


def size(house):
    with house.store().reading() as reading:
        return reading.last_position()


def kept(house):
    return sorted(path.name for path in house.keyring_path.parent.glob("*.replaced-*"))


def test_a_key_backup_is_the_keyring_and_is_recorded(house):
    """Byte for byte, private, with its digest and the epochs it holds."""
    made = back_up(house)
    content = made.path.read_bytes()
    assert content == house.keyring_path.read_bytes()
    assert made.digest == hashlib.sha256(content).digest()
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in made.path.parent.iterdir()] == ["one"]
    found = history(house)
    (backup,) = found.made
    assert (backup.path, backup.digest, backup.position) == (
        str(made.path),
        made.digest,
        made.position,
    )
    assert (backup.epochs, backup.by, backup.stands) == (
        ((1, True), (2, True)),
        "operator:1/tester@host",
        True,
    )
    assert found.newest() == backup
    assert verify_log(house.store()).ok


def test_what_backups_hold_is_answered_from_the_log(house):
    """Which stand, which hold an epoch, and whether one was made in the current one."""
    assert not history(house).sufficing()
    first = back_up(house, "one").position
    assert history(house).sufficing()
    rotate(house)
    assert not history(house).sufficing()
    second = back_up(house, "two").position
    found = history(house)
    assert [one.position for one in found.sufficing()] == [second]
    assert [one.position for one in found.with_secret(1)] == [first, second]
    assert [one.position for one in found.with_secret(3)] == [second]
    assert found.newest_with(2).position == second
    assert found.newest_with(4) is None
    change(house, lambda ledger: ledger.key_backups.attest_replaced(Acting(), first))
    found = history(house)
    assert [one.position for one in found.with_secret(1)] == [second]
    assert found.newest().position == second
    change(house, lambda ledger: ledger.key_backups.attest_replaced(Acting(), second))
    found = history(house)
    assert (found.newest(), found.standing(), found.sufficing()) == (None, (), ())
    assert [one.stands for one in found.made] == [False, False]


def test_only_a_recorded_backup_that_stands_can_be_attested_replaced(house):
    """Once, and with the position of its record."""
    made = back_up(house)
    attest = lambda position: change(
        house, lambda ledger: ledger.key_backups.attest_replaced(Acting(), position)
    )
    before = size(house)
    for position in (1, 999):
        assert refusal(lambda p=position: attest(p), NotFound).code == "no-such-key-backup"
    assert size(house) == before
    attest(made.position)
    error = refusal(lambda: attest(made.position), Conflict)
    assert error.code == "key-backup-replaced-already"


def test_a_backup_of_nothing_else_is_ever_overwritten(house):
    """Something that is there stays, be it a keyring's copy, a folder or another's file."""
    made = back_up(house)
    for name in ("one", "folder", "file", "link"):
        place = made.path.with_name(name)
        if name == "folder":
            place.mkdir()
        if name == "file":
            place.write_bytes(b"mine")
        if name == "link":
            place.symlink_to(made.path.with_name("file"))
        before = size(house)
        error = refusal(lambda name=name: back_up(house, name), Conflict)
        assert (error.code, size(house)) == ("key-backup-exists", before)
    assert made.path.with_name("file").read_bytes() == b"mine"
    assert len(history(house).made) == 1


def test_a_backup_that_was_not_recorded_is_gone_on_with(house):
    """As a kill between the file and its record leaves it; a wider mode is another file."""
    place = house.keyring_path.parent.parent / "safe" / "one"
    place.parent.mkdir()
    shutil.copy2(house.keyring_path, place)
    place.chmod(0o644)
    assert refusal(lambda: back_up(house), Conflict).code == "key-backup-exists"
    place.chmod(0o600)
    made = back_up(house)
    assert [one.position for one in history(house).made] == [made.position]
    again = refusal(lambda: back_up(house), Conflict)
    assert (again.code, str(made.position) in again.hint) == ("key-backup-exists", True)
    made.path.unlink()
    assert back_up(house).position > made.position


@pytest.mark.parametrize("where", ["", "below", "below/further", "linked"])
def test_a_backup_does_not_lie_with_the_database(house, where):
    """Nor below its folder, whatever the way there."""
    folder = house.keyring_path.parent.parent / "database"
    (folder / "below" / "further").mkdir(parents=True)
    (folder.parent / "linked").symlink_to(folder)
    place = folder.parent / "linked" / "k" if where == "linked" else folder / where / "k"
    ledger = house.open()
    before = size(house)
    create = lambda: ledger.key_backups.create(Acting(), place, [folder.parent / "x", folder])
    assert refusal(create, Refused).code == "key-backup-beside-database"
    assert (place.exists(), size(house)) == (False, before)
    ledger.close()


def test_a_folder_is_the_same_by_whatever_mount_it_is_reached(house, monkeypatch):
    """What counts is the folder on its device, not the path."""
    root = house.keyring_path.parent.parent
    (root / "database").mkdir()
    (root / "mounted").mkdir()
    identity = places.identity
    monkeypatch.setattr(
        places,
        "identity",
        lambda folder: identity(root / "database" if folder.name == "mounted" else folder),
    )
    ledger = house.open()
    create = lambda: ledger.key_backups.create(
        Acting(), root / "mounted" / "k", [root / "database"]
    )
    assert refusal(create, Refused).code == "key-backup-beside-database"
    ledger.close()


def test_a_backup_is_not_written_where_no_folder_is(house):
    """A stick that is not mounted is not replaced by a folder on the disk."""
    ledger = house.open()
    place = house.keyring_path.parent.parent / "media" / "usb" / "k"
    before = size(house)
    error = refusal(lambda: ledger.key_backups.create(Acting(), place, []), Unavailable)
    assert (error.code, place.parent.exists()) == ("key-backup-not-writable", False)
    unprintable = lambda: ledger.key_backups.create(Acting(), place.with_name("a\nb"), [])
    assert refusal(unprintable, InvalidInput).code == "invalid-path"
    undecodable = place.with_name(os.fsdecode(b"\xff"))
    unwritable = lambda: ledger.key_backups.create(Acting(), undecodable, [])
    assert refusal(unwritable, InvalidInput).code == "invalid-path"
    assert size(house) == before
    ledger.close()


def test_a_medium_that_reads_otherwise_is_not_relied_upon(house, monkeypatch):
    """What does not come back as it was written is not recorded; nor is what others may read."""
    reading = key_backup_file.read_private
    otherwise = lambda *what, **how: reading(*what, **how)[:-1] + b"\0"
    monkeypatch.setattr(key_backup_file, "read_private", otherwise)
    before = size(house)
    assert refusal(lambda: back_up(house), Unavailable).code == "key-backup-differs"
    monkeypatch.undo()
    monkeypatch.setattr(key_backup_file, "_open_to_others", lambda _: True)
    assert refusal(lambda: back_up(house, "two"), Unavailable).code == "key-backup-not-private"
    assert not (house.keyring_path.parent.parent / "safe" / "two").exists()
    assert size(house) == before


def test_a_backup_that_the_log_refuses_is_taken_away(house, monkeypatch):
    """Nobody is left with a copy that no list names."""

    def refuse(*_):
        raise Conflict("slot-number-taken", "Another host was faster.")

    monkeypatch.setattr(KeyringEvent, "decide", refuse)
    assert refusal(lambda: back_up(house), Conflict).code == "slot-number-taken"
    assert list((house.keyring_path.parent.parent / "safe").iterdir()) == []


def test_a_lost_keyring_is_put_back(house):
    """It opens as it did, and that it was restored is recorded."""
    made = back_up(house)
    house.keyring_path.unlink()
    back = restore(house, made.path)
    assert (back.path, back.kept, back.digest) == (house.keyring_path, None, made.digest)
    assert not back.lacks_next
    assert house.keyring_path.read_bytes() == made.path.read_bytes()
    assert house.keyring_path.stat().st_mode & 0o777 == 0o600
    assert size(house) == back.position
    add(house)


def test_slots_can_be_added_after_an_older_backup_was_put_back(house):
    """Numbers that the log knows of are not given again."""
    made = back_up(house)
    assert add(house) == 2
    house.keyring_path.unlink()
    restore(house, made.path)
    assert add(house, "third", new_passphrase(OTHER)) == 3
    live = change(house, lambda ledger: ledger.key_history().live())
    assert [slot.slot for slot in live] == [1, 2, 3]
    assert [slot.id for slot in read_keyring(house.keyring_path).slots] == [1, 3]


def test_a_folder_at_the_keyrings_place_stays_and_is_to_be_moved_away(house):
    """It is no keyring that a restore could keep aside, and running that again ends nothing."""
    made = back_up(house)
    before = size(house)
    house.keyring_path.unlink()
    house.keyring_path.mkdir()
    error = refusal(lambda: restore(house, made.path), Conflict)
    assert error.code == "keyring-place-taken"
    assert "Move it away" in error.hint
    assert (house.keyring_path.is_dir(), size(house)) == (True, before)
    house.keyring_path.rmdir()
    restore(house, made.path)
    assert house.keyring_path.read_bytes() == made.path.read_bytes()


def test_a_keyring_that_nobody_can_read_is_not_restored_in_a_circle(house):
    """The hint of a restore does not name the restore."""
    made = back_up(house)
    house.keyring_path.unlink()
    house.keyring_path.symlink_to(house.keyring_path)
    error = refusal(lambda: restore(house, made.path), KeyUnavailable)
    assert error.code == "keyring-missing"
    assert "key restore" not in error.hint


@pytest.mark.parametrize("harm", ["cut", "empty", "noise"])
def test_a_damaged_keyring_is_kept_aside(house, harm):
    """Whatever can still be got out of it is not lost."""
    made = back_up(house)
    content = house.keyring_path.read_bytes()
    harmed = {"cut": content[:900], "empty": b"", "noise": os.urandom(5000)}[harm]
    house.keyring_path.write_bytes(harmed)
    back = restore(house, made.path)
    assert back.kept.read_bytes() == harmed
    assert house.keyring_path.read_bytes() == content
    house.keyring_path.write_bytes(b"again")
    restore(house, made.path)
    assert kept(house) == ["keyring.replaced-1", "keyring.replaced-2"]


def test_a_passphrase_of_an_earlier_day_opens_again(house):
    """Who has changed it and forgotten it puts the older backup back; the newer file is kept."""
    made = back_up(house)
    newer = new_passphrase(OTHER)
    change(
        house,
        lambda ledger: ledger.change_passphrase(Acting(), passphrase(PASSPHRASE), newer, CHEAP),
    )
    changed = house.keyring_path.read_bytes()
    back = restore(house, made.path)
    assert back.kept.read_bytes() == changed
    house.open().close()
    assert read_keyring(back.kept).unlock(newer)


def test_a_keyring_that_is_not_lost_stays(house):
    """It opens as the backup does and holds as much, so there is nothing to restore."""
    made = back_up(house)
    add(house)
    before, position = house.keyring_path.read_bytes(), size(house)
    for again in (made, back_up(house, "two")):
        error = refusal(lambda again=again: restore(house, again.path), Conflict)
        assert error.code == "keyring-not-lost"
        position = max(position, again.position)
    assert (house.keyring_path.read_bytes(), size(house), kept(house)) == (before, position, [])


def test_an_older_copy_gives_way_to_a_newer_backup(house):
    """A host that is behind gets keys and slots that it lacked."""
    older = house.keyring_path.read_bytes()
    add(house)
    with_slot = back_up(house)
    house.keyring_path.write_bytes(older)
    assert restore(house, with_slot.path).kept.read_bytes() == older
    assert read_keyring(house.keyring_path).unlock(MORE)


def test_an_older_copy_gives_way_though_it_holds_what_is_destroyed(house):
    """The key that it alone holds is none that anybody may use."""
    older = house.keyring_path.read_bytes()
    ledger = house.open()
    ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    ledger.close()
    made = back_up(house)
    house.keyring_path.write_bytes(older)
    assert restore(house, made.path).kept.read_bytes() == older
    house.open().close()


def test_a_keyring_that_holds_more_is_never_replaced(house):
    """Even where it opens by another passphrase only, or by none that is at hand."""
    made = back_up(house)
    rotate(house)
    change(
        house,
        lambda ledger: ledger.change_passphrase(
            Acting(), passphrase(PASSPHRASE), new_passphrase(OTHER), CHEAP
        ),
    )
    before, position = house.keyring_path.read_bytes(), size(house)
    assert refusal(lambda: restore(house, made.path), Conflict).code == "keyring-holds-more"
    assert (house.keyring_path.read_bytes(), size(house), kept(house)) == (before, position, [])


def test_a_keyring_that_holds_more_stays_where_the_backup_holds_what_is_destroyed(house):
    """The keys of values are let go of, and the file that is there is not taken for the backup."""
    made = back_up(house)
    ledger = house.open()
    ledger.rotate(Acting(), without_backup=True, destroy_previous=True)
    ledger.close()
    before, position = house.keyring_path.read_bytes(), size(house)
    assert refusal(lambda: restore(house, made.path), Conflict).code == "keyring-holds-more"
    assert (house.keyring_path.read_bytes(), size(house), kept(house)) == (before, position, [])


def test_a_keyring_is_not_replaced_by_other_keys_than_the_log_has_started(house, tmp_path):
    """Two hosts rotated on from one keyring, and the backup is of the one that the log passed."""
    other = another_host(house, tmp_path / "other")
    hold_another(other)
    strange = tmp_path / "strange"
    strange.write_bytes(other.keyring_path.read_bytes())
    strange.chmod(0o600)
    rotate(house)
    rotate(house)
    before, position = house.keyring_path.read_bytes(), size(house)
    error = refusal(lambda: restore(house, strange), KeyUnavailable)
    assert error.code == "keyring-behind"
    assert (house.keyring_path.read_bytes(), size(house), kept(house)) == (before, position, [])


def test_a_keyring_under_another_root_is_looked_into_by_the_slot_itself(house):
    """The root is sealed to the slot's public half, so its older private half opens it."""
    second = add(house)
    made = back_up(house)
    change(house, lambda ledger: ledger.remove_slot(Acting(), second, mislaid=True))
    assert refusal(lambda: restore(house, made.path), Conflict).code == "keyring-not-lost"
    rotate(house)
    assert refusal(lambda: restore(house, made.path), Conflict).code == "keyring-holds-more"


def test_a_keyring_that_nobody_can_look_into_gives_way_to_a_backup_with_all_keys_only(house):
    """A removal that was cut off took the slot at hand out of it; the log says which keys are."""
    add(house)
    older = back_up(house)
    rotate(house)
    newer = back_up(house, "two")
    held = read_keyring(house.keyring_path).unlock(passphrase(PASSPHRASE))
    without = held.without_slots({2}, os.urandom).keyring.to_bytes()
    house.keyring_path.write_bytes(without)
    error = refusal(lambda: restore(house, older.path, MORE), Conflict)
    assert (error.code, "epoch 3" in error.message) == ("keyring-holds-more", True)
    assert house.keyring_path.read_bytes() == without
    back = restore(house, newer.path, MORE)
    assert back.kept.read_bytes() == without
    assert read_keyring(house.keyring_path).unlock(MORE)


def test_a_removed_slot_restores_nothing(house):
    """The log's word counts, not the backup's."""
    add(house)
    made = back_up(house)
    change(house, lambda ledger: ledger.remove_slot(Acting(), 2, mislaid=True))
    house.keyring_path.unlink()
    assert refusal(lambda: restore(house, made.path, MORE), KeyUnavailable).code == "slot-removed"
    assert not house.keyring_path.exists()
    restore(house, made.path)
    added = add(house, "third")
    assert [slot.id for slot in read_keyring(house.keyring_path).slots] == [1, added]


def test_another_ledgers_keyring_or_an_auditors_is_not_replaced(house, tmp_path):
    """Whoever names the wrong place loses nothing."""
    made = back_up(house)
    auditors = tmp_path / "auditor" / "keyring"
    add(house, "cleo", new_passphrase(OTHER), opens=AUDITOR, auditor_file=auditors)
    own = house.keyring_path.read_bytes()
    house.keyring_path.write_bytes(auditors.read_bytes())
    assert refusal(lambda: restore(house, made.path), Conflict).code == "keyring-exists"
    other = another_ledgers_keyring(house, tmp_path)
    house.keyring_path.write_bytes(other)
    assert refusal(lambda: restore(house, made.path), Conflict).code == "keyring-exists"
    assert (house.keyring_path.read_bytes(), kept(house)) == (other, [])
    house.keyring_path.write_bytes(own)


def another_ledgers_keyring(house, tmp_path):
    from ledger.sealing.keyring import create_keyring

    made = create_keyring(
        "eve", passphrase(PASSPHRASE), created_at=1, random=os.urandom, cost=CHEAP
    )
    return made.keyring.to_bytes()


def test_a_restore_that_the_log_refuses_is_undone(house, monkeypatch):
    """The file is as it was, or absent as it was."""
    made = back_up(house)

    def refuse(*_):
        raise Conflict("slot-number-taken", "Another host was faster.")

    for harmed in (None, b"harmed"):
        house.keyring_path.unlink()
        if harmed is not None:
            house.keyring_path.write_bytes(harmed)
            house.keyring_path.chmod(0o600)
        with monkeypatch.context() as patch:
            patch.setattr(KeyringEvent, "decide", refuse)
            assert refusal(lambda: restore(house, made.path), Conflict).code == "slot-number-taken"
        found = house.keyring_path.read_bytes() if house.keyring_path.exists() else None
        assert (found, kept(house)) == (harmed, [])
        assert not house.keyring_path.with_name("keyring.new").exists()
        if harmed is None:
            restore(house, made.path)


def test_a_backup_one_rotation_behind_opens_and_says_what_it_lacks(house):
    """The next epoch's keys are in a newer copy only."""
    made = back_up(house)
    rotate(house)
    house.keyring_path.unlink()
    assert restore(house, made.path).lacks_next
    house.open().close()


@pytest.fixture
def behind(house, tmp_path):
    """A host with a copy of the keyring from before any rotation."""
    return another_host(house, tmp_path / "other")


@pytest.mark.parametrize("rotations", [2, 3, 5])
def test_a_keyring_behind_the_log_names_what_it_lacks(house, behind, rotations):
    """However many epochs it lacks, and although it cannot read who did it."""
    for _ in range(rotations):
        rotate(house)
        add(house, f"slot {_}", key_file(os.urandom(32)))
    before = size(house)
    error = refusal(behind.open, KeyUnavailable)
    assert error.code == "keyring-behind"
    named = "epoch 3," if rotations == 2 else f"epochs 3 to {rotations + 1},"
    assert named in error.message
    assert "Copy the newer keyring" in error.hint
    assert size(house) == before


def test_a_keyring_behind_the_log_names_the_recorded_backup_that_helps(house, behind):
    """The newest that stands and holds the current epoch, with its digest."""
    rotate(house)
    helping = [back_up(house, name) for name in ("one", "two", "gone")]
    change(house, lambda one: one.key_backups.attest_replaced(Acting(), helping[2].position))
    rotate(house)
    error = refusal(behind.open, KeyUnavailable)
    assert error.code == "keyring-behind"
    assert f"{helping[1].path} (operator:1/tester@host, SHA-256 {helping[1].digest.hex()})" in (
        error.hint
    )
    assert f"recorded at position {helping[1].position}:" in error.hint
    restore(behind, helping[1].path)
    behind.open().close()


def test_a_keyring_far_behind_names_a_backup_that_leads_further(house, behind):
    """What it holds opens only a part of the log; the backup named there opens more of it."""
    rotate(house)
    first = back_up(house, "one")
    rotate(house)
    rotate(house)
    last = back_up(house, "two")
    error = refusal(behind.open, KeyUnavailable)
    assert f"{first.path} " in error.hint
    assert "holds up to epoch 3" in error.hint
    assert str(last.path) not in error.hint
    # The backup that was named is behind as well, and names the one that it can read of.
    shutil.copy2(last.path, last.path.with_name("kept"))
    further = refusal(lambda: restore(behind, first.path), KeyUnavailable)
    assert "epoch 4," in further.message
    restore(behind, last.path)
    behind.open().close()


def test_recovery_shares_unlock_and_add_a_slot(house):
    """Both facts are recorded together; the shares go on opening their slot."""
    before = size(house)
    made = change(house, lambda one: one.shares.create(Acting(), Scheme(2, 3), "recovery"))
    assert (made.slot, made.position) == (2, before + 2)
    shares = combine([read_share(words, number) for number, words in enumerate(made.words[1:], 1)])
    ledger = house.open_with(read_keyring(house.keyring_path).unlock(shares))
    found = ledger.shares.unlocked()
    assert (found.slot, found.label, found.threshold, found.count) == (2, "recovery", 2, 3)
    assert size(house) == before + 2
    added = ledger.shares.restore(Acting(), label="again", holding=MORE, cost=CHEAP)
    assert (added.slot, added.position) == (3, before + 4)
    told = ledger.shares.history()
    assert (told.schemes, set(told.restored_at)) == ({2: (2, 3)}, {2})
    ledger.close()
    ledger = house.open_with(read_keyring(house.keyring_path).unlock(MORE))
    ledger.remove_slot(Acting(), 2, mislaid=True)
    ledger.close()
    wrong = refusal(lambda: read_keyring(house.keyring_path).unlock(shares), KeyUnavailable)
    assert wrong.code == "wrong-shares"
    assert verify_log(house.store()).ok


def test_recovery_shares_survive_rotations(house):
    """They are over the slot's private half, to which each root is sealed."""
    made = change(house, lambda one: one.shares.create(Acting(), Scheme(2, 2), "recovery"))
    rotate(house)
    add(house)
    change(house, lambda one: one.remove_slot(Acting(), 3, mislaid=True))
    shares = combine([read_share(words, number) for number, words in enumerate(made.words, 1)])
    ledger = house.open_with(read_keyring(house.keyring_path).unlock(shares))
    assert ledger.status().epoch == 2
    ledger.close()


def test_only_shares_restore_what_shares_are_for(house):
    """Another unlock is told so, and a label is used once."""
    ledger = house.open()
    for call in (
        ledger.shares.unlocked,
        lambda: ledger.shares.restore(Acting(), label="x", holding=MORE, cost=CHEAP),
    ):
        assert refusal(call, KeyUnavailable).code == "wrong-shares"
    before = size(house)
    taken = lambda: ledger.shares.create(Acting(), Scheme(2, 3), "first")
    assert refusal(taken, Conflict).code == "slot-exists"
    assert size(house) == before
    ledger.close()


def test_no_word_of_a_share_is_in_any_stored_byte(sqlite_house):
    """Neither in the keyring nor in the database; the log names counts only."""
    ledger = sqlite_house.open()
    made = ledger.shares.create(Acting(), Scheme(2, 3), "xyzzy")
    assert not {*made.words[0].split()} & {*re.findall(r"[a-z]+", repr(made))}
    stream = ledger._desk.streams.keyring()
    with sqlite_house.store().reading() as reading:
        rows = reading.stream_rows(stream, 0, 100)
    events = [ledger._desk.mapper.open(row).event for row in rows]
    assert isinstance(events[-2], SlotAdded)
    assert vars_of(events[-1]) == {"slot": 2, "threshold": 2, "count": 3}
    ledger.close()
    share = read_share(made.words[0], 1)
    stored = b"".join(
        path.read_bytes()
        for folder in (sqlite_house.store_path.parent, sqlite_house.keyring_path.parent)
        for path in folder.iterdir()
    )
    assert share.parsed.value not in stored
    assert made.words[0].encode() not in stored


def vars_of(event):
    return structs.asdict(event)
