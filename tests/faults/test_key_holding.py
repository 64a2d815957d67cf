"""Key backups and recovery shares by the program: bad input, kills, full disks, two at once.

Whatever goes wrong, the keyring is the one that was there or the one that was to be put there, each
file is whole or absent, and the same command brought to its end leaves what was wanted. No word of
a share and no passphrase is in what was said.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.sealing.keyring_file import read_keyring
from tests.faults.killing import CLOSE, killed_everywhere
from tests.faults.running import Host
from tests.faults.test_full_disk import UNRECORDED, full_everywhere

PASSPHRASES = {"first": "seven herons cross the lake", "second": "two otters share one stone"}
BACKUP = ("key", "backup", "safe/new")
RESTORE = ("key", "restore", "safe/one")
CREATE = ("key", "shares", "create", "2/3", "--label", "more")
SHARES = ("--shares-file", "words")
CHEAP = ("--argon2-memory", "19")
ANEW = (
    *("key", "shares", "restore", *SHARES, *CHEAP),
    *("--new-passphrase-file", "second", "--label", "again"),
)


@dataclass
class Told:
    """What the ledger told when it was made."""

    host: Host
    words: list[str]


def make(host):
    """A ledger with recovery shares, a passphrase's slot and a key backup."""
    for name, text in PASSPHRASES.items():
        (host.home / name).touch(mode=0o600)
        (host.home / name).write_text(text)
    (host.home / "safe").mkdir()
    words = host.ok("init", "--label", "ann", "--shares", "2/3")["shares"]["shares"]
    (host.home / "words").write_text("\n".join(words))
    slot = ("key", "slot", "add", "passphrase", *CHEAP, "--label", "ben")
    host.ok(*slot, "--new-passphrase-file", "first")
    host.ok("key", "backup", "safe/one")
    return Told(host, words)


@pytest.fixture(scope="module")
def told(nursery, tmp_path_factory):
    return make(Host(nursery, tmp_path_factory.mktemp("holding") / "base"))


@pytest.fixture(scope="module")
def told_on_server(bare_on_server, tmp_path_factory):  # asked for by name
    host = bare_on_server.copy(tmp_path_factory.mktemp("holding") / "base")
    yield make(host)
    host.drop_database()


@pytest.fixture(scope="module", params=["told", "told_on_server"], ids=["sqlite", "postgresql"])
def on_both(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def host(told, tmp_path):
    return told.host.copy(tmp_path / "host")


def lost(told, tmp_path):
    """The same ledger, its keyring gone."""
    host = told.host.copy(tmp_path / "lost")
    host.keyring.unlink()
    return host


def refused(told, host, exit_code, code, *arguments, **how):
    """A refusal that changed nothing and told nothing."""
    keyring = host.keyring.read_bytes() if host.keyring.exists() else None
    position = host.position()
    ended = host.fails(exit_code, code, *arguments, **how)
    assert host.position() == position
    assert (host.keyring.read_bytes() if host.keyring.exists() else None) == keyring
    require_silent(told, ended)
    return ended.error


def require_silent(told, ended):
    """Nothing that opens anything was said."""
    assert b"Traceback" not in ended.both
    secret = [text.encode() for text in PASSPHRASES.values()]
    secret += [
        " ".join(words.split()[at : at + 2]).encode() for words in told.words for at in (7, 20)
    ]
    assert not [one for one in secret if one in ended.both], ended


def entered(host, name):
    how = {"CREDLEDGER_KEY_FILE": "", "CREDLEDGER_PASSPHRASE_FILE": name}
    return host.run("credential", "list", environment=how).code == 0


def test_shares_open_the_slot_they_were_made_for(told, host):
    """Verifying changes nothing; restoring adds a slot that opens; both are in the history."""
    position = host.position()
    verified = host.run("key", "shares", "verify", *SHARES)
    assert verified.json == {
        "slot": 2,
        "label": "recovery shares",
        "threshold": 2,
        "count": 3,
        "given": 3,
    }
    assert host.position() == position
    require_silent(told, verified)
    stdin = "\n".join(told.words[1:]).encode()
    again = host.run("key", "shares", "verify", "--shares-file", "-", stdin=stdin)
    assert again.json["given"] == 2
    restored = host.run(*ANEW)
    assert restored.json == {"slot": 4, "opened_by": 2, "position": position + 2}
    require_silent(told, restored)
    assert host.topics(position) == ["slot.added", "shares.restored"]
    assert entered(host, "second")
    host.is_whole()


def test_shares_that_do_not_fit_change_nothing(told, host):
    """Too few, one twice, a mistyped word, two sets, another ledger's, no words at all."""
    other = host.ok(*CREATE)["shares"]
    mistyped = told.words[1].split()
    mistyped[11] = "zzcanary"
    swapped = told.words[1].split()
    swapped[9], swapped[10] = swapped[10], swapped[9]
    for lines, code in (
        (told.words[:1], "too-few-shares"),
        ([], "too-few-shares"),
        ([told.words[0], told.words[0]], "share-repeated"),
        ([told.words[0], " ".join(mistyped)], "share-mistyped"),
        ([told.words[0], " ".join(swapped)], "share-mistyped"),
        ([told.words[0], told.words[1][:-9]], "share-mistyped"),
        ([told.words[0], other[1]], "shares-differ"),
        ([told.words[0]] * 17, "too-many-shares"),
        (["hello"], "share-mistyped"),
    ):
        (host.home / "words").write_text("\n".join(["# said", "", *lines]))
        for command in (("key", "shares", "verify", *SHARES), ANEW, (*RESTORE, *SHARES)):
            error = refused(told, host, 2, code, *command)
            assert "zzcanary" not in json.dumps(error)
    (host.home / "words").write_bytes(b"\xff\xfe\xfd")
    refused(told, host, 2, "not-text", "key", "shares", "verify", *SHARES)
    (host.home / "words").write_bytes(b"a" * 70_000)
    refused(told, host, 2, "too-large", "key", "shares", "verify", *SHARES)
    refused(told, host, 3, "no-such-file", "key", "shares", "verify", "--shares-file", "nowhere")
    refused(told, host, 6, "no-shares", "key", "shares", "verify")
    refused(told, host, 2, "usage", *RESTORE, "--shares", *SHARES)
    refused(told, host, 2, "usage", *ANEW, "--new-key-file", "new")


def test_shares_of_a_removed_slot_or_another_ledger_open_nothing(nursery, told, host, tmp_path):
    """In the file that is there, and in an older copy."""
    other = make(Host(nursery, tmp_path / "other"))
    (host.home / "theirs").write_text("\n".join(other.words))
    verify = ("key", "shares", "verify", "--shares-file")
    refused(told, host, 6, "wrong-shares", *verify, "theirs")
    older = {"CREDLEDGER_KEYRING": "safe/one"}
    host.ok("key", "slot", "remove", "2", "--mislaid", "--yes")
    refused(told, host, 6, "wrong-shares", *verify, "words")
    refused(told, host, 6, "slot-removed", *verify, "words", environment=older)


@pytest.mark.parametrize("scheme", ["1/3", "3/2", "3", "a/b", "2/17", "", "2/3/4", "-2/3", "²/³"])
def test_schemes_that_are_none_make_nothing(told, host, nursery, tmp_path, scheme):
    """Neither a slot nor, at `init`, a ledger."""
    refused(told, host, 2, "invalid-scheme", "key", "shares", "create", "--", scheme)
    bare = Host(nursery, tmp_path / "bare")
    bare.fails(2, "invalid-scheme", "init", f"--shares={scheme}")
    assert not bare.keyring.exists()
    assert not bare.store.exists()


def test_init_with_shares_gives_no_label_twice(nursery, tmp_path):
    """Nothing is made where the second slot could not be."""
    bare = Host(nursery, tmp_path / "bare")
    bare.fails(2, "invalid-label", "init", "--label", "recovery shares", "--shares", "2/3")
    assert not bare.keyring.exists()
    assert not bare.store.exists()


def test_shares_are_shown_so_that_they_can_be_handed_in_again(host):
    """Each by itself, with what it belongs to; what was shown is read as it is."""
    shown = host.run(*CREATE, as_json=False)
    assert shown.code == 0
    text = shown.out.decode()
    assert text.count("# Share ") == 3
    assert "any 2 of which open slot 4 (more)" in text
    assert b"shown this once" in shown.err
    (host.home / "shown").write_text(text)
    assert host.ok("key", "shares", "verify", "--shares-file", "shown")["slot"] == 4


def test_key_backups_that_are_none_put_nothing_back(nursery, told, tmp_path):
    """Cut anywhere, altered, readable by others, another ledger's, not there, no file."""
    host = lost(told, tmp_path)
    content = (host.home / "safe" / "one").read_bytes()
    place = host.home / "safe" / "bad"
    place.touch(mode=0o600)
    for length in (0, 1, 20, 21, 53, 54, 1000, len(content) // 2, len(content) - 1):
        place.write_bytes(content[:length])
        refused(told, host, 6, "key-backup-damaged", "key", "restore", "safe/bad")
    altered = bytearray(content)
    altered[-20] ^= 1
    place.write_bytes(altered)
    refused(told, host, 6, "key-backup-damaged", "key", "restore", "safe/bad")
    place.write_bytes(content)
    for mode in (0o644, 0o640, 0o604):
        place.chmod(mode)
        refused(told, host, 6, "key-backup-too-open", "key", "restore", "safe/bad")
    place.chmod(0o600)
    other = Host(nursery, tmp_path / "other")
    other.ok("init", "--label", "eve")
    theirs = str(other.home / "secret" / "key")
    place.write_bytes(other.keyring.read_bytes())
    refused(told, host, 6, "wrong-key-file", "key", "restore", "safe/bad")
    own = ("--key-file", theirs)
    refused(told, host, 6, "keyring-foreign", "key", "restore", "safe/bad", *own)
    for nothing in ("safe/nowhere", "safe"):
        refused(told, host, 6, "key-backup-missing", "key", "restore", nothing)
    refused(told, host, 6, "wrong-passphrase", *RESTORE, "--passphrase-file", "second")
    newer = b"CREDLEDGER-KEYRING 2\n" + content[21:]
    place.write_bytes(newer)
    refused(told, host, 6, "keyring-newer", "key", "restore", "safe/bad")
    assert host.ok(*RESTORE)["kept"] is None
    host.is_whole()


def test_a_key_backup_brings_the_keyring_back(told, tmp_path):
    """By the key file, by a passphrase, by recovery shares."""
    for number, with_what in enumerate(((), ("--passphrase-file", "first"), SHARES)):
        host = lost(told, tmp_path / str(number))
        position = host.position()
        ended = host.run(*RESTORE, *with_what)
        assert ended.code == 0, ended
        require_silent(told, ended)
        backup = host.home / "safe" / "one"
        assert ended.json == {
            "path": str(host.keyring),
            "epoch": 1,
            "digest": hashlib.sha256(backup.read_bytes()).hexdigest(),
            "position": position + 1,
            "source": str(backup),
            "kept": None,
        }
        assert host.topics(position) == ["key.restored"]
        assert host.keyring.read_bytes() == backup.read_bytes()
        assert host.ok("status")["last_key_backup"]["path"].endswith("safe/one")
        host.is_whole()


def test_both_lost_the_keyring_and_every_passphrase(told, tmp_path):
    """A key backup and shares are enough."""
    host = lost(told, tmp_path)
    (host.home / "secret" / "key").unlink()
    (host.home / "first").unlink()
    host.ok(*RESTORE, *SHARES)
    host.ok(*ANEW)
    assert entered(host, "second")


def test_a_key_backup_in_a_forbidden_place_is_not_made(told, host):
    """With the database, below it, through a link; where something is; where nothing is."""
    (host.home / "link").symlink_to(host.store.parent)
    (host.store.parent / "below").mkdir()
    for place in ("store/k", "store/below/k", "link/k", "safe/../store/k"):
        refused(told, host, 4, "key-backup-beside-database", "key", "backup", place)
    (host.home / "linked").symlink_to(host.keyring)
    (host.home / "same").hardlink_to(host.keyring)
    for place in ("safe", "first", "keys/keyring", "linked", "same"):
        refused(told, host, 5, "key-backup-exists", "key", "backup", place)
    for place in ("nowhere/k", "first/k", "safe/" + "x" * 300):
        refused(told, host, 7, "key-backup-not-writable", "key", "backup", place)
    assert [path.name for path in (host.home / "safe").iterdir()] == ["one"]


def test_a_backup_on_the_same_device_is_made_with_a_warning(host):
    """It is better than none, but not what it should be."""
    ended = host.run(*BACKUP)
    assert ended.code == 0
    assert b"same device" in ended.err


def test_an_auditor_makes_and_restores_no_key_backup(told, host):
    """It is an operator's business; the auditor's own file is no key backup of the ledger."""
    slot = ("key", "slot", "add", "passphrase", *CHEAP, "--label", "cleo", "--auditor")
    host.ok(*slot, "--new-passphrase-file", "second", "--auditor-file", "auditor/keyring")
    as_cleo = {
        "CREDLEDGER_KEYRING": "auditor/keyring",
        "CREDLEDGER_KEY_FILE": "",
        "CREDLEDGER_PASSPHRASE_FILE": "second",
    }
    attest = ("key", "backup", "attest-replaced", "1")
    for command in (BACKUP, ("key", "backup", "list"), attest, CREATE, ("key", "sheet")):
        refused(told, host, 4, "operator-needed", *command, environment=as_cleo)
    unlocked = {**as_cleo, "CREDLEDGER_KEYRING": str(host.keyring)}
    restore = ("key", "restore", "auditor/keyring")
    refused(told, host, 4, "operator-needed", *restore, environment=unlocked)


def test_a_killed_key_backup_is_finished_by_the_same_command(on_both, tmp_path):
    """The file is whole or absent, and it is recorded once."""
    position, seen = on_both.host.position(), set()
    for host, ended in killed_everywhere(on_both.host, tmp_path, *BACKUP, step=CLOSE):
        place, recorded = host.home / "safe" / "new", host.topics(position)
        seen.add((place.exists(), len(recorded)))
        assert recorded in ([], ["key.backed-up"])
        assert not place.exists() or place.read_bytes() == host.keyring.read_bytes()
        assert place.exists() or not recorded
        assert recorded or not ended.out
        again = host.run(*BACKUP)
        assert again.code == 0 or (recorded and again.error["code"] == "key-backup-exists"), again
        assert host.topics(position) == ["key.backed-up"]
        assert sorted(path.name for path in (host.home / "safe").iterdir()) == ["new", "one"]
        host.is_whole()
    if on_both.host.server is None:
        assert seen == {(False, 0), (True, 0), (True, 1)}


@pytest.mark.parametrize("harmed", [False, True], ids=["lost", "damaged"])
def test_a_killed_restore_is_finished_by_the_same_command(told, tmp_path, harmed):
    """The keyring's place has what was there or what was to be there; nothing is lost of either."""
    start = lost(told, tmp_path)
    backup = (start.home / "safe" / "one").read_bytes()
    if harmed:
        start.keyring.touch(mode=0o600)
        start.keyring.write_bytes(b"harmed")
    position, seen = start.position(), set()
    for host, _ in killed_everywhere(start, tmp_path, *RESTORE, step=1):
        found = host.keyring.read_bytes() if host.keyring.exists() else None
        assert found in (backup, b"harmed" if harmed else None)
        if found == backup:
            seen.add((True, len(host.topics(position))))
            refused(told, host, 5, "keyring-not-lost", *RESTORE)
        else:
            host.ok(*RESTORE)
            seen.add((False, len(host.topics(position)) - 1))
        assert host.keyring.read_bytes() == backup
        kept = {path.read_bytes() for path in host.keyring.parent.glob("*.replaced-*")}
        assert kept == ({b"harmed"} if harmed else set())
        host.is_whole()
        assert set(host.topics(position)) == {"key.restored"}
    assert seen == {(False, 0), (False, 1), (True, 1)}


def test_killed_makers_of_shares_leave_a_slot_or_none(on_both, tmp_path):
    """Its words may never have been seen; then it can be removed, and others made."""
    position = on_both.host.position()
    for host, ended in killed_everywhere(on_both.host, tmp_path, *CREATE):
        recorded = host.topics(position)
        assert recorded in ([], ["slot.added", "shares.created"])
        assert recorded or not ended.out
        if recorded:
            host.ok("key", "slot", "remove", "4", "--mislaid", "--yes")
        made = host.ok(*CREATE)
        (host.home / "words").write_text("\n".join(made["shares"]))
        assert host.ok("key", "shares", "verify", *SHARES)["slot"] == made["slot"]
        host.is_whole()


def test_a_killed_restore_by_shares_can_be_run_again(told, tmp_path):
    """The new slot opens, or is not there, and the shares open theirs all the while."""
    position = told.host.position()
    for host, _ in killed_everywhere(told.host, tmp_path, *ANEW, step=CLOSE):
        recorded = host.topics(position)
        assert recorded in ([], ["slot.added", "shares.restored"])
        assert entered(host, "second") == bool(recorded)
        if not recorded:
            host.ok(*ANEW)
            assert entered(host, "second")
        host.is_whole()


def test_a_full_disk_leaves_a_key_backup_whole_or_absent(told, tmp_path):
    """With room the same command makes it, or goes on with it."""
    position, codes = told.host.position(), set()
    for host, ended in full_everywhere(told.host, tmp_path, *BACKUP):
        recorded = host.topics(position)
        place = host.home / "safe" / "new"
        assert (ended.code, bool(recorded)) in {(0, True), (7, False)}, ended
        require_silent(told, ended)
        if ended.code:
            codes.add(ended.error["code"])
        assert not place.exists() or place.read_bytes() == host.keyring.read_bytes()
        if not recorded:
            host.ok(*BACKUP)
        assert sorted(path.name for path in (host.home / "safe").iterdir()) == ["new", "one"]
        host.is_whole()
    assert "key-backup-not-writable" in codes
    assert codes <= {*UNRECORDED, "key-backup-not-writable"}


def test_a_full_disk_leaves_the_lost_keyring_lost_or_restored(told, tmp_path):
    """No half of it lies where the keyring belongs."""
    start = lost(told, tmp_path)
    backup, position = (start.home / "safe" / "one").read_bytes(), start.position()
    for host, ended in full_everywhere(start, tmp_path, *RESTORE):
        assert ended.code in {0, 7}, ended
        assert not host.keyring.exists() or host.keyring.read_bytes() == backup
        if ended.code:
            assert ended.error["code"] in UNRECORDED | {"memory-not-writable"}
            host.ok(*RESTORE)
        assert host.topics(position) == ["key.restored"]
        host.is_whole()


def test_backups_and_changes_of_slots_at_once_lose_nothing(host):
    """Each backup opens, and is the keyring as it was at some moment."""
    slot = ("key", "slot", "add", "passphrase", *CHEAP, "--new-passphrase-file", "second")
    running = [host.start(*slot, "--label", f"slot {number}") for number in range(3)]
    running += [host.start("key", "backup", f"safe/at-once-{number}") for number in range(3)]
    running += [host.start(*CREATE[:-1], f"shares {number}") for number in range(2)]
    ended = [one.wait() for one in running]
    assert [one.code for one in ended] == [0] * 8, ended
    assert len(read_keyring(host.keyring).slots) == 8
    listed = {one["path"]: one["digest"] for one in host.ok("key", "backup", "list")}
    assert len(listed) == 4
    for path, digest in listed.items():
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
        # What opens it keeps a memory beside it, so not the one that other hosts are copied with.
        copied = str(host.home / "safe" / Path(path).name)
        assert host.ok("status", environment={"CREDLEDGER_KEYRING": copied})
    host.is_whole()


def test_two_backups_to_one_place_at_once_are_one(host):
    """One of them is told that it is there."""
    running = [host.start(*BACKUP) for _ in range(3)]
    ended = [one.wait() for one in running]
    assert sorted(one.code for one in ended) == [0, 5, 5]
    assert len(host.ok("key", "backup", "list")) == 2


def test_attested_backups_are_no_longer_listed(told, host):
    """By the position of their record; a second time there is nothing to attest."""
    made = host.ok(*BACKUP)
    attest = ("key", "backup", "attest-replaced", str(made["position"]), "--reason", "shredded")
    assert host.ok(*attest) == {"backup": made["position"], "position": made["position"] + 1}
    assert [one["path"] for one in host.ok("key", "backup", "list")] == [
        str(told.host.home / "safe" / "one")
    ]
    listed = host.ok("key", "backup", "list", "--all")
    assert [one["replaced"] for one in listed] == [None, made["position"] + 1]
    host.fails(5, "key-backup-replaced-already", *attest)
    host.fails(3, "no-such-key-backup", "key", "backup", "attest-replaced", "1")
    changed = host.ok("audit", "changes")
    assert [one["event"] for one in changed][:2] == ["key.backup-replaced", "key.backed-up"]
    assert changed[0]["reason"] == "shredded"


def test_doctor_asks_for_a_key_backup_until_there_is_one(nursery, tmp_path):
    """And again when all that were made are gone."""
    host = Host(nursery, tmp_path / "host")
    host.ok("init", "--label", "ann", "--shares", "2/2")
    (host.home / "safe").mkdir()
    host.ok("backup", "create", "archives/one")
    host.ok("backup", "drill")
    found = lambda: [one["code"] for one in host.ok("doctor")["findings"]]
    assert found() == ["no-key-backup"]
    assert host.ok("status")["last_key_backup"] is None
    made = host.ok("key", "backup", "safe/one")
    assert found() == []
    last = host.ok("status")["last_key_backup"]
    assert (last["path"], last["digest"], last["epochs"], last["position"]) == (
        made["path"],
        made["digest"],
        [1, 2],
        made["position"],
    )
    host.ok("key", "backup", "attest-replaced", str(made["position"]))
    assert found() == ["no-key-backup"]


def test_the_emergency_sheet_tells_where_everything_is_and_opens_nothing(told, host):
    """On standard output or in a new file; no secret, but the commands for each loss."""
    shown = host.run("key", "sheet", as_json=False)
    require_silent(told, shown)
    text = shown.out.decode()
    document = host.ok("key", "sheet")
    for named in (
        document["ledger_id"],
        str(host.store),
        str(host.keyring),
        str(told.host.home / "safe" / "one"),
        "any 2 of 3 recovery shares",
        "slot 3  ben: by a passphrase",
        "key shares restore",
        "key restore PATH --shares",
    ):
        assert named in text
    content = host.keyring.read_bytes()
    assert not [slot for slot in read_keyring(host.keyring).slots if slot.salt.hex() in text]
    written = host.ok("key", "sheet", "safe/sheet")
    assert written["file"] == str(host.home / "safe" / "sheet")
    assert "EMERGENCY SHEET" in (host.home / "safe" / "sheet").read_text()
    host.fails(5, "sheet-exists", "key", "sheet", "safe/sheet")
    host.fails(5, "sheet-exists", "key", "sheet", "/")
    host.fails(7, "sheet-not-writable", "key", "sheet", "nowhere/sheet")
    assert host.keyring.read_bytes() == content


def test_a_sheet_of_a_ledger_without_shares_or_backups_says_so(nursery, tmp_path):
    """And how to make them while there is time."""
    host = Host(nursery, tmp_path / "host")
    host.ok("init", "--label", "ann")
    text = host.run("key", "sheet", as_json=False).out.decode()
    assert "There are no recovery shares" in text
    assert "None is recorded" in text


def test_a_keyring_elsewhere_is_restored_to_where_it_is_looked_for(host):
    """A new host has neither folder nor memory."""
    elsewhere = {"CREDLEDGER_KEYRING": "new/keys/keyring"}
    host.fails(6, "keyring-missing", "status", environment=elsewhere)
    host.ok(*RESTORE, environment=elsewhere)
    assert host.ok("status", environment=elsewhere)
    beside = {"CREDLEDGER_KEYRING": "store/keyring"}
    host.fails(6, "keyring-beside-store", *RESTORE, environment=beside)
    shutil.rmtree(host.home / "new")
