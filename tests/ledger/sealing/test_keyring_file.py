"""The keyring's file: private, apart from the database, replaced as a whole, changed one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

import ledger.places
from ledger import private_files
from ledger.errors import Conflict, KeyUnavailable, LedgerError, Unavailable
from ledger.sealing import keyring_file
from ledger.sealing.keyring_file import (
    create_key_file,
    create_keyring_file,
    read_keyring,
    refuse_beside_store,
    update_keyring_file,
)
from ledger.sealing.slots import seal_root
from ledger.sealing.wrapped_keys import WrappedKeys
from tests.ledger.sealing.counted import KEY

ROOT = Path(__file__).parents[3]
ADDING = """
import os, sys
from pathlib import Path
from ledger.sealing.keyring_file import read_keyring, update_keyring_file
from ledger.sealing.slots import key_file
from tests.ledger.sealing.counted import CHEAP, KEY

path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
unlocked = read_keyring(path).unlock(KEY)

def add(number):
    def change(found):
        keyring, slot, _ = found.add_slot(
            f"{name} {number}", "operator", key_file(os.urandom(32)),
            created_at=1, random=os.urandom, cost=CHEAP,
        )
        return keyring, unlocked.root, slot.id
    return update_keyring_file(path, unlocked, change)
"""
RUNNING = ADDING + "\nfor number in range(count):\n    print(add(number), flush=True)\n"


@pytest.fixture
def path(tmp_path, unlocked):
    path = tmp_path / "keys" / "keyring"
    create_keyring_file(path, unlocked.keyring)
    return path


def _code(call, family=KeyUnavailable):
    with pytest.raises(family) as caught:
        call()
    return caught.value.code


def _bump(unlocked):
    return lambda found: (found.keyring, unlocked.root, found.keyring.generation)


def _process(story, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", story, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_a_file_is_private_from_its_first_byte(path):
    """Mode 0600 in a folder of mode 0700, and nothing but the file and its lock."""
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {entry.name for entry in path.parent.iterdir()} <= {"keyring", "keyring.lock"}
    assert read_keyring(path).unlock(KEY).slot.id == 1


def test_a_wide_umask_changes_nothing(path, unlocked):
    """The mode is set, not left to the shell."""
    before = os.umask(0)
    try:
        update_keyring_file(path, unlocked, _bump(unlocked))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o610, 0o644, 0o777])
def test_a_file_that_others_may_use_is_refused(path, unlocked, mode):
    """Reading and changing alike."""
    path.chmod(mode)
    assert _code(lambda: read_keyring(path)) == "keyring-too-open"
    assert _code(lambda: update_keyring_file(path, unlocked, _bump(unlocked))) == "keyring-too-open"
    assert path.stat().st_mode & 0o777 == mode


def test_what_is_not_there_is_told(tmp_path):
    """A missing file and a folder are no keyring; an empty file is a damaged one."""
    assert _code(lambda: read_keyring(tmp_path / "none")) == "keyring-missing"
    (tmp_path / "folder").mkdir(mode=0o700)
    assert _code(lambda: read_keyring(tmp_path / "folder")) == "keyring-missing"
    (tmp_path / "empty").touch(mode=0o600)
    assert _code(lambda: read_keyring(tmp_path / "empty")) == "keyring-damaged"


def test_an_existing_keyring_is_never_overwritten(path, unlocked):
    """Creating is for new files."""
    before = path.read_bytes()
    call = lambda: create_keyring_file(path, unlocked.keyring)
    assert _code(call, Conflict) == "keyring-exists"
    assert path.read_bytes() == before


def test_each_change_is_one_more_generation(path, unlocked):
    """The number in the file grows, and the file stays openable."""
    assert update_keyring_file(path, unlocked, _bump(unlocked)) == 1
    assert update_keyring_file(path, unlocked, _bump(unlocked)) == 2
    assert read_keyring(path).unlock(KEY).keyring.generation == 3


def test_a_change_that_fails_leaves_the_file(path, unlocked):
    """Whatever a change raises passes through, and no byte is written."""
    before = path.read_bytes()

    def change(_):
        raise Conflict("slot-exists", "No.")

    assert _code(lambda: update_keyring_file(path, unlocked, change), Conflict) == "slot-exists"
    assert path.read_bytes() == before


def test_a_wrong_root_writes_nothing(path, unlocked):
    """A keyring that its own root does not open is never written."""
    before = path.read_bytes()
    call = lambda: update_keyring_file(
        path, unlocked, lambda found: (found.keyring, bytes(32), None)
    )
    assert _code(call) == "keyring-damaged"
    assert path.read_bytes() == before


LOSSES = {
    "an epoch": lambda epochs: epochs[:1],
    "an epoch's secret key": lambda epochs: (replace(epochs[0], secret=None), epochs[1]),
    "one month's access key": lambda epochs: (
        replace(epochs[0], access=(None, *epochs[0].access[1:])),
        epochs[1],
    ),
    "another state key": lambda epochs: (replace(epochs[0], state=bytes(32)), epochs[1]),
}


@pytest.mark.parametrize("new_root", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_change_cannot_lose_a_key(path, unlocked, loss, new_root):
    """Whatever a change hands back, under whatever root: what was held is held after it."""
    before = path.read_bytes()

    def change(found):
        root = b"n" * 32 if new_root else found.root
        slot = replace(found.slot, sealed_root=seal_root(found.ledger_id, found.slot, root))
        epochs = LOSSES[loss](found.epochs)
        lost = replace(found.keyring, slots=(slot,)).wrapping(
            root, WrappedKeys(found.stream_key, epochs)
        )
        return lost, root, None

    call = lambda: update_keyring_file(path, unlocked, change)
    assert _code(call) == "keyring-would-lose-keys"
    assert path.read_bytes() == before


def test_a_change_cannot_lose_the_stream_key(path, unlocked):
    """With another one no stream of the ledger would be found again."""

    def change(found):
        return (
            found.keyring.wrapping(found.root, WrappedKeys(bytes(32), found.epochs)),
            found.root,
            None,
        )

    call = lambda: update_keyring_file(path, unlocked, change)
    assert _code(call) == "keyring-would-lose-keys"


def test_a_generation_that_a_change_raised_is_kept(path, unlocked):
    """It grows by one at least, from the higher of both."""
    change = lambda found: (found.keyring.bumped(found.root, 9), found.root, None)
    update_keyring_file(path, unlocked, change)
    assert read_keyring(path).generation == 10


def test_a_key_file_is_whole_or_absent(tmp_path, monkeypatch):
    """A disk that is full leaves nothing of it, and what is there is never replaced."""
    path = tmp_path / "usb" / "key"

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(private_files.os, "fsync", full)
        call = lambda: create_key_file(path, b"k" * 32)
        assert _code(call, Unavailable) == "key-file-not-writable"
    assert list(path.parent.iterdir()) == []
    create_key_file(path, b"k" * 32)
    assert path.stat().st_mode & 0o777 == 0o600
    call = lambda: create_key_file(path, b"m" * 32)
    assert _code(call, Conflict) == "key-file-exists"
    assert [(one.name, one.read_bytes()) for one in path.parent.iterdir()] == [("key", b"k" * 32)]


def test_a_key_file_can_be_made_where_there_are_no_hard_links(tmp_path, monkeypatch):
    """A stick's file system has none."""

    def refuse(*_names, **_how):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(private_files.os, "link", refuse)
    path = tmp_path / "key"
    create_key_file(path, b"k" * 32)
    assert path.read_bytes() == b"k" * 32
    call = lambda: create_key_file(path, b"m" * 32)
    assert _code(call, Conflict) == "key-file-exists"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_of_a_key_file_is_cleared_away(tmp_path):
    """Its own leftovers only."""
    for name in (".key.0011223344556677.new", ".key.new", ".other.0011223344556677.new"):
        (tmp_path / name).write_bytes(b"part")
    create_key_file(tmp_path / "key", b"k" * 32)
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {"key", ".key.new", ".other.0011223344556677.new"}


def test_a_link_stays_a_link_and_its_target_is_changed(path, unlocked, tmp_path):
    """A keyring on a stick, linked to from home, is updated on the stick under one lock."""
    link = tmp_path / "link"
    link.symlink_to(path)
    update_keyring_file(link, unlocked, _bump(unlocked))
    assert link.is_symlink()
    assert read_keyring(path).generation == 2
    assert not (tmp_path / "link.lock").exists()


def test_a_left_temporary_is_not_written_through(path, unlocked, tmp_path):
    """Neither a link nor a file that somebody holds open receives the new keyring."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    temporary = path.with_name("keyring.new")
    temporary.symlink_to(elsewhere)
    update_keyring_file(path, unlocked, _bump(unlocked))
    assert elsewhere.read_bytes() == b"untouched"
    temporary.write_bytes(b"left by a kill")
    with temporary.open("rb") as held:
        update_keyring_file(path, unlocked, _bump(unlocked))
        assert held.read() == b"left by a kill"
    assert read_keyring(path).generation == 3


def test_a_disk_that_is_full_leaves_the_old_file(path, unlocked, monkeypatch):
    """The error is ours and the keyring opens as before."""

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(private_files.os, "fsync", full)
    call = lambda: update_keyring_file(path, unlocked, _bump(unlocked))
    assert _code(call, Unavailable) == "keyring-not-writable"
    assert path.read_bytes() == before


def test_a_lock_held_too_long_is_told(path, unlocked, monkeypatch):
    """Waiting ends with an error, not with a broken file."""
    monkeypatch.setattr(keyring_file, "_LOCK_TIMEOUT_S", 0.2)
    story = ADDING + (
        "from ledger.sealing import keyring_file\n"
        "with keyring_file._locked(path):\n    print('held', flush=True)\n    input()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", story, str(path), "holder", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        call = lambda: update_keyring_file(path, unlocked, _bump(unlocked))
        assert _code(call, Unavailable) == "keyring-locked"
    finally:
        holder.communicate("\n", timeout=30)
    assert update_keyring_file(path, unlocked, _bump(unlocked)) == 1


def test_two_processes_lose_nothing_of_each_other(path):
    """Each slot that either was told of is in the file, with a number of its own."""
    running = [_process(RUNNING, path, name, 8) for name in ("left", "right")]
    told = []
    for process in running:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        told += map(int, output.split())
    keyring = read_keyring(path)
    assert sorted(told) == [slot.id for slot in keyring.slots][1:] == list(range(2, 18))
    assert len({slot.label for slot in keyring.slots}) == 17
    assert keyring.generation == 17
    assert keyring.unlock(KEY).slot.id == 1


POINTS = {
    "before the temporary": ("os.open", 1, False),
    "temporary empty": ("os.fdopen", 1, False),
    "temporary written, not synced": ("os.fsync", 1, False),
    "before the rename": ("Path.replace", 1, False),
    "after the rename": ("Path.replace", 1, True),
    "before the folder's fsync": ("os.fsync", 2, True),
}
DYING = (
    ADDING
    + """
from ledger import private_files
from ledger.sealing import keyring_file
owner, name = sys.argv[4].split(".")
target = {"os": private_files.os, "Path": Path}[owner]
real, left, after = getattr(target, name), int(sys.argv[5]), sys.argv[6] == "True"
armed = []

def dying(*arguments, **settings):
    global left
    # Opening the lock file comes first and is not the point meant.
    if name == "open" and not str(arguments[0]).endswith(".new"):
        return real(*arguments, **settings)
    left -= 1
    if left == 0 and not after:
        os._exit(9)
    answer = real(*arguments, **settings)
    if left == 0:
        os._exit(9)
    return answer

setattr(target, name, dying)
add(0)
"""
)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_each_step_leaves_old_or_new(path, unlocked, point):
    """The file opens without repair, and the next change goes through."""
    function, call, new = POINTS[point]
    old = path.read_bytes()
    process = _process(DYING, path, "dying", 0, function, call, point.startswith("after"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 9, errors
    assert (path.read_bytes() != old) is new
    keyring = read_keyring(path)
    assert keyring.unlock(KEY).keyring.generation == (2 if new else 1)
    assert len(keyring.slots) == (2 if new else 1)
    assert update_keyring_file(path, unlocked, _bump(unlocked)) == keyring.generation


def test_kills_at_any_moment_lose_nothing_that_was_acknowledged(path):
    """Processes killed while changing leave every slot they had told of."""
    acknowledged = set()
    for attempt in range(6):
        process = _process(RUNNING, path, f"run {attempt}", 50)
        acknowledged.add(int(process.stdout.readline()))
        time.sleep(0.004 * attempt)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        acknowledged |= {int(line) for line in output.splitlines(keepends=True) if "\n" in line}
        keyring = read_keyring(path)
        assert acknowledged <= {slot.id for slot in keyring.slots}
        assert keyring.unlock(KEY).slot.id == 1
        if len(keyring.slots) > 50:
            break


@pytest.mark.parametrize(
    ("keyring", "store", "refused"),
    [
        ("data/keyring", "data/ledger.db", True),
        ("data/keys/keyring", "data/ledger.db", True),
        ("data/a/b/c/keyring", "data/ledger.db", True),
        ("data/../data/keyring", "data/ledger.db", True),
        ("link/keyring", "data/ledger.db", True),
        ("keys/keyring", "data/ledger.db", False),
        ("database/keyring", "data/ledger.db", False),
        ("keys/keyring", "keys/store/ledger.db", False),
    ],
)
def test_keyring_and_store_share_no_folder(tmp_path, keyring, store, refused):
    """The store's folder and all below it are refused, by whatever name."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    call = lambda: refuse_beside_store(tmp_path / keyring, tmp_path / store)
    if refused:
        assert _code(call) == "keyring-beside-store"
    else:
        call()


def test_keyring_and_store_share_no_folder_that_is_mounted_twice(tmp_path, monkeypatch):
    """Neither name is a link; only device and inode tell that they are one folder."""
    monkeypatch.setattr(ledger.places, "identity", lambda path: path.name in {"data", "mounted"})
    call = lambda: refuse_beside_store(tmp_path / "mounted/keyring", tmp_path / "data/ledger.db")
    assert _code(call) == "keyring-beside-store"


def test_links_in_a_circle_are_no_keyring(tmp_path):
    """Even this is an error of ours."""
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    refuse_beside_store(circle, tmp_path / "data" / "ledger.db")
    with pytest.raises(LedgerError):
        read_keyring(circle)
