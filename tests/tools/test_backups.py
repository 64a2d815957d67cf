"""`backup` on the command line: shapes, exit codes, what is recorded, and what is refused."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from filelock import FileLock

import tools.recovering.backups
import tools.wiring
from ledger.errors import Unavailable
from ledger.usecases.backup_records import BackupRecords
from tests.tools.conftest import Cli

VIEWS = {
    "credential_view",
    "access_history",
    "application_catalogue",
    "key_inventory",
    "application_claims",
}
RIGHT = "--accept-clock"
"""The clock is right, though a server's is months behind it."""
PAIR = {"User": "ann", "Password": "p-1"}
AUDITOR = "nine auditors count the owls"


def work(cli) -> None:
    cli.ok("init", "--label", "alice")
    fields = ("--field", "User:user-name", "--field", "Password:password")
    cli.ok("app", "create", "payroll", "--kind", "individual", *fields)
    cli.set("payroll", "user:ann", User="ann", Password="p-1")
    cli.ok("credential", "get", "payroll", "--as", "user:ann")


@pytest.fixture
def worked(begun):
    """A ledger on each engine with a little in it; `worked.empty()` is a new place for it."""
    return begun(work)


def create(cli, name: str, *options: str) -> dict:
    return cli.ok("backup", "create", str(cli.archives / name), *options)


def lose(cli) -> None:
    """The database is gone; the ledger's place is an empty one."""
    cli.environment["CREDLEDGER_STORE"] = cli.empty()


def lost(*_, **__):
    """The store is gone just then."""
    raise Unavailable("store-unreachable", "The server is gone.")


def topics(cli) -> list[str]:
    return [row["topic"] for row in cli.ok("log", "events")]


def test_an_old_archive_asks_for_the_clock_before_its_first_row_is_brought(worked, monkeypatch):
    """It may be long until the last one is; said once that the clock is right, it is restored."""
    create(worked, "one")
    lose(worked)
    now = tools.wiring.clock() + 32 * 86_400_000_000
    monkeypatch.setattr(tools.wiring, "clock", lambda: now)
    restore = ("backup", "restore", str(worked.archives / "one"))
    with monkeypatch.context() as patched:
        patched.setattr(tools.recovering.backups.Restoration, "run", lost)
        assert "--accept-clock" in worked.fails(7, "clock-ahead", *restore)["hint"]
    assert worked.ok(*restore, RIGHT)["ok"]
    assert worked.ok("credential", "list", RIGHT)
    worked.fails(5, "store-not-empty", *restore)


def test_an_archive_is_written_checked_and_recorded(worked):
    before = worked.ok("status")
    assert before["last_database_backup"] is None
    made = create(worked, "one")
    assert set(made) >= {"directory", "position", "root", "bytes"}
    assert (made["position"], made["root"]) == (before["position"], before["root"])
    files = [path for path in (worked.archives / "one").iterdir() if path.name != ".lock"]
    assert made["bytes"] == sum(path.stat().st_size for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    last = worked.ok("status")["last_database_backup"]
    assert (last["position"], last["directory"]) == (made["position"], made["directory"])
    assert last["kind"] == "full"
    assert topics(worked)[-1] == "backup.created"
    (change,) = [one for one in worked.ok("audit", "changes") if one["event"] == "backup.created"]
    assert change["detail"]["directory"] == made["directory"]


def test_an_archive_is_verified_without_any_key(worked):
    made = create(worked, "one")
    for file in ("keys", "secret"):
        shutil.rmtree(worked.home / file)
    found = worked.ok("backup", "verify", made["directory"])
    assert set(found) >= {"ok", "position", "root", "seconds", "views"}
    assert (found["ok"], found["position"], found["root"]) == (True, made["position"], made["root"])
    assert {view["name"] for view in found["views"]} == VIEWS
    report = worked.ok("log", "verify", "--archive", made["directory"])
    assert set(report) == {"ok", "size", "root", "proven_to", "unanchored", "checks"}
    assert (report["ok"], report["size"], report["unanchored"]) == (True, made["position"], True)
    answer = worked("backup", "verify", made["directory"], "--ledger-id", "0" * 64)
    assert (answer.code, answer.json["ok"]) == (8, False)
    worked.fails(2, "invalid-ledger-id", "backup", "verify", made["directory"], "--ledger-id", "x")


def test_a_damaged_archive_is_exit_8(worked):
    made = create(worked, "one")
    segment = next((worked.archives / "one").glob("*.segment"))
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(bytes(content))
    for command in (("backup", "verify"), ("log", "verify", "--archive")):
        answer = worked(*command, made["directory"])
        assert answer.code == 8
        assert answer.json["ok"] is False
        assert "archive-damaged" in [check["name"] for check in answer.json["checks"]]
    worked.fails(8, "archive-damaged", "backup", "drill")
    lose(worked)
    worked.fails(8, "archive-damaged", "backup", "restore", made["directory"])
    next((worked.archives / "one").glob("*.manifest")).write_bytes(b"nothing\n")
    worked.fails(8, "archive-damaged", "backup", "verify", made["directory"])


def test_a_lost_database_comes_back_and_says_what_is_gone(worked):
    """On the host that remembers more; the log goes on, and so does everything in it."""
    made = create(worked, "one")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    last = worked.ok("status")["position"]
    lose(worked)
    answer = worked.ok("backup", "restore", made["directory"], "--reason", "disk failure")
    assert set(answer) >= {"ok", "position", "root", "seconds", "views"}
    assert (answer["ok"], answer["position"], answer["root"]) == (
        True,
        made["position"],
        made["root"],
    )
    assert {(view["name"], view["same"]) for view in answer["views"]} == {
        (name, True) for name in VIEWS
    }
    assert answer["gone"] == {"from": made["position"] + 1, "to": last}
    assert topics(worked)[made["position"] :] == ["rollback.accepted", "backup.restored"]
    changes = worked.ok("audit", "changes", "--limit", "2")
    assert {one["reason"] for one in changes} == {"disk failure"}
    got = worked.ok("credential", "get", "payroll", "--as", "user:ann")
    assert got["fields"]["Password"] == "p-1"
    assert worked.ok("log", "verify", "--views")["ok"]
    assert worked.ok("audit", "recheck")["wrong"] == []
    assert worked.ok("status")["last_database_backup"]["position"] == made["position"]
    told = worked("status", json_wanted=False)
    assert f"last database backup: position {made['position']}" in told.text


def test_what_is_gone_is_told_to_people(worked):
    made = create(worked, "one")
    lose(worked)
    answer = worked("backup", "restore", made["directory"], json_wanted=False)
    assert answer.code == 0, answer.err
    first = made["position"] + 1
    assert f"Gone is position {first}, which" in answer.err
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    lose(worked)
    answer = worked("backup", "restore", made["directory"], json_wanted=False)
    assert f"Gone are positions {first} to {first + 2}, which" in answer.err


def test_a_host_that_remembers_nothing_restores_all_the_same(worked):
    made = create(worked, "one")
    (worked.home / "keys" / "keyring.memory").unlink()
    lose(worked)
    assert worked.ok("backup", "restore", made["directory"])["gone"] is None
    assert topics(worked)[made["position"] :] == ["backup.restored"]
    verified = worked.ok("log", "verify")
    (memory,) = [check for check in verified["checks"] if check["name"] == "host-memory"]
    assert f"agrees at size {made['position'] + 1}" in memory["detail"]


def test_a_host_with_a_damaged_memory_says_how_to_go_on(worked):
    made = create(worked, "one")
    memory = worked.home / "keys" / "keyring.memory"
    memory.write_bytes(b"x" * 5000)
    lose(worked)
    error = worked.fails(8, "memory-unreadable", "backup", "restore", made["directory"])
    assert str(memory) in error["hint"]
    memory.unlink()
    assert worked.ok("backup", "restore", made["directory"])["ok"]


def test_an_archive_of_another_branch_is_recorded_as_a_rollback(worked):
    """The host remembers a head of the same size, or smaller, that the archive does not hold."""
    made = create(worked, "one")
    url = worked.environment["CREDLEDGER_STORE"]
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    for _ in range(3):
        worked.set("payroll", "user:ann", User="ann", Password="other")
    other = create(worked, "other")
    worked.environment["CREDLEDGER_STORE"] = url
    worked.fails(8, "rolled-back", "status")
    worked.ok("log", "accept-rollback", "--reason", "back to the first", "--yes")
    remembered = worked.ok("status")["position"]
    lose(worked)
    answer = worked("backup", "restore", other["directory"])
    assert (answer.json["gone"], answer.json["other_branch"]) == (None, remembered)
    assert f"another branch of the log, up to position {remembered}" in answer.err
    assert "rollback.accepted" in topics(worked)[other["position"] :]
    assert worked.ok("log", "verify")["ok"]


def test_another_host_is_told_of_the_restore_and_not_of_damage(worked):
    """No head of the new branch ends where the one that it remembers did, and there are more."""
    made = create(worked, "one")
    other = worked.home / "other" / "keyring"
    shutil.copytree(worked.home / "keys", other.parent)
    worked.ok("credential", "get", "payroll", "--as", "user:ann")
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    for password in ("p-2", "p-3"):
        worked.set("payroll", "user:ann", User="ann", Password=password)
    worked.environment["CREDLEDGER_KEYRING"] = str(other)
    for command in (("status",), ("credential", "get", "payroll", "--as", "user:ann")):
        assert "log accept-rollback" in worked.fails(8, "forked", *command)["hint"]
    assert [one["code"] for one in worked("doctor").json["findings"]] == ["forked"]
    worked.ok("log", "accept-rollback", "--reason", "restored elsewhere", "--yes")
    assert worked.ok("credential", "get", "payroll", "--as", "user:ann")["version"] == 3


def test_one_process_of_a_host_restores_at_a_time(worked):
    """Two would fill one new memory, and leave the host without any."""
    made = create(worked, "one")
    remembered = worked.home / "keys" / "keyring.memory"
    store = worked.environment["CREDLEDGER_STORE"]
    before = remembered.read_bytes()
    lose(worked)
    restore = ("backup", "restore", made["directory"])
    accept = ("log", "accept-rollback", "--reason", "restored elsewhere", "--yes")
    with FileLock(remembered.with_name("keyring.memory.new.lock")):
        worked.fails(7, "memory-being-made", *restore)
        empty, worked.environment["CREDLEDGER_STORE"] = (
            worked.environment["CREDLEDGER_STORE"],
            store,
        )
        worked.fails(7, "memory-being-made", *accept)
    assert remembered.read_bytes() == before
    worked.environment["CREDLEDGER_STORE"] = empty
    assert worked.ok(*restore)["ok"]
    assert worked.ok("log", "verify")["ok"]


def test_a_folder_that_no_record_can_name_is_refused_before_anything_is_done(worked):
    """A name that is no text, as from another system's disk."""
    made = create(worked, "one")
    odd = worked.archives / os.fsdecode(b"\xff\xfe")
    size = worked.ok("status")["position"]
    worked.fails(2, "invalid-path", "backup", "create", str(odd))
    assert not odd.exists()
    shutil.copytree(made["directory"], odd)
    worked.fails(2, "invalid-path", "backup", "drill", str(odd))
    assert worked.ok("status")["position"] == size
    lose(worked)
    worked.fails(2, "invalid-path", "backup", "restore", str(odd))
    assert worked("status").error["code"] in {"no-ledger", "rolled-back"}, "nothing was brought"
    assert worked.ok("backup", "restore", made["directory"])["ok"]


@pytest.mark.parametrize(
    ("given_up", "ahead_us"),
    [
        (("key", "rotate", "--without-backup"), 0),
        (("key", "slot", "add", "key-file", "--label", "ben", "--new-key-file", "ben.key"), 0),
        (("credential", "get", "payroll", "--as", "user:ann"), 120_000_000),
    ],
    ids=["rotated", "slot added", "clock ahead"],
)
def test_a_host_is_told_of_the_restore_whatever_it_did_on_the_branch_that_is_gone(
    worked, monkeypatch, given_up, ahead_us
):
    """Its epoch, signers or time are not those of the rows behind the same position now."""
    made = create(worked, "one")
    own, other = worked.environment["CREDLEDGER_KEYRING"], worked.home / "other" / "keyring"
    shutil.copytree(worked.home / "keys", other.parent)
    worked.environment["CREDLEDGER_KEYRING"] = str(other)
    now = tools.wiring.clock
    with monkeypatch.context() as patched:
        patched.setattr(tools.wiring, "clock", lambda: now() + ahead_us)
        patched.chdir(worked.home)
        worked.ok(*given_up)
    lose(worked)
    worked.environment["CREDLEDGER_KEYRING"] = own
    worked.ok("backup", "restore", made["directory"])
    many = [{"application": "payroll", "owner": f"user:{at}", "fields": PAIR} for at in range(20)]
    lines = "\n".join(map(json.dumps, many)).encode()
    worked.ok("credential", "import", "-", stdin=lines)  # no head where the other one's is
    worked.environment["CREDLEDGER_KEYRING"] = str(other)
    assert "log accept-rollback" in worked.fails(8, "forked", "status")["hint"]
    worked.ok("log", "accept-rollback", "--reason", "restored elsewhere", "--yes")
    assert worked.ok("credential", "get", "payroll", "--as", "user:ann")["version"] == 1


def test_a_store_with_something_in_it_is_exit_5(worked):
    made = create(worked, "one")
    before = worked.ok("status")
    worked.fails(5, "store-not-empty", "backup", "restore", made["directory"])
    assert worked.ok("status") == before


def test_incremental_archives_go_on_from_the_newest_backup(worked):
    worked.fails(
        3, "no-backup", "backup", "create", str(worked.archives / "none"), "--since-backup"
    )
    full = create(worked, "full")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    part = create(worked, "part", "--since-backup")
    worked.set("payroll", "user:ann", User="ann", Password="p-3")
    last = create(worked, "part", "--since-backup")
    assert (part["kind"], part["after"]) == ("incremental", full["position"])
    assert last["after"] == part["position"]
    assert last["bytes"] < full["bytes"]
    assert worked.ok("status")["last_database_backup"]["kind"] == "incremental"
    assert worked.ok("backup", "drill")["position"] == last["position"]
    lose(worked)
    answer = worked.ok("backup", "restore", last["directory"])
    assert answer["position"] == last["position"]
    got = worked.ok("credential", "get", "payroll", "--as", "user:ann")
    assert got["fields"]["Password"] == "p-3"
    after = create(worked, "after", "--since-backup")
    assert after["after"] == last["position"]
    assert worked.ok("backup", "verify", after["directory"])["ok"]


def test_a_missing_part_can_be_named(worked):
    full = create(worked, "far/full")
    part = create(worked, "near/part", "--since-backup")
    worked.fails(3, "archive-part-missing", "backup", "verify", part["directory"])
    worked.fails(3, "archive-part-missing", "backup", "restore", part["directory"])
    named = ("--part", full["directory"])
    assert worked.ok("backup", "verify", part["directory"], *named)["ok"]
    assert worked.ok("backup", "drill", *named)["ok"]
    lose(worked)
    assert worked.ok("backup", "restore", part["directory"], *named)["ok"]


def test_a_place_beside_keyring_or_store_is_exit_4(worked):
    for place in ("keys", "keys/archive", "."):
        worked.fails(4, "backup-beside-keyring", "backup", "create", str(worked.home / place))
    link = worked.home.parent / "link"
    link.symlink_to(worked.home / "keys")
    worked.fails(4, "backup-beside-keyring", "backup", "create", str(link / "archive"))
    assert not (worked.home / "keys" / "archive").exists()
    if worked.environment["CREDLEDGER_STORE"].startswith("sqlite"):
        folder = worked.environment["CREDLEDGER_STORE"].removeprefix("sqlite://").rpartition("/")[0]
        worked.fails(4, "backup-beside-store", "backup", "create", folder)
        worked.fails(4, "backup-beside-store", "backup", "create", f"{folder}/archive")
    assert "backup.created" not in topics(worked)


def test_the_two_kinds_of_backup_never_share_a_folder(worked):
    """Whichever was made first, by whatever name its folder is called."""
    safe = worked.home.parent / "safe"
    safe.mkdir()
    worked.ok("key", "backup", str(safe / "keyring"))
    link = worked.home.parent / "link to safe"
    link.symlink_to(safe)
    for folder in (safe, link):
        worked.fails(4, "backup-beside-key-backup", "backup", "create", str(folder))
    made = create(worked, "taken")
    refused = ("key-backup-beside-database", "key", "backup")
    worked.fails(4, *refused, f"{made['directory']}/keyring")
    newer = create(worked, "newer")
    worked.fails(4, *refused, f"{made['directory']}/keyring")
    worked.fails(4, *refused, f"{newer['directory']}/keyring")
    assert worked.ok("key", "backup", str(safe / "keyring-2"))["epoch"] == 1


def test_neither_kind_of_backup_is_put_in_a_folder_around_or_below_the_other(worked):
    """Whoever takes the outer folder has both; two folders beside each other are apart."""
    stick, tape = worked.home.parent / "stick", worked.home.parent / "tape"
    (stick / "safe").mkdir(parents=True)
    (tape / "safe").mkdir(parents=True)
    worked.ok("key", "backup", str(stick / "keyring"))
    for place in (stick / "archive", stick / "safe" / "archive", stick):
        worked.fails(4, "backup-beside-key-backup", "backup", "create", str(place))
    worked.ok("backup", "create", str(tape / "sub" / "archive"))
    for place in (tape / "keyring", tape / "sub" / "keyring", tape / "sub" / "archive" / "keyring"):
        worked.fails(4, "key-backup-beside-database", "key", "backup", str(place))
    worked.ok("key", "backup", str(tape / "safe" / "keyring"))
    (stick / "keyring").unlink()  # another stick, in the place of the one with the keyring
    worked.ok("backup", "create", str(stick / "archive"))


def test_a_key_backup_is_refused_in_the_keyrings_own_folder(worked):
    """Nor below it, nor by another name of it: what takes the folder would take both."""
    keys = worked.home / "keys"
    (keys / "below").mkdir()
    link = worked.home.parent / "link to keys"
    link.symlink_to(keys)
    for folder in (keys, keys / "below", link):
        place = folder / "copy"
        worked.fails(4, "key-backup-beside-keyring", "key", "backup", str(place))
        assert not place.exists()
    worked.fails(5, "key-backup-exists", "key", "backup", str(link / "keyring"))


def test_what_is_no_archive_is_exit_3(worked):
    nowhere = str(worked.archives / "nowhere")
    for command in (("backup", "verify"), ("backup", "restore"), ("log", "verify", "--archive")):
        worked.fails(3, "no-archive", *command, nowhere)
    worked.fails(3, "no-backup", "backup", "drill")
    worked.fails(3, "no-archive", "backup", "drill", nowhere)
    worked.fails(2, "usage", "log", "verify", "--archive", nowhere, "--views")


def test_a_drill_restores_elsewhere_and_is_recorded(worked, tmp_path):
    """The ledger, its store and this host's memory stay as they were but for the record."""
    made = create(worked, "one")
    worked.set("payroll", "user:ann", User="ann", Password="p-2")
    position = worked.ok("status")["position"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    answer = worked.ok("backup", "drill", "--scratch", str(scratch))
    assert set(answer) >= {"ok", "position", "root", "seconds", "views"}
    assert (answer["ok"], answer["position"]) == (True, made["position"])
    assert {view["same"] for view in answer["views"]} == {True}
    assert list(scratch.iterdir()) == []
    assert topics(worked)[position:] == ["backup.drilled"]
    got = worked.ok("credential", "get", "payroll", "--as", "user:ann")
    assert got["fields"]["Password"] == "p-2"
    assert worked.ok("log", "verify", "--views")["ok"]
    missing = str(tmp_path / "nowhere")
    worked.fails(7, "scratch-not-writable", "backup", "drill", "--scratch", missing)


def test_a_drill_needs_an_archive_of_this_very_log(worked):
    made = create(worked, "one")
    shutil.move(worked.archives / "one", worked.archives / "moved")
    worked.fails(3, "no-archive", "backup", "drill")
    assert worked.ok("backup", "drill", str(worked.archives / "moved"))["ok"]
    url = worked.environment["CREDLEDGER_STORE"]
    lose(worked)
    worked.ok("backup", "restore", str(worked.archives / "moved"))
    create(worked, "other")
    worked.environment["CREDLEDGER_STORE"] = url
    worked.ok("log", "accept-rollback", "--reason", "the first again", "--yes")
    assert made["position"] < worked.ok("status")["position"]
    worked.fails(8, "archive-of-another-log", "backup", "drill", str(worked.archives / "other"))


def without_views(document) -> None:
    document["views"] = []


def without_one(document) -> None:
    del document["views"][0]


def by_a_newer_fold(document) -> None:
    for one in document["views"]:
        one.update(fold_version=one["fold_version"] + 1, digest="0" * 64)


def by_no_digest(document) -> None:
    document["views"][0]["digest"] = "0" * 64


ALTERATIONS = [without_views, without_one, by_a_newer_fold, by_no_digest]


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_a_drill_holds_the_manifest_against_the_recorded_one(worked, alter):
    """Wherever the folder is named; nothing is recorded of such a drill."""
    made = create(worked, "one")
    alter_manifest(worked.archives / "one", alter)
    before = topics(worked)
    worked.fails(8, "archive-altered", "backup", "drill", made["directory"])
    worked.fails(3, "no-archive", "backup", "drill")
    assert topics(worked) == before


@pytest.mark.parametrize(
    ("alter", "code", "told"),
    [
        (without_views, "view-not-compared", "credential_view"),
        (without_one, "view-not-compared", "credential_view"),
        (by_a_newer_fold, "view-not-compared", "credential_view"),
        (by_no_digest, "view-differs", "credential_view"),
    ],
)
def test_a_drill_of_an_archive_that_no_log_tells_of_compares_every_view(
    worked, monkeypatch, alter, code, told
):
    """Where its record was lost, the manifest alone says what the views were."""
    with monkeypatch.context() as patched:
        patched.setattr(BackupRecords, "record", lost)
        worked.fails(7, "store-unreachable", "backup", "create", str(worked.archives / "one"))
    alter_manifest(worked.archives / "one", alter)
    before = topics(worked)
    error = worked.fails(8, code, "backup", "drill", str(worked.archives / "one"))
    assert told in error["message"]
    assert topics(worked) == before


def test_a_drill_of_an_archive_of_before_a_view_was_there_is_ok(worked, monkeypatch):
    """Its manifest is the recorded one, so what it lacks is not taken out."""
    of_then = tools.recovering.backups._view_digests
    with monkeypatch.context() as patched:
        patched.setattr(tools.recovering.backups, "_view_digests", lambda *of: of_then(*of)[:4])
        create(worked, "one")
    drilled = worked("backup", "drill")
    assert drilled.code == 0, drilled.err
    assert [view["same"] for view in drilled.json["views"]] == [True] * 4 + [None]
    assert "Not compared" in drilled.err
    assert "application_claims" in drilled.err
    assert topics(worked)[-1] == "backup.drilled"


def test_a_drill_that_has_no_digest_at_all_to_compare_is_not_ok(worked, monkeypatch):
    """Recorded or not: only rows and roots would have been tried."""
    with monkeypatch.context() as patched:
        patched.setattr(tools.recovering.backups, "_view_digests", lambda *_: ())
        create(worked, "one")
    before = topics(worked)
    worked.fails(8, "view-not-compared", "backup", "drill")
    assert topics(worked) == before


def test_a_restore_says_which_views_it_could_not_compare(worked):
    """It goes on: the rows were checked, and the views are folded from them."""
    made = create(worked, "one")
    alter_manifest(worked.archives / "one", without_one)
    lose(worked)
    answer = worked("backup", "restore", made["directory"])
    assert answer.code == 0
    assert "Not compared" in answer.err
    assert "credential_view" in answer.err
    assert "access_history" not in answer.err
    assert worked.ok("log", "verify", "--views")["ok"]


def test_a_good_copy_is_drilled_after_a_restore_from_an_altered_one(worked):
    """What was restored from says nothing against another manifest of the same log."""
    made = create(worked, "one")
    good = worked.home.parent / "good"
    shutil.copytree(worked.archives / "one", good)
    alter_manifest(worked.archives / "one", without_one)
    lose(worked)
    worked.ok("backup", "restore", made["directory"])
    assert worked.ok("backup", "drill", str(good))["ok"]


def test_an_altered_view_digest_keeps_a_restore_from_its_end(worked):
    """Nobody opens the store until the same command has come to it with a good manifest."""
    made = create(worked, "one")
    path = next((worked.archives / "one").glob("*.manifest"))
    good = path.read_bytes()
    document = json.loads(good.splitlines()[0])
    document["views"][0]["digest"] = "0" * 64
    _rewrite(path, document)
    lose(worked)
    worked.fails(8, "view-differs", "backup", "restore", made["directory"])
    worked.fails(7, "store-restoring", "app", "list")
    path.write_bytes(good)
    assert worked.ok("backup", "restore", made["directory"])["ok"]
    assert worked.ok("log", "verify", "--views")["ok"]


@pytest.fixture
def erased(worked, monkeypatch):
    """A full archive was taken, and then its access records were erased by policy."""
    moved_us = [0]
    clock = tools.wiring.clock
    monkeypatch.setattr(tools.wiring, "clock", lambda: clock() + moved_us[0])
    worked.made = create(worked, "before")
    worked.ok("key", "retention", "set", "--access-older-than", "31")
    for _ in range(3):
        moved_us[0] += 30 * 86_400_000_000
        worked.ok("app", "update", "payroll", "--name", f"at {moved_us[0]}", RIGHT)
    assert worked.ok("key", "retention", "apply", "--yes", RIGHT)["records"] == 1
    return worked


def test_an_archive_of_before_an_erasure_is_drilled_and_restored(erased):
    """The view of accesses cannot be what it was, and nobody calls that damage."""
    drilled = erased("backup", "drill", erased.made["directory"], RIGHT)
    lose(erased)
    restored = erased("backup", "restore", erased.made["directory"], RIGHT)
    for answer in (drilled, restored):
        assert answer.code == 0, answer.err
        assert [one["name"] for one in answer.json["views"] if one["erased_since"]] == [
            "access_history"
        ]
        assert {one["name"]: one["same"] for one in answer.json["views"]} == {
            name: None if name == "access_history" else True for name in VIEWS
        }
        assert "were erased since it was taken" in answer.err
        assert "no digest" not in answer.err
    assert erased.ok("audit", "recheck", RIGHT)["unreadable"][0]["why"] == "key-destroyed"
    for place in ((), ("--archive", erased.made["directory"])):
        asked = erased("audit", "access", RIGHT, *place)
        assert asked.json == []
        assert "this log tells of no erasure" in asked.err
    erased.ok("key", "retention", "set", "--access-older-than", "31", RIGHT)
    assert erased.ok("key", "retention", "apply", "--yes", RIGHT)["records"] == 1
    assert erased.ok("audit", "recheck", RIGHT)["unreadable"][0]["why"].startswith(
        "erased by policy"
    )
    assert "this log tells of no erasure" not in erased("audit", "access", RIGHT).err
    assert create(erased, "after", RIGHT)["kind"] == "full"
    again = erased.ok("backup", "drill", RIGHT)
    assert {one["same"] for one in again["views"]} == {True}


def test_another_view_that_differs_after_an_erasure_is_damage(erased):
    """Only records whose keys are gone excuse a difference, and only that of their own view."""
    made = create(erased, "after", RIGHT)
    for place, name in (("before", "credential_view"), ("after", "access_history")):

        def alter(document, name=name):
            (view,) = (one for one in document["views"] if one["name"] == name)
            view["digest"] = "0" * 64

        alter_manifest(erased.archives / place, alter)
    for directory in (erased.made["directory"], made["directory"]):
        lose(erased)
        erased.fails(8, "view-differs", "backup", "restore", directory, RIGHT)


def alter_manifest(folder, alter) -> None:
    """With a hash that fits."""
    (path,) = folder.glob("*.manifest")
    document = json.loads(path.read_bytes().splitlines()[0])
    alter(document)
    _rewrite(path, document)


def _rewrite(path, document) -> None:
    import hashlib

    line = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n")


def test_a_keyring_of_another_ledger_changes_nothing(worked, tmp_path):
    made = create(worked, "one")
    other = Cli(tmp_path / "elsewhere")
    other.home.mkdir()
    other.ok("init")
    other.environment["CREDLEDGER_STORE"] = store = f"sqlite://{other.home}/new/ledger.db"
    other.fails(6, "keyring-foreign", "backup", "restore", made["directory"])
    other.fails(6, "keyring-foreign", "backup", "verify", made["directory"])
    # Nothing was made there: that host's memory is of a ledger that is not at this store.
    assert other("log", "verify", "--store", store).code == 8


def test_an_auditor_backs_nothing_up(worked, tmp_path):
    """What changes or is recorded is an operator's; checking is anybody's."""
    made = create(worked, "one")
    passphrase = worked.home / "auditor-passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(AUDITOR)
    worked.ok(
        "key", "slot", "add", "passphrase", "--auditor", "--label", "cleo",
        "--new-passphrase-file", str(passphrase), "--argon2-memory", "19",
    )  # fmt: skip
    worked.ok("key", "slot", "export-auditor", "2", str(tmp_path / "cleo" / "keyring"))
    del worked.environment["CREDLEDGER_KEY_FILE"]
    worked.environment["CREDLEDGER_PASSPHRASE_FILE"] = str(passphrase)
    worked.environment["CREDLEDGER_KEYRING"] = str(tmp_path / "cleo" / "keyring")
    for command in (("create", str(worked.archives / "two")), ("drill",)):
        worked.fails(4, "operator-needed", "backup", *command)
    assert worked.ok("backup", "verify", made["directory"])["ok"]
    assert worked.ok("status")["last_database_backup"]["position"] == made["position"]
    lose(worked)
    worked.fails(4, "operator-needed", "backup", "restore", made["directory"])
    # Nothing was restored: the auditor's own memory is of a ledger that is not at this store.
    assert worked("log", "verify").code == 8


def test_no_value_lies_in_an_archive_in_clear(worked):
    worked.set("payroll", "user:ann", User="canary-user", Password="canary-5d01")
    made = create(worked, "one")
    import zlib

    for path in (worked.archives / "one").iterdir():
        content = path.read_bytes()
        if path.suffix == ".segment":
            inflating = zlib.decompressobj()
            content = inflating.decompress(content) + inflating.unused_data
        for canary in (b"canary", b"payroll", b"user:ann", b"ann"):
            assert canary not in content, (made, path.name)


def test_an_archive_left_unrecorded_is_told_to_people_and_drilled(worked, monkeypatch):
    """With and without a backup before it; what was taken up is named beside the answer."""
    place = str(worked.archives / "one")
    left = worked.ok("status")["position"]
    with monkeypatch.context() as patched:
        patched.setattr(BackupRecords, "record", lost)
        worked.fails(7, "store-unreachable", "backup", "create", place)
    worked.ok("credential", "get", "payroll", "--as", "user:ann")
    answer = worked("backup", "create", place, "--since-backup", json_wanted=False)
    assert answer.code == 0, answer.err
    assert f"An archive up to position {left} lay there" in answer.err
    created = [one for one in worked.ok("audit", "changes") if one["event"] == "backup.created"]
    assert [one["detail"]["directory"] for one in created] == [place, place]
    assert worked.ok("backup", "drill")["position"] == left + 1
    assert "taken_up" not in create(worked, "two")


def test_a_full_archive_that_is_taken_up_needs_nobodys_word_for_a_base(worked, monkeypatch):
    """Only what goes on from it is recorded as vouched for."""
    place = str(worked.archives / "one")
    with monkeypatch.context() as patched:
        patched.setattr(BackupRecords, "record", lost)
        worked.fails(7, "store-unreachable", "backup", "create", place)
    worked.ok("credential", "get", "payroll", "--as", "user:ann")
    assert "taken_up" in worked.ok("backup", "create", place, "--since-backup", "--base-elsewhere")
    told = [one["detail"] for one in worked.ok("audit", "changes") if "backup" in one["event"]]
    assert [one["base_elsewhere"] for one in told] == [True, False]
